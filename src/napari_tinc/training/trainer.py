"""Training: Muon and Adam on small random batches, then the same with weights rounded at a price for their bits.

The gradient is written out (networks/architecture.py) and every array lives in a buffer that is made once, because at
these sizes autograd and allocation cost more than the arithmetic. On a CPU the batch is cut into one shard a thread,
each with kernels of a single thread: no barriers inside an operation. All parameters stand in one flat vector.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..control import Control
from ..devices import cpu_count, pick_device, release_cached_memory
from ..events import Mark, Progress
from ..format.widths import heads_of_leaves
from ..metrics import psnr
from ..networks.architecture import Architecture
from ..storage.checkpoint import CHECKPOINT_SECONDS, RESULT_SECONDS, Journal, State
from .learned_rounding import LearnedRounding
from .learning_rate import learning_rate
from .optimizer import Optimizer
from .sampling import Sampler
from .shards import Shard

if TYPE_CHECKING:
    import torch

OPENING_RATE, OPENING_SHARE = 1.1, 0.3  # rounding begins with more bits, and meets its target by this share of it
STOPPING_STEPS = 200  # at least, and three times that at most, to bring the learning rate down when a fit is stopped
MOST_HALVINGS = 2  # of a batch that does not fit into a GPU
LEARNING_STEPS = 100  # between two looks at where the error is; a state of the training is kept at some of these
REPORT_SECONDS = 0.2
NUMBERS = ("step", "done", "seconds", "rounding_since", "loss")  # of the state, besides its arrays
MARKS = 20  # of a whole schedule, see Mark
LEAST_SHARDS, MOST_SHARDS = 2, 8  # one CPU or two then learn the same, and one pays nothing for it


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
    """The parameters amid training, rounded where they are by then; what :attr:`Control.look` asks for."""

    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A trained network, and all that training needs to go on from it.

    Attributes
    ----------
    vector : float32 parameters.
    momentum, square : what the optimiser remembers of their gradients.
    updates : optimiser steps so far.
    loss : mean squared error over recent batches.
    steps : the rounding step of every tensor of the architecture.
    """

    vector: NDArray[np.float32]
    momentum: NDArray[np.float32]
    square: NDArray[np.float32]
    updates: int
    loss: float
    steps: NDArray[np.float64]

    def state(self) -> State:
        return asdict(self)

    @classmethod
    def initial(cls, architecture: Architecture, seed: int) -> Fitted:
        """Before the first step."""
        nothing = np.zeros(architecture.n_parameters, np.float32)
        return cls(architecture.initial(seed), nothing, nothing, 0, 1.0, np.ones(len(architecture.tensors)))


def train(
    volume: NDArray[np.float32], architecture: Architecture, schedule: Schedule, *, nbytes: float, peak: float,
    device: str = "auto", seed: int = 0, control: Control, start: Fitted | None = None,
    fixed: float = 0.0, journal: Journal | None = None,
) -> Iterator[Progress | Mark | Snapshot | Fitted]:  # fmt: skip
    """Fit the network to a volume; yields a :class:`Progress` now and then, and :class:`Fitted` last.

    Parameters
    ----------
    volume : normalised to mean 0 and variance 1.
    nbytes : what the rounded weights may take; the price of a bit is steered towards it.
    peak : range of the volume in the same units, for the PSNR.
    start : what to go on from, instead of random parameters.
    fixed : mean squared error that scalar leaves add to what is reported.
    journal : keeps the state of the training now and then, which the same call goes on from.
    control : after ``cancel`` nothing more is yielded; after ``stop`` the learning rate falls quickly.
    """
    import torch

    start, chosen = start or Fitted.initial(architecture, seed), pick_device(device)
    try:
        trainer = _Trainer(volume, architecture, schedule, nbytes, peak, chosen, seed, start, fixed)
    except torch.cuda.OutOfMemoryError as error:
        raise _out_of_memory(chosen) from error
    with trainer:
        yield from trainer.run(control, journal or Journal())
        if not control.cancel.is_set():
            yield trainer.fitted()


def _out_of_memory(device: torch.device) -> ValueError:
    """Training does not fit, in words; the cache is freed."""
    import torch

    message = f"training needs more memory than {device.type} has"
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        message = f"training needs more GPU memory: {(total - free) / 1e9:.1f} GB used of {total / 1e9:.1f}"
    release_cached_memory(device)
    return ValueError(f"{message}; use device='cpu', or smaller blocks")


def n_shards() -> int:
    """Into how many parts a batch is cut on a CPU."""
    return max(LEAST_SHARDS, min(cpu_count(), MOST_SHARDS))


class _Trainer:
    def __init__(
        self, volume: NDArray[np.float32], architecture: Architecture, schedule: Schedule, nbytes: float, peak: float,
        device: torch.device, seed: int, start: Fitted, fixed: float,
    ) -> None:  # fmt: skip
        import torch

        self.fixed, self.loss = fixed, start.loss
        self.architecture, self.schedule, self.nbytes, self.peak = architecture, schedule, nbytes, peak
        self.shards = n_shards() if device.type == "cpu" else 1
        region_of = heads_of_leaves(architecture.octree, architecture.widths)
        self.sampler = Sampler(volume, architecture.octree, region_of)
        self.device, self.seed, self.updates, self.batch = device, seed, start.updates, schedule.batch // self.shards
        self.make_workers()
        self.vector = torch.tensor(start.vector, device=device)  # in memory aligned as torch's is, always alike
        self.optimizer = Optimizer(architecture, self.vector, schedule.muon_rate, schedule.adam_rate)
        self.optimizer.restore({"momentum": start.momentum, "square": start.square, "steps": start.updates})
        self.rounding = LearnedRounding(architecture, self.vector)
        self.step, self.done, self.seconds = round(schedule.begin * schedule.steps), schedule.begin, 0.0
        self.rounding_since: float | None = None  # share of the schedule

    def make_workers(self) -> None:
        self.workers = [
            Shard(
                self.sampler,
                self.architecture,
                max(1, self.batch),
                self.device,
                (self.seed, self.updates),
                i,
                self.shards,
            )
            for i in range(self.shards)
        ]

    def halve(self) -> None:
        """Batches of half as many voxels from here on. What was noted of errors since the last look is forgotten."""
        self.workers.clear()
        release_cached_memory(self.device)
        self.batch, self.updates = self.batch // 2, self.optimizer.steps
        self.make_workers()

    def __enter__(self) -> _Trainer:
        import torch

        self.torch_threads = torch.get_num_threads()
        torch.set_num_threads(1)  # this thread's idle helpers would spin on the shards' cores
        self.pool = ThreadPoolExecutor(min(self.shards, cpu_count()), initializer=torch.set_num_threads, initargs=(1,))
        return self

    def __exit__(self, *_: object) -> None:
        import torch

        self.pool.shutdown()
        torch.set_num_threads(self.torch_threads)

    def run(self, control: Control, journal: Journal) -> Iterator[Progress | Mark | Snapshot]:
        import torch

        schedule, halvings = self.schedule, 0
        last = round(schedule.end * schedule.steps)
        stopping, pace = False, 1 / schedule.steps  # a share of the schedule, that a step takes
        if (kept := journal.load("training.state")) is not None:
            self.restore(kept)
            yield self.progress(last, math.nan)
        reported = time.perf_counter()
        began = reported - self.seconds
        warm = (math.nan, self.step)  # when the first step, which is slower, was done
        while self.step < last and not control.cancel.is_set():
            if control.stop.is_set() and not stopping:
                if schedule.end < 1:
                    break  # what follows is for another run to shorten
                stopping = True
                last = min(last, self.step + min(3 * STOPPING_STEPS, max(STOPPING_STEPS, self.step // 8)))
                pace = (1 - self.done) / max(1, last - self.step)
            if self.rounding_since is None and (self.done >= schedule.rounding_from or stopping):
                bits = self.nbytes * 8 * OPENING_RATE
                self.rounding.begin(self.vector, self.optimizer.square, bits, self.loss, last - self.step)
                self.rounding_since = self.done
            try:
                self.update()
            except torch.cuda.OutOfMemoryError as error:  # a step changes nothing before all its gradients are there
                halvings += 1
                if halvings > MOST_HALVINGS:
                    self.workers.clear()
                    raise _out_of_memory(self.device) from error
                self.halve()
                continue
            self.step, self.done = self.step + 1, self.done + pace
            if self.step % LEARNING_STEPS == 0:
                self.sampler.learn([worker.draws for worker in self.workers])
            if control.look.is_set():
                control.look.clear()
                vector = self.vector if self.rounding_since is None else self.rounding.apply(self.vector)
                yield Snapshot(vector.cpu().numpy().copy())
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
            # Not amid what is to be learnt of; and not what a stop makes of it, which nobody can ask for again.
            due = RESULT_SECONDS if self.step == last else CHECKPOINT_SECONDS
            if not stopping and (self.step % LEARNING_STEPS == 0 or self.step == last) and journal.is_due(due):
                journal.save("training.state", self.state())

    def update(self) -> None:
        """One step."""
        rate = learning_rate(self.done, self.optimizer.steps)
        gradient, loss = self.gradient(self.rounding_since is not None)
        if self.rounding_since is not None:
            opening = max(0.0, 1 - (self.done - self.rounding_since) / (1 - self.rounding_since) / OPENING_SHARE)
            gradient = self.rounding.update(gradient, self.nbytes * 8 * (1 + (OPENING_RATE - 1) * opening), rate)
        self.optimizer.update(self.vector, gradient, rate)
        self.loss += max(0.05, 1 / self.optimizer.steps) * (loss - self.loss)

    def progress(self, steps: int, seconds_left: float) -> Progress:
        nbytes = None if self.rounding_since is None else round(self.rounding.bits / 8)
        loss = self.loss + self.fixed
        decibels = psnr(math.sqrt(loss), self.peak)
        return Progress("training", self.step, steps, self.seconds, seconds_left, loss, decibels, nbytes)

    def state(self) -> State:
        """All that :meth:`restore` needs to go on from here."""
        return {
            "vector": self.vector.cpu().numpy(), "optimizer": self.optimizer.state(), "rounding": self.rounding.state(),
            "sampler": self.sampler.state(), "random": [shard.draws.rng.bit_generator.state for shard in self.workers],
            **{name: getattr(self, name) for name in NUMBERS},
        }  # fmt: skip

    def restore(self, state: State) -> None:
        import torch

        self.vector.copy_(torch.from_numpy(state["vector"]))
        self.optimizer.restore(state["optimizer"])
        self.rounding.restore(state["rounding"])
        self.sampler.restore(state["sampler"])
        for worker, random in zip(self.workers, state["random"], strict=True):
            worker.draws.rng.bit_generator.state = random
        for name in NUMBERS:
            setattr(self, name, state[name])

    def gradient(self, rounded: bool) -> tuple[torch.Tensor, float]:
        """Gradient of one batch's mean squared error with respect to the (rounded) parameters, and that error."""
        weights = self.architecture.views(self.rounding.apply(self.vector) if rounded else self.vector)
        losses = list(self.pool.map(lambda worker: worker.step(weights), self.workers))
        total = self.workers[0].gradient
        for worker in self.workers[1:]:
            total += worker.gradient
        return total.mul_(1 / self.shards), sum(losses) / self.shards

    def fitted(self) -> Fitted:
        optimizer = self.optimizer
        vector, momentum, square = (
            values.cpu().numpy().copy() for values in (self.vector, optimizer.momentum, optimizer.square)
        )
        return Fitted(vector, momentum, square, optimizer.steps, self.loss, self.rounding.steps())
