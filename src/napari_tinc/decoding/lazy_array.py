"""LazyArray: a part of a volume, at any sampling, which is decoded when it becomes an array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..array_like import LazyBase

COARSEST_EDGE = 32  # A level of at most so many cells along each axis is the last one.


class Decoder(Protocol):
    """What a :class:`LazyArray` decodes with."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    def _decode(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        """Return the values of an ascending range along every axis; z, y, x count in cells of ``factor`` voxels."""


@dataclass(frozen=True, eq=False)
class LazyArray(LazyBase):
    """A part of a volume: along each axis a range of voxels, or a single one. Decoded when it becomes an array.

    ``array[...]`` with integers and slices gives another LazyArray; ``np.asarray(array)`` decodes exactly what it
    covers. ``factor`` is the edge, in voxels of the full volume, of the cells whose centres are evaluated.
    """

    volume: Decoder
    factor: int
    axes: tuple[range | int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis) for axis in self.axes if isinstance(axis, range))

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.volume.dtype

    def __getitem__(self, index: Any) -> LazyArray:
        return LazyArray(self.volume, self.factor, _index(self.axes, index))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        ranges = [axis if isinstance(axis, range) else range(axis, axis + 1) for axis in self.axes]
        values = self.volume._decode(self.factor, [axis if axis.step > 0 else axis[::-1] for axis in ranges])
        values = values[tuple(slice(None, None, 1 if axis.step > 0 else -1) for axis in ranges)].reshape(self.shape)
        return values if dtype is None else values.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"<LazyArray shape={self.shape} dtype={self.dtype} of {self.volume!r}>"


def levels_of(volume: Decoder, leading: Sequence[int], shape: Sequence[int]) -> list[LazyArray]:
    """Make the levels: full resolution, half, ... down to :data:`COARSEST_EDGE` cells along the longest of z, y, x."""
    levels, factor = [], 1
    while True:
        cells = [-(-n // factor) for n in shape]
        levels.append(LazyArray(volume, factor, tuple(range(n) for n in (*leading, *cells))))
        if max(cells) <= COARSEST_EDGE:
            return levels
        factor *= 2


def _index(axes: Sequence[range | int], index: Any) -> tuple[range | int, ...]:
    """Apply a basic index to the axes that are still ranges; IndexError for any other kind of index."""
    items = list(index) if isinstance(index, tuple) else [index]
    kept = sum(isinstance(axis, range) for axis in axes)
    dots = [at for at, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index can only have a single ellipsis")
    for at in dots:
        items[at : at + 1] = [slice(None)] * (kept - len(items) + 1)
    if len(items) > kept:
        raise IndexError(f"too many indices: array has {kept} axes, {len(items)} were given")
    items += [slice(None)] * (kept - len(items))
    out: list[range | int] = []
    for axis in axes:
        if isinstance(axis, int):
            out.append(axis)
            continue
        at = kept - len(items)
        item = items.pop(0)
        if isinstance(item, slice):
            out.append(axis[item])
        elif isinstance(item, bool) or not isinstance(item, int | np.integer):
            raise IndexError(f"only integers, slices and ellipsis index a lazy array, not {item!r}; np.asarray first")
        elif not -len(axis) <= item < len(axis):
            raise IndexError(f"index {item} is beyond axis {at}, of length {len(axis)}")
        else:
            out.append(axis[int(item)])
    return tuple(out)
