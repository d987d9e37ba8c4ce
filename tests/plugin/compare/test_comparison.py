"""Side by side, blink, curtain, difference: on a viewer without a window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image
from napari.layers.utils._link_layers import link_layers
from vispy.visuals.axis import _get_ticks_talbot
from volumes import small_array, small_volume, wide_array, wide_volume

import napari_tinc as tinc
from napari_tinc.plugin.compare import modes
from napari_tinc.plugin.compare.lazy_pairs import Curtain
from napari_tinc.plugin.compare.modes import Comparison, Mode, add_difference
from napari_tinc.plugin.compare.original import difference, other_calibration, show_volume
from napari_tinc.plugin.layers.compressed import compressed_image
from napari_tinc.plugin.layers.from_volume import to_layer
from napari_tinc.plugin.leaves.maps import round_limit


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    place = {"scale": (2, 0.5, 0.5), "units": ("um",) * 3, "axis_labels": ("z", "y", "x")}
    viewer.add_image(small_array(), name="a", **place)
    data, arguments = to_layer(small_volume(), "a (tinc)", 10**6)
    viewer.add_image(data, **arguments)
    viewer.add_image(small_array(), name="another", **place)
    return viewer


def pair(viewer: ViewerModel) -> Comparison:
    return Comparison(viewer, viewer.layers["a"], viewer.layers["a (tinc)"])


def shown(viewer: ViewerModel) -> list[str]:
    return [layer.name for layer in viewer.layers if layer.visible]


def test_side_by_side_with_one_look_and_back(viewer: ViewerModel) -> None:
    original, image = viewer.layers["a"], viewer.layers["a (tinc)"]
    comparison = pair(viewer)
    comparison.show(Mode.SIDE)
    assert shown(viewer) == ["a", "a (tinc)"]
    grid = viewer.canvas.grid
    assert grid.enabled and grid.actual_shape(viewer.layers) == (1, 2)
    assert grid.position(0, viewer.layers) == (0, 0) and grid.position(1, viewer.layers) == (0, 1)
    original.contrast_limits, original.colormap = (200, 300), "viridis"
    assert tuple(image.contrast_limits) == (200, 300) and image.colormap.name == "viridis"
    comparison.show(Mode.OFF)
    assert not grid.enabled and shown(viewer) == ["a", "a (tinc)", "another"]
    original.gamma = 0.5
    assert image.gamma == 1 and not image.name_overlay.visible


def test_the_viewer_is_given_back_as_it_was(viewer: ViewerModel) -> None:
    original, image = viewer.layers["a"], viewer.layers["a (tinc)"]
    image.colormap, image.contrast_limits, image.gamma = "magma", (0, 50), 0.7
    image.name_overlay.visible = True
    link_layers([original, image], ["gamma"])
    viewer.scene.camera.zoom, viewer.scene.camera.center = 3, (0, 4, 5)
    comparison = pair(viewer)
    for mode in (Mode.SIDE, Mode.BLINK, Mode.CURTAIN):
        comparison.show(mode)
        assert tuple(image.contrast_limits) == tuple(original.contrast_limits)
        comparison.restore()
        assert (image.colormap.name, tuple(image.contrast_limits)) == ("magma", (0, 50))
        assert image.name_overlay.visible and viewer.scene.camera.zoom == 3
        assert tuple(viewer.scene.camera.center) == (0, 4, 5)
    original.gamma = 0.4
    assert image.gamma == 0.4  # a link of the user's own


def test_a_curtain_shows_the_calibration_that_is_on() -> None:
    viewer = ViewerModel()
    data, arguments = to_layer(tinc.recalibrate(small_volume(), small_array() // 2), "a (tinc)", 10**6)
    original, image = viewer.add_image(small_array(), name="a"), viewer.add_image(data, **arguments)
    comparison = Comparison(viewer, original, image)
    comparison.show(Mode.CURTAIN)
    before = np.asarray(comparison.curtain.data)
    show_volume(image, other_calibration(image), keep_other=True)
    after = np.asarray(comparison.curtain.data)
    assert not np.array_equal(after[..., 15:], before[..., 15:])
    np.testing.assert_array_equal(after[..., :14], before[..., :14])


def test_the_original_is_on_the_left_whatever_the_order(viewer: ViewerModel) -> None:
    viewer.layers.move(0, 2)
    comparison = pair(viewer)
    comparison.show(Mode.SIDE)
    assert viewer.canvas.grid.position(viewer.layers.index("a"), viewer.layers) == (0, 0)


def test_blinking_shows_one_and_then_the_other(viewer: ViewerModel) -> None:
    comparison = pair(viewer)
    comparison.show(Mode.BLINK)
    assert shown(viewer) == ["a"]
    assert comparison.blink() == "a (tinc)" and shown(viewer) == ["a (tinc)"]
    assert comparison.blink() == "a"
    comparison.restore()
    assert shown(viewer) == ["a", "a (tinc)", "another"]


def test_a_curtain_hangs_in_what_is_displayed(viewer: ViewerModel) -> None:
    comparison = pair(viewer)
    comparison.show(Mode.CURTAIN)
    comparison.move_curtain(0.25)
    curtain = viewer.layers["a curtain"]
    assert shown(viewer) == ["a curtain"] and compressed_image(viewer, curtain) is comparison.image
    np.testing.assert_array_equal(curtain.extent.world, comparison.original.extent.world)
    plane = np.asarray(curtain.data[10])
    np.testing.assert_array_equal(plane[:, :7], small_array()[10, :, :7])
    np.testing.assert_array_equal(plane[:, 8:], np.asarray(small_volume()[10, :, 8:]))
    viewer.dims.order = (2, 0, 1)  # y runs to the right
    plane = np.asarray(curtain.data[:, :, 3])
    np.testing.assert_array_equal(plane[:, :6], small_array()[:, :6, 3])
    np.testing.assert_array_equal(plane[:, 7:], np.asarray(small_volume()[:, 7:, 3]))
    viewer.dims.ndisplay = 3
    comparison.show(Mode.BLINK)
    assert "a curtain" not in viewer.layers


def test_a_curtain_of_a_large_volume_has_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes, "OVERVIEW_VOXELS", 2000)
    viewer = ViewerModel()
    data, arguments = to_layer(wide_volume(), "b (tinc)", 10**6)
    original, image = viewer.add_image(wide_array(), name="b"), viewer.add_image(data, **arguments)
    comparison = Comparison(viewer, original, image)
    comparison.show(Mode.CURTAIN)
    assert comparison.curtain.multiscale
    assert [level.shape for level in comparison.curtain.data] == [(8, 40, 50), (4, 20, 25)]
    comparison.move_curtain(0.5)
    coarse = np.asarray(comparison.curtain.data[-1])
    np.testing.assert_array_equal(coarse[:, :, :12], wide_array()[1::2, 1::2, 1:24:2])
    np.testing.assert_array_equal(coarse[:, :, 13:], np.asarray(wide_volume().levels[1][:, :, 13:]))


@given(st.integers(0, 28), st.data())
def test_a_curtain_is_an_array(place: int, data: st.DataObject) -> None:
    curtain = Curtain(small_array(), small_volume())
    curtain.place = place
    whole = curtain.levels(10**9)[0]
    expected = np.concatenate([small_array()[..., :place], np.asarray(small_volume())[..., place:]], axis=2)
    if 0 < place < 28:
        expected[..., place] = small_volume().value_range[1]
    index = tuple(data.draw(st.one_of(st.integers(0, n - 1), st.slices(n))) for n in small_volume().shape)
    np.testing.assert_array_equal(whole[index], expected[index])


def test_a_difference_is_a_layer_in_the_same_place(viewer: ViewerModel) -> None:
    image = viewer.layers["a (tinc)"]
    viewer.add_image(small_array(), name="a difference")  # the user's own
    layer = add_difference(viewer, image, *difference(small_array(), image.data), absolute=False)
    assert isinstance(layer, Image) and layer.name.startswith("a difference") and layer.colorbar.visible
    np.testing.assert_array_equal(layer.data, image.data.astype(float) - small_array())
    low, high = layer.contrast_limits
    assert low == -high and list(layer.scale) == [2, 0.5, 0.5]
    count = len(viewer.layers)
    again = add_difference(viewer, image, *difference(small_array(), image.data), absolute=False)
    assert len(viewer.layers) == count and again in viewer.layers
    absolute = add_difference(viewer, image, *difference(small_array(), image.data), absolute=True)
    assert absolute.data.min() >= 0 and absolute.contrast_limits[0] == 0
    assert again not in viewer.layers and len(viewer.layers) == count  # it takes its place
    assert viewer.layers[-1] is absolute  # and is not under an image


@given(st.floats(1e-30, 1e30))
def test_the_colour_bar_of_a_difference_has_several_numbers(far: float) -> None:
    limit = round_limit(far)
    assert far <= limit <= 1.5 * far
    for low in (-limit, 0):
        ticks = _get_ticks_talbot(low, limit, 1 / 96, 2)  # what napari's colour bar asks for
        assert sum(low <= tick * (1 - 1e-9) and tick * (1 - 1e-9) <= limit for tick in ticks) >= 2 + (low < 0), ticks


def test_layers_that_went_meanwhile_do_not_matter(viewer: ViewerModel) -> None:
    comparison = pair(viewer)
    comparison.show(Mode.CURTAIN)
    viewer.layers.remove("a curtain")
    viewer.layers.remove("another")
    comparison.restore()
    assert shown(viewer) == ["a", "a (tinc)"]
