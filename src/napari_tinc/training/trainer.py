"""Train the networks: Muon and Adam on small random batches; later with rounded weights, at a price for their bits.

On a CPU the batch is cut into shards, for one thread or several; what they and the optimiser compute is compiled. A GPU
only has the gradient of a whole batch. All parameters are in one flat vector.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..control import Control
from ..devices import cpu_count, pick_device, release_cached_memory
from ..events import Mark, Progress
from ..format.widths import heads_of_leaves
from ..metrics import psnr
from ..networks.architecture import Architecture
from ..networks.streams import saved_bits
from ..storage.checkpoint import CHECKPOINT_SECONDS, RESULT_SECONDS, Journal, State
from .learned_rounding import LearnedRounding
from .optimizer import Optimizer, learning_rate
from .sampling import Sampler
from .shards import Map, Shards, in_threads
from .torch_shard import OutOfGpuMemory, TorchShards

OPENING_BITS = 1.1  # Rounding begins with this many times the bits of the target,
OPENING_SHARE = 0.3  # and has come down to it after this share of the schedule that is left.
STOPPING_STEPS = 200  # A fit that is stopped takes at least this many steps more, and at most three times as many.
MOST_HALVINGS = 2  # A batch that does not fit into a GPU is halved at most this often; then the fit fails.
# The sampler looks at the errors after this many steps. A state of the training can be kept only then.
LEARNING_STEPS = 100
REPORT_SECONDS = 0.2  # Time between two events of progress.
# The numbers in the state of a training, besides its arrays.
STATE_NUMBERS = ("step", "done", "seconds", "rounding_since", "loss", "saved")
MARKS = 20  # A whole schedule has this many marks, see Mark, and mean losses.
LEAST_SHARDS = 2  # Even one CPU has this many shards, so that it learns the same as two; it costs no time.
MOST_SHARDS = 8  # More CPUs do not help.


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how hard to train.

    Attributes
    ----------
    steps : optimiser steps.
    batch : voxels a step, shared evenly among the cells of the finest level.
    muon_rate, adam_rate : peak learning rates of matrices, and of everything else.
    rounding_from : share of the steps after which weights are rounded and their bits priced.
    begin, end : shares of the schedule to run from and to.
    """

    steps: int
    batch: int = 8192
    muon_rate: float = 0.05
    adam_rate: float = 5e-3
    rounding_from: float = 0.3
    begin: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The parameters during training, after :attr:`.Control.look` was set; rounded if rounding has begun."""

    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A trained network, and all that another training needs to continue it.

    Attributes
    ----------
    vector : float32 parameters.
    momentum, square : what the optimiser remembers of their gradients.
    updates : optimiser steps so far.
    loss : mean squared error over recent batches.
    steps : the rounding step of every tensor of the architecture.
    losses : mean squared error in every twentieth of the schedule, 0 in those that were not trained, or are not known.
    """

    vector: NDArray[np.float32]
    momentum: NDArray[np.float32]
    square: NDArray[np.float32]
    updates: int
    loss: float
    steps: NDArray[np.float64]
    losses: NDArray[np.float64] = field(default_factory=lambda: np.zeros(MARKS))

    def state(self) -> State:
        """Return what a journal keeps."""
        return asdict(self)

    @classmethod
    def initial(cls, architecture: Architecture, seed: int) -> Fitted:
        """Return random parameters, before the first step."""
        nothing = np.zeros(architecture.n_parameters, np.float32)
        return cls(architecture.initial(seed), nothing, nothing, 0, 1.0, np.ones(len(architecture.tensors)))


def train(
    volume: NDArray[np.float32], architecture: Architecture, schedule: Schedule, *, nbytes: float, peak: float,
    device: str = "auto", seed: int = 0, control: Control, start: Fitted | None = None,
    fixed: float = 0.0, journal: Journal | None = None, importance: NDArray[np.float32] | None = None,
    threads: int | None = None,
) -> Iterator[Progress | Mark | Snapshot | Fitted]:  # fmt: skip
    """Train the networks on a volume; yield :class:`Progress` now and then, and :class:`Fitted` last.

    Parameters
    ----------
    volume : normalised to mean 0 and variance 1, (z, y, x).
    nbytes : bytes that the rounded weights may take; the price of a bit is steered towards this.
    peak : range of the volume in the same units, for the PSNR.
    start : a training to continue, instead of random parameters.
    fixed : mean squared error that scalar leaves add to what is reported.
    journal : keeps the state of the training now and then, from which the same call continues.
    importance : weights of the squared errors, of the volume's shape and of mean 1; None for equal ones.
    control : after ``cancel`` nothing more is yielded; after ``stop`` the learning rate falls quickly.
    threads : on a CPU; None for one a core. The result does not depend on them.

    Raises
    ------
    ValueError
        If the device has not enough memory.
    """
    device = pick_device(device)
    n_threads = min(n_shards(), threads or cpu_count()) if device == "cpu" else 1
    try:
        trainer = _Trainer(
            volume, architecture, schedule, nbytes, peak, device, seed, start or Fitted.initial(architecture, seed),
            fixed, importance,
        )  # fmt: skip
        with ExitStack() as stack:
            side_by_side: Map = map
            if n_threads > 1:
                side_by_side = in_threads(stack.enter_context(ThreadPoolExecutor(n_threads - 1)))
            yield from trainer.run(control, journal or Journal(), side_by_side)
        if not control.cancel.is_set():
            yield trainer.fitted()
    except OutOfGpuMemory as error:
        raise error.explained() from error


def n_shards() -> int:
    """Return the number of parts that a batch is cut into on a CPU."""
    return max(LEAST_SHARDS, min(cpu_count(), MOST_SHARDS))


class _Trainer:
    """A training under way: parameters, optimiser, rounding, and the shards that compute gradients."""

    def __init__(
        self, volume: NDArray[np.float32], architecture: Architecture, schedule: Schedule, nbytes: float, peak: float,
        device: str, seed: int, start: Fitted, fixed: float, importance: NDArray[np.float32] | None,
    ) -> None:  # fmt: skip
        self.fixed, self.loss = fixed, start.loss
        self.architecture, self.schedule, self.nbytes, self.peak = architecture, schedule, nbytes, peak
        region_of = heads_of_leaves(architecture.octree, architecture.widths)
        self.sampler = Sampler(volume, architecture.octree, region_of, importance)
        self.device, self.seed, self.updates, self.batch = device, seed, start.updates, schedule.batch
        self.shards = self.make_shards()
        self.vector = start.vector.copy()
        self.optimizer = Optimizer(architecture, schedule.muon_rate, schedule.adam_rate)
        self.optimizer.restore({"momentum": start.momentum, "square": start.square, "steps": start.updates})
        self.rounding = LearnedRounding(architecture)
        self.step, self.done, self.seconds = round(schedule.begin * schedule.steps), schedule.begin, 0.0
        self.rounding_since: float | None = None  # share of the schedule
        self.saved = 0.0  # bits that a file takes less than the rounding counts
        self.sums, self.counts = np.zeros((2, MARKS))  # of the losses of every twentieth

    def make_shards(self) -> Shards | TorchShards:
        """Make the shards for the current batch size."""
        seed = (self.seed, self.updates)
        if self.device != "cpu":
            return TorchShards(self.sampler, self.architecture, self.batch, seed, self.device)
        return Shards(self.sampler, self.architecture, self.batch // n_shards(), seed, n_shards())

    def halve(self) -> None:
        """Halve the batch from here on. Errors noted since the last look are forgotten."""
        del self.shards
        release_cached_memory(self.device)
        self.batch, self.updates = self.batch // 2, self.optimizer.steps
        self.shards = self.make_shards()

    def run(self, control: Control, journal: Journal, side_by_side: Map) -> Iterator[Progress | Mark | Snapshot]:
        """Train from the current step to the end of the schedule, or from the state in the journal.

        ``side_by_side`` is :func:`map`, or that of several threads, for the shards.
        """
        schedule, halvings = self.schedule, 0
        last = round(schedule.end * schedule.steps)
        stopping, pace = False, 1 / schedule.steps  # pace: share of the schedule that a step takes
        if (kept := journal.load("training.state")) is not None:
            self.restore(kept)
            yield self.progress(last, math.nan)
        reported = time.perf_counter()
        began = reported - self.seconds
        warm = (math.nan, self.step)  # seconds and step after the first step, which is slower
        while self.step < last and not control.cancel.is_set():
            if control.stop.is_set() and not stopping:
                if schedule.end < 1:
                    break  # the rest is shortened by the next part of the training
                stopping = True
                last = min(last, self.step + min(3 * STOPPING_STEPS, max(STOPPING_STEPS, self.step // 8)))
                pace = (1 - self.done) / max(1, last - self.step)
            if self.rounding_since is None and (self.done >= schedule.rounding_from or stopping):
                bits = self.nbytes * 8 * OPENING_BITS
                self.rounding.begin(self.vector, self.optimizer.square, bits, self.loss, last - self.step)
                self.rounding_since = self.done
                self.look_at_size()
            try:
                self.update(side_by_side)
            except OutOfGpuMemory:  # a step changes parameters only after all gradients
                halvings += 1
                if halvings > MOST_HALVINGS:
                    del self.shards
                    raise
                self.halve()
                continue
            self.step, self.done = self.step + 1, self.done + pace
            if self.step % LEARNING_STEPS == 0:
                self.sampler.learn(self.shards.draws)
                if self.rounding_since is not None:
                    self.look_at_size()
            if control.look.is_set():
                control.look.clear()
                vector = self.vector if self.rounding_since is None else self.rounding.apply(self.vector)
                yield Snapshot(vector.copy())
            steps = last if schedule.end == 1 else schedule.steps
            if self.step % max(1, schedule.steps // MARKS) == 0:
                yield Mark(self.step / steps, psnr(math.sqrt(self.loss + self.fixed), self.peak))
            self.seconds = time.perf_counter() - began
            if math.isnan(warm[0]):
                warm = (self.seconds, self.step)
            if began + self.seconds - reported > REPORT_SECONDS or self.step == last:
                reported = began + self.seconds
                pace_seconds = (self.seconds - warm[0]) / (self.step - warm[1]) if self.step > warm[1] else math.nan
                yield self.progress(steps, pace_seconds * (steps - self.step) if self.step < steps else 0.0)
            # Only when no errors are pending, and not after a stop: the same call would not repeat its schedule.
            due = RESULT_SECONDS if self.step == last else CHECKPOINT_SECONDS
            if not stopping and (self.step % LEARNING_STEPS == 0 or self.step == last) and journal.is_due(due):
                journal.save("training.state", self.state())

    def look_at_size(self) -> None:
        """Compute how much smaller than the rounding counts a file of the parameters is."""
        self.saved = saved_bits(self.architecture, self.rounding.apply(self.vector), self.rounding.step)

    def update(self, side_by_side: Map) -> None:
        """Make one step."""
        rate = learning_rate(self.done, self.optimizer.steps)
        rounded = self.vector if self.rounding_since is None else self.rounding.apply(self.vector)
        gradient, loss = self.shards.step(rounded, side_by_side)
        if self.rounding_since is not None:
            opening = max(0.0, 1 - (self.done - self.rounding_since) / (1 - self.rounding_since) / OPENING_SHARE)
            bits = (self.nbytes * 8 + self.saved) * (1 + (OPENING_BITS - 1) * opening)
            self.rounding.update(gradient, bits, rate)
        self.optimizer.update(self.vector, gradient, rate)
        self.loss += max(0.05, 1 / self.optimizer.steps) * (loss - self.loss)
        twentieth = min(MARKS - 1, int(self.done * MARKS))
        self.sums[twentieth] += loss
        self.counts[twentieth] += 1

    def progress(self, steps: int, seconds_left: float) -> Progress:
        """Return the progress at the current step."""
        bits = math.nan if self.rounding_since is None else self.rounding.bits - self.saved
        nbytes = round(bits / 8) if math.isfinite(bits) else None  # infinite where the first steps are far too fine
        loss = self.loss + self.fixed
        decibels = psnr(math.sqrt(loss), self.peak)
        return Progress("training", self.step, steps, self.seconds, seconds_left, loss, decibels, nbytes)

    def state(self) -> State:
        """Return all that :meth:`restore` needs to continue from here."""
        return {
            "vector": self.vector, "optimizer": self.optimizer.state(), "rounding": self.rounding.state(),
            "sampler": self.sampler.state(), "random": [draws.rng.bit_generator.state for draws in self.shards.draws],
            "sums": self.sums, "counts": self.counts, **{name: getattr(self, name) for name in STATE_NUMBERS},
        }  # fmt: skip

    def restore(self, state: State) -> None:
        """Continue from a state."""
        self.vector[:] = state["vector"]
        self.optimizer.restore(state["optimizer"])
        self.rounding.restore(state["rounding"])
        self.sampler.restore(state["sampler"])
        if "sums" in state:  # which earlier versions did not keep
            self.sums[:], self.counts[:] = state["sums"], state["counts"]
        for draws, random in zip(self.shards.draws, state["random"], strict=True):
            draws.rng.bit_generator.state = random
        for name in STATE_NUMBERS:
            setattr(self, name, state[name])

    def fitted(self) -> Fitted:
        """Return the trained network."""
        optimizer = self.optimizer
        return Fitted(
            self.vector.copy(), optimizer.momentum.copy(), optimizer.square.copy(), optimizer.steps, self.loss,
            self.rounding.steps(), self.sums / np.maximum(1, self.counts),
        )  # fmt: skip
