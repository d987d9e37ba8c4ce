"""What a job needs: time, memory and disk, estimated before it starts; and a refusal if there is not enough.

The figures are measured peaks of the whole process (docs/benchmarks/).
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from ..devices import cpu_count, pick_device
from ..octree import Octree
from ..texts import rough_size
from ..training.task import Estimate, Settings, estimate
from .block import BlockTask
from .block_size import EXACT_EDGE, MOST_AT_ONCE, block_share, block_tree
from .sources import VolumeSource

PROCESS_BYTES = 4.2e8  # Python takes this much memory, with PyTorch or with blocks that are fitted side by side,
BARE_PROCESS_BYTES = 2.1e8  # and this much without.
BYTES_PER_VOXEL = 50  # Fitting networks takes this much for each voxel of the largest block,
BYTES_PER_EXACT_VOXEL = 60  # and the predictive coder this much.
BYTES_PER_WEIGHT = 60  # Training takes this much for each weight.
FILE_BYTES_PER_WEIGHT = 5 / 8  # A weight takes this much of a file.
STATE_BYTES_PER_WEIGHT = 5 * 4  # A state of the training on disk takes this much for each weight.
USUAL_SHARE = 0.5  # A file within a bound takes about this share of the raw bytes.
MOST_ENCODINGS = 6  # A search without networks keeps this many encodings.
# A job within a bound on a volume of fewer voxels gives no memory back: tens of MB, which the next job would ask the
# system for again. That takes a fifth of the time of a small volume.
LEAST_GIVEN_BACK = 2**23
KEPT_BYTES = 2**25 - 2**14  # Just below the size from which glibc's thresholds no longer follow what was freed.


def estimate_blocks(source: VolumeSource, nbytes: int, settings: Settings, edge: int | None = None) -> Estimate:
    """Estimate what compressing with networks takes, in blocks or as one tree, without the values.

    Raises
    ------
    ValueError
        If the chosen widths do not fit.
    """
    tree = block_tree(source, nbytes, settings, edge)
    n_blocks = source.n_volumes * len(tree.leaves)
    z, y, x = (tree.stop - tree.start)[tree.leaves].max(axis=0).tolist()
    share = block_share(z * y * x) if n_blocks > 1 else 1.0
    one = estimate((z, y, x), nbytes // n_blocks, settings, share)
    return replace(
        one, n_blocks=n_blocks, n_leaves=n_blocks * one.n_leaves, n_parameters=n_blocks * one.n_parameters,
        seconds=n_blocks * one.seconds, memory=memory_needed(tree, source, nbytes, settings),
    )  # fmt: skip


def memory_needed(tree: Octree, source: VolumeSource, nbytes: int, settings: Settings) -> int:
    """Return about the bytes of main memory that compressing takes at most, besides the array itself.

    Parameters
    ----------
    tree : its leaves are the blocks.
    nbytes : size of the file; of no meaning if the settings have a bound.
    """
    voxels = int((tree.stop - tree.start)[tree.leaves].prod(axis=1).max())
    if settings.bound is not None:
        return int(PROCESS_BYTES + BYTES_PER_EXACT_VOXEL * voxels + 2 * USUAL_SHARE * source.nbytes)
    weights = nbytes / FILE_BYTES_PER_WEIGHT / (source.n_volumes * len(tree.leaves))
    networks = BYTES_PER_VOXEL * voxels + BYTES_PER_WEIGHT * weights + 3 * nbytes
    searched = 0.0
    if _is_searched(source, settings):  # the whole volume is in memory
        searched = 3 * source.nbytes + MOST_ENCODINGS * nbytes + BYTES_PER_EXACT_VOXEL * min(voxels, EXACT_EDGE**3)
    return int(PROCESS_BYTES + max(0 if settings.without_networks else networks, searched))


def blocks_side_by_side(settings: Settings, tasks: Sequence[BlockTask], n_blocks: int) -> int:
    """Return how many of ``n_blocks`` blocks are fitted side by side: one a core, if they keep to the memory needed.

    One at a time on a GPU.
    """
    if not settings.without_networks and pick_device(settings.device) != "cpu":
        return 1
    voxels = max((math.prod(task.shape) for task in tasks), default=1)
    bytes_per_voxel = BYTES_PER_EXACT_VOXEL if settings.without_networks else BYTES_PER_VOXEL
    further = (PROCESS_BYTES - BARE_PROCESS_BYTES) / (bytes_per_voxel * voxels)
    return max(1, min(cpu_count(), n_blocks, 1 + int(further)))


def disk_needed(tree: Octree, source: VolumeSource, nbytes: int, settings: Settings) -> int:
    """Return about the bytes on the disk for the file, and for what is kept until it is saved."""
    if settings.bound is not None:
        return int(2 * USUAL_SHARE * source.nbytes)
    weights = nbytes / FILE_BYTES_PER_WEIGHT / (source.n_volumes * len(tree.leaves))
    return int(
        2 * nbytes
        + STATE_BYTES_PER_WEIGHT * weights
        + 2**21
        + (MOST_ENCODINGS * nbytes if _is_searched(source, settings) else 0)
    )


def _is_searched(source: VolumeSource, settings: Settings) -> bool:
    """Return whether a file without networks may be made for a size."""
    return settings.method != "networks" and source.size <= MOST_AT_ONCE


def available_memory() -> float:
    """Return the bytes that a job can have: free memory, and what this process has of Python and libraries already."""
    return psutil.virtual_memory().available + min(psutil.Process().memory_info().rss, PROCESS_BYTES)


def check_memory(needed: int, way_out: str) -> None:
    """Raise ValueError if less memory is available than needed. ``way_out`` says what to do."""
    free = available_memory()
    if needed > free:
        raise ValueError(
            f"about {rough_size(needed)} of memory needed, {rough_size(free)} free: {way_out}close other programs"
        )


def keep_freed_memory() -> None:
    """Let glibc keep up to 64 MB of freed memory, as it does by itself once an array of 32 MB was freed.

    Else a small volume's arrays are given back to the system one by one, and asked for again. No page is touched.
    """
    np.empty(KEPT_BYTES, np.uint8)


def give_back_memory(source: VolumeSource, settings: Settings) -> None:
    """Return freed memory to the system, if a job had much: glibc keeps hundreds of MB that its threads had."""
    if sys.platform == "linux" and (settings.bound is None or source.size >= LEAST_GIVEN_BACK):
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def check_disk(needed: int, folder: Path) -> None:
    """Raise ValueError if the disk of a folder has less room than needed."""
    free = shutil.disk_usage(folder if folder.exists() else os.path.dirname(os.path.abspath(folder))).free
    if needed > free:
        raise ValueError(f"about {rough_size(needed)} needed on the disk of {folder}, {rough_size(free)} free there")
