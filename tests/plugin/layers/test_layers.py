"""What a layer takes from a volume, and a volume from a layer."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from volumes import small_array, small_volume, wide_volume

import napari_tinc as tinc
from napari_tinc.format.details import Details
from napari_tinc.format.placement import Placement
from napari_tinc.plugin.layers import display
from napari_tinc.plugin.layers.from_volume import to_layer
from napari_tinc.plugin.layers.geometry import Geometry, geometry, with_geometry
from napari_tinc.plugin.layers.origin import unmodified_volume
from napari_tinc.plugin.layers.to_volumes import single_volume, volumes_of


def image(**more: Any) -> Image:
    data, arguments = to_layer(small_volume(), "a", 10**6)
    return Image(data, **arguments | more)


def state(layer: Image) -> tuple[Any, Any]:
    return layer.as_layer_data_tuple()[:2]


def test_a_small_volume_becomes_an_array_with_its_place_in_the_world() -> None:
    layer = image()
    np.testing.assert_array_equal(layer.data, np.asarray(small_volume()))
    assert (layer.name, list(layer.scale), layer.axis_labels) == ("a", [2, 0.5, 0.5], ("z", "y", "x"))
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    assert tuple(layer.contrast_limits) == small_volume().value_range
    assert layer.metadata["tinc"] is small_volume()


def test_a_large_volume_becomes_lazy_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "OVERVIEW_VOXELS", 2000)
    data, arguments = to_layer(tinc.compress(np.zeros((8, 40, 50), np.int8), ratio=8), "a", 2000)
    assert [level.shape for level in data] == [(8, 40, 50), (4, 20, 25)]
    assert [type(level) for level in data] == [tinc.decoding.lazy_array.LazyArray, tinc.decoding.lazy_array.LazyArray]
    layer = Image(data, **arguments)
    assert layer.multiscale and layer.data[0].shape == (8, 40, 50)
    assert unmodified_volume(*state(layer)) is arguments["metadata"]["tinc"]
    assert single_volume(*state(layer)).shape == (8, 40, 50)


@pytest.mark.parametrize(("value", "limits"), [(0, (0, 1)), (255, (0, 255)), (-3, (-3, 1))])
def test_a_constant_volume_has_limits_that_napari_takes(value: int, limits: tuple[int, int]) -> None:
    volume = tinc.compress(np.full((9, 20, 30), value, np.int16), ratio=8)
    data, arguments = to_layer(volume, "a", 10**6)
    assert tuple(Image(data, **arguments).contrast_limits) == limits


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", "uint32", "int8"])
def test_every_dtype_can_be_shown(dtype: str) -> None:
    data, arguments = to_layer(tinc.compress(np.full((1, 60, 70), 100, dtype), ratio=4), "a", 10**6)
    assert Image(data, **arguments).data.dtype == dtype


@pytest.mark.parametrize("unit", ["furlongs per", "%", "kg", "pixel", "no such unit", "1/0"])
def test_a_unit_that_is_no_length_is_left_out(unit: str) -> None:
    data, arguments = to_layer(tinc.compress(np.zeros((9, 20, 30), np.int8), units=unit, ratio=4), "a", 10**6)
    layer = Image(data, **arguments)
    assert [str(unit) for unit in layer.units] == ["pixel"] * 3
    assert with_geometry(arguments["metadata"]["tinc"], geometry(state(layer)[1])) is arguments["metadata"]["tinc"]


def test_unchanged_data_is_recognised_even_in_a_copy_of_the_layer() -> None:
    assert unmodified_volume(*state(image())) is small_volume()
    copied = unmodified_volume(*copy.deepcopy(state(image())))
    assert isinstance(copied, tinc.TincVolume) and copied.nbytes_compressed == small_volume().nbytes_compressed


def test_changed_data_is_recognised() -> None:
    layer = image()
    layer.data[3, 4, 5] += 1
    assert unmodified_volume(*state(layer)) is None
    other = image()
    other.data = other.data[:-1]
    assert unmodified_volume(*state(other)) is None
    assert unmodified_volume(*state(image(metadata={"tinc": small_volume()}))) is None
    assert unmodified_volume(*state(Image(small_array()))) is None
    assert unmodified_volume(*state(Image(small_array(), metadata={"tinc": "something else"}))) is None


def test_geometry_of_layers() -> None:
    plain = geometry(state(Image(small_array()))[1])
    limits = Details(limits=(100, 1899))
    assert plain == Geometry((1, 1, 1), None, "zyx", None, limits)
    mixed = Image(small_array(), scale=(0.002, -3, 4), units=("mm", "um", "um"), axis_labels=("t", "b", "a"))
    flipped = Placement(affine=np.diag([2, -3, 4, 1]).tolist())
    assert geometry(state(mixed)[1]) == Geometry((2, 3, 4), "micrometer", "tba", flipped, limits)
    words = Image(small_array(), scale=(2, 3, 4), units=("second", "um", "um"), axis_labels=("depth", "row", "column"))
    assert geometry(state(words)[1]) == Geometry((2, 3, 4), None, "zyx", None, limits)


def test_a_changed_geometry_is_stored_without_compressing_again() -> None:
    volume = small_volume()
    assert with_geometry(volume, Geometry((2, 0.5, 0.5), "micrometer", "zyx")) is volume
    changed = with_geometry(volume, Geometry((3, 1, 1), "nanometer", "tba"))
    assert (changed.spacing, changed.units, changed.axis_labels) == ((3, 1, 1), "nanometer", "tba")
    np.testing.assert_array_equal(np.asarray(changed), np.asarray(volume))
    bare = with_geometry(changed, Geometry((1, 1, 1), None, "zyx"))
    assert (bare.spacing, bare.units, bare.axis_labels) == ((1, 1, 1), None, "zyx")
    assert bare.header.spacing is None
    bare.verify()


def test_what_cannot_be_compressed_is_named() -> None:
    with pytest.raises(ValueError, match=r"a holds 3 volumes \(5 x 6 x 7 each\)"):
        single_volume(*state(Image(np.zeros((5, 6, 7, 3), np.uint8), rgb=True, name="a")))
    with pytest.raises(ValueError, match=r"a has 2 axes \(5 x 6\)"):
        single_volume(*state(Image(np.zeros((5, 6)), name="a")))
    with pytest.raises(ValueError, match=r"holds 2 volumes"):
        single_volume(*state(Image(np.zeros((2, 5, 6, 7)), name="a")))


def test_a_duplicate_is_still_what_was_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "OVERVIEW_VOXELS", 2000)
    data, arguments = to_layer(wide_volume(), "b", 2000)
    data, arguments, _ = copy.deepcopy(Image(data, **arguments).as_layer_data_tuple())
    assert arguments["multiscale"] and unmodified_volume(data, arguments) is wide_volume()


def test_volumes_of_several_channels_or_times() -> None:
    array = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    found = volumes_of(*state(Image(array, name="a")))
    assert [label for label, _ in found] == ["0, 0", "0, 1", "0, 2", "1, 0", "1, 1", "1, 2"]
    np.testing.assert_array_equal(found[4][1], array[1, 1])
    colors = np.arange(5 * 6 * 7 * 3).reshape(5, 6, 7, 3).astype(np.uint8)
    found = volumes_of(*state(Image(colors, name="a", rgb=True)))
    assert [label for label, _ in found] == ["R", "G", "B"]
    np.testing.assert_array_equal(found[1][1], colors[..., 1])
    assert [label for label, _ in volumes_of(*state(Image(array[0, 0], name="a")))] == [""]
    with pytest.raises(ValueError, match=r"a holds 1001 volumes .* expected at most 1000"):
        volumes_of(*state(Image(np.zeros((1001, 1, 2, 2)), name="a")))
    with pytest.raises(ValueError, match=r"RGB image of 2 axes"):
        volumes_of(*state(Image(colors[0], name="a", rgb=True)))


def test_geometry_is_that_of_the_last_three_axes() -> None:
    layer = Image(np.zeros((2, 3, 4, 5)), scale=(9, 2, 1, 1), units=("s", "um", "um", "um"), axis_labels=tuple("tzyx"))
    details = Details(limits=(0, 1), time=(9, "second"))
    assert geometry(state(layer)[1]) == Geometry((2, 1, 1), "micrometer", "zyx", None, details)
