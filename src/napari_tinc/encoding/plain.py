"""Arrays of plain numbers that a file can hold: without a mask, and with integers of at most 32 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..array_like import LazyBase
from ..io.arrays import extremes


def plain_array(array: Any) -> Any:
    """Return the array, or a view that reads it as plain numbers: see :func:`plain_values`.

    Integers of 64 bits are read in 32, signed as they are. Values are checked when they are read.

    Raises
    ------
    ValueError
        If integers are masked.
    """
    array = _array_of(array)
    dtype = np.dtype(array.dtype)
    is_long = dtype.kind in "iu" and dtype.itemsize == 8
    if isinstance(array, np.ma.MaskedArray):
        if dtype.kind != "f" and np.ma.is_masked(array):
            raise masked_numbers(array)
    elif not is_long:
        return array
    return PlainView(array, np.dtype(f"{dtype.kind}4") if is_long else dtype)


def fitting_array(array: Any) -> Any:
    """Return an array whose 64-bit integers, if it has any, are read in 32 bits. All of them are read once.

    Raises
    ------
    ValueError
        If one does not fit into 32 bits.
    """
    array = _array_of(array)
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "iu" or dtype.itemsize != 8 or 0 in array.shape or np.ma.is_masked(array):
        return array
    low, high = map(int, extremes(array))
    for code in (f"{dtype.kind}4", "u4", "i4"):
        limits = np.iinfo(code)
        if limits.min <= low and high <= limits.max:
            return PlainView(array, np.dtype(code))
    raise ValueError(
        f"volume has dtype {dtype} and values {low} to {high}, which do not fit into 32 bits; expected at most "
        "4294967295, or -2147483648 to 2147483647. Number labels anew, or give it as float64"
    )


def _array_of(array: Any) -> Any:
    """Return what has a shape, a dtype of NumPy's and slices; anything else as a NumPy array."""
    if not all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__")):
        return np.asanyarray(array)  # a masked array stays one
    try:
        np.dtype(array.dtype)
    except TypeError:  # another library's, such as PyTorch's
        return np.asarray(array)
    return array


class PlainView(LazyBase):
    """A view of an array that reads plain numbers of a dtype."""

    def __init__(self, array: Any, dtype: np.dtype[Any]) -> None:
        self._array, self._dtype = array, dtype
        self.portable = getattr(array, "portable", type(array).__module__.startswith("zarr."))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(int, self._array.shape))

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    def __getitem__(self, index: Any) -> NDArray[Any]:
        return plain_values(self._array[index], self._dtype)


def plain_values(values: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values that were read of an array as plain numbers of its dtype. Masked floats become NaN.

    Raises
    ------
    ValueError
        If integers are masked, or a value does not fit into the dtype, as with arrays that scale what they read.
    """
    if isinstance(values, np.ma.MaskedArray):
        if np.dtype(dtype).kind != "f" and np.ma.is_masked(values):
            raise masked_numbers(values)
        values = values.filled(np.nan) if np.ma.is_masked(values) else values.data
    values = np.asarray(values)
    if np.can_cast(values.dtype, dtype, "safe"):
        return values.astype(dtype, copy=False)
    with np.errstate(all="ignore"):
        converted = values.astype(dtype)
    misfits = converted != values
    if values.dtype.kind == "f":
        misfits &= ~np.isnan(values) | (dtype.kind != "f")
    if misfits.any():
        raise ValueError(
            f"volume has dtype {dtype}, but a value of {values[misfits].flat[0]}, which does not fit into it"
        )
    return converted


def masked_numbers(array: Any) -> ValueError:
    """Return the error for masked values that are not floats, which have no NaN."""
    count = int(np.count_nonzero(np.ma.getmaskarray(array)))
    return ValueError(
        f"volume is a masked array of {array.dtype} with {count} masked voxels, which have no value. Give "
        "array.filled(NUMBER), or array.astype(float), whose masked voxels are kept as NaN under max_error="
    )
