"""A viewer without a window with a pair of layers, and docks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from compressed_layers import add
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from volumes import brighter, small_volume


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(brighter(), name="a", scale=(2, 0.5, 0.5), units=("um",) * 3, axis_labels=("z", "y", "x"))
    add(viewer, small_volume())
    return viewer


@pytest.fixture
def make(qtbot: Any) -> Callable[[Any, Any], Any]:
    def make(kind: Any, viewer: Any) -> Any:
        widget = kind(viewer)
        qtbot.addWidget(widget.native)
        viewer.layers.events.inserted.connect(widget.reset_choices)  # as napari does
        viewer.layers.events.removed.connect(widget.reset_choices)
        return widget

    return make


@pytest.fixture(autouse=True)
def _no_notifications() -> None:
    notification_manager.records.clear()
