"""Networks where they pay, in a file that the predictive coder has made: of busy blocks, and of their busy parts only.

The predictive coder codes all blocks under one bound, which gives each the bytes that are worth it: a smooth block
takes some dozen (bounded/background.py). A block whose other voxels get few bits is better with networks. These are
fitted in as many bytes, to the voxels that the background does not hide, and kept if they are better.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..bounded import box as bounded_box
from ..bounded import search as bounded_search
from ..bounded.background import Background, NoBackground
from ..bounded.search import Encoder
from ..control import Check, Control
from ..decoding.block_contents import BlockContents
from ..decoding.bounded_box import BoundedBox
from ..decoding.network_box import NetworkBox
from ..errors import NotWithNetworks
from ..events import Finished, Mark, Preview, Progress
from ..filtering.filter import Filter
from ..format.blocks_file import BlocksHeader
from ..format.quality import span_of
from ..octree import Octree, box_slices
from ..storage.checkpoint import Pieces
from ..training.fit_tree import fit_tree
from ..training.task import Task, make_header
from .block import Block, BlockTask, coded_block
from .blocks import assemble
from .job import EncodingJob
from .stages import is_hopeless, run_stage
from .without_networks import run_in_thread

MOST_BITS = 1.0  # With more bits a voxel, networks were behind the predictive coder (docs/developing/experiments.md).
SURE_BITS = 0.3  # With fewer, networks are fitted at once; with more, after a short fit that comes near enough.
PROBE_SHARE = 0.15  # Share of the preset's steps in a short fit.
LARGEST_GAIN_DB = 3.3  # All steps gained at most so much over a short fit.
LEAST_BYTES = 600  # Networks of fewer bytes are not tried.
UNUSED_SHARE = 0.005  # If networks leave a larger share of the bytes, the predictive coder gets it.
SAFETY_BYTES = 4  # A longer block may take so many bytes more in the table of chunks.


@dataclass(frozen=True, slots=True, eq=False)
class _Coded:
    """A block of the predictive coder that networks may improve.

    Attributes
    ----------
    task : where the block is.
    block : its bytes and errors.
    background : the background that it begins with; None if it has none.
    """

    task: BlockTask
    block: Block
    background: Background | None

    @property
    def n_busy(self) -> int:
        """Voxels that the background does not hide."""
        return math.prod(self.task.shape) - (0 if self.background is None else int(self.background.hidden.sum()))

    @property
    def n_bytes(self) -> int:
        """Bytes of these voxels."""
        return len(self.block.data) - (0 if self.background is None else len(self.background.data))

    @property
    def bits(self) -> float:
        """Bits for each of these voxels."""
        return 8 * self.n_bytes / max(1, self.n_busy)

    @property
    def is_candidate(self) -> bool:
        """Whether networks may be better."""
        return self.n_bytes >= LEAST_BYTES and self.bits < MOST_BITS


def with_networks(job: EncodingJob, budget: int, made: Finished) -> Iterator[Progress | Preview | Finished]:
    """Fit networks to the blocks of a file of the predictive coder, where they may be better.

    :class:`Finished` comes last: the file with the better of both for each block, or the same file if that is always
    the predictive coder. It does not come if the job was cancelled.

    Parameters
    ----------
    budget : largest size of the file.
    made : the file without networks.
    """
    contents = made.volume.parts
    assert isinstance(contents, BlockContents)
    span = span_of(contents.header.value_range)
    coded = list(_coded_blocks(job, contents, span))
    candidates = [index for index, one in enumerate(coded) if one.is_candidate]
    blocks = [one.block for one in coded]
    for done, index in enumerate(candidates):
        if job.control.stop.is_set() and done:
            break
        one = coded[index]
        saved = sum(len(one.block.data) - len(block.data) for one, block in zip(coded, blocks, strict=True))
        spare = max(0, budget - made.volume.nbytes_compressed + saved)
        more = spare * one.n_bytes // sum(coded[other].n_bytes for other in candidates[done:])
        if not any(_is_filtered(block) for other, block in enumerate(blocks) if other != index):
            more += len(contents.header.filter)  # which no block would need any more
        fitted = yield from _fit_networks(job, one, more, span, (done, len(candidates)), f"mixed-{budget}-{index}")
        if job.control.cancel.is_set():
            return
        if fitted is not None and fitted.rmse < one.block.rmse:
            blocks[index] = fitted
    if all(block.crc is not None for block in blocks):
        tried = "networks were better for no block" if candidates else ""
        yield replace(made, reason=tried)
        return
    finished = _built(job, contents.header, blocks)
    spare = budget - finished.volume.nbytes_compressed
    if spare > UNUSED_SHARE * budget and not job.control.stop.is_set():
        finer = yield from run_stage(_finer(job, coded, blocks, contents.header, spare, f"finer-{budget}"))
        if job.control.cancel.is_set():
            return
        if finer is not None and (better := _built(job, contents.header, finer)).volume.nbytes_compressed <= budget:
            finished = better
    n_networks = sum(block.crc is None for block in blocks)
    reason = f"networks are better for {n_networks} of {len(blocks)} block{'s'[: len(blocks) > 1]}"
    yield replace(finished, reason=reason) if finished.volume.nbytes_compressed <= budget else made


def _built(job: EncodingJob, header: BlocksHeader, blocks: Sequence[Block]) -> Finished:
    """Return the file of these blocks; the header is that of the file without networks."""
    needed = header.filter if any(map(_is_filtered, blocks)) else b""
    return assemble(job, replace(header, error_bound=None, filter=needed), [], blocks)


def _finer(
    job: EncodingJob, coded: Sequence[_Coded], blocks: Sequence[Block], header: BlocksHeader, spare: int, name: str
) -> Iterator[Progress | list[Block]]:
    """Encode busy blocks of the predictive coder again, in ``spare`` bytes more. If better, all blocks come last."""
    busy = [
        index for index, (one, block) in enumerate(zip(coded, blocks, strict=True))
        if block.crc is not None and one.n_bytes >= LEAST_BYTES
    ]  # fmt: skip
    if not busy:
        return
    boxes = [coded[index].task.read(job.settings) for index in busy]
    nbytes = sum(len(blocks[index].data) for index in busy) + spare - SAFETY_BYTES * len(busy)
    finish = Filter.parse(header.filter).finish(header.value_range) if header.filter else None
    span = span_of(header.value_range)

    def work(encode: Encoder, check: Check) -> list[Block]:
        """Find the bound, check and measure every box."""
        encoded = bounded_search.encode_to_size(boxes, nbytes, encode)
        reach = encoded.largest_error
        return [
            coded_block(data, box, reach, span, check, finish)
            for data, box in zip(encoded.parts, boxes, strict=True)
        ]  # fmt: skip

    pieces = Pieces(job.journal.under(name))
    with contextlib.suppress(NoBackground):  # of a large block, at a smaller bound than it has: it stays as it is
        for event in run_in_thread(work, boxes, pieces, job.control, time.perf_counter(), is_checked=True):
            if isinstance(event, Progress):
                yield event
                continue
            before = sum(blocks[index].squares for index in busy)
            if sum(block.squares for block in event) < before:
                made = dict(zip(busy, event, strict=True))
                yield [made.get(index, block) for index, block in enumerate(blocks)]


def _is_filtered(block: Block) -> bool:
    """Return whether a block passes the filter of its file, if that has one."""
    return block.crc is not None and bounded_box.is_rounded(block.data)


def _coded_blocks(job: EncodingJob, contents: BlockContents, span: float) -> Iterator[_Coded]:
    """Yield the blocks of a file, with their errors."""
    header = contents.header
    for volume, box in np.ndindex(header.n_volumes, len(contents.start)):
        task = BlockTask(job.source, volume, box_slices(contents.start[box], contents.stop[box]), 0)
        part = contents.part(volume, box)
        assert isinstance(part, BoundedBox)
        values = task.read(job.settings)
        rmse, largest = metrics.rmse_and_largest(values, part.array)
        ssim = 1.0 if rmse == 0 else metrics.ssim(values, part.array, span, job.control.check)
        yield _Coded(task, Block(part.data, rmse, largest, ssim, values.size, part.crc), part.background)


def _fit_networks(
    job: EncodingJob, one: _Coded, more: int, span: float, place: tuple[int, int], name: str
) -> Generator[Progress | Preview, None, Block | None]:
    """Fit networks to a block, in its bytes and some more. None if they cannot be better, or are cancelled.

    ``place`` is the number of the fit, and how many there will be.
    """
    journal = job.journal.under(name)
    if (kept := journal.load("result.done")) is not None:
        return Block(**kept) if kept else None
    values, control = one.task.read(job.settings), job.control
    background = None if one.background is None else one.background.cropped()
    core = values if background is None else values[background.core]
    known = values if background is None else values[~background.hidden]
    header = replace(make_header(known.reshape(1, 1, -1), job.settings.weights_format), tree=Octree.full(core.shape, 0))
    start = b"" if background is None else background.data
    task = Task(
        core, header, len(one.block.data) + more - len(start), job.settings, control=control, span=span,
        background=None if background is None else background.in_core(), is_block=True, journal=journal,
    )  # fmt: skip
    outside, hidden = (0.0, 0.0) if background is None else _squares_of_background(values, background)
    in_core = max(1e-300, one.block.squares - outside)
    wanted = metrics.psnr(math.sqrt(in_core / core.size), span_of(header.value_range))
    data: bytes | None = None
    with contextlib.suppress(NotWithNetworks):
        if one.bits <= SURE_BITS:
            data, _ = yield from _fit(task, 1.0, wanted, place)
        else:
            probe = replace(task, journal=journal.under("probe"))
            data, squares = yield from _fit(probe, PROBE_SHARE, -math.inf, place)
            if data is not None and not control.stop.is_set():
                behind = 10 * math.log10(max(1e-300, squares - hidden) / max(1e-300, in_core - hidden))
                data, _ = (yield from _fit(task, 1.0, wanted, place)) if behind < LARGEST_GAIN_DB else (None, 0.0)
    if control.cancel.is_set():
        return None
    result = None if data is None else _measured(values, NetworkBox(data, background=background), start, span, control)
    if not control.stop.is_set():
        journal.save_result({} if result is None else result.state())
    return result


def _squares_of_background(values: NDArray[Any], background: Background) -> tuple[float, float]:
    """Return the sums of the squared errors of a background: outside the core of its box, and inside that."""
    errors = np.square(np.subtract(values, background.smooth, dtype=np.float64))
    inside = float(errors[background.core][background.hidden[background.core]].sum())
    return float(errors[background.hidden].sum()) - inside, inside


def _measured(values: NDArray[Any], box: NetworkBox, start: bytes, span: float, control: Control) -> Block:
    """Return the block of networks with its errors; ``start`` is the background before them."""
    decoded = box.values([np.arange(n, dtype=np.float64) + 0.5 for n in values.shape])
    rmse, largest = metrics.rmse_and_largest(values, decoded)
    ssim = 1.0 if rmse == 0 else metrics.ssim(values, decoded, span, control.check)
    return Block(start + box.data, rmse, largest, ssim, values.size)


def _fit(
    task: Task, share: float, wanted: float, place: tuple[int, int]
) -> Generator[Progress | Preview, None, tuple[bytes | None, float]]:
    """Fit networks for a share of the preset's steps; return their file, and the sum of its squared errors.

    There is no file if they are given up, as they will not reach the PSNR that is wanted, or cancelled.
    """
    with contextlib.closing(fit_tree(task, share)) as events:
        for event in events:
            if isinstance(event, Finished):
                return event.volume.parts.data(), event.quality.rmse**2 * task.volume.size
            if isinstance(event, Mark):
                if not task.control.stop.is_set() and is_hopeless(event, wanted):
                    return None, 0.0
            elif isinstance(event, Progress):
                yield _overall(event, *place)
            else:
                continue  # a preview of one block is no picture of the volume
    return None, 0.0


def _overall(event: Progress, done: int, count: int) -> Progress:
    """Return the progress of all fits from that of one, as if all took as long."""
    whole = event.seconds + event.seconds_left
    return replace(
        event, seconds=done * whole + event.seconds, seconds_left=event.seconds_left + (count - done - 1) * whole
    )
