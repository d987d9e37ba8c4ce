"""How another thread steers a job: cancel it, stop it early, look at what it has so far."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from .errors import Cancelled

Check = Callable[[], None]


def never() -> None:
    """Do nothing: the default ``check`` of a function, for work that cannot be cancelled."""


@dataclass(frozen=True, slots=True)
class Control:
    """Steer a fit from another thread, by events that the fit looks at now and then.

    Attributes
    ----------
    cancel : give up the fit; it ends without a result.
    stop : finish early with what has been learnt so far.
    look : ask for a :class:`~.events.Preview`. One set gives one preview.
    """

    cancel: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    look: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise :class:`~.errors.Cancelled` if ``cancel`` is set."""
        if self.cancel.is_set():
            raise Cancelled
