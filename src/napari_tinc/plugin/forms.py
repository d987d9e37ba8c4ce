"""Rows of a dock widget that is 350 pixels wide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import Container, Label, Widget
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QSizePolicy

LABEL_WIDTH = 60  # pixels; magicgui's own alignment does not see napari's fonts


def labelled(text: str, widget: Widget) -> Container:
    label = Label(value=text)
    label.min_width = LABEL_WIDTH
    return row(label, widget)


def row(*widgets: Widget) -> Container:
    container = Container(layout="horizontal", labels=False, widgets=list(widgets))
    container.margins = (0, 0, 0, 0)
    return container


def wrapped(*labels: Label) -> None:
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
    widget.hideButtons()
    widget.setLabel("bottom", bottom)
    widget.setLabel("left", left)
    widget.hide()
    return widget


class _Watch(QObject):
    def __init__(self, on_closed: Callable[[], None]) -> None:
        super().__init__()
        self._on_closed = on_closed

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ParentChange and watched.parent() is None:
            self._on_closed()
        return False


def watch_end(native: Any, on_closed: Callable[[], None], on_destroyed: Callable[[], None]) -> None:
    """Call back when napari closes a dock, which takes its widget out of it, and when the widget is destroyed.

    When it is destroyed, as with all of the window, nothing of Qt or of the canvas may be touched any more. Both have
    to be methods; what they belong to lives as long as the widget, of which napari keeps no more than that.
    """
    native.tinc_watch = _Watch(on_closed)
    native.installEventFilter(native.tinc_watch)
    native.destroyed.connect(on_destroyed)
