"""PSNR and SSIM of the regions of a label image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from napari_tinc.metrics import measure
from napari_tinc.region_quality import RegionQuality, measure_regions

SHAPE = (41, 22, 25)  # more rows than one slab


def by_region(rows: list[RegionQuality]) -> dict[int | str, RegionQuality]:
    return {row.region: row for row in rows}


def test_regions_against_scikit_image(rng: np.random.Generator) -> None:
    original = rng.integers(100, 900, SHAPE).astype("uint16")
    other = (original + rng.normal(0, 20, SHAPE)).astype("uint16")
    labels = rng.choice([0, 3, 250, -4], SHAPE).astype("int32")
    span = int(original.max()) - int(original.min())
    rows = by_region(measure_regions(original, other, labels))
    assert list(rows) == [-4, 3, 250, "inside", "outside", "all"]
    _, similarity = structural_similarity(
        original.astype(float), other.astype(float), data_range=span, win_size=7, full=True
    )
    within = np.zeros(SHAPE, bool)
    within[3:-3, 3:-3, 3:-3] = True
    difference = original.astype(float) - other
    masks = {label: labels == label for label in (-4, 3, 250)}
    masks |= {"inside": labels != 0, "outside": labels == 0, "all": labels == labels}
    for region, mask in masks.items():
        row = rows[region]
        assert row.voxels == mask.sum() and row.max_error == np.abs(difference[mask]).max()
        assert row.rmse == pytest.approx(math.sqrt((difference[mask] ** 2).mean()))
        assert row.psnr == pytest.approx(20 * math.log10(span / row.rmse))
        assert row.ssim == pytest.approx(similarity[mask & within].mean())
    quality = measure(original, other, 1)
    assert (rows["all"].psnr, rows["all"].ssim) == pytest.approx((quality.psnr, quality.ssim))


def test_a_mask_has_no_row_of_its_label(rng: np.random.Generator) -> None:
    original = rng.random(SHAPE)
    mask = rng.random(SHAPE) < 0.5
    other = original + np.where(mask, 0, 0.1)
    for labels in (mask, mask.astype(np.float32), mask.astype(np.uint64) * 2**40):
        rows = by_region(measure_regions(original, other, labels))
        assert list(rows) == ["inside", "outside", "all"]
        assert rows["inside"].psnr == math.inf and rows["outside"].rmse == pytest.approx(0.1)
    assert measure_regions(original, other, mask[..., None]) == measure_regions(original, other, mask)  # as of ilastik
    assert [row.region for row in measure_regions(original, other, np.zeros(SHAPE, int))] == ["outside", "all"]


def test_channels_share_a_label_image(rng: np.random.Generator) -> None:
    original = rng.random((2, *SHAPE))
    other = original.copy()
    other[1, :10] += 0.5
    labels = np.zeros(SHAPE, np.uint8)
    labels[:10] = 1
    rows = by_region(measure_regions(original, other, labels))
    assert rows["inside"].voxels == 2 * labels.sum() and rows["outside"].psnr == math.inf
    assert rows["inside"].rmse == pytest.approx(0.5 / math.sqrt(2))
    assert rows["all"].ssim == pytest.approx(measure(original, other, 1).ssim)


def test_special_values_and_scale(rng: np.random.Generator) -> None:
    original = rng.random(SHAPE) * 1e300
    other = original + 1e299
    original[4], other[4] = np.nan, np.nan
    rows = by_region(measure_regions(original, other, np.ones(SHAPE, bool)))
    assert rows["inside"].rmse == pytest.approx(1e299) and rows["inside"].voxels == original.size
    other[5, 0, 0] = np.nan
    with pytest.raises(ValueError, match="1 voxels are finite in one"):
        measure_regions(original, other, np.ones(SHAPE, bool))


def test_a_region_at_a_face_has_no_window() -> None:
    original, labels = np.arange(9.0**3).reshape(9, 9, 9), np.zeros((9, 9, 9), bool)
    labels[0] = True
    rows = by_region(measure_regions(original, original, labels))
    assert math.isnan(rows["inside"].ssim) and rows["outside"].ssim == pytest.approx(1)
    flat = by_region(measure_regions(labels * 0, labels, labels))
    assert (flat["inside"].ssim, flat["outside"].ssim) == (0, 1)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (np.zeros((4, 4, 5)), r"shape \(4, 4, 5\), expected that of the volume, \(4, 4, 4\)"),
        (np.full((4, 4, 4), 0.5), "float64 values that are not whole numbers"),
        (np.full((4, 4, 4), np.nan), "float64 values that are not whole numbers"),
        (np.full((4, 4, 4), 1j), "complex128 values that are not whole numbers"),
        (np.full((4, 4, 4), 2**63, np.uint64), "label 9223372036854775808, expected at most"),
        (np.full((4, 4, 4), -1e19), "label -10000000000000000000, expected at most"),
    ],
)
def test_what_is_no_label_image(labels: np.ndarray, problem: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=problem):
        measure_regions(np.ones((4, 4, 4)), np.ones((4, 4, 4)), labels)
