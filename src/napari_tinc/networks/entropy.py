"""Entropy coding of weights: asymmetric numeral systems over two-sided geometric distributions of integers.

The coder itself is constriction's (Bamler 2022, arXiv 2201.01741); what is ours is the model of the integers. Its table
is built with additions, products, divisions and square roots only, which IEEE 754 rounds the same everywhere, so that
every machine decodes the same integers. (An exponential would differ between maths libraries.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

MAX_MAGNITUDE = 2**15 - 1  # Larger integers are cut when they are encoded, and refused when they are decoded.
LEAST_PROBABILITY = 2.0**-24  # The coder rounds probabilities to multiples of this, and none to 0.


@dataclass(frozen=True)
class Geometric:
    """A two-sided geometric distribution: P(k) ~ theta^|k| for -largest <= k <= largest, theta = decay / 65536.

    Attributes
    ----------
    decay : 0..65535, zero if all integers are zero.
    largest : 0..32767, the largest magnitude.
    """

    decay: int
    largest: int

    @classmethod
    def of(cls, integers: NDArray[np.int32]) -> Geometric:
        """Return the distribution under which these integers take the fewest bits."""
        if not integers.size or not integers.any():
            return cls(0, 0)
        mean = float(np.abs(integers, dtype=np.float64).mean())
        theta = ((1 + mean * mean) ** 0.5 - 1) / mean
        return cls(min(65535, max(1, round(theta * 65536))), int(np.abs(integers).max()))

    @cached_property
    def model(self) -> Any:
        """The coder's table. To make it takes longer than to decode thousands of integers."""
        return constriction.stream.model.Categorical(self._table(), perfect=False)

    def bits(self, integers: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the code length of each integer in bits: -log2 of its probability."""
        if not self.largest:
            return np.zeros(integers.shape)
        table = self._table()
        lengths = -np.log2(np.maximum(table / table.sum(), LEAST_PROBABILITY))
        return lengths[integers + self.largest]

    def _table(self) -> NDArray[np.float64]:
        """Return numbers proportional to the probabilities of -largest to largest."""
        table = np.empty(2 * self.largest + 1)
        powers = table[self.largest :]
        powers[0], powers[1:] = 1, self.decay / 65536
        np.multiply.accumulate(powers, out=powers)  # left to right, as IEEE products are not associative
        np.maximum(powers, 2.0**-40, out=powers)
        table[: self.largest] = powers[:0:-1]
        return table


def encode(streams: Sequence[tuple[NDArray[np.int32], Geometric]]) -> bytes:
    """Encode streams of integers, each under its own distribution, as little-endian 32-bit words."""
    coder = constriction.stream.stack.AnsCoder()
    for integers, distribution in reversed(streams):
        if distribution.largest and integers.size:
            symbols = integers.astype(np.int32).ravel() + np.int32(distribution.largest)
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
            integers.append(symbols - np.int32(distribution.largest))
        else:
            integers.append(np.zeros(count, np.int32))
    if not coder.is_empty():
        raise ValueError(f"entropy-coded data of {len(data)} bytes are not used up by the integers they should hold")
    return integers
