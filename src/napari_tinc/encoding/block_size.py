"""Into which blocks a volume is cut, and what that takes."""

from __future__ import annotations

import math

import numpy as np

from ..octree import MAX_DEPTH, Octree, split_counts
from ..training.task import Settings
from .budgets import LEAST_BLOCK
from .sources import VolumeSource

MOST_AT_ONCE = 2**25  # voxels that may be a single tree, or searched without networks
EXACT_EDGE = 128  # voxels along a block without networks, at most

BLOCK_BYTES = 12_000  # of a block at least, where it is blocks for quality's sake: smaller ones are worse than one tree
BLOCK_VOXELS = 2**22  # of a block at most, where there are more
WHOLE_SCHEDULE, SMALL_BLOCK = 128**3, 64**3  # voxels; the steps of a block between these go with their root
OVERVIEW_CELLS, OVERVIEW_SHARE, OVERVIEW_BLOCKS = 64, 0.02, 64  # along an axis, of the file, least blocks for one


def block_tree(source: VolumeSource, nbytes: int, settings: Settings, edge: int | None = None) -> Octree:
    """The octree whose leaves are the blocks; of the root alone where one tree of networks serves best.

    A volume is cut where blocks of :data:`BLOCK_BYTES` can be afforded (measured: docs/benchmarks/), where a single
    fit would take too much memory, and where ``edge`` says so. Chosen levels or widths are of a single tree.
    """
    if settings.without_networks:
        edge = min(edge or EXACT_EDGE, EXACT_EDGE)
    depths = split_counts(source.shape, MAX_DEPTH)
    depth = 0
    while depth < MAX_DEPTH and (depths[depth + 1] > depths[depth]).any():
        extent = np.ceil(np.array(source.shape) / 2.0 ** depths[depth])
        voxels = math.prod(extent)
        most = MOST_AT_ONCE if depth == 0 and not source.leading else BLOCK_VOXELS
        if edge is not None:
            enough = extent.max() <= edge
        else:
            n_blocks = 2 ** int(depths[depth + 1].sum())
            chosen = settings.levels is not None or settings.widths is not None
            enough = voxels <= most and (chosen or nbytes / source.n_volumes / n_blocks < BLOCK_BYTES)
        if enough:
            break
        depth += 1
    return Octree.full(source.shape, depth)


def overview_edge(source: VolumeSource, n_blocks: int, budget: int) -> int:
    """Voxels along a cell of the overview; 0 for none, where there are few blocks or few bytes."""
    few = budget and OVERVIEW_SHARE * budget / source.n_volumes < 2 * LEAST_BLOCK  # no budget where a bound is set
    if n_blocks < OVERVIEW_BLOCKS or few:
        return 0
    return int(2 ** math.ceil(math.log2(max(2.0, max(source.shape) / OVERVIEW_CELLS))))


def block_share(n_voxels: int) -> float:
    """The share of a preset's steps that a block of that size is trained for."""
    return math.sqrt(min(1.0, max(SMALL_BLOCK, n_voxels) / WHOLE_SCHEDULE))
