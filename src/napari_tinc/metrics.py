"""Quality of a reconstruction: PSNR, SSIM, RMSE and largest error, of a volume and of each leaf."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .control import Check, never
from .devices import cpu_count
from .format import quality as format_quality
from .format.networks_file import NetworksHeader
from .format.quality import span_of
from .octree import box_slices

T = TypeVar("T")
SLAB = 32  # Rows of the first axis that are compared at a time, on one CPU.
# Values further from 0 than this many ranges are moved nearer: SSIM no longer depends on how far they are.
FAR_RANGES = 1000


@dataclass(frozen=True, slots=True)
class Quality:
    """Errors of a reconstruction against its original, and how small its file is.

    Attributes
    ----------
    psnr : dB, 10 log10(range^2 / MSE) with range = max - min of the original; inf if nothing differs or the range is 0.
    ssim : mean structural similarity (Wang et al. 2004), in windows of 7 voxels; nan if an axis is 2 voxels long.
    rmse, max_error : root mean squared and largest absolute error, in units of the data.
    ratio : bytes of the raw array / bytes of the compressed file.
    bits_per_voxel : bits of the compressed file for each voxel.
    """

    psnr: float
    ssim: float
    rmse: float
    max_error: float
    ratio: float
    bits_per_voxel: float


def psnr(rmse: float, value_range: float) -> float:
    """Return 20 log10(range / RMSE) in dB; inf if either is 0."""
    return math.inf if rmse == 0 or value_range == 0 else 20 * (math.log10(value_range) - math.log10(rmse))


def ssim(original: NDArray[Any], reconstruction: NDArray[Any], value_range: float, check: Check = never) -> float:
    """Compute the mean structural similarity, 0 to 1, as scikit-image does.

    Volumes under 7 voxels an axis have smaller windows.

    Slabs along the first axis are computed on one CPU each. Their mean is the same, and memory stays bounded.
    """
    if value_range == 0:
        return 1.0 if np.array_equal(original, reconstruction) else 0.0
    original, reconstruction = np.squeeze(original), np.squeeze(reconstruction)
    if original.ndim > 3:  # each channel and point in time has separate windows
        return float(np.mean([ssim(a, b, value_range, check) for a, b in zip(original, reconstruction, strict=True)]))
    if (window := ssim_window(original.shape)) < 3:
        return math.nan
    n_rows = len(original) - window + 1  # rows whose windows lie inside; the mean is over these

    def row_sum(_: int, similarity: NDArray[np.float64]) -> float:
        return len(similarity) * float(similarity.mean())

    return sum(map_ssim(original, reconstruction, value_range, row_sum, check)) / n_rows


def ssim_window(shape: tuple[int, ...]) -> int:
    """Return the edge of the windows of SSIM in voxels: 7, or the largest odd number that fits; under 3 for none."""
    if not shape:
        return 0
    window = min([7, *shape])
    return window - 1 + window % 2


def map_ssim(
    original: NDArray[Any], reconstruction: NDArray[Any], value_range: float,
    reduce: Callable[[int, NDArray[np.float64]], T], check: Check = never,
) -> list[T]:  # fmt: skip
    """Compute the structural similarity of each voxel, and return what ``reduce`` makes of each slab.

    Parameters
    ----------
    original, reconstruction : without axes of length one, and so large that a window fits.
    reduce : called with the first row of a slab and the similarity of its voxels. Only voxels whose windows lie inside
        the volume are given: half a window is missing at each face. Row 0 is the first of these.
    """
    from skimage.metrics import structural_similarity

    window = ssim_window(original.shape)
    similarity: Any = structural_similarity
    low = float(original.min())
    # Squares of values far from 0 would leave no digits for the variance, so they are moved nearer to 0.
    offset = math.copysign(max(0.0, abs(low) - FAR_RANGES * value_range), low)
    margin = window // 2
    n_rows = len(original) - 2 * margin
    inside = (slice(margin, -margin),) * original.ndim

    def slab(first: int) -> T:
        """Reduce the similarity of a slab."""
        check()
        rows = min(SLAB, n_rows - first)
        window_rows = slice(first, first + rows + 2 * margin)
        pair = ((a[window_rows].astype(np.float64) - offset) / value_range for a in (original, reconstruction))
        return reduce(first, similarity(*pair, data_range=1.0, win_size=window, full=True)[1][inside])

    with ThreadPoolExecutor(cpu_count()) as pool:
        return list(pool.map(slab, range(0, n_rows, SLAB)))


def rmse_and_largest(original: NDArray[Any], reconstruction: NDArray[Any]) -> tuple[float, float]:
    """Compute the root mean squared and the largest absolute difference, in float64, plane by plane.

    Only voxels that are finite in the original count. Both results are inf if another voxel has changed.
    """
    total, largest, count = 0.0, 0.0, 0
    for plane, other in zip(original, reconstruction, strict=True):
        with np.errstate(invalid="ignore"):  # infinite values differ by nan
            difference = np.abs(plane.astype(np.float64) - other)
        if not (known := np.isfinite(plane)).all():
            if not np.array_equal(plane[~known], other[~known], equal_nan=True):
                return math.inf, math.inf
            difference = difference[known]
        count += difference.size
        peak = float(difference.max(initial=0))
        if not math.isfinite(peak):
            return math.inf, math.inf
        if peak > largest:  # squares are summed in units of the largest, so that none overflows or vanishes
            total, largest = total * (largest / peak) ** 2, peak
        if largest:
            difference /= largest
            total += float(np.square(difference, out=difference).sum())  # BLAS would wake its threads for each plane
    return largest * math.sqrt(total / max(count, 1)), largest


def measure(
    original: ArrayLike, reconstruction: ArrayLike, nbytes_compressed: int, value_range: float | None = None,
    check: Check = never,
) -> Quality:  # fmt: skip
    """Measure a reconstruction against its original.

    Parameters
    ----------
    original, reconstruction : real numbers, of one shape. NaN and infinite values of the original are left out, and
        must be the same in the reconstruction. Masked voxels of either are left out, too.
    nbytes_compressed : bytes of the compressed file.
    value_range : range that PSNR and SSIM refer to; None for max - min of the original.
    check : called now and then; what it raises ends the work.

    Raises
    ------
    ValueError
        If the shapes differ, values are not real numbers, or a value is finite in only one of the two.
    """
    masked = _mask_of(original, reconstruction)
    original, reconstruction = np.asarray(original), np.asarray(reconstruction)
    for name, array in (("original", original), ("reconstruction", reconstruction)):
        if array.dtype.kind not in "biuf":
            hint = "; open a file first: napari_tinc.open(path)" if array.dtype.kind in "US" else ""
            raise ValueError(f"{name} is of {array.dtype}, expected real numbers{hint}")
    if original.shape != reconstruction.shape:
        raise ValueError(f"shapes differ: original {original.shape}, reconstruction {reconstruction.shape}")
    if not original.size:
        raise ValueError(f"volume is empty, shape {original.shape}")
    raw = original.nbytes
    if masked is not None:
        original, reconstruction = (np.where(masked, np.nan, array) for array in (original, reconstruction))
    rmse, largest = rmse_and_largest(original, reconstruction)
    original, reconstruction = replace_special_values(original, reconstruction)
    if value_range is None:
        value_range = span_of((original.min(), original.max()))
    return Quality(
        psnr=psnr(rmse, value_range),
        ssim=ssim(original, reconstruction, value_range, check),
        rmse=rmse,
        max_error=largest,
        ratio=raw / nbytes_compressed,
        bits_per_voxel=8 * nbytes_compressed / original.size,
    )


def _mask_of(*arrays: Any) -> NDArray[np.bool_] | None:
    """Return where any of some arrays is masked, as NumPy means it; None if none is."""
    masks = [np.ma.getmaskarray(array) for array in arrays if np.ma.is_masked(array)]
    return np.logical_or.reduce(masks) if masks else None


def replace_special_values(original: NDArray[Any], reconstruction: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Replace NaN and infinite values of both arrays with one finite value of the original.

    Raises
    ------
    ValueError
        If these values are not the same in both.
    """
    if all(np.isfinite(plane).all() for array in (original, reconstruction) for plane in array):
        return original, reconstruction
    known = np.isfinite(original)
    if not np.array_equal(known, np.isfinite(reconstruction)):
        wrong = int((known != np.isfinite(reconstruction)).sum())
        raise ValueError(f"{wrong} voxels are finite in one of original and reconstruction, expected in both or none")
    if not np.array_equal(original[~known], reconstruction[~known], equal_nan=True):
        raise ValueError("infinite values or NaN of the original are others in the reconstruction, expected the same")
    fill = original[known][0] if known.any() else original.dtype.type(0)
    return np.where(known, original, fill), np.where(known, reconstruction, fill)


def box_errors(
    original: NDArray[Any], reconstruction: NDArray[Any], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute RMSE and largest absolute error of every box, float64 (n, 2).

    Parameters
    ----------
    start, stop : first voxels of the boxes, and one past their last, int64 (n, 3).
    """
    errors = np.zeros((len(start), 2))
    for index, ends in enumerate(zip(start, stop, strict=True)):
        box = box_slices(*ends)
        errors[index] = rmse_and_largest(original[box], reconstruction[box])
    return errors


def merge_errors(
    errors: NDArray[np.float64], voxels: NDArray[np.int64], part: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Merge the errors of leaves into those of parts, float64 (n_parts, 2).

    Parameters
    ----------
    errors : RMSE and largest error of every leaf, (n_leaves, 2).
    voxels : voxels of every leaf, (n_leaves,).
    part : part that each leaf belongs to, from 0, (n_leaves,).
    """
    merged = np.zeros((int(part.max()) + 1, 2))
    np.maximum.at(merged[:, 1], part, errors[:, 1])
    scale = np.maximum(merged[:, 1], np.finfo(float).tiny)  # so that no square overflows or vanishes
    squares = np.bincount(part, (errors[:, 0] / scale[part]) ** 2 * voxels)
    merged[:, 0] = scale * np.sqrt(squares / np.bincount(part, voxels))
    return merged


def quality_fields(quality: Quality | None) -> dict[str, str]:
    """Return PSNR and SSIM as PROVENANCE stores them, in texts of constant length; zeros for None."""
    if quality is None:
        return {"psnr": "0000.000", "ssim": "0.00000"}
    return {"psnr": f"{min(quality.psnr, 9999):08.3f}", "ssim": f"{max(quality.ssim, 0):<7.5f}"}


def part_errors(original: NDArray[Any], values: NDArray[Any], header: NetworksHeader) -> NDArray[np.float64]:
    """Compute RMSE and largest error of every part that QUALITY has, float64 (n_parts, 2).

    A part is all leaves that share a linear head; the last one is all scalar leaves.
    """
    tree = header.tree
    start, stop = tree.start[tree.leaves], tree.stop[tree.leaves]
    errors = box_errors(original, values, start, stop)
    return merge_errors(errors, (stop - start).prod(axis=1), format_quality.parts_of_leaves(header))
