"""Check that decoded values are what the encoder promised: checksums, and voxels out of bounds."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..differences import can_be_compared, count_beyond


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
