"""Reading NumPy files. Every file is made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from images import SHAPE, check_volume, ramp

from napari_tinc.encoding.sources import VolumeSource
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
