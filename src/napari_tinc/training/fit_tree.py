"""One fit, top to bottom: a volume and a budget -> octree, widths -> pilot -> partition -> training -> a file's bytes.

array --normalise--> pilot --errors--> partition --> training --steps--> rounding --integers--> chunks --> TincVolume
          |            ^                  |             ^                   |
       budget -> octree, widths <---------+      where the error is      calibration where it pays
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..decoding.network_box import pack_errors, to_values
from ..decoding.volume import TincVolume, cell_centres
from ..format import networks_file
from ..format.head import Ancillary, Chunk, Kind
from ..format.networks_file import Header, WeightsFormat
from ..metrics import Quality
from ..networks.architecture import Architecture
from ..networks.calibration import fit_corrections
from ..networks.scalars import Scalars
from ..networks.weights import Corrections, architecture_of, round_trip, to_chunks, to_network
from ..octree import Octree
from ..storage.checkpoint import Journal, State
from . import costs
from .allocation import NotWithNetworks, allocate
from .partition import partition
from .trainer import Control, Fitted, Mark, Progress, Schedule, Snapshot, pick_device, train

OMEGA0 = 8.0  # frequency of the first sines when training begins
MUON_RATE = 0.3  # over the root's width, square-rooted: wider matrices diverge sooner
SAFE_DEPTH = 6  # sine layers from root to leaf; beyond, the rate falls with the square of their number
METHODS = ("auto", "networks", "predictive")  # the better of the other two; an octree of networks; no networks
STEPS = {"fast": 800, "balanced": 5000, "best": 12000}  # optimiser steps for a volume of 64^3 to 128^3 voxels
FEW_VOXELS, MANY_VOXELS = 64**3, 128**3  # outside of which steps go with the square root of the voxels
BATCH = {"fast": 4096, "balanced": 4096, "best": 8192}  # voxels a step
PILOT = 0.3  # share of the schedule after which boxes may become scalars, and rounding begins
LEAST_PILOT = 150  # steps, before which its errors say nothing of those at the end
STRIDE = 2  # of the voxels at which the error is looked at
PILOT_GAIN = 0.25  # squared error at the end over that after the pilot, or less
SCALAR_STEP = 0.25  # of the root mean squared error expected
REPORT_SHARE = 0.03  # of a file, that what it says about itself may take at most
LANDING = 0.99  # training aims a little low, since a file over its budget would have to be rounded anew
PREVIEW_VOXELS = 2**18  # at most, so that a look costs a tenth of a second
NO_ROUNDING = 2.0  # a share of the schedule that never comes


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """How to compress.

    Attributes
    ----------
    preset : how long to train, of :data:`STEPS`.
    form : how weights are stored.
    levels : of the octree of networks; None for what suits the size.
    widths : of the nodes of every level from the root; None for what suits the size.
    calibrate : where it pays.
    quick : whether to decode sooner counts more than the last 0.2 dB.
    bound : largest error of any voxel, 0 for bit for bit; then there are no networks. None for a size or a PSNR.
    method : of :data:`METHODS`, where there is no bound.
    """

    preset: str
    seed: int = 0
    device: str = "auto"
    form: WeightsFormat = WeightsFormat.ENTROPY
    levels: int | None = None
    widths: tuple[int, ...] | None = None
    calibrate: bool = True
    quick: bool = False
    bound: float | None = None
    method: str = "auto"

    @property
    def without_networks(self) -> bool:
        """Whether it is known before the work that there will be none."""
        return self.bound is not None or self.method == "predictive"

    def provenance(self) -> dict[str, Any]:
        """What a file says of how it was made."""
        encoder = {"encoder": f"napari-tinc {version('napari-tinc')}"}
        return encoder | ({"preset": self.preset, "seed": self.seed} if self.bound is None else {})

    def said(self) -> dict[str, Any]:
        """Everything that the bytes of a file depend on."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "device"}


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A volume that is to become one tree of networks.

    Attributes
    ----------
    volume : (z, y, x), checked.
    header : says everything about it; its network is still to be planned.
    budget : largest size of the file.
    extra : ancillary chunks to put into the file.
    span : range that PSNR and SSIM are of; None for the volume's own.
    inner : whether the file is a block of another, which speaks for all of them.
    journal : keeps how far it has come.
    """

    volume: NDArray[Any]
    header: Header
    budget: int
    settings: Settings
    extra: Sequence[Chunk] = ()
    control: Control = field(default_factory=Control)
    span: float | None = None
    inner: bool = False
    journal: Journal = field(default_factory=Journal)


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The last event of a fit.

    Attributes
    ----------
    volume : the compressed volume.
    quality : as measured on all voxels.
    seconds : that all of it took.
    reason : why that method, where another was tried or considered: "networks were 1.3 dB behind". Else empty.
    """

    volume: TincVolume
    quality: Quality
    seconds: float
    reason: str = ""

    @property
    def method(self) -> str:
        """What the file is made of: "networks" or "predictive"."""
        return self.volume.method

    def state(self) -> State:
        return {"data": self.volume.parts.data(), "quality": asdict(self.quality), "seconds": self.seconds}

    @classmethod
    def restored(cls, state: State) -> Finished:
        return cls(TincVolume(state["data"]), Quality(**state["quality"]), state["seconds"])


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """What has been learnt so far, coarsely; where ``Control.look`` asked for it.

    Attributes
    ----------
    values : of the volume's dtype, at the centres of cells.
    factor : edge of a cell in voxels.
    """

    values: NDArray[Any]
    factor: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a fit will take, before it starts.

    Attributes
    ----------
    steps : optimiser steps.
    widths : features of the nodes of every level.
    n_leaves : boxes of the octree.
    n_parameters : of all networks.
    seconds : on two CPU cores of the machine of docs/benchmarks.md, to about 30 %.
    n_blocks : into which the volume is cut.
    memory : bytes of main memory needed at most, about.
    """

    steps: int
    widths: tuple[int, ...]
    n_leaves: int
    n_parameters: int
    seconds: float
    n_blocks: int = 1
    memory: int = 0


def estimate(shape: tuple[int, int, int], nbytes: int, settings: Settings, share: float = 1.0) -> Estimate:
    """What a fit of such a volume into ``nbytes`` takes; without looking at its values.

    Raises
    ------
    ValueError
        If that cannot be with the chosen widths.
    """
    octree, widths, layers = allocate(shape, nbytes, settings.form, settings.levels, settings.widths, settings.quick)
    counts = networks_file.count_parameters(octree, widths, layers)
    steps = count_steps(settings.preset, math.prod(shape), share)
    per_level = _on_each_level(octree)
    products = _products(octree, counts)
    seconds = steps * costs.step_seconds(products, BATCH[settings.preset])
    seconds += costs.packing_seconds(math.prod(shape), products)
    return Estimate(steps, tuple(widths[per_level].tolist()), len(octree.leaves), int(counts.sum()), seconds)


def _products(octree: Octree, counts: NDArray[np.int32]) -> int:
    """Weights that one point meets: those of one node a level."""
    return int(counts[_on_each_level(octree)].sum())


def _on_each_level(octree: Octree) -> list[int]:
    """A node of every level."""
    return [int(np.flatnonzero(octree.level == level)[0]) for level in range(octree.depth + 1)]


def count_steps(preset: str, n_voxels: int, share: float = 1.0) -> int:
    """Optimiser steps of a preset for a volume of that size."""
    few, many = min(1.0, n_voxels / FEW_VOXELS), max(1.0, n_voxels / MANY_VOXELS)
    return max(100, round(share * STEPS[preset] * max(0.25, few**0.5) * min(2.0, many**0.5)))


def make_header(volume: NDArray[Any], form: WeightsFormat, **facts: Any) -> Header:
    """A header whose network is still the smallest there is. ``facts`` are those of :class:`~.format.head.Facts`.

    Raises
    ------
    ValueError
        If the values span more, or less, than floating-point arithmetic resolves.
    """
    low, high = volume.min(), volume.max()
    span = float(high) - float(low)
    if not math.isfinite(span):
        raise NotWithNetworks("volume spans more than the largest floating-point number")
    mean_q = std_q = 0
    if span:
        total = squares = 0.0
        for plane in volume:
            unit = (plane.astype(np.float64) - float(low)) / span
            total, squares = total + float(unit.sum()), squares + float(np.square(unit).sum())
        mean = total / volume.size
        mean_q = round(mean * 65535)
        std_q = max(1, round(math.sqrt(max(0.0, squares / volume.size - mean * mean)) * 65535))
    header = Header(
        tree=Octree.full(volume.shape, 0), dtype=volume.dtype, value_range=(low.item(), high.item()), mean_q=mean_q,
        std_q=std_q, widths=np.ones(1, np.int16), layers=1, omega0=OMEGA0, weights_format=form, **facts,
    )  # fmt: skip
    if std_q and not header.std:
        raise NotWithNetworks(
            f"values span {low} to {high}, less than floating-point arithmetic resolves; rescale them"
        )
    return header


def run(task: Task, share: float = 1.0) -> Generator[Progress | Mark | Preview | Finished]:
    """One fit, of a ``share`` of the preset's steps; ends without :class:`Finished` where it is cancelled."""
    began = time.perf_counter()
    header, volume = task.header, task.volume
    if not header.std_q:  # a constant volume needs no network
        yield from _pack(task, header, Scalars.none(), None, np.zeros(volume.shape, np.float32), began)
        return
    normalised = normalise(volume, header)
    header, allowance = _plan(task, header)
    steps = count_steps(task.settings.preset, volume.size, share)
    rate = muon_rate(int(header.widths.max()), header.layers * (header.tree.depth + 1))
    rounded = header.weights_format is WeightsFormat.ENTROPY
    schedule = Schedule(steps, BATCH[task.settings.preset], rate, rounding_from=PILOT if rounded else NO_ROUNDING)
    peak = (header.value_range[1] - header.value_range[0]) / header.std
    packing = _packing(task, header)
    scalars = Scalars.none()

    def fitting(
        nbytes: float, schedule: Schedule, fixed: float, start: Fitted | None, journal: Journal
    ) -> Iterator[Progress | Mark | Preview | Fitted]:
        architecture = architecture_of(header)
        for event in train(
            normalised, architecture, schedule, nbytes=nbytes, peak=peak, device=task.settings.device,
            seed=task.settings.seed, control=task.control, start=start, fixed=fixed,
            journal=journal,
        ):  # fmt: skip
            yield _preview(architecture, event.vector, scalars, header) if isinstance(event, Snapshot) else event

    fitted = last = None
    journals = [task.journal.under(phase) for phase in ("pilot", "whole")]
    if (left := journals[0].load("result.done")) is not None:
        fitted = Fitted(**left)
    for event in () if fitted else fitting(allowance, replace(schedule, end=PILOT), 0.0, None, journals[0]):
        if isinstance(event, Fitted):
            fitted = event
            if not task.control.stop.is_set():
                journals[0].save_result(event.state())
        elif isinstance(event, Progress):
            yield replace(event, seconds_left=packing.seconds_left(event))
        else:
            yield event
    if fitted is None:
        return
    short = task.control.stop.is_set() and journals[1].load("training.state") is None
    if short:
        journals[1] = Journal()
    header, fitted, scalars, fixed = _partition(task, header, fitted, normalised, short)
    allowance = _allowance(task, header, scalars)
    piloted = time.perf_counter() - began
    begin = fitted.updates / steps  # less than PILOT if stopped
    schedule = replace(schedule, begin=begin, rounding_from=begin if rounded else NO_ROUNDING)
    for event in fitting(LANDING * allowance, schedule, fixed, fitted, journals[1]):
        if isinstance(event, Fitted):
            fitted = event
        elif isinstance(event, Progress):
            last = replace(event, seconds=piloted + event.seconds, seconds_left=packing.seconds_left(event))
            yield last
        else:
            yield event
    if last is None or task.control.cancel.is_set():
        return
    yield replace(last, phase="packing", seconds=time.perf_counter() - began)
    yield from _pack(task, header, scalars, fitted, normalised, began)


def _packing(task: Task, header: Header) -> costs.Packing:
    products = _products(header.tree, networks_file.parameter_counts(header))
    return costs.Packing(
        costs.step_seconds(products, BATCH[task.settings.preset]),
        costs.packing_seconds(task.volume.size, products),
        keeps_pace=pick_device(task.settings.device).type == "cpu",
    )


def _preview(architecture: Architecture, vector: NDArray[np.float32], scalars: Scalars, header: Header) -> Preview:
    factor = preview_factor(header.shape)
    grid = cell_centres([range(-(-n // factor)) for n in header.shape], factor, header.shape)
    network = to_network(architecture, vector, Corrections.none(len(architecture.heads)), scalars)
    return Preview(to_values(network.on_grid(grid), header), factor)


def preview_factor(shape: Sequence[int]) -> int:
    """Edge, in voxels, of the cells of a preview."""
    factor = 1
    while math.prod(-(-n // factor) for n in shape) > PREVIEW_VOXELS:
        factor *= 2
    return factor


def muon_rate(width: int, sines: int) -> float:
    """Muon's peak rate for networks that are ``width`` features wide, and ``sines`` layers deep from root to leaf."""
    return min(0.06, MUON_RATE / math.sqrt(width)) * min(1.0, SAFE_DEPTH / sines) ** 2


def _plan(task: Task, header: Header) -> tuple[Header, float]:
    """The header with a network that the budget pays for, and the bytes that are left for its weights."""
    allowance = _allowance(task, header)
    for _ in range(8):  # a tree costs bytes itself: what is left for its weights may buy a smaller one only
        octree, widths, layers = allocate(
            header.shape, allowance, header.weights_format, task.settings.levels, task.settings.widths,
            task.settings.quick,
        )  # fmt: skip
        header = replace(header, tree=octree, widths=widths.astype(np.int16), layers=layers)
        before, allowance = allowance, _allowance(task, header)
        if before <= allowance:
            break
    return header, allowance


def _partition(
    task: Task, header: Header, pilot: Fitted, normalised: NDArray[np.float32], short: bool
) -> tuple[Header, Fitted, Scalars, float]:
    """The plan with boxes below its networks, their scalars, and the mean squared error of these; where it pays."""
    if short or pilot.updates < LEAST_PILOT or header.weights_format is not WeightsFormat.ENTROPY:
        return header, pilot, Scalars.none(), 0.0  # only rounding can make room for it, and only a whole pilot knows
    architecture = architecture_of(header)
    network = to_network(architecture, pilot.vector, Corrections.none(len(architecture.heads)), Scalars.none())
    grid = [np.arange(0, n, STRIDE, dtype=np.float64) + 0.5 for n in header.shape]
    outputs = network.on_grid(grid, check=task.control.check)
    low, high = ((value - header.mean) / header.std for value in header.value_range)
    errors = (np.clip(outputs, low, high) - normalised[::STRIDE, ::STRIDE, ::STRIDE]) ** 2 * np.float32(PILOT_GAIN)
    counts = networks_file.parameter_counts(header)
    per_network = 8 * _allowance(task, header) * counts[header.tree.leaves].mean() / counts.sum()
    found = partition(normalised, errors, STRIDE, header.tree, architecture.widths, per_network, 8 * task.budget)
    if found is None:
        return header, pilot, Scalars.none(), 0.0
    scalars = Scalars.of(found.values, SCALAR_STEP * math.sqrt(max(1e-12, float(errors.mean()))))
    header = replace(header, tree=found.octree, widths=found.widths.astype(np.int16))
    left = architecture_of(header)
    vector, momentum, square = (
        architecture.carry(values, left) for values in (pilot.vector, pilot.momentum, pilot.square)
    )
    pilot = replace(pilot, vector=vector, momentum=momentum, square=square)
    return header, pilot, scalars, found.squares / task.volume.size


def _pack(
    task: Task, header: Header, scalars: Scalars, fitted: Fitted | None, normalised: NDArray[np.float32], began: float
) -> Iterator[Finished]:
    """Round, calibrate, measure and assemble the file."""
    volume, budget = task.volume, task.budget
    architecture = architecture_of(header)
    corrections = Corrections.none(len(architecture.heads))
    part = networks_file.parts_of_leaves(header)
    ancillary = [*task.extra, *_report(task, header, None, np.zeros((part.max() + 1, 2)))]

    def assemble(factor: float, corrections: Corrections) -> tuple[NDArray[np.float32], list[Chunk], int]:
        task.control.check()
        vector = np.zeros(architecture.n_parameters, np.float32) if fitted is None else fitted.vector
        steps = np.ones(len(architecture.tensors)) if fitted is None else fitted.steps * factor
        vector, stored = round_trip(architecture, vector, steps, header.weights_format)
        chunks = to_chunks(architecture, vector, stored, header.weights_format, corrections, scalars)
        size = len(networks_file.pack(replace(header, calibration=corrections.kind), [*chunks, *ancillary]))
        return vector, chunks, size

    factor = _fitting(lambda factor: assemble(factor, corrections)[2], budget)
    vector, chunks, size = assemble(factor, corrections)
    grid = [np.arange(n, dtype=np.float64) + 0.5 for n in header.shape]
    check = task.control.check
    outputs = to_network(architecture, vector, corrections, scalars).on_grid(grid, check=check)
    if fitted is not None and task.settings.calibrate:
        found = fit_corrections(outputs, normalised, architecture, header.weights_format, budget - size)
        if found.kind is not networks_file.Calibration.NONE:
            _, corrected, size = assemble(factor, found)
            if size <= budget:
                corrections, chunks = found, corrected
                to_network(architecture, vector, corrections, scalars).calibrate(outputs)
    check()
    header = replace(header, calibration=corrections.kind)
    values = to_values(outputs, header)
    check()
    quality = metrics.measure(volume, values, 1, task.span, check)
    errors = part_errors(volume, values, header)
    data = networks_file.pack(header, [*chunks, *task.extra, *_report(task, header, quality, errors)])
    if len(data) > budget:
        raise NotWithNetworks(
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


def normalise(volume: NDArray[Any], header: Header) -> NDArray[np.float32]:
    out = np.empty(volume.shape, np.float32)
    for plane, into in zip(volume, out, strict=True):
        into[:] = (plane.astype(np.float64) - header.mean) / header.std
    return out


def _allowance(task: Task, header: Header, scalars: Scalars | None = None) -> float:
    """What is left of the budget for the weights themselves."""
    architecture, n_parts = architecture_of(header), int(networks_file.parts_of_leaves(header).max()) + 1
    zeros, ones = np.zeros(architecture.n_parameters, np.float32), np.ones(len(architecture.tensors), np.float32)
    corrections = Corrections.none(len(architecture.heads))
    weights = to_chunks(architecture, zeros, ones, header.weights_format, corrections, scalars or Scalars.none())
    filler = math.ceil(architecture.n_parameters / len(weights))  # the real payloads' lengths are about as long
    filled = [weights[0], *(Chunk.of(Kind.WEIGHTS, bytes(filler), c.level, c.n_nodes) for c in weights[1:])]
    report = _report(task, header, None, np.zeros((n_parts, 2)))
    rest = len(networks_file.pack(header, [*filled, *task.extra, *report])) - filler * (len(filled) - 1)
    rest += len(filled)  # a length in the table may be a byte longer
    least = rest + math.ceil(architecture.n_parameters / 8)  # a bit a weight leaves hardly a picture
    if least > task.budget:
        raise NotWithNetworks(
            f"a volume of {task.volume.nbytes} bytes cannot become {task.budget}: the smallest file is about {least} "
            f"bytes, a ratio of {task.volume.nbytes / least:.3g}"
        )
    return float(task.budget - rest)


def _report(task: Task, header: Header, quality: Quality | None, errors: NDArray[np.float64]) -> list[Chunk]:
    """QUALITY and PROVENANCE chunks, each left out where it would take more than 3 % of a network's budget.

    Their size does not depend on the quality, so that the budget can be met first.
    """
    chunks = [
        Chunk.of(Ancillary.QUALITY, pack_errors(errors, header.value_range)),
        Chunk.of(Ancillary.PROVENANCE, compact(task.settings.provenance() | figures(quality))),
    ]
    if task.inner:
        chunks.pop()
    return [chunk for chunk in chunks if not header.std_q or len(chunk.payload) <= REPORT_SHARE * task.budget]


def figures(quality: Quality | None) -> dict[str, str]:
    """What PROVENANCE says of a quality, zeros for none; of one length."""
    if quality is None:
        return {"psnr": "0000.000", "ssim": "0.00000"}
    return {"psnr": f"{min(quality.psnr, 9999):08.3f}", "ssim": f"{max(quality.ssim, 0):<7.5f}"}


def part_errors(original: NDArray[Any], values: NDArray[Any], header: Header) -> NDArray[np.float64]:
    """What QUALITY says: RMSE and largest error of all leaves that share a network, or are scalars; (n_parts, 2)."""
    tree = header.tree
    start, stop = tree.start[tree.leaves], tree.stop[tree.leaves]
    errors = metrics.box_errors(original, values, start, stop)
    return metrics.merge_errors(errors, (stop - start).prod(axis=1), networks_file.parts_of_leaves(header))


def compact(value: dict[str, Any]) -> bytes:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()
