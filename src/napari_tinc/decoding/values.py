"""Places at which cells of a view are evaluated, and how much is decoded at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError

MAX_EAGER_VOXELS = 2**30  # a larger request is refused: ask for a part, or for a coarser level

THIN, TILE = 4, 64  # a view of at most so many cells along an axis is cached, in tiles of this edge along the others
POINTS, MOST_POINTS = 2**22, 128  # evaluated at a time for coarse levels; along a cell's edge, whatever a file declares
AT_ONCE = 64  # blocks parsed before they are evaluated: the two by turns would empty the cache of each other
# Between two points of a cell that is averaged, in voxels, and times the edge of the voxels that share a weight: with
# more, a level falls a dB behind the full decode averaged (benchmarks/quality/levels.py).
SPACING, SPACING_PER_WEIGHT, BITS_PER_WEIGHT = 4 / 3, 0.39, 5


def _check_eager(wanted: int) -> None:
    if wanted > MAX_EAGER_VOXELS:
        raise TincError(f"{wanted} voxels asked for at once, expected at most {MAX_EAGER_VOXELS}: ask for a part")


def cell_centres(ranges: Sequence[range], factor: int, shape: Sequence[int]) -> list[NDArray[np.float64]]:
    """Voxel coordinates of the centres of cells of ``factor`` voxels, kept inside the volume, along each axis."""
    return [
        np.minimum((np.array(axis, np.float64) + 0.5) * factor, n - 0.5) for axis, n in zip(ranges, shape, strict=True)
    ]


def _alike(cells: range, most: int, n_full: int) -> list[slice]:
    """Slices of at most so many cells, which are the ``n_full`` whole ones of an axis, or its last, which is not."""
    full = len(cells) - (cells[-1] >= n_full)
    ends = [*range(0, full, most), full]
    return [slice(a, b) for a, b in itertools.pairwise(ends)] + [slice(full, None)] * (full < len(cells))


def spread_points(cells: range, factor: int, n: int, k: int) -> NDArray[np.float64]:
    """``k`` coordinates a cell of ``factor`` voxels of an axis of ``n``, evenly. The last cell ends with the axis."""
    low = np.array(cells, np.float64) * factor
    size = np.minimum(low + factor, n) - low
    return (low[:, None] + size[:, None] * ((np.arange(k) + 0.5) / k)).reshape(-1)


def _within(inner: Sequence[range], outer: Sequence[range]) -> tuple[slice, ...]:
    """Where ranges lie in larger ones."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True))
