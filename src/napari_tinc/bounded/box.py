"""A box of voxels to bytes and back, with every voxel within a bound of the original, or bit for bit.

What is said here is how values become integers; interpolation.py codes these, or labels.py where they are names.
Integers are counted from the smallest; floats become steps of a little less than the bound, or, without loss, their
bits in ascending order. Under a bound, NaN, infinities and floats too large for it have an image of labels of their
own. The encoder looks at its own result and stores what would be off, so that the bound holds for any numbers.
"""

from __future__ import annotations

import lzma
import struct
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Check, never
from . import interpolation, labels
from .entropy import Reader, Tables, Writer, tokens_of

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")
HEAD = struct.Struct("<4B8sQQdIII")  # see Head; then lengths of the table and of the low bits, number of corrections
FINENESS = 256  # integers a bound: the rounding to them takes 1/512 of it
FINE_RANGE = 2**30  # beyond, fewer integers a bound
MAX_TAPER = 4
ALIKE_LABELS = 0.75  # of the voxels of a label image are at least as their neighbours
VOXELS_A_LABEL = 16
MASK = struct.Struct("<BI")  # kind; length of the labels
SWEEPS = 4  # of a relaxation
LZMA_MEMORY = 2**23  # of the decoder; preset 4 takes 5 MiB
LZMA_PIECE = 2**18  # bytes between two checks


class Kind(IntEnum):
    CONSTANT = 0
    ORDERED = 1
    GRID = 2
    REPEATS = 3
    LABELS = 4
    MASKED = 5


@dataclass(frozen=True, slots=True)
class Head:
    """How integers q, 0 to ``high``, are meant.

    ORDERED: the value's rank is ``lowest`` + q * 2^low + low bits; GRID: the value is ``lowest`` + q * ``step``.

    Attributes
    ----------
    shift : bits at the end of all floats that are zero and left out of ranks.
    bound : how far integers may be off.
    table : the ranks that occur, less ``lowest``, where q counts among them; else None.
    """

    kind: Kind
    taper: int
    shift: int
    low: int
    lowest: int | float
    high: int
    bound: int
    step: float
    table: NDArray[np.int64] | None = None


def encode(original: NDArray[Any], bound: float, taper: int = 0, dead_zone: float = 0, check: Check = never) -> bytes:
    """The bytes from which :func:`decode` makes a box within ``bound`` of the original, NaN at the same voxels.

    Parameters
    ----------
    original : (z, y, x), u1 to i4 or f2 to f8.
    bound : largest absolute error, in units of the values; 0 is bit for bit.
    taper : 0 to 4. Above 0, coarser levels have smaller steps: a smaller mean squared error for more bytes.
    dead_zone : 0 to 0.5. Above 0, voxels are within 1 + 2 ``dead_zone`` bounds instead: fewer bytes by more than that
        adds to the mean squared error.

    Raises
    ------
    ValueError
        If the shape, the dtype or the bound is none of these.
    """
    return encode_and_decode(original, bound, taper, dead_zone, check)[0]


def encode_and_decode(
    original: NDArray[Any], bound: float, taper: int = 0, dead_zone: float = 0, check: Check = never
) -> tuple[bytes, NDArray[Any]]:
    """As :func:`encode`, with what :func:`decode` makes of the bytes."""
    dtype = _checked(original.shape, original.dtype)
    if not (0 <= bound < np.inf and 0 <= taper <= MAX_TAPER and 0 <= dead_zone <= 0.5):
        given = f"bound is {bound}, taper {taper}, dead zone {dead_zone}"
        raise ValueError(f"{given}, expected 0 or more, 0 to {MAX_TAPER}, 0 to 0.5")
    original = np.ascontiguousarray(original, dtype)
    bits = original.view(f"u{dtype.itemsize}")
    if (bits == bits[0, 0, 0]).all():
        return bytes([Kind.CONSTANT]) + original[:1, :1, :1].tobytes(), original
    check()
    coded = [_as_numbers(original, bound, taper, dead_zone, check)]
    check()
    if bound and dtype.kind == "f" and (masked := _masked(original, bound, taper, dead_zone, check)):
        coded.append(masked)
    if not bound and dtype.kind == "f" and len(np.unique(bits)) <= bits.size / 2:
        # Symmetric maps and resampled volumes repeat floats exactly, far away: a prediction cannot know.
        coded.append((bytes([Kind.REPEATS]) + _compress(original.tobytes(), check), original))
    if _alike(bits) >= ALIKE_LABELS:  # whatever the bound is, as they may be names
        check()
        names, indices = np.unique(bits, return_inverse=True)
        check()
        if len(names) <= bits.size / VOXELS_A_LABEL:
            named = labels.encode_indices(names, indices.reshape(bits.shape), check)
            coded.append((bytes([Kind.LABELS]) + named, original))
    return min(coded, key=lambda one: len(one[0]))


def _alike(bits: NDArray[Any]) -> float:
    """How many neighbours are equal, of 1."""
    pairs = [(bits[1:], bits[:-1]), (bits[:, 1:], bits[:, :-1]), (bits[..., 1:], bits[..., :-1])]
    return sum(int((a == b).sum()) for a, b in pairs) / sum(a.size for a, _ in pairs)


def _as_numbers(
    original: NDArray[Any], bound: float, taper: int, dead_zone: float, check: Check
) -> tuple[bytes, NDArray[Any]]:
    """Any values, predicted from their neighbours, with corrections."""
    dtype = original.dtype
    bits = original.view(f"u{dtype.itemsize}")
    head, integers, low_bits = _grid(original, bound, taper) or _ordered(original, bound, taper)
    check()
    payload, integers = interpolation.encode(integers, head.high, head.bound, head.taper, dead_zone, check)
    check()
    decoded = _to_values(integers, low_bits, head, dtype)
    differs = decoded.view(bits.dtype) != bits
    if bound:
        with np.errstate(all="ignore"):
            differs &= ~(
                np.abs(decoded.astype(np.float64) - original.astype(np.float64)) <= (1 + 2 * dead_zone) * bound
            )
    wrong = np.flatnonzero(differs)
    corrections = wrong.astype("<u4").tobytes() + original.ravel()[wrong].tobytes()
    table = b"" if head.table is None else _pack_table(head.table)
    packed_low = b"" if low_bits is None else _pack_low(low_bits, head.low)
    lowest = struct.pack("<d" if head.kind is Kind.GRID else "<q", head.lowest)
    fields = (head.kind, head.taper, head.shift, head.low, lowest, head.high, head.bound, head.step)
    packed = HEAD.pack(*fields, len(table), len(packed_low), len(wrong))
    decoded.reshape(-1)[wrong] = original.ravel()[wrong]
    return b"".join([packed, table, packed_low, corrections, payload]), decoded


def _masked(
    original: NDArray[Any], bound: float, taper: int, dead_zone: float, check: Check
) -> tuple[bytes, NDArray[Any]] | None:
    """Labels, 0 for most voxels and else the bits of the value, and numbers for those of label 0; None where all are.

    Labels have what no bound has a meaning for: NaN, infinities, and floats whose neighbours are further away than the
    bound, such as a fill value of 1e20.
    """
    dtype = original.dtype
    with np.errstate(all="ignore"):
        odd = ~(np.spacing(np.abs(original)).astype(np.float64) < bound / 4)
    if not odd.any() or odd.all() or (odd & (original == 0)).any():
        return None
    names, indices = np.unique(np.where(odd, original.view(f"u{original.itemsize}"), 0), return_inverse=True)
    if len(names) > odd.size / VOXELS_A_LABEL:
        return None
    check()
    mask = labels.encode_indices(names, indices.reshape(odd.shape), check)
    unit = float(np.abs(original[~odd]).max()) or 1.0  # so that no sum is infinite
    filled = np.where(odd, _filled(original / np.float64(unit), ~odd) * unit, original).astype(dtype)
    if (filled == filled[0, 0, 0]).all():
        rest, decoded = bytes([Kind.CONSTANT]) + filled[:1, :1, :1].tobytes(), filled
    else:
        rest, decoded = _as_numbers(filled, bound, taper, dead_zone, check)
    return MASK.pack(Kind.MASKED, len(mask)) + mask + rest, np.where(odd, original, decoded)


def _filled(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What is known, and smooth between: means from as near as there is any, relaxed from coarse to fine."""
    sums, counts = np.where(known, values, 0), known.astype(np.float64)
    if counts.all() or sums.size == 1:
        return values
    for axis, n in enumerate(values.shape):
        starts = np.arange(0, n, 2)
        sums, counts = np.add.reduceat(sums, starts, axis), np.add.reduceat(counts, starts, axis)
    coarse = _filled(sums / np.maximum(counts, 1), counts > 0)
    filled = np.where(known, values, coarse[np.ix_(*(np.arange(n) // 2 for n in values.shape))])
    for _ in range(SWEEPS):
        z, y, x = (np.pad(filled, [(int(axis == a),) * 2 for a in range(3)], mode="edge") for axis in range(3))
        means = (z[2:] + z[:-2] + y[:, 2:] + y[:, :-2] + x[..., 2:] + x[..., :-2]) / 6
        filled = np.where(known, filled, means)
    return filled


def decode(data: bytes, shape: tuple[int, ...], dtype: Any, check: Check = never) -> NDArray[Any]:
    """The box, (z, y, x), given its shape and dtype.

    Raises
    ------
    ValueError
        If the data are damaged or not those of such a box.
    """
    dtype = _checked(shape, dtype)
    if not data or (data[0] == Kind.CONSTANT and len(data) != 1 + dtype.itemsize):
        raise ValueError(f"residual is {len(data)} bytes, expected {1 + dtype.itemsize} for a constant box")
    if data[0] == Kind.CONSTANT:
        return np.full(shape, np.frombuffer(data[1:], dtype)[0], dtype)
    size = shape[0] * shape[1] * shape[2]
    if data[0] == Kind.REPEATS and dtype.kind == "f":
        return np.frombuffer(_decompress(data[1:], size * dtype.itemsize), dtype).reshape(shape).copy()
    if data[0] == Kind.LABELS:
        return labels.decode(data[1:], shape, f"<u{dtype.itemsize}", check).view(dtype)
    if data[0] == Kind.MASKED and dtype.kind == "f":
        return _unmasked(data, shape, dtype, check)
    head, table, packed_low, corrections, payload = _parse(data, dtype)
    if table:
        head = _with_table(head, table, size)
    _check_ranks(head, dtype)
    low_bits = _unpack_low(packed_low, head.low, shape) if head.low else None
    integers = interpolation.decode(payload, shape, head.high, head.bound, head.taper, check)
    if low_bits is not None:
        _check_low_bits(head, low_bits[integers == head.high], dtype)
    values = _to_values(integers, low_bits, head, dtype)
    n_corrections = len(corrections) // (4 + dtype.itemsize)
    wrong = np.frombuffer(corrections[: 4 * n_corrections], "<u4").astype(np.int64)
    if n_corrections and (wrong[-1] >= size or (np.diff(wrong) <= 0).any()):
        raise ValueError(f"positions of corrections are not ascending below {size}")
    right = np.frombuffer(corrections[4 * n_corrections :], dtype)
    if (values.reshape(-1)[wrong].view(f"u{dtype.itemsize}") == right.view(f"u{dtype.itemsize}")).any():
        raise ValueError("corrections of the residual leave voxels as they are")
    values.reshape(-1)[wrong] = right
    return values


def sketch(data: bytes, shape: tuple[int, ...], dtype: Any, level: int, check: Check = never) -> NDArray[Any] | None:
    """Every 2^level-th voxel of the box along each axis, about; None for kinds that have no coarse levels.

    Corrections are left out, and what is damaged is not noticed.

    Raises
    ------
    ValueError
        If the data cannot be those of such a box.
    """
    dtype = _checked(shape, dtype)
    step = 2**level
    if data[:1] == bytes([Kind.CONSTANT]):
        return decode(data, shape, dtype)[::step, ::step, ::step]
    if not data or data[0] not in (Kind.ORDERED, Kind.GRID):
        return None
    head, table, packed_low, _, payload = _parse(data, dtype)
    if table:
        head = _with_table(head, table, shape[0] * shape[1] * shape[2])
    _check_ranks(head, dtype)
    low_bits = _unpack_low(packed_low, head.low, shape)[::step, ::step, ::step] if head.low else None
    integers = interpolation.decode(payload, shape, head.high, head.bound, head.taper, check, level)
    return _to_values(integers, low_bits, head, dtype)


def _unmasked(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], check: Check) -> NDArray[Any]:
    end = MASK.size + (MASK.unpack_from(data)[1] if len(data) >= MASK.size else 0)
    if len(data) <= end or data[end] > Kind.GRID:
        raise ValueError(f"masked residual is {len(data)} bytes, expected {end} and a residual of kind 0 to 2")
    mask = labels.decode(data[MASK.size : end], shape, f"<u{dtype.itemsize}", check)
    return np.where(mask == 0, decode(data[end:], shape, dtype, check), mask.view(dtype))


def _compress(data: bytes, check: Check) -> bytes:
    compressor = lzma.LZMACompressor(preset=4)
    parts = []
    for first in range(0, len(data), LZMA_PIECE):
        check()
        parts.append(compressor.compress(data[first : first + LZMA_PIECE]))
    return b"".join([*parts, compressor.flush()])


def _decompress(data: bytes, size: int) -> bytes:
    """Exactly so many bytes of an .xz stream."""
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=LZMA_MEMORY)
    try:
        out = decompressor.decompress(data, size + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise ValueError(f"residual is no .xz stream: {error}") from error
    if len(out) != size or not decompressor.eof or decompressor.unused_data:
        raise ValueError(f".xz stream of the residual holds {len(out)} bytes, expected exactly {size}")
    return out


def _checked(shape: tuple[int, ...], dtype: Any) -> np.dtype[Any]:
    dtype = np.dtype(dtype).newbyteorder("<")
    if f"{dtype.kind}{dtype.itemsize}" not in DTYPES:
        raise ValueError(f"dtype is {dtype}, expected one of {', '.join(DTYPES)}")
    interpolation.check_shape(shape)
    return dtype


def _parse(data: bytes, dtype: np.dtype[Any]) -> tuple[Head, bytes, bytes, bytes, bytes]:
    """Header and the four parts behind it."""
    if len(data) < HEAD.size:
        raise ValueError(f"residual is {len(data)} bytes, expected {HEAD.size} or more")
    code, taper, shift, low, lowest, high, bound, step, n_table, n_low, n_wrong = HEAD.unpack_from(data)
    if code not in (Kind.ORDERED, Kind.GRID) or (code == Kind.GRID and dtype.kind != "f"):
        raise ValueError(f"kind of residual is {code}, expected {Kind.ORDERED:d}, or {Kind.GRID:d} for floats")
    start = struct.unpack("<d" if code == Kind.GRID else "<q", lowest)[0]
    if not (0 < high < interpolation.MAX_HIGH and bound <= high and taper <= MAX_TAPER):
        raise ValueError(f"range, bound and taper are {high}, {bound}, {taper}, expected a bound within a range")
    if not (np.isfinite(step) and np.isfinite(start) and (step > 0 if code == Kind.GRID else step == 0)):
        raise ValueError(f"grid is {start}, {step}, expected finite numbers, and steps above 0 of a grid only")
    if not (shift < (8 * dtype.itemsize if dtype.kind == "f" else 1) and low <= max(0, 8 * dtype.itemsize - 36)):
        raise ValueError(f"bits shifted out and low bits are {shift}, {low}, expected those of {dtype}")
    if code == Kind.GRID and (shift or low):
        raise ValueError(f"bits shifted out and low bits are {shift}, {low}, expected none of a grid")
    ends = np.cumsum([HEAD.size, n_table, n_low, n_wrong * (4 + dtype.itemsize)], dtype=np.int64).tolist()
    if ends[-1] > len(data) or (n_low and not low):
        raise ValueError(f"parts of the residual end at byte {ends[-1]}, expected at most {len(data)}")
    head = Head(Kind(code), taper, shift, low, start, high, bound, step)
    parts = [data[a:b] for a, b in zip(ends, [*ends[1:], len(data)], strict=True)]
    return head, parts[0], parts[1], parts[2], parts[3]


def _grid(
    original: NDArray[Any], bound: float, taper: int
) -> tuple[Head, NDArray[np.int64], NDArray[np.int64] | None] | None:
    """Floats as steps of a little less than the bound; None where that cannot be done, or bits are the better way."""
    finite = np.isfinite(original)
    if original.dtype.kind != "f" or not bound or finite.mean() < 0.9:
        return None
    values = np.where(finite, original, original[finite][0]).astype(np.float64)
    lowest, highest = float(values.min()), float(values.max())
    largest = max(abs(lowest), abs(highest))
    fineness = FINENESS
    with np.errstate(all="ignore"):
        room = bound - 1.5 * float(np.spacing(np.array(largest, original.dtype)))  # what rounding to the dtype leaves
        extent = np.float64(highest) - lowest
        while fineness and not extent / (room / (fineness + 0.5)) < FINE_RANGE:
            fineness //= 4
        step = room / (fineness + 0.5)
        if not (room > bound / 2 and extent / step < interpolation.MAX_HIGH / 2 and step > 1e-300):
            return None
    integers = np.rint((values - lowest) / step).astype(np.int64)
    high = max(1, int(integers.max()))
    return Head(Kind.GRID, taper, 0, 0, lowest, high, min(fineness, high), step), integers, None


def _ordered(
    original: NDArray[Any], bound: float, taper: int
) -> tuple[Head, NDArray[np.int64], NDArray[np.int64] | None]:
    """Ranks: integers themselves, and the bits of floats, which have the same order."""
    shift, ulp = 0, 1.0
    if original.dtype.kind == "f":
        magnitudes = _magnitudes(original)
        union = int(np.bitwise_or.reduce(magnitudes, axis=None))
        with np.errstate(all="ignore"):
            ulp = float(np.spacing(np.abs(original).max()).astype(np.float64))
        shift = 0 if bound >= ulp else (union & -union).bit_length() - 1 if union else 0
    ranks = _ranks(original, shift)
    lowest, highest = int(ranks.min()), int(ranks.max())
    low = max(0, (highest - lowest).bit_length() - (interpolation.MAX_HIGH - 1).bit_length())
    offsets = ranks.view(np.uint64) - np.uint64(lowest & (2**64 - 1))
    low_bits = (offsets & np.uint64(2**low - 1)).astype(np.int64) if low else None
    integers = (offsets >> np.uint64(low)).astype(np.int64)
    high = (highest - lowest) >> low
    steps = 0 if low or not np.isfinite(ulp) else min(high, int(bound / ulp)) if bound < high * ulp else high
    head = Head(Kind.ORDERED, taper, shift, low, lowest, high, steps, 0.0)
    if low:
        return head, integers, low_bits
    table, indices = np.unique(integers, return_inverse=True)
    if len(table) > 1 and _table_pays(table, integers.size, steps):
        return (
            Head(Kind.ORDERED, taper, shift, 0, lowest, len(table) - 1, 0, 0.0, table),
            indices.reshape(original.shape).astype(np.int64),
            None,
        )
    return head, integers, None


def _table_pays(table: NDArray[np.int64], n_voxels: int, bound: int) -> bool:
    """Whether few of the integers occur, so that counting only those saves more than the list of them costs."""
    gaps = np.diff(table)
    saved = n_voxels * np.log2(np.median(gaps) / (2 * bound + 1))
    return bool(len(table) <= n_voxels // 8 and saved > 2 * (np.log2(gaps) + 2).sum())


def _magnitudes(values: NDArray[Any]) -> NDArray[np.int64]:
    """Bits of floats without the sign."""
    signed = values.view(f"i{values.dtype.itemsize}").astype(np.int64)
    return signed & (2 ** (8 * values.dtype.itemsize - 1) - 1)


def _ranks(values: NDArray[Any], shift: int) -> NDArray[np.int64]:
    """Integers in the order of the values; -0 is just below 0. Whole ranks of floats, but for the bits shifted out."""
    if values.dtype.kind != "f":
        return values.astype(np.int64)
    magnitudes = _magnitudes(values) >> shift
    return np.where(values.view(f"i{values.dtype.itemsize}") < 0, -1 - magnitudes, magnitudes)


def _from_ranks(ranks: NDArray[np.int64], shift: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind != "f":
        return ranks.astype(dtype)
    sign = np.int64(-(2 ** (8 * dtype.itemsize - 1)))
    bits = np.where(ranks < 0, ((-1 - ranks) << shift) | sign, ranks << shift)
    return bits.astype(f"<i{dtype.itemsize}").view(dtype)


def _to_values(
    integers: NDArray[Any], low_bits: NDArray[np.int64] | None, head: Head, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Operations that round the same everywhere."""
    with np.errstate(all="ignore"):
        if head.kind is Kind.GRID:
            largest = float(np.finfo(dtype).max)
            values = np.clip(integers * np.float64(head.step) + np.float64(head.lowest), -largest, largest)
            return values.astype(dtype)
        offsets = integers.astype(np.int64) if head.table is None else head.table[integers]
        if low_bits is not None:
            offsets = (offsets << head.low) | low_bits
        return _from_ranks(offsets + np.int64(head.lowest), head.shift, dtype)


def _check_ranks(head: Head, dtype: np.dtype[Any]) -> None:
    """Raises ValueError where ranks lie beyond those of the dtype."""
    if head.kind is Kind.GRID:
        return
    highest = int(head.lowest) + ((head.high << head.low) if head.table is None else int(head.table[-1]))
    limits = np.iinfo(dtype if dtype.kind != "f" else f"i{dtype.itemsize}")
    if not (limits.min >> head.shift <= head.lowest and highest <= limits.max >> head.shift):
        raise ValueError(f"ranks are {head.lowest} to {highest}, expected those of {dtype}")


def _check_low_bits(head: Head, of_highest: NDArray[np.int64], dtype: np.dtype[Any]) -> None:
    """Raises ValueError where low bits take the largest integer beyond the ranks of the dtype."""
    room = (int(np.iinfo(f"i{dtype.itemsize}").max) >> head.shift) - (int(head.lowest) + (head.high << head.low))
    if of_highest.max(initial=0) > room:
        raise ValueError(f"low bits of the highest rank are {of_highest.max()}, expected at most {room} of {dtype}")


def _pack_table(table: NDArray[np.int64]) -> bytes:
    """Differences of an ascending table that begins with 0."""
    tokens, n_bits, rest = tokens_of(np.diff(table))
    writer = Writer()
    tables = Tables.of(np.zeros(len(tokens), np.int64), tokens)
    tables.put(writer)
    writer.put(tokens, tables.models()[0])
    writer.rest(n_bits, rest)
    return writer.to_bytes()


def _with_table(head: Head, data: bytes, n_voxels: int) -> Head:
    """Raises ValueError where the bytes are not such a table of ``high + 1`` integers."""
    if head.high >= n_voxels or head.kind is Kind.GRID or head.low or head.bound:
        raise ValueError(f"table of {head.high + 1} integers for {n_voxels} voxels, expected fewer, and ranks only")
    reader = Reader(data)
    models = Tables.get(reader).models()
    if len(models) != 1 or models[0] is None:
        raise ValueError(f"table of integers has {len(models)} distributions, expected 1")
    gaps = reader.integers(models[0], head.high)
    reader.end()
    if gaps.min() < 1 or gaps.astype(np.float64).sum() >= interpolation.MAX_HIGH:
        raise ValueError("table of integers does not ascend within the range")
    return replace(head, table=np.concatenate([[0], np.cumsum(gaps)]))


def _pack_low(low_bits: NDArray[np.int64], n: int) -> bytes:
    writer = Writer()
    writer.bits(low_bits.ravel(), n)
    return writer.to_bytes()


def _unpack_low(data: bytes, n: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    reader = Reader(data)
    bits = reader.bits(n, shape[0] * shape[1] * shape[2])
    reader.end()
    return bits.reshape(shape)
