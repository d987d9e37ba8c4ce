"""How long work ends without a result: given up, by a check that it calls every few hundred milliseconds; or dead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from .errors import Cancelled

Check = Callable[[], None]


def never() -> None:
    """The check of work that nobody gives up."""


@dataclass(frozen=True, slots=True)
class Control:
    """How another thread steers a fit.

    Attributes
    ----------
    cancel : gives it up.
    stop : finishes in short what has been learnt so far.
    look : asks for what has been learnt so far, once each time it is set.
    """

    cancel: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    look: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raises :class:`~.errors.Cancelled` after ``cancel``."""
        if self.cancel.is_set():
            raise Cancelled
