"""Reading NumPy files. Every file is made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from images import SHAPE, check_volume, ramp

from napari_tinc.encoding.sources import VolumeSource
from napari_tinc.io import arrays
from napari_tinc.io.read import read_image


def test_npy_is_not_copied_into_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.asfortranarray(ramp((1, 1, *SHAPE))))
    image = read_image(tmp_path / "v.npy")
    check_volume(image, None, None)
    assert isinstance(image.array, np.memmap)


def test_an_array_larger_than_memory_is_opened_unread(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    header = np.lib.format.open_memmap(tmp_path / "v.npy", "w+", np.uint16, (2, 1024, 4096, 2048))  # 32 GB of holes
    del header
    assert (tmp_path / "v.npy").stat().st_blocks * 512 < 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    image = read_image(tmp_path / "v.npy")
    source = VolumeSource.of(image.array)
    assert image.axes == "QZYX" and source.nbytes == 2**35
    assert source.read(1, (slice(500, 564), slice(2000, 2064), slice(9, 73))).shape == (64, 64, 64)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize(
    ("shape", "axes", "kept"),
    [
        ((2, *SHAPE), "QZYX", (2, *SHAPE)),
        ((1, 2, *SHAPE), "QZYX", (2, *SHAPE)),
        ((3, 2, *SHAPE), "QQZYX", (3, 2, *SHAPE)),
        ((1, 5, 6), "ZYX", (1, 5, 6)),
        ((5, 6), "YX", (5, 6)),
        ((6,), "X", (6,)),
    ],
)
def test_npy_axes(tmp_path: Path, shape: tuple[int, ...], axes: str, kept: tuple[int, ...]) -> None:
    np.save(tmp_path / "v.npy", ramp(shape))
    image = read_image(tmp_path / "v.npy")
    assert (image.axes, image.array.shape) == (axes, kept)


def test_a_large_map_gives_its_pages_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count as memory of the process: a file of 2 GB took 2 GB."""
    monkeypatch.setattr(arrays, "LARGE_MAP", 1000)
    monkeypatch.setattr(arrays, "READ_BEFORE_RELEASE", 100)
    values = np.random.default_rng(0).integers(0, 999, (9, 20, 30)).astype(">i4")
    np.save(tmp_path / "v.npy", np.asfortranarray(values))
    array = read_image(tmp_path / "v.npy").array
    assert isinstance(array, arrays.LargeMap) and array.shape == values.shape
    for box in ((slice(2, 5), slice(None), slice(3, 9, 2)), (4,), (..., -1), ()):
        np.testing.assert_array_equal(array[box], values[box])
    writable = np.memmap(tmp_path / "v.raw", np.uint8, "w+", shape=(2000,))
    assert arrays.sparing(writable) is writable and arrays.sparing(values) is values
