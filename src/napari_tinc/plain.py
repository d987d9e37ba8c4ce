"""A volume without networks for a size or a quality: best where there are many bytes a voxel (docs/benchmarks.md).

residual.py codes its blocks, all under one bound, which residual_search.py finds.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from . import residual_search
from .block import BlockTask, coded_block
from .blocks import MOST_AT_ONCE, Job, assemble, block_tree, head_bytes
from .container import WeightsFormat
from .framing import Ancillary, Chunk
from .metrics import psnr
from .mosaic import Mosaic
from .octree import box_slices
from .pipeline import Finished, compact, figures
from .residual_search import Found
from .training import Control, Progress

MOST_RATIO = 300  # beyond, networks were better for every volume that was measured
SAMPLE_EDGE, LARGE = 64, 2**20  # of the two boxes that stand for a volume of more than so many voxels
POLL_SECONDS = 0.2


class _Cancelled(Exception):
    pass


def is_candidate(job: Job, ratio: float) -> bool:
    """Whether to try it: not where the user chose networks, or there is more than can be searched in memory."""
    settings = job.settings
    chosen = settings.levels or settings.widths or settings.form is not WeightsFormat.ENTROPY
    return not chosen and ratio <= MOST_RATIO and job.source.size <= MOST_AT_ONCE


def fit_plain(job: Job, *, nbytes: int | None = None, wanted: float | None = None) -> Iterator[Progress | Finished]:
    """In at most ``nbytes``, or with a PSNR of at least ``wanted``.

    Ends without :class:`Finished` where it is cancelled, or the bytes are too few.
    """
    began = time.perf_counter()
    source = job.source
    tree = block_tree(source, 0, job.exact_settings(0.0), job.edge)
    tasks = [
        BlockTask(source, volume, box_slices(tree.start[leaf], tree.stop[leaf]), 0)
        for volume in range(source.n_volumes) for leaf in tree.leaves
    ]  # fmt: skip
    boxes = [task.read(job.settings) for task in tasks]
    low, high = min(box.min() for box in boxes), max(box.max() for box in boxes)
    span = float(high) - float(low)
    if not 0 < span < math.inf:
        return  # a constant: networks need no search
    header = Mosaic(
        tree=tree, dtype=source.dtype, value_range=(low.item(), high.item()), leading=source.leading, **job.facts
    )

    def search(on_box: Callable[[], None]) -> Found:
        if wanted is not None:
            return residual_search.best_reaching(boxes, wanted, span, on_box)
        assert nbytes is not None
        report = Chunk.of(Ancillary.PROVENANCE, compact(job.settings.provenance() | figures(None)))
        rest = head_bytes(header, [*job.extra, report], len(boxes)) + 24 + 6 * len(boxes)  # VERIFY, QUALITY
        return residual_search.best_within(boxes, max(1, nbytes - rest), on_box)

    found = None
    for event in _watched(search, residual_search.MAX_ENCODES * len(boxes), job.control, began):
        if isinstance(event, Progress):
            yield event
        else:
            found = event
    if found is None:
        return
    bound = found.bound * (1 + 2 * found.dead_zone)
    if np.dtype(source.dtype).kind in "iu":
        bound = float(math.floor(bound))
    blocks = [coded_block(data, box, bound, span) for data, box in zip(found.parts, boxes, strict=True)]
    finished = assemble(job, replace(header, error_bound=bound), [], blocks, tasks)
    if nbytes is not None and finished.volume.nbytes_compressed > nbytes:
        return
    yield Finished(finished.volume, finished.quality, time.perf_counter() - began)


def estimate_plain(job: Job, nbytes: int) -> Iterator[Progress | float]:
    """About the PSNR that :func:`fit_plain` would reach, from two boxes of the volume: a dB or two too low."""
    source = job.source
    if source.size <= LARGE:
        yield math.inf  # as cheap to know
        return
    began = time.perf_counter()
    boxes = []
    for volume in range(source.n_volumes):
        for third in (1, 2):
            middle = [n * third // 3 for n in source.shape]
            place = [
                slice(max(0, at - SAMPLE_EDGE // 2), min(n, at + SAMPLE_EDGE // 2))
                for at, n in zip(middle, source.shape, strict=True)
            ]
            boxes.append(source.read(volume, place))
    span = float(max(box.max() for box in boxes)) - float(min(box.min() for box in boxes))
    share = sum(box.size for box in boxes) / source.size
    found = None
    budget = max(1, round(share * nbytes))
    most = residual_search.MAX_ENCODES * len(boxes)
    for event in _watched(lambda on_box: residual_search.best_within(boxes, budget, on_box), most, job.control, began):
        if isinstance(event, Progress):
            yield event
        else:
            found = event
    yield -math.inf if found is None or not span else psnr(math.sqrt(found.mse), span)


def _watched(
    search: Callable[[Callable[[], None]], Found], most: int, control: Control, began: float
) -> Iterator[Progress | Found]:
    """Run a search in a thread, with progress from here; it ends soon after it is cancelled, or nobody listens."""
    encoded, gone = 0, threading.Event()

    def on_box() -> None:
        nonlocal encoded
        encoded += 1
        if gone.is_set() or control.cancel.is_set():
            raise _Cancelled

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(search, on_box)
        try:
            while not future.done():
                time.sleep(POLL_SECONDS)
                seconds = time.perf_counter() - began
                part = min(1.0, max(encoded, 1) / most)
                left = seconds * (1 - part) / part
                yield Progress("searching", min(encoded, most), most, seconds, left, math.nan, math.nan, None)
        finally:
            gone.set()
        try:
            yield future.result()
        except (_Cancelled, ValueError):
            return  # given up, or out of reach: networks may get there
