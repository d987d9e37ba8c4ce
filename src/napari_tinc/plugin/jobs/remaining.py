"""How long a job still takes: the one number that the dock, its curve and napari's status bar show."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ...events import Progress

TRUSTED_SHARE = 0.15  # From this share of a job on, only what was measured counts, and no longer what was expected.
SMOOTHED_SHARE = 0.1  # A single look counts for less than the time since the look before, over this share of all time.
MOST_SHARE = 0.99  # A job that still runs is never told to be done.


class Remaining:
    """The time that a job has taken and still takes.

    Attributes
    ----------
    total : seconds of the whole job, as far as is known by now; nan where nothing is known.
    """

    def __init__(self, expected: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock. ``expected`` are the seconds that were told before; 0 where none were."""
        self._clock, self._expected = clock, expected
        self._began = clock()
        self._heard = 0.0  # seconds after the start
        self._share = 0.0  # the most that was told
        self.total = expected or math.nan

    @property
    def elapsed(self) -> float:
        """Seconds since the job was started."""
        return self._clock() - self._began

    @property
    def left(self) -> float:
        """Seconds until the end; nan where they are not known, and never less than 0."""
        return max(0.0, self.total - self.elapsed) if math.isfinite(self.total) else math.nan

    @property
    def share(self) -> float:
        """Share of the job that is done, 0 to 1; 0 where it is not known. It never falls, whatever is learnt later."""
        if math.isfinite(self.total) and self.total > 0:
            self._share = max(self._share, min(MOST_SHARE, self.elapsed / self.total))
        return self._share

    def hear(self, event: Progress) -> None:
        """Take a look at a running fit into account."""
        if not math.isfinite(event.seconds_left):
            return
        now = self.elapsed
        measured = now + event.seconds_left
        trust = min(1.0, now / measured / TRUSTED_SHARE) if self._expected and measured > 0 else 1.0
        total = trust * measured + (1 - trust) * self._expected
        weight = (now - self._heard) / (SMOOTHED_SHARE * now) if now > 0 else 1.0
        first = math.isnan(self.total) or trust < 1
        self.total = total if first or weight > 1 else self.total + weight * (total - self.total)
        self._heard = now
