"""Learn how to round the parameters: a step for each tensor, and a price for every bit, during training.

A tensor's integers are priced as the two-sided geometric distribution of their mean magnitude m, with which
networks/entropy.py codes them: theta = (sqrt(1 + m^2) - 1) / m, and h(m) = -log2((1 - theta) / (1 + theta)) - m
log2(theta) bits for each integer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..networks.architecture import Architecture

if TYPE_CHECKING:
    import torch

OPENING_PRICE = 0.02  # Price of a bit for every parameter when rounding begins, in units of the loss.
PRICE_GAIN = 56.0  # How far the price may move over a schedule, on a logarithmic scale.
STEP_TRAVEL = 5.0  # How far a step may move over a schedule, on a logarithmic scale.
STEP_FEEDBACK = 0.1  # How fast all steps together follow the number of bits. The price alone would steer it too slowly.


class LearnedRounding:
    """Rounding that is trained with the network: a step for each tensor, and a price for every bit.

    The price (squared error, in units of the volume's variance, for all parameters growing by one bit) is steered so
    that the bits meet a target. Rounding is passed straight through to the parameters; a step's gradient is that of
    LSQ (Esser et al. 2020, arXiv 1902.08153), taken on log(step).
    """

    TENSORS, NUMBERS = ("log_steps", "momentum", "square"), ("updates", "price", "gain", "learning_rate", "bits")

    def __init__(self, architecture: Architecture, vector: torch.Tensor) -> None:
        import torch

        sizes = torch.tensor([tensor.size for tensor in architecture.tensors], device=vector.device)
        self.sizes = sizes.float()
        self.tensor_of = torch.repeat_interleave(torch.arange(len(sizes), device=vector.device), sizes)
        self.log_steps = torch.zeros_like(self.sizes)
        self.momentum, self.square, self.updates = torch.zeros_like(self.sizes), torch.zeros_like(self.sizes), 0
        self.price, self.gain, self.learning_rate, self.bits = 0.0, 0.0, 0.0, 0.0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over each tensor, (n_tensors,)."""
        import torch

        return torch.zeros_like(self.sizes).index_add_(0, self.tensor_of, values)

    def begin(
        self, vector: torch.Tensor, squared_gradient: torch.Tensor, bits: float, loss: float, updates: int
    ) -> None:
        """Choose steps with which the parameters take ``bits``, and a price for ``loss`` and ``updates`` to come.

        For a given rate, distortion is least where step^2 times the mean curvature is the same for all tensors; the
        mean squared gradient stands for the curvature (the empirical Fisher information).
        """
        self.price, self.gain = OPENING_PRICE * loss, min(0.1, PRICE_GAIN / max(1, updates))
        self.learning_rate = min(0.05, STEP_TRAVEL / max(1, updates))
        sensitivity = (self.sum(squared_gradient) / self.sizes).sqrt() + 1e-12
        low, high = -40.0, 40.0
        for _ in range(40):
            middle = (low + high) / 2
            self.log_steps.copy_(middle - sensitivity.log())
            self.apply(vector)
            low, high = (middle, high) if float(self.rate()[0].sum()) > bits else (low, middle)

    def apply(self, vector: torch.Tensor) -> torch.Tensor:
        """Return the parameters as a decoder will have them."""
        self.step = self.log_steps.exp().bfloat16().float()[self.tensor_of]
        self.scaled = vector / self.step
        self.integers = self.scaled.round()
        return self.integers * self.step

    def rate(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return, for every tensor, its bits, its mean magnitude m, and dh / dm = -log2(theta)."""
        import torch

        magnitude = self.sum(self.integers.abs()) / self.sizes + 1e-3
        theta = ((1 + magnitude * magnitude).sqrt() - 1) / magnitude
        slope = -theta.log2()
        return self.sizes * (magnitude * slope - torch.log2((1 - theta) / (1 + theta))), magnitude, slope

    def update(self, gradient: torch.Tensor, target_bits: float, rate: float) -> torch.Tensor:
        """Move the steps and the price; return the gradient of distortion + price x rate for the parameters.

        Parameters
        ----------
        gradient : of the distortion, at the rounded parameters.
        target_bits : bits that the parameters should take.
        rate : the schedule's share of the peak learning rate.
        """
        bits, magnitude, slope = self.rate()
        self.bits = float(bits.sum())
        # Slower as the learning rate falls: parameters follow a price slowly then, and a fast one would overshoot.
        excess = max(-0.1, min(0.1, self.bits / target_bits - 1))
        self.price *= math.exp(10 * self.gain * rate * excess)
        price = self.price / len(gradient)
        toward = self.sum(gradient * (self.integers - self.scaled) * self.step) - price * self.sizes * slope * magnitude
        self.updates += 1
        self.momentum.lerp_(toward, 0.1)
        self.square.lerp_(toward * toward, 0.01)
        denominator = (self.square / (1 - 0.99**self.updates)).sqrt_().add_(1e-12)
        learning_rate = self.learning_rate * rate / (1 - 0.9**self.updates)
        self.log_steps.addcdiv_(self.momentum, denominator, value=-learning_rate).add_(STEP_FEEDBACK * rate * excess)
        return gradient + price * slope[self.tensor_of] * self.integers.sign() / self.step

    def state(self) -> dict[str, Any]:
        """Return all that :meth:`restore` needs to continue from here, between two updates."""
        tensors = {name: getattr(self, name).cpu().numpy() for name in self.TENSORS}
        return tensors | {name: getattr(self, name) for name in self.NUMBERS}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        import torch

        for name in self.TENSORS:
            getattr(self, name).copy_(torch.from_numpy(state[name]))
        for name in self.NUMBERS:
            setattr(self, name, state[name])

    def steps(self) -> NDArray[np.float64]:
        """Return the step of every tensor of the architecture, float64 (n_tensors,)."""
        return self.log_steps.exp().cpu().numpy().astype(np.float64)
