"""The learning rate: its peak for a network, and its share of the peak at every step."""

from __future__ import annotations

import math

MUON_RATE = 0.3  # Divided by the square root of the root's width: wider matrices diverge at smaller rates.
MUON_LIMIT = 0.06  # No network is trained at a larger peak rate, however narrow it is.
SAFE_DEPTH = 6  # With more sine layers from root to leaf, the rate falls with the square of their number.
WARM_UP_STEPS = 50  # The rate grows linearly over this many steps.


def learning_rate(done: float, step: int) -> float:
    """Return the share of the peak rate: a linear warm-up, and half a cosine down to 0 over the schedule.

    Parameters
    ----------
    done : share of the schedule, 0 to 1.
    step : optimiser steps done before this one; a training that continues another counts those of both.
    """
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def muon_rate(width: int, n_sines: int) -> float:
    """Return Muon's peak rate for networks of ``width`` features and ``n_sines`` sine layers from root to leaf."""
    return min(MUON_LIMIT, MUON_RATE / math.sqrt(width)) * min(1.0, SAFE_DEPTH / n_sines) ** 2
