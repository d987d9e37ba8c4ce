"""Compress block by block: volumes larger than memory, of channels and points in time, on one machine or many.

    source --survey--> range, detail of each block, overview --bytes_of_blocks--> bytes of each block
           --fit_block, in any order, here or on a cluster--> blocks --assemble--> file

Every block is fitted separately (training/fit_tree.py): its bytes depend only on its voxels and its budget.
"""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from ..control import Control
from ..decoding.volume import TincVolume
from ..devices import cpu_count
from ..errors import NotWithNetworks
from ..events import Finished, Mark, Preview, Progress
from ..format import blocks_file
from ..format.blocks_file import BlocksHeader, Payload
from ..format.chunks import Ancillary, Chunk
from ..format.limits import MAX_FILE
from ..format.metadata import compact
from ..format.quality import pack_errors, span_of
from ..metrics import Quality, psnr, quality_fields
from ..networks.values import rounded
from ..octree import Octree, box_slices
from ..storage.checkpoint import Journal, key_of
from ..training import costs
from ..training.costs import with_later_stages
from ..training.trainer import MARKS
from .block import Block, BlockTask, fit_block_events
from .block_size import OVERVIEW_SHARE, block_share, overview_edge
from .cluster import fit_on_cluster
from .job import EncodingJob
from .preview import Canvas
from .resources import blocks_side_by_side, estimate_blocks
from .survey import Survey, bytes_of_blocks, survey

POLL_SECONDS = 0.1  # Time between two looks at whether the job is cancelled.


def run_blocks(
    job: EncodingJob, tree: Octree, budget: int, share: float = 1.0
) -> Generator[Progress | Mark | Preview | Finished]:  # fmt: skip
    """Compress in the blocks of a tree. No :class:`Finished` comes if it is cancelled.

    Parameters
    ----------
    job : the volume and how to compress it.
    tree : its leaves are the blocks.
    budget : largest size of the file in bytes; 0 if there is a bound on the error.
    share : share of the preset's steps to train for.

    Raises
    ------
    NotWithNetworks
        If the file cannot be as small as the budget.
    """
    began = time.perf_counter()
    source, control = job.source, job.control
    n_volumes, n_blocks = source.n_volumes, len(tree.leaves)
    z, y, x = (tree.stop - tree.start)[tree.leaves].max(axis=0).tolist()
    edge = overview_edge(source, n_volumes * n_blocks, budget)
    exact = job.settings.bound is not None
    if (n_blocks, edge) not in job.surveys:
        for event in survey(
            source, tree, edge, control, finite=not exact, detailed=not exact, labels=job.labels,
            hashed=job.journal.folder is not None,
        ):  # fmt: skip
            if isinstance(event, Survey):
                job.surveys[n_blocks, edge] = event
            elif isinstance(event, Progress):
                yield with_later_stages(event, began, usual_block_seconds(job, tree, budget))
            else:
                yield event
    if control.cancel.is_set():
        return
    surveyed = job.surveys[n_blocks, edge]
    low, high = surveyed.low.min(), surveyed.high.max()
    span = span_of((low, high))
    header = BlocksHeader(
        tree=tree, dtype=source.dtype, value_range=(low.item(), high.item()), leading=source.leading, edge=edge,
        error_bound=job.settings.bound, **job.facts,
    )  # fmt: skip
    overviews: list[Block] = []
    journal = job.journal.under(_stage_name(tree, edge, budget, share, surveyed))
    for made in _fit_overviews(job, surveyed, budget, journal) if edge else ():
        if isinstance(made, Block):
            overviews.append(made)
        else:
            yield made
    if control.cancel.is_set():
        return
    budgets = np.zeros(surveyed.low.shape, np.int64)
    if not exact:
        provenance = Chunk.of(Ancillary.PROVENANCE, compact(job.settings.provenance() | quality_fields(None)))
        n_head_bytes = head_bytes(header, [*job.extra, provenance], n_volumes * (n_blocks + bool(edge)))
        weighed = surveyed if job.importance is None else surveyed.weighed(job.importance.of_blocks(tree))
        budgets = bytes_of_blocks(weighed, budget - n_head_bytes - sum(len(block.data) for block in overviews))
    tasks = [
        BlockTask(
            source, volume, box_slices(tree.start[leaf], tree.stop[leaf]), int(budgets[volume, index]), job.importance
        )
        for volume in range(n_volumes) for index, leaf in enumerate(tree.leaves)
    ]  # fmt: skip
    blocks: list[Block] = []
    for step in _fit_all_blocks(job, tasks, journal, span, share * block_share(z * y * x)):
        if isinstance(step, list):
            blocks = step
        elif isinstance(step, Progress):
            yield replace(step, seconds=time.perf_counter() - began)
        else:
            yield step
    if control.cancel.is_set():
        return
    finished = assemble(job, header, overviews, blocks)
    nbytes = finished.volume.nbytes_compressed
    if nbytes > budget and not exact:
        raise NotWithNetworks(
            f"a volume of {source.nbytes} bytes cannot become {budget}: {nbytes} bytes in {len(tasks)} blocks, "
            f"a ratio of {source.nbytes / nbytes:.3g}"
        )
    yield replace(finished, seconds=time.perf_counter() - began)


def usual_block_seconds(job: EncodingJob, tree: Octree, budget: int) -> float:
    """Return the usual seconds of fitting all blocks, on the machine of :mod:`~.training.costs`."""
    if job.settings.bound is None:
        return estimate_blocks(job.source, budget, job.settings, job.edge).seconds
    sizes = (tree.stop - tree.start)[tree.leaves].prod(axis=1).tolist() * job.source.n_volumes
    return costs.coding_seconds(sizes) + costs.checking_seconds(sizes)


def assemble(
    job: EncodingJob, header: BlocksHeader, overviews: Sequence[Block], blocks: Sequence[Block],
    notes: Mapping[str, str] | None = None,
) -> Finished:  # fmt: skip
    """Build the file of finished blocks, and its quality; PROVENANCE has the ``notes``. The caller sets the seconds."""
    quality = _overall_quality(blocks, span_of(header.value_range))
    provenance = job.settings.provenance() | quality_fields(quality) | dict(notes or {})
    ancillary = [
        *job.extra, Chunk.of(Ancillary.PROVENANCE, compact(provenance)),
        *_quality_chunks(blocks, header.value_range),
    ]  # fmt: skip
    data = blocks_file.pack(header, [b.payload for b in overviews], [b.payload for b in blocks], ancillary)
    source = job.source
    quality = replace(quality, ratio=source.nbytes / len(data), bits_per_voxel=8 * len(data) / source.size)
    return Finished(TincVolume(data), quality, math.nan)


def head_bytes(header: BlocksHeader, ancillary: Sequence[Chunk], n_chunks: int) -> int:
    """Return about the bytes of prefix, HEAD and ancillary chunks.

    ``n_chunks`` is the number of other chunks, which are shorter than 2 MiB.
    """
    empty = replace(header, leading=(), edge=0, tree=Octree.full(header.shape, 0))
    bare = len(blocks_file.pack(empty, [], [Payload(b"")], ancillary))
    return bare + 8 * len(header.leading) + len(header.tree.split) // 8 + 8 + 9 * n_chunks


def _fit_all_blocks(
    job: EncodingJob, tasks: Sequence[BlockTask], journal: Journal, span: float, share: float
) -> Iterator[Progress | Mark | Preview | list[Block]]:
    """Fit all blocks that an earlier run has not left.

    The last event is the list of all blocks, unless it is cancelled.

    A :class:`Mark` has the quality of the first blocks in their own order, in whatever order they are made.
    """
    canvas = Canvas(job.source)
    done: dict[int, Block] = {}
    for index in range(len(tasks)):
        if (kept := journal.load(_block_name(index))) is not None:
            done[index] = Block(**kept)
    pending = [index for index in range(len(tasks)) if index not in done]
    began = time.perf_counter()
    control = job.control
    marked = 0

    def marks() -> Iterator[Mark]:
        """Yield a mark for every further share of blocks that is complete."""
        nonlocal marked
        while marked in done:
            marked += 1
            if marked * MARKS // len(tasks) > (marked - 1) * MARKS // len(tasks):
                yield Mark(marked / len(tasks), _overall_quality([done[i] for i in range(marked)], span).psnr)

    yield from marks()
    shares_done: dict[int, float] = {}  # of the blocks that are being fitted
    events: Iterator[tuple[int, Any]]
    if job.scheduler is not None:
        events = fit_on_cluster(job.scheduler, tasks, pending, job.settings, span, share, control)
    elif (count := blocks_side_by_side(job.settings, tasks, len(pending))) > 1:
        events = _fit_side_by_side(job, tasks, pending, span, share, journal, count)
    else:
        events = _fit_one_by_one(job, tasks, pending, span, share, journal)
    for index, event in events:
        if isinstance(event, Progress):
            total = event.seconds + event.seconds_left
            shares_done[index] = event.seconds / total if total > 0 else 0.0  # nan during the first steps
        elif isinstance(event, Preview):
            yield canvas.preview([(tasks[index], block) for index, block in done.items()])
            continue
        else:
            done[index] = event
            shares_done.pop(index, None)
            if (nbytes := sum(len(block.data) for block in done.values())) > MAX_FILE:
                raise ValueError(
                    f"{len(done)} of {len(tasks)} blocks are {nbytes} bytes, and a file has at most {MAX_FILE}: write "
                    "several files, or allow larger errors"
                )
            if not control.stop.is_set():
                journal.save(_block_name(index), event.state())
                journal.under(f"{index:06d}").remove()
            yield from marks()
        share_done = (len(done) - len(tasks) + len(pending) + sum(shares_done.values())) / len(pending)
        seconds = time.perf_counter() - began
        known = _overall_quality(list(done.values()), span) if done else None
        seconds_left = seconds * (1 - share_done) / share_done if share_done else math.nan
        yield Progress(
            "blocks", len(done), len(tasks), seconds, seconds_left,
            (known.rmse / span) ** 2 if known and span else math.nan, known.psnr if known else math.nan,
            sum(len(block.data) for block in done.values()) or None,
        )  # fmt: skip
    if not control.cancel.is_set():
        yield [done[index] for index in range(len(tasks))]


def _quality_chunks(blocks: Sequence[Block], value_range: tuple[float, float]) -> list[Chunk]:
    """Build QUALITY for blocks of the predictive coder. Blocks with networks have a chunk each."""
    errors = np.array([(block.rmse, block.max_error) for block in blocks if block.crc is not None])
    return [Chunk.of(Ancillary.QUALITY, pack_errors(errors, value_range))] if len(errors) else []


def _overall_quality(blocks: Sequence[Block], span: float) -> Quality:
    """Return the quality of all blocks together, without the ratio."""
    voxels = [block.measured for block in blocks]
    if not any(voxels):
        voxels = [1] * len(blocks)
    largest = max(block.rmse for block in blocks) or 1.0  # in units of which no square overflows or vanishes
    rmse = largest * math.sqrt(np.average([(block.rmse / largest) ** 2 for block in blocks], weights=voxels))
    ssim = float(np.average([block.ssim for block in blocks], weights=voxels))
    return Quality(psnr(rmse, span), ssim, rmse, max(block.max_error for block in blocks), math.nan, math.nan)


def _fit_one_by_one(
    job: EncodingJob, tasks: Sequence[BlockTask], pending: Sequence[int], span: float, share: float, journal: Journal
) -> Iterator[tuple[int, Progress | Preview | Block]]:
    """Fit blocks one by one; yield the index of each and its events."""
    for index in pending:
        for event in fit_block_events(
            tasks[index].read(job.settings), job.settings, tasks[index].budget, span, share, job.control,
            journal.under(f"{index:06d}"), tasks[index].weights(),
        ):  # fmt: skip
            yield index, event
        if job.control.cancel.is_set():
            return


def _fit_side_by_side(
    job: EncodingJob, tasks: Sequence[BlockTask], pending: Sequence[int], span: float, share: float, journal: Journal,
    count: int,
) -> Iterator[tuple[int, Progress | Preview | Block]]:  # fmt: skip
    """Fit ``count`` blocks at a time, in threads; yield the index of each and its events, in any order.

    Voxels are read by the caller's thread. The last blocks, when they are fewer than cores, have several cores each.
    """
    control = Control(stop=job.control.stop, look=job.control.look)  # cancelled also when the caller stops listening
    events: queue.SimpleQueue[tuple[int, Progress | Preview | Block | BaseException | None]] = queue.SimpleQueue()
    waiting, running = list(reversed(pending)), 0

    def fit(index: int, threads: int, *arrays: Any) -> None:
        """Fit one block; send its events, then None or its error."""
        values, weights = arrays
        end: BaseException | None = None
        try:
            for event in fit_block_events(
                values, job.settings, tasks[index].budget, span, share, control,
                journal.under(f"{index:06d}", own_pace=True), weights, threads,
            ):  # fmt: skip
                events.put((index, event))
        except BaseException as error:  # the caller's thread raises it
            end = error
        events.put((index, end))

    with ThreadPoolExecutor(count) as pool:
        try:
            while waiting or running:
                while waiting and running < count:
                    index = waiting.pop()
                    threads = max(1, cpu_count() // min(count, running + 1 + len(waiting)))
                    pool.submit(fit, index, threads, tasks[index].read(job.settings), tasks[index].weights())
                    running += 1
                try:
                    index, event = events.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    event = None
                else:
                    running -= event is None
                if job.control.cancel.is_set():
                    return
                if isinstance(event, BaseException):
                    raise event
                if event is not None:
                    yield index, event
        finally:
            control.cancel.set()  # the threads end at their next step, before the pool is left


def _fit_overviews(
    job: EncodingJob, surveyed: Survey, budget: int, journal: Journal
) -> Iterator[Progress | Preview | Block]:
    """Fit an overview of each volume, from the means of its cells."""
    assert surveyed.overview is not None
    each = int(OVERVIEW_SHARE * budget / len(surveyed.overview))
    settings = job.settings if job.settings.bound is None else job.exact_settings(0.0)
    for number, means in enumerate(surveyed.overview):
        overview_journal = journal.under(f"overview-{number}")
        if (kept := overview_journal.load("result.done")) is not None:
            yield Block(**kept)
            continue
        for event in fit_block_events(
            rounded(means, job.source.dtype), settings, each, None, 1.0, job.control, overview_journal
        ):
            if isinstance(event, Block):
                if not job.control.stop.is_set():
                    overview_journal.save_result(event.state())
                yield event
            elif isinstance(event, Progress):
                yield replace(event, phase="overview")


def _stage_name(tree: Octree, edge: int, budget: int, share: float, surveyed: Survey) -> str:
    """Return a name that differs for stages of a job that fit other blocks."""
    return f"blocks-{key_of(len(tree.leaves), edge, budget, share, surveyed.digest)}"


def _block_name(index: int) -> str:
    """Return the name of a block in a journal."""
    return f"{index:06d}.block"
