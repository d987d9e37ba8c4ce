"""Compressing: :func:`compress` and :func:`fit`, and the checks of their arguments."""

from __future__ import annotations

import contextlib
import math
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..control import Cancelled
from ..decoding.volume import TincVolume
from ..format import head
from ..format.head import Ancillary, Chunk
from ..format.networks_file import WeightsFormat
from ..storage.checkpoint import Journal, key_of
from ..storage.locks import while_held
from ..training.allocation import MAX_LEVELS, parse_widths
from ..training.fit_tree import METHODS, STEPS, Finished, Preview, Settings, compact
from ..training.trainer import Control, Progress, n_shards, pick_device
from . import resources
from .blocks import Job, Planned, block_tree
from .choice import run_for_size, settled_method
from .psnr_search import LEAST_RATIO, reach
from .sources import Source

LEAST_EDGE = 16  # of a block
FEW_CHUNKS = 8  # that a file has beside blocks and overviews, and to spare
SMALLER_EDGES = (256, 128, 64, 32)  # of blocks, where memory is short
WEIGHTS = {"entropy": WeightsFormat.ENTROPY, "int8": WeightsFormat.INT8, "float16": WeightsFormat.FLOAT16}


def compress(
    array: ArrayLike, *, ratio: float | None = None, nbytes: int | None = None, psnr: float | None = None,
    preset: str = "balanced", device: str = "auto", seed: int = 0, spacing: Sequence[float] | None = None,
    units: str | None = None, axis_labels: str | Sequence[str] | None = None, weights: str = "entropy",
    levels: int | None = None, widths: Sequence[int] | None = None, calibration: str = "auto",
    max_error: float | None = None, labels: bool = False, channels: Sequence[Mapping[str, str]] | None = None,
    method: str = "auto", block: int | None = None,
    resume: str | os.PathLike[str] | None = None, scheduler: Any = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TincVolume:  # fmt: skip
    """Compress a volume.

    Parameters
    ----------
    array : (z, y, x), of an integer dtype up to 32 bits or a float one, all values finite; not to change meanwhile.
        Maybe with axes before these: channels, points in time. Memory maps, Zarr, HDF5 and dask arrays are read block
        by block, if they are larger than :data:`~napari_tinc.encoding.blocks.MOST_AT_ONCE` voxels.
    ratio : bytes of the raw array / bytes of the file, 64 if no target is given; the file is 0..3 % smaller.
    nbytes : instead of ``ratio``, the largest size of the file.
    psnr : instead of ``ratio``, the least quality in dB, in the smallest file found that has it, at a ratio of
        8 or more. Takes up to six fits.
    max_error : instead of ``ratio``, how far any voxel may be from the original, in units of the data: 0 for bit for
        bit. Such a file has no networks, and preset and device are of no meaning. NaN and infinite values survive.
    labels : values are names, not intensities; stored in the file. With ``max_error=0`` only; a mask (bool)
        is such anyway.
    method : "networks" for an octree of networks, whatever else may be better. "predictive" for a file without
        networks, whose blocks the predictive coder codes, for a volume of at most
        :data:`~napari_tinc.encoding.resources.MOST_AT_ONCE` voxels; with ``max_error`` that is what happens anyway.
        "auto" for the better of the two; networks where only they can serve, or ``widths``, ``levels`` or ``weights``
        are chosen.
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
        max_error=max_error, labels=labels, channels=channels, method=method, block=block, resume=resume,
        scheduler=scheduler,
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
    method: str = "auto", block: int | None = None,
    resume: str | os.PathLike[str] | None = None, scheduler: Any = None,
    control: Control | None = None,
) -> Iterator[Progress | Preview | Planned | Finished]:  # fmt: skip
    """Like :func:`compress`, as a generator of events: :class:`Progress`, many times, then :class:`Finished`.

    Arguments are checked before the first event. ``control`` ends it early from another thread: after ``cancel``
    it returns without :class:`Finished`; after ``stop`` it finishes what was learnt so far, in 200 to 600 more steps;
    after ``look`` a :class:`Preview` comes between. The first event is :class:`Planned`.
    """
    if method == "networks":
        _check_networks(array, max_error, labels)
    source = Source.of(array, exact=max_error == 0)
    budget = _parse_target(source.nbytes, ratio, nbytes, psnr, max_error)
    for name, value, known in (
        ("method", method, METHODS), ("preset", preset, STEPS), ("weights", weights, WEIGHTS),
        ("calibration", calibration, ("auto", "none")),
    ):  # fmt: skip
        if value not in tuple(known):
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")
    for name, number in (("seed", seed), ("levels", levels), ("block", block)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, Integral)):
            raise TypeError(f"{name} is {number!r}, expected a whole number")
    seed = operator.index(seed)
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}, expected 0 to {2**32 - 1}")
    if max_error is None and method != "predictive":  # else there is nothing for torch to do
        pick_device(device)
    if levels is not None and not 1 <= operator.index(levels) <= MAX_LEVELS:
        raise ValueError(f"levels is {levels}, expected 1 to {MAX_LEVELS}")
    if widths is not None and psnr is not None:
        raise ValueError(f"widths={widths} and psnr={psnr} given, expected one: a search for a PSNR chooses widths")
    chosen = None if widths is None else parse_widths(widths, levels)
    if max_error is not None or method == "predictive":
        other = f"max_error={max_error}" if max_error is not None else f"method={method!r}"
        _check_without_networks(source, other, max_error, levels=levels, widths=widths, weights=weights)
    if block is not None and operator.index(block) < LEAST_EDGE:
        raise ValueError(f"block is {block}, expected at least {LEAST_EDGE} voxels along an edge")
    meta = _parse_meta(source, axis_labels, channels) | _parse_labels(source, labels, max_error)
    job = Job(
        source, _parse_facts(spacing, units), [Chunk.of(Ancillary.META, compact(meta))] if meta else [],
        Settings(preset, seed, device, WEIGHTS[weights], levels, chosen, calibration == "auto",
                 source.size > resources.MOST_AT_ONCE, max_error, method),
        control or Control(), block, scheduler=scheduler, names=bool(meta.get("labels") or meta.get("bool")),
    )  # fmt: skip
    planned = _plan(job, [budget] if psnr is None else [source.nbytes // 64, source.nbytes // LEAST_RATIO])
    if resume is not None:
        resources.check_disk(planned.disk, Path(resume))
        job = replace(job, journal=Journal(Path(resume), _key(job, budget, psnr)))
        planned = replace(planned, kept=job.journal.kept(), others=job.journal.others())
    events = run_for_size(job, budget) if psnr is None else reach(job, float(psnr))
    return while_held(resume, _whole(job, planned, events))


def _plan(job: Job, sizes: Sequence[int]) -> Planned:
    """What will be done, for the first of some sizes of the file; 0, of no meaning, where a bound is the target.

    ValueError where memory is too little for any, or they are more blocks than a file can have.
    """
    source, settings = job.source, job.settings

    def needed(edge: int | None) -> int:
        trees = [block_tree(source, nbytes, settings, edge) for nbytes in sizes]
        return max(
            resources.memory_needed(*one, settings) for one in zip(trees, [source] * len(sizes), sizes, strict=True)
        )

    tree = block_tree(source, sizes[0], settings, job.edge)
    n_parts = source.n_volumes * (len(tree.leaves) + 1) + FEW_CHUNKS
    if n_parts > head.MAX_CHUNKS:
        raise ValueError(
            f"{source.n_volumes} volumes of {len(tree.leaves)} blocks given, expected at most {head.MAX_CHUNKS} "
            "blocks and overviews in a file: ask for larger blocks, or write several files"
        )
    z, y, x = (tree.stop - tree.start)[tree.leaves].max(axis=0).tolist()
    memory, disk = needed(job.edge), resources.disk_needed(tree, source, max(sizes), settings)
    smaller = next(
        (edge for edge in SMALLER_EDGES if edge < max(z, y, x) and needed(edge) <= resources.free_memory()), None
    )
    resources.check_memory(memory, "" if smaller is None else f"ask for smaller blocks (--block {smaller}), or ")
    method = settled_method(job, source.nbytes / max(1, *sizes))
    return Planned(source.n_volumes * len(tree.leaves), (z, y, x), memory, disk, method=method)


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
        resources.give_back_memory()


def _key(job: Job, budget: int, psnr: float | None) -> str:
    """What tells this job from others: all that the bytes of its file depend on."""
    said: list[Any] = [job.settings.provenance(), job.settings.said(), budget, psnr, job.edge, job.facts, job.names]
    if not job.settings.without_networks:
        said += [pick_device(job.settings.device).type, n_shards()]
    source = job.source
    said += [source.leading, source.shape, str(source.dtype), source.fingerprint()]
    return key_of(*said, *(chunk.payload for chunk in job.extra))


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
    if budget > head.MAX_FILE:
        raise ValueError(f"a file of {budget} bytes asked for, expected at most {head.MAX_FILE}: a higher ratio")
    return budget


def _check_networks(array: ArrayLike, max_error: float | None, labels: bool) -> None:
    """ValueError where networks are asked for, and what they cannot do."""
    given = f"max_error={max_error}" if max_error is not None else "labels=True" if labels else ""
    dtype = getattr(array, "dtype", None)
    if not given and dtype is not None and np.dtype(dtype).kind == "b":
        given = "a bool volume"
    if given:
        raise ValueError(
            f"{given} and method='networks' given, expected one: networks keep no bound; the predictive coder does"
        )


def _check_without_networks(
    source: Source, other: str, max_error: float | None, *, levels: int | None, widths: Sequence[int] | None,
    weights: str,
) -> None:  # fmt: skip
    """ValueError where networks are described for a file that has none, or the volume is too large to search."""
    described = {"widths": widths, "levels": levels, "weights": weights if max_error is None else "entropy"}
    for name, value in described.items():
        if value is not None and value != "entropy":
            raise ValueError(f"{name}={value!r} and {other} given, expected one: such a file has no networks")
    if max_error is None and source.size > resources.MOST_AT_ONCE:
        raise ValueError(
            f"{source.size} voxels and {other} given, expected at most {resources.MOST_AT_ONCE}: the search for a size "
            "or a PSNR holds all of them in memory. Ask for max_error, or for networks"
        )


def _parse_facts(spacing: Sequence[float] | None, units: str | None) -> dict[str, Any]:
    if spacing is not None:
        try:
            spacing = tuple(float(s) for s in spacing)
        except (TypeError, ValueError):
            raise TypeError(f"spacing is {spacing!r}, expected three positive numbers: z, y, x") from None
        if len(spacing) != 3 or not all(head.MIN_SPACING <= s <= head.MAX_SPACING for s in spacing):
            raise ValueError(f"spacing is {spacing}, expected three positive numbers: z, y, x")
    elif units:
        spacing = (1.0, 1.0, 1.0)
    if units is not None and not isinstance(units, str):
        raise TypeError(f"units is {units!r}, expected text like 'mm'")
    if units and (len(units.encode()) > head.MAX_UNIT or not units.isprintable()):
        raise ValueError(f"units is {units!r}, expected at most {head.MAX_UNIT} bytes of printable text")
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
