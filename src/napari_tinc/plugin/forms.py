"""Rows of a dock widget that is 350 pixels wide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.widgets import Container, Label, PushButton, Widget
from qtpy.QtCore import QEvent, QObject, Qt, QUrl
from qtpy.QtGui import QColor, QPalette, QTextCursor
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

LEAST_HEIGHT = 200  # pixels of a panel
GUIDE = Path(__file__).with_name("guide")  # a page in Markdown for each dock
GUIDE_SIZE = (620, 640)  # pixels of the window that shows a page
LINK_COLOR = "#1f9a78"  # Stands out from the dark and from the light theme.
LABEL_WIDTH = 82  # pixels; magicgui's own alignment does not see napari's fonts
PLOT_MARGIN = 9  # pixels above and beside a plot: half the height of a number, which would be cut off
USUAL_TOOLTIP_KEY = "tinc_usual_tooltip"  # Qt property: the tooltip of a widget that may be used

# napari's themes hardly show what has the keyboard. A colour that stands out from both, dark and light.
FOCUS_STYLE = "{border: 2px solid #1f9a78; border-radius: 2px}"
FOCUSABLE = ("QAbstractButton", "QComboBox", "QLineEdit", "QAbstractSpinBox", "QAbstractSlider")


def labelled_row(text: str, widget: Widget) -> Container:
    label = Label(value=text)
    label.min_width = LABEL_WIDTH
    label.native.setBuddy(widget.native)
    set_accessible_name(text, widget)
    return row(label, widget)


def set_accessible_name(text: str, *widgets: Widget) -> None:
    """What a screen reader calls them, where their own text does not say it."""
    for widget in widgets:
        inside = [each for kind in (QAbstractSlider, QAbstractSpinBox) for each in widget.native.findChildren(kind)]
        for native in (widget.native, *inside):  # a slider has its number beside it
            native.setAccessibleName(text)


def show_focus(native: QWidget) -> None:
    """Let one see which of the widgets inside has the keyboard; what only surrounds them never has."""
    native.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    native.setStyleSheet(", ".join(f"{kind}:focus" for kind in FOCUSABLE) + FOCUS_STYLE)


def prepare_dock(native: QWidget) -> DockWatch:
    """Give a dock room: a least height, and a tab beside our other docks instead of a share of their place."""
    native.setMinimumHeight(LEAST_HEIGHT)
    return DockWatch(native)


def elide_long_choices(*choices: Widget) -> None:
    """Let long names be cut off instead of making the widget wide."""
    for choice in choices:
        choice.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        choice.native.setMinimumContentsLength(8)


def keep_keyboard_on_slider(slider: Widget) -> None:
    """Keep the keyboard on a slider that is moved: its number, which follows, would take it."""
    for number in slider.native.findChildren(QAbstractSpinBox):
        number.setKeyboardTracking(False)


def fold_button(title: str, content: QWidget) -> QPushButton:
    """A button, by mouse, Space or Enter, that shows content which is hidden at first.

    Not superqt's: that gives content the height which it has then, and lines that wrap later are squeezed.
    """
    button = QPushButton()
    button.setCheckable(True)
    button.setAutoDefault(True)  # Enter, as for magicgui's buttons
    button.setStyleSheet(f"QPushButton {{text-align: left}} QPushButton:focus {FOCUS_STYLE}")

    def show(on: bool) -> None:
        content.setVisible(on)
        button.setText(f"{'▾' if on else '▸'} {title}")

    button.toggled.connect(show)
    show(False)
    return button


def enable_unless(widget: Widget, reason: str = "") -> None:
    """Enable a widget, or disable it and let its tooltip say why.

    An empty reason enables it and restores its usual tooltip.
    """
    native = widget.native
    usual = native.property(USUAL_TOOLTIP_KEY)
    if usual is None:
        usual = widget.tooltip
        native.setProperty(USUAL_TOOLTIP_KEY, usual)
    native.setEnabled(not reason)  # of a slider, its number too, which magicgui's own leaves as it is
    widget.tooltip = reason or usual
    native.setToolTip(reason or usual)  # of a slider, magicgui's own leaves out the number


def help_button(page: str) -> PushButton:
    """Make the "?" button that opens a page of the guide: "compress", "leaves" or "compare"."""
    button = PushButton(text="?", tooltip="What is in this dock, and how to use it.")
    button.native.setAccessibleName("Help")
    button.native.setFixedWidth(28)
    button.clicked.connect(lambda: show_guide(page, button.native.window()))
    return button


def show_guide(page: str, parent: QWidget | None) -> QDialog:
    """Open a page of the guide in a window of its own, beside the one that is in use. It needs no network."""
    dialog = QDialog(parent)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setWindowTitle("TINC guide")
    text = QTextBrowser()
    text.sourceChanged.connect(lambda _: _brighten_links(text))
    text.setSource(QUrl.fromLocalFile(str(GUIDE / f"{page}.md")))
    layout = QVBoxLayout(dialog)
    layout.addWidget(text)
    dialog.resize(*GUIDE_SIZE)
    dialog.show()
    return dialog


def _brighten_links(text: QTextBrowser) -> None:
    """Give links a colour that can be read in both themes; Qt's own is dark blue."""
    links = []
    block = text.document().begin()
    while block.isValid():
        place = block.begin()
        while not place.atEnd():
            if (part := place.fragment()).charFormat().isAnchor():
                links.append((part.position(), part.length(), part.charFormat()))
            place += 1
        block = block.next()
    for position, length, style in links:
        cursor = QTextCursor(text.document())
        cursor.setPosition(position)
        cursor.setPosition(position + length, QTextCursor.MoveMode.KeepAnchor)
        style.setForeground(QColor(LINK_COLOR))
        cursor.setCharFormat(style)


def row(*widgets: Widget) -> Container:
    container = Container(layout="horizontal", labels=False, widgets=list(widgets))
    container.margins = (0, 0, 0, 0)
    return container


def wrap_long_lines(*labels: Label) -> None:
    """Let long lines wrap instead of making the widget wide."""
    for label in labels:
        label.native.setWordWrap(True)
        label.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)


def plot(bottom: str, left: str) -> Any:
    """A small pyqtgraph plot, hidden; None where that is not installed, as it is in the extra "all" only."""
    try:
        import pyqtgraph
    except ImportError:
        return None
    widget = pyqtgraph.PlotWidget(background=None)
    widget.setFixedHeight(150)
    widget.setMouseEnabled(False, False)
    widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    widget.hideButtons()
    widget.getPlotItem().layout.setContentsMargins(1, PLOT_MARGIN, PLOT_MARGIN, 1)
    for axis in ("bottom", "left"):
        widget.getAxis(axis).enableAutoSIPrefix(False)
    widget.setLabel("bottom", bottom)
    widget.setLabel("left", left)
    widget.tinc_plot_colors = _PlotColors(widget)
    widget.hide()
    return widget


class _PlotColors(QObject):
    """Draws a plot's axes in the colour of the theme's text, and follows it when the theme changes."""

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
    def __init__(self, on_closed: Callable[[], None]) -> None:
        super().__init__()
        self._on_closed = on_closed

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ParentChange and watched.parent() is None:
            self._on_closed()
        return False


def watch_closing(native: Any, on_closed: Callable[[], None], on_destroyed: Callable[[], None]) -> None:
    """Call back when napari closes a dock, which takes its widget out of it, and when the widget is destroyed.

    When it is destroyed, as with all of the window, nothing of Qt or of the canvas may be touched any more. Both have
    to be methods; what they belong to lives as long as the widget, of which napari keeps no more than that.
    """
    native.tinc_close_watch = _CloseWatch(on_closed)
    native.installEventFilter(native.tinc_close_watch)
    native.destroyed.connect(on_destroyed)
