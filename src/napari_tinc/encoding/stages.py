"""Stages of a job: run one inside another, hand its events on, and return its result."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from ..events import Preview, Progress

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
