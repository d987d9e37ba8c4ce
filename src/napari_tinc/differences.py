"""Whether two volumes are the same: checksums, and how far they are apart.

Where that can be, in one compiled pass over both, during which other threads run.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled

LEAST_SQUARE = 1e-200  # Where the largest square is smaller, others may vanish.
LANES = 8  # So many sums are kept, as one alone would wait for every addition.


@compiled
def _sizes_of_differences(one: NDArray[Any], other: NDArray[Any], out: NDArray[np.float64]) -> None:
    """Put the largest size of the differences of two flat arrays into ``out``, and the sum of squares.

    Either is not finite if a difference is not, or a square is too large.
    """
    squares, most = np.zeros(LANES), np.zeros(LANES)
    whole = len(one) // LANES * LANES
    for first in range(0, whole, LANES):
        for lane in range(LANES):
            difference = np.float64(one[first + lane]) - np.float64(other[first + lane])
            squares[lane] += difference * difference
            most[lane] = max(most[lane], abs(difference))
    for i in range(whole, len(one)):
        difference = np.float64(one[i]) - np.float64(other[i])
        squares[0] += difference * difference
        most[0] = max(most[0], abs(difference))
    out[0], out[1] = most.max(), squares.sum()


@compiled
def _count_beyond(
    one: NDArray[Any], other: NDArray[Any], bits: NDArray[Any], other_bits: NDArray[Any], bound: float
) -> int:
    """Count the voxels with other bits that are further than a bound apart."""
    count = 0
    for i in range(len(one)):
        is_near = abs(np.float64(other[i]) - np.float64(one[i])) <= bound
        count += (bits[i] != other_bits[i]) & (not is_near)
    return count


def can_be_compared(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return whether two arrays are as the functions below need them: of one shape and one plain dtype, contiguous."""
    dtype = one.dtype
    is_plain = dtype.isnative and (dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize in (4, 8)))
    is_alike = other.dtype == dtype and other.shape == one.shape
    return is_plain and is_alike and one.flags.c_contiguous and other.flags.c_contiguous


def rmse_and_largest(one: NDArray[Any], other: NDArray[Any]) -> tuple[float, float] | None:
    """Compute the root mean squared and the largest absolute difference, in float64.

    None if they have values that are not finite, or differences whose squares overflow or vanish.
    """
    out = np.empty(2)
    _sizes_of_differences(one.reshape(-1), other.reshape(-1), out)
    largest, squares = out.tolist()
    if not math.isfinite(squares) or (largest and not largest * largest > LEAST_SQUARE):
        return None
    return math.sqrt(squares / max(one.size, 1)), largest


def count_beyond(original: NDArray[Any], values: NDArray[Any], bound: float) -> int:
    """Count the voxels that are further than ``bound`` from the original, in float64, and have other bits.

    They need not be finite.
    """
    bits = f"u{original.itemsize}"
    one, other = original.reshape(-1), values.reshape(-1)
    return int(_count_beyond(one, other, one.view(bits), other.view(bits), bound))


def checksum(values: NDArray[Any]) -> int:
    """Return the CRC-32 of the values in little-endian order."""
    return zlib.crc32(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).view(np.uint8).data)


def violations(original: NDArray[Any], values: NDArray[Any], bound: float) -> int:
    """Count the voxels that are further than ``bound`` from the original, in float64.

    For a bound of 0, voxels with other bits are counted. NaN must stay NaN, and infinite values must stay what they
    are.
    """
    if can_be_compared(original, values):
        if bound > 0:
            return count_beyond(original, values, bound)
        bits = f"u{original.itemsize}"
        return int(np.count_nonzero(original.view(bits) != values.view(bits)))
    count = 0
    for plane, other in zip(original, values, strict=True):
        with np.errstate(all="ignore"):
            near = np.abs(other.astype(np.float64) - plane.astype(np.float64)) <= bound
        same = np.ascontiguousarray(plane).view(f"u{plane.dtype.itemsize}") == np.ascontiguousarray(other).view(
            f"u{plane.dtype.itemsize}"
        )
        count += int((~(same if bound == 0 else same | near)).sum())
    return count


def largest_difference(original: NDArray[Any], values: NDArray[Any]) -> float:
    """Return the largest absolute difference of the voxels that are finite in both, in float64."""
    largest = 0.0
    for plane, other in zip(original, values, strict=True):
        with np.errstate(all="ignore"):
            difference = np.abs(other.astype(np.float64) - plane.astype(np.float64))
        largest = max(largest, float(difference[np.isfinite(difference)].max(initial=0)))
    return largest
