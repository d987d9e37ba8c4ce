"""Evaluate the tree of networks at any voxels, in any box, at any sampling.

A request is three lists of coordinates, one an axis, whose grid is wanted. Only the leaves that the grid meets are
evaluated, each along its path from the root, in tiles that stay in cache; leaves run in parallel threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..control import Check, never
from ..devices import cpu_count
from ..octree import box_slices
from .architecture import Architecture, Array
from .compiled_code import COMPILED_CODE
from .lattice import PlaneCache, runs_of
from .path import TILE, Path
from .values import Scale

BATCH = 2**14  # Leaves that are alike are evaluated in the same arrays, at no more points than these at a time,
COMPILED_BATCH = 2**18  # or these by compiled code, which leaves a point in the cache until its value is known: not
# for slices, which keep some planes of lattices of all leaves of a batch,
MOST_LEAVES = 8  # and no more leaves: of few points far from each other, lattices have 64 times as many.
MOST_PLANS = 16  # The layers of so many kinds of slices are kept at a time.
THIN = 4  # Requests of at most so many points along an axis keep planes of lattices.
LEAST_COMPILED = 2**12  # Leaves of fewer points are left to NumPy: compiled code has more to prepare.


class Batch(NamedTuple):
    """Leaves that are evaluated in the same arrays.

    Attributes
    ----------
    leaves : their indices.
    heads : the nodes whose heads give their values, below 0 for scalars.
    places : the parts of a grid that they cover.
    corners : the first voxels of the boxes of the heads.
    """

    leaves: list[int]
    heads: list[int]
    places: list[tuple[slice, ...]]
    corners: list[list[int]]

    @property
    def n_points(self) -> int:
        """Points of the grid in each."""
        return math.prod(along.stop - along.start for along in self.places[0])

    def cut(self, n_points: int, n_parts: int) -> list[Batch]:
        """Return batches of as many leaves as have ``n_points``, ``n_parts`` or more where there are leaves."""
        most = max(1, min(MOST_LEAVES, n_points // self.n_points, -(-len(self.leaves) // n_parts)))
        cuts = [slice(at, at + most) for at in range(0, len(self.leaves), most)]
        return [Batch(self.leaves[cut], self.heads[cut], self.places[cut], self.corners[cut]) for cut in cuts]


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
    _plans: dict[Any, list[tuple[Batch, Path | None]]] = field(init=False)  # of slices

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
        object.__setattr__(self, "_plans", {})

    def with_corrections(self, gain: NDArray[np.float64], offset: NDArray[np.float64]) -> Network:
        """The same network, sharing its weights in memory, with other gains and offsets of the leaves."""
        network = copy(self)
        object.__setattr__(network, "gain", gain)
        object.__setattr__(network, "offset", offset)
        return network

    def on_grid(
        self, axes: Sequence[NDArray[np.float64]], threads: int | None = None, *, dtype: DTypeLike = np.float32,
        scale: Scale | None = None, check: Check = never,
        planes: PlaneCache | None = None, lattice: tuple[int, ...] | None = None,
    ) -> NDArray[Any]:  # fmt: skip
        """Evaluate a grid of three ascending coordinate lists: calibrated outputs, in units of the normalised volume.

        Parameters
        ----------
        axes : voxel coordinates along z, y, x; voxel i covers i to i + 1, its centre is i + 0.5.
        scale : turns outputs into values, which become ``dtype``; None for the outputs themselves.
        check : called every few milliseconds; what it raises ends the work.
        planes : keeps planes of lattices, which requests of at most :data:`THIN` points along an axis put there.
        lattice : in place of that of the architecture; empty to evaluate all layers at the points themselves.

        Returns
        -------
        float32, or ``dtype``, of shape (len(z), len(y), len(x)).
        """
        out = np.empty([len(axis) for axis in axes], dtype)
        if not out.size:
            return out
        thin = min(out.shape) <= THIN
        threads = 1 if out.size <= 4 * TILE else threads or cpu_count()
        runs = partial(runs_of, self.architecture.lattice if lattice is None else lattice)
        least_compiled: float = 0 if thin else LEAST_COMPILED
        if not COMPILED_CODE.pays(out.size, waits=not thin):
            least_compiled = math.inf

        def path_of(batch: Batch) -> Path | None:
            """Return what evaluates leaves that are alike; None for scalars."""
            if batch.heads[0] < 0:
                return None
            nodes, layers = self._layers_of(batch.heads)
            kind = Path
            if batch.n_points * len(batch.leaves) >= least_compiled:
                from .compiled_path import CompiledPath

                kind = CompiledPath
            plane_axis, kept = (int(np.argmin(out.shape)), planes) if thin else (0, None)
            return kind(self.architecture, layers, nodes, runs(len(layers) - 1), plane_axis, kept)

        def work(job: tuple[Batch, Path | None]) -> None:
            """Evaluate leaves that are alike."""
            batch, path = job
            gain, offset = self.gain[batch.leaves], self.offset[batch.leaves]
            if path is None:
                constants = offset.astype(np.float32)
                for place, constant in zip(batch.places, constants if scale is None else scale(constants), strict=True):
                    out[place] = constant
                return
            local = [axis[along] - at for axis, along, at in zip(axes, batch.places[0], batch.corners[0], strict=True)]
            for tile, values in path.tiles(local):
                check()
                for place, part in zip(batch.places, path.finished(values, gain, offset, scale), strict=True):
                    out[place][tile] = part

        at_once = COMPILED_BATCH if least_compiled < math.inf and not thin else BATCH
        plan = self._plan(axes, threads, at_once, path_of, (planes, lattice, least_compiled))
        if threads == 1:
            for job in plan:
                work(job)
        else:
            from concurrent.futures import ThreadPoolExecutor  # not needed for a slice, and slow to import

            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, plan))
        return out

    def _plan(
        self, axes: Sequence[NDArray[np.float64]], threads: int, at_once: int,
        path_of: Callable[[Batch], Path | None], kind: Any,
    ) -> list[tuple[Batch, Path | None]]:  # fmt: skip
        """Return the batches of a grid, and what evaluates them. Those of a slice are kept for the slices beside it.

        ``kind`` is whatever else ``path_of`` depends on.
        """
        key = None
        if min(map(len, axes)) == 1:
            across = [
                cuts.searchsorted(axis, "right").tobytes() if len(axis) == 1 else axis.tobytes()
                for axis, cuts in zip(axes, self.architecture.octree.leaf_cuts, strict=True)
            ]
            key = threads, *across, kind
            if (kept := self._plans.get(key)) is not None:  # another thread may drop all at any time
                return kept
        ends = zip(axes, self.architecture.octree.leaf_ends.transpose(2, 0, 1), strict=True)
        first, last = np.array([axis.searchsorted(pair) for axis, pair in ends]).transpose(1, 2, 0)
        leaves = np.flatnonzero((last > first).all(axis=1))
        batches = self._batches(axes, leaves, first[leaves], last[leaves])
        n_parts = min(threads, -(-2 * threads // len(batches)))  # many batches keep all threads busy as they are
        plan = [(part, path_of(part)) for batch in batches for part in batch.cut(at_once, n_parts)]
        if key:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def _batches(
        self, axes: Sequence[NDArray[np.float64]], leaves: NDArray[np.int64], first: NDArray[np.int64],
        last: NDArray[np.int64],
    ) -> list[Batch]:  # fmt: skip
        """Return leaves, which cover the points ``first`` to ``last`` of a grid, in batches that are alike.

        Leaves of a batch have networks of the same widths, whose boxes are of one size and meet the same part of the
        grid, counted from their corners.
        """
        octree, architecture = self.architecture.octree, self.architecture
        heads = architecture.network_of_node[octree.leaves[leaves]]
        columns = (leaves, heads, architecture.group_of[heads], first, last, octree.start[heads], octree.stop[heads])
        sides: dict[Any, tuple[int, bytes]] = {}  # Of many leaves one side is the same.
        batches: dict[Any, Batch] = {}
        for leaf, head, group, *ends in zip(*[column.tolist() for column in columns], strict=True):
            along = list(zip(range(3), *ends, strict=True))
            for side in along:
                if side not in sides:
                    axis, low, high, corner, end = side
                    sides[side] = end - corner, (axes[axis][low:high] - corner).tobytes()
            key = (group, *[sides[side] for side in along]) if head >= 0 else None
            batch = batches.setdefault(key, Batch([], [], [], []))
            batch.leaves.append(leaf)
            batch.heads.append(head)
            batch.places.append(tuple([slice(low, high) for _, low, high, *_ in along]))
            batch.corners.append(ends[2])
        return list(batches.values())

    def calibrate(self, outputs: NDArray[np.float32]) -> None:
        """Apply this network's calibration in place to outputs of all voxels that were computed without it."""
        octree = self.architecture.octree
        for leaf, gain, offset in zip(octree.leaves.tolist(), self.gain, self.offset, strict=True):
            box = box_slices(octree.start[leaf], octree.stop[leaf])
            if self.architecture.network_of_node[leaf] >= 0:
                outputs[box] = outputs[box] * gain + offset

    def _layers_of(self, heads: list[int]) -> tuple[list[NDArray[np.int64]], list[Array]]:
        """Return the nodes and layers from the root to some heads, whose networks have the same widths."""
        architecture, layers = self.architecture, []
        nodes = list(np.array([architecture.octree.path(head) for head in heads]).T)
        for at_level in nodes:
            index, rows = int(architecture.group_of[at_level[0]]), architecture.row_of[at_level]
            alike = slice(rows[0], rows[0] + 1) if (at_level == at_level[0]).all() else rows
            layers += [layer[alike] for layer in self._layers[index]]
        layers.append(self._heads[index][architecture.groups[index].head_rows.searchsorted(rows)])
        return nodes, layers
