""":func:`compress` and :func:`fit`: from an array to a compressed volume."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..compiled import is_kept
from ..control import Control
from ..decoding.volume import TincVolume
from ..devices import pick_device
from ..errors import Cancelled
from ..events import Finished, Planned, Preview, Progress
from ..format import limits
from ..io.read_options import say
from ..networks.compiled_code import COMPILED_CODE
from ..storage.checkpoint import Journal, key_of
from ..storage.locks import while_held
from ..training.task import Settings
from ..training.trainer import n_shards
from . import block_size, resources
from .block_size import block_tree
from .choice import run_for_size, settled_method
from .job import EncodingJob
from .options import TARGETS, Options, ancillary_of, checked_source
from .psnr_search import LEAST_RATIO, reach_psnr
from .regions.exact import ExactRegion, run_with_region
from .regions.fill_search import NoMeasurements, find_no_measurements, unmasked
from .regions.importance import Importance
from .sources import VolumeSource

FEW_CHUNKS = 8  # Chunks that a file has besides blocks and overviews, with some to spare.
SMALLER_EDGES = (256, 128, 64, 32)  # Sizes of blocks that are suggested if memory is too small.


def compress(
    array: ArrayLike, *, ratio: float | None = None, nbytes: int | None = None, psnr: float | None = None,
    preset: str = "balanced", device: str = "auto", seed: int = 0, spacing: Sequence[float] | None = None,
    units: str | None = None, axis_labels: str | Sequence[str] | None = None, weights: str = "entropy",
    levels: int | None = None, widths: Sequence[int] | None = None, calibration: str = "auto",
    max_error: float | None = None, labels: bool = False, channels: Sequence[Mapping[str, str]] | None = None,
    placement: Any = None, details: Any = None, method: str = "auto", block: int | None = None,
    resume: str | os.PathLike[str] | None = None, scheduler: Any = None,
    exact: ArrayLike | None = None, exact_max_error: float = 0.0, importance: ArrayLike | None = None,
    fill: float | Sequence[float] | str | None = "auto", options: Options | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TincVolume:  # fmt: skip
    """Compress a volume.

    Parameters
    ----------
    array : (z, y, x), of an integer dtype of up to 32 bits or a float dtype, all values finite. It must not change
        during the call. Axes before z, y, x are channels or points in time. Memory maps, Zarr, HDF5 and dask arrays of
        more than :data:`~napari_tinc.encoding.block_size.MOST_AT_ONCE` voxels are read block by block.
    ratio : bytes of the raw array / bytes of the file; 64 if no target is given. The file is never larger. Most are 0
        to 5 % smaller; files of a few kilobytes may be up to 30 % smaller.
    nbytes : instead of ``ratio``, the largest size of the file.
    psnr : instead of ``ratio``, the lowest PSNR in dB, 1 to 120. The smallest file that is found has it, at a ratio of
        8 or more. This takes up to six fits.
    max_error : instead of ``ratio``, the largest difference of any voxel from the original, in units of the data; 0 for
        bit for bit. Such a file has no networks, and preset and device are ignored. NaN and infinite values are kept.
    labels : whether values are labels, not intensities; stored in the file. This needs ``max_error=0``. A mask (bool)
        is always treated as labels.
    method : "networks" for an octree of networks; "predictive" for the predictive coder, for at most
        :data:`~napari_tinc.encoding.block_size.MOST_AT_ONCE` voxels; "auto" for the better of the two. "auto" takes
        networks if only they can make the file, or if ``widths``, ``levels`` or ``weights`` are given. ``max_error``
        always takes the predictive coder.
    preset : "fast", "balanced" or "best": how long to train.
    device : "auto", "cpu", "cuda", "mps", ...
    seed : 0 to 4,294,967,295. The same seed gives the same bytes on the same machine with the same number of CPUs (one
        counts as two).
    spacing, units : edges of a voxel along z, y, x, and their unit; stored in the file.
    axis_labels : a letter for each axis; None for the last of "qtczyx".
    weights : how weights are stored: "entropy" (rounded during training, entropy-coded), "int8" or "float16".
    levels : levels of the octree of networks, 1 to 6; None for what suits the size (two, except in large files).
    widths : features of the nodes of every level from the root, each 1 to 256, such as (48, 16); None for what suits
        the size. Not with ``psnr``.
    calibration : "auto" for gains and offsets of networks, or a filter of blocks without networks, if they are worth
        their bytes; or "none".
    channels : "name", "color" ("#rrggbb") and "window" (black and white: "0 255") of every channel; stored in the file.
    placement : where the voxels lie: a :class:`~napari_tinc.format.placement.Placement`, or a matrix 4 x 4 that takes
        voxel (z, y, x, 1) to the world, in units of the spacing; stored in the file.
    details : time step, contrast limits, names: a :class:`~napari_tinc.format.details.Details`, or its fields;
        stored in the file as far as they take a hundredth of it.
    block : voxels along the edge of a block at most, 16 or more; None for what suits size and ratio (one tree, or
        blocks).
    resume : folder that keeps finished work until the file is complete. If the call is interrupted, the same call
        continues from there, loses at most half a minute of work, and makes the same bytes if the number of CPUs is the
        same. Only one call at a time can use it; another raises BlockingIOError.
    scheduler : address of a dask.distributed scheduler (or its Client), whose workers fit the blocks.
    exact : a mask, not 0 inside: these voxels are kept bit for bit, whatever the method and the ratio are. Of the
        volume's shape, or of its z, y, x for all channels and points in time. Its bytes are part of the file's.
    exact_max_error : instead of bit for bit, the largest difference of a voxel of ``exact`` from the original.
    importance : weights of the squared errors, each 0 or more, of the shapes that ``exact`` may have: where they are
        large, voxels are closer to the original, at the cost of the others.
    fill : values that stand for no measurement, such as a padding of -32768: a number, several, None for none, or
        "auto" for one that is far from all others. These voxels, NaN and infinite values are kept exactly, and left out
        of the range, PSNR and SSIM.
    options : :class:`Options`, instead of all keywords above.
    on_progress : called with every :class:`Progress`.

    Returns
    -------
    The compressed volume, in memory.

    Raises
    ------
    ValueError, TypeError
        If an argument cannot be used, or the size or PSNR cannot be reached. The message has the value that was given
        and what is expected.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tinc as tinc
    >>> z, y, x = np.indices((24, 32, 32))
    >>> array = (100 + 50 * np.sin(z / 5) * np.cos(y / 7) * np.sin(x / 6)).astype(np.uint8)
    >>> volume = tinc.compress(array, ratio=16, preset="fast")
    >>> volume.nbytes_compressed <= array.nbytes / 16
    True
    >>> volume.save("cells.tinc")

    Bit for bit, as a mask or labels should be:

    >>> exact = tinc.compress(array, max_error=0)
    >>> np.array_equal(exact, array)
    True
    """
    given = Options(
        ratio=ratio, nbytes=nbytes, psnr=psnr, preset=preset, device=device, seed=seed, spacing=spacing,
        units=units, axis_labels=axis_labels, weights=weights, levels=levels, widths=widths, calibration=calibration,
        max_error=max_error, labels=labels, channels=channels, placement=placement, details=details, method=method,
        block=block, resume=resume, scheduler=scheduler,
        exact=exact, exact_max_error=exact_max_error, importance=importance, fill=fill,
    )  # fmt: skip
    if options is not None and (given != Options() or exact is not None or importance is not None):
        raise TypeError("options and other keywords given, expected one: dataclasses.replace changes options")
    volume = None
    for event in fit(array, options or given):
        if isinstance(event, Finished):
            volume = event.volume
        if on_progress and isinstance(event, Progress):
            on_progress(event)
    assert volume is not None  # a fit that is not cancelled ends with Finished
    return volume


def fit(
    array: ArrayLike, options: Options | None = None, *, control: Control | None = None, **keywords: Any
) -> Iterator[Progress | Preview | Planned | Finished]:  # fmt: skip
    """Compress a volume as :func:`compress` does, as a generator of events.

    The first event is :class:`Planned`, then comes :class:`Progress` many times, and :class:`Finished` last.

    Parameters
    ----------
    array : as for :func:`compress`.
    options : how to compress; or its fields as ``keywords``. All are checked before the first event.
    control : ends the fit from another thread. After ``cancel`` no :class:`Finished` comes. After ``stop`` the fit
        finishes what it has learnt, in 200 to 600 more steps. After ``look`` a :class:`Preview` comes.

    Raises
    ------
    ValueError, TypeError
        As for :func:`compress`.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tinc as tinc
    >>> array = np.arange(20**3, dtype=np.uint16).reshape(20, 20, 20)
    >>> for event in tinc.fit(array, max_error=3):
    ...     if isinstance(event, tinc.Planned):
    ...         print("needs", event.n_blocks, "block")
    ...     elif isinstance(event, tinc.Finished):
    ...         print("largest error", event.quality.max_error)
    needs 1 block
    largest error 3.0
    """
    options = _kept_if_mask(array, Options.of(options, keywords))
    if not options.labels:
        array, values = unmasked(array, options.fill)
        options = replace(options, fill=values)
    source = checked_source(array, options)
    budget = options.budget(source.nbytes)
    fill = _find_fill(source, options)
    if not options.without_networks:  # else PyTorch is not needed
        pick_device(options.device)
    weights = None if options.importance is None else Importance.of(options.importance, source)
    job = EncodingJob(
        source, options.facts(), ancillary_of(source, options, None if fill is None else fill.fill),
        options.settings(favour_decoding_speed=source.size > block_size.MOST_AT_ONCE), control or Control(),
        options.block, scheduler=options.scheduler, importance=weights,
        labels=options.labels or np.dtype(source.array.dtype).kind == "b",
    )  # fmt: skip
    region = None if options.exact is None else ExactRegion.of(options.exact, options.exact_max_error, source)
    region = region if fill is None else ExactRegion.with_fill(region, fill, source)
    psnr = options.psnr
    planned = _plan(job, [budget] if psnr is None else [source.nbytes // 64, source.nbytes // LEAST_RATIO])
    if options.resume is not None:
        resources.check_disk(planned.disk, Path(options.resume))
        job = replace(job, journal=Journal(Path(options.resume), _key(job, budget, psnr, region)))
        planned = replace(planned, kept=job.journal.kept(), others=job.journal.others())

    lost_db = 0.0 if fill is None else fill.lost_db

    def run(job: EncodingJob, budget: int) -> Iterator[Progress | Preview | Finished]:
        """Make a file of at most so many bytes, or of the PSNR."""
        return run_for_size(job, budget) if psnr is None else reach_psnr(job, float(psnr) + lost_db)

    plain = replace(job, extra=ancillary_of(source, options))
    events = run(job, budget) if region is None else run_with_region(job, region, budget, run, plain)
    return while_held(options.resume, _job_events(job, planned, events))


def _find_fill(source: VolumeSource, options: Options) -> NoMeasurements | None:
    """Find what is no measurement, and say so if the caller has not named it."""
    if options.labels or np.dtype(source.array.dtype).kind == "b":
        return None
    fill = find_no_measurements(source, options.fill, not_finite=options.max_error is None)
    if fill is not None and fill.values and not fill.named:
        say(fill.describe(source.dtype))
    return fill


def _kept_if_mask(array: Any, options: Options) -> Options:
    """Return options that keep a mask bit for bit, whatever they ask for; this is said. Other volumes keep theirs."""
    dtype = getattr(array, "dtype", None)
    if options.is_lossless or options.method == "networks" or dtype is None or np.dtype(dtype).kind != "b":
        return options
    given = [name for name in TARGETS if getattr(options, name) is not None]
    given += [name for name in ("exact", "importance") if getattr(options, name) is not None]
    unused = f"; {', '.join(f'{name}=' for name in given)} is not used" if given else ""
    say(f"a mask (bool) is kept bit for bit{unused}")
    nothing: dict[str, Any] = dict.fromkeys((*TARGETS, "exact", "importance"))
    return replace(options, **nothing | {"max_error": 0, "exact_max_error": 0.0})


def _plan(job: EncodingJob, sizes: Sequence[int]) -> Planned:
    """Return the plan of a job, for the first of some sizes of its file. Memory and disk are for the largest.

    Raises
    ------
    ValueError
        If memory is too small for any of the sizes, or there are more blocks than a file can have.
    """
    source, settings = job.source, job.settings

    def needed(edge: int | None) -> int:
        """Return the memory for the worst of the sizes, in blocks of at most ``edge``."""
        trees = [block_tree(source, nbytes, settings, edge) for nbytes in sizes]
        return max(
            resources.memory_needed(*one, settings) for one in zip(trees, [source] * len(sizes), sizes, strict=True)
        )

    tree = block_tree(source, sizes[0], settings, job.edge)
    n_parts = source.n_volumes * (len(tree.leaves) + 1) + FEW_CHUNKS
    if n_parts > limits.MAX_CHUNKS:
        raise ValueError(
            f"{source.n_volumes} volumes of {len(tree.leaves)} blocks given, expected at most {limits.MAX_CHUNKS} "
            "blocks and overviews in a file: ask for larger blocks, or write several files"
        )
    z, y, x = (tree.stop - tree.start)[tree.leaves].max(axis=0).tolist()
    memory, disk = needed(job.edge), resources.disk_needed(tree, source, max(sizes), settings)
    if memory > resources.available_memory():
        smaller = next(
            (edge for edge in SMALLER_EDGES if edge < max(z, y, x) and needed(edge) <= resources.available_memory()),
            None,
        )
        resources.check_memory(memory, "" if smaller is None else f"ask for smaller blocks (--block {smaller}), or ")
    method = settled_method(job, source.nbytes / max(1, *sizes))
    return Planned(source.n_volumes * len(tree.leaves), (z, y, x), memory, disk, method=method)


def _job_events(
    job: EncodingJob, planned: Planned, events: Iterator[Progress | Preview | Finished]
) -> Iterator[Progress | Preview | Planned | Finished]:  # fmt: skip
    """Yield the plan and the events of a job; remove its journal when the file is finished."""
    yield planned
    resources.keep_freed_memory()
    if not job.settings.without_networks:
        COMPILED_CODE.use()
    if not all(map(is_kept, _compiled_functions(job.settings))):
        yield Progress("preparing", 0, 1, 0.0, math.nan, math.nan, math.nan, None)
    try:
        with contextlib.suppress(Cancelled):
            for event in events:
                yield event
                if isinstance(event, Finished):  # the caller has had the event, and may have saved the file
                    job.journal.remove()
    finally:
        resources.give_back_memory(job.source, job.settings)


def _compiled_functions(settings: Settings) -> list[Callable[..., object]]:
    """Return a function of each kind of code that a job runs; its first call on a computer takes seconds."""
    from ..bounded.stage_kernels import encode
    from ..networks.run_kernel import evaluate_run  # imports numba; every device needs it
    from ..training.updates import update_parameters

    networks: list[Callable[..., object]] = [] if settings.without_networks else [update_parameters, evaluate_run]
    return networks if settings.method == "networks" else [*networks, encode]


def _key(job: EncodingJob, budget: int, psnr: float | None, region: ExactRegion | None) -> str:
    """Return the key of a job's journal: a hash of all that the bytes of its file depend on."""
    key_parts: list[Any] = [
        job.settings.provenance(),
        job.settings.key_fields(),
        budget,
        psnr,
        job.edge,
        job.facts,
        job.labels,
    ]
    if not job.settings.without_networks:
        key_parts += [pick_device(job.settings.device).partition(":")[0], n_shards()]
    source = job.source
    key_parts += [source.leading, source.shape, str(source.dtype), source.fingerprint()]
    if job.importance is not None:
        key_parts += ["importance", job.importance.field.digest(source)]
    if region is not None:
        key_parts += region.key(source)
    return key_of(*key_parts, *(chunk.payload for chunk in job.extra))
