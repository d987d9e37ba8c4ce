"""Usual durations of the stages of a job, in seconds on two idle cores of the machine of docs/benchmarks/.

Another machine, or a busy one, takes longer for all stages. What one stage has taken says how much longer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from ..devices import cpu_count
from ..events import Progress

STEP_SECONDS = 4e-4  # A training step takes this long in addition to its arithmetic.
TRAINING_FLOPS = 150e9  # A core does this many floating-point operations a second in training,
FLOPS = 57e9  # and this many in decoding.
MEASURE_SECONDS = 2.8e-7  # Measuring a result takes this long for each voxel.
BOX_SECONDS = 0.26  # The predictive coder takes this long for each box, however small,
CODE_SECONDS = 6.2e-7  # and this long for each voxel.
CHECK_SECONDS = 4e-7  # Decoding and measuring what it coded takes this long for each voxel.
USUAL_ROUNDS = 3  # A search for a size or a PSNR codes all boxes about as often.


def step_seconds(n_products: int, batch: int) -> float:
    """Return the usual seconds of a training step.

    Parameters
    ----------
    n_products : weights that one voxel meets on its way from the root to a leaf.
    batch : voxels in a step.
    """
    return STEP_SECONDS + 6 * n_products * batch / (cpu_count() * TRAINING_FLOPS)


def packing_seconds(n_voxels: int, n_products: int) -> float:
    """Return the usual seconds for decoding and measuring a trained tree."""
    return n_voxels * (MEASURE_SECONDS + 2 * n_products / (cpu_count() * FLOPS))


def coding_seconds(sizes: Sequence[int]) -> float:
    """Return the usual seconds for coding boxes of these numbers of voxels once with the predictive coder."""
    return sum(BOX_SECONDS + CODE_SECONDS * size for size in sizes)


def checking_seconds(sizes: Sequence[int]) -> float:
    """Return the usual seconds for checking the boxes that were coded."""
    return CHECK_SECONDS * sum(sizes)


class PackingTime:
    """The time that packing will take after a training, at the pace of the training's steps so far.

    Parameters
    ----------
    step, packing : usual seconds of a step, and of packing.
    keeps_pace : whether both run on the same device, so that the pace of one tells that of the other.
    """

    def __init__(self, step: float, packing: float, *, keeps_pace: bool) -> None:
        self._step, self._packing, self._keeps_pace = step, packing, keeps_pace
        self._pace = 1.0

    def seconds_left(self, event: Progress) -> float:
        """Return the seconds left of training and packing together; nan while the training does not know its own."""
        remaining = event.steps - event.step
        if self._keeps_pace and remaining and math.isfinite(event.seconds_left):
            self._pace = event.seconds_left / remaining / self._step
        return event.seconds_left + self._pace * self._packing


def pace(event: Progress, usual: float) -> float:
    """Return how many times as long as usual a stage takes, by its progress; 1 while that is not known."""
    total = event.seconds + event.seconds_left
    return total / usual if math.isfinite(total) and usual else 1.0


def with_later_stages(event: Progress, began: float, later_seconds: float) -> Progress:
    """Return the progress of a job, from that of a stage that ``later_seconds`` of other stages follow.

    ``began`` is when the job began, on the clock of :func:`time.perf_counter`.
    """
    return replace(event, seconds=time.perf_counter() - began, seconds_left=event.seconds_left + later_seconds)
