"""Compressing: :func:`compress` and :func:`fit`, their arguments checked, and the search for a PSNR."""

from __future__ import annotations

import contextlib
import math
import operator
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import framing, needs
from .allocation import MAX_LEVELS, NotWithNetworks, parse_widths
from .blocks import Job, Planned, block_tree, run_blocks
from .cancel import Cancelled
from .checkpoint import Journal, key_of
from .container import WeightsFormat
from .framing import Ancillary, Chunk
from .locks import while_held
from .pipeline import STEPS, Finished, Preview, Settings, Task, compact, make_header, run
from .plain import estimate_plain, fit_plain, is_candidate
from .sources import Source
from .training import Control, Mark, Progress, n_shards, pick_device
from .volume import TincVolume

LEAST_EDGE = 16  # of a block
FEW_CHUNKS = 8  # that a file has beside blocks and overviews, and to spare
SMALLER_EDGES = (256, 128, 64, 32)  # of blocks, where memory is short
WEIGHTS = {"entropy": WeightsFormat.ENTROPY, "int8": WeightsFormat.INT8, "float16": WeightsFormat.FLOAT16}
LEAST_RATIO, LEAST_BYTES, MOST_ATTEMPTS = 8, 600, 6  # of a search for a PSNR
NEAR_DB, PILOT_SHARE, PILOT_LOSS_DB = 0.1, 0.15, 1.5
SAMPLE_DB = 2.5  # that an estimate from samples may be wrong by
DB_PER_DOUBLING = 3.0  # what twice the bytes buy, roughly
GAIN_DB = 9.0  # over a whole schedule from where its first marks would have it: sim_turbulence at 64 gained 8.6


def compress(
    array: ArrayLike, *, ratio: float | None = None, nbytes: int | None = None, psnr: float | None = None,
    preset: str = "balanced", device: str = "auto", seed: int = 0, spacing: Sequence[float] | None = None,
    units: str | None = None, axis_labels: str | Sequence[str] | None = None, weights: str = "entropy",
    levels: int | None = None, widths: Sequence[int] | None = None, calibration: str = "auto",
    max_error: float | None = None, labels: bool = False, channels: Sequence[Mapping[str, str]] | None = None,
    block: int | None = None,
    resume: str | os.PathLike[str] | None = None, scheduler: Any = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TincVolume:  # fmt: skip
    """Compress a volume.

    Parameters
    ----------
    array : (z, y, x), of an integer dtype up to 32 bits or a float one, all values finite; not to change meanwhile.
        Maybe with axes before these: channels, points in time. Memory maps, Zarr, HDF5 and dask arrays are read block
        by block, if they are larger than :data:`~napari_tinc.blocks.MOST_AT_ONCE` voxels.
    ratio : bytes of the raw array / bytes of the file, 64 if no target is given; the file is 0..3 % smaller.
    nbytes : instead of ``ratio``, the largest size of the file.
    psnr : instead of ``ratio``, the least quality in dB, in the smallest file found that has it, at a ratio of
        8 or more. Takes up to six fits.
    max_error : instead of ``ratio``, how far any voxel may be from the original, in units of the data: 0 for bit for
        bit. Such a file has no networks, and preset and device are of no meaning. NaN and infinite values survive.
    labels : values are names, not intensities; stored in the file. With ``max_error=0`` only; a mask (bool)
        is such anyway.
    preset : "fast", "balanced" or "best": how long to train.
    device : "auto", "cpu", "cuda", "mps", ...
    seed : the same seed on the same machine gives the same bytes, with the same number of CPUs (one counts as two).
    spacing, units : edges of a voxel along z, y, x; stored in the file.
    axis_labels : one letter an axis; None for the last of "qtczyx".
    weights : "entropy" (rounded by rate and distortion, entropy-coded), "int8" or "float16".
    levels : of the octree of networks, 1 to 6; None for what suits the size (two, but for large files).
    widths : features of the nodes of every level from the root, each 1 to 256, such as (48, 16); None for what suits
        the size. Not with ``psnr``.
    calibration : "auto", gains and offsets where they pay, or "none".
    channels : "name" and "color" ("#rrggbb") of every channel; stored in the file.
    block : voxels along the edge of a block at most; None for what suits size and ratio (a single tree, or blocks).
    resume : folder that keeps what is done until all is. The same call goes on where it was interrupted, to the same
        bytes, if the number of CPUs is the same, and forgets at most half a minute of work. One call at a time has it;
        another's raises BlockingIOError.
    scheduler : address of a dask.distributed scheduler (or its Client), whose workers fit the blocks.
    on_progress : called with every :class:`Progress`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not usable, or the size or quality out of reach; the message names what was found and what is
        expected.
    """
    events = fit(
        array, ratio=ratio, nbytes=nbytes, psnr=psnr, preset=preset, device=device, seed=seed, spacing=spacing,
        units=units, axis_labels=axis_labels, weights=weights, levels=levels, widths=widths, calibration=calibration,
        max_error=max_error, labels=labels, channels=channels, block=block, resume=resume, scheduler=scheduler,
    )  # fmt: skip
    volume = None
    for event in events:
        if isinstance(event, Finished):
            volume = event.volume
        if on_progress and isinstance(event, Progress):
            on_progress(event)
    assert volume is not None  # a fit that nobody cancelled ends with Finished
    return volume


def fit(
    array: ArrayLike, *, ratio: float | None = None, nbytes: int | None = None, psnr: float | None = None,
    preset: str = "balanced", device: str = "auto", seed: int = 0, spacing: Sequence[float] | None = None,
    units: str | None = None, axis_labels: str | Sequence[str] | None = None, weights: str = "entropy",
    levels: int | None = None, widths: Sequence[int] | None = None, calibration: str = "auto",
    max_error: float | None = None, labels: bool = False, channels: Sequence[Mapping[str, str]] | None = None,
    block: int | None = None,
    resume: str | os.PathLike[str] | None = None, scheduler: Any = None,
    control: Control | None = None,
) -> Iterator[Progress | Preview | Planned | Finished]:  # fmt: skip
    """Like :func:`compress`, as a generator of events: :class:`Progress`, many times, then :class:`Finished`.

    Arguments are checked before the first event. ``control`` ends it early from another thread: after ``cancel``
    it returns without :class:`Finished`; after ``stop`` it finishes what was learnt so far, in 200 to 600 more steps;
    after ``look`` a :class:`Preview` comes between. The first event is :class:`Planned`.
    """
    source = Source.of(array, exact=max_error == 0)
    budget = _parse_target(source.nbytes, ratio, nbytes, psnr, max_error)
    for name, value, known in (
        ("preset", preset, STEPS), ("weights", weights, WEIGHTS), ("calibration", calibration, ("auto", "none")),
    ):  # fmt: skip
        if value not in tuple(known):
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")
    for name, number in (("seed", seed), ("levels", levels), ("block", block)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, Integral)):
            raise TypeError(f"{name} is {number!r}, expected a whole number")
    seed = operator.index(seed)
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}, expected 0 to {2**32 - 1}")
    if max_error is None:  # else there is nothing for torch to do
        pick_device(device)
    if levels is not None and not 1 <= operator.index(levels) <= MAX_LEVELS:
        raise ValueError(f"levels is {levels}, expected 1 to {MAX_LEVELS}")
    if widths is not None and psnr is not None:
        raise ValueError(f"widths={widths} and psnr={psnr} given, expected one: a search for a PSNR chooses widths")
    chosen = None if widths is None else parse_widths(widths, levels)
    if max_error is not None and (levels, chosen) != (None, None):
        given = f"widths={widths}" if chosen else f"levels={levels}"
        raise ValueError(f"{given} and max_error={max_error} given, expected one: such a file has no networks")
    if block is not None and operator.index(block) < LEAST_EDGE:
        raise ValueError(f"block is {block}, expected at least {LEAST_EDGE} voxels along an edge")
    meta = _parse_meta(source, axis_labels, channels) | _parse_labels(source, labels, max_error)
    job = Job(
        source, _parse_facts(spacing, units), [Chunk.of(Ancillary.META, compact(meta))] if meta else [],
        Settings(preset, seed, device, WEIGHTS[weights], levels, chosen, calibration == "auto",
                 source.size > needs.MOST_AT_ONCE, max_error),
        control or Control(), block, scheduler=scheduler, names=bool(meta.get("labels") or meta.get("bool")),
    )  # fmt: skip
    planned = _plan(job, [budget] if psnr is None else [source.nbytes // 64, source.nbytes // LEAST_RATIO])
    if resume is not None:
        needs.check_disk(planned.disk, Path(resume))
        job = replace(job, journal=Journal(Path(resume), _key(job, budget, psnr)))
        planned = replace(planned, kept=job.journal.kept(), others=job.journal.others())
    events = _run(job, budget) if psnr is None else _reach(job, float(psnr))
    return while_held(resume, _whole(job, planned, events))


def _plan(job: Job, sizes: Sequence[int]) -> Planned:
    """What will be done, for the first of some sizes of the file.

    ValueError where memory is too little for any, or they are more blocks than a file can have.
    """
    source, settings = job.source, job.settings

    def needed(edge: int | None) -> int:
        trees = [block_tree(source, nbytes, settings, edge) for nbytes in sizes]
        return max(needs.memory_needed(*one, settings) for one in zip(trees, [source] * len(sizes), sizes, strict=True))

    tree = block_tree(source, sizes[0], settings, job.edge)
    n_parts = source.n_volumes * (len(tree.leaves) + 1) + FEW_CHUNKS
    if n_parts > framing.MAX_CHUNKS:
        raise ValueError(
            f"{source.n_volumes} volumes of {len(tree.leaves)} blocks given, expected at most {framing.MAX_CHUNKS} "
            "blocks and overviews in a file: ask for larger blocks, or write several files"
        )
    z, y, x = (tree.stop - tree.start)[tree.leaves].max(axis=0).tolist()
    memory, disk = needed(job.edge), needs.disk_needed(tree, source, max(sizes), settings)
    smaller = next(
        (edge for edge in SMALLER_EDGES if edge < max(z, y, x) and needed(edge) <= needs.free_memory()), None
    )
    needs.check_memory(memory, "" if smaller is None else f"ask for smaller blocks (--block {smaller}), or ")
    return Planned(source.n_volumes * len(tree.leaves), (z, y, x), memory, disk)


def _whole(
    job: Job, planned: Planned, events: Iterator[Progress | Preview | Finished]
) -> Iterator[Progress | Preview | Planned | Finished]:  # fmt: skip
    """What will be done, and the doing of it."""
    yield planned
    try:
        with contextlib.suppress(Cancelled):
            for event in events:
                yield event
                if isinstance(event, Finished):  # saved by now, if who asked for it saves it before asking for more
                    job.journal.remove()
    finally:
        needs.give_back_memory()


def _key(job: Job, budget: int, psnr: float | None) -> str:
    """What tells this job from others: all that the bytes of its file depend on."""
    said: list[Any] = [job.settings.provenance(), job.settings.said(), budget, psnr, job.edge, job.facts, job.names]
    if job.settings.bound is None:
        said += [pick_device(job.settings.device).type, n_shards()]
    source = job.source
    said += [source.leading, source.shape, str(source.dtype), source.fingerprint()]
    return key_of(*said, *(chunk.payload for chunk in job.extra))


def _run(job: Job, budget: int) -> Iterator[Progress | Preview | Finished]:
    """The better of a file with networks and one without, where both are possible."""
    if job.settings.bound is None and is_candidate(job, job.source.nbytes / budget):
        return _better(job, budget)
    return _with_networks(job, budget)


def _better(job: Job, budget: int) -> Iterator[Progress | Preview | Finished]:
    """Networks are given up as soon as they cannot come up to a file without any; that is made if it may be better."""
    began = time.perf_counter()
    expected = -math.inf
    for sign in estimate_plain(job, budget):
        if isinstance(sign, float):
            expected = sign
        else:
            yield sign
    best = None
    if math.isinf(expected) and expected > 0:
        for event in fit_plain(job, nbytes=budget):
            if isinstance(event, Finished):
                best, expected = event, event.quality.psnr
            elif isinstance(event, Progress):
                yield event
    if job.control.cancel.is_set():
        return
    if best is None and expected > 0 and math.isinf(expected):
        expected = -math.inf  # it cannot be made
    plain = best
    try:
        for found in _with_networks(job, budget, wanted=expected - (0 if plain else SAMPLE_DB)):
            if isinstance(found, Finished):
                best = max(best or found, found, key=lambda finished: finished.quality.psnr)
            else:
                yield found
    except NotWithNetworks:
        if math.isinf(expected):
            raise
    if job.control.cancel.is_set():
        return
    better = best is None or (not job.control.stop.is_set() and expected + SAMPLE_DB > best.quality.psnr)
    if plain is None and better:
        for event in fit_plain(job, nbytes=budget):
            if isinstance(event, Finished):
                best = max(best or event, event, key=lambda finished: finished.quality.psnr)
            elif isinstance(event, Progress):
                yield event
    if best is None and not job.control.cancel.is_set():
        again = replace(job, journal=job.journal.under("again"))  # the first has kept that they were given up
        yield from _with_networks(again, budget)  # for what could not be made after all
    elif best and not job.control.cancel.is_set():
        yield replace(best, seconds=time.perf_counter() - began)


def _is_hopeless(mark: Mark, wanted: float) -> bool:
    """Whether a fit under way will not come up to a PSNR: what is left of its schedule gives a few dB."""
    return mark.done >= 0.3 and mark.psnr + GAIN_DB * (1 - mark.done) + 1 < wanted


def _with_networks(
    job: Job, budget: int, share: float = 1.0, wanted: float = -math.inf
) -> Iterator[Progress | Preview | Finished]:  # fmt: skip
    """One fit, as one tree or in blocks; given up without :class:`Finished` where it will not come up to a PSNR."""
    tree = block_tree(job.source, budget, job.settings, job.edge)
    if len(tree.leaves) > 1 or job.source.leading or job.settings.bound is not None:
        return _unless_hopeless(run_blocks(job, tree, budget, share), wanted, job.control, Journal())
    volume = job.source.read(0, (slice(None),) * 3)
    header = make_header(volume, job.settings.form, **job.facts)
    journal = job.journal.under(f"tree-{budget}-{share}")
    task = Task(volume, header, budget, job.settings, job.extra, job.control, journal=journal)
    return _unless_hopeless(run(task, share), wanted, job.control, journal)


def _unless_hopeless(
    events: Generator[Progress | Mark | Preview | Finished], wanted: float, control: Control, journal: Journal
) -> Iterator[Progress | Preview | Finished]:  # fmt: skip
    if (left := journal.load("result.done")) is not None:
        if left:
            yield Finished.restored(left)
        return
    with contextlib.closing(events):
        for event in events:
            if isinstance(event, Mark):
                if not control.stop.is_set() and _is_hopeless(event, wanted):  # after stop, what there is will do
                    journal.save_result({})
                    return
            else:
                if isinstance(event, Finished) and not control.stop.is_set():
                    journal.save_result(event.state())
                yield event


def _reach(job: Job, wanted: float) -> Iterator[Progress | Preview | Finished]:
    """Fits of several sizes, until one is of the wanted PSNR and hardly better.

    First comes a file without networks. Only if networks are better in as many bytes, their size is searched: PSNR is
    taken to be linear in log2(bytes) between the fits nearest to what is wanted.
    """
    began = time.perf_counter()
    raw, control = job.source.nbytes, job.control
    best = None
    for event in fit_plain(job, wanted=wanted) if is_candidate(job, LEAST_RATIO) else ():
        if isinstance(event, Finished):
            best = event
        else:
            yield event
    if control.cancel.is_set():
        return
    plain = best
    tried: list[tuple[float, float]] = []  # log2(bytes), PSNR of whole fits
    n_blocks = job.source.n_volumes * len(block_tree(job.source, LEAST_BYTES, job.settings, job.edge).leaves)
    least = math.log2(LEAST_BYTES * n_blocks)
    most = max(least, math.log2(raw / LEAST_RATIO))
    size = min(most, max(least, math.log2(best.volume.nbytes_compressed if best else raw / 64)))
    for attempt in range(1, MOST_ATTEMPTS + 1):
        if best and (control.stop.is_set() or math.isinf(best.quality.psnr)):
            break
        finished = None
        pilot = attempt == 1 and not plain
        enough = wanted if plain and not tried else -math.inf  # only then a smaller file is there
        try:
            for found in _with_networks(job, round(2**size), PILOT_SHARE if pilot else 1.0, enough):
                if isinstance(found, Finished):
                    finished = replace(found, seconds=time.perf_counter() - began)
                elif isinstance(found, Progress):
                    yield replace(found, attempt=attempt)
                else:
                    yield found
        except NotWithNetworks:
            if best is None:
                raise
        if control.cancel.is_set():
            return
        if finished is None:
            break  # given up, or too small for networks
        reached = finished.quality.psnr
        if reached >= wanted and (best is None or finished.volume.nbytes_compressed < best.volume.nbytes_compressed):
            best = finished
        if control.stop.is_set() or 0 <= reached - wanted <= NEAR_DB or math.isinf(reached):
            best = best or finished
            break
        if pilot:
            size += (wanted - reached - PILOT_LOSS_DB) / DB_PER_DOUBLING
        else:
            tried.append((size, reached))
            if plain and len(tried) == 1 and reached < wanted:
                break  # more bytes than without networks
            if (size >= most and reached < wanted) or (size <= least and reached >= wanted):
                break
            size = _size_for(wanted + NEAR_DB / 2, tried)
        size = min(most, max(least, size))
    if best is None:
        size, reached = max(tried)
        raise ValueError(
            f"a PSNR of {wanted:g} dB was not reached: {reached:.2f} dB in {round(2**size)} bytes, a ratio of "
            f"{raw / 2**size:.3g}"
        )
    yield replace(best, seconds=time.perf_counter() - began)


def _size_for(wanted: float, tried: list[tuple[float, float]]) -> float:
    """log2(bytes) of that PSNR, from the two fits nearest to it, or from one and the usual slope."""
    (size, reached), *others = sorted(tried, key=lambda fit: abs(fit[1] - wanted))
    slope = DB_PER_DOUBLING
    if others and abs(size - others[0][0]) > 1e-3:
        slope = min(8.0, max(1.0, (reached - others[0][1]) / (size - others[0][0])))
    return size + (wanted - reached) / slope


def _parse_target(
    raw: int, ratio: float | None, nbytes: int | None, psnr: float | None, max_error: float | None
) -> int:  # fmt: skip
    """The largest size of the file; 0, of no meaning, where a PSNR or a bound is the target."""
    given = {"ratio": ratio, "nbytes": nbytes, "psnr": psnr, "max_error": max_error}
    named = [f"{name}={value}" for name, value in given.items() if value is not None]
    for name, value in given.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
            raise TypeError(f"{name} is {value!r}, expected a number")
    if len(named) > 1:
        raise ValueError(f"{len(named)} targets given, {' and '.join(named)}; expected one")
    if psnr is not None and not 1 <= psnr <= 120:
        raise ValueError(f"psnr is {psnr}, expected 1 to 120 dB")
    if max_error is not None and not 0 <= max_error < math.inf:
        raise ValueError(f"max_error is {max_error}, expected 0 or more")
    if psnr is not None or max_error is not None:
        return 0
    if nbytes is None:
        ratio = 64.0 if ratio is None else float(ratio)
        if not (math.isfinite(ratio) and ratio >= 1):
            raise ValueError(f"ratio is {ratio}, expected at least 1")
        budget = max(1, math.floor(raw / ratio))
    elif not 1 <= nbytes < math.inf:
        raise ValueError(f"nbytes is {nbytes}, expected at least 1")
    else:
        budget = min(int(nbytes), raw + 1024)  # more buys nothing but time; a header has to fit all the same
    if budget > framing.MAX_FILE:
        raise ValueError(f"a file of {budget} bytes asked for, expected at most {framing.MAX_FILE}: a higher ratio")
    return budget


def _parse_facts(spacing: Sequence[float] | None, units: str | None) -> dict[str, Any]:
    if spacing is not None:
        try:
            spacing = tuple(float(s) for s in spacing)
        except (TypeError, ValueError):
            raise TypeError(f"spacing is {spacing!r}, expected three positive numbers: z, y, x") from None
        if len(spacing) != 3 or not all(framing.MIN_SPACING <= s <= framing.MAX_SPACING for s in spacing):
            raise ValueError(f"spacing is {spacing}, expected three positive numbers: z, y, x")
    elif units:
        spacing = (1.0, 1.0, 1.0)
    if units is not None and not isinstance(units, str):
        raise TypeError(f"units is {units!r}, expected text like 'mm'")
    if units and (len(units.encode()) > framing.MAX_UNIT or not units.isprintable()):
        raise ValueError(f"units is {units!r}, expected at most {framing.MAX_UNIT} bytes of printable text")
    return {"spacing": spacing, "unit": units or ""}


def _parse_labels(source: Source, labels: bool, max_error: float | None) -> dict[str, Any]:
    if not labels:
        return {}
    dtype = np.dtype(source.array.dtype)
    if max_error != 0 or dtype.kind not in "iu":
        raise ValueError(
            f"labels of {dtype} with max_error={max_error}, expected integers and max_error=0: names are exact"
        )
    return {"labels": True}


def _parse_meta(
    source: Source, axis_labels: str | Sequence[str] | None, channels: Sequence[Mapping[str, str]] | None
) -> dict[str, Any]:
    """What META says, empty where that is what a reader takes for granted."""
    meta: dict[str, Any] = {}
    ndim = len(source.leading) + 3
    usual = "qtc"[3 - len(source.leading) :] + "zyx"
    text = usual if axis_labels is None else "".join(axis_labels)
    if len(text) != ndim or len(set(text)) != ndim:
        raise ValueError(f"axis_labels is {axis_labels!r}, expected {ndim} different letters")
    if text != usual:
        meta["axes"] = text
    if np.dtype(source.array.dtype).kind == "b":
        meta["bool"] = True
    if channels:
        count = source.leading[text.index("c")] if "c" in text[:-3] else 0
        if len(channels) != count:
            raise ValueError(f"channels names {len(channels)}, expected {count}: the length of axis c")
        meta["channels"] = [{str(key): str(value) for key, value in channel.items()} for channel in channels]
    return meta
