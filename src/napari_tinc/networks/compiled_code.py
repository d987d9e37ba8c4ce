"""Whether networks are evaluated by compiled code: to load it takes half a second, too long for a single slice."""

from __future__ import annotations

import os
import threading

LOADING_POINTS = 2**22  # A process that has evaluated so many points without it loads compiled code,
COMPILING_POINTS = 2**26  # but only after so many if it has to be compiled first, which takes seconds.
MOST_WAITED = 10.0  # Seconds that a fork waits for it. Loading takes less than one.


class CompiledCode:
    """Whether this process uses compiled code: ``is_used``."""

    def __init__(self) -> None:
        self._points, self.is_used, self._is_missing = 0, False, False
        self._loading: threading.Thread | None = None

    def use(self) -> None:
        """Use it from now on, whatever that takes: who writes a file gets the same bytes whatever was read before."""
        self.is_used = True

    def pays(self, n_points: int, *, waits: bool = True) -> bool:
        """Return whether to use it for so many points, given those that were evaluated before.

        With ``waits`` it is loaded, or compiled, in this call where that pays. Otherwise, as for slices, it is loaded
        by a thread, and not compiled.
        """
        self._points += n_points
        if self.is_used or self._is_missing or self._points < LOADING_POINTS:
            return self.is_used
        if waits:
            self._load(compiles=self._points >= COMPILING_POINTS)
        elif self._loading is None:
            # Its hooks for a fork take locks that loading needs: the hook that is registered last is called first.
            import concurrent.futures.thread  # noqa: F401  # with logging

            self._loading = threading.Thread(target=self._load, name="compiled code")
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(before=self._wait)
            self._loading.start()
        return self.is_used

    def _load(self, compiles: bool = False) -> None:
        """Load it, and use it from then on, if it was compiled before or may be compiled now."""
        try:
            from ..compiled import is_kept
            from .compiled_path import load
            from .run_kernel import evaluate_run
        except ImportError:  # of numba, which does not fit all versions of NumPy: NumPy goes on
            self._is_missing = True
            return
        if compiles or is_kept(evaluate_run):
            load()
            self.is_used = True

    def _wait(self) -> None:
        """Wait until it is loaded: a forked process would wait forever for what a thread has begun to import."""
        if self._loading is not None and self._loading.is_alive():
            self._loading.join(MOST_WAITED)


COMPILED_CODE = CompiledCode()
