"""Files of blocks and of labels in a real napari: opened, scrolled, their leaves shown, closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels
from volumes import small_array

import napari_tinc as tinc
from napari_tinc.plugin.layers import display, from_volume
from napari_tinc.plugin.leaves.widget import LeavesWidget


def leaves_of(viewer: Any) -> LeavesWidget:
    _, widget = viewer.window.add_plugin_dock_widget("napari-tinc", "Leaves")
    assert isinstance(widget, LeavesWidget)
    return widget


def look_around(viewer: Any) -> None:
    for axis in range(3):
        viewer.dims.order = tuple(np.roll(range(3), axis))
        for step in (0, 7, 15):
            viewer.dims.set_current_step(viewer.dims.order[0], step)
            viewer.screenshot(flash=False)
    viewer.dims.order = (0, 1, 2)


def test_a_file_of_blocks(make_napari_viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "OVERVIEW_VOXELS", 2**14)  # so that it is lazy, and has levels
    monkeypatch.setattr(from_volume, "MOST_BLOCKS", 1)
    array = np.tile(small_array(), (2, 2, 2))
    tinc.compress(array, max_error=0.5, block=16).save(tmp_path / "a.tinc")
    viewer = make_napari_viewer()
    (layer,) = viewer.open(tmp_path / "a.tinc", plugin="napari-tinc")
    assert layer.multiscale and layer.metadata["tinc_promise"] == "every voxel within 0.5"
    np.testing.assert_array_equal(layer.data[0], array)  # integers
    look_around(viewer)
    widget = leaves_of(viewer)
    assert "every voxel within 0.5" in widget.status.value
    widget.outlines.native.click()
    widget.map.native.click()
    look_around(viewer)
    for ndisplay in (3, 2):
        viewer.dims.ndisplay = ndisplay
        viewer.screenshot(flash=False)
        assert widget.view is not None and widget.view.leaves_shown
    viewer.close()


def test_a_file_of_labels(make_napari_viewer: Any, tmp_path: Path) -> None:
    names = (small_array() > 300).astype(np.int32) * 70_000
    tinc.compress(names, max_error=0, labels=True, block=16, spacing=(2, 1, 1)).save(tmp_path / "cells.tinc")
    viewer = make_napari_viewer()
    (layer,) = viewer.open(tmp_path / "cells.tinc", plugin="napari-tinc")
    assert isinstance(layer, Labels) and list(layer.scale) == [2, 1, 1]
    look_around(viewer)
    widget = leaves_of(viewer)
    widget.outlines.native.click()
    assert "every voxel bit for bit" in widget.status.value
    look_around(viewer)
    viewer.layers.remove(layer)  # with what overlays it
    assert not viewer.layers

    (layer,) = viewer.open(tmp_path / "cells.tinc", plugin="napari-tinc")
    layer.paint((5, 5, 5), 9)
    viewer.layers.save(str(tmp_path / "painted.tinc"), plugin="napari-tinc")
    np.testing.assert_array_equal(np.asarray(tinc.open(tmp_path / "painted.tinc")), layer.data)
    viewer.close()
