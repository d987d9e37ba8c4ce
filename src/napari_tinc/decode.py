"""Values from the network: at any voxels, of any box, at any sampling.

A request is three lists of coordinates, one an axis, whose grid is wanted. Only the leaves that the grid meets are
evaluated, each along its path from the root, in tiles that stay in cache; leaves run in parallel threads.

Points are columns here, not rows as in training: a layer is then one product of matrices with its bias among them, and
what NumPy does to a row is long enough to be worth its call.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .network import Architecture, Array, sine_
from .octree import box_slices

TILE = 4096  # points whose features of two layers stay in a core's cache
GPU_TILE = 2**18
# Points of one matrix product, and its most multiplications: OpenBLAS runs what is larger on threads of its own, which
# wait for each other longer than they work (measured: 4 times as long from one of our threads, 40 times from two).
LEAST_BLOCK, BLOCK, BLOCK_PRODUCTS = 48, 256, 2**18
VECTOR = 8  # points that a processor multiplies at once


def cpu_count() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class Scratch(threading.local):
    """Arrays of each thread that layers are evaluated between. What is in them is finite.

    They live from one evaluation to the next: new memory would cost a fifth of the arithmetic.
    """

    def __init__(self, xp: Any = np, **options: Any) -> None:
        self._zeros = partial(xp.zeros, dtype=xp.float32, **options)
        self._flat = [self._zeros(0) for _ in range(4)]

    def __call__(self, which: int, *shape: int) -> Array:
        size = math.prod(shape)
        if len(self._flat[which]) < size:
            self._flat[which] = self._zeros(size)
        return self._flat[which][:size].reshape(shape)


SCRATCH = Scratch()


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network ready to be evaluated, by NumPy or, moved with :meth:`to`, by torch.

    Attributes
    ----------
    vector : float32 parameters, laid out as the architecture says.
    gain, offset : of every leaf, float64 (n_leaves,): y = gain * x + offset, where x is 0 for a scalar.
    device : None for NumPy, else a torch device.
    """

    architecture: Architecture
    vector: Any
    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    device: Any = None
    _xp: Any = field(init=False)
    _layers: list[list[Array]] = field(init=False)  # of every group: sine layers, (n, outputs, inputs and bias)
    _heads: list[Array] = field(init=False)  # of every group, the same

    def __post_init__(self) -> None:
        xp: Any = np
        if self.device is not None:
            import torch as xp
        layers, heads = [], []
        names = [("feature", "position"), *((f"hidden{k}", f"bias{k}") for k in range(1, self.architecture.layers))]
        for weights in self.architecture.views(self.vector):
            whole = [[weights[name] for name in pair if name in weights] for pair in (*names, ("head", "head_bias"))]
            stacked = [xp.concatenate(parts, 1).swapaxes(1, 2) if parts else None for parts in whole]
            layers.append(stacked[:-1])
            heads.append(stacked[-1])
        object.__setattr__(self, "_xp", xp)
        object.__setattr__(self, "_layers", layers)
        object.__setattr__(self, "_heads", heads)

    def to(self, device: Any) -> Network:
        """The same network on a torch device."""
        import torch

        return Network(
            self.architecture, torch.from_numpy(self.vector).to(device), self.gain, self.offset, torch.device(device)
        )

    def on_grid(
        self, axes: Sequence[NDArray[np.float64]], threads: int | None = None, *, dtype: DTypeLike = np.float32,
        finish: Callable[[NDArray[np.float32]], NDArray[Any]] = np.asarray,
    ) -> NDArray[Any]:  # fmt: skip
        """Calibrated outputs, in units of the normalised volume, on the grid of three ascending coordinate lists.

        Parameters
        ----------
        axes : voxel coordinates along z, y, x; voxel i covers i to i + 1, its centre is i + 0.5.
        finish : from outputs to values of ``dtype``, a tile at a time.

        Returns
        -------
        float32, or ``dtype``, of shape (len(z), len(y), len(x)).
        """
        octree, served = self.architecture.octree, self.architecture.serving
        out = np.empty([len(axis) for axis in axes], dtype)
        if not out.size:
            return out
        start, stop = octree.start[octree.leaves], octree.stop[octree.leaves]
        first, last = np.stack(
            [np.searchsorted(axis, (low, high)) for axis, low, high in zip(axes, start.T, stop.T, strict=True)], axis=-1
        )
        jobs = np.flatnonzero((last > first).all(axis=1)).tolist()
        grid = Grid(axes)

        def work(leaves: Sequence[int]) -> None:
            scratch = SCRATCH if self.device is None else Scratch(self._xp, device=self.device)
            for leaf in leaves:
                where, head = box_slices(first[leaf], last[leaf]), int(served[octree.leaves[leaf]])
                gain, offset = self.gain[leaf], self.offset[leaf]
                if head < 0:
                    out[where] = finish(np.full(1, offset, np.float32))
                    continue
                for tile, values in self._head(head, grid, where, scratch):
                    if (gain, offset) != (1, 0):
                        values = (values * gain + offset).astype(np.float32)
                    out[tile] = finish(values)

        threads = threads or cpu_count()
        if threads == 1 or out.size <= 4 * TILE or self.device is not None:
            work(jobs)
        else:
            from concurrent.futures import ThreadPoolExecutor  # not needed for a slice, and slow to import

            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, [jobs[i::threads] for i in range(threads)]))
        return out

    def calibrate(self, outputs: NDArray[np.float32]) -> None:
        """Give all voxels' outputs of the same network without calibration, in place, the values this one has."""
        octree = self.architecture.octree
        for leaf, gain, offset in zip(octree.leaves.tolist(), self.gain, self.offset, strict=True):
            box = box_slices(octree.start[leaf], octree.stop[leaf])
            if self.architecture.serving[leaf] >= 0:
                outputs[box] = outputs[box] * gain + offset

    def _head(
        self, head: int, grid: Grid, where: tuple[slice, ...], scratch: Scratch
    ) -> Iterator[tuple[tuple[slice, ...], NDArray[np.float32]]]:
        """Outputs of a node with a head at a part of the grid inside its box, tile by tile, not calibrated."""
        architecture = self.architecture
        nodes = []
        for node in architecture.octree.path(head):
            index, row = int(architecture.group_of[node]), int(architecture.row_of[node])
            group = architecture.groups[index]
            positions = grid.positions(architecture.centre[node], architecture.scale[group.level])
            if self.device is not None:
                positions = [self._xp.from_numpy(along).to(self.device) for along in positions]
            nodes.append(([layer[row] for layer in self._layers[index]], positions))
        last = self._heads[index][int(group.head_rows.searchsorted(row))]
        # Tiles are whole planes or rows, so that a tile is a grid again and its positions are cheap.
        most = TILE if self.device is None else GPU_TILE
        z, y, x = where
        columns = min(most, x.stop - x.start)
        rows = min(most // columns, y.stop - y.start)
        planes = most // (columns * rows)
        for tile in itertools.product(_cut(z, planes), _cut(y, rows), _cut(x, columns)):
            values = self._tile(nodes, last, tile, scratch)
            yield tile, values if self.device is None else values.cpu().numpy()

    def _tile(
        self, nodes: list[tuple[list[Array], list[Array]]], head: Array, tile: tuple[slice, ...], scratch: Scratch
    ) -> Array:  # fmt: skip
        """Outputs at a few points of a grid, of nodes from the root: the layers of each, and its positions z, y, x."""
        matmul, shape = self._xp.matmul, [part.stop - part.start for part in tile]
        count = block = math.prod(shape)
        if self.device is None:
            block = points_at_once(count, max(math.prod(layer.shape) for layers, _ in nodes for layer in layers))
        parts = -(-count // block)

        def multiply(layer: Array, x: Array, out: Array) -> None:
            x, out = x.swapaxes(0, 1), out.swapaxes(0, 1)
            rows = rows_at_once(*layer.shape, block) if self.device is None else len(layer)
            for at in range(0, len(layer), rows):
                matmul(layer[at : at + rows], x, out=out[:, at : at + rows])

        def locate(positions: list[Array], rows: Array) -> None:
            z, y, x = (along[part] for along, part in zip(positions, tile, strict=True))
            for row, along in zip(rows, (z[:, None, None], y[:, None], x), strict=False):
                row.reshape(-1)[:count].reshape(shape)[:] = along
            rows[3] = 1

        which, x = 0, None  # type: int, Array
        for depth, (layers, positions) in enumerate(nodes):
            for index, layer in enumerate(layers, 1):
                which, width = 1 - which, len(layer)
                below = nodes[depth + 1][1] if index == len(layers) and depth + 1 < len(nodes) else None
                y = scratch(which, width + (4 if below else 1), parts, block)
                features = y[:width]
                if x is None:
                    along = [along[part] for along, part in zip(positions, tile, strict=True)]
                    self._waves(layer, along, features.reshape(width, -1)[:, :count], scratch)
                else:
                    multiply(layer, x, features)
                    sine_(features)
                if below:
                    locate(below, y[width:])
                else:
                    y[width] = 1
                x = y
        values = scratch(1 - which, 1, parts, block)
        multiply(head, x, values)
        return values.reshape(-1)[:count].reshape(shape)

    def _waves(self, layer: Array, positions: list[Array], out: Array, scratch: Scratch) -> None:
        """The root's first layer on a grid, (width, points), from two sides of the grid: a sine a point costs more.

        sin(a + b) = sin a cos b + cos a sin b, of a the angles that the axes of one side give, of b those of the other.
        """
        z, y, x = (layer[:, i, None] * along for i, along in enumerate(positions))
        z += layer[:, 3, None]
        width, (nz, ny, nx) = len(layer), (len(along) for along in positions)
        if nz * ny + nx <= nz + ny * nx:
            a, b = (z[:, :, None] + y[:, None, :]).reshape(width, -1), x
        else:
            a, b = z, (y[:, :, None] + x[:, None, :]).reshape(width, -1)
        left, right = scratch(2, width, a.shape[1], 2), scratch(3, width, 2, b.shape[1])
        for angles, sines, cosines in ((a, left[:, :, 0], left[:, :, 1]), (b, right[:, 1], right[:, 0])):
            self._xp.sin(angles, out=sines)
            self._xp.cos(angles, out=cosines)
        self._xp.matmul(left, right, out=out.reshape(width, a.shape[1], b.shape[1]))


class Grid:
    """Coordinates along z, y, x, and what they are in the box of a node."""

    def __init__(self, axes: Sequence[NDArray[np.float64]]) -> None:
        self._all = np.concatenate(axes)
        self._axis = np.repeat(np.arange(3), [len(along) for along in axes])
        self._ends = np.cumsum([len(along) for along in axes])[:-1].tolist()

    def positions(self, centre: NDArray[np.float64], scale: float) -> list[NDArray[np.float32]]:
        """Along each axis, the longest edge of the box as [-1, 1]."""
        found = ((self._all - centre[self._axis]) * scale).astype(np.float32)
        first, second = self._ends
        return [found[:first], found[first:second], found[second:]]


def _cut(along: slice, size: int) -> list[slice]:
    return [slice(at, min(at + size, along.stop)) for at in range(along.start, along.stop, size)]


@lru_cache(maxsize=256)
def points_at_once(count: int, products: int) -> int:
    """Points of one matrix product, whole vectors, so that ``count`` are cut into few and hardly any are added.

    ``products`` is how many the largest layer takes a point. A product takes about as long as a vector of points more.
    """
    most = min(BLOCK, max(LEAST_BLOCK, BLOCK_PRODUCTS // products)) // VECTOR
    fewest = -(-count // (most * VECTOR))
    blocks = (-(-count // (parts * VECTOR)) * VECTOR for parts in range(fewest, 2 * fewest + 1))
    return min(blocks, key=lambda block: -(-count // block) * (block + VECTOR))


@lru_cache(maxsize=256)
def rows_at_once(rows: int, columns: int, points: int) -> int:
    """Rows of a matrix that one product takes, so that these are few and about equal."""
    return -(-rows // -(-rows * columns * points // BLOCK_PRODUCTS))
