"""Whether what was decoded is what was promised: checksums and voxels out of bounds."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def checksum(values: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).view(np.uint8).data)


def violations(original: NDArray[Any], values: NDArray[Any], bound: float) -> int:
    """Voxels that are further than ``bound`` from the original, in float64; for 0, of other bits.

    NaN has to stay NaN, and an infinite value what it is.
    """
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
    """Of the voxels that are finite in both, in float64."""
    largest = 0.0
    for plane, other in zip(original, values, strict=True):
        with np.errstate(all="ignore"):
            difference = np.abs(other.astype(np.float64) - plane.astype(np.float64))
        largest = max(largest, float(difference[np.isfinite(difference)].max(initial=0)))
    return largest
