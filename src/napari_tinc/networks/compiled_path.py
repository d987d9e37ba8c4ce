"""Evaluate the layers from the root to a head by compiled code, in a third of the time of NumPy's calls.

The arithmetic is that of path.py, but for the order of sums: values differ in their last bits. It is for many points of
one box: no planes are kept for later requests. Loading the code takes half a second, which nobody should wait for who
looks at a slice.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compiled import LANES, is_kept
from .architecture import Array
from .lattice import MARGIN, Stencil, stencil
from .path import Axes, Path, Tile, cut_slice

LOADING_POINTS = 2**22  # A process that has evaluated so many points without it loads compiled code,
COMPILING_POINTS = 2**26  # but only after so many if it has to be compiled first, which takes seconds.
TILE_POINTS = 512  # A tile has about so many points.
GROUP_FLOATS = 2**17  # Sums that are interpolated for some tiles at a time: half of a core's cache.
SLAB = 2**22  # About so many sums of a lattice are held at a time, unless a plane has more,
SLAB_POINTS = 2**18  # and so many points are evaluated between two checks for an end.
TILE_VALUES = 2**16  # So many outputs are turned into values at a time.
NO_FLOATS, NO_TABLE = np.zeros(0, np.float32), np.zeros((0, 3), np.int64)


class CompiledCode:
    """Whether this process uses compiled code."""

    def __init__(self) -> None:
        self._points, self._is_used = 0, False

    def use(self) -> None:
        """Use it from now on, whatever that takes: who writes a file gets the same bytes whatever was read before."""
        self._is_used = True

    def pays(self, n_points: int) -> bool:
        """Return whether to use it for so many points, given those that were evaluated before."""
        self._points += n_points
        if not self._is_used and self._points >= LOADING_POINTS:
            from .run_kernel import evaluate_run

            self._is_used = self._points >= COMPILING_POINTS or is_kept(evaluate_run)
        return self._is_used


COMPILED_CODE = CompiledCode()


class Memory(threading.local):
    """Arrays that a thread evaluates leaf after leaf in: new memory for each would cost a tenth of the time."""

    def __init__(self) -> None:
        self._floats: dict[int, NDArray[np.float32]] = {}

    def __call__(self, slot: int, size: int) -> NDArray[np.float32]:
        """Return so many floats, and a vector more, in a slot; they hold what was there before."""
        if slot not in self._floats or len(self._floats[slot]) < size + LANES:
            self._floats[slot] = np.zeros(size + LANES, np.float32)
        return self._floats[slot][: size + LANES]


MEMORY = Memory()


class CompiledPath(Path):
    """The layers from the root to one head."""

    def tiles(self, axes: Axes) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
        """Evaluate a grid, counted from the corner of the box; yield tiles and their outputs, (1, z, y, x).

        These are valid until the next.
        """
        last, n_planes = len(self._runs) - 1, len(axes[0])
        n_slabs = -(-n_planes * len(axes[1]) * len(axes[2]) // SLAB_POINTS)
        if last:
            stencils = self._stencils(last, axes)
            n_sums = self._n_sums(self._runs[last - 1]) * math.prod(len(one.places) for one in stencils)
            n_slabs = max(n_slabs, -(-n_sums // SLAB))
        n_planes = -(-n_planes // n_slabs)
        for first in range(0, len(axes[0]), n_planes):
            slab = slice(first, min(first + n_planes, len(axes[0])))
            values = self._grid(last, [axes[0][slab], axes[1], axes[2]]).swapaxes(0, 1)
            for tile in cut_slice(slab, max(1, TILE_VALUES // (len(axes[1]) * len(axes[2])))):
                yield (tile, slice(None), slice(None)), values[:, tile.start - first : tile.stop - first]

    @staticmethod
    def corrected(values: NDArray[np.float32], gain: Array, offset: Array) -> NDArray[np.float32]:
        """Return outputs times the gain of the head, plus its offset."""
        from .run_kernel import correct

        flat = values.reshape(-1)
        correct(flat, float(gain[0]), float(offset[0]))
        return flat.reshape(values.shape)

    def _grid(self, index: int, axes: Axes) -> Array:
        """Evaluate a run at a grid: (z, outputs, y, x)."""
        from .run_kernel import evaluate_run

        run, levels = self._runs[index], self._levels(index)
        numbers = range(run.first + (index > 0), run.last + 1)
        n_outputs = int(self._layers[run.last].shape[1])
        stride, n_sums = (self._runs[index - 1].stride, self._n_sums(self._runs[index - 1])) if index else (0, 0)
        sizes = tuple([(*self._layers[at].shape[1:], at in levels) for at in numbers])
        plan = _plan(tuple([axis.tobytes() for axis in axes]), tuple(self._size), stride, n_sums, sizes, n_outputs)
        sums = self._grid(index - 1, plan.points).reshape(-1) if index else NO_FLOATS
        matrices = [self._layers[at][0].T.reshape(-1) for at in numbers]
        positions = [one[0] for one in self._in_boxes(np.concatenate(axes), plan.axis, levels).values()]
        out = MEMORY(index, plan.n_out)
        evaluate_run(
            out, plan.shape, np.concatenate([NO_FLOATS, *matrices]), plan.layers,
            np.concatenate([NO_FLOATS, *positions]), sums, plan.lattice, *plan.stencils[0], *plan.stencils[1],
            *plan.stencils[2], plan.tile_rows, plan.group_rows, MEMORY(-1, plan.n_work), plan.places,
        )  # fmt: skip
        return out[: plan.n_out].reshape(plan.shape)


class Plan(NamedTuple):
    """What a grid in boxes of a size is evaluated with, whatever the weights and the boxes.

    Attributes
    ----------
    points : the grid at which the run before is evaluated.
    axis : of all coordinates of the grid, z first, their axis.
    shape, layers, lattice, tile_rows, group_rows, places : as the compiled code takes them.
    stencils : its weights and ends, or blocks, of z, y and x.
    n_out, n_work : floats of the result, and of the work.
    """

    points: list[Array]
    axis: NDArray[np.int64]
    shape: NDArray[np.int64]
    layers: NDArray[np.int64]
    lattice: NDArray[np.int64]
    tile_rows: int
    group_rows: int
    places: NDArray[np.int64]
    stencils: list[tuple[NDArray[np.float32], NDArray[np.int64]]]
    n_out: int
    n_work: int


@lru_cache(maxsize=256)
def _plan(
    coordinates: tuple[bytes, ...], box: tuple[int, ...], stride: int, n_sums: int,
    sizes: tuple[tuple[int, int, bool], ...], n_outputs: int,
) -> Plan:  # fmt: skip
    """Plan a run at a grid.

    Parameters
    ----------
    coordinates : of the grid along z, y and x, float64, counted from the corner of the box.
    box : voxels along each axis.
    stride, n_sums : of the lattice of the run before; 0 for the first run.
    sizes : outputs and inputs of each layer, and whether it takes positions.
    n_outputs : of the run.
    """
    axes = [np.frombuffer(along) for along in coordinates]
    counts = [len(axis) for axis in axes]
    shape = counts[0], n_outputs, counts[1], counts[2]
    step = max(counts[2], LANES)
    tile_rows = group_rows = min(counts[1], max(1, TILE_POINTS // step))
    lattice, lines = np.zeros(4, np.int64), 0
    points: list[Array] = []
    stencils = [(NO_FLOATS, NO_TABLE)] * 3
    if stride:
        z, y, x = (stencil(along, size, stride) for along, size in zip(axes, box, strict=True))
        points = [(along.places - MARGIN[stride]) * float(stride) + 0.5 for along in (z, y, x)]
        lattice = np.array([len(z.places), n_sums, len(y.places), len(x.places)])
        stencils = [(one.matrix.reshape(-1), np.stack([one.low, one.high], axis=1)) for one in (z, y)]
        stencils.append(_in_vectors(x))
        share = GROUP_FLOATS // (n_sums * step) / len(y.places)
        group_rows = max(1, int(share * counts[1])) // tile_rows * tile_rows or tile_rows
        groups = [slice(at, at + group_rows) for at in range(0, counts[1], group_rows)]
        lines = max(int(y.high[group].max() - y.low[group].min()) for group in groups)
    layers, weight, position = [], 0, 0
    for outputs, inputs, takes_positions in sizes:
        layers.append((weight, inputs, outputs, position if takes_positions else -1))
        weight += inputs * outputs
        position += sum(counts) * takes_positions
    widest = max([n_sums, *(max(size[:2]) for size in sizes)])
    layer = widest * (tile_rows * step + 3 * LANES)
    work = layer, layer, lines * n_sums * int(lattice[3]), lines * n_sums * step
    places = np.cumsum([0, *(size + LANES for size in work)])  # as the last vector may end behind
    return Plan(
        points, np.repeat(np.arange(3), counts), np.array(shape), np.array(layers, np.int64).reshape(-1, 4), lattice,
        tile_rows, group_rows, places, stencils, math.prod(shape), int(places[-1]),
    )  # fmt: skip


def _in_vectors(along: Stencil) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the weights of columns, and the vectors that cover the points, the last of which ends with them."""
    n = len(along.matrix)
    weights = np.zeros((along.matrix.shape[1], max(n, LANES)), np.float32)
    weights[:, :n] = along.matrix.T
    starts = sorted({*range(0, n - LANES + 1, LANES), max(0, n - LANES)})
    blocks = [(at, along.low[at : at + LANES].min(), along.high[at : at + LANES].max()) for at in starts]
    return weights.reshape(-1), np.array(blocks, np.int64)
