"""Turn values into integers and back: steps of a bound, ranks of floats, ranks in a table; and the head of a box."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Check
from ..differences import violations
from . import interpolation, kernels
from .entropy import Reader, Tables, Writer, categorical, tokens_of
from .prediction import Ints
from .shaping import reach
from .workers import at_the_same_time

# The fields of Head but for the table; bytes of the table and of the low bits; number of corrections.
HEAD = struct.Struct("<4B8sQQdIII")
FINENESS = 256  # Integers for each bound on a grid: rounding to them takes 1/512 of the bound.
FINE_RANGE = 2**30  # Grids of more integers have fewer integers for each bound.
LARGEST_TABLE = 1 / 8  # Share of the voxels. A longer list of the integers that occur is not tried.
MAX_TAPER = 4  # Larger tapers are refused.


class BoxKind(IntEnum):
    """Kinds of encoded boxes; the first byte of each.

    ORDERED has ranks of the values, GRID steps of the bound, REPEATS an .xz stream, LABELS a label image, and MASKED a
    label image of special values and a box of the others. All voxels of CONSTANT are equal. BACKGROUND is a polynomial
    that stands for the smooth part of a box, and the numbers of the rest.
    """

    CONSTANT = 0
    ORDERED = 1
    GRID = 2
    REPEATS = 3
    LABELS = 4
    MASKED = 5
    BACKGROUND = 6


@dataclass(frozen=True, slots=True)
class Head:
    """How the integers q of a box, 0 to ``high``, are to be read.

    ORDERED: the value's rank is ``lowest`` + q * 2^n_low_bits + low bits; GRID: the value is ``lowest`` + q * ``step``.

    Attributes
    ----------
    kind : ORDERED or GRID.
    taper : 0 to 4, how much finer coarse levels are.
    shift : bits at the end of all floats that are zero, and left out of ranks.
    n_low_bits : bits of ranks that are stored as they are, since they are beyond the coder's range.
    lowest : smallest rank or value.
    high : largest integer.
    bound : how far off integers may be.
    step : difference of two values whose integers are neighbours.
    table : the ranks that occur, less ``lowest``, if q counts among these; else None.
    """

    kind: BoxKind
    taper: int
    shift: int
    n_low_bits: int
    lowest: int | float
    high: int
    bound: int
    step: float
    table: NDArray[np.int64] | None = None


def encode_numbers(
    original: NDArray[Any], bound: float, taper: int, dead_zone: float, check: Check,
    hidden: NDArray[np.bool_] | None = None,
) -> tuple[bytes, NDArray[Any]]:  # fmt: skip
    """Encode any values: integers predicted from their neighbours, and corrections.

    Return the bytes, and what they decode to. ``hidden`` voxels take no bytes, and decode to anything.
    """
    head, integers, low_bits = _to_grid(original, bound, taper) or _to_ranks(original, bound, taper)
    check()
    integers, payload = interpolation.code_integers(
        integers, head.high, head.bound, head.taper, dead_zone, check, hidden
    )
    check()
    payload_bytes, (decoded, wrong) = at_the_same_time(
        payload,
        lambda: _decoded_and_wrong(original, integers, low_bits, head, reach(bound, dead_zone), hidden),
        original.size,
    )
    corrections = wrong.astype("<u4").tobytes() + original.ravel()[wrong].tobytes()
    table = b"" if head.table is None else _pack_table(head.table)
    packed_low = b"" if low_bits is None else _pack_low_bits(low_bits, head.n_low_bits)
    lowest = struct.pack("<d" if head.kind is BoxKind.GRID else "<q", head.lowest)
    fields = (head.kind, head.taper, head.shift, head.n_low_bits, lowest, head.high, head.bound, head.step)
    packed = HEAD.pack(*fields, len(table), len(packed_low), len(wrong))
    decoded.reshape(-1)[wrong] = original.ravel()[wrong]
    return b"".join([packed, table, packed_low, corrections, payload_bytes]), decoded


def _decoded_and_wrong(
    original: NDArray[Any], integers: Ints, low_bits: NDArray[np.int64] | None, head: Head, most: float,
    hidden: NDArray[np.bool_] | None,
) -> tuple[NDArray[Any], NDArray[np.int64]]:  # fmt: skip
    """Return the values of integers, and the places of voxels that are further than ``most`` from the original."""
    decoded = to_values(integers, low_bits, head, original.dtype)
    if hidden is None and not violations(original, decoded, most):
        return decoded, np.zeros(0, np.int64)
    bits = f"u{original.itemsize}"
    differs = decoded.view(bits) != original.view(bits)
    if most:
        with np.errstate(all="ignore"):
            differs &= ~(np.abs(decoded.astype(np.float64) - original.astype(np.float64)) <= most)
    return decoded, np.flatnonzero(differs if hidden is None else differs & ~hidden)


def decode_numbers(
    data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], check: Check, hidden: NDArray[np.bool_] | None = None,
    last: int = 0,
) -> NDArray[Any]:  # fmt: skip
    """Decode what :func:`encode_numbers` made; ValueError if it is damaged.

    With ``last`` above 0 only every 2^last-th voxel along each axis, without corrections; damage may not be noticed.
    """
    size = shape[0] * shape[1] * shape[2]
    step = (slice(None, None, 2**last),) * 3
    head, table, packed_low, corrections, payload = parse_box(data, dtype)
    if table:
        head = with_table(head, table, size)
    check_ranks(head, dtype)
    low_bits = unpack_low_bits(packed_low, head.n_low_bits, shape)[step] if head.n_low_bits else None
    integers = interpolation.decode_integers(payload, shape, head.high, head.bound, head.taper, check, last, hidden)
    if last:
        return to_values(integers, low_bits, head, dtype)
    if low_bits is not None:
        check_low_bits(head, low_bits[integers == head.high], dtype)
    values = to_values(integers, low_bits, head, dtype)
    n_corrections = len(corrections) // (4 + dtype.itemsize)
    wrong = np.frombuffer(corrections[: 4 * n_corrections], "<u4").astype(np.int64)
    if n_corrections and (wrong[-1] >= size or (np.diff(wrong) <= 0).any()):
        raise ValueError(f"positions of corrections are not ascending below {size}")
    right = np.frombuffer(corrections[4 * n_corrections :], dtype)
    if (values.reshape(-1)[wrong].view(f"u{dtype.itemsize}") == right.view(f"u{dtype.itemsize}")).any():
        raise ValueError("corrections of the residual leave voxels as they are")
    values.reshape(-1)[wrong] = right
    return values


def parse_box(data: bytes, dtype: np.dtype[Any]) -> tuple[Head, bytes, bytes, bytes, bytes]:
    """Split an encoded box into its head, table, low bits, corrections and entropy-coded integers.

    ValueError if it is damaged.
    """
    if len(data) < HEAD.size:
        raise ValueError(f"residual is {len(data)} bytes, expected {HEAD.size} or more")
    code, taper, shift, low, lowest, high, bound, step, n_table, n_low, n_wrong = HEAD.unpack_from(data)
    if code not in (BoxKind.ORDERED, BoxKind.GRID) or (code == BoxKind.GRID and dtype.kind != "f"):
        raise ValueError(f"kind of residual is {code}, expected {BoxKind.ORDERED:d}, or {BoxKind.GRID:d} for floats")
    start = struct.unpack("<d" if code == BoxKind.GRID else "<q", lowest)[0]
    if not (0 < high < interpolation.MAX_HIGH and bound <= high and taper <= MAX_TAPER):
        raise ValueError(f"range, bound and taper are {high}, {bound}, {taper}, expected a bound within a range")
    if not (np.isfinite(step) and np.isfinite(start) and (step > 0 if code == BoxKind.GRID else step == 0)):
        raise ValueError(f"grid is {start}, {step}, expected finite numbers, and steps above 0 of a grid only")
    if not (shift < (8 * dtype.itemsize if dtype.kind == "f" else 1) and low <= max(0, 8 * dtype.itemsize - 36)):
        raise ValueError(f"bits shifted out and low bits are {shift}, {low}, expected those of {dtype}")
    if code == BoxKind.GRID and (shift or low):
        raise ValueError(f"bits shifted out and low bits are {shift}, {low}, expected none of a grid")
    ends = np.cumsum([HEAD.size, n_table, n_low, n_wrong * (4 + dtype.itemsize)], dtype=np.int64).tolist()
    if ends[-1] > len(data) or (n_low and not low):
        raise ValueError(f"parts of the residual end at byte {ends[-1]}, expected at most {len(data)}")
    head = Head(BoxKind(code), taper, shift, low, start, high, bound, step)
    parts = [data[a:b] for a, b in zip(ends, [*ends[1:], len(data)], strict=True)]
    return head, parts[0], parts[1], parts[2], parts[3]


def _to_grid(original: NDArray[Any], bound: float, taper: int) -> tuple[Head, Ints, NDArray[np.int64] | None] | None:
    """Turn floats into steps of a little less than the bound. None if that is impossible, or ranks are better."""
    if original.dtype.kind != "f" or not bound:
        return None
    values = original
    with np.errstate(invalid="ignore"):
        lowest, highest = float(original.min()), float(original.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):  # NaN is the smallest and the largest of all
        finite = np.isfinite(original)
        if finite.mean() < 0.9:
            return None
        values = np.where(finite, original, original[finite][0])
        lowest, highest = float(values.min()), float(values.max())
    largest = max(abs(lowest), abs(highest))
    fineness = FINENESS
    with np.errstate(all="ignore"):
        rounding = 1.5 * float(np.spacing(np.array(largest, original.dtype)))  # to the dtype
        room = bound - rounding
        extent = np.float64(highest) - lowest
        while fineness and not extent / (room / (fineness + 0.5)) < FINE_RANGE:
            fineness //= 4
        step = room / (fineness + 0.5)
        if not (room > bound / 2 and extent / step < interpolation.MAX_HIGH / 2 and step > 1e-300):
            return None
    high = max(1, int(np.rint(extent / step)))
    integers = np.empty(original.shape, interpolation.dtype_of(high))
    kernels.steps_of(_at_least_float32(values).reshape(-1), lowest, step, integers.reshape(-1))
    return Head(BoxKind.GRID, taper, 0, 0, lowest, high, min(fineness, high), step), integers, None


def _at_least_float32(values: NDArray[Any]) -> NDArray[Any]:
    """Return floats as compiled functions know them."""
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _to_ranks(original: NDArray[Any], bound: float, taper: int) -> tuple[Head, Ints, NDArray[np.int64] | None]:
    """Turn values into ranks: integers themselves, or the bits of floats, which have the same order."""
    shift, low, ulp, low_bits = 0, 0, 1.0, None
    if original.dtype.kind != "f":
        lowest, highest = int(original.min()), int(original.max())
        integers = original.astype(np.int32 if original.itemsize < 4 else np.int64) - lowest
    else:
        bits = original.view(f"i{original.itemsize}")
        union = int(np.bitwise_or.reduce(bits, axis=None)) & _magnitude(original.dtype)
        with np.errstate(all="ignore"):
            ulp = float(np.spacing(np.abs(original).max()).astype(np.float64))
        shift = 0 if bound >= ulp else (union & -union).bit_length() - 1 if union else 0
        ranks = _ranks_of(original, shift)
        lowest, highest = int(ranks.min()), int(ranks.max())
        low = max(0, (highest - lowest).bit_length() - (interpolation.MAX_HIGH - 1).bit_length())
        offsets = ranks.view(np.uint64)
        offsets -= np.uint64(lowest & (2**64 - 1))
        low_bits = (offsets & np.uint64(2**low - 1)).astype(np.int64) if low else None
        integers = (offsets >> np.uint64(low)).view(np.int64) if low else ranks
    high = (highest - lowest) >> low
    steps = 0 if low or not np.isfinite(ulp) else min(high, int(bound / ulp)) if bound < high * ulp else high
    head = Head(BoxKind.ORDERED, taper, shift, low, lowest, high, steps, 0.0)
    if low:
        return head, integers, low_bits
    table = _integers_that_occur(integers, high)
    if len(table) > 1 and _table_pays(table, integers.size, steps):
        indices = _indices_in(table, integers, high)
        return Head(BoxKind.ORDERED, taper, shift, 0, lowest, len(table) - 1, 0, 0.0, table), indices, None
    return head, integers, None


def _integers_that_occur(integers: Ints, high: int) -> NDArray[np.int64]:
    """Return the integers that occur, ascending; nothing if a quarter of them tells that a list of them cannot pay."""
    if high < integers.size:
        occurs = np.zeros(high + 1, np.bool_)
        kernels.mark(integers.reshape(-1), occurs)
        return np.flatnonzero(occurs)
    sample = integers.ravel()[::4]
    if len(distinct(sample.astype(np.uint32) if high < 2**32 else sample)) > integers.size * LARGEST_TABLE:
        return np.zeros(0, np.int64)
    return distinct(integers)


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values that occur, ascending. Sorting is faster than the hashes of np.unique where many differ."""
    ordered = np.sort(values, axis=None)
    is_first = np.ones(ordered.size, np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    return np.asarray(ordered[is_first])


def _indices_in(table: NDArray[np.int64], integers: Ints, high: int) -> NDArray[np.int64]:
    """Return the place of every integer in a table of all that occur."""
    if high >= integers.size:
        return np.searchsorted(table, integers)
    place_of = np.zeros(high + 1, np.int64)
    place_of[table] = np.arange(len(table))
    return np.asarray(place_of[integers])


def _table_pays(table: NDArray[np.int64], n_voxels: int, bound: int) -> bool:
    """Return whether so few integers occur that counting only those saves more than their list costs."""
    gaps = np.diff(table)
    saved = n_voxels * np.log2(np.median(gaps) / (2 * bound + 1))
    return bool(len(table) <= n_voxels * LARGEST_TABLE and saved > 2 * (np.log2(gaps) + 2).sum())


def _magnitude(dtype: np.dtype[Any]) -> int:
    """Return the bits of a float without the sign."""
    return int(2 ** (8 * dtype.itemsize - 1) - 1)


def _ranks_of(values: NDArray[Any], shift: int) -> NDArray[np.int64]:
    """Return integers in the order of floats, without the bits that are shifted out; -0 is just below 0."""
    ranks = np.empty(values.shape, np.int64)
    bits = values.view(f"i{values.dtype.itemsize}")
    kernels.ranks_of(bits.reshape(-1), _magnitude(values.dtype), shift, ranks.reshape(-1))
    return ranks


def _values_of_ranks(integers: Ints, lowest: int, shift: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the floats of ranks, which are integers from the lowest one on."""
    bits = np.empty(integers.shape, f"i{dtype.itemsize}")
    sign = -(2 ** (8 * dtype.itemsize - 1))
    kernels.bits_of_ranks(np.ascontiguousarray(integers).reshape(-1), lowest, shift, sign, bits.reshape(-1))
    return bits.view(dtype)


def to_values(
    integers: NDArray[Any], low_bits: NDArray[np.int64] | None, head: Head, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Turn integers into values, by operations that round the same on every machine."""
    with np.errstate(all="ignore"):
        if head.kind is BoxKind.GRID:
            largest = float(np.finfo(dtype).max)
            wide = np.empty(integers.shape, np.float64 if dtype == np.float16 else dtype)  # rounded once
            flat = np.ascontiguousarray(integers).reshape(-1)
            kernels.values_of_steps(flat, float(head.lowest), head.step, largest, wide.reshape(-1))
            return wide.astype(dtype, copy=False)
        offsets = integers if head.table is None else head.table[integers]
        if dtype.kind != "f":
            values = offsets.astype(dtype)
            values += np.array(head.lowest).astype(dtype)  # a sum beyond the dtype's range comes round to the value
            return values
        if low_bits is not None:
            offsets = (offsets.astype(np.int64) << head.n_low_bits) | low_bits
        return _values_of_ranks(offsets, int(head.lowest), head.shift, dtype)


def check_ranks(head: Head, dtype: np.dtype[Any]) -> None:
    """Raise ValueError if ranks lie beyond those of the dtype."""
    if head.kind is BoxKind.GRID:
        return
    highest = int(head.lowest) + ((head.high << head.n_low_bits) if head.table is None else int(head.table[-1]))
    limits = np.iinfo(dtype if dtype.kind != "f" else f"i{dtype.itemsize}")
    if not (limits.min >> head.shift <= head.lowest and highest <= limits.max >> head.shift):
        raise ValueError(f"ranks are {head.lowest} to {highest}, expected those of {dtype}")


def check_low_bits(head: Head, of_highest: NDArray[np.int64], dtype: np.dtype[Any]) -> None:
    """Raise ValueError if low bits take the largest integer beyond the ranks of the dtype."""
    room = (int(np.iinfo(f"i{dtype.itemsize}").max) >> head.shift) - (int(head.lowest) + (head.high << head.n_low_bits))
    if of_highest.max(initial=0) > room:
        raise ValueError(f"low bits of the highest rank are {of_highest.max()}, expected at most {room} of {dtype}")


def _pack_table(table: NDArray[np.int64]) -> bytes:
    """Pack the differences of an ascending table that begins with 0."""
    tokens, n_bits, rest = tokens_of(np.diff(table))
    writer = Writer()
    tables = Tables.of([(np.zeros(len(tokens), np.uint8), tokens)])
    tables.write(writer)
    writer.tokens(tables.models(), np.zeros(len(tokens), np.uint8), tokens, n_bits, rest)
    return writer.to_bytes()


def with_table(head: Head, data: bytes, n_voxels: int) -> Head:
    """Return the head with its table. ValueError if the bytes are not a table of ``high + 1`` integers."""
    if head.high >= n_voxels or head.kind is BoxKind.GRID or head.n_low_bits or head.bound:
        raise ValueError(f"table of {head.high + 1} integers for {n_voxels} voxels, expected fewer, and ranks only")
    reader = Reader(data)
    costs = Tables.read(reader).costs
    if len(costs) != 1 or len(costs[0]) == 1:
        raise ValueError(f"table of integers has {len(costs)} distributions, expected 1")
    gaps = reader.integers(categorical(costs[0]), head.high)
    reader.end()
    if gaps.min() < 1 or gaps.astype(np.float64).sum() >= interpolation.MAX_HIGH:
        raise ValueError("table of integers does not ascend within the range")
    return replace(head, table=np.concatenate([[0], np.cumsum(gaps)]))


def _pack_low_bits(low_bits: NDArray[np.int64], n: int) -> bytes:
    """Pack the low bits as they are."""
    writer = Writer()
    writer.bits(low_bits.ravel(), n)
    return writer.to_bytes()


def unpack_low_bits(data: bytes, n: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Unpack the low bits, (z, y, x)."""
    reader = Reader(data)
    bits = reader.bits(n, shape[0] * shape[1] * shape[2])
    reader.end()
    return bits.reshape(shape)
