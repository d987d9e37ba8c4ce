"""Quality of a reconstruction: PSNR, SSIM, RMSE and largest error, of a volume and of each leaf."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import differences
from .array_like import computed
from .control import Check, never
from .devices import cpu_count
from .format import quality as format_quality
from .format.fill import is_fill
from .format.networks_file import NetworksHeader
from .format.quality import span_of
from .octree import box_slices
from .similarity import structural_similarity

T = TypeVar("T")
SLAB = 32  # At most so many rows of the first axis are compared at a time, on one CPU.
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


def ssim(
    original: NDArray[Any], reconstruction: NDArray[Any], value_range: float, check: Check = never,
    threads: int | None = None,
) -> float:  # fmt: skip
    """Compute the mean structural similarity, 0 to 1, as scikit-image does.

    Volumes under 7 voxels an axis have smaller windows. Windows around a voxel that is not finite are left out; such a
    voxel counts as some other one where it is in another window. It is 1 if no window is left.

    Slabs along the first axis are computed by ``threads``, one on each CPU for None. Their mean is the same, and memory
    stays bounded.

    Raises
    ------
    ValueError
        If NaN or infinite values are not the same in both.
    """
    known = np.isfinite(original) if original.dtype.kind == "f" else np.ones((), bool)
    original, reconstruction = replace_special_values(original, reconstruction)
    return _mean_ssim(original, reconstruction, None if known.all() else known, value_range, check, threads)


def _mean_ssim(
    original: NDArray[Any], reconstruction: NDArray[Any], known: NDArray[np.bool_] | None, value_range: float,
    check: Check, threads: int | None,
) -> float:  # fmt: skip
    """Compute the mean structural similarity of the windows around known voxels, or of all for None."""
    if value_range == 0:
        return 1.0 if np.array_equal(original, reconstruction) else 0.0
    original, reconstruction = np.squeeze(original), np.squeeze(reconstruction)
    known = None if known is None else np.squeeze(known)
    if original.ndim > 3:  # each channel and point in time has separate windows
        channels = zip(original, reconstruction, [None] * len(original) if known is None else known, strict=True)
        return float(np.mean([_mean_ssim(*channel, value_range, check, threads) for channel in channels]))
    if (window := ssim_window(original.shape)) < 3:
        return math.nan
    n_rows = len(original) - window + 1  # rows whose windows lie inside; the mean is over these
    inner = None if known is None else known[(slice(window // 2, -(window // 2)),) * known.ndim]

    def row_sum(first: int, similarity: NDArray[np.float64]) -> tuple[float, int]:
        if inner is None:
            return len(similarity) * float(similarity.mean()), len(similarity)
        chosen = similarity[inner[first : first + len(similarity)]]
        return float(chosen.sum()), chosen.size

    sums = map_ssim(original, reconstruction, value_range, row_sum, check, threads)
    if inner is None:
        return sum(total for total, _ in sums) / n_rows
    count = sum(n for _, n in sums)
    return sum(total for total, _ in sums) / count if count else 1.0


def ssim_window(shape: tuple[int, ...]) -> int:
    """Return the edge of the windows of SSIM in voxels: 7, or the largest odd number that fits; under 3 for none."""
    if not shape:
        return 0
    window = min([7, *shape])
    return window - 1 + window % 2


def map_ssim(
    original: NDArray[Any], reconstruction: NDArray[Any], value_range: float,
    reduce: Callable[[int, NDArray[np.float64]], T], check: Check = never, threads: int | None = None,
) -> list[T]:  # fmt: skip
    """Compute the structural similarity of each voxel, and return what ``reduce`` makes of each slab.

    Parameters
    ----------
    original, reconstruction : without axes of length one, and so large that a window fits.
    reduce : called with the first row of a slab and the similarity of its voxels. Only voxels whose windows lie inside
        the volume are given: half a window is missing at each face. Row 0 is the first of these.
    """
    window = ssim_window(original.shape)
    low = float(original.min())
    # Squares of values far from 0 would leave no digits for the variance, so they are moved nearer to 0.
    offset = math.copysign(max(0.0, abs(low) - FAR_RANGES * value_range), low)
    missing = 3 - original.ndim  # axes of length one, which are put in front
    depth, height, width = [1] * missing + [window] * original.ndim
    n_rows = len(original) - window + 1
    n_slabs = 2 * math.ceil(n_rows / (2 * SLAB))  # an even number, so that two CPUs have as much to do
    cuts = [n_rows * number // n_slabs for number in range(n_slabs + 1)]

    def slab(number: int) -> T:
        """Reduce the similarity of a slab."""
        check()
        first = cuts[number]
        rows = slice(first, cuts[number + 1] + window - 1)
        pair = [(a[rows].astype(np.float64) - offset) / value_range for a in (original, reconstruction)]
        similarity = np.empty([n - window + 1 for n in pair[0].shape])
        in_space = [np.reshape(a, (1,) * missing + a.shape) for a in (*pair, similarity)]
        structural_similarity(in_space[0], in_space[1], (depth, height, width), in_space[2])
        return reduce(first, similarity)

    numbers = [number for number in range(n_slabs) if cuts[number + 1] > cuts[number]]
    if threads == 1:
        return list(map(slab, numbers))
    with ThreadPoolExecutor(threads or cpu_count()) as pool:
        return list(pool.map(slab, numbers))


def rmse_and_largest(original: NDArray[Any], reconstruction: NDArray[Any]) -> tuple[float, float]:
    """Compute the root mean squared and the largest absolute difference, in float64.

    Only voxels that are finite in the original count. Both results are inf if another voxel has changed.
    """
    if differences.can_be_compared(original, reconstruction):
        sizes = differences.rmse_and_largest(original, reconstruction)
        if sizes is not None:
            return sizes
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
    check: Check = never, fill: tuple[float, ...] = (),
) -> Quality:  # fmt: skip
    """Measure a reconstruction against its original.

    Parameters
    ----------
    original, reconstruction : real numbers, of one shape. NaN and infinite values of the original are left out, and
        must be the same in the reconstruction. Masked voxels of either are left out, too.
    nbytes_compressed : bytes of the compressed file.
    value_range : range that PSNR and SSIM refer to; None for max - min of the original.
    check : called now and then; what it raises ends the work.
    fill : values that stand for no measurement, which are left out where both have them.

    Raises
    ------
    ValueError
        If the shapes differ, values are not real numbers, or a value is finite in only one of the two.
    """
    original, reconstruction = computed(original), computed(reconstruction)
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
    nbytes = original.nbytes
    if masked is not None:
        original, reconstruction = (np.where(masked, np.nan, array) for array in (original, reconstruction))
    original, reconstruction = without_fill(original, reconstruction, fill)
    rmse, largest = rmse_and_largest(original, reconstruction)
    if value_range is None:
        finite, _ = replace_special_values(original, reconstruction)
        value_range = span_of((finite.min(), finite.max()))
    return Quality(
        psnr=psnr(rmse, value_range),
        ssim=ssim(original, reconstruction, value_range, check),
        rmse=rmse,
        max_error=largest,
        ratio=nbytes / nbytes_compressed,
        bits_per_voxel=8 * nbytes_compressed / original.size,
    )


def without_fill(
    original: NDArray[Any], reconstruction: NDArray[Any], fill: tuple[float, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both as floats with NaN where both have the same value that stands for no measurement.

    They are returned as they are if there is none.
    """
    hidden = is_fill(original, fill) & (original == reconstruction) if fill else None
    if hidden is None or not hidden.any():
        return original, reconstruction
    return _with_nan(original, hidden), _with_nan(reconstruction, hidden)


def _with_nan(values: NDArray[Any], hidden: NDArray[np.bool_]) -> NDArray[Any]:
    """Return values as floats that hold them exactly, with NaN where they are hidden."""
    floats = values.astype(values.dtype if values.dtype.kind == "f" else np.float64)
    floats[hidden] = np.nan
    return floats


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
    voxels : voxels of every leaf that the errors are of, (n_leaves,).
    part : part that each leaf belongs to, from 0, (n_leaves,).
    """
    merged = np.zeros((int(part.max()) + 1, 2))
    np.maximum.at(merged[:, 1], part, errors[:, 1])
    scale = np.maximum(merged[:, 1], np.finfo(float).tiny)  # so that no square overflows or vanishes
    squares = np.bincount(part, (errors[:, 0] / scale[part]) ** 2 * voxels)
    merged[:, 0] = scale * np.sqrt(squares / np.maximum(np.bincount(part, voxels), 1))
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
    known = np.array([np.isfinite(original[box_slices(*ends)]).sum() for ends in zip(start, stop, strict=True)])
    return merge_errors(errors, known, format_quality.parts_of_leaves(header))
