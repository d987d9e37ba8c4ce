"""Compressing block by block: volumes larger than memory, of channels and points in time, on one machine or many.

    source --survey--> range, detail of each block, overview --shares--> bytes of each block
           --fit_block, in any order, here or on a cluster--> blocks --mosaic--> file

Every block is a fit of its own (pipeline.py), so that its bytes depend on nothing but its voxels and its budget.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import mosaic, storage
from .framing import Ancillary, Chunk, TincError
from .metrics import Quality, psnr
from .mosaic import Mosaic
from .octree import Octree, box_slices, split_counts
from .pipeline import (
    Estimate,
    Finished,
    Preview,
    Settings,
    Task,
    compact,
    estimate,
    figures,
    make_header,
    preview_factor,
    run,
)
from .sources import Source
from .training import Control, Progress
from .tree import Tree, rounded, to_values
from .volume import TincVolume, cell_centres

BLOCK_BYTES = 12_000  # of a block at least, where it is blocks for quality's sake: smaller ones are worse than one tree
MOST_AT_ONCE = 2**25  # voxels that may be a single tree
BLOCK_VOXELS = 2**22  # of a block at most, where there are more
WHOLE_SCHEDULE, SMALL_BLOCK = 128**3, 64**3  # voxels; the steps of a block between these go with their root
DETAIL = 8  # edge of the cells within which a block's detail is measured
OVERVIEW_CELLS, OVERVIEW_SHARE, OVERVIEW_BLOCKS = 64, 0.02, 64  # along an axis, of the file, least blocks for one
LEAST_BLOCK = 450  # bytes that hold a network of a few weights
MEMORY, MEMORY_PER_VOXEL, MEMORY_PER_WEIGHT = 4e8, 40, 60  # bytes: of Python and torch, of a block, of its fit
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """The first event of a compression block by block: what will be done.

    Attributes
    ----------
    n_blocks : in all channels and points in time.
    block_shape : voxels along z, y, x of the largest.
    memory : bytes of main memory needed at most, about.
    """

    n_blocks: int
    block_shape: tuple[int, int, int]
    memory: int


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What is to be compressed block by block, and how.

    Attributes
    ----------
    facts : what the file says; its tree and value range are still to be found.
    extra : ancillary chunks to put into the file.
    edge : voxels along a block at most, None for what suits size and ratio.
    folder : where finished blocks are kept until all are done, so that a job can be resumed; None for nowhere.
    scheduler : address of a dask.distributed scheduler, or its Client; None for this process.
    """

    source: Source
    facts: dict[str, Any]
    extra: list[Chunk]
    settings: Settings
    control: Control = field(default_factory=Control)
    edge: int | None = None
    folder: Path | None = None
    scheduler: Any = None


@dataclass(frozen=True, slots=True)
class Block:
    """A finished block: its file, and its errors in data units; SSIM by the range of the whole volume."""

    data: bytes
    rmse: float
    max_error: float
    ssim: float

    FIGURES = struct.Struct("<3d")

    def pack(self) -> bytes:
        return self.FIGURES.pack(self.rmse, self.max_error, self.ssim) + self.data

    @classmethod
    def parse(cls, data: bytes) -> Block:
        return cls(data[cls.FIGURES.size :], *cls.FIGURES.unpack_from(data))


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What one pass over all voxels tells.

    Attributes
    ----------
    low, high : smallest and largest value of every block, (n_volumes, n_blocks).
    detail : sum of squared differences from the means of small cells, of every block.
    overview : mean of every cell, float64 (n_volumes, z, y, x); None where none is wanted.
    """

    low: NDArray[Any]
    high: NDArray[Any]
    detail: NDArray[np.float64]
    overview: NDArray[np.float64] | None


def block_tree(source: Source, nbytes: int, settings: Settings, edge: int | None = None) -> Octree:
    """The octree whose leaves are the blocks; of the root alone where one tree of networks serves best.

    A volume is cut where blocks of :data:`BLOCK_BYTES` can be afforded (measured: docs/benchmarks.md), where a single
    fit would take too much memory, and where ``edge`` says so. Chosen levels or widths are of a single tree.
    """
    depths = split_counts(source.shape, 12)
    depth = 0
    while (depths[depth + 1] > depths[depth]).any():
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


def memory_needed(tree: Octree, source: Source, nbytes: int) -> int:
    """Bytes of main memory that a fit block by block takes, about."""
    voxels = int((tree.stop - tree.start)[tree.leaves].prod(axis=1).max())
    weights = 8 * nbytes / 5 / (source.n_volumes * len(tree.leaves))
    return int(MEMORY + MEMORY_PER_VOXEL * voxels + MEMORY_PER_WEIGHT * weights + 3 * nbytes)


def run_blocks(
    job: Job, tree: Octree, budget: int, share: float = 1.0
) -> Iterator[Planned | Progress | Preview | Finished]:  # fmt: skip
    """Compress in the blocks of a tree; ends without :class:`Finished` where it is cancelled.

    ``share`` is that of the preset's steps.
    """
    began = time.perf_counter()
    source, control = job.source, job.control
    n_volumes, n_blocks = source.n_volumes, len(tree.leaves)
    z, y, x = (tree.stop - tree.start)[tree.leaves].max(axis=0).tolist()
    yield Planned(n_volumes * n_blocks, (z, y, x), memory_needed(tree, source, budget))
    edge = _overview_edge(source, n_volumes * n_blocks, budget)
    survey = None
    for seen in _survey(source, tree, edge, control):
        if isinstance(seen, Survey):
            survey = seen
        else:
            yield seen
    if survey is None:
        return
    low, high = survey.low.min(), survey.high.max()
    span = float(high) - float(low)
    header = Mosaic(
        tree=tree, dtype=source.dtype, value_range=(low.item(), high.item()), leading=source.leading, edge=edge,
        **job.facts,
    )  # fmt: skip
    overviews: list[bytes] = []
    for event in _fit_overviews(job, survey, budget) if edge else ():
        if isinstance(event, Block):
            overviews.append(event.data)
        else:
            yield event
    if control.cancel.is_set():
        return
    said = compact(job.settings.provenance() | figures(None))
    rest = _head_bytes(header, [*job.extra, Chunk.of(Ancillary.PROVENANCE, said)], n_volumes * (n_blocks + bool(edge)))
    budgets = shares(survey, budget - rest - sum(map(len, overviews)))
    tasks = [
        _BlockTask(source, volume, box_slices(tree.start[leaf], tree.stop[leaf]), int(budgets[volume, index]))
        for volume in range(n_volumes) for index, leaf in enumerate(tree.leaves)
    ]  # fmt: skip
    journal = None if job.folder is None else _Journal(job.folder, _key(job, tree, budgets, survey, share))
    blocks: list[Block] = []
    for found in _fit_all(job, tasks, journal, span, share * block_share(z * y * x)):
        if isinstance(found, list):
            blocks = found
        elif isinstance(found, Progress):
            yield replace(found, seconds=time.perf_counter() - began)
        else:
            yield found
    if control.cancel.is_set():
        return
    quality = _quality(blocks, tasks, span)
    report = Chunk.of(Ancillary.PROVENANCE, compact(job.settings.provenance() | figures(quality)))
    data = mosaic.pack(header, overviews, [block.data for block in blocks], [*job.extra, report])
    if len(data) > budget:
        raise ValueError(
            f"a volume of {source.nbytes} bytes cannot become {budget}: {len(data)} bytes in {len(tasks)} blocks, "
            f"a ratio of {source.nbytes / len(data):.3g}"
        )
    if journal:
        journal.remove()
    quality = replace(quality, ratio=source.nbytes / len(data), bits_per_voxel=8 * len(data) / source.size)
    yield Finished(TincVolume(data), quality, time.perf_counter() - began)


def _overview_edge(source: Source, n_blocks: int, budget: int) -> int:
    """Voxels along a cell of the overview; 0 for none, where there are few blocks or few bytes."""
    if n_blocks < OVERVIEW_BLOCKS or OVERVIEW_SHARE * budget / source.n_volumes < 2 * LEAST_BLOCK:
        return 0
    return int(2 ** math.ceil(math.log2(max(2.0, max(source.shape) / OVERVIEW_CELLS))))


def _fit_all(
    job: Job, tasks: Sequence[_BlockTask], journal: _Journal | None, span: float, share: float
) -> Iterator[Progress | Preview | list[Block]]:
    """All blocks, but those that an earlier run has left; last, unless cancelled, comes the list of them."""
    canvas = _Canvas(job.source)
    done: dict[int, Block] = {}
    for index in range(len(tasks)):
        if journal and (left := journal.read(index)) is not None:
            done[index] = left
    pending = [index for index in range(len(tasks)) if index not in done]
    began = time.perf_counter()
    for event in (_fit_here if job.scheduler is None else _fit_on_cluster)(job, tasks, pending, span, share):
        inner = 0.0
        if isinstance(event, Progress):
            inner = event.step / max(1, event.steps)
        elif isinstance(event, Preview):
            yield canvas.preview([(tasks[index], block) for index, block in done.items()])
            continue
        else:
            index, block = event
            done[index] = block
            if journal:
                journal.write(index, block)
        part = (len(done) - len(tasks) + len(pending) + inner) / len(pending)
        seconds = time.perf_counter() - began
        known = _quality(list(done.values()), [tasks[index] for index in done], span) if done else None
        yield Progress(
            "blocks", len(done), len(tasks), seconds, seconds * (1 - part) / part if part else math.nan,
            (known.rmse / span) ** 2 if known and span else math.nan, known.psnr if known else math.nan,
            sum(len(block.data) for block in done.values()) or None,
        )  # fmt: skip
    if not job.control.cancel.is_set():
        yield [done[index] for index in range(len(tasks))]


def _quality(blocks: Sequence[Block], tasks: Sequence[_BlockTask], span: float) -> Quality:
    """Of all blocks together; without their bytes."""
    voxels = [task.voxels for task in tasks]
    largest = max(block.rmse for block in blocks) or 1.0  # in units of which no square overflows or vanishes
    rmse = largest * math.sqrt(np.average([(block.rmse / largest) ** 2 for block in blocks], weights=voxels))
    ssim = float(np.average([block.ssim for block in blocks], weights=voxels))
    return Quality(psnr(rmse, span), ssim, rmse, max(block.max_error for block in blocks), math.nan, math.nan)


def estimate_blocks(source: Source, nbytes: int, settings: Settings, edge: int | None = None) -> Estimate:
    """What compressing takes, in blocks or as one tree; without looking at the values. Raises as ``estimate`` does."""
    tree = block_tree(source, nbytes, settings, edge)
    n_blocks = source.n_volumes * len(tree.leaves)
    z, y, x = (tree.stop - tree.start)[tree.leaves].max(axis=0).tolist()
    share = block_share(z * y * x) if n_blocks > 1 else 1.0
    one = estimate((z, y, x), nbytes // n_blocks, settings, share)
    return replace(
        one, n_blocks=n_blocks, n_leaves=n_blocks * one.n_leaves, n_parameters=n_blocks * one.n_parameters,
        seconds=n_blocks * one.seconds,
    )  # fmt: skip


def block_share(n_voxels: int) -> float:
    """The share of a preset's steps that a block of that size is trained for."""
    return math.sqrt(min(1.0, max(SMALL_BLOCK, n_voxels) / WHOLE_SCHEDULE))


def shares(survey: Survey, nbytes: float) -> NDArray[np.int64]:
    """Bytes of every block, (n_volumes, n_blocks).

    Where twice the bytes halve the squared error D, D_i = A_i / b_i, the sum of D_i is least for b_i ~ sqrt(A_i) (as
    for any convex D: equal slopes). A_i is taken to be the block's detail.

    Raises
    ------
    ValueError
        If the blocks cannot be made so small.
    """
    flat = survey.low == survey.high
    least = np.where(flat, 120, LEAST_BLOCK)
    left = nbytes - least.sum()
    if left < 0:
        raise ValueError(
            f"{survey.low.size} blocks cannot become {max(0, round(nbytes))} bytes: about {least.sum()} are needed; "
            "ask for a lower ratio, or for larger blocks"
        )
    weight = np.where(flat, 0.0, np.sqrt(survey.detail))
    total = weight.sum()
    return np.floor(least + (left * weight / total if total else 0.0)).astype(np.int64)


def fit_block(values: NDArray[Any], settings: Settings, budget: int, span: float | None, share: float) -> Block:
    """One block from its voxels; a function of its arguments alone, so that any machine may do it."""
    for event in fit_events(values, settings, budget, span, share, Control()):
        if isinstance(event, Block):
            return event
    raise AssertionError("a fit that nobody cancelled ends with a block")


def fit_events(
    values: NDArray[Any], settings: Settings, budget: int, span: float | None, share: float, control: Control
) -> Iterator[Progress | Preview | Block]:
    """The same as a generator, which ends without a block where it is cancelled."""
    values = np.ascontiguousarray(values)
    task = Task(values, make_header(values, settings.form), budget, settings, control=control, span=span, inner=True)
    for event in run(task, share):
        if isinstance(event, Finished):
            found = event.quality
            yield Block(event.volume.parts.data(), found.rmse, found.max_error, found.ssim)
        else:
            yield event


@dataclass(frozen=True, slots=True, eq=False)
class _BlockTask:
    source: Source
    volume: int
    box: tuple[slice, ...]
    budget: int

    @property
    def voxels(self) -> int:
        return math.prod(part.stop - part.start for part in self.box)

    def read(self) -> NDArray[Any]:
        return self.source.read(self.volume, self.box)


def _fit_here(
    job: Job, tasks: Sequence[_BlockTask], pending: Sequence[int], span: float, share: float
) -> Iterator[Progress | Preview | tuple[int, Block]]:
    for index in pending:
        for event in fit_events(tasks[index].read(), job.settings, tasks[index].budget, span, share, job.control):
            if isinstance(event, Block):
                yield index, event
            else:
                yield event
        if job.control.cancel.is_set():
            return


def _fit_on_cluster(
    job: Job, tasks: Sequence[_BlockTask], pending: Sequence[int], span: float, share: float
) -> Iterator[tuple[int, Block]]:
    """One task a block. A few more are handed out than there are workers, as the voxels may travel with them.

    Workers read Zarr and dask arrays themselves; of others they are sent the voxels. The scheduler gives the block of
    a worker that is lost to another one.
    """
    try:
        import distributed
        from dask.delayed import delayed
    except ImportError as error:
        raise ImportError('a scheduler needs dask.distributed: pip install "napari-tinc[distributed]"') from error
    own = isinstance(job.scheduler, str)
    try:
        make: Any = distributed.Client
        client = make(job.scheduler, timeout="10s", set_as_default=False) if own else job.scheduler
    except OSError as error:
        raise ValueError(f"no scheduler answers at {job.scheduler}: {error}") from error
    waiting = list(reversed(pending))
    running: dict[Any, int] = {}
    wait: Any = distributed.wait

    def submit(index: int) -> Any:
        task = tasks[index]
        place = task.source.index(task.volume, task.box)
        array = task.source.array
        arguments = (job.settings, task.budget, span, share)
        if type(array).__module__.startswith("dask."):
            return client.compute(delayed(fit_block, pure=False)(array[place], *arguments))
        if getattr(array, "portable", type(array).__module__.startswith("zarr.")):
            return client.submit(_fit_part, task.source, place, *arguments, pure=False)
        return client.submit(fit_block, task.read(), *arguments, pure=False)

    try:
        while waiting or running:
            most = 2 * max(1, sum(client.nthreads().values()))
            while waiting and len(running) < most:
                index = waiting.pop()
                running[submit(index)] = index
            done: set[Any] = set()
            with contextlib.suppress(TimeoutError), client.as_current():  # wait looks for a client
                done = wait(list(running), timeout=POLL_SECONDS, return_when="FIRST_COMPLETED").done
            if job.control.cancel.is_set():
                return
            for future in sorted(done, key=lambda future: running[future]):
                yield running.pop(future), future.result()
    finally:
        client.cancel(list(running))
        if own:
            client.close()


def _fit_part(
    source: Source, place: tuple[Any, ...], settings: Settings, budget: int, span: float, share: float
) -> Block:
    return fit_block(source.checked(np.asarray(source.array[place])), settings, budget, span, share)


def _survey(source: Source, tree: Octree, edge: int, control: Control) -> Iterator[Progress | Survey]:
    """Read every block once; ends without a :class:`Survey` where it is cancelled."""
    began = time.perf_counter()
    shape = source.n_volumes, len(tree.leaves)
    low, high, detail = np.zeros(shape, source.dtype), np.zeros(shape, source.dtype), np.zeros(shape)
    sums = [np.zeros([-(-n // edge) for n in source.shape]) for _ in range(source.n_volumes)] if edge else []
    for done, (volume, index) in enumerate(np.ndindex(*shape)):
        if control.cancel.is_set():
            return
        start, stop = tree.start[tree.leaves[index]], tree.stop[tree.leaves[index]]
        values = source.read(volume, box_slices(start, stop))
        low[volume, index], high[volume, index] = values.min(), values.max()
        scale = float(np.float64(high[volume, index]) - np.float64(low[volume, index])) or 1.0
        detail[volume, index] = detail_of(values, scale) * scale**2
        if edge:
            cells = [np.unique(np.append(low_, np.arange(-(-low_ // edge) * edge, high_, edge)))
                     for low_, high_ in zip(start.tolist(), stop.tolist(), strict=True)]  # fmt: skip
            part = values.astype(np.float64)
            for axis, edges in enumerate(cells):
                part = np.add.reduceat(part, edges - start[axis], axis=axis)
            sums[volume][tuple(slice(e[0] // edge, e[-1] // edge + 1) for e in cells)] += part
        seconds = time.perf_counter() - began
        n = shape[0] * shape[1]
        yield Progress("reading", done + 1, n, seconds, seconds / (done + 1) * (n - done - 1), math.nan, math.nan, None)
    if not math.isfinite(float(high.max()) - float(low.min())):
        raise ValueError("volume spans more than the largest floating-point number")
    overview = None
    if edge:
        sizes = [np.minimum(np.arange(0, n, edge) + edge, n) - np.arange(0, n, edge) for n in source.shape]
        overview = np.stack(sums) / np.einsum("z,y,x->zyx", *sizes)
    yield Survey(low, high, detail, overview)


def detail_of(values: NDArray[Any], scale: float) -> float:
    """Sum of squared differences from the means of cells of :data:`DETAIL` voxels, in units of ``scale``."""
    total = 0.0
    edges = [np.arange(0, n, DETAIL) for n in values.shape]
    for first in range(0, len(values), DETAIL):
        slab = values[first : first + DETAIL] / scale
        sums = slab.sum(axis=0, keepdims=True)
        count = np.array(float(len(slab)))
        for axis in (1, 2):
            sums = np.add.reduceat(sums, edges[axis], axis=axis)
            length = np.minimum(DETAIL, values.shape[axis] - edges[axis])
            count = count * length.reshape([-1 if a == axis else 1 for a in range(3)])
        total += float(np.vdot(slab, slab) - (sums**2 / count).sum())
    return max(0.0, total)


def _fit_overviews(job: Job, survey: Survey, budget: int) -> Iterator[Progress | Block]:
    assert survey.overview is not None
    each = int(OVERVIEW_SHARE * budget / len(survey.overview))
    for means in survey.overview:
        for event in fit_events(rounded(means, job.source.dtype), job.settings, each, None, 1.0, job.control):
            if isinstance(event, Block):
                yield event
            elif isinstance(event, Progress):
                yield replace(event, phase="overview")


def _head_bytes(header: Mosaic, ancillary: Sequence[Chunk], n_chunks: int) -> int:
    """Of prefix and HEAD of a file with ``n_chunks`` more chunks of less than 2 MiB, and of the ancillary chunks."""
    empty = replace(header, leading=(), edge=0, tree=Octree.full(header.shape, 0))
    bare = len(mosaic.pack(empty, [], [b""], ancillary))
    return bare + 8 * len(header.leading) + len(header.tree.split) // 8 + 8 + 9 * n_chunks


def _key(job: Job, tree: Octree, budgets: NDArray[np.int64], survey: Survey, share: float) -> str:
    """What tells this job's blocks from another's."""
    said = [job.settings.provenance(), job.settings.said(), tree.shape, len(tree.leaves), str(job.source.dtype), share]
    digest = hashlib.sha256(json.dumps(said).encode())
    for array in (budgets, survey.low, survey.high, survey.detail):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


class _Canvas:
    """The volume coarsely, with the blocks that are done; the first, of several channels and points in time."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.factor = preview_factor(source.shape)
        ranges = [range(-(-n // self.factor)) for n in source.shape]
        self.centres = cell_centres(ranges, self.factor, source.shape)
        self.values = np.zeros([len(cells) for cells in ranges], source.dtype)
        self.painted: set[int] = set()

    def preview(self, done: Sequence[tuple[_BlockTask, Block]]) -> Preview:
        for number, (task, block) in enumerate(done):
            if number in self.painted or task.volume:
                continue
            self.painted.add(number)
            cells, local = [], []
            for centre, part in zip(self.centres, task.box, strict=True):
                inside = np.flatnonzero((centre >= part.start) & (centre < part.stop))
                cells.append(inside)
                local.append(centre[inside] - part.start)
            tree = Tree(block.data)
            self.values[np.ix_(*cells)] = to_values(tree.outputs(local), tree.header)
        return Preview(self.values.copy(), self.factor)


class _Journal:
    """Finished blocks in a folder, each a file that is whole or not there."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key
        folder.mkdir(exist_ok=True)

    def path(self, index: int) -> Path:
        return self.folder / f"{self.key}-{index:06d}.block"

    def read(self, index: int) -> Block | None:
        try:
            block = Block.parse(self.path(index).read_bytes())
            Tree(block.data).verify()
        except (FileNotFoundError, struct.error, TincError):
            return None  # to be fitted anew
        return block

    def write(self, index: int, block: Block) -> None:
        storage.save(self.path(index), block.pack())

    def remove(self) -> None:
        """Its own files, and the folder if nothing else is in it."""
        for path in self.folder.glob(f"{self.key}-*.block"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
