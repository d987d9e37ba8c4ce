"""Fit one tree, from a volume and a number of bytes to a file: the order of the steps.

array --normalise--> starts --the best--> pilot --errors--> partition --> training --rounding--> chunks --> TincVolume
          |             ^                                    |              ^             |
       budget -> octree, widths <----------------------------+      where the error is    calibration where it pays
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..decoding.values import cell_centres
from ..devices import pick_device
from ..events import Finished, Mark, Preview, Progress
from ..format import networks_file
from ..format.networks_file import NetworksHeader
from ..networks.architecture import Architecture
from ..networks.calibration import Corrections
from ..networks.compiled_code import COMPILED_CODE
from ..networks.scalars import Scalars
from ..networks.values import normalise, to_values
from ..networks.weights import architecture_of, to_network
from ..storage.checkpoint import Journal
from . import costs
from .allocation import allocate
from .optimizer import muon_rate
from .packing import allowance_of, pack_tree
from .partition import partition
from .task import BATCH, Task, count_starts, count_steps, products_per_point, start_steps
from .trainer import Fitted, Schedule, Snapshot, train

PILOT_SHARE = 0.3  # After this share of the schedule, boxes may become scalars, and rounding begins.
LEAST_PILOT = 150  # Pilots of fewer steps are not used: their errors do not tell those at the end.
ERROR_STRIDE = 2  # The pilot's error is computed at every second voxel along each axis.
LATE_ERROR_SHARE = 0.25  # The squared error at the end is assumed to be this share of that after the pilot.
SCALAR_STEP = 0.25  # Scalars are rounded to this share of the expected root mean squared error.
STATES = "sorted"  # With another name, states would be taken up that versions before columns were sorted have kept.
AIMED_SHARE = 0.99  # Training aims at this share of the bytes, since a larger file would have to be rounded anew.
PREVIEW_VOXELS = 2**18  # A preview has at most this many voxels, so that it takes a tenth of a second.
NEXT_SEED = 2**64  # Between the seeds of two starts: larger than the seeds that users choose.
EARLY, LATE = 2, 5  # Of the twentieths of the schedule, two in the pilot, after the first steep rise.
SATURATED_DB = 0.02  # A fit that gains less than this between them has learnt what its bytes can hold, as of noise.
LEAST_COMPARED = 1000  # In schedules of fewer steps, chance decides whether a twentieth is better than another.
SATURATED_SHARE = 0.2  # What is left of such a schedule then has this share of its steps,
LEAST_REST = 400  # but at least this many, in which weights learn to be rounded.
NO_ROUNDING = 2.0  # A share of the schedule that never comes.

Training = Generator[Progress | Mark | Preview, None, Fitted | None]  # Returns the parameters; None if it is cancelled.


def fit_tree(task: Task, share: float = 1.0) -> Generator[Progress | Mark | Preview | Finished]:
    """Fit one tree; yield events, and :class:`Finished` last. It ends without this if it is cancelled.

    Parameters
    ----------
    task : the volume, the size of its file and how to fit.
    share : share of the preset's steps to train for, 0 to 1.
    """
    began = time.perf_counter()
    header, volume = task.header, task.volume
    if not header.std_q:  # a constant volume needs no network
        yield from pack_tree(task, header, Scalars.none(), None, np.zeros(volume.shape, np.float32), began)
        return
    COMPILED_CODE.use()
    normalised = normalise(volume, header)
    beneath = 0.0  # mean squared error of the background
    if task.background is not None:
        hidden = task.background.hidden
        errors = np.subtract(task.background.smooth[hidden], volume[hidden], dtype=np.float64) / header.std
        beneath = float(errors @ errors) / volume.size
        normalised[hidden] = np.nan  # is not learnt
    header, allowance = _plan_networks(task, header)
    steps = count_steps(task.settings.preset, volume.size, share)
    rate = muon_rate(int(header.widths.max()), header.layers * (header.tree.depth + 1))
    rounded = header.weights_format.is_entropy_coded
    schedule = Schedule(steps, BATCH[task.settings.preset], rate, rounding_from=PILOT_SHARE if rounded else NO_ROUNDING)
    peak = (header.value_range[1] - header.value_range[0]) / header.std
    packing = _packing_time(task, header)
    scalars = Scalars.none()
    n_starts, each = count_starts(int(header.widths.max()), steps), start_steps(steps)
    kept_states = task.journal.under(STATES)
    last: Progress | None = None

    def fitting(
        schedule: Schedule, nbytes: float, fixed: float, start: Fitted | None, journal: Journal, nth: int | None = None
    ) -> Training:
        """Train ``start``, or the nth random parameters; return what becomes of them, None if that is cancelled."""
        nonlocal last
        architecture, offset, fitted = architecture_of(header), time.perf_counter() - began, None
        extra = (n_starts - 1) * each + (start.updates - round(schedule.begin * schedule.steps) if start else 0)
        ahead = extra if nth is None else nth * each
        seed = task.settings.seed + (nth or 0) * NEXT_SEED
        for event in train(
            normalised, architecture, schedule, nbytes=nbytes, peak=peak, device=task.settings.device, seed=seed,
            control=task.control, start=start, fixed=fixed, journal=journal, importance=task.importance,
            threads=task.threads,
        ):  # fmt: skip
            if isinstance(event, Fitted):
                fitted = event
            elif isinstance(event, Progress):
                last = _with_other_steps(event, ahead, extra)
                last = replace(last, seconds=offset + event.seconds, seconds_left=packing.seconds_left(last))
                yield last
            else:
                yield _preview(architecture, event.vector, scalars, header) if isinstance(event, Snapshot) else event
        return fitted

    def kept(journal: Journal, training: Training) -> Training:
        """Return what the journal has kept of a training, or train and keep the result."""
        if (result := journal.load("result.done")) is not None:
            return Fitted(**result)
        fitted = yield from training
        if fitted and not task.control.stop.is_set():
            journal.save_result(fitted.state())
        return fitted

    def piloting(schedule: Schedule, journal: Journal) -> Training:
        """Train the best of several random parameters, unless the journal has a state to go on from."""
        best = None
        if n_starts > 1 and journal.load("training.state") is None:
            short = replace(schedule, end=each / steps)
            for nth in range(n_starts):
                part = kept_states.under(f"start{nth}")
                one = yield from kept(part, fitting(short, allowance, beneath, None, part, nth))
                if one and (best is None or math.isnan(best.loss) or one.loss < best.loss):
                    best = one
                if task.control.stop.is_set():
                    break
            if best is None:
                return None  # cancelled
            schedule = replace(schedule, begin=best.updates / steps)
        return (yield from fitting(schedule, allowance, beneath, best, journal))

    pilot, whole = (kept_states.under(phase) for phase in ("pilot", "whole"))
    fitted = yield from kept(pilot, piloting(replace(schedule, end=PILOT_SHARE), pilot))
    if fitted is None:
        return
    is_cut_short = task.control.stop.is_set() and whole.load("training.state") is None
    if is_cut_short:
        whole = Journal()
    header, fitted, scalars, fixed = _partition(task, header, fitted, normalised, is_cut_short)
    allowance = allowance_of(task, header, scalars)
    begin = fitted.updates / steps  # less than PILOT_SHARE if stopped
    if steps >= LEAST_COMPARED and _is_saturated(fitted.losses):
        rest = max(SATURATED_SHARE * (1 - begin) * steps, LEAST_REST)
        schedule = replace(schedule, steps=min(steps, round(rest / (1 - begin))))
    schedule = replace(schedule, begin=begin, rounding_from=begin if rounded else NO_ROUNDING)
    fitted = yield from fitting(schedule, AIMED_SHARE * allowance, fixed + beneath, fitted, whole)
    if fitted is None or last is None:
        return
    yield replace(last, phase="packing", seconds=time.perf_counter() - began)
    yield from pack_tree(task, header, scalars, fitted, normalised, began)


def _with_other_steps(event: Progress, ahead: int, extra: int) -> Progress:
    """Count the ``extra`` steps of other trainings to those of this one; ``ahead`` of them were before it."""
    step, steps = event.step + ahead, event.steps + extra
    left = event.seconds_left * (steps - step) / (event.steps - event.step) if event.step < event.steps else 0.0
    return replace(event, step=step, steps=steps, seconds_left=left)


def _is_saturated(losses: NDArray[np.float64]) -> bool:
    """Tell whether the pilot has hardly learnt anything since its first third."""
    early, late = losses[EARLY], losses[LATE]
    return bool(late > 0 and early < late * 10 ** (SATURATED_DB / 10))


def _packing_time(task: Task, header: NetworksHeader) -> costs.PackingTime:
    """Return the usual time of packing a task."""
    products = products_per_point(header.tree, networks_file.parameter_counts(header))
    return costs.PackingTime(
        costs.step_seconds(products, BATCH[task.settings.preset]),
        costs.packing_seconds(task.volume.size, products),
        keeps_pace=pick_device(task.settings.device) == "cpu",
    )


def _preview(
    architecture: Architecture, vector: NDArray[np.float32], scalars: Scalars, header: NetworksHeader
) -> Preview:
    """Decode the parameters so far, coarsely."""
    factor = preview_factor(header.shape)
    grid = cell_centres([range(-(-n // factor)) for n in header.shape], factor, header.shape)
    network = to_network(architecture, vector, Corrections.none(len(architecture.heads)), scalars)
    return Preview(to_values(network.on_grid(grid), header), factor)


def preview_factor(shape: Sequence[int]) -> int:
    """Return the edge, in voxels, of the cells of a preview."""
    factor = 1
    while math.prod(-(-n // factor) for n in shape) > PREVIEW_VOXELS:
        factor *= 2
    return factor


def _plan_networks(task: Task, header: NetworksHeader) -> tuple[NetworksHeader, float]:
    """Return the header with networks that the budget pays for, and the bytes that are left for their weights."""
    allowance = allowance_of(task, header)
    for _ in range(8):  # the tree takes bytes too, so that its weights may have to be fewer
        octree, widths, layers = allocate(
            header.shape, allowance, header.weights_format, task.settings.levels, task.settings.widths,
            task.settings.favour_decoding_speed,
        )  # fmt: skip
        header = replace(header, tree=octree, widths=widths.astype(np.int16), layers=layers)
        before, allowance = allowance, allowance_of(task, header)
        if before <= allowance:
            break
    return header, allowance


def _partition(
    task: Task, header: NetworksHeader, pilot: Fitted, normalised: NDArray[np.float32], is_cut_short: bool
) -> tuple[NetworksHeader, Fitted, Scalars, float]:
    """Turn boxes below the networks into scalars if that pays, by the errors of a pilot fit.

    Returns
    -------
    The header, the pilot's parameters and the scalars of the new tree, and the mean squared error that scalars add.
    """
    if is_cut_short or pilot.updates < LEAST_PILOT or not header.weights_format.is_entropy_coded:
        return header, pilot, Scalars.none(), 0.0  # without rounding there is no room; a short pilot knows too little
    architecture = architecture_of(header)
    network = to_network(architecture, pilot.vector, Corrections.none(len(architecture.heads)), Scalars.none())
    grid = [np.arange(0, n, ERROR_STRIDE, dtype=np.float64) + 0.5 for n in header.shape]
    outputs = network.on_grid(grid, check=task.control.check)
    low, high = ((value - header.mean) / header.std for value in header.value_range)
    errors = (
        np.clip(outputs, low, high) - normalised[::ERROR_STRIDE, ::ERROR_STRIDE, ::ERROR_STRIDE]
    ) ** 2 * np.float32(LATE_ERROR_SHARE)
    errors = np.nan_to_num(errors, copy=False)  # none where the background is
    counts = networks_file.parameter_counts(header)
    per_network = 8 * allowance_of(task, header) * counts[header.tree.leaves].mean() / counts.sum()
    partitioned = partition(
        normalised,
        errors,
        ERROR_STRIDE,
        header.tree,
        architecture.widths,
        per_network,
        8 * task.budget,
        task.importance,
    )
    if partitioned is None:
        return header, pilot, Scalars.none(), 0.0
    scalars = Scalars.of(partitioned.values, SCALAR_STEP * math.sqrt(max(1e-12, float(errors.mean()))))
    header = replace(header, tree=partitioned.octree, widths=partitioned.widths.astype(np.int16))
    smaller = architecture_of(header)
    vector, momentum, square = (
        architecture.carry(values, smaller) for values in (pilot.vector, pilot.momentum, pilot.square)
    )
    pilot = replace(pilot, vector=vector, momentum=momentum, square=square)
    return header, pilot, scalars, partitioned.squares / task.volume.size
