"""The volume to compress: an array of any kind, checked, and read box by box.

NumPy arrays, memory maps, Zarr arrays, HDF5 datasets, dask arrays: whatever has a shape, a dtype and slices.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..array_like import LazyBase, computed
from ..format import limits
from ..format.limits import MAX_LEADING
from ..io.arrays import extremes

FEW_VOXELS = 2**25  # The fingerprint of a larger volume is that of some boxes,
SAMPLE_EDGE = 32  # of this many voxels along an edge.


@dataclass(frozen=True, slots=True, eq=False)
class VolumeSource:
    """A volume z, y, x, maybe of several channels and points in time.

    Attributes
    ----------
    array : with axes (..., z, y, x).
    leading : sizes of the axes before z, y, x.
    shape : voxels along z, y, x.
    dtype : in native byte order.
    """

    array: Any
    leading: tuple[int, ...]
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, array: Any, *, exact: bool = False) -> VolumeSource:
        """Make a source of an array, or of what becomes one.

        Parameters
        ----------
        exact : whether every value will be kept; else bool is refused.

        Raises
        ------
        ValueError, TypeError
            If no file can hold the volume.
        """
        array = plain_array(array)
        dtype = np.dtype(array.dtype)
        if dtype.kind == "b" and exact:
            dtype = np.dtype("u1")
        elif dtype.kind == "b":
            raise TypeError(
                "volume is bool; a mask or label image is not an intensity, and would survive with max_error=0 only"
            )
        if dtype.newbyteorder("<").str[1:] not in limits.DTYPES:
            if dtype.names:
                fields = ", ".join(dtype.names)
                raise TypeError(
                    f"volume has {len(dtype.names)} fields in each voxel, {fields}; expected one: array[name]"
                )
            known = ", ".join(str(np.dtype(code)) for code in limits.DTYPES)
            hint = "; np.abs and np.angle make two of it" if dtype.kind == "c" else ""
            raise TypeError(f"volume has dtype {dtype}, expected one of {known}{hint}")
        shape = tuple(map(int, array.shape))
        if not 3 <= len(shape) <= 3 + MAX_LEADING:
            raise ValueError(
                f"volume has {len(shape)} axes, shape {shape}; expected 3: z, y, x, after at most {MAX_LEADING} others"
            )
        if not math.prod(shape):
            raise ValueError(f"volume is empty, shape {shape}")
        if max(shape) > limits.MAX_AXIS or math.prod(shape) > limits.MAX_VOXELS:
            raise ValueError(
                f"volume has shape {shape}, expected at most {limits.MAX_AXIS} voxels an axis and "
                f"{limits.MAX_VOXELS} in all"
            )
        return cls(array, shape[:-3], (shape[-3], shape[-2], shape[-1]), dtype.newbyteorder("="))

    @property
    def n_volumes(self) -> int:
        """Number of volumes: channels times points in time."""
        return math.prod(self.leading)

    @property
    def size(self) -> int:
        """Number of voxels in all volumes."""
        return self.n_volumes * math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all voxels."""
        return self.size * self.dtype.itemsize

    def index(self, volume: int, box: Sequence[slice]) -> tuple[Any, ...]:
        """Return the index in the array of a box of one channel or point in time."""
        place = np.unravel_index(volume, self.leading) if self.leading else ()
        return (*map(int, place), *box)

    def read(self, volume: int, box: Sequence[slice], *, finite: bool = True) -> NDArray[Any]:
        """Read a box, see :meth:`checked`."""
        return self.checked(self.array[self.index(volume, box)], finite=finite)

    def fingerprint(self) -> str:
        """Return a hash of all values; of some boxes only, if there are more than :data:`FEW_VOXELS`."""
        digest = hashlib.blake2b(digest_size=8)
        whole = self.size <= FEW_VOXELS
        for volume in range(self.n_volumes) if whole else sorted({0, self.n_volumes // 2, self.n_volumes - 1}):
            for part in range(1) if whole else range(4):
                edge = [n if whole else min(n, SAMPLE_EDGE) for n in self.shape]
                first = [(n - size) * part // 3 for n, size in zip(self.shape, edge, strict=True)]
                box = [slice(at, at + size) for at, size in zip(first, edge, strict=True)]
                digest.update(self.read(volume, box, finite=False).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def checked(self, values: Any, *, finite: bool = True) -> NDArray[Any]:
        """Return a box as a contiguous array of the dtype, see :func:`plain_values`.

        Raises
        ------
        ValueError
            If a value does not fit into the dtype or is masked, or ``finite`` is set and a value is not finite.
        """
        values = np.ascontiguousarray(plain_values(values, self.dtype))
        if finite and self.dtype.kind == "f":
            bad = sum(int((~np.isfinite(plane)).sum()) for plane in values)
            if bad:
                raise ValueError(
                    f"volume has {bad} voxels that are NaN or infinite, expected finite values; max_error= keeps them, "
                    "and so does exact= where it marks them"
                )
        return values


# --- plain numbers: without a mask, and with integers of at most 32 bits ---------------------------------------------


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
    values = computed(values)
    if np.ma.is_masked(values):
        if np.dtype(dtype).kind != "f":
            raise masked_numbers(values)
        values = values.astype(np.result_type(values.dtype, dtype)).filled(np.nan)
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
        "array.filled(NUMBER) (of dask: da.ma.filled), or array.astype(float), whose masked voxels are kept as NaN"
    )
