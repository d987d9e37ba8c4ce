"""Choose what to encode where bytes count, not the largest error: smoothed coarse voxels, and errors that become zero.

Coarse voxels predict many others. Each is moved towards its neighbours by the details around it that are too small to
be coded, as a wavelet's update step does. Then coarse levels hold no noise, which costs bytes and spoils predictions.
An error becomes a smaller number of steps where that saves more bits than its square is worth. A decoder needs to know
nothing of this.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .entropy import MAX_CLASSES
from .neighbours import Parity
from .prediction import Ints, Place

LARGEST_ERROR = 2.0  # In bounds: no voxel is further off, however wide the dead zone is.
UPDATE = (
    0.4  # Share of the mean of two details that is added to the voxel between them. 0.5 is that of the 5/3 wavelet.
)
ROOM = 0.8  # Share of the difference between the bound and that of a level by which voxels of this level may be moved.
UNCODED = 0.6  # Smaller details, in steps, are taken not to be coded.
USUAL_SAVING = 3.0  # Bits. Where a step less saves as many, the dead zone is as wide as was asked for.
# Factors of the dead zone at the finest level, by the axes along which a voxel has neighbours only: the more there are,
# the fewer voxels are predicted from it.
FINEST_FACTORS = {1: 1.0, 2: 1.5, 3: 2.0}


def reach(bound: float, dead_zone: float) -> float:
    """Return the largest error of a voxel that is encoded with a bound and a dead zone."""
    return LARGEST_ERROR * bound if dead_zone else bound


def level_of(place: Place) -> int:
    """Return the number of the level to which the voxels of a stage at this place belong, 0 for the finest."""
    return int(place[0].step // 2).bit_length() - 1


class Aims:
    """The integers that an encoder aims at, level by level.

    Parameters
    ----------
    box : integers, (z, y, x).
    bounds : from the number of a level to its bound, in integers.
    background : integer of the background, which nothing is moved away from; -1 if there is none.
    hidden : voxels that are not coded, and move no others; None for none.
    """

    def __init__(
        self, box: Ints, bounds: Callable[[int], int], background: int, hidden: NDArray[np.bool_] | None = None
    ) -> None:
        self._levels = [box]
        smoothed = box.astype(np.float64)
        highest = int(box.max())
        for level in range((max(box.shape) - 1).bit_length() - 1):
            smoothed = _halved(smoothed, 2 * bounds(level) + 1, hidden)
            hidden = None if hidden is None else hidden[::2, ::2, ::2]
            voxels = box[(slice(None, None, 2 ** (level + 1)),) * 3]
            room = ROOM * (bounds(0) - bounds(level + 1))
            smoothed = np.clip(smoothed, voxels - room, voxels + room)
            aims = np.clip(np.rint(smoothed), 0, highest).astype(np.int64)
            self._levels.append(np.where(voxels == background, background, aims) if background >= 0 else aims)

    def at(self, place: Place) -> Ints:
        """Return the aims of the voxels of a stage."""
        level = level_of(place)
        return self._levels[level][tuple(slice(side.start >> level, None, 2) for side in place)]


def _halved(values: NDArray[np.float64], step: int, hidden: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Return every second voxel along each axis, moved by the details between them that are less than about a step.

    Details of hidden voxels, or between two of which one is hidden, move nothing.
    """
    for axis in range(3):
        line = np.moveaxis(values, axis, 0)
        even, odd = line[::2].copy(), line[1::2]
        if len(odd):
            after = even[1:] if len(even) > len(odd) else np.concatenate([even[1:], even[-1:]])
            details = odd - (even[: len(odd)] + after) / 2
            details[np.abs(details) >= UNCODED * step] = 0  # it will be coded
            if hidden is not None:
                known = ~np.moveaxis(hidden, axis, 0)
                seen = known[::2]
                seen_after = seen[1:] if len(seen) > len(odd) else np.concatenate([seen[1:], seen[-1:]])
                details *= known[1::2] & seen[: len(odd)] & seen_after
                hidden = np.moveaxis(~seen, 0, axis)
            details *= UPDATE / 2
            even[: len(odd)] += details
            even[1:] += details[: len(even) - 1]
            even[0] += details[0]  # beyond the first voxel, and the last, details are taken to be those before
            if len(even) > len(odd):
                even[-1] += details[-1]
        values = np.moveaxis(even, 0, axis)
    return values


def dead_zones(level: int, parity: Parity, dead_zone: float) -> NDArray[np.float64]:
    """Return the dead zones of all classes of a stage, as shares of a step, at most 0.5.

    Errors of a class are taken to be spread as a two-sided geometric distribution of the mean size that the class
    stands for, theta ** size. A step less saves log2(1 / theta) bits, the more the smaller errors are.
    """
    activity = 2.0 ** (-6 + (np.arange(MAX_CLASSES) // 2 - 0.5) / 2)  # in steps, in the middle of each class
    theta = (np.sqrt(1 + activity * activity) - 1) / activity
    factor = 1.0 if level else FINEST_FACTORS[sum(parity)]
    return np.minimum(factor * dead_zone / USUAL_SAVING * -np.log2(theta), 0.5)
