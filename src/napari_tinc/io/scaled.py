"""Stored numbers times a slope plus an intercept: integers where the results are whole, else floats.

The rule. A whole slope and intercept give integers of the fewest bits that hold all values, and no fewer than the
stored ones have. Other results are float32 where each is exactly a float32, or where the program shows float32, or
where the caller asks for no more; else they are float64, which is what nibabel and netCDF libraries show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .arrays import AxesView, extremes
from .read_options import say

LARGEST_EXACT_SINGLE = 2**24  # Whole numbers up to this are float32 numbers.
LARGEST_EXACT_DOUBLE = 2**53  # Whole numbers up to this are float64 numbers.


def scaled(array: Any, slope: float, intercept: float, *, single: bool) -> Any:
    """Return ``array * slope + intercept``, read when it is indexed; the array itself if that changes nothing.

    Parameters
    ----------
    array : numbers as they are stored. They are read once if their dtype alone does not tell how large results may be.
    single : whether float32 is enough, for results that are not whole.

    Raises
    ------
    ValueError
        If slope or intercept is not a finite number, the slope is 0, or whole numbers are stored that not even float64
        holds.
    """
    slope, intercept = float(slope), float(intercept)
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise ValueError(f"its values are stored as numbers times {slope} plus {intercept}, which has no meaning")
    dtype = np.dtype(array.dtype)
    if (slope, intercept) == (1, 0):
        return array
    if dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        return Scaled(array, slope, intercept, _whole_dtype(array, int(slope), int(intercept)))
    enough = single or (dtype.kind in "iu" and _is_exact_in_single(dtype, slope, intercept))
    return Scaled(array, slope, intercept, np.float32 if enough else np.float64)


class Scaled(AxesView):
    """An array times a slope plus an intercept, computed in int64 or float64 and returned in a dtype."""

    def __init__(self, array: Any, slope: float, intercept: float, dtype: DTypeLike) -> None:
        super().__init__(array, dtype=dtype, portable=getattr(array, "portable", False))
        self.slope, self.intercept = slope, intercept

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a part."""
        stored = np.asarray(self.array[index])
        if self.dtype.kind in "iu":
            return (stored.astype(np.int64) * int(self.slope) + int(self.intercept)).astype(self.dtype)
        return (stored.astype(np.float64) * self.slope + self.intercept).astype(self.dtype)


def fitting_dtype(low: int, high: int, stored: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return the smallest integer dtype of at most 32 bits that holds a range; None if there is none.

    It has at least as many bits as the stored dtype, unless that has 64, and is signed as that is if both would do.
    """
    least = stored.itemsize if stored.itemsize < 8 else 1
    for size in (1, 2, 4):
        for kind in (stored.kind, "u" if stored.kind == "i" else "i"):
            limits = np.iinfo(f"{kind}{size}")
            if size >= least and limits.min <= low and high <= limits.max:
                return np.dtype(f"{kind}{size}")
    return None


def _whole_dtype(array: Any, slope: int, intercept: int) -> np.dtype[Any]:
    """Return the dtype for whole results: of at most 32 bits, or float64. What float64 rounds is said.

    ValueError if float64 does not hold what is stored.
    """
    stored = np.dtype(array.dtype)
    limits = np.iinfo(stored)
    ends = sorted((limits.min * slope + intercept, limits.max * slope + intercept))
    fitting = fitting_dtype(ends[0], ends[1], stored)
    if fitting is not None and fitting.itemsize == stored.itemsize:
        return fitting
    low, high = extremes(array)
    ends = sorted((int(low) * slope + intercept, int(high) * slope + intercept))
    fitting = fitting_dtype(ends[0], ends[1], stored)
    if fitting is not None and max(abs(int(low)), abs(int(high))) < 2**62 // max(1, abs(slope)):
        return fitting
    if max(map(abs, (int(low), int(high)))) > LARGEST_EXACT_DOUBLE:
        raise ValueError(
            f"its stored numbers are {low} to {high}, with a slope of {slope:.6g} and an intercept of {intercept:.6g}: "
            "that is more than float64 holds exactly"
        )
    if max(map(abs, ends)) > LARGEST_EXACT_DOUBLE:
        say(
            f"its stored numbers, {low} to {high}, have a slope of {slope:.6g} and an intercept of {intercept:.6g}: "
            "the values are rounded to float64, as other programs show them"
        )
    return np.dtype(np.float64)


def _is_exact_in_single(stored: np.dtype[Any], slope: float, intercept: float) -> bool:
    """Tell whether each result is exactly a float32: a small multiple of the last binary digit of both numbers."""
    digit = max(slope.as_integer_ratio()[1], intercept.as_integer_ratio()[1])
    limits = np.iinfo(stored)
    return (
        max(abs(end * slope + intercept) for end in (int(limits.min), int(limits.max))) * digit <= LARGEST_EXACT_SINGLE
    )
