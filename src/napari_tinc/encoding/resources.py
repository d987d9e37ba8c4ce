"""What a job needs, memory and disk, before it starts; and a refusal where that is not there.

The figures are measured peaks (docs/benchmarks/), of the whole process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import psutil

from ..octree import Octree
from ..texts import rough_size
from ..training.task import Estimate, Settings, estimate
from .block_size import EXACT_EDGE, MOST_AT_ONCE, block_share, block_tree
from .sources import VolumeSource

PROCESS_BYTES = 4.2e8  # bytes: of Python and torch
BYTES_PER_VOXEL, BYTES_PER_EXACT_VOXEL = 50, 60  # of the largest block, with networks and without
BYTES_PER_WEIGHT = 60  # of its fit
FILE_BYTES_PER_WEIGHT = 5 / 8  # in a file
STATE_BYTES_PER_WEIGHT = 5 * 4  # bytes a weight, that a state of the training takes
USUAL_SHARE = 0.5  # of the raw bytes, that a file within a bound takes, about
MOST_ENCODINGS = 6  # encodings of a search without networks


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


def memory_needed(tree: Octree, source: VolumeSource, nbytes: int, settings: Settings) -> int:
    """Bytes of main memory that compressing in the blocks of a tree takes at most, about; besides the array itself."""
    voxels = int((tree.stop - tree.start)[tree.leaves].prod(axis=1).max())
    if settings.bound is not None:
        return int(PROCESS_BYTES + BYTES_PER_EXACT_VOXEL * voxels + 2 * USUAL_SHARE * source.nbytes)
    weights = nbytes / FILE_BYTES_PER_WEIGHT / (source.n_volumes * len(tree.leaves))
    networks = BYTES_PER_VOXEL * voxels + BYTES_PER_WEIGHT * weights + 3 * nbytes
    searched = 0.0
    if _is_searched(source, settings):  # all of it is read
        searched = 3 * source.nbytes + MOST_ENCODINGS * nbytes + BYTES_PER_EXACT_VOXEL * min(voxels, EXACT_EDGE**3)
    return int(PROCESS_BYTES + max(0 if settings.without_networks else networks, searched))


def disk_needed(tree: Octree, source: VolumeSource, nbytes: int, settings: Settings) -> int:
    """Bytes on the disk for a file, and for what is kept until it is saved; about."""
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
    """Whether a file without networks may be made for a size."""
    return settings.method != "networks" and source.size <= MOST_AT_ONCE


def available_memory() -> float:
    """Bytes that a job can have: what is available, and what this process has of Python and torch already."""
    return psutil.virtual_memory().available + min(psutil.Process().memory_info().rss, PROCESS_BYTES)


def check_memory(needed: int, way_out: str) -> None:
    """ValueError where there is less than needed."""
    free = available_memory()
    if needed > free:
        raise ValueError(
            f"about {rough_size(needed)} of memory needed, {rough_size(free)} free: {way_out}close other programs"
        )


def give_back_memory() -> None:
    """Return what was freed to the system: glibc keeps hundreds of MB that the threads of a job had."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def check_disk(needed: int, folder: Path) -> None:
    """ValueError where the disk of a folder has less room."""
    free = shutil.disk_usage(folder if folder.exists() else os.path.dirname(os.path.abspath(folder))).free
    if needed > free:
        raise ValueError(f"about {rough_size(needed)} needed on the disk of {folder}, {rough_size(free)} free there")
