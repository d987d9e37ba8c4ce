"""Rows of a dock widget that is 350 pixels wide."""

from __future__ import annotations

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
