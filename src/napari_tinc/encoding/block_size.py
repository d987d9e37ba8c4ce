"""Choose the size of the blocks into which a volume is cut, and of the cells of its overview."""

from __future__ import annotations

import math

import numpy as np

from ..octree import MAX_DEPTH, Octree, split_counts
from ..training.task import Settings
from .sources import VolumeSource
from .survey import LEAST_BLOCK

MOST_AT_ONCE = 2**25  # Larger volumes, in voxels, are neither fitted as one tree nor searched without networks.
EXACT_EDGE = 128  # Blocks without networks are at most this many voxels long.

# A volume is cut for quality's sake only if every block gets this many bytes: smaller ones are worse than one tree.
BLOCK_BYTES = 12_000
BLOCK_VOXELS = 2**22  # Blocks of more voxels are cut further.
WHOLE_SCHEDULE = 128**3  # Blocks of this many voxels or more are trained for all steps of a preset;
SMALL_BLOCK = 64**3  # smaller ones for fewer, by the square root, down to this number of voxels.
OVERVIEW_CELLS = 64  # An overview has at most this many cells along an axis.
OVERVIEW_SHARE = 0.02  # Overviews take this share of the file.
OVERVIEW_BLOCKS = 64  # A file of fewer blocks has no overview.


def block_tree(source: VolumeSource, nbytes: int, settings: Settings, edge: int | None = None) -> Octree:
    """Return the octree whose leaves are the blocks; only a root if one tree of networks is best.

    A volume is cut if every block gets :data:`BLOCK_BYTES` (measured: docs/benchmarks/), if a single fit would take too
    much memory, or if ``edge`` demands it. Chosen levels or widths are those of a single tree.
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
    """Return the voxels along a cell of the overview; 0 for none, if blocks or bytes are few."""
    few = budget and OVERVIEW_SHARE * budget / source.n_volumes < 2 * LEAST_BLOCK  # with a bound there is no budget
    if n_blocks < OVERVIEW_BLOCKS or few:
        return 0
    return int(2 ** math.ceil(math.log2(max(2.0, max(source.shape) / OVERVIEW_CELLS))))


def block_share(n_voxels: int) -> float:
    """Return the share of a preset's steps that a block of so many voxels is trained for."""
    return math.sqrt(min(1.0, max(SMALL_BLOCK, n_voxels) / WHOLE_SCHEDULE))
