"""How long work ends without a result: given up, by a check that it calls every few hundred milliseconds; or dead."""

from __future__ import annotations

from collections.abc import Callable


class Cancelled(Exception):
    """The work was given up."""


class ChildError(Exception):
    """Another process ended without a result, or raised what has no counterpart here; one line.

    A note has that process's traceback. Never a RuntimeError: see :class:`napari_tinc.plugin.jobs.job.JobError`.
    """


Check = Callable[[], None]


def never() -> None:
    """The check of work that nobody gives up."""
