"""Entropy coding of integers that are mostly small: tokens, each under one of a few tables, and plain bits.

A small integer is a token. A larger one is a token (its octave, and the quarter of this) and further bits, which are
about as often 0 as 1. Every voxel has a class, and neighbouring classes share a table of costs, which the file holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

MAX_CLASSES = 200  # Classes of voxels: larger ones are refused.
LEAST_LARGE = 8  # Smaller magnitudes have tokens of their own, one for each sign; larger ones share tokens.
MAX_TOKEN = 2 * LEAST_LARGE - 2 + 4 * 36  # The token of magnitudes just under 2^39.
COST_STEP = 0.8408964152537145  # A cost of 1 more makes a token this much less probable: 2^(-1/4).
MAX_COST = 127  # Larger costs are refused.
# From cost to probability. IEEE products, from the left, are the same on every machine.
POWERS = np.cumprod(np.concatenate([[1.0], np.full(MAX_COST, COST_STEP)]))


def categorical(costs: Sequence[int] | NDArray[np.int64]) -> Any:
    """Return the model of tokens with these costs, in quarters of a bit."""
    return constriction.stream.model.Categorical(POWERS[np.asarray(costs)], perfect=False)


FLAT = categorical(np.zeros(MAX_TOKEN + 1, np.int64))  # Model of numbers of any size.
MEDIUM = categorical(np.where(np.arange(MAX_TOKEN + 1) < 48, 0, 24))  # Model of weights: large ones are rare.
STEEP = categorical(np.minimum(np.arange(MAX_TOKEN + 1) * 2, 80))  # Model of differences: most are near 0.


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Tables of the costs of tokens, each for a run of classes.

    Attributes
    ----------
    ends : for every table, the first class beyond it.
    costs : for every table, the costs of its tokens in quarters of a bit.
    """

    ends: list[int]
    costs: list[NDArray[np.int64]]

    @classmethod
    def of(cls, classes: NDArray[np.int64], tokens: NDArray[np.int64]) -> Tables:
        """Choose the tables under which these tokens and the tables themselves take few bits.

        Neighbours are joined if it pays.
        """
        counts = np.bincount(classes * (MAX_TOKEN + 1) + tokens, minlength=MAX_CLASSES * (MAX_TOKEN + 1))
        runs = counts.reshape(MAX_CLASSES, -1).astype(np.float64)
        ends = np.flatnonzero(runs.any(axis=1))
        runs = runs[ends]
        while len(runs) > 1:
            bits = _bits_of_tables(runs)
            gains = bits[:-1] + bits[1:] - _bits_of_tables(runs[:-1] + runs[1:])
            best = int(np.argmax(gains))
            if gains[best] < 0:
                break
            runs[best + 1] += runs[best]
            runs, ends = np.delete(runs, best, axis=0), np.delete(ends, best)
        return cls((ends + 1).tolist(), [_costs_of_tokens(run) for run in runs])

    def write(self, writer: Writer) -> None:
        """Write the tables: how many, and for each its classes, its number of tokens and their costs."""
        writer.integers([len(self.ends)], STEEP)
        before, previous = 0, np.zeros(1, np.int64)
        for end, costs in zip(self.ends, self.costs, strict=True):
            writer.integers([end - before], STEEP)
            writer.integers([len(costs)], STEEP)
            if len(costs) > 1:
                writer.integers(np.diff(costs - _continued_costs(previous, len(costs)), prepend=0), STEEP)
            before, previous = end, costs

    @classmethod
    def read(cls, reader: Reader) -> Tables:
        """Read the tables that come next. ValueError if they are not valid."""
        ends: list[int] = []
        all_costs = []
        costs = np.zeros(1, np.int64)
        for _ in range(reader.number("number of tables", 0, MAX_CLASSES, STEEP)):
            before = ends[-1] if ends else 0
            ends.append(before + reader.number("classes of a table", 1, MAX_CLASSES - before, STEEP))
            n_tokens = reader.number("tokens of a table", 1, MAX_TOKEN + 1, STEEP)
            expected = _continued_costs(costs, n_tokens)
            costs = np.zeros(1, np.int64) if n_tokens == 1 else expected + np.cumsum(reader.integers(STEEP, n_tokens))
            if costs.min() < 0 or costs.max() > MAX_COST:
                raise ValueError(f"costs of tokens are {costs.min()} to {costs.max()}, expected 0 to {MAX_COST}")
            all_costs.append(costs)
        return cls(ends, all_costs)

    def models(self) -> list[Any]:
        """Return a model for each table; None if the table has one token, which takes no bits."""
        return [categorical(costs) if len(costs) > 1 else None for costs in self.costs]

    def segments(self, classes: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[int]]:
        """Sort voxels by table. Return their order, and the number of voxels of each table.

        Raises
        ------
        ValueError
            If a class is beyond all tables.
        """
        lengths = [end - start for start, end in zip([0, *self.ends], self.ends, strict=False)]
        lookup = np.repeat(np.arange(len(lengths), dtype=np.uint8), lengths)
        if classes.size and classes.max() >= len(lookup):
            raise ValueError(f"class of a voxel is {classes.max()}, expected one below {len(lookup)}")
        indices = lookup[classes]
        return np.argsort(indices, kind="stable"), np.bincount(indices, minlength=len(self.ends)).tolist()


def _bits_of_tables(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate the bits of the tokens that each row counts, and of a table for them, (n,)."""
    totals = counts.sum(axis=1)
    logarithms = np.log2(np.maximum(counts, 1))
    n_tokens = counts.shape[1] - np.argmax(counts[:, ::-1] > 0, axis=1)
    return totals * np.log2(totals) - (counts * logarithms).sum(axis=1) + 4 * n_tokens + 8


def _costs_of_tokens(counts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the costs of tokens from their counts, up to the last token that occurs."""
    counts = counts[: np.flatnonzero(counts)[-1] + 1]
    costs = 4 * np.log2(counts.sum() / np.maximum(counts, 0.5))
    return np.minimum(np.rint(costs), MAX_COST).astype(np.int64)


def _continued_costs(previous: NDArray[np.int64], n_tokens: int) -> NDArray[np.int64]:
    """Return the costs of the previous table, continued to ``n_tokens``.

    The next table is stored as differences from these.
    """
    beyond = previous[-1] + 1 * np.arange(1, 1 + max(0, n_tokens - len(previous)))
    return np.concatenate([previous, beyond])[:n_tokens]


def tokens_of(integers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Split integers into tokens, the number of further bits, and these bits (the lowest is the sign)."""
    sizes = np.abs(integers)
    octaves = np.frexp(np.maximum(sizes, LEAST_LARGE).astype(np.float64))[1].astype(np.int64) - 1
    above = sizes >= LEAST_LARGE
    quarters = (sizes >> (octaves - 2)) & 3
    tokens = np.where(above, 2 * LEAST_LARGE - 1 + (octaves - 3) * 4 + quarters, 2 * sizes - (integers > 0))
    rest = (sizes & ((1 << (octaves - 2)) - 1)) << 1 | (integers < 0)
    return tokens, np.where(above, octaves - 1, 0), np.where(above, rest, 0)


class Writer:
    """Collect symbols in the order in which a decoder reads them."""

    def __init__(self) -> None:
        self._runs: list[tuple[NDArray[np.int32], Any]] = []

    def put(self, symbols: NDArray[np.int64], model: Any) -> None:
        """Append symbols under one model."""
        self._runs.append((symbols.astype(np.int32), model))

    def tokens(self, tables: Tables, models: list[Any], classes: NDArray[np.int64], tokens: NDArray[np.int64]) -> None:
        """Append the tokens of voxels, sorted by table."""
        order, counts = tables.segments(classes)
        for end, n, model in zip(np.cumsum(counts), counts, models, strict=True):
            if n and model is not None:
                self.put(tokens[order[end - n : end]], model)

    def integers(self, integers: Sequence[int] | NDArray[np.int64], model: Any) -> None:
        """Append integers of any size: their tokens under one model, then their further bits."""
        tokens, n_bits, rest = tokens_of(np.asarray(integers, np.int64))
        self.put(tokens, model)
        self.further_bits(n_bits, rest)

    def further_bits(self, n_bits: NDArray[np.int64], rest: NDArray[np.int64]) -> None:
        """Append the further bits of integers, those with the fewest bits first."""
        for n in np.flatnonzero(np.bincount(n_bits, minlength=1)).tolist():
            self.bits(rest[n_bits == n], n)

    def bits(self, values: NDArray[np.int64], n: int) -> None:
        """Append the lowest ``n`` bits of each value, as they are."""
        for low in range(0, n, 16):
            width = min(16, n - low)
            self.put(values >> low & (2**width - 1), constriction.stream.model.Uniform(2**width))

    def to_bytes(self) -> bytes:
        """Encode all that was appended."""
        coder = constriction.stream.stack.AnsCoder()
        for symbols, model in reversed(self._runs):
            coder.encode_reverse(symbols, model)
        return bytes(coder.get_compressed().astype("<u4").tobytes())


class Reader:
    """Read symbols in the order in which a :class:`Writer` collected them. ValueError if the data are damaged."""

    def __init__(self, data: bytes) -> None:
        if len(data) % 4:
            raise ValueError(f"entropy-coded data of {len(data)} bytes, expected a multiple of 4")
        self._coder = constriction.stream.stack.AnsCoder(np.frombuffer(data, "<u4").astype(np.uint32))

    def get(self, model: Any, count: int) -> NDArray[np.int64]:
        """Read symbols under one model."""
        return np.asarray(self._coder.decode(model, count), np.int64)

    def tokens(self, tables: Tables, models: list[Any], classes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Read a token for each voxel, given the classes."""
        order, counts = tables.segments(classes)
        tokens = np.zeros(len(classes), np.int64)
        for end, n, model in zip(np.cumsum(counts), counts, models, strict=True):
            if n and model is not None:
                tokens[order[end - n : end]] = self.get(model, n)
        return tokens

    def integers(self, model: Any, count: int) -> NDArray[np.int64]:
        """Read integers of any size."""
        return self.integers_of(self.get(model, count))

    def integers_of(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Read the further bits of tokens, and return the integers."""
        integers = np.where(tokens & 1, (tokens + 1) >> 1, -(tokens >> 1))
        large = np.flatnonzero(tokens >= 2 * LEAST_LARGE - 1)
        if large.size:
            above = tokens[large] - (2 * LEAST_LARGE - 1)
            octaves = (above >> 2) + 3
            rest = np.empty_like(octaves)
            for n in np.flatnonzero(np.bincount(octaves)).tolist():
                large_of_octave = np.flatnonzero(octaves == n)
                rest[large_of_octave] = self.bits(n - 1, large_of_octave.size)
            sizes = (1 << octaves) + ((above & 3) << (octaves - 2)) + (rest >> 1)
            integers[large] = np.where(rest & 1, -sizes, sizes)
        return integers

    def bits(self, n: int, count: int) -> NDArray[np.int64]:
        """Read ``count`` values of ``n`` bits."""
        values = np.zeros(count, np.int64)
        for low in range(0, n, 16):
            values |= self.get(constriction.stream.model.Uniform(2 ** min(16, n - low)), count) << low
        return values

    def number(self, name: str, low: int, high: int, model: Any = FLAT) -> int:
        """Read one integer, which must be ``low`` to ``high``."""
        (value,) = self.integers(model, 1).tolist()
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}, expected {low} to {high}")
        return int(value)

    def end(self) -> None:
        """Raise ValueError if data are left."""
        if not self._coder.is_empty():
            raise ValueError("entropy-coded data are not used up by the integers they should hold")
