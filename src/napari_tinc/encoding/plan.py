"""Into which blocks a volume is cut, and what that takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..format import blocks_file
from ..format.blocks_file import BlocksHeader, Payload
from ..format.chunks import Chunk
from ..octree import MAX_DEPTH, Octree, split_counts
from ..training.task import Estimate, Settings, estimate
from .budgets import LEAST_BLOCK
from .resources import EXACT_EDGE, MOST_AT_ONCE, memory_needed
from .sources import VolumeSource

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


def estimate_blocks(source: VolumeSource, nbytes: int, settings: Settings, edge: int | None = None) -> Estimate:
    """What compressing takes, in blocks or as one tree; without looking at the values. Raises as ``estimate`` does."""
    tree = block_tree(source, nbytes, settings, edge)
    n_blocks = source.n_volumes * len(tree.leaves)
    z, y, x = (tree.stop - tree.start)[tree.leaves].max(axis=0).tolist()
    share = block_share(z * y * x) if n_blocks > 1 else 1.0
    one = estimate((z, y, x), nbytes // n_blocks, settings, share)
    return replace(
        one, n_blocks=n_blocks, n_leaves=n_blocks * one.n_leaves, n_parameters=n_blocks * one.n_parameters,
        seconds=n_blocks * one.seconds, memory=memory_needed(tree, source, nbytes, settings),
    )  # fmt: skip


def block_share(n_voxels: int) -> float:
    """The share of a preset's steps that a block of that size is trained for."""
    return math.sqrt(min(1.0, max(SMALL_BLOCK, n_voxels) / WHOLE_SCHEDULE))


def head_bytes(header: BlocksHeader, ancillary: Sequence[Chunk], n_chunks: int) -> int:
    """Of prefix and HEAD of a file with ``n_chunks`` more chunks of less than 2 MiB, and of the ancillary chunks."""
    empty = replace(header, leading=(), edge=0, tree=Octree.full(header.shape, 0))
    bare = len(blocks_file.pack(empty, [], [Payload(b"")], ancillary))
    return bare + 8 * len(header.leading) + len(header.tree.split) // 8 + 8 + 9 * n_chunks
