"""What the stages of a job take, in seconds on two idle cores of the machine of docs/benchmarks/.

Another machine, or a busy one, takes longer for all of them: what a stage has really taken says how much longer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from ..devices import cpu_count
from ..events import Progress

STEP_SECONDS = 3.5e-3  # A training step takes as long whatever its widths,
FLOPS = 57e9  # and a core does as much arithmetic a second, in training and in decoding.
MEASURE_SECONDS = 2.8e-7  # Measuring a result takes as long a voxel.
BOX_SECONDS = 0.26  # The predictive coder takes as long for a box, however small,
CODE_SECONDS = 6.2e-7  # and as long a voxel.
CHECK_SECONDS = 4e-7  # Decoding and measuring what it coded takes as long a voxel.
USUAL_ROUNDS = 3  # A search for a size or a PSNR codes all boxes about as often.


def step_seconds(n_products: int, batch: int) -> float:
    """Of a training step: forward and twice back through ``n_products`` weights a voxel."""
    return STEP_SECONDS + 6 * n_products * batch / (cpu_count() * FLOPS)


def packing_seconds(n_voxels: int, n_products: int) -> float:
    """Of decoding and measuring what was trained."""
    return n_voxels * (MEASURE_SECONDS + 2 * n_products / (cpu_count() * FLOPS))


def coding_seconds(sizes: Sequence[int]) -> float:
    """Of coding boxes of so many voxels once without networks."""
    return sum(BOX_SECONDS + CODE_SECONDS * size for size in sizes)


def checking_seconds(sizes: Sequence[int]) -> float:
    """Of checking what was coded."""
    return CHECK_SECONDS * sum(sizes)


class PackingTime:
    """What is told of the packing that follows a training: its usual seconds, at the pace of the steps so far.

    Parameters
    ----------
    step, packing : usual seconds of either.
    keeps_pace : whether both run on the same device.
    """

    def __init__(self, step: float, packing: float, *, keeps_pace: bool) -> None:
        self._step, self._packing, self._keeps_pace = step, packing, keeps_pace
        self._pace = 1.0

    def seconds_left(self, event: Progress) -> float:
        """Of training and packing together; nan where the training does not say its own."""
        remaining = event.steps - event.step
        if self._keeps_pace and remaining and math.isfinite(event.seconds_left):
            self._pace = event.seconds_left / remaining / self._step
        return event.seconds_left + self._pace * self._packing


def pace(event: Progress, usual: float) -> float:
    """How many times as long as usual a stage takes, by what it says of itself; 1 where that is nothing yet."""
    total = event.seconds + event.seconds_left
    return total / usual if math.isfinite(total) and usual else 1.0


def with_later_stages(event: Progress, began: float, later_seconds: float) -> Progress:
    """The progress of a job that began then, from that of a stage, after which ``more`` seconds come."""
    return replace(event, seconds=time.perf_counter() - began, seconds_left=event.seconds_left + later_seconds)
