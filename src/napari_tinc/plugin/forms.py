"""Helpers for the controls of a dock that is 350 pixels wide: rows, tooltips, keyboard focus, plots, help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.widgets import Container, Label, PushButton, Widget
from qtpy.QtCore import QEvent, QObject, Qt, QUrl
from qtpy.QtGui import QColor, QPalette, QResizeEvent, QTextCursor
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QDialog,
    QPushButton,
    QSizePolicy,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from .docks import DockWatch

LEAST_HEIGHT = 200  # Pixels that a dock has at least.
GUIDE_FOLDER = Path(__file__).with_name("guide")  # Holds a page in Markdown for each dock.
GUIDE_SIZE = (620, 640)  # Pixels of the window that shows a page.
LINK_COLOR = "#1f9a78"  # A green that can be read in the dark and in the light theme.
LABEL_WIDTH = 82  # Pixels that a label of a row has at least, so that the controls of all rows begin at one place.
LABEL_PADDING = 15  # Pixels that a label of napari's themes has above and below its text together.
PLOT_MARGIN = 9  # Pixels above and beside a plot. With less, the numbers at its ends would be cut off.
TITLE_MARGIN = 5  # Pixels below a plot. With less, letters such as g and y in the title of its axis would be cut off.
USUAL_TOOLTIP_KEY = "tinc_usual_tooltip"  # The Qt property with the tooltip of a control while it is enabled.

# napari's themes hardly show which control has the keyboard, so it gets a frame that stands out from both.
FOCUS_STYLE = "{border: 2px solid #1f9a78; border-radius: 2px}"
# The kinds of controls that get this frame.
FOCUSABLE = ("QAbstractButton", "QComboBox", "QLineEdit", "QAbstractSpinBox", "QAbstractSlider")


def labelled_row(text: str, widget: Widget) -> Container:
    """Return a row of a label and a control, whose accessible name is the label."""
    label = Label(value=text)
    label.min_width = LABEL_WIDTH
    label.native.setBuddy(widget.native)
    set_accessible_name(text, widget)
    return row(label, widget)


def set_accessible_name(text: str, *widgets: Widget) -> None:
    """Set what a screen reader calls widgets that show no text of their own."""
    for widget in widgets:
        inside = [each for kind in (QAbstractSlider, QAbstractSpinBox) for each in widget.native.findChildren(kind)]
        for native in (widget.native, *inside):  # A slider contains a box with its number.
            native.setAccessibleName(text)


def show_focus(native: QWidget) -> None:
    """Show which of the widgets inside has the keyboard. The surrounding area never takes it."""
    native.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    native.setStyleSheet(", ".join(f"{kind}:focus" for kind in FOCUSABLE) + FOCUS_STYLE)


def prepare_dock(native: QWidget) -> DockWatch:
    """Give a dock a least height, and make it a tab beside our other docks."""
    native.setMinimumHeight(LEAST_HEIGHT)
    return DockWatch(native)


def elide_long_choices(*choices: Widget) -> None:
    """Let lists cut off long names, so that these do not make the dock wide."""
    for choice in choices:
        choice.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        choice.native.setMinimumContentsLength(8)


def keep_keyboard_on_slider(slider: Widget) -> None:
    """Keep the keyboard on a slider that is moved. Its number would take it otherwise."""
    for number in slider.native.findChildren(QAbstractSpinBox):
        number.setKeyboardTracking(False)


def fold_button(title: str, content: QWidget) -> QPushButton:
    """Return a button that shows or hides ``content``, by mouse, Space or Enter. It is hidden at first.

    superqt's collapsible fixes the height of its content, so that lines that wrap later would be squeezed.
    """
    button = QPushButton()
    button.setCheckable(True)
    button.setAutoDefault(True)  # Enter presses it, as it does magicgui's buttons.
    button.setStyleSheet(f"QPushButton {{text-align: left}} QPushButton:focus {FOCUS_STYLE}")

    def show(on: bool) -> None:
        content.setVisible(on)
        button.setText(f"{'▾' if on else '▸'} {title}")

    button.toggled.connect(show)
    show(False)
    return button


def enable_unless(widget: Widget, reason: str = "") -> None:
    """Disable a widget and let its tooltip say the reason. An empty reason enables it and restores its tooltip."""
    native = widget.native
    usual = native.property(USUAL_TOOLTIP_KEY)
    if usual is None:
        usual = widget.tooltip
        native.setProperty(USUAL_TOOLTIP_KEY, usual)
    native.setEnabled(not reason)  # magicgui would leave the number of a slider as it is.
    widget.tooltip = reason or usual
    native.setToolTip(reason or usual)  # magicgui would leave out the number of a slider.


def help_button(page: str) -> PushButton:
    """Make the "?" button that opens a page of the guide: "compress", "leaves" or "compare"."""
    button = PushButton(text="?", tooltip="What is in this dock, and how to use it.")
    button.native.setAccessibleName("Help")
    button.native.setFixedWidth(28)
    button.clicked.connect(lambda: show_guide(page, button.native.window()))
    return button


def show_guide(page: str, parent: QWidget | None) -> QDialog:
    """Open a page of the guide in a separate window, which needs no network."""
    dialog = QDialog(parent)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setWindowTitle("TINC guide")
    text = QTextBrowser()
    text.sourceChanged.connect(lambda _: _brighten_links(text))
    text.setSource(QUrl.fromLocalFile(str(GUIDE_FOLDER / f"{page}.md")))
    layout = QVBoxLayout(dialog)
    layout.addWidget(text)
    dialog.resize(*GUIDE_SIZE)
    dialog.show()
    return dialog


def _brighten_links(text: QTextBrowser) -> None:
    """Give links a colour that can be read in both themes. Qt's own is dark blue."""
    links = []
    block = text.document().begin()
    while block.isValid():
        iterator = block.begin()
        while not iterator.atEnd():
            if (fragment := iterator.fragment()).charFormat().isAnchor():
                links.append((fragment.position(), fragment.length(), fragment.charFormat()))
            iterator += 1
        block = block.next()
    for position, length, style in links:
        cursor = QTextCursor(text.document())
        cursor.setPosition(position)
        cursor.setPosition(position + length, QTextCursor.MoveMode.KeepAnchor)
        style.setForeground(QColor(LINK_COLOR))
        cursor.setCharFormat(style)


def row(*widgets: Widget) -> Container:
    """Return a row of widgets without margins."""
    container = Container(layout="horizontal", labels=False, widgets=list(widgets))
    container.margins = (0, 0, 0, 0)
    return container


def wrap_long_lines(*labels: Label) -> None:
    """Let long lines wrap, so that these do not make the dock wide."""
    for label in labels:
        label.native.setWordWrap(True)
        label.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)


def keep_height(label: Label, lines: int) -> None:
    """Give a label that wraps room for so many lines, and let it only grow: what stands below does not jump."""
    label.native.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
    label.native.tinc_height = _KeptHeight(label.native, lines)


class _KeptHeight(QObject):
    """Keep a label as high as it ever was at its present width."""

    def __init__(self, native: Any, lines: int) -> None:
        super().__init__(native)
        self._native, self._lines = native, lines
        native.installEventFilter(self)
        self._reserve(0)

    def _reserve(self, height: int) -> None:
        """Set the least height, which is at least that of the reserved lines."""
        reserved = LABEL_PADDING + self._lines * self._native.fontMetrics().lineSpacing()
        self._native.setMinimumHeight(max(height, reserved))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if isinstance(event, QResizeEvent):
            width = event.size().width()
            if width != event.oldSize().width():
                self._reserve(0)
            self._reserve(max(self._native.heightForWidth(width), self._native.minimumHeight()))
        return False


def make_plot(bottom: str, left: str) -> Any:
    """Return a small plot, hidden at first, with titles of its axes; None without pyqtgraph, which "[all]" installs."""
    try:
        import pyqtgraph
    except ImportError:
        return None
    widget = pyqtgraph.PlotWidget(background=None)
    widget.setFixedHeight(150)
    widget.setMouseEnabled(False, False)
    widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    widget.hideButtons()
    widget.getPlotItem().layout.setContentsMargins(1, PLOT_MARGIN, PLOT_MARGIN, TITLE_MARGIN)
    for axis in ("bottom", "left"):
        widget.getAxis(axis).enableAutoSIPrefix(False)
    widget.setLabel("bottom", bottom)
    widget.setLabel("left", left)
    widget.tinc_plot_colors = _PlotColors(widget)
    widget.hide()
    return widget


class _PlotColors(QObject):
    """Draw a plot's axes in the colour of the theme's text, also when the theme changes."""

    def __init__(self, plot: Any) -> None:
        super().__init__(plot)
        self._plot = plot
        plot.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is not None and event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange, QEvent.Type.Show):
            color = self._plot.palette().color(QPalette.ColorRole.WindowText)
            for axis in map(self._plot.getAxis, ("bottom", "left")):
                if axis.textPen().color() != color:
                    axis.setPen(color)
                    axis.setTextPen(color)
        return False


class _CloseWatch(QObject):
    """Call back when napari takes a widget out of its dock."""

    def __init__(self, on_closed: Callable[[], None]) -> None:
        super().__init__()
        self._on_closed = on_closed

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ParentChange and watched.parent() is None:
            self._on_closed()
        return False


def watch_closing(native: Any, on_closed: Callable[[], None], on_destroyed: Callable[[], None]) -> None:
    """Call ``on_closed`` when napari closes a dock, and ``on_destroyed`` when its widget is destroyed.

    A widget is destroyed with its window; then nothing of Qt or of the canvas may be touched any more. Both arguments
    have to be methods, as they keep their object alive for as long as the Qt widget, the only part that napari keeps.
    """
    native.tinc_close_watch = _CloseWatch(on_closed)
    native.installEventFilter(native.tinc_close_watch)
    native.destroyed.connect(on_destroyed)
