"""Block by block: the same volume whatever order, interruption or machine; read no more than is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from block_volumes import OPTIONS, SHAPE, smooth
from short_fits import short_fits, shorten

import napari_tinc as tinc
from napari_tinc.decoding.block_contents import BlockContents
from napari_tinc.encoding import block_size, blocks
from napari_tinc.encoding.block_size import block_tree
from napari_tinc.encoding.sources import VolumeSource
from napari_tinc.encoding.survey import LEAST_BLOCK, Survey, bytes_of_blocks, detail_of
from napari_tinc.events import Planned
from napari_tinc.format.chunks import ChunkKind
from napari_tinc.storage.stores import Memory
from napari_tinc.training import task
from napari_tinc.training.task import Settings


@pytest.fixture(autouse=True)
def _short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


@pytest.fixture(scope="module")
def compressed() -> tinc.TincVolume:
    """A good fit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(task.STEPS, "fast", 100)
        return tinc.compress(smooth(), **OPTIONS, spacing=(2, 1, 1), units="mm")


@pytest.fixture(scope="module")
def quickly() -> bytes:
    """A file of a short fit."""
    with short_fits():
        return tinc.compress(smooth(), **OPTIONS).parts.data()


def test_a_file_of_blocks(compressed: tinc.TincVolume, tmp_path: Path) -> None:
    assert isinstance(compressed.parts, BlockContents)
    extent = compressed.parts.stop - compressed.parts.start
    assert extent.max() <= 24 and (extent.prod(axis=1)).sum() == np.prod(SHAPE)
    assert 8 <= compressed.ratio < 8.3
    quality = tinc.compare(smooth(), compressed)
    assert quality.psnr > 18 and float(compressed.provenance["psnr"]) == pytest.approx(quality.psnr, abs=0.01)
    compressed.save(tmp_path / "v.tinc")
    again = tinc.open(tmp_path / "v.tinc")
    again.verify()
    assert again.spacing == (2, 1, 1) and again.units == "mm" and again.shape == SHAPE
    np.testing.assert_array_equal(again, compressed)


def test_its_leaves_tile_the_volume(compressed: tinc.TincVolume) -> None:
    leaves = compressed.leaves
    count = np.zeros(SHAPE, int)
    for start, stop in zip(leaves["start"], leaves["stop"], strict=True):
        count[tuple(map(slice, start, stop))] += 1
    assert (count == 1).all()
    assert leaves["bytes"].sum() < compressed.nbytes_compressed
    assert leaves["level"].min() >= compressed.header.tree.depth


def test_every_view_is_the_same(compressed: tinc.TincVolume) -> None:
    whole = np.asarray(compressed)
    fresh = tinc.TincVolume(compressed.parts.data())
    for index in [(11,), (slice(None), 20), (..., 5), (slice(3, 20, 2), slice(20, 2, -3), slice(9, 30)), (4, 5, 6)]:
        np.testing.assert_allclose(np.asarray(fresh[index]).astype(int), whole[index], atol=1)


def test_a_view_reads_only_the_blocks_it_meets(compressed: tinc.TincVolume) -> None:
    read = []

    class Counting(Memory):
        def read(self, start: int, stop: int) -> bytes:
            read.append(stop - start)
            return super().read(start, stop)

    volume = tinc.TincVolume(Counting(compressed.parts.data()))
    head = sum(read)
    np.asarray(volume[2:8, 3:8, 24:30])
    sizes = [entry.length for entry in volume.parts.entries() if entry.role is ChunkKind.BLOCK]
    assert read[2:] == sizes[1:] and head < 500
    read.clear()
    np.asarray(volume[0:8, 3:8, 24:40])
    assert read == []  # its networks were kept


def test_levels_look_like_the_volume_made_smaller(compressed: tinc.TincVolume) -> None:
    whole, factor = np.asarray(compressed).astype(float), 2
    level = compressed.levels[1]
    assert level.shape == (10, 11, 22)
    means = whole.reshape(10, 2, 11, 2, 22, 2).mean(axis=(1, 3, 5))
    assert np.abs(np.asarray(level) - means).mean() < 0.01 * np.ptp(whole) and factor == 2


def test_the_same_call_goes_on_where_it_was_interrupted(tmp_path: Path, quickly: bytes) -> None:
    folder = tmp_path / "parts"
    control = tinc.Control()
    began = 0
    for event in tinc.fit(smooth(), **OPTIONS, resume=folder, control=control):
        assert not isinstance(event, tinc.Finished)
        if isinstance(event, tinc.Progress) and event.phase == "blocks" and event.step == 1:
            control.cancel.set()
    (left,) = folder.iterdir()
    done, other = ("000000", "000001") if "000000" in left.name else ("000001", "000000")  # whichever was first
    (folder / left.name.replace(done, other)).write_bytes(left.read_bytes()[:-1])  # damaged: to be done
    for event in tinc.fit(smooth(), **OPTIONS, resume=folder):
        if isinstance(event, tinc.Progress) and event.phase == "blocks":
            began = began or event.step + 1
        elif isinstance(event, tinc.Finished):
            finished = event
    assert began == 2 and not folder.exists()
    assert finished.volume.parts.data() == quickly


def test_another_job_does_not_take_its_blocks(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    control = tinc.Control()
    for event in tinc.fit(smooth(), **OPTIONS, resume=folder, control=control):
        if isinstance(event, tinc.Progress) and event.phase == "blocks" and event.step == 1:
            control.cancel.set()
    other = tinc.compress(smooth(seed=3), **OPTIONS, resume=folder)
    assert other.parts.data() == tinc.compress(smooth(seed=3), **OPTIONS).parts.data()
    assert len(list(folder.iterdir())) == 1  # the first job's, for when it is resumed


@pytest.mark.parametrize("kind", ["memmap", "zarr", "hdf5", "dask", "foreign"])
def test_arrays_that_are_not_in_memory(kind: str, tmp_path: Path, quickly: bytes) -> None:
    volume = smooth()
    array: Any
    if kind == "memmap":
        np.save(tmp_path / "v.npy", volume)
        array = np.load(tmp_path / "v.npy", mmap_mode="r")
    elif kind == "zarr":
        array = pytest.importorskip("zarr").create_array(tmp_path / "v.zarr", data=volume, chunks=(16, 16, 16))
    elif kind == "hdf5":
        array = pytest.importorskip("h5py").File(tmp_path / "v.h5", "w").create_dataset("v", data=volume)
    elif kind == "dask":
        array = pytest.importorskip("dask.array").from_array(volume, chunks=20)
    else:
        array = volume.astype(">u2")[:, ::-1][:, ::-1]
    assert tinc.compress(array, **OPTIONS).parts.data() == quickly


def test_what_will_be_done_is_said_first() -> None:
    events = tinc.fit(smooth(), **OPTIONS)
    planned = next(events)
    assert isinstance(planned, Planned)
    assert planned.n_blocks == 2 and planned.block_shape == (20, 22, 22) and 3e8 < planned.memory < 1e9
    events.close()  # type: ignore[attr-defined]


def test_bytes_go_where_the_detail_is() -> None:
    low = np.zeros((1, 3))
    survey = Survey(low, np.array([[1.0, 1.0, 0.0]]), np.array([[20.0, 10.0, 0.0]]), None)
    budget = bytes_of_blocks(survey, 5000)
    assert budget[0, 2] == 120 and budget.sum() <= 5000
    assert (budget[0, 0] - LEAST_BLOCK) / (budget[0, 1] - LEAST_BLOCK) == pytest.approx(2, rel=0.01)
    with pytest.raises(ValueError, match="3 blocks cannot become 900 bytes: about 1020 are needed"):
        bytes_of_blocks(survey, 900)


def test_detail_is_the_variance_within_cells(rng: np.random.Generator) -> None:
    values = rng.random((16, 8, 24))
    cells = values.reshape(2, 8, 1, 8, 3, 8)
    expected = ((cells - cells.mean(axis=(1, 3, 5), keepdims=True)) ** 2).sum()
    assert detail_of(values, 1.0) == pytest.approx(expected)
    assert detail_of(np.full((9, 10, 11), 7, "u2"), 1.0) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("shape", "nbytes", "n_blocks"),
    [
        ((128, 128, 128), 32_000, 1),
        ((128, 128, 128), 96_000, 8),
        ((1024, 1024, 1024), 2**21, 512),
        ((64, 1024, 1024), 2**17, 16),
    ],
)
def test_how_a_volume_is_cut(shape: tuple[int, int, int], nbytes: int, n_blocks: int) -> None:
    source = VolumeSource(None, (), shape, np.dtype("u2"))
    assert len(block_tree(source, nbytes, Settings("fast")).leaves) == n_blocks


def test_an_overview_serves_the_coarse_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "LEAST_STEPS", 100)
    monkeypatch.setattr(block_size, "OVERVIEW_BLOCKS", 2)
    monkeypatch.setattr(block_size, "OVERVIEW_CELLS", 12)
    monkeypatch.setattr(block_size, "OVERVIEW_SHARE", 0.2)
    monkeypatch.setattr(blocks, "OVERVIEW_SHARE", 0.2)
    volume = tinc.compress(smooth(), **OPTIONS)
    assert volume.header.edge == 4 and len(volume.levels) == 2  # type: ignore[attr-defined]
    data, first = volume.parts.data(), next(e for e in volume.parts.entries() if e.role is ChunkKind.BLOCK)
    partial = tinc.TincVolume(data[: first.start], partial=True)  # type: ignore[union-attr]
    assert partial.n_missing == 2
    rough = np.asarray(partial).astype(float)
    assert tinc.metrics.psnr(np.sqrt(((rough - smooth()) ** 2).mean()), float(np.ptp(smooth()))) > 12
    with pytest.raises(tinc.TincError, match="file size"):
        tinc.TincVolume(data[: first.start])  # type: ignore[union-attr]
    with pytest.raises(tinc.TincError, match="cut off"):
        partial.save(tmp_path / "nowhere.tinc")


def test_channels_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "LEAST_STEPS", 100)
    volume = np.stack([smooth(seed=seed) for seed in range(6)]).reshape(3, 2, *SHAPE)
    channels = [{"name": "DAPI", "color": "#0000ff"}, {"name": "GFP"}]
    found = tinc.compress(volume, ratio=16, preset="fast", channels=channels)
    assert found.shape == volume.shape and found.axis_labels == "tczyx" and found.channels == channels
    assert tinc.compare(volume, found).psnr > 18
    whole = np.asarray(found)
    np.testing.assert_allclose(np.asarray(found[1, 1, 7]).astype(int), whole[1, 1, 7], atol=1)
    one = found.select(2, 0)
    assert one.shape == SHAPE and one.axis_labels == "zyx" and one.channels == []
    np.testing.assert_array_equal(one, whole[2, 0])
    saved = tinc.TincVolume(one.parts.data())
    np.testing.assert_array_equal(saved, one)
    assert [level.shape for level in found.levels][1] == (3, 2, 10, 11, 22)
    with pytest.raises(IndexError):
        found.select(0)


def test_axes_of_length_one_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "LEAST_STEPS", 100)
    for leading, options in (((1,), {"ratio": 16, "preset": "fast"}), ((1, 1, 1), {"max_error": 0})):
        original = smooth().reshape(*leading, *SHAPE)
        found = tinc.compress(original, **options)
        assert found.shape == original.shape and found.axis_labels == "qtczyx"[3 - len(leading) :]
        assert tinc.compare(original, found).psnr > 20


def test_damage_in_any_byte_is_found(compressed: tinc.TincVolume) -> None:
    data = compressed.parts.data()
    for at in range(0, len(data), 41):
        damaged = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        with pytest.raises(tinc.TincError):
            tinc.TincVolume(damaged).verify()
    for size in range(0, len(data), 311):
        with pytest.raises(tinc.TincError):
            tinc.TincVolume(data[:size])


def test_a_psnr_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "LEAST_STEPS", 50)
    found = tinc.compress(smooth(), psnr=13, preset="fast", block=24)
    assert tinc.compare(smooth(), found).psnr >= 13


def test_a_volume_as_long_as_can_be_is_cut_as_often_as_can_be() -> None:
    source = VolumeSource.of(np.zeros((1, 1, 2**20), "u1"))
    tree = block_tree(source, 0, Settings("fast", bound=0))
    assert tree.depth == 12 and (tree.stop - tree.start)[tree.leaves].max() == 256


def test_more_blocks_than_a_file_can_have() -> None:
    """It was found out when all of them were done."""
    series = np.lib.stride_tricks.as_strided(np.zeros(1, "u1"), (40_000, 8, 8, 8), (0, 0, 0, 0))
    with pytest.raises(ValueError, match="40000 volumes of 1 blocks given, expected at most 65536"):
        next(tinc.fit(series, max_error=0))  # type: ignore[call-overload]


def test_more_bytes_than_a_file_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, "f4"), (1024, 1024, 1024), (0, 0, 0))
    with pytest.raises(ValueError, match="2863311530 bytes asked for, expected at most 2147483648"):
        next(tinc.fit(huge, ratio=1.5))  # type: ignore[call-overload]
    monkeypatch.setattr(blocks, "MAX_FILE", 50_000)
    with pytest.raises(ValueError, match=r"2 of 2 blocks are [0-9]+ bytes, and a file has at most 50000"):
        tinc.compress(np.random.default_rng(0).integers(0, 255, (32, 32, 64), "u1"), max_error=0, block=32)
