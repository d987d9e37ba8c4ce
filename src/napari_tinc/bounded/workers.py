"""Threads that code boxes side by side, or share the planes of one."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, Token
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

from ..devices import cpu_count

S = TypeVar("S")
T = TypeVar("T")
_THREADS = ContextVar("threads", default=1)  # of the boxes that the calling thread codes
_POOL: ContextVar[ThreadPoolExecutor | None] = ContextVar("pool", default=None)  # of the context around
LEAST_VOXELS = 2**14  # Fewer are not shared: to begin and to end takes as long as their work.
LEAST_BOX = 2**19  # Boxes of fewer voxels have one thread: others would wait for Python's lock most of the time.


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


class Later(Generic[T]):
    """A call that is made once: by a thread that has time, or by whoever needs the result before."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._lock = threading.Lock()
        self._results: list[T] = []
        self._error: BaseException | None = None

    def result(self) -> T:
        """Make the call, unless it was made; return its result, or raise its error, whoever made it.

        If it is being made, wait for that.
        """
        with self._lock:
            if self._work is not None:
                work, self._work = self._work, None  # and all that it refers to
                try:
                    self._results.append(work())
                except BaseException as error:
                    self._error = error
            if self._error is not None:
                raise self._error
            return self._results[0]


class Workers:
    """Threads that share work on a box of so many voxels while the context is entered: the caller's, and others
    (:func:`in_threads`)."""

    def __init__(self, size: int = LEAST_BOX) -> None:
        self._threads = _THREADS.get() if size >= LEAST_BOX else 1
        self._pool: ThreadPoolExecutor | None = None
        self._token: Token[ThreadPoolExecutor | None] | None = None

    def __enter__(self) -> Workers:
        """Start the other threads, but for those of a context around this one, which do its work too."""
        if self._threads > 1:
            self._pool = _POOL.get()
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads - 1)
                self._token = _POOL.set(self._pool)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        """End the other threads, and leave what they have not begun to who asks for its result."""
        if self._pool is not None and self._token is not None:
            _POOL.reset(self._token)
            self._pool.shutdown(cancel_futures=True)
        self._pool = self._token = None

    @property
    def are_several(self) -> bool:
        """Whether there are other threads than the caller's."""
        return self._pool is not None

    def share(self, shape: Sequence[int], work: Callable[[slice], None]) -> None:
        """Call ``work`` for all planes of a shape along its first axis, in parts at the same time if it is large.

        The caller makes the calls that no other thread has begun with.
        """
        n = shape[0]
        is_shared = self._pool is not None and math.prod(shape) >= LEAST_VOXELS
        n_parts = min(n, self._threads) if is_shared else 1
        if n_parts == 1:
            work(slice(0, n))
            return
        cuts = [slice(n * part // n_parts, n * (part + 1) // n_parts) for part in range(n_parts)]
        parts = [Later(partial(work, cut)) for cut in cuts]
        if self._pool is not None:
            for part in parts[:0:-1]:  # the others begin at the end
                self._pool.submit(part.result)
        for part in parts:
            part.result()

    def later(self, size: int, work: Callable[[], T]) -> Later[T]:
        """Let another thread make a call, in the order in which they are given.

        It is made at once if there is no other thread, or its work is on few voxels.
        """
        call = Later(work)
        if not self.begin(size, call):
            call.result()
        return call

    def begin(self, size: int, call: Later[Any]) -> bool:
        """Let another thread make a call, unless there is none or the call works on few voxels; return whether."""
        if self._pool is None or size < LEAST_VOXELS:
            return False
        self._pool.submit(call.result)
        return True


def at_the_same_time(one: Callable[[], T], other: Callable[[], S], size: int = LEAST_BOX) -> tuple[T, S]:
    """Call two functions and return the results of both: the other in a thread, if one may be used for a box of so many
    voxels (:class:`Workers`) and has time. It shares its own boxes with no thread."""
    with Workers(size) as workers:
        if not workers.are_several:
            return one(), other()
        later = workers.later(LEAST_VOXELS, other)
        return one(), later.result()
