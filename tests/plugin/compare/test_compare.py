"""The Compare dock, on a viewer without a window."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from compressed_layers import add, notified
from napari.components import ViewerModel
from qtpy.QtWidgets import QRadioButton
from volumes import brighter, small_volume

from napari_tinc.encoding.recalibration import recalibrated
from napari_tinc.plugin import commands
from napari_tinc.plugin.compare.modes import Mode
from napari_tinc.plugin.compare.original import is_calibrated
from napari_tinc.plugin.compare.widget import CompareWidget
from napari_tinc.plugin.layers.from_volume import to_layer
from napari_tinc.plugin.layers.origin import VOLUME


def test_a_result_for_another_original_is_dropped(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    widget = make(CompareWidget, viewer)
    widget.measure.native.click()
    widget.pair.original.value = viewer.add_image(brighter()[::-1], name="b")
    assert not widget.measure.enabled  # once, the other pair's choice gave the buttons back too early
    qtbot.waitUntil(lambda: widget.measure.enabled, timeout=30_000)
    assert "PSNR" not in widget.status.value and "Measuring" not in widget.status.value


def test_modes_of_comparison(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    widget = make(CompareWidget, viewer)
    widget.mode.value = str(Mode.SIDE)
    assert viewer.canvas.grid.enabled
    widget.mode.value = str(Mode.CURTAIN)
    assert not viewer.canvas.grid.enabled and "a curtain" in viewer.layers and widget.place.enabled
    widget.place.value = 0.25
    np.testing.assert_array_equal(np.asarray(viewer.layers["a curtain"].data[9])[:, :7], brighter()[9, :, :7])
    widget.mode.value = str(Mode.BLINK)
    qtbot.waitUntil(lambda: viewer.layers["a"].visible, timeout=5000)
    qtbot.waitUntil(lambda: viewer.layers["a (tinc)"].visible, timeout=5000)
    viewer.layers.remove("a")
    assert widget.mode.value == str(Mode.OFF) and not widget.mode.enabled and not widget._timer.isActive()
    assert viewer.layers["a (tinc)"].visible


def test_what_is_added_meanwhile_ends_a_comparison(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    """A difference covered the pane that was labelled as the original."""
    widget = make(CompareWidget, viewer)
    for mode in (Mode.SIDE, Mode.BLINK, Mode.CURTAIN):
        widget.mode.value = str(mode)
        viewer.add_points(np.zeros((1, 3)))
        assert widget.mode.value == str(Mode.OFF) and not viewer.canvas.grid.enabled
        assert "shared while" in widget.status.value  # no word of a line or of what is shown now
        assert viewer.layers["a"].visible and viewer.layers["a (tinc)"].visible and "a curtain" not in viewer.layers


def test_what_is_said_after_a_difference_under_a_curtain(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    widget = make(CompareWidget, viewer)
    widget.mode.value = str(Mode.CURTAIN)
    assert "Left of the line" in widget.status.value
    widget.signed.native.click()
    qtbot.waitUntil(lambda: "a difference" in viewer.layers and widget.signed.enabled, timeout=30_000)
    assert widget.mode.value == str(Mode.OFF) and "shared while" in widget.status.value


def test_a_multiscale_original(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    viewer.layers.remove("a")
    viewer.add_image([brighter(), brighter()[::2, ::2, ::2]], name="a", multiscale=True)
    widget = make(CompareWidget, viewer)
    assert widget.pair.original.value is viewer.layers["a"]
    widget.measure.native.click()
    qtbot.waitUntil(lambda: "PSNR" in widget.status.value, timeout=30_000)


def test_figures_of_a_comparison(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    widget = make(CompareWidget, viewer)
    widget.measure.native.click()
    qtbot.waitUntil(lambda: widget.measure.enabled, timeout=30_000)
    assert "PSNR" in widget.status.value and "99 %" in widget.status.value


def test_figures_are_forgotten_with_the_calibration_they_are_of(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    image = add(viewer, recalibrated(small_volume(), brighter()), "c")
    widget = make(CompareWidget, viewer)
    widget.pair.original.value = viewer.layers["a"]
    widget.measure.native.click()
    qtbot.waitUntil(lambda: "PSNR" in widget.status.value, timeout=30_000)
    commands.toggle_calibration(viewer)
    qtbot.waitUntil(lambda: not is_calibrated(image), timeout=30_000)
    assert "PSNR" not in widget.status.value
    widget.measure.native.click()
    commands.toggle_calibration(viewer)
    qtbot.waitUntil(lambda: is_calibrated(image) and widget.measure.enabled, timeout=30_000)
    assert "Measuring" not in widget.status.value


@pytest.mark.parametrize("mode", [Mode.SIDE, Mode.BLINK, Mode.CURTAIN])
def test_closing_the_dock_gives_the_viewer_back(viewer: ViewerModel, qtbot: Any, mode: Mode) -> None:
    from qtpy.QtWidgets import QDockWidget

    dock = QDockWidget()
    qtbot.addWidget(dock)
    dock.setWidget(CompareWidget(viewer).native)  # as napari does, which keeps nothing else
    gc.collect()
    native = dock.widget()
    next(button for button in native.findChildren(QRadioButton) if button.text() == str(mode)).click()
    assert viewer.canvas.grid.enabled or not viewer.layers["a (tinc)"].visible or not viewer.layers["a"].visible
    native.setParent(None)
    qtbot.addWidget(native)
    assert [layer.name for layer in viewer.layers if layer.visible] == ["a", "a (tinc)"]
    assert not viewer.canvas.grid.enabled


def test_a_difference_that_is_none_is_said(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    holes = brighter().astype(np.float32)
    holes[3, 4, 5] = np.nan
    viewer.layers.remove("a")
    viewer.add_image(holes, name="a")
    widget = make(CompareWidget, viewer)
    widget.signed.native.click()
    qtbot.waitUntil(lambda: notified() != [], timeout=30_000)
    said = "NaN or infinite values that are others"
    assert said in notified()[0] and len(viewer.layers) == 2 and said in widget.status.value


def test_another_layer_that_is_selected_while_two_are_compared(viewer: ViewerModel, make: Any) -> None:
    data, arguments = to_layer(small_volume(), "other (tinc)", 10**6)
    other = viewer.add_image(data, **arguments)
    viewer.layers.selection.active = next(layer for layer in viewer.layers if VOLUME in layer.metadata)
    widget = make(CompareWidget, viewer)
    for mode in (Mode.CURTAIN, Mode.SIDE):
        viewer.layers.selection.active = next(layer for layer in viewer.layers if VOLUME in layer.metadata)
        widget.mode.value = str(mode)
        viewer.layers.selection.active = other
        assert widget.pair.image.value is other and viewer.layers.selection.active is other
        assert widget.mode.value == str(Mode.OFF)
