"""Where bytes count, coarse voxels are smoothed and errors round towards zero; no voxel is further off than is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import napari_tinc as tinc
from napari_tinc.bounded import box as bounded_box
from napari_tinc.bounded import shaping
from napari_tinc.bounded.interpolation import bound_of_level


def noisy(dtype: str = "u2", noise: float = 40) -> NDArray[Any]:
    z, y, x = np.indices((33, 30, 35)) / 6.0
    values = 1000 + 500 * np.sin(z + 0.3 * y) * np.cos(x) + np.random.default_rng(0).normal(0, noise, z.shape)
    return np.ascontiguousarray(values.astype(dtype))


def levels_of(aims: shaping.Aims, n: int) -> list[NDArray[Any]]:
    """All voxels of each coarse level, from the stages' places."""
    return [np.asarray(aims._levels[level]) for level in range(n)]


def test_coarse_levels_of_noise_are_smoother_and_within_their_room() -> None:
    box = noisy().astype(np.int64)
    aims = levels_of(shaping.Aims(box, lambda level: bound_of_level(60, 3, level), -1), 4)
    smooth = noisy(noise=0).astype(np.int64)
    for level in (1, 2):
        every = (slice(None, None, 2**level),) * 3
        assert np.abs(aims[level] - smooth[every]).mean() < 0.85 * np.abs(box[every] - smooth[every]).mean()
        assert np.abs(aims[level] - box[every]).max() <= 0.8 * (60 - bound_of_level(60, 3, level)) + 0.5
    assert (aims[0] == box).all()


def test_details_that_are_coded_move_nothing_and_background_stays() -> None:
    box = np.zeros((17, 16, 18), np.int64)
    box[4:12, 4:12, 4:12] = 1000 * np.random.default_rng(0).integers(1, 9, (8, 8, 8))
    kept = levels_of(shaping.Aims(box, lambda level: bound_of_level(5, 3, level), 0), 2)[1]
    assert (kept[box[::2, ::2, ::2] == 0] == 0).all()
    busy = levels_of(shaping.Aims(box, lambda level: 0, -1), 2)[1]
    assert (busy == box[::2, ::2, ::2]).all()


def test_dead_zones_grow_as_errors_shrink_and_as_fewer_voxels_depend_on_one() -> None:
    faces, edges, corners = (shaping.dead_zones(0, parity, 0.1) for parity in ((1, 0, 0), (0, 1, 1), (1, 1, 1)))
    assert (np.diff(faces) <= 0).all() and faces.min() > 0 and corners.max() <= 0.5
    assert (faces < edges).all() and (edges <= corners).all()
    assert (shaping.dead_zones(3, (1, 1, 1), 0.1) == faces).all()
    assert (shaping.dead_zones(0, (1, 1, 1), 0) == 0).all()


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
@pytest.mark.parametrize("bound", [1, 3, 60])
@pytest.mark.parametrize("taper", [0, 3])
def test_no_voxel_is_beyond_two_bounds(dtype: str, bound: int, taper: int) -> None:
    box = noisy("u2").astype(np.float64)
    box = (box / 8 if dtype == "u1" else box).astype(dtype)
    for dead_zone in (0.0, 0.1, 0.5):
        data, decoded = bounded_box.encode_and_decode(box, bound, taper, dead_zone)
        assert (bounded_box.decode_box(data, box.shape, box.dtype) == decoded).all()
        largest = np.abs(decoded.astype(np.float64) - box).max()
        assert largest <= shaping.reach(bound, dead_zone) == (2 if dead_zone else 1) * bound


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_a_smaller_error_in_as_many_bytes(dtype: str) -> None:
    """At equal bytes: the bound of the plain encoder is larger, as is its mean squared error."""
    box = noisy(dtype, 15)

    def rate(bound: float, taper: int, dead_zone: float) -> tuple[float, float]:
        data, decoded = bounded_box.encode_and_decode(box, bound, taper, dead_zone)
        return np.log2(len(data)), 10 * np.log10(((decoded.astype(np.float64) - box) ** 2).mean())

    nbytes, shaped = rate(40, 3, 0.1)
    plain = [rate(bound, 3, 0) for bound in (72, 64, 56, 48, 40, 32)]
    sizes, errors = zip(*plain, strict=True)
    assert sizes[0] < nbytes < sizes[-1]
    assert shaped < np.interp(nbytes, sizes, errors) - 0.3


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_a_file_tells_its_largest_error(dtype: str) -> None:
    volume = tinc.compress(noisy(dtype), ratio=12, method="predictive")
    largest = np.abs(np.asarray(volume).astype(np.float64) - noisy(dtype)).max()
    assert volume.error_bound == largest > 0 or (volume.parts.header.filter and volume.error_bound >= largest > 0)
