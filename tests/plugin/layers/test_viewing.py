"""What napari looks at: lazily, once, and in spite of damage. Files of blocks, of channels and of points in time."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from npe2 import PluginManager, PluginManifest
from short_fits import short_fits
from volumes import small_array, small_volume

import napari_tinc as tinc
from napari_tinc.decoding.lazy_array import LazyArray
from napari_tinc.format.chunks import ChunkKind
from napari_tinc.networks import evaluate
from napari_tinc.plugin import commands, reader, writer
from napari_tinc.plugin.layers import display
from napari_tinc.plugin.layers.array_views import ColorsFirst, OneVolume
from napari_tinc.plugin.layers.from_volume import to_layer, to_layers
from napari_tinc.plugin.layers.origin import PROMISE, unmodified_volume
from napari_tinc.plugin.layers.to_volumes import all_volumes, volumes_of
from napari_tinc.plugin.leaves import calibration
from napari_tinc.plugin.preferences import Preferences
from napari_tinc.storage.stores import Memory

CHANNELS = [{"name": "DAPI", "color": "#0000ff"}, {"name": "GFP"}]


def compressed(array: np.ndarray, **options: Any) -> tinc.TincVolume:
    with short_fits():
        return tinc.compress(array, ratio=8, preset="fast", **options)


@cache
def blocks() -> tinc.TincVolume:
    """uint16 (20, 24, 56) in two blocks."""
    return compressed(np.concatenate([small_array(), small_array()[:, ::-1]], axis=2), block=28)


@cache
def timed() -> tinc.TincVolume:
    """Two points in time of two channels, the second of them dark."""
    pair = np.stack([small_array(), small_array() // 8])
    return compressed(np.stack([pair, pair[:, ::-1]]), channels=CHANNELS, spacing=(2, 1, 1), units="um")


@pytest.fixture(autouse=True)
def _lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "OVERVIEW_VOXELS", 5000)
    monkeypatch.setattr(reader, "read_preferences", lambda: Preferences(eager_megavoxels=0))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Points evaluated, a number a request."""
    found: list[int] = []
    on_grid = evaluate.Network.on_grid

    def counting(self: Any, axes: Any, *arguments: Any, **options: Any) -> Any:
        found.append(int(np.prod([len(axis) for axis in axes])))
        return on_grid(self, axes, *arguments, **options)

    monkeypatch.setattr(evaluate.Network, "on_grid", counting)
    return found


@pytest.fixture
def viewer(npe2pm: PluginManager) -> ViewerModel:
    npe2pm.register(PluginManifest.from_distribution("napari-tinc"))
    return ViewerModel()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_error", found.append)
    monkeypatch.setattr("napari.utils.notifications.show_warning", found.append)
    monkeypatch.setattr(commands, "notify", found.append)
    monkeypatch.setattr(calibration, "notify", found.append)
    return found


def saved(volume: tinc.TincVolume, path: Path) -> Path:
    volume.save(path)
    return path


def test_opening_a_file_of_blocks_decodes_nothing(tmp_path: Path, counted: list[int]) -> None:
    path = saved(blocks(), tmp_path / "a.tinc")
    counted.clear()
    ((data, arguments, _),) = reader.read(str(path))
    assert counted == [] and [level.shape for level in data] == [(20, 24, 56), (10, 12, 28)]
    assert arguments["contrast_limits"] == blocks().value_range


def test_a_slice_is_decoded_once_and_its_thumbnail_hardly(
    viewer: ViewerModel, tmp_path: Path, counted: list[int]
) -> None:
    (layer,) = viewer.open(saved(blocks(), tmp_path / "a.tinc"), plugin="napari-tinc")
    layer.locked_data_level = 0
    viewer.dims.set_current_step(0, 4)
    counted.clear()
    viewer.dims.set_current_step(0, 14)
    assert sum(counted) == 24 * 56 + 12 * 28
    viewer.dims.set_current_step(0, 4)
    assert sum(counted) == 24 * 56 + 12 * 28


def test_3d_is_decoded_once_and_slices_of_it_are_exact(counted: list[int]) -> None:
    data, _ = to_layer(blocks(), "a", 0)
    whole = np.asarray(data[-1])
    np.testing.assert_array_equal(whole, np.asarray(blocks().levels[1]))
    counted.clear()
    np.testing.assert_array_equal(np.asarray(data[-1]), whole)
    np.testing.assert_array_equal(np.asarray(data[-1][3, :, ::-2]), whole[3, :, ::-2])
    assert counted == []


def test_a_thumbnail_looks_like_its_level() -> None:
    data, _ = to_layer(blocks(), "a", 0)
    for axis in range(3):
        index = (slice(None),) * axis + (5,)
        thumbnail = np.asarray(data[-1][index]).astype(float)
        assert np.abs(thumbnail - np.asarray(blocks().levels[1][index])).mean() < 0.06 * np.ptp(small_array())


def test_3d_shows_a_level_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    class Header:
        def __init__(self, edge: int) -> None:
            self.shape = (edge,) * 3

    for edge, shown in ((256, 128), (322, 161), (512, 128), (1024, 128), (2048, 128)):
        volume = tinc.TincVolume.of_contents(type("Parts", (), {"header": Header(edge), "leading": ()})())
        assert display.DisplayVolume(volume, 0, print).shown_levels[-1].shape == (shown,) * 3


def test_damage_is_told_once_and_the_rest_is_shown(viewer: ViewerModel, tmp_path: Path, said: list[str]) -> None:
    data = bytearray(blocks().parts.data())
    second = [entry for entry in blocks().parts.entries() if entry.role is ChunkKind.BLOCK][1]
    data[second.start + second.length // 2] ^= 1  # type: ignore[union-attr]
    (tmp_path / "a.tinc").write_bytes(data)
    (layer,) = viewer.open(tmp_path / "a.tinc", plugin="napari-tinc")
    layer.locked_data_level = 0
    for z in (3, 4, 5):
        viewer.dims.set_current_step(0, z)
    viewer.dims.ndisplay = 3
    assert len(said) == 1 and said[0].startswith("A part of a cannot be read, and is shown coarsely or grey: ")
    assert "CRC-32" in said[0]
    np.testing.assert_array_equal(np.asarray(layer.data[0][4, :, :28]), np.asarray(blocks()[4, :, :28]))
    commands.show_leaves(viewer)
    assert "cannot be read" in said[1]
    with pytest.raises(writer.SaveError, match="CRC-32"):
        writer.write(str(tmp_path / "b.tinc"), *layer.as_layer_data_tuple()[:2])


def test_a_file_that_was_cut_off_is_opened_as_far_as_it_goes(tmp_path: Path, said: list[str]) -> None:
    data = blocks().parts.data()
    (tmp_path / "a.tinc").write_bytes(data[:-5])
    ((shown, arguments, _),) = reader.read(str(tmp_path / "a.tinc"))
    assert said == [
        "a was cut off: 1 of 2 blocks are missing. What needs that is shown coarsely or grey; it cannot be saved."
    ]
    np.testing.assert_array_equal(np.asarray(shown[0][4, :, :28]), np.asarray(blocks()[4, :, :28]))
    with pytest.raises(writer.SaveError, match="was cut off: not saved"):
        writer.write(str(tmp_path / "b.tinc"), shown, arguments | {"multiscale": True})
    (tmp_path / "a.tinc").write_bytes(data[:40])
    with pytest.raises(tinc.TincError):
        reader.read(str(tmp_path / "a.tinc"))
    (tmp_path / "a.tinc").write_bytes(data + b"more")
    with pytest.raises(tinc.TincError, match="file size"):
        reader.read(str(tmp_path / "a.tinc"))


@pytest.mark.parametrize(
    ("lost", "missing"),
    [(1, "what it says of its axes, or errors, is missing"), (300, "8 of its networks are missing")],
)
def test_a_single_tree_that_was_cut_off(tmp_path: Path, said: list[str], lost: int, missing: str) -> None:
    """Without its last bytes, which no network needs, it was refused, or saved again as a file that is."""
    volume = tinc.compress(small_array(), ratio=8, preset="fast", levels=2)
    (tmp_path / "a.tinc").write_bytes(volume.parts.data()[:-lost])
    ((shown, arguments, _),) = reader.read(str(tmp_path / "a.tinc"))
    assert [text.split(". What")[0] for text in said] == [f"a was cut off: {missing}"]
    assert (np.asarray(shown) == np.asarray(volume)).all() == (lost == 1)
    for changed in ({}, {"scale": (3, 1, 1)}):
        with pytest.raises(writer.SaveError, match="was cut off"):
            writer.write(str(tmp_path / "b.tinc"), shown, arguments | changed)
    with pytest.raises(ValueError, match="was cut off"):
        tinc.recalibrate(arguments["metadata"]["tinc"], small_array())


def test_channels_are_layers_with_names_and_colours(viewer: ViewerModel, tmp_path: Path) -> None:
    volume = compressed(np.stack([small_array(), small_array() // 8]), channels=CHANNELS)
    dapi, gfp = viewer.open(saved(volume, tmp_path / "a.tinc"), plugin="napari-tinc")
    assert (dapi.name, gfp.name) == ("a DAPI", "a GFP")
    np.testing.assert_allclose(dapi.colormap.colors[-1], [0, 0, 1, 1])
    assert gfp.colormap.name == "green" and dapi.blending == gfp.blending == "additive"
    assert gfp.contrast_limits[1] < dapi.contrast_limits[1] / 4
    assert gfp.metadata["tinc"].shape == (20, 24, 28)
    viewer.layers.selection.active = gfp
    commands.show_leaves(viewer)
    assert "a GFP leaves" in viewer.layers
    writer.write(str(tmp_path / "gfp.tinc"), *gfp.as_layer_data_tuple()[:2])
    np.testing.assert_array_equal(tinc.open(tmp_path / "gfp.tinc"), volume.select(1))


def test_time_is_a_slider(viewer: ViewerModel, tmp_path: Path, said: list[str]) -> None:
    first, second = viewer.open(saved(timed(), tmp_path / "a.tinc"), plugin="napari-tinc")
    for index, layer in enumerate((first, second)):
        assert layer.data.shape == (2, 20, 24, 28) and layer.axis_labels == ("t", "z", "y", "x")
        assert list(layer.scale) == [1, 2, 1, 1]
        assert [str(unit) for unit in layer.units] == ["pixel"] + ["micrometer"] * 3
        np.testing.assert_array_equal(np.asarray(layer.data[1, 7]), np.asarray(timed()[1, index, 7]))
    viewer.dims.set_current_step(0, 1)
    viewer.layers.selection.active = second
    for command in (commands.show_leaves, commands.show_error, commands.toggle_calibration):
        command(viewer)
    assert len(said) == 3 and set(said) == {
        "a GFP holds 2 volumes (axes t, z, y, x): compress one by itself to see its leaves or compare it"
    }
    second.scale = (1, 3, 1, 1)
    writer.write(str(tmp_path / "b.tinc"), *second.as_layer_data_tuple()[:2])
    again = tinc.open(tmp_path / "b.tinc")
    assert (again.shape, again.axis_labels, again.spacing) == ((2, 20, 24, 28), "tzyx", (3, 1, 1))
    np.testing.assert_array_equal(again, np.asarray(timed())[:, 1])


def test_a_selected_series_keeps_its_axis() -> None:
    series = timed().select(None, 1)
    assert (series.shape, series.axis_labels, series.channels) == ((2, 20, 24, 28), "tzyx", [])
    pair = timed().select(1, None)
    assert (pair.axis_labels, pair.channels) == ("czyx", CHANNELS)
    np.testing.assert_array_equal(pair, np.asarray(timed())[1])


def test_urls_are_read_through_napari(viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_it(path: str, **_: Any) -> tinc.TincVolume:
        opened.append(path)
        return small_volume()

    monkeypatch.setattr(reader, "open_tinc", open_it)
    for url in ("https://example.org/data/brain.tinc", "https://example.org/brain.tinc?version=2"):
        assert reader.get_reader(url) is reader.read
        ((_, arguments, _),) = reader.read(url)
        assert arguments["name"] == "brain" and opened[-1] == url
    (layer,) = viewer.open("https://example.org/data/brain.tinc", plugin="napari-tinc")
    assert layer.name == "brain" and opened[-1] == "https://example.org/data/brain.tinc"


class Untouched:
    """An array whose values nobody may ask for all at once."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.ndim, self.size = array.ndim, array.size

    def __getitem__(self, index: Any) -> np.ndarray:
        found = self.array[index]
        assert found.size <= small_array().size
        return found

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise AssertionError("all of it was asked for")


def test_parts_of_a_lazy_array_are_lazy() -> None:
    array = np.stack([small_array(), small_array()[::-1]])
    found = volumes_of(Untouched(array), {"name": "a"})
    assert [label for label, _ in found] == ["0", "1"] and isinstance(found[1][1], OneVolume)
    np.testing.assert_array_equal(found[1][1], array[1])
    np.testing.assert_array_equal(found[1][1][3, 2:5], array[1, 3, 2:5])


def test_all_volumes_of_a_layer_as_one_array() -> None:
    series = Untouched(np.stack([small_array()] * 2))
    assert all_volumes(series, {"axis_labels": ("-4", "-3", "-2", "-1")}) == (series, "tzyx", [])
    assert all_volumes(series, {"axis_labels": tuple("czyx")})[1] == "czyx"
    assert all_volumes(Untouched(np.zeros((2, 2, 3, 4, 5))), {})[1] == "qtzyx"
    colors = np.stack([small_array()] * 3, axis=-1)
    array, labels, channels = all_volumes(colors, {"rgb": True})
    assert isinstance(array, ColorsFirst) and array.shape == (3, 20, 24, 28) and labels == "czyx"
    assert [channel["name"] for channel in channels] == ["R", "G", "B"]
    np.testing.assert_array_equal(array[1, 2:4], colors[2:4, ..., 1])


def test_layers_of_channels_know_what_they_show() -> None:
    for index, (data, arguments) in enumerate(to_layers(timed(), "a", 0)):
        layer = Image(data, **arguments)
        assert unmodified_volume(*layer.as_layer_data_tuple()[:2]) is arguments["metadata"]["tinc"]
        assert arguments["metadata"]["tinc"].shape == (2, 20, 24, 28) and index < 2


@pytest.mark.parametrize("mask", [False, True])
def test_coarse_levels_of_labels_have_no_means(mask: bool) -> None:
    names = np.random.default_rng(0).integers(0, 5, (16, 21, 41)).astype(np.uint16) * 10_000
    names = names > 20_000 if mask else names
    volume = tinc.compress(names, max_error=0, labels=not mask, block=16)
    level = volume.levels[1]
    middles = [np.minimum(np.arange(n) * 2 + 1, size - 1) for n, size in zip(level.shape, names.shape, strict=True)]
    np.testing.assert_array_equal(np.asarray(level), names[np.ix_(*middles)])
    assert volume.labels and np.asarray(level).dtype == names.dtype


def test_labels_are_exact_integers() -> None:
    names = np.zeros((4, 4, 4), np.int32)
    for array, bound in ((names, 1), (names, None), (names.astype(np.float32), 0)):
        with pytest.raises(ValueError, match="labels must be exact|labels of float32 given"):
            tinc.compress(array, max_error=bound, labels=True)
    assert not tinc.compress(names, max_error=0).labels


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_channels_of_a_damaged_file_are_shown_at_every_level(said: list[str], damage: str) -> None:
    """To know how fine to look, all blocks of the channel were read, and packed anew."""
    whole = blocks_of_channels()
    last = [entry for entry in whole.parts.entries() if entry.role is ChunkKind.BLOCK][-1]
    data = bytearray(whole.parts.data())
    data[last.start + last.length // 2] ^= 1
    volume = tinc.TincVolume(bytes(data[: last.start + 3] if damage == "cut" else data), partial=True)
    for (shown, _), channel in zip(to_layers(volume, "a", 0), (0, 1), strict=True):
        for level, right in zip(shown, whole.select(channel).levels, strict=True):
            near = np.asarray(level)[:, :, : right.shape[2] // 2]
            np.testing.assert_array_equal(near, np.asarray(right)[:, :, : right.shape[2] // 2])
        assert "TincVolume" in repr(shown[0])


@cache
def blocks_of_channels() -> tinc.TincVolume:
    """Two channels in two blocks each."""
    one = np.concatenate([small_array(), small_array()[:, ::-1]], axis=2)
    return compressed(np.stack([one, one[::-1]]), block=28, axis_labels="czyx", weights="int8")


class Flaky(Memory):
    """Bytes that now and then cannot be had."""

    lost = False

    def read(self, start: int, stop: int) -> bytes:
        if self.lost:
            raise OSError("connection lost")
        return super().read(start, stop)


@pytest.mark.parametrize("index", [(3,), (slice(2, 5), slice(0, 4)), ()])
def test_a_connection_that_comes_back(said: list[str], index: tuple[Any, ...]) -> None:
    """What was shown while it was gone stayed; or all of a view was lost with one of its blocks."""
    store = Flaky(blocks().parts.data())
    data, _ = to_layer(tinc.TincVolume(store), "a", 0)
    store.lost = True
    assert (np.asarray(data[0][index]) == np.rint(sum(blocks().value_range) / 2)).all()
    assert len(said) == 1 and "connection lost" in said[0]
    store.lost = False
    np.testing.assert_array_equal(np.asarray(data[0][index]), np.asarray(blocks()[index]))
    np.testing.assert_array_equal(np.asarray(data[1]), np.asarray(blocks().levels[1]))


def test_nothing_is_promised_of_what_could_not_be_read(said: list[str]) -> None:
    whole = tinc.compress(small_array(), max_error=0, block=16)
    first = next(entry for entry in whole.parts.entries() if entry.role is ChunkKind.BLOCK)
    data = bytearray(whole.parts.data())
    data[first.start + first.length // 2] ^= 1
    shown, arguments = to_layer(tinc.TincVolume(bytes(data)), "a", 10**6)
    assert isinstance(shown, LazyArray) and PROMISE not in arguments["metadata"] and len(said) == 1
    np.testing.assert_array_equal(np.asarray(shown)[:, :, 16:], small_array()[:, :, 16:])


def test_a_channel_that_begins_dark_is_not_shown_saturated() -> None:
    """How bright it is was taken from the first point in time."""
    pair = np.stack([small_array(), small_array() // 2])
    volume = tinc.compress(np.stack([np.zeros_like(pair), pair]), max_error=0, block=16, axis_labels="tczyx")
    for index, factor in enumerate((1, 2)):
        low, high = display.brightness(volume.select(None, index))
        assert low < 300 and high > 1500 // factor
