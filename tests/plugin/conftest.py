"""A viewer without a window with a pair of layers, and docks for it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from compressed_layers import add
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from qtpy.QtGui import QDesktopServices
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


@pytest.fixture
def make_napari_viewer(make_napari_viewer: Any) -> Iterator[Any]:
    """Make viewers with a window, and keep the garbage collector from all that is older than the test: napari runs it
    at every change of its layers, and the modules of torch and Qt take it 0.3 s each time."""
    gc.freeze()
    yield make_napari_viewer
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _no_notifications() -> None:
    notification_manager.records.clear()


@pytest.fixture(autouse=True)
def opened_links(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The links that were opened in a browser, without one."""
    links: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: links.append(url.toString()) is None)
    return links
