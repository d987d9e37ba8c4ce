"""Giving up amid long work: a check that is called every few hundred milliseconds, and raises."""

from __future__ import annotations

from collections.abc import Callable


class Cancelled(Exception):
    """The work was given up."""


Check = Callable[[], None]


def never() -> None:
    """The check of work that nobody gives up."""
