"""Stages of a job: one that runs another hands its events on, and goes on with what the other ends with."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from ..events import Preview, Progress

Result = TypeVar("Result")


def run_stage(
    events: Iterable[Progress | Preview | Result], adjust: Callable[[Progress], Progress] = lambda progress: progress
) -> Generator[Progress | Preview, None, Result | None]:
    """Hand on the events of a stage, its progress as ``told`` makes it; return its result, None where there is none.

    A stage has no result where it was cancelled.
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
