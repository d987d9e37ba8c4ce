"""Join blocks between which a busy part of a volume is cut.

A block knows nothing of the voxels beyond it. So a busy part takes more bytes if it is cut into several, and a smooth
background (background.py) takes none, however large it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..octree import Octree, box_slices
from .background import CELL, MAX_VOXELS, background_cells

LEAST_HIDDEN = 0.75  # Blocks become one if a background hides this share of it,
MOST_BUSY = 2**21  # if no more voxels are left, so that it is decoded as fast as others,
LEAST_CUT = 0.03  # and if at least this share of the busy cells are at a cut: the bytes that it costs are about that.


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
    starts = tree.start[tree.parent == parent] - tree.start[parent]
    cuts = [np.unique(of_axis[of_axis > 0]) // CELL for of_axis in starts.T]
    n_cells = n_busy = n_cut = 0
    for read in reads:
        values = read(box_slices(tree.start[parent], tree.stop[parent]))
        if not np.isfinite(values).all():
            return False
        busy = ~background_cells(values, bound)
        n_cells, n_busy = n_cells + busy.size, n_busy + int(np.count_nonzero(busy))
        n_cut += sum(int(np.count_nonzero(np.take(busy, at, axis))) for axis, at in enumerate(cuts))
    is_small = n_busy * CELL**3 <= MOST_BUSY * len(reads)
    return is_small and n_busy <= (1 - LEAST_HIDDEN) * n_cells and n_cut >= max(1, LEAST_CUT * n_busy)
