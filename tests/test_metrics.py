"""PSNR, SSIM and leaf errors against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import napari_tinc as tinc
from napari_tinc.differences import violations
from napari_tinc.metrics import box_errors, measure, psnr, rmse_and_largest, ssim
from napari_tinc.octree import Octree


def test_measures_against_scikit_image(rng: np.random.Generator) -> None:
    original = rng.integers(100, 900, (12, 11, 10)).astype("uint16")
    other = np.clip(original + rng.normal(0, 20, original.shape), 0, 2000).astype("uint16")
    quality = measure(original, other, 100)
    span = int(original.max()) - int(original.min())
    assert quality.psnr == pytest.approx(peak_signal_noise_ratio(original, other, data_range=span))
    expected = structural_similarity(original.astype(float), other.astype(float), data_range=span, win_size=7)
    assert quality.ssim == pytest.approx(expected)
    difference = original.astype(float) - other
    assert quality.rmse == pytest.approx(np.sqrt((difference**2).mean()))
    assert quality.max_error == np.abs(difference).max()
    assert quality.ratio == original.nbytes / 100 and quality.bits_per_voxel == 800 / original.size


def test_unsigned_values_do_not_wrap() -> None:
    assert measure(np.zeros((8, 8, 8), "u1"), np.full((8, 8, 8), 255, "u1"), 1).max_error == 255


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_scale_does_not_matter(rng: np.random.Generator, scale: float) -> None:
    original, noise = rng.random((8, 8, 8)), rng.normal(0, 0.1, (8, 8, 8))
    expected = measure(original, original + noise, 1)
    quality = measure(original * scale, (original + noise) * scale, 1)
    assert quality.psnr == pytest.approx(expected.psnr) and quality.ssim == pytest.approx(expected.ssim)


def test_limits() -> None:
    same = np.full((8, 8, 8), 3, "u1")
    assert measure(same, same, 1).psnr == math.inf and measure(same, same, 1).ssim == 1
    assert psnr(0, 5) == psnr(5, 0) == math.inf
    assert math.isnan(ssim(np.arange(8.0).reshape(2, 2, 2), np.zeros((2, 2, 2)), 7))
    assert ssim(np.arange(60.0).reshape(1, 4, 15), np.arange(60.0).reshape(1, 4, 15), 60) == pytest.approx(1)


def test_box_errors(rng: np.random.Generator) -> None:
    tree = Octree.full((9, 6, 7), 1)
    original, other = rng.random((9, 6, 7)), rng.random((9, 6, 7))
    errors = box_errors(original, other, tree.start[tree.leaves], tree.stop[tree.leaves])
    assert errors.shape == (8, 2)
    sizes = (tree.stop - tree.start)[tree.leaves].prod(axis=1)
    total = (errors[:, 0] ** 2 * sizes).sum() / original.size
    assert math.sqrt(total) == pytest.approx(measure(original, other, 1).rmse)
    assert errors[:, 1].max() == np.abs(original - other).max()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_finite_in_one_only_is_not_measured(bad: float) -> None:
    """NaN once counted as no error at all."""
    good, holes = np.zeros((8, 8, 8)), np.zeros((8, 8, 8))
    holes[3, 4, 5:] = bad
    for original, reconstruction in ((holes, good), (good, holes)):
        with pytest.raises(ValueError, match="3 voxels are finite in one of"):
            measure(original, reconstruction, 1)
        assert rmse_and_largest(original, reconstruction) == (math.inf, math.inf)
    with pytest.raises(ValueError, match="are others in the reconstruction"):
        measure(holes, -np.where(np.isfinite(holes), 0, math.inf), 1)
    with pytest.raises(ValueError, match="empty"):
        measure(good[:0], good[:0], 1)
    with pytest.raises(ValueError, match="complex128, expected real"):
        measure(good.astype(complex), good, 1)


@pytest.mark.parametrize("offset", [1e4, -1e8, 1e12])
def test_ssim_of_values_far_from_zero(offset: float) -> None:
    """It was 37243 at an offset of 1e12, of differences of large squares."""
    rng = np.random.default_rng(5)
    original = np.cumsum(rng.normal(size=(9, 10, 11)), axis=0)
    reconstruction = original + rng.normal(0, 0.1, original.shape)
    span = float(np.ptp(original))
    near = ssim(original + 1e3 * span, reconstruction + 1e3 * span, span)
    assert ssim(original + offset, reconstruction + offset, span) == pytest.approx(near, abs=2e-3)


def test_what_is_not_finite_in_both_is_left_out() -> None:
    rng = np.random.default_rng(4)
    original = rng.random((8, 9, 10))
    reconstruction = original + 0.1 * rng.random(original.shape)
    known = rng.random(original.shape) < 0.8
    expected = np.sqrt(((reconstruction - original)[known] ** 2).mean())
    for hole in (math.nan, math.inf, -math.inf):
        original[~known] = reconstruction[~known] = hole
        found = measure(original, reconstruction, 1)
        assert found.rmse == pytest.approx(expected) and 0 < found.ssim < 1
        assert found.psnr == pytest.approx(-20 * math.log10(expected / np.ptp(original[known])))
        assert found.max_error == np.abs(reconstruction[known] - original[known]).max()
    assert measure(np.full((3, 3, 3), math.nan), np.full((3, 3, 3), math.nan), 1).max_error == 0


def test_a_path_in_place_of_an_array_is_said() -> None:
    with pytest.raises(ValueError, match=r"reconstruction is of <U6, expected real numbers; open a file first"):
        measure(np.zeros((3, 3, 3)), "a.tinc", 1)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_masked_voxels_are_left_out(dtype: str) -> None:
    """Whatever lies under NumPy's mask, in the original or the copy, is no measurement."""
    values = np.random.default_rng(5).integers(0, 100, (8, 9, 10)).astype(dtype)
    mask = np.zeros(values.shape, bool)
    mask[2:5, 3:, :4] = True
    original = np.ma.array(np.where(mask, 9999, values).astype(dtype), mask=mask)
    quality = measure(original, values + 1, 100)
    assert (quality.max_error, quality.rmse) == (1, 1)
    assert quality.psnr == pytest.approx(20 * np.log10(float(values[~mask].max() - values[~mask].min())))
    assert quality.ratio == values.nbytes / 100
    if dtype == "float32":
        kept = tinc.compress(original, max_error=0.5)
        assert tinc.compare(original, kept).max_error <= 0.5


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
def test_errors_in_one_pass_are_those_plane_by_plane(rng: np.random.Generator, dtype: str) -> None:
    original = rng.integers(0, 100, (5, 6, 7)).astype(dtype)
    other = (original + rng.integers(0, 9, original.shape)).astype(dtype)
    apart = np.abs(original.astype(float) - other)
    for one, two in ((original, other), (original[:, ::-1], other[:, ::-1])):  # the second pair is not contiguous
        rmse, largest = rmse_and_largest(one, two)
        assert largest == apart.max() and rmse == pytest.approx(np.sqrt(np.square(apart).mean()), rel=1e-12)
        for bound in (0, 1, 8):
            assert violations(one, two, bound) == (apart > bound).sum()


@pytest.mark.parametrize("scale", [1e-170, 1e-3, 1e170])
def test_errors_whose_squares_overflow_or_vanish(scale: float) -> None:
    original = np.zeros((2, 3, 4))
    other = original + scale
    other[0, 0, 0] = -3 * scale
    rmse, largest = rmse_and_largest(original, other)
    assert largest == 3 * scale and rmse == pytest.approx(scale * np.sqrt((23 + 9) / 24), rel=1e-12)


def test_special_values_are_violations_unless_they_stay() -> None:
    special = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32).reshape(1, 2, 2)
    assert violations(special, special.copy(), 1.0) == violations(special, special.copy(), 0) == 0
    assert violations(special, special[:, ::-1, ::-1].copy(), 1.0) == 4
