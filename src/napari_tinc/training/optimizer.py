"""The optimiser: Muon for matrices, Adam for all other parameters; and its rates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..networks.architecture import Architecture

# A quintic that drives singular values to about 1 (Jordan et al. 2024, "Muon").
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 3  # After so many steps of it, singular values are near enough to 1.
MUON_KEEP = 0.95  # Share of the running mean of gradients that Muon keeps in a step,
ADAM_KEEP = 0.9  # and that Adam keeps.
SQUARE_KEEP = 0.99  # Share of the running mean of squared gradients that is kept in a step.
MUON_RATE = 0.3  # Divided by the square root of the root's width: wider matrices diverge at smaller rates.
MUON_LIMIT = 0.06  # No network is trained at a larger peak rate, however narrow it is.
SAFE_DEPTH = 6  # With more sine layers from root to leaf, the rate falls with the square of their number.
WARM_UP_STEPS = 50  # The rate grows linearly over this many steps.


class Optimizer:
    """Muon (Jordan et al. 2024) for the matrices between features, Adam (arXiv 1412.6980) for all other parameters.

    Adam with rates 0.9 and 0.99; Muon with Nesterov momentum of 0.95. Both on the one flat vector.
    """

    def __init__(self, architecture: Architecture, muon_rate: float, adam_rate: float) -> None:
        from .updates import work_of_muon

        self.muon_rate, self.adam_rate = muon_rate, adam_rate
        self.momentum = np.zeros(architecture.n_parameters, np.float32)
        self.square = np.zeros_like(self.momentum)
        is_matrix = [tensor.kind == "feature" or tensor.kind.startswith("hidden") for tensor in architecture.tensors]
        self._tensors = np.array(
            [(t.offset, *t.shape, muon) for t, muon in zip(architecture.tensors, is_matrix, strict=True)], np.int64
        )
        self._work = np.zeros(max(work_of_muon(*tensor.shape[1:]) for tensor in architecture.tensors), np.float32)
        self.steps = 0

    def state(self) -> dict[str, Any]:
        """Return all that :meth:`restore` needs to continue from here."""
        return {"momentum": self.momentum, "square": self.square, "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.momentum[:], self.square[:], self.steps = state["momentum"], state["square"], state["steps"]

    def update(self, vector: NDArray[np.float32], gradient: NDArray[np.float32], rate: float) -> None:
        """Make one step in place, at a share ``rate`` of the peak learning rates."""
        from .updates import update_parameters

        self.steps += 1
        update_parameters(
            vector, gradient, self.momentum, self.square, self._tensors, MUON_KEEP, ADAM_KEEP, SQUARE_KEEP, self.steps,
            self.muon_rate * rate, self.adam_rate * rate, ITERATIONS, NEWTON_SCHULZ, self._work,
        )  # fmt: skip


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
