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

    def __init__(self, expected_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock. ``expected`` are the seconds that were told before; 0 where none were."""
        self._clock, self._expected_seconds = clock, expected_seconds
        self._started_at = clock()
        self._updated_after = 0.0  # seconds after the start
        self._most_share_done = 0.0  # the most that was told
        self.total_seconds = expected_seconds or math.nan

    @property
    def elapsed(self) -> float:
        """Seconds since the job was started."""
        return self._clock() - self._started_at

    @property
    def seconds_left(self) -> float:
        """Seconds until the end; nan where they are not known, and never less than 0."""
        return max(0.0, self.total_seconds - self.elapsed) if math.isfinite(self.total_seconds) else math.nan

    @property
    def share_done(self) -> float:
        """Share of the job that is done, 0 to 1; 0 where it is not known. It never falls, whatever is learnt later."""
        if math.isfinite(self.total_seconds) and self.total_seconds > 0:
            self._most_share_done = max(self._most_share_done, min(MOST_SHARE, self.elapsed / self.total_seconds))
        return self._most_share_done

    def update(self, event: Progress) -> None:
        """Take a look at a running fit into account."""
        if not math.isfinite(event.seconds_left):
            return
        now = self.elapsed
        measured = now + event.seconds_left
        trust = min(1.0, now / measured / TRUSTED_SHARE) if self._expected_seconds and measured > 0 else 1.0
        total = trust * measured + (1 - trust) * self._expected_seconds
        weight = (now - self._updated_after) / (SMOOTHED_SHARE * now) if now > 0 else 1.0
        first = math.isnan(self.total_seconds) or trust < 1
        self.total_seconds = (
            total if first or weight > 1 else self.total_seconds + weight * (total - self.total_seconds)
        )
        self._updated_after = now
