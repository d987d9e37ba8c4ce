"""The one estimate of a job's time, on a clock that a test moves."""

from __future__ import annotations

import math

import pytest

from napari_tinc.events import Progress
from napari_tinc.plugin.jobs.remaining import MOST_SHARE, Remaining


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def look(left: float) -> Progress:
    return Progress("training", 1, 100, 0.0, left, 1.0, 20.0, None)


def test_before_anything_is_heard_it_is_what_was_expected() -> None:
    clock = Clock()
    remaining = Remaining(10.0, clock)
    clock.now += 4
    assert (remaining.elapsed, remaining.seconds_left, remaining.share_done) == (4.0, 6.0, 0.4)
    clock.now += 20
    assert (remaining.seconds_left, remaining.share_done) == (0.0, MOST_SHARE)
    assert math.isnan(Remaining(0.0, clock).seconds_left) and Remaining(0.0, clock).share_done == 0.0


@pytest.mark.parametrize("expected", [0.0, 5.0, 30.0, 300.0, 3000.0])
def test_from_a_fifth_on_it_is_what_is_measured(expected: float) -> None:
    """A job of 60 s that starts with 6 s before the first step, whatever was expected of it."""
    clock = Clock()
    remaining = Remaining(expected, clock)
    for second in range(6, 60):
        clock.now = 1000.0 + second
        remaining.update(look((60 - second) * (1.1 if second % 2 else 0.9)))  # as uneven as a busy machine
        if second >= 12:
            assert abs(remaining.total_seconds - 60) <= 0.25 * 60
    assert remaining.share_done > 0.9


def test_what_is_not_known_leaves_the_estimate_as_it_was() -> None:
    clock = Clock()
    remaining = Remaining(10.0, clock)
    clock.now += 2
    remaining.update(look(math.nan))
    assert remaining.total_seconds == 10.0


def test_a_single_look_moves_it_little() -> None:
    """The first steps after a pause, as of a second stage, are too few to tell a pace by."""
    clock = Clock()
    remaining = Remaining(0.0, clock)
    for tick in range(1, 300):
        clock.now = 1000.0 + 0.2 * tick
        left = 60 - 0.2 * tick
        remaining.update(look(10 * left if tick == 100 else left))
        assert abs(remaining.total_seconds - 60) <= 0.9 * 60


def test_the_share_that_is_told_never_falls() -> None:
    """A job that turns out to be three times as long as it was expected to be."""
    clock = Clock()
    remaining = Remaining(20.0, clock)
    told = []
    for second in range(1, 60):
        clock.now = 1000.0 + second
        remaining.update(look(60 - second))
        told.append(remaining.share_done)
    assert told == sorted(told) and told[-1] <= MOST_SHARE
