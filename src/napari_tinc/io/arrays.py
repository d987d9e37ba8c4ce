"""Arrays that are read when they are indexed, with axes in another order; and reading an array slab by slab."""

from __future__ import annotations

import math
import mmap
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..array_like import LazyBase, computed

LARGE_MAP = 2**28  # Pages of larger memory maps, in bytes, are given back when they were read.
READ_BEFORE_RELEASE = (
    2**24
)  # They are given back after so many bytes of values: pages are more than the values in them.
MOST_FOREIGN = 120  # Longer texts of other libraries are cut.
SLAB = 2**24  # This many voxels are read at a time, or one plane if that has more.


class AxesView(LazyBase):
    """An array with its axes in another order, without those of length one, or in another dtype.

    Indexed by integers and slices it reads that part, as a NumPy array. Whatever else the array's file needs stays open
    as long as this lives.

    Parameters
    ----------
    array : anything with a shape, a dtype and basic indexing.
    order : the axes that are kept; None for all of them. Others have length one.
    dtype : of what is read; None for the array's own.
    portable : whether another machine can read a pickle of it.
    """

    def __init__(
        self, array: Any, order: Sequence[int] | None = None, dtype: DTypeLike | None = None, portable: bool = False
    ) -> None:
        self.array = array
        self.order = tuple(range(len(array.shape)) if order is None else order)
        self._dtype = np.dtype(array.dtype if dtype is None else dtype)
        self.portable = portable
        self.place: list[Any] = [0] * len(array.shape)  # where other axes are read

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes that are kept."""
        return tuple(int(self.array.shape[axis]) for axis in self.order)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of what is read."""
        return self._dtype

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a part, given by integers and slices, as a NumPy array."""
        items = index if isinstance(index, tuple) else (index,)
        if Ellipsis in items:
            at = items.index(Ellipsis)
            items = (*items[:at], *(slice(None),) * (self.ndim - len(items) + 1), *items[at + 1 :])
        items = (*items, *(slice(None),) * (self.ndim - len(items)))
        place = list(self.place)
        for axis, item in zip(self.order, items, strict=True):
            place[axis] = item
        values = computed(self.array[tuple(place)])
        remaining_axes = [axis for axis, item in zip(self.order, items, strict=True) if isinstance(item, slice)]
        return values.transpose(np.argsort(np.argsort(remaining_axes))).astype(self.dtype, copy=False)


class ArrayOfFile(AxesView):
    """An array whose read errors name its file, since every library has errors of its own."""

    def __init__(self, array: Any, file: str | os.PathLike[str], portable: bool) -> None:
        super().__init__(array, portable=portable)
        self.file = file

    def __getitem__(self, index: Any) -> Any:
        """Read a part. ValueError if the file cannot be read."""
        try:
            return super().__getitem__(index)
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            raise unreadable(self.file, error) from error


class LargeMap(AxesView):
    """A memory map whose pages are given back to the system, as they count as memory of the process until then."""

    def __init__(self, array: NDArray[Any], mapped: mmap.mmap) -> None:
        super().__init__(array)
        self._map, self._read = mapped, 0

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a part, as a copy."""
        values = np.array(super().__getitem__(index))
        self._read += values.nbytes
        if self._read >= READ_BEFORE_RELEASE:
            self._read = 0
            self._map.madvise(mmap.MADV_DONTNEED)
        return values


def sparing(array: NDArray[Any]) -> Any:
    """Return a view of a large, read-only memory map that takes little memory; any other array as it is."""
    owner: Any = array
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = getattr(owner, "_mmap", None) or getattr(owner, "base", None)
    if array.nbytes <= LARGE_MAP or array.flags.writeable or owner is None or not hasattr(mmap, "MADV_DONTNEED"):
        return array
    return LargeMap(array, owner)


class Unreadable(ValueError):
    """The message says which file cannot be read, and why."""


def unreadable(path: str | os.PathLike[str], error: Exception) -> ValueError:
    """Return the error for a file that cannot be read: what this package found, or what another library said of it."""
    if isinstance(error, Unreadable):
        return error
    other = getattr(error, "filename", None)
    if isinstance(error, FileNotFoundError) and other and os.fspath(other) != os.fspath(path):
        return Unreadable(f"cannot read {path}: a part of it is in {other}, which is not there")
    text = " ".join(str(error).split()) or type(error).__name__
    library = _origin(error)
    if isinstance(error, OSError) and error.errno and error.strerror:
        text = error.strerror
    elif library != __package__.partition(".")[0] and not isinstance(error, FileNotFoundError | ConnectionError):
        text = f"it is damaged, cut short, or of a kind that is not read ({library}: {_shortened(text, path)})"
    return Unreadable(f"cannot read {path}: {text}")


def _origin(error: Exception) -> str:
    """Return the name of the package that raised an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] or type(error).__name__


def _shortened(text: str, path: str | os.PathLike[str]) -> str:
    """Return the first sentence of what a library said, without places in its code and in memory, and our folders."""
    text = text.rpartition("ERROR: ")[2].replace(f"{os.path.dirname(os.fspath(path))}{os.sep}", "")
    text = re.sub(r"\(?0x[0-9a-fA-F]+\)?", "", text).split(". ")[0].rstrip(".: ")
    return text if len(text) <= MOST_FOREIGN else f"{text[:MOST_FOREIGN]}..."


def guarded(array: Any, path: str | os.PathLike[str]) -> Any:
    """Return an array whose read errors name its file; the array itself if it is a NumPy array or does so already."""
    inner = array
    while isinstance(inner, AxesView) and not isinstance(inner, ArrayOfFile):
        inner = inner.array
    if isinstance(inner, np.ndarray | ArrayOfFile):
        return array
    return ArrayOfFile(array, path, getattr(array, "portable", False))


def slabs_of(array: Any) -> Iterator[NDArray[Any]]:
    """Yield the planes of an array in their order, several at a time: (planes, y, x)."""
    depth, plane = array.shape[-3], math.prod(array.shape[-2:])
    rows = max(1, SLAB // max(1, plane))
    for place in np.ndindex(*array.shape[:-3]):
        for z in range(0, depth, rows):
            yield np.ascontiguousarray(array[(*place, slice(z, z + rows))])


def extremes(array: Any) -> tuple[Any, Any]:
    """Read an array slab by slab, and return its smallest and largest value."""
    parts = slabs_of(array) if len(array.shape) > 2 else iter([np.asarray(array[()])])
    ends = [(part.min(), part.max()) for part in parts if part.size]
    return min(low for low, _ in ends), max(high for _, high in ends)
