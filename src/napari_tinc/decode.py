"""Values from the network: at any voxels, of any box, at any sampling.

A request is three lists of coordinates, one an axis, whose grid is wanted. Only the leaves that the grid meets are
evaluated, each along its path from the root, in tiles that stay in cache; leaves run in parallel threads.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cancel import Check, never
from .container import serving
from .network import Architecture, Buffers, Weights, evaluate_heads, evaluate_nodes
from .octree import box_slices

TILE = 8192  # points whose features of all layers stay in a core's cache
GPU_TILE = 2**18
# Points of one matrix product, and its most multiplications: OpenBLAS runs what is larger on threads of its own, which
# wait for each other longer than they work (measured: 4 times as long from one of our threads, 40 times from two).
BLOCK, BLOCK_PRODUCTS = 64, 2**18


def cpu_count() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


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
    _weights: list[Weights] = field(init=False)
    _serving: NDArray[np.int64] = field(init=False)
    _row: NDArray[np.int64] = field(init=False)
    _group: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        n_nodes = len(self.architecture.octree.split)
        row, group_of = np.zeros(n_nodes, np.int64), np.zeros(n_nodes, np.int64)
        for index, group in enumerate(self.architecture.groups):
            row[group.nodes], group_of[group.nodes] = np.arange(len(group.nodes)), index
        object.__setattr__(self, "_serving", serving(self.architecture.octree, self.architecture.widths))
        object.__setattr__(self, "_weights", self.architecture.views(self.vector))
        object.__setattr__(self, "_row", row)
        object.__setattr__(self, "_group", group_of)

    def to(self, device: Any) -> Network:
        """The same network on a torch device."""
        import torch

        return Network(
            self.architecture, torch.from_numpy(self.vector).to(device), self.gain, self.offset, torch.device(device)
        )

    def on_grid(
        self, axes: Sequence[NDArray[np.float64]], threads: int | None = None, check: Check = never
    ) -> NDArray[np.float32]:
        """Calibrated outputs, in units of the normalised volume, on the grid of three ascending coordinate lists.

        Parameters
        ----------
        axes : voxel coordinates along z, y, x; voxel i covers i to i + 1, its centre is i + 0.5.
        check : called every few milliseconds; what it raises ends the work.

        Returns
        -------
        float32 of shape (len(z), len(y), len(x)).
        """
        octree = self.architecture.octree
        out = np.empty([len(axis) for axis in axes], np.float32)
        if not out.size:
            return out
        voxels = [np.floor(axis).astype(np.int64) for axis in axes]
        first = np.array([voxel[0] for voxel in voxels])
        last = np.array([voxel[-1] + 1 for voxel in voxels])
        leaves = octree.leaves
        index_of = {int(leaf): index for index, leaf in enumerate(leaves)}
        start, stop = octree.start, octree.stop
        jobs = []
        for leaf in octree.leaves_touching(first, last):
            where = tuple(
                slice(*np.searchsorted(voxel, (low, high)).tolist())
                for voxel, low, high in zip(voxels, start[leaf], stop[leaf], strict=True)
            )
            if all(part.stop > part.start for part in where):
                jobs.append((int(leaf), where))

        def work(share: Sequence[tuple[int, tuple[slice, ...]]]) -> None:
            buffers = self._buffers()
            for leaf, where in share:
                index, head = index_of[leaf], int(self._serving[leaf])
                if head < 0:
                    out[where] = self.offset[index]
                    continue
                coordinates = [axis[part] for axis, part in zip(axes, where, strict=True)]
                values = self._head(head, coordinates, buffers, check)
                out[where] = (values * self.gain[index] + self.offset[index]).reshape(out[where].shape)

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
            if self._serving[leaf] >= 0:
                outputs[box] = outputs[box] * gain + offset

    def _buffers(self) -> Buffers:
        if self.device is None:
            return Buffers(np)
        import torch

        return Buffers(torch, device=self.device)

    def _head(self, head: int, axes: list[NDArray[np.float64]], buffers: Buffers, check: Check) -> NDArray[np.float32]:
        """Outputs of a node with a head on a grid inside its box, flat."""
        path = self.architecture.octree.path(head)
        nodes = []
        for node in path:
            group, row = self.architecture.groups[self._group[node]], self._row[node]
            weights = self._weights[self._group[node]]
            own = {kind: w[row : row + 1] for kind, w in weights.items() if not kind.startswith("head")}
            if node == head:
                head_row = int(np.searchsorted(group.head_rows, row))
                own |= {kind: weights[kind][head_row : head_row + 1] for kind in ("head", "head_bias")}
            nodes.append((own, self.architecture.centre(node), self.architecture.scale(group.level)))
        size = [len(axis) for axis in axes]
        out = np.empty(size[0] * size[1] * size[2], np.float32)
        # Tiles are whole planes or rows, so that a tile is a grid again and its positions are cheap.
        most = TILE if self.device is None else GPU_TILE
        planes = max(1, most // (size[1] * size[2]))
        rows = max(1, most // size[2]) if planes == 1 else size[1]
        at = 0
        for z, y in itertools.product(range(0, size[0], planes), range(0, size[1], rows)):
            check()
            tile = [axes[0][z : z + planes], axes[1][y : y + rows], axes[2]]
            count = len(tile[0]) * len(tile[1]) * len(tile[2])
            if planes > 1:
                at = z * size[1] * size[2]
            out[at : at + count] = self._tile(nodes, tile, count, buffers)
            at += count
        return out

    def _tile(
        self, nodes: list[tuple[Weights, NDArray[np.float64], float]], axes: list[NDArray[np.float64]], count: int,
        buffers: Buffers,
    ) -> NDArray[np.float32]:  # fmt: skip
        xp: Any = np
        if self.device is not None:
            import torch

            xp = torch
        features = None
        widest = max(w.shape[-2] * w.shape[-1] for weights, _, _ in nodes for kind, w in weights.items() if w.ndim > 2)
        block = max(1, min(BLOCK, BLOCK_PRODUCTS // widest // 8 * 8))
        blocks = -(-count // block)
        for depth, (weights, centre, scale) in enumerate(nodes):
            positions: Any = np.ones((blocks, block, 4), np.float32)
            at = positions.reshape(-1, 4)[:count].reshape(*(len(axis) for axis in axes), 4)
            for axis in range(3):
                shape = [1, 1, 1]
                shape[axis] = -1
                at[..., axis] = ((axes[axis] - centre[axis]) * scale).reshape(shape)
            if self.device is not None:
                positions = xp.from_numpy(positions.reshape(1, -1, 4)).to(self.device)
            features = evaluate_nodes(xp, weights, positions, features, buffers, depth)
        values = evaluate_heads(xp, nodes[-1][0], features, buffers).reshape(-1)[:count]
        return np.asarray(values if self.device is None else values.cpu())
