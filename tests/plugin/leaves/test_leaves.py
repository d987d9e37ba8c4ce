"""The leaves and compare widgets and the commands; all but the last test on a viewer without a window."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QRadioButton
from superqt.utils import WorkerBase
from volumes import brighter, small_array, small_volume

import napari_tinc as tinc
from napari_tinc.plugin import commands
from napari_tinc.plugin.compare import pair
from napari_tinc.plugin.compare.modes import Mode
from napari_tinc.plugin.compare.original import NO_NETWORKS, is_calibrated
from napari_tinc.plugin.compare.widget import CompareWidget
from napari_tinc.plugin.layers.from_volume import to_layer
from napari_tinc.plugin.layers.origin import VOLUME
from napari_tinc.plugin.leaves import overlays
from napari_tinc.plugin.leaves.widget import LeavesWidget


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(brighter(), name="a", scale=(2, 0.5, 0.5), units=("um",) * 3, axis_labels=("z", "y", "x"))
    add(viewer, small_volume())
    return viewer


def add(viewer: ViewerModel, volume: tinc.TincVolume, name: str = "a (tinc)") -> Any:
    data, arguments = to_layer(volume, name, 10**6)
    return viewer.add_image(data, **arguments)


@pytest.fixture
def make(qtbot: Any) -> Callable[[Any, Any], Any]:
    def make(kind: Any, viewer: Any) -> Any:
        widget = kind(viewer)
        qtbot.addWidget(widget.native)
        viewer.layers.events.inserted.connect(widget.reset_choices)  # as napari does
        viewer.layers.events.removed.connect(widget.reset_choices)
        return widget

    return make


def notified() -> list[str]:
    return [notification.message for notification in notification_manager.records]


@pytest.fixture(autouse=True)
def _no_notifications() -> None:
    notification_manager.records.clear()


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
    assert "Against a:" in leaves.status.value and compare.status.value in leaves.status.value
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


def test_a_panel_that_fits_a_laptop(viewer: ViewerModel, make: Any) -> None:
    for kind in (LeavesWidget, CompareWidget):
        hint = make(kind, viewer).native.widget().minimumSizeHint()
        assert hint.width() <= 350 and hint.height() <= 700, kind


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


def test_leaves_of_a_file_that_was_cut_off_say_so(make: Any) -> None:
    viewer = ViewerModel()
    cut_off = tinc.TincVolume(small_volume().parts.data()[:-1], partial=True)
    add(viewer, cut_off, "cut")
    assert f"Incomplete: the file was cut off, and {cut_off.n_missing} parts" in make(LeavesWidget, viewer).status.value


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
    assert "Not calibrated" in widget.status.value and not is_calibrated(image)
    commands.show_leaves(viewer)
    assert widget.outlines.value
    viewer.layers["c leaves"].visible = False  # the eye in the layer list
    assert not widget.outlines.value
    widget.worst.value = 10
    widget.pair.image.value = viewer.layers["a (tinc)"]
    assert widget.worst.value == 256
    widget.pair.image.value = image
    assert widget.worst.value == 10


def test_no_original_is_a_choice(viewer: ViewerModel, make: Any) -> None:
    widget = make(LeavesWidget, viewer)
    widget.pair.original.value = None
    viewer.add_labels(np.zeros((20, 24, 28), np.uint8))
    assert widget.pair.original.value is None


def test_figures_are_forgotten_with_the_calibration_they_are_of(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    image = add(viewer, tinc.recalibrate(small_volume(), brighter()), "c")
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
