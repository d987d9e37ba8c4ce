"""How far a reconstruction is from its original: PSNR, SSIM, RMSE, largest error, in all and per leaf."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .control import Check, never
from .devices import cpu_count
from .format import quality as format_quality
from .format.networks_file import NetworksHeader
from .format.quality import span_of
from .octree import box_slices

SLAB = 32  # rows of the first axis
FAR = 1000  # ranges from 0: SSIM no longer depends on how far


@dataclass(frozen=True, slots=True)
class Quality:
    """A reconstruction measured against its original.

    Attributes
    ----------
    psnr : dB, 10 log10(range^2 / MSE) with range = max - min of the original; inf where nothing differs or range is 0.
    ssim : mean structural similarity (Wang et al. 2004), 7-voxel windows; nan where an axis is 2 voxels long.
    rmse, max_error : in units of the data.
    ratio : bytes of the raw array / bytes of the compressed file.
    bits_per_voxel : of the compressed file.
    """

    psnr: float
    ssim: float
    rmse: float
    max_error: float
    ratio: float
    bits_per_voxel: float


def psnr(rmse: float, value_range: float) -> float:
    """20 log10(range / RMSE) in dB; inf where either is 0."""
    return math.inf if rmse == 0 or value_range == 0 else 20 * (math.log10(value_range) - math.log10(rmse))


def ssim(original: NDArray[Any], reconstruction: NDArray[Any], value_range: float, check: Check = never) -> float:
    """Structural similarity as scikit-image computes it; windows shrink for volumes of less than 7 voxels an axis.

    Computed in slabs along the first axis, one a CPU, which give the same mean in bounded memory.
    """
    from skimage.metrics import structural_similarity

    if value_range == 0:
        return 1.0 if np.array_equal(original, reconstruction) else 0.0
    original, reconstruction = np.squeeze(original), np.squeeze(reconstruction)
    if original.ndim > 3:  # channels and points in time each have windows of their own
        return float(np.mean([ssim(a, b, value_range, check) for a, b in zip(original, reconstruction, strict=True)]))
    window = min([7, *original.shape])
    window -= 1 - window % 2
    if window < 3 or original.ndim == 0:
        return math.nan
    similarity: Any = structural_similarity
    low = float(original.min())
    # Squares of values that are large beside the range would leave nothing of a variance; what is left tells as much.
    offset = math.copysign(max(0.0, abs(low) - FAR * value_range), low)
    margin = window // 2
    n_rows = len(original) - 2 * margin  # rows whose windows lie inside, the ones that the mean is taken of

    def slab(first: int) -> float:
        check()
        rows = min(SLAB, n_rows - first)
        window_rows = slice(first, first + rows + 2 * margin)
        pair = ((a[window_rows].astype(np.float64) - offset) / value_range for a in (original, reconstruction))
        return rows * float(similarity(*pair, data_range=1.0, win_size=window))

    with ThreadPoolExecutor(cpu_count()) as pool:
        return sum(pool.map(slab, range(0, n_rows, SLAB))) / n_rows


def rmse_and_largest(original: NDArray[Any], reconstruction: NDArray[Any]) -> tuple[float, float]:
    """Root mean squared and largest absolute difference, in float64, plane by plane.

    Of the voxels that are finite in the original; both are infinite where another one is not what it was.
    """
    total, largest, count = 0.0, 0.0, 0
    for plane, other in zip(original, reconstruction, strict=True):
        with np.errstate(invalid="ignore"):  # of infinite values
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
    """All measures of a reconstruction. PSNR and SSIM are by ``value_range``, None for that of the original.

    NaN and infinite values of the original are left out, and have to be what they were.

    Raises
    ------
    ValueError
        If the shapes differ, values are not real numbers, or one is not finite that was, or was not and is.
    """
    original, reconstruction = np.asarray(original), np.asarray(reconstruction)
    if original.shape != reconstruction.shape:
        raise ValueError(f"shapes differ: original {original.shape}, reconstruction {reconstruction.shape}")
    if not original.size:
        raise ValueError(f"volume is empty, shape {original.shape}")
    for name, array in (("original", original), ("reconstruction", reconstruction)):
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name} is of {array.dtype}, expected real numbers")
    rmse, largest = rmse_and_largest(original, reconstruction)
    original, reconstruction = filled(original, reconstruction)
    if value_range is None:
        value_range = span_of((original.min(), original.max()))
    return Quality(
        psnr=psnr(rmse, value_range),
        ssim=ssim(original, reconstruction, value_range, check),
        rmse=rmse,
        max_error=largest,
        ratio=original.nbytes / nbytes_compressed,
        bits_per_voxel=8 * nbytes_compressed / original.size,
    )


def filled(original: NDArray[Any], reconstruction: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both with a finite value of the original in place of NaN and infinite ones, which have to be the same.

    Raises
    ------
    ValueError
        If they are not.
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
    """RMSE and largest absolute error of every box, (n, 2). ``start`` and ``stop``: voxels, (n, 3), half open."""
    errors = np.zeros((len(start), 2))
    for index, ends in enumerate(zip(start, stop, strict=True)):
        box = box_slices(*ends)
        errors[index] = rmse_and_largest(original[box], reconstruction[box])
    return errors


def merge_errors(
    errors: NDArray[np.float64], voxels: NDArray[np.int64], part: NDArray[np.int64]
) -> NDArray[np.float64]:
    """RMSE and largest error of parts of several leaves each, (n_parts, 2). ``part`` names that of a leaf, from 0."""
    merged = np.zeros((int(part.max()) + 1, 2))
    np.maximum.at(merged[:, 1], part, errors[:, 1])
    scale = np.maximum(merged[:, 1], np.finfo(float).tiny)  # so that no square overflows or vanishes
    squares = np.bincount(part, (errors[:, 0] / scale[part]) ** 2 * voxels)
    merged[:, 0] = scale * np.sqrt(squares / np.bincount(part, voxels))
    return merged


def quality_fields(quality: Quality | None) -> dict[str, str]:
    """What PROVENANCE says of a quality, zeros for none; of one length."""
    if quality is None:
        return {"psnr": "0000.000", "ssim": "0.00000"}
    return {"psnr": f"{min(quality.psnr, 9999):08.3f}", "ssim": f"{max(quality.ssim, 0):<7.5f}"}


def part_errors(original: NDArray[Any], values: NDArray[Any], header: NetworksHeader) -> NDArray[np.float64]:
    """What QUALITY says: RMSE and largest error of all leaves that share a network, or are scalars; (n_parts, 2)."""
    tree = header.tree
    start, stop = tree.start[tree.leaves], tree.stop[tree.leaves]
    errors = box_errors(original, values, start, stop)
    return merge_errors(errors, (stop - start).prod(axis=1), format_quality.parts_of_leaves(header))
