"""Pictures that are shown coarsely at once and refined by threads, of whatever is wanted last. No napari, no Qt."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...control import Check
from ...decoding.lazy_array import Decoder
from ...decoding.values import THIN
from ...devices import cpu_count
from ...errors import Cancelled

MOST_THREADS = 4  # More threads wait for Python's lock longer than they decode.
NICENESS = 5  # A step in a busy window took 190 ms at 0, 80 ms at 5, and 65 ms at 10, which starves the threads.
PATIENCE_SECONDS = 0.06  # A single step waits this long for its true values, so that no coarse picture flashes.
STEP_SECONDS = 0.25  # A request that follows the last one sooner is part of a drag, and does not wait at all.
SOLID_SECONDS = 0.3  # A solid picture is refined from then on: without a GPU, drawing it first takes all processors.

Ranges = tuple[range, ...]
Client = TypeVar("Client", bound=Hashable)


class Drawing(NamedTuple):
    """Values to be shown now.

    Attributes
    ----------
    values : true ones, or coarse ones.
    complete : whether all of them are true.
    refined : whether some of them are.
    """

    values: NDArray[Any]
    complete: bool
    refined: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a picture that is decoded by itself.

    Attributes
    ----------
    ranges : its cells along every axis.
    needs : boxes of the file that have to be decoded for it, by one thread at a time.
    """

    ranges: Ranges
    needs: frozenset[Hashable] = frozenset()


class Refinable(Decoder, Protocol):
    """What can be drawn coarsely before it is decoded."""

    @property
    def state(self) -> Hashable:
        """What values depend on beside the place that is asked for: a picture of another state is another one."""

    @property
    def losses(self) -> int:
        """How often something could not be read that may be read later. A picture with a loss is not kept."""

    def at_hand(self, factor: int, ranges: Ranges) -> NDArray[Any] | None:
        """The true values, if they take a few hundredths of a second at most; never reads a file."""

    def quick(self, factor: int, ranges: Ranges) -> NDArray[Any]:
        """Values as good as they can be made at once; never reads a file."""

    def sketches(self, factor: int, ranges: Ranges) -> list[Piece]:
        """Pieces that :meth:`sketch` would show better than :meth:`quick` does."""

    def sketch(self, factor: int, ranges: Ranges, check: Check) -> NDArray[Any]:
        """Coarse values of a piece. They may take a moment."""

    def pieces(self, factor: int, ranges: Ranges) -> list[Piece]:
        """Pieces that make up the picture."""

    def refined(self, factor: int, piece: Piece, check: Check) -> NDArray[Any]:
        """The true values of a piece."""

    def keep(self, factor: int, ranges: Ranges, values: NDArray[Any]) -> None:
        """Remember a picture that is finished, where that is worth it."""


class Picture:
    """What a client looks at: coarse at first, then true piece by piece."""

    def __init__(self, source: Refinable, factor: int, ranges: Ranges) -> None:
        self.source, self.factor, self.ranges, self.state = source, factor, ranges, source.state
        self.losses = source.losses
        self.values = source.quick(factor, ranges)
        self.sketches = deque(source.sketches(factor, ranges))
        self.pieces = deque(_from_the_middle(source.pieces(factor, ranges), ranges))
        self.sketching = self.refining = 0
        self.paused = self.changed = self.refined = False
        self.refined_from = 0.0  # time.monotonic() from which pieces are taken
        self.error: Exception | None = None

    @property
    def complete(self) -> bool:
        return not (self.sketches or self.pieces or self.sketching or self.refining)

    def shows(self, source: Refinable, factor: int, ranges: Ranges) -> bool:
        same = self.source is source and (self.factor, self.ranges) == (factor, ranges)
        return same and self.state == source.state

    @property
    def whole(self) -> bool:
        """Whether it is complete, and nothing was lost meanwhile."""
        return self.complete and self.losses == self.source.losses

    def take(self, busy: set[Hashable]) -> tuple[Piece, bool] | None:
        """The next piece, and whether it is a sketch. Pieces wait for all sketches, which would cover them."""
        if self.sketches:
            self.sketching += 1
            return self.sketches.popleft(), True
        if self.sketching or time.monotonic() < self.refined_from:
            return None
        for at, piece in enumerate(self.pieces):
            if not piece.needs & busy:
                del self.pieces[at]
                self.refining += 1
                return piece, False
        return None

    def put(self, piece: Piece, sketch: bool, values: NDArray[Any] | None) -> None:
        """Enter values of a piece that was taken; None where there are none."""
        if sketch:
            self.sketching -= 1
        else:
            self.refining -= 1
            self.refined = True
        self.changed = True
        if values is not None:
            self.values[_within(piece.ranges, self.ranges)] = values


class Refiner(Generic[Client]):
    """Draws pictures for clients, one each, and refines the one that was asked for last before the others.

    A piece that a thread has begun is finished, and what it decoded is cached, whoever wants it then. Clients are
    compared and hashed; weak references to layers are.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._n_threads = threads or min(cpu_count(), MOST_THREADS)
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._pictures: dict[Client, Picture] = {}  # The one that was asked for last is the last.
        self._busy: set[Hashable] = set()
        self._asked: dict[Client, float] = {}
        self._closed = False

    def draw(self, client: Client, source: Refinable, factor: int, ranges: Ranges) -> Drawing:
        """Values to be shown now. What the client wanted before is dropped."""
        now, solid = time.monotonic(), min(len(axis) for axis in ranges[-3:]) > THIN
        with self._changed:
            patience = 0.0 if solid or now - self._asked.get(client, 0.0) <= STEP_SECONDS else PATIENCE_SECONDS
            self._asked[client] = now
            picture = self._pictures.get(client)
            if picture is not None and picture.shows(source, factor, ranges):
                picture.paused = False
                self._changed.notify_all()
                return self._taken(client, picture)
            self._pictures.pop(client, None)
        values = source.at_hand(factor, ranges)
        if values is not None:
            return Drawing(values, complete=True, refined=True)
        picture = Picture(source, factor, ranges)
        picture.refined_from = now + SOLID_SECONDS if solid else now
        with self._changed:
            self._pictures[client] = picture
            self._start()
            self._changed.notify_all()
            if patience:
                self._changed.wait_for(lambda: picture.complete, patience)
            return self._taken(client, picture)

    def progressed(self) -> list[Client]:
        """Clients whose picture is better than when they took it."""
        with self._changed:
            return [client for client, picture in self._pictures.items() if picture.changed and not picture.paused]

    def finished(self, client: Client) -> bool:
        """Whether the picture of a client is as good as it will be."""
        with self._changed:
            return client not in self._pictures or self._pictures[client].complete

    def clients(self) -> list[Client]:
        """Clients whose picture is not finished, or has not been taken since."""
        with self._changed:
            return [client for client, picture in self._pictures.items() if picture.changed or not picture.complete]

    def pause(self, client: Client) -> None:
        """Leave a picture as it is until it is asked for again."""
        with self._changed:
            if client in self._pictures:
                self._pictures[client].paused = True

    def forget(self, client: Client) -> None:
        """Drop the picture of a client, and what it still wanted."""
        with self._changed:
            self._pictures.pop(client, None)
            self._asked.pop(client, None)

    def errors(self) -> list[Exception]:
        """What has gone wrong since this was called last."""
        with self._changed:
            failed = [picture for picture in self._pictures.values() if picture.error is not None]
            errors = [picture.error for picture in failed if picture.error is not None]
            for picture in failed:
                picture.error = None
        return errors

    def close(self, seconds: float = 0.5) -> None:
        """Give up all work. Threads that are inside of a long computation are waited for, but not forever."""
        with self._changed:
            self._closed = True
            self._pictures.clear()
            self._changed.notify_all()
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _taken(self, client: Client, picture: Picture) -> Drawing:
        picture.changed = False
        if picture.complete and not picture.whole:
            self._pictures.pop(client, None)  # What was lost is tried again when it is asked for again.
        return Drawing(picture.values.copy(), picture.complete, picture.refined)

    def _start(self) -> None:
        while len(self._threads) < self._n_threads:
            thread = threading.Thread(target=self._work, name=f"tinc-refining-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _next(self) -> tuple[Picture, Piece, bool] | None:
        for picture in reversed(self._pictures.values()):
            if not picture.paused and (taken := picture.take(self._busy)):
                return picture, *taken
        return None

    def _until_next(self) -> float | None:
        """Seconds until a picture may be refined that waits for its time; None without such a picture."""
        now = time.monotonic()
        waits = [picture.refined_from - now for picture in self._pictures.values() if picture.refined_from > now]
        return min(waits, default=None)

    def _work(self) -> None:
        give_way()
        with contextlib.suppress(Cancelled):
            while True:
                with self._changed:
                    while (job := self._next()) is None:
                        self._check()
                        self._changed.wait(self._until_next())
                    self._check()
                    picture, piece, sketch = job
                    self._busy |= piece.needs
                self._do(picture, piece, sketch)

    def _do(self, picture: Picture, piece: Piece, sketch: bool) -> None:
        values, error = None, None
        try:
            if sketch:
                values = picture.source.sketch(picture.factor, piece.ranges, self._check)
            else:
                values = picture.source.refined(picture.factor, piece, self._check)
        except Cancelled:
            raise
        except Exception as problem:  # It is reported to the user by whoever asks for errors.
            error = problem
        with self._changed:
            self._busy -= piece.needs
            picture.put(piece, sketch, values)
            picture.error = picture.error or error
            self._changed.notify_all()
        if picture.whole and picture.state == picture.source.state:
            picture.source.keep(picture.factor, picture.ranges, picture.values)

    def _check(self) -> None:
        if self._closed:
            raise Cancelled


def give_way() -> None:
    """Let the window's thread go before the one that calls this, and before those that it starts."""
    if sys.platform == "linux":  # Elsewhere a thread has no priority of its own that Python could set.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _from_the_middle(pieces: Sequence[Piece], ranges: Ranges) -> list[Piece]:
    """Pieces in the order of their distance from the middle, where people look."""
    middle = np.array([(axis[0] + axis[-1]) / 2 for axis in ranges])

    def distance(piece: Piece) -> float:
        return float(np.abs(np.array([(axis[0] + axis[-1]) / 2 for axis in piece.ranges]) - middle).sum())

    return sorted(pieces, key=distance)


def _within(inner: Ranges, outer: Ranges) -> tuple[slice, ...]:
    """Where ranges lie in larger ones of the same steps."""
    return tuple(
        slice((a.start - b.start) // b.step, (a.start - b.start) // b.step + len(a))
        for a, b in zip(inner, outer, strict=True)
    )
