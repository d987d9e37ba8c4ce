"""Evaluate the tree of networks at any voxels, in any box, at any sampling.

A request is three lists of coordinates, one an axis, whose grid is wanted. Only the leaves that the grid meets are
evaluated, each along its path from the root, in tiles that stay in cache; leaves run in parallel threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..control import Check, never
from ..devices import cpu_count
from ..octree import box_slices
from .architecture import Architecture, Array
from .lattice import PlaneCache, runs_of
from .path import TILE, Path

BATCH = 2**14  # Leaves that are alike are evaluated in the same arrays, at no more points than these at a time.
THIN = 4  # Requests of at most so many points along an axis keep planes of lattices.


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
        planes: PlaneCache | None = None, lattice: tuple[int, ...] | None = None,
    ) -> NDArray[Any]:  # fmt: skip
        """Evaluate a grid of three ascending coordinate lists: calibrated outputs, in units of the normalised volume.

        Parameters
        ----------
        axes : voxel coordinates along z, y, x; voxel i covers i to i + 1, its centre is i + 0.5.
        finish : from outputs to values of ``dtype``, a tile at a time.
        check : called every few milliseconds; what it raises ends the work.
        planes : keeps planes of lattices, which requests of at most :data:`THIN` points along an axis put there.
        lattice : in place of that of the architecture; empty to evaluate all layers at the points themselves.

        Returns
        -------
        float32, or ``dtype``, of shape (len(z), len(y), len(x)).
        """
        octree = self.architecture.octree
        out = np.empty([len(axis) for axis in axes], dtype)
        if not out.size:
            return out
        start, stop = octree.start[octree.leaves], octree.stop[octree.leaves]
        first, last = np.stack(
            [np.searchsorted(axis, (low, high)) for axis, low, high in zip(axes, start.T, stop.T, strict=True)], axis=-1
        )
        thinnest = int(np.argmin(out.shape))
        thin = out.shape[thinnest] <= THIN
        threads = threads or cpu_count()

        def work(leaves: list[int]) -> None:
            """Evaluate leaves that are alike."""
            head, gain, offset = self._head(leaves[0]), self.gain[leaves], self.offset[leaves]
            if head < 0:
                for leaf in leaves:
                    out[box_slices(first[leaf], last[leaf])] = finish(np.full(1, self.offset[leaf], np.float32))
                return
            corrected = (gain != 1).any() or offset.any()
            corners = first[leaves].tolist()
            path = self._path(leaves, thinnest if thin else 0, planes if thin else None, lattice)
            for tile, values in path.tiles(self._local(axes, first[leaves[0]], last[leaves[0]], head)):
                check()
                if corrected:
                    values = (values * gain[:, None, None, None] + offset[:, None, None, None]).astype(np.float32)
                for corner, part in zip(corners, finish(values), strict=True):
                    out[tuple([slice(at + t.start, at + t.stop) for at, t in zip(corner, tile, strict=True)])] = part

        batches = self._batches(axes, first, last, threads)
        if threads == 1 or out.size <= 4 * TILE:
            for leaves in batches:
                work(leaves)
        else:
            from concurrent.futures import ThreadPoolExecutor  # not needed for a slice, and slow to import

            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, batches))
        return out

    def _head(self, leaf: int) -> int:
        """Return the node whose head gives the values of a leaf, below 0 for a scalar."""
        return int(self.architecture.network_of_node[self.architecture.octree.leaves[leaf]])

    def _local(
        self, axes: Sequence[NDArray[np.float64]], first: NDArray[np.int64], last: NDArray[np.int64], head: int
    ) -> list[NDArray[np.float64]]:
        """Return a part of a grid, counted from the corner of the box of a node."""
        corner = self.architecture.octree.start[head].tolist()
        ends = zip(axes, first.tolist(), last.tolist(), corner, strict=True)
        return [axis[low:high] - at for axis, low, high, at in ends]

    def _batches(
        self, axes: Sequence[NDArray[np.float64]], first: NDArray[np.int64], last: NDArray[np.int64], threads: int
    ) -> list[list[int]]:
        """Return the leaves that a grid meets, in batches that are evaluated in the same arrays.

        Leaves of a batch have networks of the same widths, whose boxes are of one size and meet the same part of the
        grid, counted from their corners.
        """
        octree, group_of = self.architecture.octree, self.architecture.group_of
        alike: dict[Any, list[int]] = {}
        for leaf in np.flatnonzero((last > first).all(axis=1)).tolist():
            head = self._head(leaf)
            key: Any = None
            if head >= 0:
                size = (octree.stop[head] - octree.start[head]).tobytes()
                local = self._local(axes, first[leaf], last[leaf], head)
                key = (int(group_of[head]), size, *(along.tobytes() for along in local))
            alike.setdefault(key, []).append(leaf)
        batches = []
        for leaves in alike.values():
            n_points = int((last[leaves[0]] - first[leaves[0]]).prod())
            most = max(1, min(BATCH // n_points, -(-len(leaves) // threads)))
            batches += [leaves[at : at + most] for at in range(0, len(leaves), most)]
        return batches

    def calibrate(self, outputs: NDArray[np.float32]) -> None:
        """Apply this network's calibration in place to outputs of all voxels that were computed without it."""
        octree = self.architecture.octree
        for leaf, gain, offset in zip(octree.leaves.tolist(), self.gain, self.offset, strict=True):
            box = box_slices(octree.start[leaf], octree.stop[leaf])
            if self.architecture.network_of_node[leaf] >= 0:
                outputs[box] = outputs[box] * gain + offset

    def _path(
        self, leaves: list[int], plane_axis: int, planes: PlaneCache | None, lattice: tuple[int, ...] | None
    ) -> Path:
        """Return the layers from the root to the nodes with the heads of leaves that are alike."""
        architecture = self.architecture
        nodes = np.array([architecture.octree.path(self._head(leaf)) for leaf in leaves]).T
        layers = []
        for level, at_level in enumerate(nodes):
            index, rows = int(architecture.group_of[at_level[0]]), architecture.row_of[at_level]
            layers += [layer[rows if level else [0]] for layer in self._layers[index]]
        layers.append(self._heads[index][architecture.groups[index].head_rows.searchsorted(rows)])
        runs = runs_of(architecture.lattice if lattice is None else lattice, len(layers) - 1)
        return Path(architecture, layers, list(nodes), runs, plane_axis, planes)
