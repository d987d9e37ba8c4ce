"""Compressing: :func:`compress` and :func:`fit`, their arguments checked, and the search for a PSNR."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import container
from .allocation import MAX_LEVELS, parse_widths
from .container import Ancillary, Chunk, Header, WeightsFormat
from .octree import Octree
from .pipeline import STEPS, Finished, Preview, Task, compact, run
from .training import Control, Progress, pick_device
from .volume import TincVolume

OMEGA0 = 8.0
WEIGHTS = {"entropy": WeightsFormat.ENTROPY, "int8": WeightsFormat.INT8, "float16": WeightsFormat.FLOAT16}
LEAST_RATIO, LEAST_BYTES, MOST_ATTEMPTS = 8, 600, 6  # of a search for a PSNR
NEAR_DB, PILOT_SHARE, PILOT_LOSS_DB = 0.1, 0.15, 1.5
DB_PER_DOUBLING = 3.0  # what twice the bytes buy, roughly


def compress(
    array: ArrayLike, *, ratio: float | None = None, nbytes: int | None = None, psnr: float | None = None,
    preset: str = "balanced", device: str = "auto", seed: int = 0, spacing: Sequence[float] | None = None,
    units: str | None = None, axis_labels: str | Sequence[str] = "zyx", weights: str = "entropy",
    levels: int | None = None, widths: Sequence[int] | None = None, calibration: str = "auto",
    on_progress: Callable[[Progress], None] | None = None,
) -> TincVolume:  # fmt: skip
    """Compress a volume.

    Parameters
    ----------
    array : (z, y, x), of an integer dtype up to 32 bits or a float one, all values finite; not to change meanwhile.
    ratio : bytes of the raw array / bytes of the file, 64 if no target is given; the file is 0..3 % smaller.
    nbytes : instead of ``ratio``, the largest size of the file.
    psnr : instead of ``ratio``, the least quality in dB, in the smallest file found that has it, at a ratio of
        8 or more. Takes up to five fits and a short one.
    preset : "fast", "balanced" or "best": how long to train.
    device : "auto", "cpu", "cuda", "mps", ...
    seed : the same seed on the same machine gives the same bytes.
    spacing, units : edges of a voxel along z, y, x; stored in the file.
    axis_labels : one letter an axis.
    weights : "entropy" (rounded by rate and distortion, entropy-coded), "int8" or "float16".
    levels : of the octree of networks, 1 to 6; None for what suits the size (two, but for large files).
    widths : features of the nodes of every level from the root, each 1 to 256, such as (48, 16); None for what suits
        the size. Not with ``psnr``.
    calibration : "auto", gains and offsets where they pay, or "none".
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
    )  # fmt: skip
    for event in events:
        if isinstance(event, Finished):
            return event.volume
        if on_progress and isinstance(event, Progress):
            on_progress(event)
    raise AssertionError("a fit that nobody cancelled ends with Finished")


def fit(
    array: ArrayLike, *, ratio: float | None = None, nbytes: int | None = None, psnr: float | None = None,
    preset: str = "balanced", device: str = "auto", seed: int = 0, spacing: Sequence[float] | None = None,
    units: str | None = None, axis_labels: str | Sequence[str] = "zyx", weights: str = "entropy",
    levels: int | None = None, widths: Sequence[int] | None = None, calibration: str = "auto",
    control: Control | None = None,
) -> Iterator[Progress | Preview | Finished]:  # fmt: skip
    """Like :func:`compress`, as a generator of events: :class:`Progress`, many times, then :class:`Finished`.

    Arguments are checked before the first event. ``control`` ends it early from another thread: after ``cancel``
    it returns without :class:`Finished`; after ``stop`` it finishes what was learnt so far, in 200 to 600 more steps;
    after ``look`` a :class:`Preview` comes between.
    """
    volume = _parse_volume(array)
    budget = _parse_target(volume, ratio, nbytes, psnr)
    for name, value, known in (
        ("preset", preset, STEPS), ("weights", weights, WEIGHTS), ("calibration", calibration, ("auto", "none")),
    ):  # fmt: skip
        if value not in known:
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")
    seed = operator.index(seed)
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}, expected 0 to {2**32 - 1}")
    pick_device(device)
    header = _header(volume, spacing, units, WEIGHTS[weights])
    if header.std_q and not header.std:
        low, high = header.value_range
        raise ValueError(f"values span {low} to {high}, less than floating-point arithmetic resolves; rescale them")
    extra = [] if "".join(axis_labels) == "zyx" else [_meta(axis_labels)]
    options = {"encoder": f"napari-tinc {version('napari-tinc')}", "preset": preset, "seed": seed}
    if levels is not None and not 1 <= operator.index(levels) <= MAX_LEVELS:
        raise ValueError(f"levels is {levels}, expected 1 to {MAX_LEVELS}")
    if widths is not None and psnr is not None:
        raise ValueError(f"widths={widths} and psnr={psnr} given, expected one: a search for a PSNR chooses widths")
    chosen = None if widths is None else parse_widths(widths, levels)
    task = Task(
        volume, header, extra, options, budget, device, control or Control(), levels, chosen, calibration == "auto"
    )
    return run(task) if psnr is None else _reach(task, float(psnr))


def _reach(task: Task, wanted: float) -> Iterator[Progress | Preview | Finished]:
    """Fits of several sizes, until one is of the wanted PSNR and hardly better.

    The first is a short one, to know where to begin. PSNR is taken to be linear in log2(bytes) between the fits nearest
    to what is wanted.
    """
    began = time.perf_counter()
    raw = task.volume.nbytes
    tried: list[tuple[float, float]] = []  # log2(bytes), PSNR of whole fits
    best = None
    least = math.log2(LEAST_BYTES)
    most = max(least, math.log2(raw / LEAST_RATIO))
    size = min(most, max(least, math.log2(raw / 64)))
    for attempt in range(1, MOST_ATTEMPTS + 1):
        finished = None
        pilot = attempt == 1
        for event in run(replace(task, budget=round(2**size)), PILOT_SHARE if pilot else 1.0):
            if isinstance(event, Finished):
                finished = replace(event, seconds=time.perf_counter() - began)
            else:
                yield replace(event, attempt=attempt) if isinstance(event, Progress) else event
        if finished is None:
            return
        reached = finished.quality.psnr
        if reached >= wanted and (best is None or finished.volume.nbytes_compressed < best.volume.nbytes_compressed):
            best = finished
        if task.control.stop.is_set() or 0 <= reached - wanted <= NEAR_DB or not task.header.std_q:
            best = best or finished
            break
        if pilot:
            size += (wanted - reached - PILOT_LOSS_DB) / DB_PER_DOUBLING
        else:
            tried.append((size, reached))
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


def _parse_volume(array: ArrayLike) -> NDArray[Any]:
    volume = np.asarray(array)
    if volume.dtype == bool:
        raise TypeError("volume is bool; a mask or label image is not an intensity, and would not survive exactly")
    if volume.dtype.newbyteorder("<").str[1:] not in container.DTYPES:
        known = ", ".join(str(np.dtype(code)) for code in container.DTYPES)
        raise TypeError(f"volume has dtype {volume.dtype}, expected one of {known}")
    if volume.ndim != 3:
        raise ValueError(f"volume has {volume.ndim} axes, shape {volume.shape}; expected 3: z, y, x")
    if not volume.size:
        raise ValueError(f"volume is empty, shape {volume.shape}")
    if max(volume.shape) > container.MAX_AXIS:
        raise ValueError(f"volume has shape {volume.shape}, expected at most {container.MAX_AXIS} voxels an axis")
    volume = np.ascontiguousarray(volume, volume.dtype.newbyteorder("="))
    if volume.dtype.kind == "f":
        bad = sum(int((~np.isfinite(plane)).sum()) for plane in volume)
        if bad:
            raise ValueError(f"volume has {bad} voxels that are NaN or infinite; expected finite values")
        if not math.isfinite(float(volume.max()) - float(volume.min())):
            raise ValueError("volume spans more than the largest floating-point number")
    return volume


def _parse_target(volume: NDArray[Any], ratio: float | None, nbytes: int | None, psnr: float | None) -> int:
    """The largest size of the file; of no meaning where a PSNR is the target."""
    given = {"ratio": ratio, "nbytes": nbytes, "psnr": psnr}
    named = [f"{name}={value}" for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ValueError(f"{len(named)} targets given, {' and '.join(named)}; expected one")
    if psnr is not None and not 1 <= psnr <= 120:
        raise ValueError(f"psnr is {psnr}, expected 1 to 120 dB")
    if nbytes is None:
        ratio = 64.0 if ratio is None else float(ratio)
        if not (math.isfinite(ratio) and ratio >= 1):
            raise ValueError(f"ratio is {ratio}, expected at least 1")
        return max(1, math.floor(volume.nbytes / ratio))
    if not 1 <= nbytes < math.inf:
        raise ValueError(f"nbytes is {nbytes}, expected at least 1")
    return min(int(nbytes), volume.nbytes + 1024)  # more buys nothing but time; a header has to fit all the same


def _header(volume: NDArray[Any], spacing: Sequence[float] | None, units: str | None, form: WeightsFormat) -> Header:
    """A header whose network is still the smallest there is."""
    low, high = volume.min(), volume.max()
    span = float(high) - float(low)
    mean_q = std_q = 0
    if span:
        total = squares = 0.0
        for plane in volume:
            unit = (plane.astype(np.float64) - float(low)) / span
            total, squares = total + float(unit.sum()), squares + float(np.vdot(unit, unit))
        mean = total / volume.size
        mean_q = round(mean * 65535)
        std_q = max(1, round(math.sqrt(max(0.0, squares / volume.size - mean * mean)) * 65535))
    if spacing is not None:
        spacing = tuple(float(s) for s in spacing)
        if len(spacing) != 3 or not all(container.MIN_SPACING <= s <= container.MAX_SPACING for s in spacing):
            raise ValueError(f"spacing is {spacing}, expected three positive numbers: z, y, x")
    elif units:
        spacing = (1.0, 1.0, 1.0)
    if units is not None and not isinstance(units, str):
        raise TypeError(f"units is {units!r}, expected text like 'mm'")
    if units and (len(units.encode()) > container.MAX_UNIT or not units.isprintable()):
        raise ValueError(f"units is {units!r}, expected at most {container.MAX_UNIT} bytes of printable text")
    return Header(
        tree=Octree.full(volume.shape, 0), dtype=volume.dtype, value_range=(low.item(), high.item()), mean_q=mean_q,
        std_q=std_q, widths=np.ones(1, np.int16), layers=1, omega0=OMEGA0, weights_format=form,
        spacing=spacing, unit=units or "",
    )  # fmt: skip


def _meta(axis_labels: str | Sequence[str]) -> Chunk:
    text = "".join(axis_labels)
    if len(text) != 3 or len(set(text)) != 3:
        raise ValueError(f"axis_labels is {axis_labels!r}, expected three different letters")
    return Chunk.of(Ancillary.META, compact({"axes": text}))
