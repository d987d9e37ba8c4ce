"""Threads of a box: every call is made once, by whoever has time, and errors reach the caller."""

from __future__ import annotations

import threading
import time

import pytest

from napari_tinc.bounded.workers import LEAST_VOXELS, Later, Workers, at_the_same_time, in_threads


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_shared_work_is_done_once_while_others_are_busy(threads: int) -> None:
    done: list[int] = []
    with in_threads(threads), Workers() as workers:
        busy = workers.later(LEAST_VOXELS, lambda: time.sleep(0.05) or 7)
        workers.share((10, LEAST_VOXELS), lambda planes: done.extend(range(10)[planes]))
        assert sorted(done) == list(range(10))
        assert busy.result() == 7 == busy.result()


def test_a_call_is_made_by_one_of_those_who_ask() -> None:
    calls: list[int] = []
    later = Later(lambda: calls.append(1) or len(calls))
    askers = [threading.Thread(target=later.result) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert calls == [1] and later.result() == 1


def test_a_call_that_fails_is_not_made_again() -> None:
    """It may have changed what it works on: a box would be encoded wrongly."""
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise MemoryError("no memory")

    with in_threads(2), Workers() as workers:
        later = workers.later(LEAST_VOXELS, fail)
        for _ in range(3):
            with pytest.raises(MemoryError, match="no memory"):
                later.result()
    assert calls == [1]


def test_a_context_inside_another_takes_its_threads() -> None:
    with in_threads(3), Workers() as outer:
        before = threading.active_count()
        with Workers() as inner:
            inner.share((6, LEAST_VOXELS), lambda planes: time.sleep(0.01))
            assert inner.are_several and threading.active_count() <= before + 2
        assert outer.later(LEAST_VOXELS, lambda: 5).result() == 5  # its threads are still there


@pytest.mark.parametrize("threads", [1, 2])
def test_two_calls_at_the_same_time(threads: int) -> None:
    def fail() -> int:
        raise ValueError("not possible")

    with in_threads(threads):
        assert at_the_same_time(lambda: 1, lambda: "two") == (1, "two")
        for calls in ((lambda: 1, fail), (fail, lambda: 1)):
            with pytest.raises(ValueError, match="not possible"):
                at_the_same_time(*calls)
