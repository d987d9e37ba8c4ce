"""The octree over a volume: boxes of voxels in Morton order, and the axes that are split at each level.

NumPy only. Nothing here knows of networks, bytes or intensities.

All nodes of a level are cells of one regular lattice, so that a node's box follows from its cell alone:
along an axis of n voxels cut s times, cell i covers the voxels ``i*n >> s`` to ``(i+1)*n >> s``. Boxes of any
volume tile it exactly, and two nodes of a level differ by at most one voxel an axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_DEPTH = 12  # Deeper trees are refused.
MAX_NODES = 2**17  # Larger trees are refused; one of 2^16 leaves has no more nodes.


def split_counts(shape: tuple[int, ...], depth: int) -> NDArray[np.int64]:
    """Count how often each axis has been halved at levels 0 to ``depth``.

    An axis is halved on the way to the next level while its cells are at least two voxels long and longer than
    half of the longest, so that the boxes of a thin stack grow towards cubes. Levels past the finest possible
    one repeat the last row.

    Returns
    -------
    Integers of shape (depth + 1, 3).
    """
    extent = [float(size) for size in shape]  # halving is exact in binary floating point
    counts = [[0] * len(extent)]
    for _ in range(depth):
        longest = max(extent)
        halved = [size >= 2 and size * 2 > longest for size in extent]
        counts.append([count + again for count, again in zip(counts[-1], halved, strict=True)])
        extent = [size / 2 if again else size for size, again in zip(extent, halved, strict=True)]
    return np.array(counts, np.int64)


@dataclass(frozen=True, eq=False)
class Octree:
    """An octree. Its nodes are numbered breadth-first, children in Morton order (last axis fastest).

    Attributes
    ----------
    shape : voxels along z, y, x.
    split : bool (n_nodes,), whether a node has children. The only thing a file stores.
    level : int8 (n_nodes,), 0 for the root.
    parent : int32 (n_nodes,), -1 for the root.
    counts : int64 (depth + 1, 3), see :func:`split_counts`.
    """

    shape: tuple[int, int, int]
    split: NDArray[np.bool_]
    level: NDArray[np.int8]
    parent: NDArray[np.int32]
    counts: NDArray[np.int64]

    @classmethod
    def from_splits(cls, shape: tuple[int, int, int], split: NDArray[np.bool_]) -> Octree:
        """Build a tree from its split flags, breadth-first.

        Raises
        ------
        ValueError
            If the flags do not close a tree exactly, split a box that cannot be split, or pass the limits.
        """
        split = np.asarray(split, bool)
        if not 1 <= split.size <= MAX_NODES:
            raise ValueError(f"octree has {split.size} nodes, expected 1 to {MAX_NODES}")
        counts = split_counts(shape, MAX_DEPTH)
        parent = np.full(split.size, -1, np.int32)
        sizes, first, n = [1], 0, 1
        while True:
            depth = len(sizes) - 1
            split_nodes = np.flatnonzero(split[first : first + n]).astype(np.int32)
            if split_nodes.size == 0:
                break
            if depth == MAX_DEPTH:
                raise ValueError(f"octree is deeper than {MAX_DEPTH} levels")
            n_children = 2 ** int((counts[depth + 1] - counts[depth]).sum())
            if n_children == 1:
                raise ValueError(f"octree splits a box of level {depth} of a volume {shape}, which has no axis left")
            needed = first + n + len(split_nodes) * n_children
            if needed > split.size:
                raise ValueError(f"octree does not close: {split.size} nodes stored, at least {needed} needed")
            split_nodes += first
            first, n = first + n, len(split_nodes) * n_children
            parent[first : first + n].reshape(-1, n_children)[:] = split_nodes[:, None]
            sizes.append(n)
        if first + n != split.size:
            raise ValueError(f"octree does not close: {split.size} nodes stored, {first + n} needed")
        level = np.repeat(np.arange(len(sizes), dtype=np.int8), sizes)
        return cls(tuple(int(size) for size in shape), split, level, parent, counts[: len(sizes)])  # type: ignore[arg-type]

    @classmethod
    def full(cls, shape: tuple[int, int, int], depth: int) -> Octree:
        """Build the tree whose leaves are all at level ``depth``, or at the finest level that the volume allows."""
        counts = split_counts(shape, min(depth, MAX_DEPTH))
        per_level = 2 ** counts.sum(axis=1)
        per_level = per_level[: 1 + int((per_level < per_level[-1]).sum())]
        n_split = int(per_level[:-1].sum())
        split = np.zeros(n_split + int(per_level[-1]), bool)
        split[:n_split] = True
        return cls.from_splits(shape, split)

    def without_children(self, nodes: NDArray[np.integer[Any]]) -> Octree:
        """Return the tree in which these nodes, whose children are leaves, are leaves themselves."""
        split = self.split.copy()
        split[nodes] = False
        return Octree.from_splits(self.shape, split[~np.isin(self.parent, nodes)])

    @property
    def depth(self) -> int:
        """Level of the deepest nodes."""
        return len(self.counts) - 1

    @cached_property
    def leaves(self) -> NDArray[np.int32]:
        """Node numbers of the leaves: coarse levels first, Morton order within a level. int32 (n_leaves,)."""
        return np.flatnonzero(~self.split).astype(np.int32)

    @cached_property
    def leaf_cuts(self) -> list[NDArray[np.int64]]:
        """Where leaves begin or end along each axis, ascending."""
        # np.unique would import numpy.ma, which takes as long as a slice.
        return [np.flatnonzero(np.bincount(along.ravel())) for along in self.leaf_ends.transpose(2, 0, 1)]

    @cached_property
    def leaf_ends(self) -> NDArray[np.int64]:
        """First voxel of every leaf's box, and one past its last, int64 (2, n_leaves, 3)."""
        return np.stack([self.start[self.leaves], self.stop[self.leaves]])

    @property
    def n_leaves(self) -> int:
        """Number of leaves."""
        return len(self.split) - int(np.count_nonzero(self.split))

    @cached_property
    def _ends(self) -> list[int]:
        """First node beyond each level."""
        levels = np.arange(self.depth + 1, dtype=np.int8)
        return np.searchsorted(self.level, levels, side="right").tolist()

    def at_level(self, level: int) -> slice:
        """Return the nodes of a level as a slice of node numbers."""
        return slice(self._ends[level - 1] if level else 0, self._ends[level])

    @cached_property
    def cell(self) -> NDArray[np.int64]:
        """Place of every node in the lattice of its level, int64 (n_nodes, 3)."""
        cell = np.zeros((len(self.split), 3), np.int64)
        for level in range(1, self.depth + 1):
            nodes = self.at_level(level)
            offsets = child_offsets(self.counts, level - 1)
            above = cell[self.parent[nodes][:: len(offsets)]] << self.counts[level] - self.counts[level - 1]
            cell[nodes] = (above[:, None] + offsets).reshape(-1, 3)
        return cell

    @cached_property
    def start(self) -> NDArray[np.int64]:
        """First voxel of every node's box, int64 (n_nodes, 3)."""
        return self.cell * np.array(self.shape) >> self.counts[self.level]

    @cached_property
    def stop(self) -> NDArray[np.int64]:
        """One past the last voxel of every node's box, int64 (n_nodes, 3)."""
        return (self.cell + 1) * np.array(self.shape) >> self.counts[self.level]

    def extent(self, level: int) -> NDArray[np.float64]:
        """Return the edge lengths that all cells of a level share, in voxels and not rounded, (3,)."""
        return np.array(self.shape) / 2.0 ** self.counts[level]

    def children_per_node(self, level: int) -> int:
        """Return how many children a split node of a level has: 2, 4 or 8."""
        return 2 ** int((self.counts[level + 1] - self.counts[level]).sum())

    def path(self, node: int) -> list[int]:
        """Return the nodes from the root to ``node``, both included."""
        nodes = [int(node)]
        while self.parent[nodes[-1]] >= 0:
            nodes.append(int(self.parent[nodes[-1]]))
        return nodes[::-1]


def box_slices(start: NDArray[np.int64], stop: NDArray[np.int64]) -> tuple[slice, ...]:
    """Return the index of a box of voxels, as slices along z, y, x."""
    return tuple(slice(low, high) for low, high in zip(start.tolist(), stop.tolist(), strict=True))


def child_offsets(counts: NDArray[np.int64], level: int) -> NDArray[np.int64]:
    """Return the cells of a node's children, relative to the first of them, in Morton order, (n_children, 3)."""
    halved = counts[level + 1] - counts[level]
    grid = np.meshgrid(*[np.arange(2**h) for h in halved], indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, 3)
