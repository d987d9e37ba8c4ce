"""Draw the leaves of a compressed volume: maps of one value per leaf, wireframes and colours.

Knows nothing of viewers, layers or Qt. The columns that can be shown are in :mod:`.columns`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...decoding.lazy_array import LazyArray

SHADES = 256  # A value per leaf is shown in so many colours.
ROUND_STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 10, 15)  # Not 8 and 9: the only tick of the colour bar would be 0.
UNKNOWN_COLOR = (0.5, 0.5, 0.5, 1.0)  # Grey: the colour of a leaf whose value is not known.
BOX_EDGES = np.array(
    [(a, b) for a in range(8) for b in range(8) if a < b and (a ^ b) in (1, 2, 4)]
)  # of a box's corners


class LeafMap:
    """Hold one value per leaf, as a lazy array of the volume's shape.

    Attributes
    ----------
    rows : of ``TincVolume.leaves``, with the boxes of the leaves.
    values : one for each of them.
    """

    def __init__(self, shape: tuple[int, ...], rows: NDArray[Any], values: NDArray[Any]) -> None:
        self.shape, self.rows, self.values = shape, rows, values

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    @cached_property
    def whole(self) -> LazyArray:
        """Return all voxels, as a lazy array."""
        return LazyArray(self, 1, tuple(range(n) for n in self.shape))

    def levels(self, max_voxels: int) -> list[LazyArray]:
        """Return all voxels, then half along each axis and so on, until a level has at most ``max_voxels`` voxels."""
        levels, factor = [self.whole], 1
        while levels[-1].size > max_voxels:
            factor *= 2
            levels.append(LazyArray(self, factor, tuple(range(-(-n // factor)) for n in self.shape)))
        return levels

    def _decode(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        out = np.zeros([len(axis) for axis in ranges], self.dtype)  # 0 where a file was cut off and has no leaves.
        if out.size:
            voxels = [
                np.minimum(np.array(axis) * factor + factor // 2, n - 1)
                for axis, n in zip(ranges, self.shape, strict=True)
            ]
            first, last = (np.array([voxel[at] for voxel in voxels]) for at in (0, -1))
            met = ((self.rows["start"] <= last) & (self.rows["stop"] > first)).all(axis=1)
            ends = np.stack([self.rows["start"][met], self.rows["stop"][met]])  # (2, n, 3)
            bounds = np.stack([np.searchsorted(voxel, ends[..., axis]) for axis, voxel in enumerate(voxels)], axis=-1)
            for (z0, y0, x0), (z1, y1, x1), value in zip(*bounds.tolist(), self.values[met], strict=True):
                out[z0:z1, y0:y1, x0:x1] = value
        return out


def wireframes(start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the twelve edges of each box as (position, direction) in voxels, an array of shape (12 n, 2, 3).

    Edges run between the centres of the outer voxels of a box.

    napari takes an overlay's ends for the ends of its slider: edges at -0.5 would put the slider between voxels.
    """
    ends = np.stack([start, stop - 1]).astype(np.float32)  # (2, n, 3)
    corners = np.stack([ends[[i >> 2 & 1, i >> 1 & 1, i & 1], :, [0, 1, 2]].T for i in range(8)], axis=1)
    a, b = corners[:, BOX_EDGES[:, 0]], corners[:, BOX_EDGES[:, 1]]
    return np.stack([a, b - a], axis=2).reshape(-1, 2, 3)


def shade_numbers(values: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.int64]:
    """Return which of :data:`SHADES` colours each value has; -1 where it is not finite."""
    values = np.asarray(values, np.float64)
    low, high = limits
    share = (np.clip(np.nan_to_num(values), low, high) - low) / ((high - low) or 1)
    return np.where(np.isfinite(values), np.rint(share * (SHADES - 1)), -1).astype(np.int64)


def value_limits(values: NDArray[Any]) -> tuple[float, float]:
    """Return the smallest and the largest finite value. They differ, even if all values are the same."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def round_limit(limit: float) -> float:
    """Return the next round number from ``limit`` on, with which a colour bar around 0 has at least three ticks."""
    unit = 10.0 ** math.floor(math.log10(limit))
    return next(unit * step for step in ROUND_STEPS if unit * step >= limit)
