"""Files whose blocks are of several kinds: backgrounds, networks for busy parts, the predictive coder."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from short_fits import shorten

import napari_tinc as tinc
from napari_tinc.bounded import interpolation
from napari_tinc.control import Control
from napari_tinc.decoding.bounded_box import BoundedBox
from napari_tinc.decoding.network_box import NetworkBox
from napari_tinc.decoding.smooth_share import smooth_share
from napari_tinc.encoding import choice, mixed, without_networks
from napari_tinc.encoding.block import Block
from napari_tinc.storage.checkpoint import Journal
from napari_tinc.training import task

PAGE = Path(__file__).parents[2] / "docs" / "reader.py"


def one_busy_corner(edge: int = 48) -> np.ndarray:
    """A ramp, and waves in one corner of it."""
    z, y, x = np.meshgrid(*(np.linspace(0, 1, edge) for _ in range(3)), indexing="ij")
    out = 60 + 20 * z + 15 * y + 10 * x
    n = edge // 2
    waves = 70 * np.sin(25 * z + 9 * y) * np.cos(21 * x - 6 * z)
    out[:n, :n, :n] += waves[:n, :n, :n]
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def array() -> np.ndarray:
    return one_busy_corner()


@pytest.fixture(autouse=True, scope="module")
def _both_methods() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(without_networks, "MOST_RATIO", 300)
        shorten(patch, n_steps=100)
        yield


def made(array: np.ndarray) -> tinc.TincVolume:
    """A file of a few bytes, in which networks are taken for the better ones."""

    def coded_blocks(*arguments: Any) -> Iterator[Any]:
        for one in blocks(*arguments):
            yield replace(one, block=replace(one.block, rmse=1e9))

    blocks = mixed._coded_blocks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixed, "_coded_blocks", coded_blocks)
        return tinc.compress(array, nbytes=900, preset="fast")


@pytest.fixture(scope="module")
def volume(array: np.ndarray) -> tinc.TincVolume:
    return made(array)


@pytest.fixture(scope="module")
def second_reader() -> ModuleType:
    spec = importlib.util.spec_from_file_location("second_reader", PAGE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_networks_are_fitted_to_the_busy_part_only(volume: tinc.TincVolume, array: np.ndarray) -> None:
    assert volume.nbytes_compressed <= 900
    assert volume.method == "networks"
    ((_, _, part),) = volume.boxes()
    assert isinstance(part, NetworkBox) and part.background is not None
    busy = np.zeros(array.shape, bool)
    busy[:24, :24, :24] = True
    assert part.background.hidden[~busy].mean() > 0.95
    assert smooth_share(volume) == pytest.approx(part.background.hidden.mean())
    errors = np.abs(np.asarray(volume).astype(int) - array)
    assert errors[~busy].max() <= 5


def test_its_quality_is_that_of_its_values(volume: tinc.TincVolume, array: np.ndarray) -> None:
    assert float(volume.provenance["psnr"]) == pytest.approx(tinc.compare(array, volume).psnr, abs=0.01)


def test_the_second_reader_agrees(volume: tinc.TincVolume, second_reader: ModuleType) -> None:
    found = second_reader.decode(volume.parts.data())
    assert np.abs(found.astype(int) - np.asarray(volume)).max() <= 1  # sines differ in their last bits


def test_the_same_seed_gives_the_same_bytes(volume: tinc.TincVolume, array: np.ndarray) -> None:
    assert made(array).parts.data() == volume.parts.data()


def test_parts_and_levels_have_the_background(volume: tinc.TincVolume) -> None:
    values = np.asarray(volume)
    np.testing.assert_array_equal(volume[3:20, 30:48, 5:40], values[3:20, 30:48, 5:40])
    coarse = np.asarray(volume.levels[1])
    means = values.reshape(24, 2, 24, 2, 24, 2).mean(axis=(1, 3, 5))
    assert np.abs(coarse[12:] - means[12:]).max() < 2


def test_it_is_written_again_and_recalibrated(volume: tinc.TincVolume, array: np.ndarray, tmp_path: Path) -> None:
    volume.save(tmp_path / "a.tinc")
    np.testing.assert_array_equal(tinc.open(tmp_path / "a.tinc"), volume)
    again = tinc.recalibrate(volume, array)
    assert tinc.compare(array, again).psnr >= tinc.compare(array, volume).psnr - 0.01


def test_networks_that_are_no_better_are_left_out(array: np.ndarray) -> None:
    (*_, finished) = tinc.fit(array, nbytes=1500, preset="fast")
    assert isinstance(finished, tinc.Finished) and finished.method == "predictive"
    assert finished.volume.nbytes_compressed <= 1500


def test_a_background_is_looked_for_once(array: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """All voxels were read twice, to choose the methods and to forecast what one of them reaches."""

    looks = []

    def look(*arguments: Any) -> bool:
        looks.append(arguments)
        return is_mostly_smooth(*arguments)

    is_mostly_smooth = without_networks.is_mostly_smooth
    monkeypatch.setattr(without_networks, "MOST_RATIO", 10)
    monkeypatch.setattr(without_networks, "LARGE_VOLUME", 1000)
    for module in (choice, without_networks):
        monkeypatch.setattr(module, "is_mostly_smooth", look)
    events = tinc.fit(array, ratio=40, preset="fast")
    assert next(event.phase for event in events if isinstance(event, tinc.Progress)) == "searching"
    assert len(looks) == 1
    events.close()  # type: ignore[attr-defined]


def test_an_exact_region_of_a_file_with_a_filter() -> None:
    """The filter is fitted to shares of the range of the values, which the region would change."""
    rng = np.random.default_rng(3)
    z, y, x = np.indices((40, 40, 40))
    array = (2000 + 500 * np.sin(z / 3) * np.cos(y / 4) * np.sin(x / 5) + 60 * rng.standard_normal(z.shape)).astype(
        "u2"
    )
    mask = np.zeros(array.shape, bool)
    mask[10:20, 12:22, 8:18] = True
    array[15, 15, 15] = 9000  # the range is that of the region
    volume = tinc.compress(array, ratio=8, method="predictive", exact=mask)
    values = np.asarray(volume)
    np.testing.assert_array_equal(values[mask], array[mask])
    assert volume.parts.filter is not None
    assert float(volume.provenance["psnr"]) == pytest.approx(tinc.compare(array, volume).psnr, abs=0.01)
    assert np.abs(values.astype(float) - array).max() <= volume.error_bound


def test_bytes_that_networks_leave_go_to_the_other_blocks() -> None:
    """Two busy corners in blocks of their own: networks of fewer bytes, and the predictive coder."""
    corner = one_busy_corner()
    array = np.concatenate([corner, corner[:, :, ::-1]], axis=2)
    before = []

    def coded_blocks(*arguments: Any) -> Iterator[Any]:
        for index, one in enumerate(blocks(*arguments)):
            before.append(one.block)
            yield replace(one, block=replace(one.block, rmse=one.block.rmse if index else 1e9))

    def smaller(job: Any, one: Any, more: int, *arguments: Any) -> Any:
        return (yield from fit_networks(job, one, -200, *arguments)) if one.block.rmse == 1e9 else None

    blocks, fit_networks = mixed._coded_blocks, mixed._fit_networks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixed, "_coded_blocks", coded_blocks)
        patch.setattr(mixed, "_fit_networks", smaller)
        patch.setitem(task.STEPS, "fast", 100)
        volume = tinc.compress(array, nbytes=1700, preset="fast", block=48)
    (_, _, first), (_, _, last) = volume.boxes()
    assert isinstance(first, NetworkBox) and isinstance(last, BoundedBox)
    assert 1550 <= volume.nbytes_compressed <= 1700
    assert len(last.data) > len(before[1].data) + 80
    errors = np.asarray(volume)[..., 48:].astype(float) - array[..., 48:]
    assert np.sqrt(np.square(errors).mean()) < before[1].rmse


def test_a_large_block_that_would_have_no_background_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a smaller bound, a joined block of more than 2^22 voxels may have none: this ended the job."""
    monkeypatch.setattr(interpolation, "MAX_VOXELS", 1000)
    noise = np.random.default_rng(0).integers(0, 200, (12, 12, 12), "u1")
    stand_in: Any = SimpleNamespace(
        n_bytes=900, task=SimpleNamespace(read=lambda settings: noise), settings=None, control=Control(),
        journal=Journal(), filter=b"", value_range=(0.0, 199.0),
    )  # fmt: skip
    blocks = [Block(bytes(900), 40.0, 100.0, 0.5, noise.size, 1)]
    events = list(mixed._finer(stand_in, [stand_in], blocks, stand_in, 50_000, "finer"))
    assert all(isinstance(event, tinc.Progress) for event in events)
