"""Evaluate the tree of networks at any voxels, in any box, at any sampling.

A request is three lists of coordinates, one an axis, whose grid is wanted. Only the leaves that the grid meets are
evaluated, each along its path from the root, in tiles that stay in cache; leaves run in parallel threads.

Points are columns here, not rows as in training: a layer is then one product of matrices with its bias among them, and
what NumPy does to a row is long enough to be worth its call.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..control import Check, never
from ..devices import cpu_count
from ..octree import box_slices
from .architecture import Architecture, Array
from .tile_buffers import BUFFERS

TILE = 4096  # Points whose features of two layers fit into a core's cache.


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network ready to be evaluated by NumPy.

    Attributes
    ----------
    vector : float32 parameters, laid out as the architecture says.
    gain, offset : of every leaf, float64 (n_leaves,): y = gain * x + offset, where x is 0 for a scalar.
    """

    architecture: Architecture
    vector: NDArray[np.float32]
    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    _layers: list[list[Array]] = field(init=False)  # for every group: sine layers, (n, outputs, inputs and bias)
    _heads: list[Array] = field(init=False)  # for every group: heads, likewise

    def __post_init__(self) -> None:
        """Stack weights and biases, so that a layer is one matrix product."""
        layers, heads = [], []
        names = [("feature", "position"), *((f"hidden{k}", f"bias{k}") for k in range(1, self.architecture.layers))]
        for weights in self.architecture.views(self.vector):
            tensors = [[weights[name] for name in pair if name in weights] for pair in (*names, ("head", "head_bias"))]
            stacked = [np.concatenate(parts, 1).swapaxes(1, 2) if parts else None for parts in tensors]
            layers.append(stacked[:-1])
            heads.append(stacked[-1])
        object.__setattr__(self, "_layers", layers)
        object.__setattr__(self, "_heads", heads)

    def with_corrections(self, gain: NDArray[np.float64], offset: NDArray[np.float64]) -> Network:
        """The same network, sharing its weights in memory, with other gains and offsets of the leaves."""
        network = copy(self)
        object.__setattr__(network, "gain", gain)
        object.__setattr__(network, "offset", offset)
        return network

    def on_grid(
        self, axes: Sequence[NDArray[np.float64]], threads: int | None = None, *, dtype: DTypeLike = np.float32,
        finish: Callable[[NDArray[np.float32]], NDArray[Any]] = np.asarray, check: Check = never,
    ) -> NDArray[Any]:  # fmt: skip
        """Evaluate a grid of three ascending coordinate lists: calibrated outputs, in units of the normalised volume.

        Parameters
        ----------
        axes : voxel coordinates along z, y, x; voxel i covers i to i + 1, its centre is i + 0.5.
        finish : from outputs to values of ``dtype``, a tile at a time.
        check : called every few milliseconds; what it raises ends the work.

        Returns
        -------
        float32, or ``dtype``, of shape (len(z), len(y), len(x)).
        """
        octree, served = self.architecture.octree, self.architecture.network_of_node
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
            """Evaluate some leaves."""
            for leaf in leaves:
                where, head = box_slices(first[leaf], last[leaf]), int(served[octree.leaves[leaf]])
                gain, offset = self.gain[leaf], self.offset[leaf]
                if head < 0:
                    out[where] = finish(np.full(1, offset, np.float32))
                    continue
                for tile, values in self._evaluate_head(head, grid, where):
                    check()
                    if (gain, offset) != (1, 0):
                        values = (values * gain + offset).astype(np.float32)
                    out[tile] = finish(values)

        threads = threads or cpu_count()
        if threads == 1 or out.size <= 4 * TILE:
            work(jobs)
        else:
            from concurrent.futures import ThreadPoolExecutor  # not needed for a slice, and slow to import

            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, [jobs[i::threads] for i in range(threads)]))
        return out

    def calibrate(self, outputs: NDArray[np.float32]) -> None:
        """Apply this network's calibration in place to outputs of all voxels that were computed without it."""
        octree = self.architecture.octree
        for leaf, gain, offset in zip(octree.leaves.tolist(), self.gain, self.offset, strict=True):
            box = box_slices(octree.start[leaf], octree.stop[leaf])
            if self.architecture.network_of_node[leaf] >= 0:
                outputs[box] = outputs[box] * gain + offset

    def _evaluate_head(
        self, head: int, grid: Grid, where: tuple[slice, ...]
    ) -> Iterator[tuple[tuple[slice, ...], NDArray[np.float32]]]:
        """Evaluate a node with a head at a part of the grid inside its box.

        Yield tiles and their outputs, not calibrated.
        """
        architecture = self.architecture
        layers: list[Array] = []
        positions: list[list[Array]] = []  # of each node on the path from the root
        ends: list[int] = []  # number of layers up to and with each of these nodes
        for node in architecture.octree.path(head):
            index, row = int(architecture.group_of[node]), int(architecture.row_of[node])
            group = architecture.groups[index]
            positions.append(grid.positions(architecture.centre(node), architecture.scale[group.level]))
            layers += [layer[row] for layer in self._layers[index]]
            ends.append(len(layers))
        layers.append(self._heads[index][int(group.head_rows.searchsorted(row))])
        sizes = tuple([(*layer.shape, at in ends[:-1]) for at, layer in enumerate(layers, 1)])
        # Tiles are whole planes or rows, so that a tile is a grid again and its positions are cheap.
        z, y, x = where
        columns = min(TILE, x.stop - x.start)
        rows = min(TILE // columns, y.stop - y.start)
        planes = TILE // (columns * rows)
        for tile in itertools.product(_cut_slice(z, planes), _cut_slice(y, rows), _cut_slice(x, columns)):
            yield tile, self._evaluate_tile(layers, sizes, positions, tile)

    def _evaluate_tile(
        self, layers: list[Array], sizes: tuple[tuple[int, int, bool], ...], positions: list[list[Array]],
        tile: tuple[slice, ...],
    ) -> Array:  # fmt: skip
        """Evaluate layers from the root at the points of a tile, with the positions of each node."""
        shape = tuple([part.stop - part.start for part in tile])
        count = math.prod(shape)
        nodes = iter(positions)
        z, y, x = (along[part] for along, part in zip(next(nodes), tile, strict=True))
        *steps, last = BUFFERS.steps(sizes, shape)
        below: Array = None
        for layer, step in zip(layers, steps, strict=False):
            if below is None:
                self._first_sines(layer, [z, y, x], step.outputs.reshape(len(layer), -1)[:, :count])
            else:
                for rows, out in step.pieces:
                    np.matmul(layer[rows], below, out=out)
                np.sin(step.outputs, out=step.outputs)
            if step.positions:
                z, y, x = (along[part] for along, part in zip(next(nodes), tile, strict=True))
                for into, along in zip(step.positions, (z[:, None, None], y[:, None], x), strict=True):
                    into[:] = along
            step.ones[:] = 1
            below = step.next_input
        np.matmul(layers[-1], below, out=last.pieces[0][1])
        return last.outputs.reshape(-1)[:count].reshape(shape)

    def _first_sines(self, layer: Array, positions: list[Array], out: Array) -> None:
        """Evaluate the root's first layer on a grid, (width, points), with sines of two sides of the grid only.

        sin(a + b) = sin a cos b + cos a sin b, where a are the angles that the axes of one side give, and b the others.
        """
        z, y, x = (layer[:, i, None] * along for i, along in enumerate(positions))
        z += layer[:, 3, None]
        width, (nz, ny, nx) = len(layer), (len(along) for along in positions)
        if nz * ny + nx <= nz + ny * nx:
            a, b = (z[:, :, None] + y[:, None, :]).reshape(width, -1), x
        else:
            a, b = z, (y[:, :, None] + x[:, None, :]).reshape(width, -1)
        factors_a, factors_b = BUFFERS(2, width, a.shape[1], 2), BUFFERS(3, width, 2, b.shape[1])
        for angles, sines, cosines in (
            (a, factors_a[:, :, 0], factors_a[:, :, 1]),
            (b, factors_b[:, 1], factors_b[:, 0]),
        ):
            np.sin(angles, out=sines)
            np.cos(angles, out=cosines)
        np.matmul(factors_a, factors_b, out=out.reshape(width, a.shape[1], b.shape[1]))


class Grid:
    """Coordinates along z, y, x, and the positions that follow from them in the box of a node."""

    def __init__(self, axes: Sequence[NDArray[np.float64]]) -> None:
        self._all = np.concatenate(axes)
        self._axis = np.repeat(np.arange(3), [len(along) for along in axes])
        self._ends = np.cumsum([len(along) for along in axes])[:-1].tolist()

    def positions(self, centre: NDArray[np.float64], scale: float) -> list[NDArray[np.float32]]:
        """Return the positions along each axis; the longest edge of the box spans [-1, 1]."""
        in_box = ((self._all - centre[self._axis]) * scale).astype(np.float32)
        first, second = self._ends
        return [in_box[:first], in_box[first:second], in_box[second:]]


def _cut_slice(along: slice, size: int) -> list[slice]:
    """Cut a slice into slices of ``size``."""
    return [slice(at, min(at + size, along.stop)) for at in range(along.start, along.stop, size)]
