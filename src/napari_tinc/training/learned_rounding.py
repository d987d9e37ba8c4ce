"""Learn how to round the parameters: a step for each tensor, and a price for every bit, during training.

A tensor's integers are priced as the two-sided geometric distribution of their mean magnitude m, with which
networks/entropy.py codes them: theta = (sqrt(1 + m^2) - 1) / m, and h(m) = -log2((1 - theta) / (1 + theta)) - m
log2(theta) bits for each integer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..networks.architecture import Architecture
from ..networks.rounding import to_bfloat16

OPENING_PRICE = 0.02  # Price of a bit for every parameter when rounding begins, in units of the loss.
PRICE_GAIN = 56.0  # How far the price may move over a schedule, on a logarithmic scale.
STEP_TRAVEL = 5.0  # How far a step may move over a schedule, on a logarithmic scale.
# A step stays what it is until it should be another by this share: more than half of the 0.4 to 0.8 % between two
# bfloat16 numbers. With less, a step half-way between two changes at every update, which rounds all of its parameters
# anew and has cost 0.3 to 0.5 dB.
STEP_SLACK = 0.006
# Steps rest once the learning rate has fallen to this share of its peak: parameters would not recover from a change,
# which cost one fit 0.3 dB after 98 % of its schedule. With 0.2, files of `balanced` lose 0.01 dB in the mean.
STEP_REST = 0.05
STEP_FEEDBACK = 0.1  # How fast all steps together follow the number of bits. The price alone would steer it too slowly.


class LearnedRounding:
    """Rounding that is trained with the network: a step for each tensor, and a price for every bit.

    The price (squared error, in units of the volume's variance, for all parameters growing by one bit) is steered so
    that the bits meet a target. Rounding is passed straight through to the parameters; a step's gradient is that of
    LSQ (Esser et al. 2020, arXiv 1902.08153), taken on log(step).
    """

    TENSORS = ("log_steps", "momentum", "square", "step")
    NUMBERS = ("updates", "price", "gain", "learning_rate", "bits")

    def __init__(self, architecture: Architecture) -> None:
        self.sizes = np.array([tensor.size for tensor in architecture.tensors], np.float64)
        self.ends = np.array([tensor.offset + tensor.size for tensor in architecture.tensors], np.int64)
        self.log_steps, self.momentum, self.square = np.zeros((3, len(self.sizes)))
        self.updates, self.price, self.gain, self.learning_rate, self.bits = 0, 0.0, 0.0, 0.0, 0.0
        self.step = np.ones(len(self.sizes), np.float32)
        self.magnitude = np.zeros(len(self.sizes))
        self.scaled, self.rounded = np.zeros((2, architecture.n_parameters), np.float32)

    def begin(
        self, vector: NDArray[np.float32], squared_gradient: NDArray[np.float32], bits: float, loss: float, updates: int
    ) -> None:
        """Choose steps with which the parameters take ``bits``, and a price for ``loss`` and ``updates`` to come.

        For a given rate, distortion is least where step^2 times the mean curvature is the same for all tensors; the
        mean squared gradient stands for the curvature (the empirical Fisher information).
        """
        self.price, self.gain = OPENING_PRICE * loss, min(0.1, PRICE_GAIN / max(1, updates))
        self.learning_rate = min(0.05, STEP_TRAVEL / max(1, updates))
        begins = self.ends - self.sizes.astype(np.int64)
        sensitivity = np.sqrt(np.add.reduceat(squared_gradient, begins, dtype=np.float64) / self.sizes) + 1e-12
        low, high = -40.0, 40.0
        for _ in range(40):
            middle = (low + high) / 2
            self.log_steps[:] = middle - np.log(sensitivity)
            self.apply(vector)
            low, high = (middle, high) if float(self.rate()[0].sum()) > bits else (low, middle)

    def apply(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the parameters as a decoder will have them; the next call overwrites them."""
        from .updates import round_parameters

        wanted = np.exp(self.log_steps)
        is_off = np.abs(wanted - self.step) > STEP_SLACK * self.step
        self.step[is_off] = to_bfloat16(wanted[is_off])
        round_parameters(vector, self.ends, self.step, self.scaled, self.rounded, self.magnitude)
        return self.rounded

    def rate(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return, for every tensor, its bits, its mean magnitude m, and dh / dm = -log2(theta)."""
        magnitude = self.magnitude + 1e-3
        beyond = np.sqrt(1 + magnitude * magnitude) - 1
        slope = -np.log2(beyond / magnitude)
        odds = (magnitude - beyond) / (magnitude + beyond)  # (1 - theta) / (1 + theta), which never becomes 0 this way
        return self.sizes * (magnitude * slope - np.log2(odds)), magnitude, slope

    def update(self, gradient: NDArray[np.float32], target_bits: float, rate: float) -> None:
        """Move the steps and the price; make of the gradient that of distortion + price x rate.

        Parameters
        ----------
        gradient : of the distortion, at the rounded parameters; changed in place.
        target_bits : bits that the parameters should take.
        rate : the schedule's share of the peak learning rate.
        """
        from .updates import price_rounding

        bits, magnitude, slope = self.rate()
        self.bits = float(bits.sum())
        # Slower as the learning rate falls: parameters follow a price slowly then, and a fast one would overshoot.
        excess = max(-0.1, min(0.1, self.bits / target_bits - 1))
        self.price *= math.exp(10 * self.gain * rate * excess)
        price = self.price / len(gradient)
        toward = np.empty_like(self.sizes)
        price_rounding(gradient, self.ends, self.step, self.scaled, price * slope, toward)
        toward -= price * self.sizes * slope * magnitude
        self.updates += 1
        self.momentum += 0.1 * (toward - self.momentum)
        self.square += 0.01 * (toward * toward - self.square)
        denominator = np.sqrt(self.square / (1 - 0.99**self.updates)) + 1e-12
        if rate > STEP_REST:
            learning_rate = self.learning_rate * rate / (1 - 0.9**self.updates)
            self.log_steps += STEP_FEEDBACK * rate * excess - learning_rate * self.momentum / denominator

    def state(self) -> dict[str, Any]:
        """Return all that :meth:`restore` needs to continue from here, between two updates."""
        return {name: getattr(self, name) for name in (*self.TENSORS, *self.NUMBERS)}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        state = {"step": to_bfloat16(np.exp(state["log_steps"])), **state}  # Earlier versions kept no steps.
        for name in self.TENSORS:
            getattr(self, name)[:] = state[name]
        for name in self.NUMBERS:
            setattr(self, name, state[name])

    def steps(self) -> NDArray[np.float64]:
        """Return the step of every tensor of the architecture, float64 (n_tensors,)."""
        return self.step.astype(np.float64)
