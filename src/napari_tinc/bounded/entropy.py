"""Entropy coding of integers that are mostly small: tokens, each under one of a few tables, and plain bits.

A small integer is a token. A larger one is a token (its octave, and the quarter of this) and further bits, which are
about as often 0 as 1. Every voxel has a class, and neighbouring classes share a table of costs, which the file holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled_fast
from . import streams
from .streams import LEAST_LARGE, MOST_BITS, Model, Models, model_of
from .workers import Later, Workers

MAX_CLASSES = 200  # Classes of voxels: larger ones are refused.
MAX_TOKEN = 2 * LEAST_LARGE - 2 + 4 * 36  # The token of magnitudes just under 2^39.
COST_STEP = 0.8408964152537145  # A cost of 1 more makes a token this much less probable: 2^(-1/4).
MOST_PARTS = -(-37 // MOST_BITS)  # The further bits of an integer, 37 of them or fewer, are so many symbols.
NO_BITS, NO_REST = np.zeros(0, np.uint8), np.zeros(0, np.int64)  # Of no integers.
MAX_COST = 127  # Larger costs are refused.
COST_SHIFTS = 8  # So many ways to round costs are tried.
# From cost to probability. IEEE products, from the left, are the same on every machine.
POWERS = np.cumprod(np.concatenate([[1.0], np.full(MAX_COST, COST_STEP)]))


def categorical(costs: Sequence[int] | NDArray[np.int64]) -> Model:
    """Return the model of tokens with these costs, in quarters of a bit."""
    return model_of(POWERS[np.asarray(costs)])


FLAT = categorical(np.zeros(MAX_TOKEN + 1, np.int64))  # Model of numbers of any size.
MEDIUM = categorical(np.where(np.arange(MAX_TOKEN + 1) < 48, 0, 24))  # Model of weights: large ones are rare.
STEEP = categorical(np.minimum(np.arange(MAX_TOKEN + 1) * 2, 80))  # Model of differences: most are near 0.


class TokenCounts:
    """How often every class has every token. Several threads may count at the same time."""

    def __init__(self) -> None:
        self._of_threads: dict[int, NDArray[np.int64]] = {}

    def of_thread(self) -> NDArray[np.int64]:
        """Return what the calling thread counts in, (classes, tokens)."""
        thread = threading.get_ident()
        if thread not in self._of_threads:
            self._of_threads[thread] = np.zeros((MAX_CLASSES, MAX_TOKEN + 1), np.int64)
        return self._of_threads[thread]

    def sums(self) -> NDArray[np.int64]:
        """Return what all threads have counted, (classes, tokens)."""
        return sum(self._of_threads.values(), np.zeros((MAX_CLASSES, MAX_TOKEN + 1), np.int64))


@compiled_fast
def _bits_of_table(counts: NDArray[np.float64]) -> float:
    """Estimate the bits of the tokens that are counted, and of a table for them."""
    total, bits, n_tokens = 0.0, 8.0, 0
    for token in range(len(counts)):
        count = counts[token]
        if count > 0:
            total += count
            bits -= count * np.log2(count)
            n_tokens = token + 1
    return bits + total * np.log2(max(total, 1.0)) + 4 * n_tokens


@compiled_fast
def _join_tables(counts: NDArray[np.float64], ends: NDArray[np.int64]) -> int:
    """Join the neighbours among tables of counted tokens, (tables, tokens), as long as that saves bits.

    Return how many are left, which are the first of ``counts``; and of ``ends``, the last class of each.
    """
    n = len(counts)
    bits, gains = np.empty(n), np.zeros(n)  # gains of joining a table with the next one
    for table in range(n):
        bits[table] = _bits_of_table(counts[table])
    for table in range(n - 1):
        gains[table] = bits[table] + bits[table + 1] - _bits_of_table(counts[table] + counts[table + 1])
    while n > 1:
        best = int(np.argmax(gains[: n - 1]))
        if gains[best] < 0:
            break
        counts[best + 1] += counts[best]
        for table in range(best, n - 1):
            counts[table], ends[table] = counts[table + 1], ends[table + 1]
            bits[table], gains[table] = bits[table + 1], gains[table + 1]
        n -= 1
        bits[best] = _bits_of_table(counts[best])
        for table in range(max(best - 1, 0), min(best + 1, n - 1)):
            gains[table] = bits[table] + bits[table + 1] - _bits_of_table(counts[table] + counts[table + 1])
    return n


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
    def of(cls, stages: Iterable[tuple[NDArray[np.uint8], NDArray[np.int32]]]) -> Tables:
        """Choose tables as :meth:`of_counts` does, for the classes and tokens of the voxels of every stage."""
        counts = TokenCounts()
        for classes, tokens in stages:
            streams.count_tokens(counts.of_thread(), classes, tokens)
        return cls.of_counts(counts)

    @classmethod
    def of_counts(cls, counts: TokenCounts) -> Tables:
        """Choose the tables under which the tokens that are counted and the tables themselves take few bits.

        Neighbours are joined if it pays.
        """
        sums = counts.sums()
        ends = np.flatnonzero(sums.any(axis=1))
        runs = sums[ends].astype(np.float64)
        n = _join_tables(runs, ends)
        return cls((ends[:n] + 1).tolist(), [_costs_of_tokens(run) for run in runs[:n]])

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

    def models(self) -> Models:
        """Return the models of all tables."""
        lengths = [end - start for start, end in zip([0, *self.ends], self.ends, strict=False)]
        n = len(lengths)
        cumulative = np.zeros((n, MAX_TOKEN + 2), np.uint64)
        is_coded = np.array([len(costs) > 1 for costs in self.costs], np.bool_)
        for table in np.flatnonzero(is_coded):
            model = categorical(self.costs[table])
            cumulative[table, : len(model)] = model
        return Models(np.repeat(np.arange(n, dtype=np.uint8), lengths), cumulative, is_coded)


def _check_classes(models: Models, classes: NDArray[np.uint8]) -> None:
    """Raise ValueError if a class is beyond all tables."""
    if classes.size and classes.max() >= len(models.table_of):
        raise ValueError(f"class of a voxel is {classes.max()}, expected one below {len(models.table_of)}")


def _costs_of_tokens(counts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the costs of tokens from their counts, up to the last token that occurs.

    Probabilities are in proportion to what costs say, so a common share of a quarter of a bit is free to choose.
    """
    counts = counts[: np.flatnonzero(counts)[-1] + 1]
    if len(counts) == 1:
        return np.zeros(1, np.int64)
    exact = 4 * np.log2(counts.sum() / np.maximum(counts, 0.5))
    shifted = np.rint(exact + np.arange(COST_SHIFTS)[:, None] / COST_SHIFTS)
    costs = np.minimum(shifted, MAX_COST).astype(np.int64)
    bits = costs @ counts / 4 + counts.sum() * np.log2(POWERS[costs].sum(axis=1))
    return np.asarray(costs[int(np.argmin(bits))])


def _continued_costs(previous: NDArray[np.int64], n_tokens: int) -> NDArray[np.int64]:
    """Return the costs of the previous table, continued to ``n_tokens``.

    The next table is stored as differences from these.
    """
    beyond = previous[-1] + 1 * np.arange(1, 1 + max(0, n_tokens - len(previous)))
    return np.concatenate([previous, beyond])[:n_tokens]


def tokens_of(integers: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int64]]:
    """Split integers into tokens, and the further bits of the large ones: how many, and these (the lowest is the
    sign)."""
    n = len(integers)
    tokens, n_bits, rest = np.empty(n, np.int32), np.empty(n, np.uint8), np.empty(n, np.int64)
    n = streams.split_integers(integers, tokens, n_bits, rest)
    return tokens, n_bits[:n].copy(), rest[:n].copy()


_Order = tuple[NDArray[np.int32], NDArray[np.int64]]


def _order_of(models: Models, classes: NDArray[np.uint8]) -> _Order:
    """Return the places of voxels in the order of the tables of their classes, and how many each table has.

    ValueError if a class has none.
    """
    _check_classes(models, classes)
    order, counts = np.empty(len(classes), np.int32), np.zeros(len(models.cumulative), np.int64)
    streams.sort_by_table(classes, models.table_of, counts, order)
    return order, counts


def _push_tokens(
    words: NDArray[np.uint32], head: NDArray[np.uint64], order: Later[_Order], models: Models,
    tokens: NDArray[np.int32], n_bits: NDArray[np.uint8], rest: NDArray[np.int64],
) -> None:  # fmt: skip
    """Write tokens of voxels in an order, and the further bits."""
    streams.push_tokens(words, head, *order.result(), models.cumulative, models.is_coded, tokens, n_bits, rest)


class Writer:
    """Collect symbols in the order in which a decoder reads them."""

    def __init__(self) -> None:
        self._runs: list[tuple[Callable[..., None], tuple[Any, ...]]] = []  # what writes them, and what it takes
        self._orders: list[tuple[int, Later[_Order]]] = []  # of tokens, and how many these are
        self._most_words = 2  # of the state; a symbol moves at most one more

    def _append(self, write: Callable[..., None], symbols: int, *arguments: Any) -> None:
        """Append so many symbols."""
        if symbols:
            self._runs.append((write, arguments))
            self._most_words += symbols

    def put(self, symbols: NDArray[np.int32], model: Model) -> None:
        """Append symbols under one model."""
        self._append(streams.push, len(symbols), model, symbols, np.arange(len(symbols), dtype=np.int32))

    def tokens(
        self, models: Models, classes: NDArray[np.uint8], tokens: NDArray[np.int32],
        n_bits: NDArray[np.uint8] = NO_BITS, rest: NDArray[np.int64] = NO_REST,
    ) -> None:  # fmt: skip
        """Append the tokens of voxels, sorted by the table of their class, then their further bits, if any."""
        order = Later(lambda: _order_of(models, classes))
        self._orders.append((len(tokens), order))
        self._append(_push_tokens, len(tokens) + MOST_PARTS * len(rest), order, models, tokens, n_bits, rest)

    def integers(self, integers: Sequence[int] | NDArray[np.int64], model: Model) -> None:
        """Append integers of any size: their tokens under one model, then their further bits."""
        array = np.ascontiguousarray(integers, np.int64)
        self._append(streams.push_integers, (1 + MOST_PARTS) * len(array), model, array)

    def bits(self, values: NDArray[np.int64], n: int) -> None:
        """Append the lowest ``n`` bits of each value, as they are."""
        for low in range(0, n, MOST_BITS):
            self._append(streams.push_bits, len(values), values, low, min(MOST_BITS, n - low))

    def to_bytes(self, workers: Workers | None = None) -> bytes:
        """Encode all that was appended. Other threads may sort tokens meanwhile. ValueError if a class has no table."""
        words, head = np.empty(self._most_words, np.uint32), np.zeros(2, np.uint64)
        if workers:
            for size, order in reversed(self._orders):
                workers.begin(size, order)
        for write, arguments in reversed(self._runs):
            write(words, head, *arguments)
        state, n = int(head[0]), int(head[1])
        while state:
            words[n], state, n = state & 0xFFFFFFFF, state >> 32, n + 1
        return bytes(words[:n].astype("<u4").tobytes())


class Reader:
    """Read symbols in the order in which a :class:`Writer` collected them. ValueError if the data are damaged."""

    def __init__(self, data: bytes) -> None:
        if len(data) % 4:
            raise ValueError(f"entropy-coded data of {len(data)} bytes, expected a multiple of 4")
        self._words = np.frombuffer(data, "<u4").astype(np.uint32)
        n, state = len(self._words), 0
        if n and not self._words[-1]:
            raise ValueError("entropy-coded data end with a word of 0, expected another")
        while n and state < 2**32:
            n -= 1
            state = state << 32 | int(self._words[n])
        self._head = np.array([state, n], np.uint64)

    def get(self, model: Model, count: int) -> NDArray[np.int32]:
        """Read symbols under one model."""
        symbols = np.empty(count, np.int32)
        order = np.arange(len(symbols), dtype=np.int32)
        streams.pop(self._words, self._head, model, order, symbols)
        return symbols

    def tokens(self, models: Models, classes: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Read a token for each voxel, given the classes. ValueError if a class has no table."""
        _check_classes(models, classes)
        tokens = np.empty(len(classes), np.int32)
        streams.pop_tokens(self._words, self._head, classes, *models, tokens)
        return tokens

    def integers(self, model: Model, count: int) -> NDArray[np.int64]:
        """Read integers of any size."""
        integers = np.empty(count, np.int64)
        streams.pop_integers_of_model(self._words, self._head, model, integers)
        return integers

    def integers_of(self, models: Models, classes: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Read an integer of any size for each voxel, given the classes. ValueError if a class has no table."""
        _check_classes(models, classes)
        integers = np.empty(len(classes), np.int64)
        streams.pop_integers_of_tables(self._words, self._head, classes, *models, integers)
        return integers

    def bits(self, n: int, count: int) -> NDArray[np.int64]:
        """Read ``count`` values of ``n`` bits."""
        values = np.zeros(count, np.int64)
        for low in range(0, n, MOST_BITS):
            streams.pop_bits(self._words, self._head, values, low, min(MOST_BITS, n - low))
        return values

    def number(self, name: str, low: int, high: int, model: Model = FLAT) -> int:
        """Read one integer, which must be ``low`` to ``high``."""
        (value,) = self.integers(model, 1).tolist()
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}, expected {low} to {high}")
        return int(value)

    def end(self) -> None:
        """Raise ValueError if data are left."""
        if self._head.any():
            raise ValueError("entropy-coded data are not used up by the integers they should hold")
