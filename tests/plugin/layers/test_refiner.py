"""Pictures that are coarse at first and refined by threads: the queue alone, without napari."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from napari_tinc.plugin.layers import refining
from napari_tinc.plugin.layers.refining import Piece, Refiner

SECONDS = 10


def until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


class Rows:
    """A row a piece, true values 10 a row and coarse ones 7; a piece is refined while its gate is open."""

    dtype = np.dtype(np.uint8)
    state: Any = 0
    losses = 0

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.began: list[int] = []
        self.kept: list[np.ndarray] = []
        self.ready = False
        self.fails = False

    def _decode(self, factor: int, ranges: Any) -> np.ndarray:
        return np.full([len(axis) for axis in ranges], 10 * (1 + ranges[0][0]), np.uint8)

    def at_hand(self, factor: int, ranges: Any) -> np.ndarray | None:
        return self._decode(factor, ranges) if self.ready else None

    def quick(self, factor: int, ranges: Any) -> np.ndarray:
        return np.full([len(axis) for axis in ranges], 7, np.uint8)

    def sketches(self, factor: int, ranges: Any) -> list[Piece]:
        return []

    def sketch(self, factor: int, ranges: Any, check: Any) -> np.ndarray:
        return self.quick(factor, ranges)

    def pieces(self, factor: int, ranges: Any) -> list[Piece]:
        return [Piece((ranges[0], range(at, at + 1)), frozenset([at // 2])) for at in ranges[1]]

    def refined(self, factor: int, piece: Piece, check: Any) -> np.ndarray:
        self.began.append(piece.ranges[0][0])
        while not self.gate.wait(0.01):
            check()
        if self.fails:
            raise OSError("no such disk")
        return self._decode(factor, piece.ranges)

    def keep(self, factor: int, ranges: Any, values: np.ndarray) -> None:
        self.kept.append(values.copy())


@pytest.fixture
def refiner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Refiner[Any]]:
    monkeypatch.setattr(refining, "PATIENCE_SECONDS", 0.0)
    refiner: Refiner[Any] = Refiner(2)
    yield refiner
    refiner.close()


def view(row: int) -> tuple[range, range]:
    return range(row, row + 1), range(8)


def test_a_picture_is_coarse_then_true(refiner: Refiner[Any]) -> None:
    rows = Rows()
    values, complete, _ = refiner.draw("a", rows, 1, view(0))
    assert (values == 7).all() and not complete and not refiner.progressed()
    rows.gate.set()
    until(lambda: refiner.finished("a"))
    assert refiner.progressed() == ["a"] == refiner.clients()
    values, complete, _ = refiner.draw("a", rows, 1, view(0))
    assert (values == 10).all() and complete and len(rows.began) == 8
    assert not refiner.progressed() and not refiner.clients() and (rows.kept[-1] == 10).all()
    assert refiner.draw("a", rows, 1, view(0))[1] and len(rows.began) == 8  # of the picture that is there


def test_what_takes_no_time_is_true_at_once(refiner: Refiner[Any]) -> None:
    rows = Rows()
    rows.ready = True
    values, complete, _ = refiner.draw("a", rows, 1, view(3))
    assert (values == 40).all() and complete and not rows.began


def test_a_single_step_waits_a_moment_and_a_drag_does_not(
    refiner: Refiner[Any], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(refining, "PATIENCE_SECONDS", 10.0)
    monkeypatch.setattr(refining, "STEP_SECONDS", 10.0)
    rows = Rows()
    rows.gate.set()
    assert refiner.draw("a", rows, 1, view(0))[1]
    rows.gate.clear()
    assert not refiner.draw("a", rows, 1, view(1))[1]


def test_the_latest_wins_and_what_was_not_begun_is_dropped(refiner: Refiner[Any]) -> None:
    rows = Rows()
    for row in range(20):
        refiner.draw("a", rows, 1, view(row))
        if row == 0:
            until(lambda: len(rows.began) == 2)
    rows.gate.set()
    until(lambda: refiner.finished("a"))
    values, *_ = refiner.draw("a", rows, 1, view(19))
    assert (values == 200).all() and rows.began.count(0) == 2 and set(rows.began) == {0, 19}


def test_a_block_is_decoded_by_one_thread(refiner: Refiner[Any]) -> None:
    """Two pieces of it would be two threads that decode it, or one that waits."""
    rows = Rows()
    refiner.draw("a", rows, 1, (range(1), range(2)))
    until(lambda: len(rows.began) == 1)
    time.sleep(0.05)
    assert len(rows.began) == 1
    rows.gate.set()
    until(lambda: refiner.finished("a"))
    assert len(rows.began) == 2


def test_pictures_of_several_clients_are_all_made(refiner: Refiner[Any]) -> None:
    rows = Rows()
    for client in "abc":
        refiner.draw(client, rows, 1, view(1))
    refiner.pause("b")
    rows.gate.set()
    until(lambda: refiner.finished("a") and refiner.finished("c"))
    assert refiner.progressed() == ["a", "c"] and not refiner.finished("b")
    refiner.draw("b", rows, 1, view(1))
    until(lambda: refiner.finished("b"))
    refiner.forget("b")
    assert "b" not in refiner.clients()


def test_another_state_is_another_picture(refiner: Refiner[Any]) -> None:
    rows = Rows()
    rows.gate.set()
    refiner.draw("a", rows, 1, view(0))
    until(lambda: refiner.finished("a"))
    rows.state = 1
    rows.gate.clear()
    assert (refiner.draw("a", rows, 1, view(0))[0] == 7).all()


def test_a_picture_with_a_loss_is_shown_but_not_kept(refiner: Refiner[Any]) -> None:
    rows = Rows()
    refiner.draw("a", rows, 1, view(0))
    rows.losses = 1
    rows.gate.set()
    until(lambda: refiner.finished("a"))
    assert refiner.draw("a", rows, 1, view(0))[1] and not rows.kept
    assert not refiner.draw("a", rows, 1, view(0))[1]  # It is tried again.


def test_what_goes_wrong_is_reported_once(refiner: Refiner[Any]) -> None:
    rows = Rows()
    rows.fails = True
    rows.gate.set()
    refiner.draw("a", rows, 1, view(0))
    until(lambda: refiner.finished("a"))
    assert [str(error) for error in refiner.errors()] == ["no such disk"] and not refiner.errors()
    assert (refiner.draw("a", rows, 1, view(0))[0] == 7).all()


def test_closing_ends_what_is_being_done() -> None:
    refiner: Refiner[Any] = Refiner(2)
    refiner.draw("a", Rows(), 1, view(0))
    began = time.monotonic()
    refiner.close()
    assert time.monotonic() - began < 1 and not any(thread.is_alive() for thread in refiner._threads)
