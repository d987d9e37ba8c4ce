"""Whether networks are evaluated by compiled code: to load it takes half a second, too long for a single slice."""

from __future__ import annotations

import threading

LOADING_POINTS = 2**22  # A process that has evaluated so many points without it loads compiled code,
COMPILING_POINTS = 2**26  # but only after so many if it has to be compiled first, which takes seconds.


class CompiledCode:
    """Whether this process uses compiled code: ``is_used``."""

    def __init__(self) -> None:
        self._points, self.is_used = 0, False
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
        if not self.is_used and self._points >= LOADING_POINTS:
            if not waits:
                if self._loading is None:
                    self._loading = threading.Thread(target=self._load, name="compiled code")
                    self._loading.start()
                return False
            self.is_used = self._points >= COMPILING_POINTS or _is_kept()
        return self.is_used

    def _load(self) -> None:
        """Load it if it is kept, and use it from then on."""
        if _is_kept():
            from .compiled_path import load

            load()
            self.is_used = True


COMPILED_CODE = CompiledCode()


def _is_kept() -> bool:
    """Return whether it was compiled before."""
    from ..compiled import is_kept
    from .run_kernel import evaluate_run

    return is_kept(evaluate_run)
