"""Boxes take the bytes, or reach the quality, that is asked for, after few encodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_tinc.bounded import box as bounded_box
from napari_tinc.bounded import search


def waves(dtype: str, seed: int, scale: float = 1000) -> NDArray[Any]:
    z, y, x = np.indices((22, 23, 24)) / 5.0 + seed
    values = np.sin(z + 0.3 * y) * np.cos(x - 0.2 * z) + np.random.default_rng(seed).normal(0, 0.03, z.shape)
    return ((values + 1.2) * scale).astype(dtype)


@pytest.mark.parametrize(("dtype", "scale"), [("u2", 1000), ("i4", 1e6), ("f8", 1e-20)])
@pytest.mark.parametrize("ratio", [8, 20])
def test_bytes_are_within_the_budget_and_use_it(dtype: str, scale: float, ratio: int) -> None:
    boxes = [waves(dtype, seed, scale) for seed in range(2)]
    nbytes = 2 * boxes[0].nbytes // ratio
    found = search.encode_to_size(boxes, nbytes)
    assert found.nbytes == sum(map(len, found.parts)) and 0.97 * nbytes <= found.nbytes <= nbytes
    errors = 0.0
    for part, box in zip(found.parts, boxes, strict=True):
        error = bounded_box.decode_box(part, box.shape, box.dtype).astype(np.float64) - box
        assert np.abs(error).max() <= found.largest_error <= 2 * found.bound
        errors += float((error**2).mean()) / 2
    assert found.mse == pytest.approx(errors)


@pytest.mark.parametrize("dtype", ["u2", "f4"])
@pytest.mark.parametrize("psnr", [35, 45])
def test_quality_is_reached_and_little_more(dtype: str, psnr: float) -> None:
    boxes = [waves(dtype, seed) for seed in range(2)]
    span = max(float(np.ptp(box)) for box in boxes)
    found = search.encode_to_psnr(boxes, psnr, span)
    assert psnr <= 10 * np.log10(span**2 / found.mse) <= psnr + (0.1 if dtype == "f4" else 0.7)


def test_integers_with_few_bounds_stay_within_the_budget() -> None:
    boxes = [waves("u1", 0, 100)]
    for nbytes in (2000, 1500):
        assert 0.7 * nbytes < search.encode_to_size(boxes, nbytes).nbytes <= nbytes


def test_no_loss_where_it_fits_or_is_needed() -> None:
    boxes = [waves("u2", 0), np.full((4, 4, 4), 7, "u2")]
    found = search.encode_to_size(boxes, boxes[0].nbytes)
    assert (found.bound, found.mse) == (0, 0)
    assert search.encode_to_psnr(boxes, 200, 2400).mse == 0


def test_special_values_do_not_count() -> None:
    box = waves("f4", 0)
    box[3, 4] = np.nan
    box[3, 3, 3] = np.inf
    found = search.encode_to_size([box], 2500)
    assert 0 < found.mse < found.bound**2 and found.nbytes <= 2500


def test_boxes_of_no_numbers_and_huge_ones() -> None:
    assert search.encode_to_size([np.full((3, 4, 5), np.nan)], 20).nbytes == 9
    assert search.encode_to_size([waves("f8", 0, 7e307)], 20_000).nbytes <= 20_000


def test_too_few_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="span"):
        search.encode_to_psnr([waves("u2", 0)], 40, 0)
    with pytest.raises(ValueError, match="expected at most 20"):
        search.encode_to_size([waves("u2", 0)], 20)


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
def test_larger_bounds_are_tried_until_there_is_none(dtype: str) -> None:
    """From a bound of 1, half a step was rounded to 1 again, for ever."""
    box = np.random.default_rng(0).integers(0, 9, (6, 6, 6)).astype(dtype)
    tried = search._Search([box], lambda bound: 0.0, lambda encoded: 0.0, search._encoder([box]))
    tried._encode_at(1.0, search.TAPER)
    for _ in range(20):
        if tried.reach_further(lambda encoded: False):
            break
    bounds = [encoded.bound for encoded in tried.tried]
    assert bounds == sorted(set(bounds)) and bounds[-1] == np.ptp(box)


@pytest.mark.parametrize("scale", [1.0, 1e20])
def test_a_jump_of_the_sizes_does_not_end_the_search(scale: float) -> None:
    """Where a background takes over the busy part, too, sizes jump; what is before the jump was not found once."""
    z, y, x = (np.linspace(0, 1, n) for n in (40, 40, 40))
    box = 10 * (z[:, None, None] + 2 * y[:, None] + 3 * x)
    rng = np.random.default_rng(1)
    busy = rng.standard_normal((9, 9, 9)).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    box[10:28, 12:30, 8:26] += 30 * busy
    box = (box * scale).astype("f4")
    encoded = search.encode_to_size([box], 4500)
    assert 0.7 * 4500 < encoded.nbytes <= 4500
