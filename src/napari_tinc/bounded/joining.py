"""Join blocks between which a busy part of a volume is cut, and show where the busy parts of a block are.

A block knows nothing of the voxels beyond it. So a busy part takes more bytes if it is cut into several, and a smooth
background (background.py) takes none, however large it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..octree import MAX_DEPTH, Octree, box_slices, split_counts
from .background import CELL, MAX_VOXELS, background_cells

LEAST_HIDDEN = 0.5  # Blocks become one if a background hides this share of it,
MOST_BUSY = 2**21  # if no more voxels are left, so that it is decoded as fast as others,
LEAST_CUT = 0.03  # and if at least this share of the busy cells are at a cut: the bytes that it costs are about that.
LEAST_PART = (
    0.1  # Blocks with this share of the busy cells, none of them at a cut, have a part that is better by itself.
)

LEAF_EDGE = 8  # Leaves that show where a box is busy have at least so many voxels along an axis.


def join_cut_parts(
    tree: Octree, reads: Sequence[Callable[[tuple[slice, ...]], NDArray[Any]]], bound: float
) -> Octree:  # fmt: skip
    """Return the tree in which blocks are one block where that takes fewer bytes.

    Parameters
    ----------
    tree : the octree whose leaves are the blocks.
    reads : for each channel or point in time, a function from a box to its voxels.
    bound : about the largest error of the file to make.
    """
    joined = [parent for parent in may_be_joined(tree) if _cuts_busy_part(tree, parent, reads, bound)]
    return tree.without_children(np.array(joined)) if joined else tree


def may_be_joined(tree: Octree) -> list[int]:
    """Return the nodes whose children are all leaves, and that are not too large to be one block."""
    voxels = (tree.stop - tree.start).prod(axis=1)
    parents, n_children = np.unique(tree.parent[tree.leaves], return_counts=True)
    return [
        parent for parent, n in zip(parents.tolist(), n_children.tolist(), strict=True)
        if parent >= 0 and n == tree.children_per_node(int(tree.level[parent])) and voxels[parent] <= MAX_VOXELS
    ]  # fmt: skip


def _cuts_busy_part(
    tree: Octree, parent: int, reads: Sequence[Callable[[tuple[slice, ...]], NDArray[Any]]], bound: float
) -> bool:
    """Return whether the children of a node are mostly background, and what is busy is cut between them."""
    children = tree.parent == parent
    starts, stops = tree.start[children] - tree.start[parent], tree.stop[children] - tree.start[parent]
    whole = tree.stop[parent] - tree.start[parent]
    n_cells = n_busy = 0
    busy_in, cut_in = np.zeros(len(starts), np.int64), np.zeros(len(starts), np.int64)
    for read in reads:
        values = read(box_slices(tree.start[parent], tree.stop[parent]))
        if not np.isfinite(values).all():
            return False
        busy = ~background_cells(values, bound)
        n_cells, n_busy = n_cells + busy.size, n_busy + int(np.count_nonzero(busy))
        for index, (start, stop) in enumerate(zip(starts // CELL, -(-stops // CELL), strict=True)):
            part = busy[box_slices(start, stop)]
            busy_in[index] += np.count_nonzero(part)
            for axis in range(3):
                faces = [0] * bool(starts[index, axis]) + [-1] * bool(stops[index, axis] < whole[axis])
                cut_in[index] += sum(int(np.count_nonzero(np.take(part, face, axis))) for face in faces)
    if ((busy_in >= LEAST_PART * n_busy) & (cut_in == 0)).any():
        return False
    n_cut = int(cut_in.sum()) // 2
    is_small = n_busy * CELL**3 <= MOST_BUSY * len(reads)
    return is_small and n_busy <= (1 - LEAST_HIDDEN) * n_cells and n_cut >= max(1, LEAST_CUT * n_busy)


def tree_of_parts(left: NDArray[np.bool_], most: int) -> tuple[Octree, NDArray[np.int64]]:
    """Return an octree over a box, (z, y, x), that is finer where its background leaves voxels.

    Parameters
    ----------
    left : the voxels that the background leaves.
    most : about the largest number of leaves.

    Returns
    -------
    The tree, and the voxels left in each of its leaves.
    """
    shape = (left.shape[0], left.shape[1], left.shape[2])
    counts = split_counts(shape, MAX_DEPTH)
    smallest = np.where(counts > 0, np.array(shape) >> counts, max(shape)).min(axis=1)
    tree = Octree.full(shape, int(((smallest >= LEAF_EDGE) & (2 ** counts.sum(axis=1) <= most)).sum()) - 1)
    sums = np.zeros([n + 1 for n in shape], np.int64)
    sums[1:, 1:, 1:] = left.cumsum(0, dtype=np.int64).cumsum(1).cumsum(2)
    n_left = np.zeros(len(tree.split), np.int64)
    for ends in itertools.product((0, 1), repeat=3):
        z, y, x = (np.where(end, tree.stop, tree.start)[:, axis] for axis, end in enumerate(ends))
        n_left += (-1) ** (3 - sum(ends)) * sums[z, y, x]
    split = tree.split & (n_left > 0)
    kept = np.ones(len(split), bool)
    for level in range(1, tree.depth + 1):
        nodes = tree.at_level(level)
        kept[nodes] = split[tree.parent[nodes]]
    adapted = Octree.from_splits(shape, split[kept])
    return adapted, n_left[kept][adapted.leaves]
