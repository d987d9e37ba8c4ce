"""Evaluate the layers from the root to a head by compiled code, in a third of the time of NumPy's calls.

The arithmetic is that of path.py, but for the order of sums: values differ in their last bits. It is for many points of
one box: no planes are kept for later requests. Loading the code takes half a second, which nobody should wait for who
looks at a slice.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiled import LANES, is_kept
from .architecture import Array
from .lattice import MARGIN, Stencil, stencil
from .path import Axes, Path, Tile

LOADING_POINTS = 2**22  # A process that has evaluated so many points without it loads compiled code,
COMPILING_POINTS = 2**26  # but only after so many if it has to be compiled first, which takes seconds.
TILE_POINTS = 512  # A tile has about so many points.
GROUP_FLOATS = 2**16  # Sums that are interpolated for some tiles at a time: a quarter of a core's cache.
SLAB = 2**22  # About so many sums of a lattice are held at a time, unless a plane has more,
SLAB_POINTS = 2**18  # and so many points are evaluated between two checks for an end.
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


class Work(threading.local):
    """The memory that a thread works in."""

    def __init__(self) -> None:
        self._floats = NO_FLOATS

    def __call__(self, size: int) -> NDArray[np.float32]:
        """Return so many floats, or more."""
        if len(self._floats) < size:
            self._floats = np.zeros(size, np.float32)
        return self._floats


WORK = Work()


class CompiledPath(Path):
    """The layers from the root to one head."""

    def tiles(self, axes: Axes) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
        """Evaluate a grid, counted from the corner of the box; yield slabs and their outputs, (1, z, y, x)."""
        last, n_planes = len(self._runs) - 1, len(axes[0])
        n_slabs = -(-n_planes * len(axes[1]) * len(axes[2]) // SLAB_POINTS)
        if last:
            places = [one.places for one in self._all_stencils(last, axes)]
            n_sums = self._n_sums(self._runs[last - 1]) * len(places[0]) * len(places[1]) * len(places[2])
            n_slabs = max(n_slabs, -(-n_sums // SLAB))
        n_planes = -(-n_planes // n_slabs)
        for first in range(0, len(axes[0]), n_planes):
            slab = slice(first, min(first + n_planes, len(axes[0])))
            values = self._grid(last, [axes[0][slab], axes[1], axes[2]])
            yield (slab, slice(None), slice(None)), values.swapaxes(0, 1)

    def _all_stencils(self, index: int, axes: Axes) -> list[Stencil]:
        """Return how each axis of a grid is interpolated, its points in their order."""
        stride = self._runs[index - 1].stride
        return [stencil(along, size, stride) for along, size in zip(axes, self._size, strict=True)]

    def _grid(self, index: int, axes: Axes) -> Array:
        """Evaluate a run at a grid: (z, outputs, y, x)."""
        from .run_kernel import evaluate_run

        run, step = self._runs[index], max(len(axes[2]), LANES)
        shape = len(axes[0]), self._layers[run.last].shape[1], len(axes[1]), len(axes[2])
        tile_rows = group_rows = min(len(axes[1]), max(1, TILE_POINTS // step))
        sums, lattice, lines = NO_FLOATS, np.zeros(4, np.int64), 0
        stencils: list[Array] = [NO_FLOATS, NO_TABLE] * 3
        if index:
            z, y, x = self._all_stencils(index, axes)
            stride = self._runs[index - 1].stride
            points: Any = [0.5 + stride * (along.places - MARGIN[stride]) for along in (z, y, x)]
            before = self._grid(index - 1, points)
            sums, lattice = before.reshape(-1), np.array(before.shape)
            ends_z, ends_y = (np.stack([along.low, along.high], axis=1) for along in (z, y))
            stencils = [z.matrix.reshape(-1), ends_z, y.matrix.reshape(-1), ends_y, *_in_vectors(x)]
            share = GROUP_FLOATS // (before.shape[1] * step) / len(y.places)
            group_rows = max(1, int(share * len(axes[1])) // tile_rows) * tile_rows
            groups = [slice(at, at + group_rows) for at in range(0, len(axes[1]), group_rows)]
            lines = max(int(y.high[group].max() - y.low[group].min()) for group in groups)
        weights, layers, positions = self._tables(range(run.first + (index > 0), run.last + 1), axes)
        n_rows = max([*layers[:, 1:3].flat, int(lattice[1])])  # of the inputs or outputs of a layer
        layer = n_rows * -(-tile_rows * step // LANES) * LANES
        sizes = layer, layer, lines * int(lattice[1] * lattice[3]), lines * int(lattice[1]) * step
        places = np.cumsum([0, *(size + LANES for size in sizes)])  # as the last vector may end behind
        out = np.empty(int(np.prod(shape)) + LANES, np.float32)
        evaluate_run(
            out, np.array(shape), weights, layers, positions, sums, lattice, stencils[0], stencils[1], stencils[2],
            stencils[3], stencils[4], stencils[5], tile_rows, group_rows, WORK(int(places[-1])), places,
        )  # fmt: skip
        return out[:-LANES].reshape(shape)

    def _tables(self, numbers: range, axes: Axes) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        """Return weights, layers and positions of some layers as the compiled code takes them."""
        n_per_node = self._architecture.layers
        levels = {
            at: at // n_per_node for at in numbers if at % n_per_node == 0 and at // n_per_node < len(self._nodes)
        }
        positions = [np.concatenate(along, axis=1)[0] for along in self._positions(axes, levels).values()]
        place_of = {at: i * sum(map(len, axes)) for i, at in enumerate(levels)}
        layers, weights, place = [], [], 0
        for at in numbers:
            matrix = self._layers[at][0]
            layers.append((place, *matrix.T.shape, place_of.get(at, -1)))
            weights.append(matrix.T.reshape(-1))
            place += matrix.size
        table = np.array(layers, np.int64).reshape(-1, 4)
        return np.concatenate([NO_FLOATS, *weights]), table, np.concatenate([NO_FLOATS, *positions])


def _in_vectors(along: Stencil) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the weights of columns, and the vectors that cover the points, the last of which ends with them."""
    n = len(along.matrix)
    weights = np.zeros((along.matrix.shape[1], max(n, LANES)), np.float32)
    weights[:, :n] = along.matrix.T
    starts = sorted({*range(0, n - LANES + 1, LANES), max(0, n - LANES)})
    blocks = [(at, along.low[at : at + LANES].min(), along.high[at : at + LANES].max()) for at in starts]
    return weights.reshape(-1), np.array(blocks, np.int64)
