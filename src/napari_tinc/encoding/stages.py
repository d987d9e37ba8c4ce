"""Stages of a job: run one inside another, hand its events on, and return its result."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from ..events import Mark, Preview, Progress

LEAST_DONE = 0.3  # Networks are not given up before this share of their work is done.
# Networks are given up if even this much improvement over the rest of their schedule would not be enough:
# sim_turbulence at ratio 64 gained 8.6 dB.
LARGEST_LATE_GAIN_DB = 9.0

Result = TypeVar("Result")


def run_stage(
    events: Iterable[Progress | Preview | Result], adjust: Callable[[Progress], Progress] = lambda progress: progress
) -> Generator[Progress | Preview, None, Result | None]:
    """Hand on the events of a stage, and return its result; None if it was cancelled.

    Parameters
    ----------
    adjust : changes every :class:`Progress`, as from that of the stage to that of the job.
    """
    result: Result | None = None
    for event in events:
        if isinstance(event, Progress):
            yield adjust(event)
        elif isinstance(event, Preview):
            yield event
        else:
            result = event
    return result


def is_hopeless(mark: Mark, wanted: float) -> bool:
    """Return whether a fit will not reach a PSNR, even if the rest of its schedule gains as much as any has."""
    return mark.done >= LEAST_DONE and mark.psnr + LARGEST_LATE_GAIN_DB * (1 - mark.done) + 1 < wanted
