"""Compiled functions are made once, and whole, for all threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from types import FunctionType
from typing import Any

from napari_tinc.compiled import _Compiled


class _Slow(_Compiled):
    """One that another thread has to wait for."""

    asked, given = threading.Event(), threading.Event()

    @property
    def dispatcher(self) -> Any:
        self.asked.set()
        assert self.given.wait(30)
        return abs


def test_no_thread_gets_a_function_whose_module_is_half_made() -> None:
    """It was called while it still named functions that were not compiled: TypingError, once in a newcomer's fit."""
    names: dict[str, Any] = {"__name__": "somewhere", "slow": _Slow(abs, fastmath=False)}
    names["one"] = _Compiled(FunctionType((lambda x: x).__code__, names, "one"), fastmath=False)
    one: _Compiled = names["one"]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: one.dispatcher)
        assert _Slow.asked.wait(30)
        second = pool.submit(lambda: one.dispatcher)
        try:
            assert not wait([second], 0.3).done
        finally:
            _Slow.given.set()
        assert first.result() is second.result() is names["one"]
        assert names["slow"] is abs
