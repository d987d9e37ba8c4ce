"""Threads that code boxes side by side, or share the planes of one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TypeVar

from ..devices import cpu_count

S = TypeVar("S")
T = TypeVar("T")
_THREADS = ContextVar("threads", default=1)  # of the boxes that the calling thread codes
LEAST_VOXELS = 2**12  # Fewer are not shared: to begin and to end takes as long as their work.


@contextmanager
def in_threads(count: int | None = None) -> Iterator[None]:
    """Let so many threads share each box that this one encodes or decodes in the context; None for one a core.

    The results are the same.
    """
    token = _THREADS.set(count or cpu_count())
    try:
        yield
    finally:
        _THREADS.reset(token)


def side_by_side(count: int, work: Callable[[int], T]) -> list[T]:
    """Call ``work`` for 0 to ``count`` - 1, one a core at a time, and return the results in that order.

    If there are fewer calls than cores, several threads share each box that one codes (:func:`in_threads`).
    """
    threads = max(1, cpu_count() // max(1, count))

    def one(number: int) -> T:
        """Return one result."""
        with in_threads(threads):
            return work(number)

    if min(count, cpu_count()) <= 1:
        return [one(number) for number in range(count)]
    with ThreadPoolExecutor(min(count, cpu_count())) as pool:
        return list(pool.map(one, range(count)))


def at_the_same_time(one: Callable[[], T], other: Callable[[], S]) -> tuple[T, S]:
    """Call two functions and return the results of both: the other in a thread, if one may be used.

    What :func:`in_threads` says holds for the first; the other shares its boxes with no thread.
    """
    if _THREADS.get() <= 1:
        return one(), other()
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(other)
        return one(), later.result()


class Workers:
    """Threads that share work while the context is entered: the caller's, and others (:func:`in_threads`)."""

    def __init__(self) -> None:
        self._threads = _THREADS.get()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        """Start the other threads."""
        if self._threads > 1:
            self._pool = ThreadPoolExecutor(self._threads - 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        """End the other threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def share(self, shape: Sequence[int], work: Callable[[slice], None]) -> None:
        """Call ``work`` for all planes of a shape along its first axis, in parts at the same time if it is large."""
        n = shape[0]
        parts = min(n, self._threads) if self._pool is not None and math.prod(shape) >= LEAST_VOXELS else 1
        cuts = [slice(n * part // parts, n * (part + 1) // parts) for part in range(parts)]
        others = [self._pool.submit(work, cut) for cut in cuts[1:]] if self._pool is not None else []
        try:
            work(cuts[0])
        finally:
            for other in others:
                other.result()
