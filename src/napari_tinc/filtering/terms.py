"""The terms that a filter weighs: how far the mean of some neighbours of a voxel is from its value.

Everything is a correctly rounded operation on one element at a time, in an order that docs/reference/format.md states,
so that every machine computes the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

REACH = 3  # The neighbours are at most so many voxels away.
SLAB_VOXELS = 2**16  # About so many voxels are filtered at a time: their terms fit into a processor's cache.
# Offsets of the neighbours. Each stands for its mirror images too, of which a term has the mean.
ORBITS = (
    (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1),
    (2, 0, 0), (0, 2, 0), (0, 0, 2), (3, 0, 0), (0, 3, 0), (0, 0, 3),
)  # fmt: skip

Floats = NDArray[np.float32]
_INNER = slice(REACH, -REACH)


def slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Cut a box into slabs along z, each of an even number of planes but the last."""
    planes = max(2, SLAB_VOXELS // (shape[1] * shape[2]) // 2 * 2)
    return (slice(first, min(first + planes, shape[0])) for first in range(0, shape[0], planes))


def padded_slab(values: NDArray[np.generic], slab: slice, low: float, span: float) -> Floats:
    """Return the values of a slab as shares of the range, with REACH voxels on each side: outermost ones repeated.

    Parameters
    ----------
    values : the box, (z, y, x).
    slab : planes of it.
    low, span : smallest value of the volume, and the largest less this.
    """
    planes = np.clip(np.arange(slab.start - REACH, slab.stop + REACH), 0, len(values) - 1)
    with np.errstate(invalid="ignore", over="ignore"):  # only files that no encoder wrote have such values
        shares = ((values[planes].astype(np.float64) - low) / span).astype(np.float32)
    return np.pad(shares, ((0, 0), (REACH, REACH), (REACH, REACH)), mode="edge")


def terms(padded: Floats) -> Iterator[Floats]:
    """Yield the term of each orbit, (z, y, x): the mean of the neighbours less the value, in the order of ORBITS."""
    value = padded[_INNER, _INNER, _INNER]
    for orbit, total in zip(ORBITS, _sums(padded), strict=True):
        yield total * np.float32(0.5 ** sum(map(bool, orbit))) - value


def _sums(padded: Floats) -> Iterator[Floats]:
    """Yield the sum of the neighbours of each orbit: along z first, then y, then x."""
    middle, along_z = padded[_INNER], _both(padded, 0, 1)
    along_y, along_zy = _both(middle, 1, 1), _both(along_z, 1, 1)
    yield along_z[:, _INNER, _INNER]
    yield along_y[..., _INNER]
    yield _both(middle[:, _INNER], 2, 1)
    yield _both(along_y, 2, 1)
    yield _both(along_z[:, _INNER], 2, 1)
    yield along_zy[..., _INNER]
    yield _both(along_zy, 2, 1)
    for distance in (2, 3):
        yield _both(padded[:, _INNER, _INNER], 0, distance)
        yield _both(middle[..., _INNER], 1, distance)
        yield _both(middle[:, _INNER], 2, distance)


def _both(array: Floats, axis: int, distance: int) -> Floats:
    """Add the neighbours at a distance on both sides along an axis, which loses REACH elements at each end."""
    n = array.shape[axis]

    def at(offset: int) -> Floats:
        """Return the neighbours at an offset."""
        place = [slice(None)] * 3
        place[axis] = slice(REACH + offset, n - REACH + offset)
        return array[tuple(place)]

    return at(-distance) + at(distance)
