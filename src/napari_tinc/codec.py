"""The pipeline, top to bottom: a volume and a target -> octree -> widths -> training -> rounding -> a file's bytes.

array --normalise--> training --steps--> rounding --integers--> chunks --> TincVolume
          |              ^                   |
       budget -> octree, widths     the steps of training; calibration where it pays
"""

from __future__ import annotations

import json
import math
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import container, metrics
from .allocation import allocate
from .calibration import fit_corrections
from .container import Ancillary, Chunk, Header, Kind, WeightsFormat
from .decode import Network
from .metrics import Quality
from .octree import Octree
from .training import Control, Fitted, Progress, Schedule, pick_device, train
from .volume import TincVolume, pack_errors, to_values
from .weights import Corrections, architecture_of, round_trip, to_chunks

OMEGA0 = 8.0
MUON_RATE = 0.3  # over the root's width, square-rooted: wider matrices diverge sooner
STEPS = {"fast": 850, "balanced": 5500, "best": 12000}  # optimiser steps for a volume of 64^3 to 128^3 voxels
FEW_VOXELS, MANY_VOXELS = 64**3, 128**3  # outside of which steps go with the square root of the voxels
BATCH = {"fast": 4096, "balanced": 4096, "best": 8192}  # voxels a step
WEIGHTS = {"entropy": WeightsFormat.ENTROPY, "int8": WeightsFormat.INT8, "float16": WeightsFormat.FLOAT16}
LEAST_RATIO, LEAST_BYTES, MOST_ATTEMPTS = 8, 600, 6  # of a search for a PSNR
NEAR_DB, PILOT_SHARE, PILOT_LOSS_DB = 0.1, 0.15, 1.5
DB_PER_DOUBLING = 3.0  # what twice the bytes buy, roughly
REPORT_SHARE = 0.03  # of a file, that what it says about itself may take at most
LANDING = 0.99  # training aims a little low, since a file over its budget would have to be rounded anew


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The last event of a fit: the compressed volume, its measured quality, and the seconds all of it took."""

    volume: TincVolume
    quality: Quality
    seconds: float


def compress(
    array: ArrayLike, *, ratio: float | None = None, nbytes: int | None = None, psnr: float | None = None,
    preset: str = "balanced", device: str = "auto", seed: int = 0, spacing: Sequence[float] | None = None,
    units: str | None = None, axis_labels: str | Sequence[str] = "zyx", weights: str = "entropy",
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
    on_progress : called with every :class:`Progress`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not usable, or the size or quality out of reach; the message names what was found and what is
        expected.
    """
    events = fit(
        array, ratio=ratio, nbytes=nbytes, psnr=psnr, preset=preset, device=device, seed=seed, spacing=spacing,
        units=units, axis_labels=axis_labels, weights=weights,
    )  # fmt: skip
    for event in events:
        if isinstance(event, Finished):
            return event.volume
        if on_progress:
            on_progress(event)
    raise AssertionError("a fit that nobody cancelled ends with Finished")


def fit(
    array: ArrayLike, *, ratio: float | None = None, nbytes: int | None = None, psnr: float | None = None,
    preset: str = "balanced", device: str = "auto", seed: int = 0, spacing: Sequence[float] | None = None,
    units: str | None = None, axis_labels: str | Sequence[str] = "zyx", weights: str = "entropy",
    control: Control | None = None,
) -> Iterator[Progress | Finished]:  # fmt: skip
    """Like :func:`compress`, as a generator of events: :class:`Progress`, many times, then :class:`Finished`.

    Arguments are checked before the first event. ``control`` ends it early from another thread: after ``cancel``
    it returns without :class:`Finished`; after ``stop`` it finishes what was learnt so far, in 200 to 600 more steps.
    """
    volume = _parse_volume(array)
    budget = _parse_target(volume, ratio, nbytes, psnr)
    for name, value, known in (("preset", preset, STEPS), ("weights", weights, WEIGHTS)):
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
    control = control or Control()
    if psnr is not None:
        return _reach(volume, header, extra, options, float(psnr), device, control)
    return _run(volume, header, extra, options, budget, device, control)


def _reach(
    volume: NDArray[Any], header: Header, extra: list[Chunk], options: dict[str, Any], wanted: float, device: str,
    control: Control,
) -> Iterator[Progress | Finished]:  # fmt: skip
    """Fits of several sizes, until one is of the wanted PSNR and hardly better.

    The first is a short one, to know where to begin. PSNR is taken to be linear in log2(bytes) between the fits nearest
    to what is wanted.
    """
    began = time.perf_counter()
    tried: list[tuple[float, float]] = []  # log2(bytes), PSNR of whole fits
    best = None
    least = math.log2(LEAST_BYTES)
    most = max(least, math.log2(volume.nbytes / LEAST_RATIO))
    size = min(most, max(least, math.log2(volume.nbytes / 64)))
    for attempt in range(1, MOST_ATTEMPTS + 1):
        finished = None
        pilot = attempt == 1
        events = _run(
            volume, header, extra, options, round(2**size), device, control, share=PILOT_SHARE if pilot else 1.0
        )
        for event in events:
            if isinstance(event, Finished):
                finished = replace(event, seconds=time.perf_counter() - began)
            else:
                yield replace(event, attempt=attempt)
        if finished is None:
            return
        reached = finished.quality.psnr
        if reached >= wanted and (best is None or finished.volume.nbytes_compressed < best.volume.nbytes_compressed):
            best = finished
        if control.stop.is_set() or 0 <= reached - wanted <= NEAR_DB or not header.std_q:
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
            f"{volume.nbytes / 2**size:.3g}"
        )
    yield replace(best, seconds=time.perf_counter() - began)


def _size_for(wanted: float, tried: list[tuple[float, float]]) -> float:
    """log2(bytes) of that PSNR, from the two fits nearest to it, or from one and the usual slope."""
    (size, reached), *others = sorted(tried, key=lambda fit: abs(fit[1] - wanted))
    slope = DB_PER_DOUBLING
    if others and abs(size - others[0][0]) > 1e-3:
        slope = min(8.0, max(1.0, (reached - others[0][1]) / (size - others[0][0])))
    return size + (wanted - reached) / slope


def _run(
    volume: NDArray[Any], header: Header, extra: list[Chunk], options: dict[str, Any], budget: int, device: str,
    control: Control, share: float = 1.0,
) -> Iterator[Progress | Finished]:  # fmt: skip
    """One fit, of a ``share`` of the preset's steps."""
    began = time.perf_counter()
    if not header.std_q:  # a constant volume needs no network
        yield from _pack(volume, header, None, np.zeros(volume.shape, np.float32), extra, options, budget, began)
        return
    normalised = _normalise(volume, header)
    allowance = _allowance(header, extra, options, budget)
    for _ in range(8):  # a tree costs bytes itself: what is left for its weights may buy a smaller one only
        octree, widths, layers = allocate(header.shape, allowance, header.weights_format)
        header = replace(header, tree=octree, widths=widths.astype(np.uint16), layers=layers)
        before, allowance = allowance, _allowance(header, extra, options, budget)
        if before <= allowance:
            break
    architecture = architecture_of(header)
    few, many = min(1.0, volume.size / FEW_VOXELS), max(1.0, volume.size / MANY_VOXELS)
    steps = max(100, round(share * STEPS[options["preset"]] * max(0.25, few**0.5) * min(2.0, many**0.5)))
    entropy_coded = header.weights_format is WeightsFormat.ENTROPY
    batch = BATCH[options["preset"]]
    schedule = Schedule(steps, batch, min(0.06, MUON_RATE / math.sqrt(widths.max())))
    if not entropy_coded:
        schedule = replace(schedule, rounding_from=2.0)
    peak = (header.value_range[1] - header.value_range[0]) / header.std
    fitted = last = None
    for event in train(
        normalised, architecture, schedule, nbytes=LANDING * allowance, peak=peak, device=device,
        seed=options["seed"], control=control,
    ):  # fmt: skip
        if isinstance(event, Fitted):
            fitted = event
        else:
            last = event
            yield event
    if fitted is None or last is None:
        return
    yield replace(last, phase="packing", seconds=time.perf_counter() - began, seconds_left=0.0)
    yield from _pack(volume, header, fitted, normalised, extra, options, budget, began, control)


def _pack(
    volume: NDArray[Any], header: Header, fitted: Fitted | None, normalised: NDArray[np.float32], extra: list[Chunk],
    options: dict[str, Any], budget: int, began: float, control: Control | None = None,
) -> Iterator[Finished]:  # fmt: skip
    """Round, calibrate, measure and assemble the file."""
    architecture = architecture_of(header)
    n_leaves = len(header.tree.leaves)
    corrections = Corrections.none(n_leaves)
    ancillary = [*extra, *_report(None, np.zeros((n_leaves, 2)), header, options, budget)]

    def cancelled() -> bool:
        return control is not None and control.cancel.is_set()

    def assemble(factor: float, corrections: Corrections) -> tuple[NDArray[np.float32], list[Chunk], int]:
        vector = np.zeros(architecture.n_parameters, np.float32) if fitted is None else fitted.vector
        steps = np.ones(len(architecture.tensors)) if fitted is None else fitted.steps * factor
        vector, stored = round_trip(architecture, vector, steps, header.weights_format)
        chunks = to_chunks(architecture, vector, stored, header.weights_format, corrections)
        size = len(container.pack(replace(header, calibration=corrections.kind), [*chunks, *ancillary]))
        return vector, chunks, size

    factor = _fitting(lambda factor: assemble(factor, corrections)[2], budget)
    vector, chunks, size = assemble(factor, corrections)
    network = Network(architecture, vector, np.ones(n_leaves), np.zeros(n_leaves))
    grid = [np.arange(n, dtype=np.float64) + 0.5 for n in header.shape]
    if cancelled():
        return
    outputs = network.on_grid(grid)
    if cancelled():
        return
    if fitted is not None:
        found = fit_corrections(outputs, normalised, header.tree, header.weights_format, budget - size)
        if found.kind is not container.Calibration.NONE:
            _, corrected, size = assemble(factor, found)
            if size <= budget:
                corrections, chunks = found, corrected
                outputs = Network(architecture, vector, corrections.gain, corrections.offset).on_grid(grid)
    if cancelled():
        return
    header = replace(header, calibration=corrections.kind)
    values = to_values(outputs, header)
    quality = metrics.measure(volume, values, 1)
    if cancelled():
        return
    errors = metrics.leaf_errors(volume, values, header.tree)
    data = container.pack(header, [*chunks, *extra, *_report(quality, errors, header, options, budget)])
    if len(data) > budget:
        raise ValueError(
            f"a volume of {volume.nbytes} bytes cannot become {budget}: the smallest file is {len(data)} bytes, "
            f"a ratio of {volume.nbytes / len(data):.3g}"
        )
    quality = replace(quality, ratio=volume.nbytes / len(data), bits_per_voxel=8 * len(data) / volume.size)
    yield Finished(TincVolume(data), quality, time.perf_counter() - began)


def _fitting(size: Callable[[float], int], budget: int) -> float:
    """The factor on the rounding steps with which the file fits: 1 wherever that is near enough.

    Rounding was trained at these very steps. Any others round all parameters anew: 1 % more has cost 0.7 dB.
    """
    trained = size(1.0)
    if 0.97 * budget <= trained <= budget:
        return 1.0
    low, high = 0.0, 0.0
    if trained <= budget:
        while low > -4 and size(2.0 ** (low - 0.25)) <= budget:
            low -= 0.25
        low, high = low - 0.25, low
    else:
        while high < 8 and size(2.0**high) > budget:
            high += 0.25
        low = high - 0.25
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (low, middle) if size(2.0**middle) <= budget else (middle, high)
    return float(2.0**high)


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
        std_q=std_q, widths=np.ones(1, np.uint16), layers=1, omega0=OMEGA0, weights_format=form,
        spacing=spacing, unit=units or "",
    )  # fmt: skip


def _normalise(volume: NDArray[Any], header: Header) -> NDArray[np.float32]:
    out = np.empty(volume.shape, np.float32)
    for plane, into in zip(volume, out, strict=True):
        into[:] = (plane.astype(np.float64) - header.mean) / header.std
    return out


def _allowance(header: Header, extra: list[Chunk], options: dict[str, Any], budget: int) -> float:
    """What is left of the budget for the weights themselves."""
    architecture, n_leaves = architecture_of(header), len(header.tree.leaves)
    zeros, ones = np.zeros(architecture.n_parameters, np.float32), np.ones(len(architecture.tensors), np.float32)
    weights = to_chunks(architecture, zeros, ones, header.weights_format, Corrections.none(n_leaves))
    filler = math.ceil(architecture.n_parameters / len(weights))  # the real payloads' lengths are about as long
    filled = [weights[0], *(Chunk.of(Kind.WEIGHTS, bytes(filler), c.level, c.n_nodes) for c in weights[1:])]
    report = _report(None, np.zeros((n_leaves, 2)), header, options, budget)
    rest = len(container.pack(header, [*filled, *extra, *report])) - filler * (len(filled) - 1)
    rest += len(filled)  # a length in the table may be a byte longer
    least = rest + math.ceil(architecture.n_parameters / 8)  # a bit a weight leaves hardly a picture
    if least > budget:
        nbytes = math.prod(header.shape) * header.dtype.itemsize
        raise ValueError(
            f"a volume of {nbytes} bytes cannot become {budget}: the smallest file is about {least} bytes, "
            f"a ratio of {nbytes / least:.3g}"
        )
    return float(budget - rest)


def _meta(axis_labels: str | Sequence[str]) -> Chunk:
    text = "".join(axis_labels)
    if len(text) != 3 or len(set(text)) != 3:
        raise ValueError(f"axis_labels is {axis_labels!r}, expected three different letters")
    return Chunk.of(Ancillary.META, _compact({"axes": text}))


def _report(
    quality: Quality | None, errors: NDArray[np.float64], header: Header, options: dict[str, Any], budget: int
) -> list[Chunk]:
    """QUALITY and PROVENANCE chunks, each left out where it would take more than 3 % of a network's budget.

    Their size does not depend on the quality, so that the budget can be met first.
    """
    figures = {"psnr": "0000.000", "ssim": "0.00000"}
    if quality is not None:
        figures = {"psnr": f"{min(quality.psnr, 9999):08.3f}", "ssim": f"{max(quality.ssim, 0):<7.5f}"}
    chunks = [
        Chunk.of(Ancillary.QUALITY, pack_errors(errors, header.value_range)),
        Chunk.of(Ancillary.PROVENANCE, _compact({**options, **figures})),
    ]
    return [chunk for chunk in chunks if not header.std_q or len(chunk.payload) <= REPORT_SHARE * budget]


def _compact(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
