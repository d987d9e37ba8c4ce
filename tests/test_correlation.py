"""Fourier shell correlation: against a slow, direct computation, and on waves whose correlation is known."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.signal.windows import tukey

from napari_tinc import correlation, samples
from napari_tinc.correlation import fourier_shell_correlation

# A folder of volumes that the sources do not hold; the tests of it are skipped where it is not.
CORPUS = Path(os.environ.get("NAPARI_TINC_CORPUS", Path(__file__).parents[2] / "shared" / "corpus"))
CROP = (slice(20, 44), slice(50, 86), slice(40, 80))


def direct(original: Any, copy: Any, spacing: tuple[float, ...]) -> list[float]:
    """Compute the same as the definition says: the whole transform, and a loop over shells."""
    transforms, edges = [], np.array(original.shape) * spacing
    for array in (original, copy):
        array = array.astype(np.float64)
        array = array - array.mean()
        for axis, n in enumerate(array.shape):
            window = correlation.fade(n).reshape([-1 if other == axis else 1 for other in range(3)])
            array = array * window
        transforms.append(np.fft.fftn(array))
    axes = [np.fft.fftfreq(n, size) for n, size in zip(original.shape, spacing, strict=True)]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    width, curve = 1 / edges.max(), []
    for shell in range(1, math.floor(1 / (2 * max(spacing)) / width + 1e-9) + 1):
        chosen = (radius >= (shell - 0.5) * width) & (radius < (shell + 0.5) * width)
        one, two = (transform[chosen] for transform in transforms)
        curve.append((one * two.conj()).sum().real / math.sqrt((abs(one) ** 2).sum() * (abs(two) ** 2).sum()))
    return curve


def degraded(volume: NDArray[Any]) -> NDArray[np.float64]:
    """Blur a volume and add noise, as a codec does."""
    noise = np.random.default_rng(1).normal(0, 0.05 * volume.std(), volume.shape)
    return gaussian_filter(volume.astype(np.float64), 1) + noise


def bundled() -> NDArray[Any]:
    return np.asarray(samples.mri().array)[CROP]


def of_corpus(name: str) -> Callable[[], NDArray[Any]]:
    def load() -> NDArray[Any]:
        import tifffile

        if not (CORPUS / f"{name}.tif").exists():
            pytest.skip("the corpus is not here; NAPARI_TINC_CORPUS may name its folder")
        return tifffile.imread(CORPUS / f"{name}.tif")[CROP]

    return load


@pytest.mark.parametrize(
    ("load", "spacing"),
    [
        (bundled, (1.0, 1.0, 1.0)),
        (bundled, (2.5, 0.7, 1.1)),
        (of_corpus("ct_thorax"), (1.5, 1.5, 1.5)),
        (of_corpus("fluo_nuclei"), (0.29, 0.26, 0.26)),
        (of_corpus("cryoem_betagal"), (0.354, 0.354, 0.354)),
    ],
)
def test_a_direct_implementation_agrees(load: Callable[[], NDArray[Any]], spacing: tuple[float, ...]) -> None:
    volume = load()
    copy = degraded(volume)
    found = fourier_shell_correlation(volume, copy, spacing)
    np.testing.assert_allclose(found.correlations, direct(volume, copy, spacing), rtol=0, atol=1e-9)
    assert found.frequencies[-1] == pytest.approx(1 / (2 * max(spacing)), rel=0.1)
    assert found.finest == 2 * max(spacing)
    assert abs(found.correlations[-1]) < 0.95 < 0.99 < found.correlations[0]


@pytest.mark.parametrize("shape", [(16, 16, 16), (9, 12, 15), (1, 20, 14), (7, 1, 1), (2, 3, 5)])
def test_each_coefficient_is_counted_once(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    original, copy = rng.normal(size=(2, *shape))
    found = fourier_shell_correlation(original, copy)
    np.testing.assert_allclose(found.correlations, direct(original, copy, (1, 1, 1)), rtol=0, atol=1e-9)
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")))
    shells = np.floor(radius * max(shape) + 0.5)
    expected = np.bincount(shells.astype(int).ravel())[1 : len(found.coefficients) + 1]
    assert found.coefficients.tolist() == expected.tolist()


@pytest.mark.parametrize("voxels", [8, 40, 64, 101])
def test_the_fading_is_like_scipys_window(voxels: int) -> None:
    """SciPy's reaches 0 on its first sample; ours lies between samples."""
    edge = voxels // 8
    between = tukey(2 * voxels + 1, 2 * (2 * edge) / (2 * voxels))[1::2]
    np.testing.assert_allclose(correlation.fade(voxels), between, atol=1e-12)


def test_the_resolution_of_a_low_pass_filter(rng: np.random.Generator) -> None:
    """A copy without the waves shorter than 5 voxels of 0.4 mm keeps 2 mm, in physical units, whatever the spacing."""
    spacing = (0.8, 0.4, 0.4)
    original = rng.normal(size=(32, 64, 64))
    axes = [np.fft.fftfreq(n, size) for n, size in zip(original.shape, spacing, strict=True)]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    copy = np.fft.ifftn(np.fft.fftn(original) * (radius < 1 / 2)).real
    found = fourier_shell_correlation(original, copy, spacing, "mm")
    assert found.resolution(0.5) == pytest.approx(2, rel=0.06)
    assert 1.6 < found.resolution(0.143) <= found.resolution(0.5)
    assert f": {found.resolution(0.5):.4g} mm kept at 0.5, " in found.describe()
    assert found.as_dict()["kept"][0]["all"] is False


def test_the_same_keeps_all_and_noise_keeps_nothing(rng: np.random.Generator) -> None:
    original = rng.integers(0, 1000, (20, 24, 28)).astype(np.uint16)
    same = fourier_shell_correlation(original, original, (2, 1, 1), "mm")
    assert (
        same.keeps_all(0.5)
        and same.resolution(0.5) == 4
        and "all frequencies kept (finest possible: 4 mm)" in same.describe()
    )
    other = fourier_shell_correlation(original, rng.normal(size=original.shape))
    assert abs(other.correlations[5:]).max() < 0.2 and other.resolution(0.143) > 5
    negative = fourier_shell_correlation(original, -original.astype(float))
    np.testing.assert_allclose(negative.correlations, -1)
    assert negative.resolution(0.5) == math.inf and "nothing kept at 0.5" in negative.describe()


@pytest.mark.parametrize("level", [0, 3, 1e300, 1e-300])
def test_constant_volumes(level: float) -> None:
    flat = np.full((12, 12, 12), level)
    assert fourier_shell_correlation(flat, flat + level).keeps_all(0.999)
    ramp = np.arange(12.0**3).reshape(flat.shape)
    assert not fourier_shell_correlation(ramp, flat).correlations.any()


@pytest.mark.parametrize("scale", [1e-300, 1e-5, 1e290])
def test_scale_and_offset_do_not_matter(scale: float, rng: np.random.Generator) -> None:
    original, noise = rng.normal(size=(2, 16, 16, 16))
    expected = fourier_shell_correlation(original, original + noise).correlations
    found = fourier_shell_correlation((original + 50) * scale, (original + noise + 70) * scale).correlations
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_values_that_are_not_finite_count_as_the_mean(rng: np.random.Generator) -> None:
    original = rng.normal(size=(16, 16, 16))
    copy, holes = degraded(original), rng.random(original.shape) < 0.1
    filled = [np.where(holes, array[~holes].mean(), array) for array in (original, copy)]
    expected = fourier_shell_correlation(*filled).correlations
    found = fourier_shell_correlation(np.where(holes, np.nan, original), np.where(holes, np.inf, copy)).correlations
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_single_voxel_has_no_detail() -> None:
    one = fourier_shell_correlation(np.ones((1, 1, 1)), np.zeros((1, 1, 1)))
    assert not len(one.correlations) and "no detail" in one.describe()


def test_a_large_volume_is_cut_into_boxes(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    original = gaussian_filter(rng.normal(size=(61, 40, 50)), 1)
    copy = original + gaussian_filter(rng.normal(size=original.shape), 0.5) / 4
    whole = fourier_shell_correlation(original, copy)
    assert whole.describe_boxes() == ""
    monkeypatch.setattr(correlation, "MAX_BOX_VOXELS", 30_000)
    boxes = fourier_shell_correlation(original, copy)
    assert (boxes.n_boxes, boxes.box_shape) == (8, (31, 20, 25)) and "8 boxes of 31 x 20 x 25" in boxes.describe_boxes()
    assert boxes.resolution(0.5) == pytest.approx(whole.resolution(0.5), rel=0.05)
    covered = np.zeros(original.shape, bool)
    for box in correlation._boxes(original.shape, boxes.box_shape):
        covered[box] = True
    assert covered.all()


def test_the_curve_of_channels_is_their_mean(rng: np.random.Generator) -> None:
    original = rng.normal(size=(2, 16, 16, 16))
    copy = np.stack([degraded(original[0]), original[1]])
    each = [fourier_shell_correlation(*pair).correlations for pair in zip(original, copy, strict=True)]
    np.testing.assert_allclose(fourier_shell_correlation(original, copy).correlations, np.mean(each, axis=0))


def test_it_can_be_cancelled_and_refuses_other_shapes() -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        fourier_shell_correlation(np.ones((8, 8, 8)), np.ones((8, 8, 8)), check=stop)
    with pytest.raises(ValueError, match=r"\(8, 8, 8\) and \(8, 8, 9\), expected two of the same"):
        fourier_shell_correlation(np.ones((8, 8, 8)), np.ones((8, 8, 9)))
