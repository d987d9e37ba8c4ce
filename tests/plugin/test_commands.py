"""Commands of the palette and the menus, on a viewer without a window."""

from __future__ import annotations

from typing import Any

import numpy as np
from compressed_layers import add, notified
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from volumes import brighter, small_volume

import napari_tinc as tinc
from napari_tinc.plugin import commands
from napari_tinc.plugin.compare.original import is_calibrated
from napari_tinc.plugin.leaves import overlays
from napari_tinc.plugin.leaves.widget import LeavesWidget


def test_commands_on_the_active_layer(viewer: ViewerModel, qtbot: Any) -> None:
    image = viewer.layers["a (tinc)"]
    commands.show_leaves(viewer)
    assert viewer.layers["a leaves"].visible
    commands.show_leaves(viewer)  # the overlay is active now, and leads to its image
    assert not viewer.layers["a leaves"].visible
    commands.show_error(viewer)
    assert "a leaf RMSE (data units)" in viewer.layers
    commands.show_error(viewer)
    assert "a leaf RMSE (data units)" not in viewer.layers
    viewer.layers.selection.active = image
    if is_calibrated(image):
        add(viewer, tinc.compress(np.full((9, 10, 11), 7, np.uint8), ratio=2), "plain")
    else:
        add(viewer, small_volume(), "plain")
    commands.toggle_calibration(viewer)
    qtbot.waitUntil(lambda: any("plain has no calibration" in text for text in notified()), timeout=30_000)
    assert str(notification_manager.records[-1].severity) == "info"  # nobody did anything wrong


def test_calibration_is_toggled_by_a_command(viewer: ViewerModel, qtbot: Any) -> None:
    image = add(viewer, tinc.recalibrate(small_volume(), brighter()), "c")
    values = image.data
    commands.toggle_calibration(viewer)
    qtbot.waitUntil(lambda: "c: calibration off" in notified(), timeout=30_000)
    assert not np.array_equal(image.data, values)
    assert (overlays.leaf_view(viewer, image).rows["gain"] == 1).all()
    commands.toggle_calibration(viewer)
    qtbot.waitUntil(lambda: "c: calibration on" in notified(), timeout=30_000)
    assert image.data is values


def test_commands_without_a_compressed_layer_say_so(viewer: ViewerModel) -> None:
    viewer.layers.selection.active = viewer.layers["a"]
    for command in (commands.show_leaves, commands.show_error, commands.toggle_calibration):
        notification_manager.records.clear()
        command(viewer)
        assert notified() == ["Select a layer that was opened from a .tinc file, or made by Compress."]


def test_widgets_follow_what_commands_do(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    image = add(viewer, tinc.recalibrate(small_volume(), brighter()), "c")
    widget = make(LeavesWidget, viewer)
    assert widget.calibrated.value
    commands.toggle_calibration(viewer)
    qtbot.waitUntil(lambda: not widget.calibrated.value, timeout=30_000)
    assert "Calibration switched off" in widget.status.value and not is_calibrated(image)
    commands.show_leaves(viewer)
    assert widget.outlines.value
    viewer.layers["c leaves"].visible = False  # the eye in the layer list
    assert not widget.outlines.value
    widget.worst.value = 10
    widget.pair.image.value = viewer.layers["a (tinc)"]
    assert widget.worst.value == 256
    widget.pair.image.value = image
    assert widget.worst.value == 10
