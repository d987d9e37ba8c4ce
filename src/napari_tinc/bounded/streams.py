"""The stack of an entropy coder, compiled: asymmetric numeral systems (Duda, arXiv 1311.2540) on 64 bits.

A stack is a state and 32-bit words. A symbol takes its share of 2^24 of the state; words are moved so that the state
stays at 2^32 or above while there are any. What is written last is read first. All is on integers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled, high_product

PRECISION = 24  # Probabilities are multiples of 2^-24.
LOOKUP_BITS = 10  # A search for a symbol begins with one that these highest bits of its place give.
LEAST_LOOKUPS = 64  # For fewer symbols it begins with the first one, which takes less time than a table.
MOST_BITS = 16  # Plain bits are written and read so many at a time.
LEAST_LARGE = 8  # Smaller magnitudes have tokens of their own, one for each sign; larger ones share tokens.
_STATE_BITS = 64
_LOW_24 = np.uint64(2**PRECISION - 1)
_PRECISION, _WORD, _SYMBOL = np.uint64(PRECISION), np.uint64(32), np.uint64(2 * PRECISION)
_FULL = np.uint64(_STATE_BITS - PRECISION)  # A state takes a symbol if its bits above these are less than its share.
_LEAST = np.uint64(2**32)

Ints = NDArray[Any]  # int32 or int64


Model = NDArray[np.uint64]  # Where the places of symbols 0, 1, ... begin, up to 2^24, which is beyond the last one.


def model_of(weights: NDArray[np.float64]) -> Model:
    """Return the model of symbols with probabilities in proportion to weights, none of them 0.

    Sums, products and roundings are correct and in this order, so that every machine has the same.
    """
    n, sums = len(weights), np.concatenate([[0.0], np.cumsum(weights)])
    shares = np.floor(sums[:-1] * ((2**PRECISION - n) / sums[-1])).astype(np.uint64)
    return np.append(np.arange(n, dtype=np.uint64) + shares, np.uint64(2**PRECISION))


class Models(NamedTuple):
    """The models of tables of tokens.

    Attributes
    ----------
    table_of : uint8 (classes,), the table of every class.
    cumulative : the model of every table, (tables, n + 1).
    is_coded : whether a table has more than one token. One alone, which is 0, takes no bits.
    """

    table_of: NDArray[np.uint8]
    cumulative: NDArray[np.uint64]
    is_coded: NDArray[np.bool_]


@compiled
def push(
    words: NDArray[np.uint32], head: NDArray[np.uint64], cumulative: NDArray[np.uint64], symbols: NDArray[np.int32],
    order: NDArray[np.int32],
) -> None:  # fmt: skip
    """Write some symbols, the last one of an order first. ``head`` is the state and the number of words.

    The state is divided by multiplying it by 2^64 over the share, which takes half the time: the quotient is right, or
    less by 1.
    """
    n_symbols = 1
    while cumulative[n_symbols] <= _LOW_24:
        n_symbols += 1
    shares, inverses = np.empty(n_symbols, np.uint64), np.empty(n_symbols, np.uint64)
    for symbol in range(n_symbols):
        shares[symbol] = cumulative[symbol + 1] - cumulative[symbol]
        inverses[symbol] = np.uint64(2**64 - 1) // shares[symbol]
    state, n = head[0], head[1]
    for index in range(len(order) - 1, -1, -1):
        symbol = symbols[order[index]]
        share = shares[symbol]
        if (state >> _FULL) >= share:
            words[n] = np.uint32(state & np.uint64(0xFFFFFFFF))
            n += np.uint64(1)
            state >>= _WORD
        quotient = high_product(state, inverses[symbol])
        rest = state - quotient * share
        state = (quotient << _PRECISION) + rest + cumulative[symbol]
        if rest >= share:
            state += (np.uint64(1) << _PRECISION) - share
    head[0], head[1] = state, n


@compiled
def push_bits(
    words: NDArray[np.uint32], head: NDArray[np.uint64], values: NDArray[np.int64], low: int, width: int
) -> None:
    """Write the bits ``low`` to ``low + width`` of values, width at most MOST_BITS, the last value first."""
    state, n = head[0], head[1]
    mask, first, shift = np.uint64((1 << width) - 1), np.uint64(low), np.uint64(PRECISION - width)
    share = np.uint64(1) << shift
    for index in range(len(values) - 1, -1, -1):
        left = ((np.uint64(values[index]) >> first) & mask) << shift
        if (state >> _FULL) >= share:
            words[n] = np.uint32(state & np.uint64(0xFFFFFFFF))
            n += np.uint64(1)
            state >>= _WORD
        state = ((state >> shift) << _PRECISION) | ((state & (share - np.uint64(1))) + left)
    head[0], head[1] = state, n


@compiled
def _fill_lookup(cumulative: NDArray[np.uint64], shift: int, lookup: NDArray[np.uint64]) -> None:
    """Put the first symbol with a place among the 2^shift at every one of these, and where it begins, and its share.

    They are one number, 16, 24 and 24 bits of it, as a table of these stays in the cache and is read at once.
    """
    symbol, bits = 0, np.uint64(shift)
    for index in range(len(lookup)):
        while cumulative[symbol + 1] <= np.uint64(index) << bits:
            symbol += 1
        first = cumulative[symbol]
        lookup[index] = np.uint64(symbol) << _SYMBOL | first << _PRECISION | (cumulative[symbol + 1] - first)


@compiled
def pop(
    words: NDArray[np.uint32], head: NDArray[np.uint64], cumulative: NDArray[np.uint64], order: NDArray[np.int32],
    symbols: NDArray[np.int32],
) -> None:  # fmt: skip
    """Read symbols into their places, in the order in which :func:`push` had them."""
    bits = LOOKUP_BITS if len(order) >= LEAST_LOOKUPS else 0
    lookup, shift = np.empty(1 << bits, np.uint64), np.uint64(PRECISION - bits)
    _fill_lookup(cumulative, PRECISION - bits, lookup)
    state, n = head[0], head[1]
    for index in range(len(order)):
        place = state & _LOW_24
        entry = lookup[place >> shift]
        symbol, share, rest = entry >> _SYMBOL, entry & _LOW_24, place - ((entry >> _PRECISION) & _LOW_24)
        while rest >= share:
            symbol += np.uint64(1)
            rest -= share
            share = cumulative[symbol + np.uint64(1)] - cumulative[symbol]
        symbols[order[index]] = symbol
        state = (state >> _PRECISION) * share + rest
        if state < _LEAST and n:
            n -= np.uint64(1)
            state = (state << _WORD) | np.uint64(words[n])
    head[0], head[1] = state, n


@compiled
def pop_bits(
    words: NDArray[np.uint32], head: NDArray[np.uint64], values: NDArray[np.int64], low: int, width: int
) -> None:
    """Read the bits ``low`` to ``low + width`` of values, width at most MOST_BITS, into what they have."""
    state, n = head[0], head[1]
    shift, first = np.uint64(PRECISION - width), np.uint64(low)
    mask = (np.uint64(1) << shift) - np.uint64(1)
    for index in range(len(values)):
        place = state & _LOW_24
        values[index] |= np.int64((place >> shift) << first)
        state = ((state >> _PRECISION) << shift) + (place & mask)
        if state < _LEAST and n:
            n -= np.uint64(1)
            state = (state << _WORD) | np.uint64(words[n])
    head[0], head[1] = state, n


@compiled
def sort_by_table(
    classes: NDArray[np.uint8], table_of: NDArray[np.uint8], counts: NDArray[np.int64], order: NDArray[np.int32]
) -> None:
    """Put the places of voxels in the order of the tables of their classes into ``order``, and count those of each.

    Classes must have a table. ``counts`` is overwritten.
    """
    quarter, n_tables = len(classes) // 4, len(counts)
    second, third, left = 2 * quarter, 3 * quarter, 4 * quarter
    ends = np.zeros((5, n_tables), np.int64)  # of each quarter, which do not wait for each other, and what is left
    a, b, c, d = ends[0], ends[1], ends[2], ends[3]
    for index in range(quarter):
        a[table_of[classes[index]]] += 1
        b[table_of[classes[quarter + index]]] += 1
        c[table_of[classes[second + index]]] += 1
        d[table_of[classes[third + index]]] += 1
    for index in range(left, len(classes)):
        ends[4, table_of[classes[index]]] += 1
    total = 0
    for table in range(n_tables):
        before = total
        for part in range(5):
            ends[part, table], total = total, total + ends[part, table]
        counts[table] = total - before
    for index in range(quarter):
        _append_place(classes, table_of, a, index, order)
        _append_place(classes, table_of, b, quarter + index, order)
        _append_place(classes, table_of, c, second + index, order)
        _append_place(classes, table_of, d, third + index, order)
    for index in range(left, len(classes)):
        _append_place(classes, table_of, ends[4], index, order)


@compiled
def _append_place(
    classes: NDArray[np.uint8], table_of: NDArray[np.uint8], ends: NDArray[np.int64], index: int,
    order: NDArray[np.int32],
) -> None:  # fmt: skip
    """Append the place of a voxel to those of its table, of which the end is known."""
    table = table_of[classes[index]]
    order[ends[table]] = index
    ends[table] += 1


@compiled
def count_tokens(counts: NDArray[np.int64], classes: NDArray[np.uint8], tokens: NDArray[np.int32]) -> None:
    """Add the voxels of every class and token to ``counts``, (classes, tokens)."""
    for index in range(len(classes)):
        counts[classes[index], tokens[index]] += 1


@compiled
def push_tokens(
    words: NDArray[np.uint32], head: NDArray[np.uint64], order: NDArray[np.int32], counts: NDArray[np.int64],
    cumulative: NDArray[np.uint64], is_coded: NDArray[np.bool_], tokens: NDArray[np.int32], n_bits: NDArray[np.uint8],
    rest: NDArray[np.int64],
) -> None:  # fmt: skip
    """Write the tokens of voxels, whose places :func:`sort_by_table` has put in order, and further bits, if any.

    See :class:`Models` and :func:`push_further_bits`.
    """
    push_further_bits(words, head, n_bits, rest)
    last = len(order)
    for table in range(len(counts) - 1, -1, -1):
        if is_coded[table]:
            push(words, head, cumulative[table], tokens, order[last - counts[table] : last])
        last -= counts[table]


@compiled
def pop_tokens(
    words: NDArray[np.uint32], head: NDArray[np.uint64], classes: NDArray[np.uint8], table_of: NDArray[np.uint8],
    cumulative: NDArray[np.uint64], is_coded: NDArray[np.bool_], tokens: NDArray[np.int32],
) -> None:  # fmt: skip
    """Read the tokens that :func:`push_tokens` wrote; further bits follow."""
    order, counts = np.empty(len(classes), np.int32), np.zeros(len(cumulative), np.int64)
    sort_by_table(classes, table_of, counts, order)
    tokens[:] = 0
    first = 0
    for table in range(len(counts)):
        if is_coded[table]:
            pop(words, head, cumulative[table], order[first : first + counts[table]], tokens)
        first += counts[table]


@compiled
def push_further_bits(
    words: NDArray[np.uint32], head: NDArray[np.uint64], n_bits: NDArray[np.uint8], rest: NDArray[np.int64]
) -> None:
    """Write the further bits of integers, so that those with the fewest are read first."""
    if not len(n_bits):
        return
    each, order, counts = np.arange(256).astype(np.uint8), np.empty(len(n_bits), np.int32), np.zeros(256, np.int64)
    sort_by_table(n_bits, each, counts, order)
    ordered = np.empty(len(rest), np.int64)
    for index in range(len(order)):
        ordered[index] = rest[order[index]]
    last = len(order)
    for n in range(len(counts) - 1, 0, -1):
        if counts[n]:
            for low in range((n - 1) // MOST_BITS * MOST_BITS, -1, -MOST_BITS):
                push_bits(words, head, ordered[last - counts[n] : last], low, min(MOST_BITS, n - low))
            last -= counts[n]


@compiled
def pop_integers(
    words: NDArray[np.uint32], head: NDArray[np.uint64], tokens: NDArray[np.int32], integers: NDArray[np.int64]
) -> None:
    """Turn tokens into integers, of which the further bits are read as :func:`push_further_bits` wrote them."""
    n_large = 0
    for index in range(len(tokens)):
        token = tokens[index]
        half = (np.int64(token) + 1) >> 1
        integers[index] = half if token & 1 else -half
        n_large += token >= 2 * LEAST_LARGE - 1
    if not n_large:
        return
    large, n_bits, n = np.empty(n_large, np.int64), np.empty(n_large, np.uint8), 0
    for index in range(len(tokens)):
        above = tokens[index] - (2 * LEAST_LARGE - 1)
        if above >= 0:
            large[n], n_bits[n] = index, (above >> 2) + 2
            n += 1
    each, order, counts = np.arange(256).astype(np.uint8), np.empty(n_large, np.int32), np.zeros(256, np.int64)
    sort_by_table(n_bits, each, counts, order)
    first = 0
    rest = np.zeros(n_large, np.int64)
    for n in range(1, len(counts)):
        for low in range(0, n if counts[n] else 0, MOST_BITS):
            pop_bits(words, head, rest[first : first + counts[n]], low, min(MOST_BITS, n - low))
        first += counts[n]
    for index in range(n_large):
        place = large[order[index]]
        above = np.int64(tokens[place]) - (2 * LEAST_LARGE - 1)
        octave = (above >> 2) + 3
        size = (1 << octave) + ((above & 3) << (octave - 2)) + (rest[index] >> 1)
        integers[place] = -size if rest[index] & 1 else size


@compiled
def split_integers(
    integers: Ints, tokens: NDArray[np.int32], n_bits: NDArray[np.uint8], rest: NDArray[np.int64]
) -> int:  # fmt: skip
    """Split integers into tokens and, of the large ones, further bits: how many, and these; the lowest is the sign.

    Return how many are large. Their bits are at the beginning of ``n_bits`` and ``rest``.
    """
    n = 0
    for index in range(len(integers)):
        value = np.int64(integers[index])
        size = abs(value)
        tokens[index] = 2 * size - (value > 0)
        if size >= LEAST_LARGE:
            octave = 3
            while size >> (octave + 1):
                octave += 1
            tokens[index] = 2 * LEAST_LARGE - 1 + (octave - 3) * 4 + ((size >> (octave - 2)) & 3)
            n_bits[n] = octave - 1
            rest[n] = (size & ((1 << (octave - 2)) - 1)) << 1 | (value < 0)
            n += 1
    return n


@compiled
def push_integers(
    words: NDArray[np.uint32], head: NDArray[np.uint64], cumulative: NDArray[np.uint64], integers: NDArray[np.int64]
) -> None:
    """Write integers of any size: their tokens under one model, then their further bits."""
    n = len(integers)
    tokens, n_bits, rest = np.empty(n, np.int32), np.empty(n, np.uint8), np.empty(n, np.int64)
    n_large = split_integers(integers, tokens, n_bits, rest)
    push_further_bits(words, head, n_bits[:n_large], rest[:n_large])
    push(words, head, cumulative, tokens, np.arange(n).astype(np.int32))


@compiled
def pop_integers_of_model(
    words: NDArray[np.uint32], head: NDArray[np.uint64], cumulative: NDArray[np.uint64], integers: NDArray[np.int64]
) -> None:
    """Read integers that :func:`push_integers` wrote."""
    tokens = np.empty(len(integers), np.int32)
    pop(words, head, cumulative, np.arange(len(integers)).astype(np.int32), tokens)
    pop_integers(words, head, tokens, integers)


@compiled
def pop_integers_of_tables(
    words: NDArray[np.uint32], head: NDArray[np.uint64], classes: NDArray[np.uint8], table_of: NDArray[np.uint8],
    cumulative: NDArray[np.uint64], is_coded: NDArray[np.bool_], integers: NDArray[np.int64],
) -> None:  # fmt: skip
    """Read the integers of voxels, given their classes, which must have tables. See :class:`Models`.

    They are those that :func:`split_integers` has split, and :func:`push_tokens` written.
    """
    tokens = np.empty(len(classes), np.int32)
    pop_tokens(words, head, classes, table_of, cumulative, is_coded, tokens)
    pop_integers(words, head, tokens, integers)
