"""Rows of a dock widget that is 350 pixels wide."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import Container, Label, Widget
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
