"""What the leaves of a compressed volume look like: maps of one value per leaf, wireframes and colours.

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

SHADES = 256
ROUND_STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 10, 15)  # 8 and 9 would leave a colour bar with 0 alone
NOTHING = (0.5, 0.5, 0.5, 1.0)  # colour of a leaf whose value is not known
EDGES = np.array([(a, b) for a in range(8) for b in range(8) if a < b and (a ^ b) in (1, 2, 4)])  # of a box's corners


class LeafMap:
    """One value a leaf, as an array of the volume's shape that is filled in where it is looked at."""

    def __init__(self, shape: tuple[int, ...], rows: NDArray[Any], values: NDArray[Any]) -> None:
        self.shape, self.rows, self.values = shape, rows, values

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    @cached_property
    def whole(self) -> LazyArray:
        """All voxels."""
        return LazyArray(self, 1, tuple(range(n) for n in self.shape))

    def levels(self, most: int) -> list[LazyArray]:
        """All voxels, then half along each axis and so on, until no more than ``most`` are left."""
        levels, factor = [self.whole], 1
        while levels[-1].size > most:
            factor *= 2
            levels.append(LazyArray(self, factor, tuple(range(-(-n // factor)) for n in self.shape)))
        return levels

    def _decode(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        out = np.zeros([len(axis) for axis in ranges], self.dtype)  # where a file was cut off there are no leaves
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
    """Twelve edges a box as (position, direction) in voxels, (12 n, 2, 3), between the centres of its outer voxels.

    napari takes an overlay's ends for the ends of its slider: edges at -0.5 would put the slider between voxels.
    """
    ends = np.stack([start, stop - 1]).astype(np.float32)  # (2, n, 3)
    corners = np.stack([ends[[i >> 2 & 1, i >> 1 & 1, i & 1], :, [0, 1, 2]].T for i in range(8)], axis=1)
    a, b = corners[:, EDGES[:, 0]], corners[:, EDGES[:, 1]]
    return np.stack([a, b - a], axis=2).reshape(-1, 2, 3)


def shade(values: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.int64]:
    """Which of :data:`SHADES` colours each value has; -1 where it is not finite."""
    values = np.asarray(values, np.float64)
    low, high = limits
    place = (np.clip(np.nan_to_num(values), low, high) - low) / ((high - low) or 1)
    return np.where(np.isfinite(values), np.rint(place * (SHADES - 1)), -1).astype(np.int64)


def limits(values: NDArray[Any]) -> tuple[float, float]:
    """Smallest and largest finite value, apart from each other."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def round_limit(far: float) -> float:
    """The next round number from ``far`` on: napari's colour bar from its negative to it has three ticks or more."""
    unit = 10.0 ** math.floor(math.log10(far))
    return next(unit * step for step in ROUND_STEPS if unit * step >= far)
