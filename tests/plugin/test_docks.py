"""The docks in a real window, by menu entries and mouse: tabs, the table, the curtain's line, hiding and showing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clicks import Person
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from volumes import brighter, small_array, small_volume

from napari_tinc.plugin.compare.modes import Mode
from napari_tinc.plugin.layers.from_volume import to_layer

TABLE = "Features table widget (napari)"


@pytest.fixture
def viewer(make_napari_viewer: Any, qtbot: Any) -> Any:
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1200, 900)
    viewer.add_image(brighter(), name="a", scale=(2, 0.5, 0.5), units=("um",) * 3, axis_labels=("z", "y", "x"))
    data, arguments = to_layer(small_volume(), "a (tinc)", 10**6)
    viewer.add_image(data, **arguments)
    qtbot.wait(100)
    return viewer


def trigger(viewer: Any, dock: str) -> Any:
    """Choose the menu entry of a dock; the dock."""
    Person(viewer).choose(f"Plugins > TINC > {dock}")
    return viewer.window._wrapped_dock_widgets[dock]


def click(widget: Any) -> None:
    """Click where a check box has its box, and a button is a button."""
    native = widget.native
    QTest.mouseClick(native, Qt.MouseButton.LeftButton, pos=QPoint(9, native.height() // 2))
    settle()


def settle() -> None:
    """Let what was posted happen, and what that posts."""
    for _ in range(5):
        QApplication.processEvents()


def canvas_point(viewer: Any, layer: Any, voxel: Any) -> QPoint:
    """Where in the canvas a voxel is seen."""
    canvas = viewer.window._qt_viewer.canvas
    world = layer.data_to_world(voxel)
    shown = [world[axis] for axis in viewer.dims.displayed][::-1]
    x, y = (canvas.view.transform * canvas.view.scene.transform).map(shown)[:2]
    return QPoint(round(x), round(y))


def drag(viewer: Any, start: QPoint, by: int) -> None:
    """Drag with the mouse to the right, in steps."""
    native = viewer.window._qt_viewer.canvas.native
    QTest.mouseMove(native, start)
    settle()
    QTest.mousePress(native, Qt.MouseButton.LeftButton, pos=start)
    for share in range(1, 5):
        QTest.mouseMove(native, start + QPoint(by * share // 4, 3))
        settle()
    QTest.mouseRelease(native, Qt.MouseButton.LeftButton, pos=start + QPoint(by, 3))
    settle()


def test_two_docks_are_tabs_and_blinking_pauses_behind_one(viewer: Any, qtbot: Any) -> None:
    leaves = trigger(viewer, "Leaves (TINC)")
    compare = trigger(viewer, "Compare (TINC)")
    window = viewer.window._qt_window
    assert window.tabifiedDockWidgets(compare) == [leaves]
    qtbot.waitUntil(lambda: not compare.visibleRegion().isEmpty(), timeout=5000)  # in front
    widget = compare.inner_widget()
    widget.mode.value = str(Mode.BLINK)
    assert widget._timer.isActive()
    leaves.raise_()
    qtbot.waitUntil(lambda: not widget._timer.isActive(), timeout=5000)
    assert widget.mode.value == str(Mode.BLINK)  # goes on when its tab is in front again
    compare.raise_()
    qtbot.waitUntil(widget._timer.isActive, timeout=5000)
    widget.mode.value = str(Mode.SIDE)
    leaves.raise_()
    settle()
    assert viewer.canvas.grid.enabled  # another tab is no reason to lose the picture
    trigger(viewer, "Leaves (TINC)")
    assert leaves.isHidden()
    trigger(viewer, "Leaves (TINC)")
    qtbot.waitUntil(lambda: not leaves.visibleRegion().isEmpty(), timeout=5000)  # not behind the other tab


@pytest.mark.parametrize("by", ["eye", "menu"])
def test_hiding_the_dock_gives_the_viewer_back(viewer: Any, qtbot: Any, by: str) -> None:
    compare = trigger(viewer, "Compare (TINC)")
    widget = compare.inner_widget()
    for mode in (Mode.SIDE, Mode.BLINK):
        widget.mode.value = str(mode)
        if by == "eye":
            QTest.mouseClick(compare.title.hide_button, Qt.MouseButton.LeftButton)
        else:
            trigger(viewer, "Compare (TINC)")
        qtbot.waitUntil(lambda: widget.mode.value == str(Mode.OFF), timeout=5000)
        assert not widget._timer.isActive() and not viewer.canvas.grid.enabled
        assert all(layer.visible for layer in viewer.layers)
        trigger(viewer, "Compare (TINC)")
        assert compare.isVisible()


def test_the_table_comes_back_stays_with_the_leaves_and_scrolls(viewer: Any, qtbot: Any) -> None:
    widget = trigger(viewer, "Leaves (TINC)").inner_widget()
    click(widget.table)
    dock = viewer.window._wrapped_dock_widgets[TABLE]
    QTest.mouseClick(dock.title.hide_button, Qt.MouseButton.LeftButton)
    assert dock.isHidden()
    click(widget.table)
    assert dock.isVisible()
    outlines = viewer.layers["a leaves"]
    click(widget.map)
    assert "a leaf RMSE (data units)" in viewer.layers and viewer.layers.selection.active is outlines
    assert dock.inner_widget().info.text() == 'Features of "a leaves"'
    viewer.mouse_over_canvas = True
    viewer.dims.ndisplay = 3
    assert viewer.layers.selection.active is outlines
    viewer.dims.ndisplay = 2
    assert viewer.layers.selection.active is outlines  # not the boxes, which have no values
    window = viewer.window._qt_window
    window.resizeDocks([dock], [150], Qt.Orientation.Vertical)
    settle()
    table = dock.inner_widget().table
    table.scrollToTop()
    viewer.dims.set_point(0, 38)
    settle()
    native = viewer.window._qt_viewer.canvas.native
    point = canvas_point(viewer, outlines, (19, 22, 26))
    QTest.mouseMove(native, point)
    QTest.mouseClick(native, Qt.MouseButton.LeftButton, pos=point)
    assert outlines.selected_label == 8
    row = table.selectionModel().selectedIndexes()[0]
    qtbot.waitUntil(
        lambda: table.viewport().rect().intersects(table.visualRect(table.model().index(row.row(), 1))), timeout=5000
    )
    assert table.verticalScrollBar().value() > 0


def test_the_curtain_is_dragged_by_its_line_and_the_picture_elsewhere(viewer: Any, qtbot: Any) -> None:
    widget = trigger(viewer, "Compare (TINC)").inner_widget()
    widget.mode.value = str(Mode.CURTAIN)
    viewer.reset_view()
    settle()
    curtain = viewer.layers["a curtain"]
    source = curtain.metadata["curtain"]
    line = canvas_point(viewer, curtain, (10, 12, source.place))
    voxel = canvas_point(viewer, curtain, (10, 12, source.place + 1)).x() - line.x()
    centre = tuple(viewer.scene.camera.center)
    QTest.mouseMove(viewer.window._qt_viewer.canvas.native, line)
    qtbot.waitUntil(lambda: viewer.cursor.style == "pointing", timeout=5000)
    drag(viewer, line, 5 * voxel)
    assert source.place == 19 and widget.place.value == pytest.approx(19 / 28, abs=0.02)
    assert tuple(viewer.scene.camera.center) == centre and viewer.scene.camera.mouse_pan
    np.testing.assert_array_equal(np.asarray(curtain.data[9])[:, :19], brighter()[9, :, :19])
    drag(viewer, line - QPoint(5 * voxel, 0), 3 * voxel)
    assert source.place == 19 and tuple(viewer.scene.camera.center) != centre
    assert viewer.cursor.style == "standard"
    widget.mode.value = str(Mode.OFF)
    assert not viewer.mouse_move_callbacks and "a curtain" not in viewer.layers


def test_the_axes_of_a_plot_have_the_colour_of_the_text_in_every_theme(viewer: Any, qtbot: Any) -> None:
    pytest.importorskip("pyqtgraph")
    widget = trigger(viewer, "Compare (TINC)").inner_widget()
    click(widget.measure)
    qtbot.waitUntil(lambda: widget._plot.isVisible(), timeout=30_000)
    inks = []
    for theme in ("light", "dark"):
        viewer.theme = theme
        settle()
        ink = widget._plot.getAxis("left").textPen().color()
        assert ink == widget._plot.palette().windowText().color()
        inks.append(ink.lightness())
    assert inks[0] < 60 and inks[1] > 200
    axis = widget._plot.getAxis("left")
    assert axis.mapToScene(0, 0).y() >= widget._plot.fontMetrics().height() / 2  # room for its uppermost number


def test_measuring_is_shown_and_can_be_cancelled(viewer: Any, qtbot: Any) -> None:
    widget = trigger(viewer, "Leaves (TINC)").inner_widget()
    pair = widget.pair
    assert not pair.progress.native.isVisible()
    widget.recalibrate.native.setFocus()
    QTest.keyClick(widget.recalibrate.native, Qt.Key.Key_Space)
    assert pair.busy and pair.progress.native.isVisible()
    assert QApplication.focusWidget() is not pair.cancel.native  # a second Space would drop it
    assert widget.outlines.native.toolTip() == "Wait for this to end: Calibrating ..."
    click(pair.cancel)
    assert not pair.busy and not pair.progress.native.isVisible() and widget.measure.enabled
    click(widget.measure)
    qtbot.waitUntil(lambda: not pair.busy, timeout=30_000)
    assert "PSNR" in widget.status.value
    assert np.array_equal(viewer.layers["a (tinc)"].data, np.asarray(small_volume()))  # not calibrated
    assert small_array().shape == viewer.layers["a (tinc)"].data.shape
