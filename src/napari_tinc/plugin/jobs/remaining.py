"""Estimate how long a job still takes, for the dock, its curve and napari's status bar alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ...events import Progress

TRUSTED_SHARE = 0.15  # From this share of a job on, the time expected before its start no longer counts.
SMOOTHED_SHARE = 0.1  # Measurements are smoothed over this share of the time since the start.
MOST_SHARE = 0.99  # A running job never shows a larger share.


class Remaining:
    """Estimate the time that a job has taken and still takes.

    Attributes
    ----------
    total_seconds : of the whole job, as far as known; nan if nothing is known.
    """

    def __init__(self, expected_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock. ``expected_seconds`` is the time expected for the whole job; 0 if it is not known."""
        self._clock, self._expected_seconds = clock, expected_seconds
        self._started_at = clock()
        self._updated_after = 0.0  # Seconds after the start.
        self._most_share_done = 0.0  # The largest share shown so far.
        self.total_seconds = expected_seconds or math.nan

    @property
    def elapsed(self) -> float:
        """Return the seconds since the job was started."""
        return self._clock() - self._started_at

    @property
    def seconds_left(self) -> float:
        """Return the seconds until the end, at least 0; nan if they are not known."""
        return max(0.0, self.total_seconds - self.elapsed) if math.isfinite(self.total_seconds) else math.nan

    @property
    def share_done(self) -> float:
        """Return the share of the job that is done, 0 to 1; 0 if it is not known. It never falls."""
        if math.isfinite(self.total_seconds) and self.total_seconds > 0:
            self._most_share_done = max(self._most_share_done, min(MOST_SHARE, self.elapsed / self.total_seconds))
        return self._most_share_done

    def update(self, event: Progress) -> None:
        """Correct the estimate by the progress of a running fit."""
        if not math.isfinite(event.seconds_left):
            return
        now = self.elapsed
        measured = now + event.seconds_left
        trust = min(1.0, now / measured / TRUSTED_SHARE) if self._expected_seconds and measured > 0 else 1.0
        total = trust * measured + (1 - trust) * self._expected_seconds
        weight = (now - self._updated_after) / (SMOOTHED_SHARE * now) if now > 0 else 1.0
        at_once = math.isnan(self.total_seconds) or trust < 1 or weight > 1
        self.total_seconds = total if at_once else self.total_seconds + weight * (total - self.total_seconds)
        self._updated_after = now
