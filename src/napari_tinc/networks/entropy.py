"""Entropy coding of weights: asymmetric numeral systems over geometric distributions of integers.

The coder itself is constriction's (Bamler 2022, arXiv 2201.01741); what is ours is the model of the integers. Its table
is built with additions, products, divisions and square roots only, which IEEE 754 rounds the same everywhere, so that
every machine decodes the same integers. (An exponential would differ between maths libraries.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from ..format.limits import MAX_WIDTH

MAX_MAGNITUDE = 2**15 - 1  # Larger integers are cut when they are encoded, and refused when they are decoded.
LEAST_PROBABILITY = 2.0**-24  # The coder rounds probabilities to multiples of this, and none to 0.
MAX_MEAN_CODE = 255  # A mean magnitude has a code of 8 bits, eight an octave.
MEAN_UNIT = 2.0**-17  # Codes 0 to 7 are the means of 8 to 15 of these.


@dataclass(frozen=True)
class Geometric:
    """A geometric distribution: P(k) ~ theta^|k| for ``lowest`` <= k <= ``largest``.

    Attributes
    ----------
    theta : 0 to less than 1, zero if all integers are zero.
    largest : 0..32767, the largest magnitude.
    is_one_sided : whether no integer is below 0; else the lowest is -``largest``.
    """

    theta: float
    largest: int
    is_one_sided: bool = False

    @classmethod
    def of(cls, integers: NDArray[np.int32]) -> Geometric:
        """Return the two-sided distribution of 16 bits under which these integers take the fewest bits."""
        if not integers.any():
            return cls(0.0, 0)
        return cls.from_decay(min(65535, max(1, round(_theta(_mean(integers)) * 65536))), int(np.abs(integers).max()))

    @classmethod
    def of_mean(cls, integers: NDArray[np.int32]) -> Geometric:
        """Return the two-sided distribution of 8 bits that is nearest to that with the mean of these integers."""
        if not integers.any():
            return cls(0.0, 0)
        return cls.from_mean_code(_code_of_mean(_mean(integers)), int(np.abs(integers).max()))

    @classmethod
    def from_decay(cls, decay: int, largest: int) -> Geometric:
        """Return the two-sided distribution of theta = decay / 65536."""
        return cls(decay / 65536, largest)

    @property
    def decay(self) -> int:
        """The number that :meth:`from_decay` makes the distribution of."""
        return round(self.theta * 65536)

    @classmethod
    def from_mean_code(cls, code: int, largest: int) -> Geometric:
        """Return the two-sided distribution with a mean magnitude of (8 + code mod 8) 2^floor(code / 8) / 2^17."""
        return cls(_theta((8 + code % 8) * 2.0 ** (code // 8) * MEAN_UNIT) if largest else 0.0, largest)

    @property
    def mean_code(self) -> int:
        """The number that :meth:`from_mean_code` makes the distribution of, 0 if all integers are 0."""
        return _code_of_mean(2 * self.theta / (1 - self.theta * self.theta)) if self.largest else 0

    @cached_property
    def model(self) -> Any:
        """The coder's table. To make it takes longer than to decode thousands of integers."""
        return constriction.stream.model.Categorical(self._table(), perfect=False)

    @property
    def lowest(self) -> int:
        """The lowest integer."""
        return 0 if self.is_one_sided else -self.largest

    @cached_property
    def gaps(self) -> tuple[Geometric, ...]:
        """Distributions of how far the least of 1, 2, 4, .. 256 magnitudes is above a number that none is below.

        The magnitudes count as geometric. Then the least of r is geometric, too, of theta^r, whatever that number is.
        """
        powers = [self.theta]
        for _ in range(MAX_WIDTH.bit_length() - 1):
            powers.append(powers[-1] * powers[-1])
        return tuple(Geometric(power, self.largest, is_one_sided=True) for power in powers)

    def bits(self, integers: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the code length of each integer in bits: -log2 of its probability."""
        if not self.largest:
            return np.zeros(integers.shape)
        table = self._table()
        lengths = -np.log2(np.maximum(table / table.sum(), LEAST_PROBABILITY))
        return lengths[integers - self.lowest]

    def _table(self) -> NDArray[np.float64]:
        """Return numbers proportional to the probabilities of all integers, ascending."""
        table = np.empty(self.largest - self.lowest + 1)
        powers = table[-self.lowest :]
        powers[0], powers[1:] = 1, self.theta
        np.multiply.accumulate(powers, out=powers)  # left to right, as IEEE products are not associative
        np.maximum(powers, 2.0**-40, out=powers)
        if not self.is_one_sided:
            table[: self.largest] = powers[:0:-1]
        return table


def _mean(integers: NDArray[np.int32]) -> float:
    """Return the mean magnitude."""
    return float(np.abs(integers, dtype=np.float64).mean())


def _theta(mean: float) -> float:
    """Return theta of the two-sided geometric distribution of a mean magnitude."""
    return (math.sqrt(1 + mean * mean) - 1) / mean


def _code_of_mean(mean: float) -> int:
    """Return the code of the nearest mean magnitude that has one."""
    units = max(8.0, mean / MEAN_UNIT)
    octave = math.floor(math.log2(units)) - 3
    return min(MAX_MEAN_CODE, 8 * octave + round(units / 2.0**octave) - 8)


def encode(streams: Sequence[tuple[NDArray[np.int32], Geometric]]) -> bytes:
    """Encode streams of integers, each under its own distribution, as little-endian 32-bit words."""
    coder = constriction.stream.stack.AnsCoder()
    for integers, distribution in reversed(streams):
        if distribution.largest and integers.size:
            symbols = integers.astype(np.int32).ravel() - np.int32(distribution.lowest)
            coder.encode_reverse(symbols, distribution.model)
    return bytes(coder.get_compressed().astype("<u4").tobytes())


def decode(data: bytes, streams: Sequence[tuple[int, Geometric]]) -> list[NDArray[np.int32]]:
    """Decode the integers of every stream, given how many each has and its distribution.

    Raises
    ------
    ValueError
        If the data are not whole words, or the coder does not end exactly at their end.
    """
    if len(data) % 4:
        raise ValueError(f"entropy-coded data of {len(data)} bytes, expected a multiple of 4")
    try:
        coder = constriction.stream.stack.AnsCoder(np.frombuffer(data, "<u4").astype(np.uint32))
    except ValueError as error:
        raise ValueError("entropy-coded data end in a zero word, which no encoder writes") from error
    integers = []
    for count, distribution in streams:
        if distribution.largest and count:
            symbols = coder.decode(distribution.model, count)
            integers.append(symbols + np.int32(distribution.lowest))
        else:
            integers.append(np.zeros(count, np.int32))
    if not coder.is_empty():
        raise ValueError(f"entropy-coded data of {len(data)} bytes are not used up by the integers they should hold")
    return integers
