"""Interpolation from a lattice: which of its points a point lies between, and with what weights.

What the first layers of a tree add to the next is smooth, so that it is evaluated at every second, fourth or eighth
voxel only. The lattice of a stride begins at the first voxel of the box of the node whose head gives the values, and
has no point outside that the box does not need. So no node needs more than its own box, and any part of a grid has the
values of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..format.networks_file import LATTICE_STRIDES

MARGIN = {2: 0, 4: 1, 8: 1}  # Points beyond either end of a box: without any, stride 4 costs thrice the error.
TAPS = 4  # A point is interpolated from so many points of the lattice along each axis.
HALF_TAPS = 6  # These are among so many around a point half-way between two: at the ends of a lattice not the nearest.
SHARPENING = 1 / 16  # Far smaller or larger, a lattice costs two to ten times the error.


class PlaneCache(Protocol):
    """Keeps planes of lattices for later requests, by key, those of the finest apart from the coarser."""

    def get(self, finest: bool, key: Any) -> Any:
        """Return a plane, None if it is not kept."""

    def put(self, finest: bool, key: Any, plane: Any, nbytes: int) -> None:
        """Keep a plane of ``nbytes``."""


class Run(NamedTuple):
    """Layers that are evaluated at the same points.

    Attributes
    ----------
    stride : voxels between the points along each axis.
    first : the layer whose sines begin the run.
    last : the layer whose sums end it, without its sines.
    """

    stride: int
    first: int
    last: int


def runs_of(lattice: Sequence[int], head: int) -> list[Run]:
    """Return the runs of a path, coarsest first; the last is at the voxels.

    Parameters
    ----------
    lattice : for each of :data:`LATTICE_STRIDES` the last layer whose sums are interpolated from it; empty for none.
    head : index of the head, which follows the sine layers of the path.
    """
    runs, first = [], 0
    for stride, last in sorted(zip(LATTICE_STRIDES, lattice, strict=False), reverse=True):
        if min(last, head) > first:
            runs.append(Run(stride, first, min(last, head)))
            first = runs[-1].last
    return [*runs, Run(1, first, head)]


def lattice_points(n_voxels: int, stride: int) -> int:
    """Return the points of a lattice along an axis on which a box has ``n_voxels``."""
    return max(TAPS, -(-(n_voxels - 1) // stride) + 1 + 2 * MARGIN[stride])


def lattice_coordinates(places: NDArray[np.int64], stride: int) -> NDArray[np.float64]:
    """Return where points of a lattice lie along an axis, in voxels from the corner of the box."""
    return 0.5 + stride * (places - MARGIN[stride]).astype(np.float64)


def tap_weights(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of the values at -1, 0, 1 and 2 for the value at t, 0 to 1 or a little outside, (n, 4).

    They are those of the cubic polynomial through these, and a second difference with which finer detail survives:
    half-way they are (-5, 37, 37, -5) / 64, where the polynomial alone has (-4, 36, 36, -4) / 64.
    """
    sharper = np.maximum(0, t * (1 - t)) * SHARPENING
    return np.stack(
        [
            -t * (t - 1) * (t - 2) / 6 - sharper,
            (t + 1) * (t - 1) * (t - 2) / 2 + sharper,
            -(t + 1) * t * (t - 2) / 2 + sharper,
            (t + 1) * t * (t - 1) / 6 - sharper,
        ],
        axis=1,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Stencil:
    """The weights with which points of an axis are interpolated.

    Attributes
    ----------
    places : points of the lattice that have a weight, ascending, int64 (k,).
    order : the order of the points in ``matrix``: first those that are points of the lattice, if that is of use.
    n_copied : how many points begin ``order`` that are the points of the lattice from place ``first_copied`` on.
    parts : index of points of the axis, and slice of ``matrix``: the copied points, then the others.
    matrix : weights, float32 (points, k).
    ends : for every row of ``matrix``, the first place that has a weight and one past the last, int64 (points, 2).
    """

    places: NDArray[np.int64]
    order: NDArray[np.int64]
    n_copied: int
    first_copied: int
    parts: list[tuple[slice, slice]]
    matrix: NDArray[np.float32]
    ends: NDArray[np.int64]

    def part(self, points: slice) -> tuple[slice, NDArray[np.float32]]:
        """Return the places that some rows need, and the weights of these."""
        columns = slice(int(self.ends[points, 0].min()), int(self.ends[points, 1].max()))
        return columns, self.matrix[points, columns]


def stencil(points: NDArray[np.float64], n_voxels: int, stride: int, *, ordered: bool = False) -> Stencil:
    """Return the weights of points, counted from the corner of a box, in a lattice over its voxels along an axis.

    They are those of :func:`tap_weights`. With ``ordered`` the points of the lattice may come first.
    """
    return _stencil((points - 0.5).tobytes(), n_voxels, stride, ordered)


@lru_cache(maxsize=256)
def _stencil(offsets: bytes, n_voxels: int, stride: int, ordered: bool) -> Stencil:
    """Return the weights of points by their offsets from the first of the lattice, float64; blocks have the same."""
    at = np.frombuffer(offsets) / stride + MARGIN[stride]
    count = lattice_points(n_voxels, stride)
    first = np.clip(np.floor(at).astype(np.int64) - 1, 0, count - TAPS)
    weights = tap_weights(at - first - 1)
    rows, taps_used = np.nonzero(weights)
    places, columns = np.unique(first[rows] + taps_used, return_inverse=True)
    matrix = np.zeros((len(at), len(places)), np.float32)
    matrix[rows, columns] = weights[rows, taps_used]
    order, n_copied, first_copied, parts = np.arange(len(at)), 0, 0, [(slice(None), slice(None))]
    copied = np.count_nonzero(matrix, axis=1) == 1
    on, off = (_as_slice(np.flatnonzero(chosen)) for chosen in (copied, ~copied))
    if ordered and on and off and (np.diff(matrix[copied].argmax(axis=1)) == 1).all():
        n_copied, first_copied = int(copied.sum()), int(matrix[on][0].argmax())
        order = np.argsort(~copied, kind="stable")
        matrix, parts = matrix[order], [(on, slice(0, n_copied)), (off, slice(n_copied, None))]
    used = matrix != 0
    ends = np.stack([used.argmax(axis=1), len(places) - used[:, ::-1].argmax(axis=1)], axis=1)
    return Stencil(places, order, n_copied, first_copied, parts, matrix, ends)


def _as_slice(places: NDArray[np.int64]) -> slice | None:
    """Return ascending places as a slice; None if they are fewer than two, or not evenly spaced."""
    steps = np.diff(places)
    if not len(steps) or (steps != steps[0]).any():
        return None
    return slice(int(places[0]), int(places[-1]) + 1, int(steps[0]))
