"""Compress without networks, for a size or a PSNR. This is best at low ratios (docs/benchmarks/).

bounded/box.py codes the blocks, all within one bound, which bounded/search.py finds.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..bounded import search as bounded_search
from ..bounded.background import NoBackground, background_cells
from ..bounded.joining import join_cut_parts, may_be_joined
from ..bounded.search import EncodedBox, Encoder
from ..bounded.shaping import reach
from ..bounded.workers import side_by_side
from ..control import Check, Control
from ..errors import Cancelled
from ..events import Finished, Progress
from ..filtering.search import Encoded, FilteredSearch
from ..format.blocks_file import BlocksHeader
from ..format.chunks import Ancillary, Chunk
from ..format.metadata import compact
from ..metrics import psnr, quality_fields
from ..octree import Octree, box_slices
from ..storage.checkpoint import Pieces
from ..training import costs
from .block import Block, BlockTask, coded_block
from .block_size import MOST_AT_ONCE, block_tree
from .blocks import assemble, head_bytes
from .job import EncodingJob
from .regions.weighed_boxes import WeighedBoxes

MOST_RATIO = 300  # Above this ratio, networks were better for every volume that was measured.
LARGE_VOLUME = 2**20  # A volume of more voxels is judged by boxes in it,
N_SAMPLES = 2  # of this number
SAMPLE_EDGE = 64  # and this edge.
SMOOTH_BOUND = 0.03  # Share of the range. At a larger bound any part of a volume looks smooth.
LEAST_SMOOTH = 0.4  # A volume whose background fills less is better as one tree of networks than in blocks.
POLL_SECONDS = 0.2  # Time between two events of progress.

T = TypeVar("T")


class NotPredictive(ValueError):
    """The predictive coder cannot compress this volume, or not to this size."""


def is_candidate(job: EncodingJob, ratio: float) -> bool:
    """Return whether to try the predictive coder.

    Not if the user chose networks, or the volume is too large to search.
    """
    settings = job.settings
    chosen = (
        settings.method != "auto" or settings.levels or settings.widths or not settings.weights_format.is_entropy_coded
    )
    return not chosen and ratio <= MOST_RATIO and job.source.size <= MOST_AT_ONCE


def usual_seconds(job: EncodingJob) -> float:
    """Return the usual seconds of :func:`fit_without_networks`, on the machine of :mod:`~.training.costs`."""
    tree = block_tree(job.source, 0, job.exact_settings(0.0), job.edge)
    sizes = (tree.stop - tree.start)[tree.leaves].prod(axis=1).tolist() * job.source.n_volumes
    return costs.USUAL_ROUNDS * costs.coding_seconds(sizes) + costs.checking_seconds(sizes)


def usual_sample_seconds(job: EncodingJob) -> float:
    """Return the usual seconds of coding one box of :func:`forecast_without_networks` once."""
    return costs.coding_seconds([math.prod(min(SAMPLE_EDGE, n) for n in job.source.shape)])


def fit_without_networks(
    job: EncodingJob, *, nbytes: int | None = None, wanted: float | None = None
) -> Iterator[Progress | Finished]:
    """Make a file of at most ``nbytes``, or with a PSNR of at least ``wanted`` dB. No file comes if it is cancelled.

    Raises
    ------
    NotPredictive
        If the bytes are too few; if values span more than the largest floating-point number; or if they are constant,
        unless the method is "predictive": networks need no search for a constant.
    """
    tree = block_tree(job.source, 0, job.exact_settings(0.0), job.edge)
    joined = tree if job.edge or job.importance is not None else _joined(job, tree, nbytes, wanted)
    try:
        yield from _fit_blocks(job, joined, nbytes, wanted, "plain" if joined is tree else "joined")
    except NoBackground:  # at a smaller bound than was expected
        yield from _fit_blocks(job, tree, nbytes, wanted, "plain")


def _joined(job: EncodingJob, tree: Octree, nbytes: int | None, wanted: float | None) -> Octree:
    """Return the tree with blocks joined where that takes fewer bytes."""
    boxes = _finite_boxes(job, tree) if may_be_joined(tree) else None
    if boxes is None:
        return tree
    if nbytes is not None:
        bound = bounded_search.estimate_bound(boxes, nbytes)
    else:
        assert wanted is not None
        span = float(max(box.max() for box in boxes)) - float(min(box.min() for box in boxes))
        bound = span * 10 ** (-(wanted - bounded_search.UNIFORM_ERROR_DB) / 20)
    reads = [partial(_read, job, volume) for volume in range(job.source.n_volumes)]
    return join_cut_parts(tree, reads, _smooth_bound(boxes, bound))


def _read(job: EncodingJob, volume: int, box: tuple[slice, ...]) -> NDArray[Any]:
    """Read a box of a volume, if the job was not cancelled."""
    job.control.check()
    return job.source.read(volume, box)


def _finite_boxes(job: EncodingJob, tree: Octree) -> list[NDArray[Any]] | None:
    """Read the boxes of all leaves, of one volume after another; None if a value is not finite."""
    boxes = [
        _read(job, volume, box_slices(tree.start[leaf], tree.stop[leaf]))
        for volume in range(job.source.n_volumes) for leaf in tree.leaves
    ]  # fmt: skip
    return boxes if all(np.isfinite(box).all() for box in boxes) else None


def _fit_blocks(
    job: EncodingJob, tree: Octree, nbytes: int | None, wanted: float | None, name: str
) -> Iterator[Progress | Finished]:
    """Make a file of these blocks, as :func:`fit_without_networks` does; NoBackground if one would be too large."""
    began = time.perf_counter()
    source = job.source
    journal = job.journal.under(f"{name}-{nbytes or wanted}")
    if (kept := journal.load("result.done")) is not None:
        yield Finished.restored(kept)
        return
    pieces = Pieces(journal)
    tasks = [
        BlockTask(source, volume, box_slices(tree.start[leaf], tree.stop[leaf]), 0)
        for volume in range(source.n_volumes) for leaf in tree.leaves
    ]  # fmt: skip
    boxes = [task.read(job.settings) for task in tasks]
    weighed = None
    if job.importance is not None:
        weighed = WeighedBoxes([job.importance.bound_steps(task.volume, task.box) for task in tasks])
    low, high = min(box.min() for box in boxes), max(box.max() for box in boxes)
    span = float(high) - float(low)
    if not span < math.inf:
        raise NotPredictive("volume spans more than the largest floating-point number: ask for max_error")
    if not span and job.settings.method != "predictive":
        raise NotPredictive("volume is constant")
    header = BlocksHeader(
        tree=tree, dtype=source.dtype, value_range=job.value_range or (low.item(), high.item()),
        leading=source.leading, **job.facts,
    )  # fmt: skip

    provenance = Chunk.of(Ancillary.PROVENANCE, compact(job.settings.provenance() | quality_fields(None)))
    n_other_bytes = head_bytes(header, [*job.extra, provenance], len(boxes)) + 24 + 6 * len(boxes)  # VERIFY, QUALITY

    def search(encode: Encoder, check: Check) -> Encoded:
        """Find the bound, encode all boxes within it, and fit the filter that they pass, if one pays."""
        if not span:
            return bounded_search.encode_lossless(boxes, encode), None
        fits = job.settings.calibrate and not job.labels
        filtered = FilteredSearch(boxes, header.value_range, encode, pieces, check, fits=fits)
        if wanted is not None:
            return filtered.to_psnr(wanted)
        assert nbytes is not None
        return filtered.to_size(max(1, nbytes - n_other_bytes))

    def work(encode: Encoder, check: Check) -> Finished:
        """Search, then check and measure every box, and build the file."""
        encoded, filter_ = search(encode, check)
        finish = None if filter_ is None else filter_.finish(header.value_range)
        bounds = [reach(encoded.bound, encoded.dead_zone)] * len(boxes)
        if weighed is not None:
            bounds = [
                weighed.reach(index, encoded.bound, encoded.dead_zone, source.dtype) for index in range(len(boxes))
            ]

        def block(index: int) -> Block:
            """Return a finished block, from an earlier run if there is one."""
            if (kept := pieces.get(f"block {index}")) is not None:
                return Block(**kept)
            made = coded_block(encoded.parts[index], boxes[index], bounds[index], span, check, finish)
            pieces.put(f"block {index}", made.state())
            return made

        blocks = side_by_side(len(boxes), block)
        largest = max(block.max_error for block in blocks)  # 0 would promise every bit
        notes = {}
        if filter_ is not None:
            largest = max(largest, *bounds)  # holds with the filter and without it
            notes = {"filter": _gained(encoded.mse, blocks)}
        packed = filter_.pack() if filter_ is not None else b""
        file_header = replace(header, error_bound=largest or max(bounds), filter=packed)
        finished = assemble(job, file_header, [], blocks, notes)
        return replace(finished, seconds=time.perf_counter() - began)

    try:
        for event in run_in_thread(work, boxes, pieces, job.control, began, is_checked=True, weighed=weighed):
            if isinstance(event, Finished):
                _check_size(source.nbytes, event.volume.nbytes_compressed, nbytes)
                journal.save_result(event.state())
            yield event
    except bounded_search.OutOfReach as error:
        _check_size(source.nbytes, n_other_bytes + error.nbytes, nbytes)


def _gained(mse: float, blocks: Sequence[Block]) -> str:
    """Return the dB by which a filter lowers the mean squared error of all blocks, as PROVENANCE has it."""
    filtered = sum(block.squares for block in blocks) / sum(block.measured for block in blocks)
    known = 0 < mse < math.inf and 0 < filtered < math.inf
    return f"{10 * math.log10(mse / filtered) if known else 0:.3f}"


def _check_size(raw: int, least: int, nbytes: int | None) -> None:
    """Raise NotPredictive if a file takes more bytes than it may."""
    if nbytes is not None and least > nbytes:
        raise NotPredictive(
            f"a volume of {raw} bytes cannot become {nbytes} without networks: the smallest file is about {least} "
            f"bytes, a ratio of {raw / least:.3g}. Ask for a lower ratio, or for networks"
        )


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is known of a file without networks before it is made.

    Attributes
    ----------
    kind : "cheap" if making the file costs no more than a forecast, or nothing can be better; "sampled" if boxes of the
        volume were coded; "none" if these could not be coded, so that networks may be all there is.
    psnr : dB that the file will have, by the boxes; a dB or two too low.
    is_smooth : whether a background fills most of the volume.
    """

    kind: Literal["cheap", "sampled", "none"]
    psnr: float = -math.inf
    is_smooth: bool = False


def _smooth_bound(boxes: Sequence[NDArray[Any]], bound: float) -> float:
    """Return the bound at which a background has to be as good: at a large one, anything is smooth."""
    span = float(max(box.max() for box in boxes)) - float(min(box.min() for box in boxes))
    return min(bound, SMOOTH_BOUND * span)


def is_mostly_smooth(job: EncodingJob, nbytes: int) -> bool:
    """Return whether a background would fill most of the volume, so that blocks of different kinds are best."""
    boxes = _finite_boxes(job, block_tree(job.source, 0, job.exact_settings(0.0), job.edge))
    if boxes is None:
        return False
    bound = _smooth_bound(boxes, bounded_search.estimate_bound(boxes, max(1, nbytes)))
    shares = []
    for box in boxes:
        job.control.check()
        shares.append(float(background_cells(box, bound).mean()))
    return bool(np.average(shares, weights=[box.size for box in boxes]) >= LEAST_SMOOTH)


def forecast_without_networks(job: EncodingJob, nbytes: int) -> Iterator[Progress | Forecast]:
    """Forecast the PSNR of :func:`fit_without_networks` from two boxes of each volume.

    No forecast comes if it is cancelled.
    """
    source = job.source
    is_smooth = is_mostly_smooth(job, nbytes)
    if source.size <= LARGE_VOLUME or is_smooth:
        yield Forecast("cheap", is_smooth=is_smooth)
        return
    began = time.perf_counter()
    boxes = []
    for volume in range(source.n_volumes):
        for number in range(1, N_SAMPLES + 1):
            middle = [n * number // (N_SAMPLES + 1) for n in source.shape]
            place = [
                slice(max(0, at - SAMPLE_EDGE // 2), min(n, at + SAMPLE_EDGE // 2))
                for at, n in zip(middle, source.shape, strict=True)
            ]
            boxes.append(source.read(volume, place))
    span = float(max(box.max() for box in boxes)) - float(min(box.min() for box in boxes))
    if not 0 < span < math.inf:
        yield Forecast("none")
        return
    share = sum(box.size for box in boxes) / source.size
    budget = max(1, round(share * nbytes))
    pieces = Pieces(job.journal.under(f"sample-{nbytes}"))

    def work(encode: Encoder, _: Check) -> Forecast:
        """Find the PSNR of the boxes in their share of the bytes."""
        try:
            reached = psnr(math.sqrt(bounded_search.encode_to_size(boxes, budget, encode).mse), span)
        except bounded_search.OutOfReach:
            return Forecast("none")
        return Forecast("sampled", reached) if math.isfinite(reached) else Forecast("cheap")

    yield from run_in_thread(work, boxes, pieces, job.control, began, is_checked=False)


@dataclass(slots=True)
class _Search:
    """The progress of a search on boxes.

    Attributes
    ----------
    sizes : voxels of every box.
    is_checked : whether the result is decoded and measured in the end.
    begun, done : boxes coded, in all rounds.
    done_at : seconds when the last of them was done.
    """

    sizes: list[int]
    is_checked: bool
    begun: int = 0
    done: int = 0
    done_at: float = 0.0

    def progress(self, seconds: float) -> Progress:
        """Return the progress after so many seconds."""
        most = bounded_search.MAX_ENCODES * len(self.sizes)
        seconds_left = self.seconds_left(seconds)
        return Progress(
            "searching", min(max(self.begun, 1), most), most, seconds, seconds_left, math.nan, math.nan, None
        )

    def seconds_left(self, seconds: float) -> float:
        """Return the seconds expected until the end of the search, after so many seconds."""
        n, usual = len(self.sizes), costs.coding_seconds(self.sizes)
        a_round = n * self.done_at / self.done if self.done else max(usual, n * seconds)
        checks = a_round / usual * costs.checking_seconds(self.sizes) if self.is_checked else 0.0
        rounds = self.done / n
        if self.done < self.begun or not self.done:  # else the search is over
            rounds = max(costs.USUAL_ROUNDS, self.done // n + 1)
        return max(0.0, rounds * a_round + checks - seconds)


def run_in_thread(
    work: Callable[[Encoder, Check], T], boxes: Sequence[NDArray[Any]], pieces: Pieces, control: Control, began: float,
    *, is_checked: bool, weighed: WeighedBoxes | None = None,
) -> Iterator[Progress | T]:  # fmt: skip
    """Work on boxes in a thread, and yield progress from this one.

    It ends soon after it is cancelled, or the caller stops.

    Boxes that an earlier run has encoded are among the ``pieces``. Voxels have the bounds of ``weighed`` boxes.
    """
    search, abandoned = _Search([box.size for box in boxes], is_checked), threading.Event()
    lock = threading.Lock()  # boxes are encoded side by side

    def check() -> None:
        """Raise Cancelled if the work was cancelled or abandoned."""
        if abandoned.is_set():
            raise Cancelled
        control.check()

    def encode(index: int, bound: float, taper: int, dead_zone: float) -> EncodedBox:
        """Encode a box, or return it from an earlier run."""
        with lock:
            search.begun += 1
        name = f"{index} {bound.hex() if bound else 0} {taper} {dead_zone}"
        if (kept := pieces.get(name)) is not None:
            coded = EncodedBox(**kept)
        else:
            encode_box = bounded_search.encode_box if weighed is None else partial(weighed.encode, index)
            coded = encode_box(boxes[index], bound, taper, dead_zone, check)
            pieces.put(name, asdict(coded))
        with lock:
            search.done, search.done_at = search.done + 1, time.perf_counter() - began
        return coded

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work, encode, check)
        try:
            while not wait([future], POLL_SECONDS).done:
                yield search.progress(time.perf_counter() - began)
        finally:
            abandoned.set()
        try:
            yield future.result()
        except Cancelled:
            del future  # its error holds the boxes and this frame, a cycle
