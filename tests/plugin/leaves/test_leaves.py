"""The Leaves dock, and what it shares with Compare; all but one test on a viewer without a window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compressed_layers import add, notified
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from superqt.utils import WorkerBase
from volumes import brighter, small_array, small_volume

import napari_tinc as tinc
from napari_tinc.plugin import commands
from napari_tinc.plugin.compare import detail, pair
from napari_tinc.plugin.compare.modes import Mode
from napari_tinc.plugin.compare.original import NO_NETWORKS, is_calibrated
from napari_tinc.plugin.compare.widget import CompareWidget
from napari_tinc.plugin.layers.from_volume import to_layer
from napari_tinc.plugin.layers.origin import VOLUME
from napari_tinc.plugin.leaves.widget import LeavesWidget


def test_the_widget_finds_the_pair_and_shows_its_leaves(viewer: ViewerModel, make: Any) -> None:
    widget = make(LeavesWidget, viewer)
    assert widget.pair.image.value is viewer.layers["a (tinc)"] and widget.pair.original.value is viewer.layers["a"]
    assert "8 leaves: 8 on level 1" in widget.status.value
    widget.outlines.value = True
    assert "a leaves" in viewer.layers
    widget.column.value = "bytes"
    assert widget.view.column == "bytes"
    widget.map.value = True
    assert viewer.layers["a leaf RMSE (data units)"].metadata["column"] == "RMSE"
    widget.map_column.value = "gain"
    assert "a leaf gain" in viewer.layers and "a leaf RMSE (data units)" not in viewer.layers
    widget.map.value = False
    assert "a leaf gain" not in viewer.layers
    viewer.layers.remove("a leaves")
    assert not widget.outlines.value
    widget.worst.value = 3
    assert widget.view.worst == 3


def test_without_a_compressed_layer_there_is_nothing_to_click(make: Any) -> None:
    viewer = ViewerModel()
    widget, other = make(LeavesWidget, viewer), make(CompareWidget, viewer)
    assert not widget.outlines.enabled and not widget.measure.enabled and not other.mode.enabled
    assert widget.status.value.startswith("Open a .tinc file")
    add(viewer, small_volume())
    assert widget.outlines.enabled and not widget.measure.enabled  # there is no original yet
    viewer.add_image(small_array(), name="a")
    assert widget.measure.enabled and other.mode.enabled


def test_the_widget_follows_the_active_layer(viewer: ViewerModel, make: Any) -> None:
    widget = make(LeavesWidget, viewer)
    second = add(viewer, small_volume(), "b")
    assert widget.pair.image.value is second
    viewer.layers.selection.active = viewer.layers["a"]
    assert widget.pair.image.value is second  # a layer that is not compressed says nothing
    viewer.layers.remove("b")
    assert widget.pair.image.value is viewer.layers["a (tinc)"]


def test_measuring_fills_the_table(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    widget = make(LeavesWidget, viewer)
    widget.outlines.value = True
    widget.measure.native.click()
    assert not widget.measure.enabled and widget.status.value == "Measuring ..."
    qtbot.waitUntil(lambda: not widget.pair.busy, timeout=30_000)
    quality = tinc.compare(brighter(), small_volume())
    assert f"PSNR {quality.psnr:.2f} dB" in widget.status.value and widget.measure.enabled
    assert "Against a:" in widget.status.value
    viewer.add_image(brighter(), name="other")
    widget.pair.original.value = viewer.layers["other"]
    assert "Against a:" not in widget.status.value and "PSNR" not in widget.status.value
    assert "were measured against a." in widget.status.value  # the table still shows them
    widget.pair.original.value = viewer.layers["a"]
    assert f"PSNR {quality.psnr:.2f} dB" in widget.status.value
    viewer.layers.remove("a")
    assert widget.pair.original.value is None and "PSNR" not in widget.status.value
    assert widget.status.value.endswith("\nChoose the original.")
    features = viewer.layers["a leaves"].features
    assert features["max error"].max() == pytest.approx(quality.max_error, rel=1e-3)


def test_measuring_in_one_dock_is_known_in_the_other(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    leaves, compare = make(LeavesWidget, viewer), make(CompareWidget, viewer)
    compare.measure.native.click()
    qtbot.waitUntil(lambda: not compare.pair.busy, timeout=30_000)
    errors, _, detail = compare.status.value.partition("\nFourier")
    assert "Against a:" in leaves.status.value and errors in leaves.status.value and detail
    quality = tinc.compare(brighter(), small_volume())
    assert leaves.view.rows["max_error"].max() == pytest.approx(quality.max_error, rel=1e-3)


def test_a_calibration_that_is_not_worth_it_is_said_in_plain_words(make: Any, qtbot: Any) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.asarray(small_volume()), name="a")
    add(viewer, small_volume())
    widget = make(LeavesWidget, viewer)
    widget.recalibrate.native.click()
    qtbot.waitUntil(lambda: not widget.pair.busy, timeout=30_000)
    assert widget.status.value.endswith("Calibration would gain less than 0.005 dB here, so none is stored.")


def test_what_cannot_be_used_says_why(viewer: ViewerModel, make: Any) -> None:
    widget, other = make(LeavesWidget, viewer), make(CompareWidget, viewer)
    assert widget.measure.native.toolTip().startswith("The error of every leaf")
    assert widget.calibrated.native.toolTip() == "Not calibrated. Use Recalibrate first."
    assert other.place.native.toolTip() == "Choose the curtain first."
    other.mode.value = str(Mode.CURTAIN)
    assert other.place.native.toolTip() == "Where the curtain hangs."
    viewer.add_image(brighter(), name="b")
    viewer.layers.remove("a")
    for control in (widget.measure, widget.signed, widget.recalibrate, other.mode, other.measure, other.absolute):
        assert not control.enabled and control.native.toolTip() == "Choose the original."
    assert other.status.value == "Choose the original."
    viewer.layers.remove("b")
    assert widget.measure.native.toolTip().startswith("Open the volume that it was made from")
    viewer.layers.clear()
    for control in (widget.outlines, widget.table, widget.measure, other.mode):
        assert not control.enabled and control.native.toolTip() == "Open a .tinc file, or compress a layer, first."


def test_recalibrating_improves_what_is_shown_and_can_be_taken_away(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    widget, image = make(LeavesWidget, viewer), viewer.layers["a (tinc)"]
    widget.recalibrate.native.click()
    qtbot.waitUntil(lambda: not widget.pair.busy, timeout=30_000)
    assert is_calibrated(image) and widget.calibrated.value and "To keep it, save the layer" in widget.status.value
    better = tinc.compare(brighter(), image.data).psnr
    assert better > tinc.compare(brighter(), small_volume()).psnr + 1
    widget.calibrated.native.click()
    qtbot.waitUntil(lambda: not is_calibrated(image), timeout=30_000)
    assert tinc.compare(brighter(), image.data).psnr < better and not widget.calibrated.value
    widget.calibrated.native.click()
    qtbot.waitUntil(lambda: is_calibrated(image), timeout=30_000)


def test_what_was_measured_outlives_a_toggle(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    """Once errors were those of the file again, or none, and colours went over to levels."""
    widget, image = make(LeavesWidget, viewer), viewer.layers["a (tinc)"]
    widget.recalibrate.native.click()
    qtbot.waitUntil(lambda: not widget.pair.busy, timeout=30_000)
    rows, summary = widget.view.rows, widget.status.value
    widget.column.value = "RMSE"
    for calibrated in (False, True):
        widget.calibrated.native.click()
        qtbot.waitUntil(lambda on=calibrated: is_calibrated(image) is on, timeout=30_000)
        assert widget.column.value == "RMSE"
        quality = tinc.compare(brighter(), image.data)
        assert widget.view.rows["max_error"].max() == pytest.approx(quality.max_error, rel=1e-3)
        assert ("without calibration" in widget.status.value) is not calibrated
    np.testing.assert_array_equal(widget.view.rows, rows)
    assert widget.status.value == summary


def test_differences_are_added(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    widget = make(LeavesWidget, viewer)
    widget.absolute.native.click()
    qtbot.waitUntil(lambda: "a absolute difference" in viewer.layers, timeout=30_000)
    assert widget.pair.original.value is viewer.layers["a"]  # a difference is nobody's original


def test_a_failure_is_said_once_and_the_buttons_come_back(
    viewer: ViewerModel, make: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(pair, "measure", fail)
    monkeypatch.setattr(detail, "measure", fail)
    for widget in (make(LeavesWidget, viewer), make(CompareWidget, viewer)):
        notification_manager.records.clear()
        widget.measure.native.click()
        qtbot.waitUntil(lambda widget=widget: widget.measure.enabled, timeout=30_000)
        assert notified() == ["RuntimeError: out of memory"]


def test_a_result_for_a_layer_that_is_gone_is_dropped(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    widget = make(LeavesWidget, viewer)
    widget.measure.native.click()
    viewer.layers.remove("a (tinc)")
    qtbot.waitUntil(lambda: not widget.pair.busy, timeout=30_000)
    assert notified() == [] and [layer.name for layer in viewer.layers] == ["a"]
    add(viewer, small_volume())
    widget.signed.native.click()
    viewer.layers.remove("a (tinc)")
    qtbot.waitUntil(lambda: not widget.pair.busy, timeout=30_000)
    assert notified() == [] and [layer.name for layer in viewer.layers] == ["a"]


def test_a_layer_that_was_changed_is_not_measured(viewer: ViewerModel, make: Any) -> None:
    """Figures were those of the file, and recalibrating threw the changes away."""
    layer = viewer.layers["a (tinc)"]
    layer.data = changed = layer.data // 2
    leaves, compare = make(LeavesWidget, viewer), make(CompareWidget, viewer)
    for button in (leaves.measure, leaves.recalibrate, leaves.signed, compare.measure):
        notification_manager.records.clear()
        button.native.click()
        assert "was changed since it was decoded" in notified()[0]
    compare.mode.value = str(Mode.CURTAIN)
    assert compare.mode.value == str(Mode.OFF) and "was changed" in compare.status.value
    leaves.calibrated.value = not leaves.calibrated.value
    assert layer.data is changed


def test_a_projection_is_no_volume(viewer: ViewerModel, make: Any) -> None:
    """napari's projections keep metadata; recalibrating one made a volume of it."""
    image = viewer.layers["a (tinc)"]
    viewer.add_image(image.data.max(axis=0), name="max", metadata=image.metadata)
    widget = make(LeavesWidget, viewer)
    viewer.layers.selection.active = viewer.layers["max"]
    assert "max" not in [layer.name for layer in widget.pair.image.choices]
    viewer.layers.remove("a (tinc)")
    viewer.layers.selection.active = viewer.layers["max"]
    assert widget.pair.image.value is None and "no longer the volume" in widget.status.value


def test_a_panel_that_fits_a_laptop(viewer: ViewerModel, make: Any) -> None:
    for kind in (LeavesWidget, CompareWidget):
        hint = make(kind, viewer).native.widget().minimumSizeHint()
        assert hint.width() <= 350 and hint.height() <= 700, kind


def test_leaves_of_a_file_that_was_cut_off_say_so(make: Any) -> None:
    viewer = ViewerModel()
    cut_off = tinc.TincVolume(small_volume().parts.data()[:-1], partial=True)
    add(viewer, cut_off, "cut")
    assert f"Incomplete: the file was cut off, and {cut_off.n_missing} parts" in make(LeavesWidget, viewer).status.value


def test_no_original_is_a_choice(viewer: ViewerModel, make: Any) -> None:
    widget = make(LeavesWidget, viewer)
    widget.pair.original.value = None
    viewer.add_labels(np.zeros((20, 24, 28), np.uint8))
    assert widget.pair.original.value is None


def test_a_widget_that_is_gone_is_not_touched(viewer: ViewerModel, qtbot: Any) -> None:
    for kind in (LeavesWidget, CompareWidget):
        widget = kind(viewer)
        widget.measure.native.click()
        with qtbot.waitSignal(widget.native.destroyed):
            widget.native.deleteLater()
        qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=30_000)
        viewer.layers.selection.active = viewer.layers["a"]
        viewer.layers.selection.active = viewer.layers["a (tinc)"]
    commands.show_leaves(viewer)
    assert notified() == []


def test_in_a_real_window(make_napari_viewer: Any, qtbot: Any) -> None:
    from napari._app_model import get_app_model

    viewer = make_napari_viewer(show=True)
    viewer.add_image(brighter(), name="a")
    data, arguments = to_layer(small_volume(), "a (tinc)", 10**6)
    viewer.add_image(data, name="a (tinc)", metadata=arguments["metadata"])
    run = get_app_model().commands.execute_command
    run("napari-tinc.leaves_widget")
    run("napari-tinc.compare")
    widget = viewer.window.dock_widgets["Leaves (TINC)"]
    widget.outlines.native.click()
    assert viewer.layers["a leaves"].visible
    viewer.dims.ndisplay = 3
    assert viewer.layers["a leaf boxes"].visible
    viewer.dims.ndisplay = 2
    widget.table.native.click()
    assert viewer.layers.selection.active is viewer.layers["a leaves"]
    table = viewer.window.dock_widgets["Features table widget (napari)"].table
    model = table.model()
    row = next(row for row in range(model.rowCount()) if model.index(row, 1).data() == 8)
    table.selectRow(row)
    assert viewer.layers["a leaves"].selected_label == 8
    assert viewer.dims.current_step[0] == small_volume().leaves[7]["start"][0] + 4  # the middle of 10 voxels
    run("napari-tinc.show_leaves")
    assert not viewer.layers["a leaves"].visible and len(viewer.layers) == 4  # one view, whoever asks
    other = viewer.window.dock_widgets["Compare (TINC)"]
    other.mode.value = str(Mode.CURTAIN)
    assert viewer.layers["a curtain"].visible and other.mode.value == str(Mode.CURTAIN)
    assert np.asarray(viewer.screenshot(flash=False)).std() > 10
    assert viewer.layers["a (tinc)"].metadata[VOLUME] is small_volume()
    other.mode.value = str(Mode.SIDE)  # and the window is closed in it


@pytest.mark.parametrize("bound", [0.0, 3.0])
def test_leaves_of_a_file_without_networks_say_what_it_promises(make: Any, qtbot: Any, bound: float) -> None:
    viewer = ViewerModel()
    viewer.add_image(small_array(), name="a")
    data, arguments = to_layer(tinc.compress(small_array(), max_error=bound, block=16), "a (tinc)", 10**6)
    viewer.add_image(data, **arguments)
    widget = make(LeavesWidget, viewer)
    promise = f"every voxel within {bound:g}" if bound else "every voxel bit for bit"
    assert "8 blocks, coded without networks (predictive coder)" in widget.status.value
    assert f"Promised: {promise}" in widget.status.value
    for control in (widget.calibrated, widget.recalibrate):
        assert not control.enabled and control.native.toolTip() == NO_NETWORKS
    assert widget.map_column.value == "RMSE"
    assert (widget.view.rows["max_error"] <= 1.06 * bound).all()
    for ndisplay in (2, 3):
        viewer.dims.ndisplay = ndisplay
        widget.outlines.value = True
        assert widget.view.leaves_shown
    widget.map.value = True
    widget.measure.native.click()
    qtbot.waitUntil(lambda: not widget.pair.busy, timeout=30_000)
    assert f"Promised: {promise}" in widget.status.value and widget.view.rows["max_error"].max() <= bound


def test_leaves_of_labels(make: Any) -> None:
    viewer = ViewerModel()
    names = (small_array() > 300).astype(np.uint8)
    data, arguments = to_layer(tinc.compress(names, max_error=0, labels=True, block=16), "a", 10**6)
    viewer.add_labels(data, **arguments)
    widget = make(LeavesWidget, viewer)
    widget.outlines.value = True
    assert len(viewer.layers) == 2 and widget.view.leaves_shown and "bit for bit" in widget.status.value
    assert not widget.measure.enabled
    assert "nothing to compare" in make(CompareWidget, viewer).status.value
