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
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .network import Architecture, Array, sine_
from .octree import box_slices

TILE = 4096  # points whose features of two layers stay in a core's cache
GPU_TILE = 2**18
# Points of one matrix product, and its most multiplications: OpenBLAS runs what is larger on threads of its own, which
# wait for each other longer than they work (measured: 4 times as long from one of our threads, 40 times from two).
BLOCK, BLOCK_PRODUCTS = 256, 2**18
VECTOR = 16  # points that a processor multiplies at once
SHAPES = (-1, 1, 1), (1, -1, 1), (1, 1, -1)  # of positions along an axis


def cpu_count() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class Scratch(threading.local):
    """Two arrays of each thread that layers are evaluated between. What is in them is finite.

    They live from one evaluation to the next: new memory would cost a fifth of the arithmetic.
    """

    def __init__(self, xp: Any = np, **options: Any) -> None:
        self._zeros = partial(xp.zeros, dtype=xp.float32, **options)
        self._flat = [self._zeros(0), self._zeros(0)]

    def __call__(self, which: int, rows: int, parts: int, block: int) -> Array:
        size = rows * parts * block
        if len(self._flat[which]) < size:
            self._flat[which] = self._zeros(size)
        return self._flat[which][:size].reshape(rows, parts, block)


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
    _heads: list[Array | None] = field(init=False)  # of every group, the same

    def __post_init__(self) -> None:
        xp: Any = np
        if self.device is not None:
            import torch as xp
        layers, heads = [], []
        names = [("feature", "position"), *((f"hidden{k}", f"bias{k}") for k in range(1, self.architecture.layers))]
        for weights in self.architecture.views(self.vector):
            whole = [[weights[name] for name in pair if name in weights] for pair in (*names, ("head", "head_bias"))]
            *sines, head = (xp.concatenate(parts, 1).swapaxes(1, 2) if parts else None for parts in whole)
            layers.append(sines)
            heads.append(head)
        object.__setattr__(self, "_xp", xp)
        object.__setattr__(self, "_layers", layers)
        object.__setattr__(self, "_heads", heads)

    def to(self, device: Any) -> Network:
        """The same network on a torch device."""
        import torch

        return Network(
            self.architecture, torch.from_numpy(self.vector).to(device), self.gain, self.offset, torch.device(device)
        )

    def on_grid(self, axes: Sequence[NDArray[np.float64]], threads: int | None = None) -> NDArray[np.float32]:
        """Calibrated outputs, in units of the normalised volume, on the grid of three ascending coordinate lists.

        Parameters
        ----------
        axes : voxel coordinates along z, y, x; voxel i covers i to i + 1, its centre is i + 0.5.

        Returns
        -------
        float32 of shape (len(z), len(y), len(x)).
        """
        octree, served = self.architecture.octree, self.architecture.serving
        out = np.empty([len(axis) for axis in axes], np.float32)
        if not out.size:
            return out
        start, stop = octree.start[octree.leaves], octree.stop[octree.leaves]
        first, last = np.stack(
            [np.searchsorted(axis, (low, high)) for axis, low, high in zip(axes, start.T, stop.T, strict=True)], axis=-1
        )
        jobs = np.flatnonzero((last > first).all(axis=1)).tolist()

        def work(leaves: Sequence[int]) -> None:
            scratch = SCRATCH if self.device is None else Scratch(self._xp, device=self.device)
            for leaf in leaves:
                where = box_slices(first[leaf], last[leaf])
                head = int(served[octree.leaves[leaf]])
                if head < 0:
                    out[where] = self.offset[leaf]
                    continue
                values, gain, offset = out[where], self.gain[leaf], self.offset[leaf]
                self._head(head, [axis[part] for axis, part in zip(axes, where, strict=True)], values, scratch)
                if (gain, offset) != (1, 0):
                    values[:] = values * gain + offset

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
        self, head: int, axes: list[NDArray[np.float64]], out: NDArray[np.float32], scratch: Scratch
    ) -> None:  # fmt: skip
        """Outputs of a node with a head on a grid inside its box, not calibrated."""
        architecture = self.architecture
        nodes = []
        for node in architecture.octree.path(head):
            group, row = int(architecture.group_of[node]), int(architecture.row_of[node])
            scale = architecture.scale(architecture.groups[group].level)
            positions = []
            for axis, (along, centre) in enumerate(zip(axes, architecture.centre[node].tolist(), strict=True)):
                position = ((along - centre) * scale).astype(np.float32)
                if self.device is not None:
                    position = self._xp.from_numpy(position).to(self.device)
                positions.append(position.reshape(SHAPES[axis]))
            nodes.append(([layer[row] for layer in self._layers[group]], positions))
        last = self._heads[group][int(np.searchsorted(architecture.groups[group].head_rows, row))]
        # Tiles are whole planes or rows, so that a tile is a grid again and its positions are cheap.
        size, most = out.shape, TILE if self.device is None else GPU_TILE
        planes = max(1, most // (size[1] * size[2]))
        rows = max(1, most // size[2]) if planes == 1 else size[1]
        for z, y in itertools.product(range(0, size[0], planes), range(0, size[1], rows)):
            tile = slice(z, z + planes), slice(y, y + rows)
            part = [
                (layers, [positions[0][tile[0]], positions[1][:, tile[1]], positions[2]]) for layers, positions in nodes
            ]
            values = self._tile(part, last, out[tile].shape, scratch)
            out[tile] = values if self.device is None else values.cpu()

    def _tile(
        self, nodes: list[tuple[list[Array], list[Array]]], head: Array, shape: tuple[int, ...], scratch: Scratch
    ) -> Array:  # fmt: skip
        """Outputs on a grid of a few points, of nodes from the root: the layers of each, and positions z, y, x."""
        matmul, count = self._xp.matmul, math.prod(shape)
        block = count
        if self.device is None:
            block = points_at_once(count, max(layer.size for layers, _ in nodes for layer in layers))
        parts = -(-count // block)

        def locate(positions: list[Array], rows: Array) -> None:
            for row, position in zip(rows, positions, strict=False):
                row.reshape(-1)[:count].reshape(shape)[:] = position
            rows[3] = 1

        which, x = 0, None
        for depth, (layers, positions) in enumerate(nodes):
            for layer in layers:
                which, width = 1 - which, len(layer)
                below = nodes[depth + 1][1] if layer is layers[-1] and depth + 1 < len(nodes) else None
                y = scratch(which, width + (4 if below else 1), parts, block)
                features = y[:width]
                if x is None:
                    self._waves(layer, positions, features.reshape(width, -1)[:, :count])
                else:
                    matmul(layer, x.swapaxes(0, 1), out=features.swapaxes(0, 1))
                    sine_(features)
                if below:
                    locate(below, y[width:])
                else:
                    y[width] = 1
                x = y
        values = scratch(1 - which, 1, parts, block)
        matmul(head, x.swapaxes(0, 1), out=values.swapaxes(0, 1))
        return values.reshape(-1)[:count].reshape(shape)

    def _waves(self, layer: Array, positions: list[Array], out: Array) -> None:
        """The root's first layer on a grid, (width, points), from two sides of the grid: a sine a point costs more.

        sin(a + b) = sin a cos b + cos a sin b, of a the angles that the axes of one side give, of b those of the other.
        """
        xp = self._xp
        *angles, bias = (layer[:, i, None] for i in range(4))
        z, y, x = (angle * position.reshape(1, -1) for angle, position in zip(angles, positions, strict=True))
        z += bias

        def joined(a: Array, b: Array) -> Array:
            return (a[:, :, None] + b[:, None, :]).reshape(len(a), -1)

        (nz, ny, nx) = (along.shape[1] for along in (z, y, x))
        a, b = (joined(z, y), x) if nz * ny + nx <= nz + ny * nx else (z, joined(y, x))
        left, right = xp.stack([xp.sin(a), xp.cos(a)], 2), xp.stack([xp.cos(b), xp.sin(b)], 1)
        xp.matmul(left, right, out=out.reshape(len(a), a.shape[1], b.shape[1]))


def points_at_once(count: int, products: int) -> int:
    """Points of one matrix product, of ``count`` in equal parts, where each takes so many products."""
    most = min(BLOCK, max(1, BLOCK_PRODUCTS // products))
    unit = VECTOR if most >= VECTOR else 1
    parts = -(-count // (most - most % unit))
    return -(-count // (parts * unit)) * unit
