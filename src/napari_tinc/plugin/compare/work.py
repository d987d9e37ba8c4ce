"""A piece of work in a thread, seen from the window: how far it is, and a way to end it."""

from __future__ import annotations

import threading

from ...errors import Cancelled


class Work:
    """Carry the progress of some work to the window, and its cancel to the work.

    Attributes
    ----------
    share : how much is done, 0 to 1. The thread writes it, the window reads it.
    """

    def __init__(self) -> None:
        self.share = 0.0
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Let the work end at its next check."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise :class:`~napari_tinc.errors.Cancelled` after a cancel."""
        if self._cancelled.is_set():
            raise Cancelled

    def reach(self, share: float) -> None:
        """Report how much is done, or raise after a cancel."""
        self.check()
        self.share = share
