"""A viewer without a window with an image, and Compress docks with short fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from compress_dock import QUICK
from napari.components import ViewerModel
from volumes import small_array

from napari_tinc.plugin.compress import widget as compress_widget
from napari_tinc.plugin.compress.widget import CompressWidget
from napari_tinc.training import task


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.STEPS, "fast", 1)
    monkeypatch.setattr(compress_widget, "read_preferences", lambda: QUICK)


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(small_array(), name="a", scale=(2, 0.5, 0.5), units=("um",) * 3, axis_labels=("z", "y", "x"))
    return viewer


@pytest.fixture
def make_widget(qtbot: Any) -> Iterator[Callable[[Any], CompressWidget]]:
    widgets: list[CompressWidget] = []

    def make(viewer: Any) -> CompressWidget:
        widget = CompressWidget(viewer)
        qtbot.addWidget(widget.native)
        widgets.append(widget)
        qtbot.waitUntil(lambda: widget.device.value == "cpu", timeout=30_000)  # torch's devices were found
        return widget

    yield make
    for widget in widgets:
        if widget.queue.running:
            widget.queue.running.control.cancel.set()
            qtbot.waitUntil(lambda widget=widget: widget.queue.running is None, timeout=20_000)
