"""Overlays of leaves, on a viewer without a window."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Vectors
from volumes import small_array, small_volume

import napari_tinc as tinc
from napari_tinc.octree import Octree
from napari_tinc.plugin.compare.original import measure
from napari_tinc.plugin.layers.appearance import PLACE
from napari_tinc.plugin.layers.compressed import compressed_image
from napari_tinc.plugin.layers.from_volume import to_layer
from napari_tinc.plugin.layers.origin import VOLUME
from napari_tinc.plugin.leaves.overlays import LeafValues, LeafView, leaf_view
from napari_tinc.plugin.leaves.widget import leaf_counts


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    data, arguments = to_layer(small_volume(), "a (tinc)", 10**6)
    viewer.add_image(data, **arguments, translate=(5, 6, 7), rotate=30)
    return viewer


def view_of(viewer: ViewerModel) -> LeafView:
    return leaf_view(viewer, viewer.layers["a (tinc)"])


def test_outlines_lie_where_the_image_lies_and_move_with_it(viewer: ViewerModel) -> None:
    view = view_of(viewer)
    view.show_leaves()
    image, outlines = viewer.layers["a (tinc)"], viewer.layers["a leaves"]
    assert isinstance(outlines, Labels) and outlines is view.outlines and view.leaves_shown
    for key in PLACE:
        assert str(getattr(outlines, key)) == str(getattr(image, key)), key
    np.testing.assert_array_equal(outlines.extent.world, image.extent.world)
    image.scale, image.translate = (3, 1, 1), (0, 0, 9)
    np.testing.assert_array_equal(outlines.extent.world, image.extent.world)
    assert [str(unit) for unit in viewer.layers.extent.units] == ["micrometer"] * 3


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_outlines_show_the_leaves_of_any_orientation(viewer: ViewerModel, order: tuple[int, int, int]) -> None:
    view_of(viewer).show_leaves()
    outlines = viewer.layers["a leaves"]
    outlines.contour = 0
    viewer.layers["a (tinc)"].rotate = outlines.rotate = np.eye(3)
    viewer.dims.order = order
    shown = outlines._slice.image.raw
    assert len(np.unique(shown)) == 4  # of eight leaves a plane meets four


def test_a_switch_to_3d_and_back_switches_the_overlay(viewer: ViewerModel) -> None:
    view = view_of(viewer)
    view.show_leaves()
    viewer.dims.ndisplay = 3
    boxes = viewer.layers["a leaf boxes"]
    assert isinstance(boxes, Vectors) and boxes.visible and not view.outlines.visible and view.leaves_shown
    assert boxes.data.shape == (8 * 12, 2, 3)
    np.testing.assert_array_equal(boxes.extent.data, [[0, 0, 0], [19, 23, 27]])
    viewer.dims.ndisplay = 2
    assert view.outlines.visible and not boxes.visible
    view.hide_leaves()
    viewer.dims.ndisplay = 3
    assert not boxes.visible and not view.outlines.visible and not view.leaves_shown


def test_the_worst_boxes_are_shown(viewer: ViewerModel) -> None:
    viewer.dims.ndisplay = 3
    view = view_of(viewer)
    view.show_leaves()
    view.show_values(LeafValues(measure(small_volume(), small_array()).rows))
    view.color_by("RMSE")
    view.show_worst(1)
    worst = view.rows[view.rows["rmse"].argmax()]
    np.testing.assert_array_equal(view.boxes.extent.data, [worst["start"], worst["stop"] - 1])
    view.color_by("PSNR (dB)")
    np.testing.assert_array_equal(view.boxes.extent.data, [worst["start"], worst["stop"] - 1])


def test_colours_follow_the_column(viewer: ViewerModel) -> None:
    view = view_of(viewer)
    view.show_leaves()
    view.show_values(LeafValues(measure(small_volume(), small_array()).rows))
    view.color_by("max error")
    errors, colors = view.rows["max_error"], view.outlines.colormap.color_dict
    palest, darkest = colors[int(errors.argmax()) + 1], colors[int(errors.argmin()) + 1]
    assert palest.sum() > darkest.sum() and colors[0][3] == 0
    view.color_by("level")
    assert len({tuple(view.outlines.colormap.color_dict[i]) for i in range(1, 9)}) == 1


def test_the_status_bar_says_what_is_known_of_a_leaf(viewer: ViewerModel) -> None:
    view = view_of(viewer)
    view.show_leaves()
    status = view.outlines.get_status((1, 2, 3), dims_displayed=[1, 2])
    assert "leaf: 1" in status["value"] and "RMSE: " in status["value"]


def test_choosing_a_row_shows_that_leaf(viewer: ViewerModel) -> None:
    view = view_of(viewer)
    view.show_leaves()
    viewer.dims.set_point(0, 5)
    view.color_by("level")  # napari tells of the selected label anew; nothing must move
    assert viewer.dims.point[0] == 5
    view.outlines.selected_label = 8  # what napari's table of features does
    middle = (view.rows[7]["start"] + view.rows[7]["stop"] - 1) // 2
    expected = view.image.data_to_world(middle)
    np.testing.assert_allclose(viewer.dims.point[0], expected[0], atol=2)
    np.testing.assert_allclose(viewer.scene.camera.center[1:], viewer.dims.point[1:])


def test_a_click_selects_the_leaf_under_it_and_moves_nothing(viewer: ViewerModel) -> None:
    view = view_of(viewer)
    view.show_leaves()
    point = viewer.dims.point
    last = view.rows[-1]
    position = view.image.data_to_world(last["stop"] - 1)
    event = SimpleNamespace(
        pos=(9, 9), type="mouse_press", position=position, view_direction=None, dims_displayed=[1, 2]
    )
    view.outlines.refresh()
    viewer.dims.set_point(0, position[0])
    point = viewer.dims.point
    press = view._on_press(view.outlines, event)
    next(press)
    event.type = "mouse_release"
    assert list(press) == []
    assert view.outlines.selected_label >= 5 and viewer.dims.point == point
    # One that drags the picture selects nothing.
    view.outlines.selected_label = before = 1
    press = view._on_press(view.outlines, event)
    next(press)
    event.type, event.pos = "mouse_move", (90, 9)
    next(press)
    event.type = "mouse_release"
    assert list(press) == [] and view.outlines.selected_label == before


def test_the_status_bar_follows_values_under_a_mouse_at_rest(viewer: ViewerModel) -> None:
    view = view_of(viewer)
    view.show_leaves()
    viewer.mouse_over_canvas = True
    viewer.cursor.position = viewer.dims.point
    before = viewer.status["value"]
    rows = view.rows.copy()
    rows["rmse"] = 123
    view.show_values(LeafValues(rows))
    assert "RMSE: 123" in viewer.status["value"] != before


def test_a_map_and_boxes_leave_the_table_to_the_outlines(viewer: ViewerModel) -> None:
    """napari's table of features is that of the active layer."""
    view = view_of(viewer)
    view.show_leaves()
    view.show_map("RMSE")
    assert viewer.layers.selection.active is view.outlines
    viewer.dims.ndisplay = 3
    assert viewer.layers.selection.active is view.outlines
    viewer.dims.ndisplay = 2
    viewer.layers.selection.active = viewer.layers["a (tinc)"]
    view.show_map("level")
    assert viewer.layers.selection.active is view.map


def test_overlays_lie_over_an_original_that_was_opened_later(viewer: ViewerModel) -> None:
    """Once they were under it, and nothing seemed to happen."""
    viewer.add_image(small_array(), name="a")
    viewer.add_points(np.zeros((1, 3)), name="points")
    view = view_of(viewer)
    view.show_map("RMSE")
    view.show_leaves()
    assert [layer.name for layer in viewer.layers] == [
        "a (tinc)",
        "a",
        "a leaf RMSE (data units)",
        "a leaves",
        "points",
    ]
    view.show_map("level")
    assert [layer.name for layer in viewer.layers] == ["a (tinc)", "a", "a leaf level", "a leaves", "points"]


def test_a_map_shows_errors_with_a_colour_bar(viewer: ViewerModel) -> None:
    view = view_of(viewer)
    view.show_values(LeafValues(measure(small_volume(), small_array()).rows))
    view.show_map("RMSE")
    layer = viewer.layers["a leaf RMSE (data units)"]
    assert isinstance(layer, Image) and layer.colorbar.visible
    assert layer.name_overlay.visible and layer.name_overlay.position == layer.colorbar.position  # its title
    np.testing.assert_allclose(layer.data[0, 0, 0], view.rows["rmse"][0], rtol=1e-6)
    np.testing.assert_allclose(layer.contrast_limits, (view.rows["rmse"].min(), view.rows["rmse"].max()), rtol=1e-6)
    view.show_map("gain")
    assert [layer.name for layer in viewer.layers] == ["a (tinc)", "a leaf gain"]
    view.hide_map()
    assert len(viewer.layers) == 1 and view.map is None


def test_errors_that_are_not_known_are_not_shown(viewer: ViewerModel) -> None:
    view = view_of(viewer)
    rows = view.rows.copy()
    rows["rmse"] = rows["psnr"] = rows["max_error"] = np.nan
    view.show_map("RMSE")
    view.show_values(LeafValues(rows))
    assert view.map is None and view.column == "level"
    with pytest.raises(ValueError, match=r"the RMSE of its leaves; measure it: open Plugins > TINC > Leaves"):
        view.show_map("RMSE")


def test_overlays_go_with_their_image(viewer: ViewerModel) -> None:
    view = view_of(viewer)
    view.show_leaves()
    view.show_map("level")
    viewer.dims.ndisplay = 3
    assert len(viewer.layers) == 4
    viewer.layers.remove("a (tinc)")
    assert len(viewer.layers) == 0 and view.outlines is None and view.boxes is None and view.map is None
    viewer.dims.ndisplay = 2


def test_an_overlay_that_is_removed_can_be_shown_again(viewer: ViewerModel) -> None:
    view = view_of(viewer)
    view.show_leaves()
    viewer.layers.remove("a leaves")
    assert view.outlines is None and not view.leaves_shown
    view.show_leaves()
    assert "a leaves" in viewer.layers and view.leaves_shown


def test_an_overlay_leads_to_its_image(viewer: ViewerModel) -> None:
    view = view_of(viewer)
    view.show_leaves()
    image = viewer.layers["a (tinc)"]
    assert compressed_image(viewer, view.outlines) is image is compressed_image(viewer, image)
    assert compressed_image(viewer, viewer.add_image(small_array())) is None
    assert compressed_image(viewer, None) is None
    assert leaf_view(viewer, image) is view


def test_a_removed_image_is_not_kept_alive(viewer: ViewerModel) -> None:
    view_of(viewer).show_leaves()
    alive = weakref.ref(viewer.layers["a (tinc)"])
    viewer.layers.clear()
    gc.collect()
    assert alive() is None


def test_a_viewer_is_not_kept_alive() -> None:
    viewer = ViewerModel()
    data, arguments = to_layer(small_volume(), "a (tinc)", 10**6)
    leaf_view(viewer, viewer.add_image(data, **arguments)).show_leaves()
    alive = weakref.ref(viewer)
    del viewer
    gc.collect()
    assert alive() is None


def test_thousands_of_leaves_in_one_outline(viewer: ViewerModel) -> None:
    octree = Octree.full((64, 64, 64), 4)
    rows = np.zeros(4096, small_volume().leaves.dtype)
    rows["start"], rows["stop"] = octree.start[octree.leaves], octree.stop[octree.leaves]
    stand_in = SimpleNamespace(leaves=rows, header=SimpleNamespace(tree=octree), shape=octree.shape)
    image = viewer.add_image(np.zeros((64, 64, 64), np.uint8), name="b", metadata={VOLUME: stand_in})
    view = leaf_view(viewer, image)
    view.show_leaves()
    assert len(view.outlines.features) == 4097
    viewer.dims.ndisplay = 3
    assert view.boxes.data.shape == (256 * 12, 2, 3)


def test_leaves_without_networks_are_named_by_what_they_are() -> None:
    golden = Path(__file__).parents[2] / "golden"
    for name, text in (
        ("blocks-background-u2", "; 1 smooth block (a polynomial), 2 blocks without networks (predictive coder)"),
        ("blocks-joined", "; 1 smooth block (a polynomial), 1 block without networks (predictive coder)"),
        ("blocks-of-both-kinds", "2 leaves: 2 on level 1; 1 block without networks (predictive coder)"),
        ("exact-blocks", " blocks, coded without networks (predictive coder)"),
        ("scalars", "of one value"),
    ):
        volume = tinc.open(golden / f"{name}.tinc")
        assert text in leaf_counts(volume.leaves, volume)
