"""Lazy arrays made of an original and its compressed volume: a curtain, and a difference. No napari, no Qt."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...control import Check
from ...decoding.lazy_array import LazyArray
from ...decoding.volume import CACHE_BYTES, TincVolume
from ..layers.display import DisplayVolume
from ..layers.refining import Piece, Ranges

FLOAT32 = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))


def _ignore_damage(reason: str) -> None:
    """Ignore damage, which the layer of the volume reports."""


def as_display_volume(volume: TincVolume | DisplayVolume) -> DisplayVolume:
    """Return a volume in the form that napari draws, which can be shown before it is decoded."""
    return volume if isinstance(volume, DisplayVolume) else DisplayVolume(volume, CACHE_BYTES // 2, _ignore_damage)


class _FollowsVolume:
    """Leave to a compressed volume how a view is cut into pieces, and which pieces were lost."""

    _display_volume: DisplayVolume

    @property
    def losses(self) -> int:
        """See :class:`~.refining.Refinable`."""
        return self._display_volume.losses

    def pieces(self, factor: int, ranges: Ranges) -> list[Piece]:
        """See :class:`~.refining.Refinable`."""
        return self._display_volume.pieces(factor, ranges)

    def refined(self, factor: int, piece: Piece, check: Check) -> NDArray[Any]:
        """See :class:`~.refining.Refinable`."""
        return self._decode(factor, piece.ranges)

    def _decode(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        """Return the values of the cells of a view."""
        raise NotImplementedError


class Curtain(_FollowsVolume):
    """Show the original up to a place along one axis, and the compressed volume from there on.

    The place may be changed while threads read.

    Attributes
    ----------
    axis, place : the first voxel along an axis that shows the compressed volume.
    """

    def __init__(self, original: Any, volume: TincVolume | DisplayVolume) -> None:
        self.original = original
        self.volume = volume
        self._position = 2, self.volume.shape[2] // 2  # A tuple, so that a thread never sees half of a change.

    @property
    def axis(self) -> int:
        return self._position[0]

    @axis.setter
    def axis(self, axis: int) -> None:
        self._position = axis, self._position[1]

    @property
    def place(self) -> int:
        return self._position[1]

    @place.setter
    def place(self, place: int) -> None:
        self._position = self._position[0], place

    @property
    def volume(self) -> TincVolume:
        return self._display_volume.of

    @volume.setter
    def volume(self, volume: TincVolume | DisplayVolume) -> None:
        self._display_volume = as_display_volume(volume)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.result_type(np.dtype(self.original.dtype), self.volume.dtype)

    def levels(self, max_voxels: int) -> list[LazyArray]:
        """Return all voxels, then coarser levels of the volume until one has at most ``max_voxels`` voxels."""
        levels = [LazyArray(self, 1, tuple(range(n) for n in self.volume.shape))]
        for coarse in self.volume.levels[1:]:
            if levels[-1].size <= max_voxels:
                break
            levels.append(LazyArray(self, coarse.factor, coarse.axes))
        return levels

    @property
    def state(self) -> Hashable:
        """See :class:`~.refining.Refinable`."""
        return self._position, id(self._display_volume)

    def at_hand(self, factor: int, ranges: Ranges) -> NDArray[Any] | None:
        """See :class:`~.refining.Refinable`."""
        if not isinstance(self.original, np.ndarray):
            return None  # It may be a file.
        position = self._position
        behind_ranges = _ranges_behind(position, factor, ranges)
        compressed = self._display_volume.at_hand(factor, behind_ranges) if behind_ranges[position[0]] else np.zeros(0)
        return None if compressed is None else self._composed(position, factor, ranges, compressed)

    def quick(self, factor: int, ranges: Ranges) -> NDArray[Any]:
        """See :class:`~.refining.Refinable`."""
        if not isinstance(self.original, np.ndarray):
            return self._display_volume.quick(factor, ranges).astype(self.dtype)
        position = self._position
        behind_ranges = _ranges_behind(position, factor, ranges)
        compressed = self._display_volume.quick(factor, behind_ranges) if behind_ranges[position[0]] else np.zeros(0)
        return self._composed(position, factor, ranges, compressed)

    def sketches(self, factor: int, ranges: Ranges) -> list[Piece]:
        """See :class:`~.refining.Refinable`."""
        return self._display_volume.sketches(factor, ranges)

    def sketch(self, factor: int, ranges: Ranges, check: Check) -> NDArray[Any]:
        """See :class:`~.refining.Refinable`."""
        self._display_volume.sketch(factor, ranges, check)
        return self.quick(factor, ranges)

    def keep(self, factor: int, ranges: Ranges, values: NDArray[Any]) -> None:
        """See :class:`~.refining.Refinable`: another place of the curtain needs other values."""

    def _decode(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        position = self._position
        behind_ranges = _ranges_behind(position, factor, ranges)
        behind = LazyArray(self._display_volume, factor, behind_ranges) if behind_ranges[position[0]] else np.zeros(0)
        return self._composed(position, factor, ranges, np.asarray(behind))

    def _composed(
        self, position: tuple[int, int], factor: int, ranges: Sequence[range], compressed: NDArray[Any]
    ) -> NDArray[Any]:  # fmt: skip
        """Return the original, behind the curtain the compressed values, and a bright line between them."""
        axis, cut = position[0], position[1] // factor
        out = np.empty([len(along) for along in ranges], self.dtype)
        n_before = len(ranges[axis]) - len(_ranges_behind(position, factor, ranges)[axis])
        before, behind, line = ([slice(None)] * 3 for _ in range(3))
        before[axis], behind[axis] = slice(n_before), slice(n_before, None)
        if out.size and n_before:
            part = [*ranges]
            part[axis] = ranges[axis][:n_before]
            out[tuple(before)] = cell_middles(self.original, factor, part, self.volume.shape)
        if out.size and n_before < len(ranges[axis]):
            out[tuple(behind)] = compressed
        if cut > 0 and cut in ranges[axis]:
            at = ranges[axis].index(cut)
            line[axis] = slice(at, at + 1)
            out[tuple(line)] = self.volume.value_range[1]  # A visible line.
        return out


class Difference(_FollowsVolume):
    """Show compressed minus original as float32, or its absolute value; at coarse levels of one voxel in each cell.

    What is not decoded yet is drawn as a difference of 0.
    """

    def __init__(self, original: Any, volume: TincVolume, absolute: bool = False) -> None:
        self.original, self.volume, self.absolute = original, volume, absolute
        self._display_volume = as_display_volume(volume)
        self.dtype = np.dtype(np.float32)

    def levels(self, max_voxels: int) -> list[LazyArray]:
        """Return all voxels, then half along each axis and so on, until a level has at most ``max_voxels`` voxels."""
        levels, factor = [LazyArray(self, 1, tuple(range(n) for n in self.volume.shape))], 1
        while levels[-1].size > max_voxels:
            factor *= 2
            levels.append(LazyArray(self, factor, tuple(range(-(-n // factor)) for n in self.volume.shape)))
        return levels

    @property
    def state(self) -> Hashable:
        """See :class:`~.refining.Refinable`."""
        return self.absolute

    def at_hand(self, factor: int, ranges: Ranges) -> NDArray[Any] | None:
        """See :class:`~.refining.Refinable`."""
        if not isinstance(self.original, np.ndarray):
            return None  # It may be a file.
        values = self._display_volume.at_hand(1, _first_voxels(factor, ranges))
        return None if values is None else self._subtract_original(factor, ranges, values)

    def quick(self, factor: int, ranges: Ranges) -> NDArray[Any]:
        """See :class:`~.refining.Refinable`."""
        return np.zeros([len(axis) for axis in ranges], self.dtype)

    def sketches(self, factor: int, ranges: Ranges) -> list[Piece]:
        """See :class:`~.refining.Refinable`: a coarse difference would be none."""
        return []

    def sketch(self, factor: int, ranges: Ranges, check: Check) -> NDArray[Any]:
        """See :class:`~.refining.Refinable`."""
        return self.quick(factor, ranges)

    def keep(self, factor: int, ranges: Ranges, values: NDArray[Any]) -> None:
        """See :class:`~.refining.Refinable`: blocks are cached where they are decoded."""

    def _decode(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        return self._subtract_original(
            factor, ranges, np.asarray(LazyArray(self._display_volume, 1, _first_voxels(factor, ranges)))
        )

    def _subtract_original(self, factor: int, ranges: Sequence[range], values: NDArray[Any]) -> NDArray[Any]:
        """Return decoded values minus the original, clipped to what float32 can hold."""
        original = cell_middles(self.original, 1, _first_voxels(factor, ranges), self.volume.shape)
        with np.errstate(invalid="ignore"):  # Of infinite values.
            errors = values.astype(np.float64) - original
        errors = np.clip(np.nan_to_num(errors), *FLOAT32).astype(np.float32)
        return np.abs(errors) if self.absolute else errors


def _ranges_behind(position: tuple[int, int], factor: int, ranges: Sequence[range]) -> Ranges:
    """Return the part of a view that lies behind a curtain, whose position is an axis and a voxel."""
    axis, place = position
    part = [*ranges]
    part[axis] = ranges[axis][sum(at < place // factor for at in ranges[axis]) :]
    return tuple(part)


def cell_middles(original: Any, factor: int, ranges: Sequence[range], shape: Sequence[int]) -> NDArray[Any]:
    """Return the values of an array at a voxel near the middle of each cell of ``factor`` voxels along each axis."""
    index = [np.minimum(np.array(axis) * factor + factor // 2, n - 1) for axis, n in zip(ranges, shape, strict=True)]
    # Plane by plane along the first axis: what is not an array in memory may take one fancy index at most.
    return np.stack([np.asarray(original[z])[np.ix_(index[1], index[2])] for z in index[0]])


def _first_voxels(factor: int, ranges: Sequence[range]) -> Ranges:
    """Return the first voxel of every cell."""
    return tuple(range(a.start * factor, (a[-1]) * factor + 1, factor * a.step) for a in ranges)
