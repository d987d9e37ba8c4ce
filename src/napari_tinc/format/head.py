"""What every ``.tinc`` file begins with: prefix, facts, table of chunks; and their checks.

A file holds either one tree of networks (networks_file.py) or blocks that are such files (blocks_file.py). NumPy and
the standard library only; docs/format.md is the authority. All is little-endian; ``uv`` is a minimal LEB128 number of
at most 7 bytes; bits are packed least significant first, padding bits are 0::

    PREFIX  16 B  magic 89 54 4E 43 | u8 major<<4 + minor | u8 required features | u32 head length
                  | u16 CRC-16/CCITT of the ten bytes so far | u32 CRC-32 of HEAD
    HEAD          facts, description of the content, table of chunks
    BODY          the chunks back to back

Offsets follow from the lengths, so that overlaps, holes and trailing bytes cannot be said. Any head has exactly one
encoding.
"""

from __future__ import annotations

import binascii
import math
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from functools import lru_cache, wraps
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..octree import MAX_NODES, Octree

MAGIC, MAJOR, MINOR = b"\x89TNC", 1, 0
PREFIX = struct.Struct("<4sBBIHI")
DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")  # a header stores the index

MIN_FILE, MAX_FILE = 16, 2**31  # bytes
MAX_HEAD = 2**20  # bytes
MAX_AXIS, MAX_VOXELS = 2**24, 2**40
MIN_SPACING, MAX_SPACING = 1e-12, 1e12
MAX_UNIT = 32  # bytes
MAX_CHUNKS = 2**16
MAX_CHUNK_NODES = 2**20  # that an ancillary chunk may say; they mean nothing
MAX_META = 2**16  # bytes
SMALL_TREE = 1000  # nodes
MAX_FLOAT = sys.float_info.max
_SPACING, _ORIGIN, _ERROR_BOUND, _AFFINE = 1, 2, 4, 8  # flags


class Feature(IntFlag):
    """What a reader has to know to decode a file."""

    RESIDUAL, INTEGER_DECODE, LEADING_AXES, MASK, BLOCKS = (1 << bit for bit in range(5))


READABLE = (Feature.RESIDUAL, Feature.LEADING_AXES, Feature.BLOCKS)
FEATURE_NAMES = ("residual", "integer decode", "channel or time axes", "special-value mask", "blocks")


class TincError(Exception):
    """A file that is not a good ``.tinc`` file of a version we read. Names what was stored and what was expected."""


class Kind(IntEnum):
    """Chunks a reader must understand. Numbers overlap with :class:`Ancillary`: compare roles with ``is``."""

    MODEL, WEIGHTS, RESIDUAL, VERIFY, BLOCK, OVERVIEW = range(6)


class Ancillary(IntEnum):
    """Chunks a reader may skip, and keeps when it writes the file again."""

    META, THUMB, PROVENANCE, QUALITY = range(4)


_ROLES: dict[tuple[bool, int], Kind | Ancillary] = {
    (roles is Ancillary, int(role)): role for roles in (Kind, Ancillary) for role in roles
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk. ``payload`` is as it was found: take it with :meth:`checked` before decoding.

    ``kind`` may be unknown when ``ancillary``; ``n_nodes`` counts the nodes of a WEIGHTS chunk; ``crc`` is stored.
    """

    kind: int
    ancillary: bool
    level: int
    n_nodes: int
    payload: bytes = field(repr=False)
    crc: int

    @classmethod
    def of(cls, role: Kind | Ancillary, payload: bytes, level: int = 0, n_nodes: int = 0) -> Chunk:
        """A new chunk with the CRC of its payload."""
        return cls(int(role), isinstance(role, Ancillary), level, n_nodes, payload, zlib.crc32(payload))

    @property
    def length(self) -> int:
        """Bytes of the payload."""
        return len(self.payload)

    @property
    def role(self) -> Kind | Ancillary | None:
        """What the chunk is, None where this version does not know it."""
        return _ROLES.get((self.ancillary, self.kind))

    def checked(self) -> bytes:
        """The payload, after its CRC-32 was compared; :class:`TincError` where it differs."""
        computed = zlib.crc32(self.payload)
        if computed != self.crc:
            name = self.role.name if self.role is not None else f"unknown ({self.kind})"
            raise TincError(f"{name} chunk of level {self.level}: CRC-32 is {computed:08x}, expected {self.crc:08x}")
        return self.payload


def verify(chunks: Iterable[Chunk]) -> None:
    """Compare the CRC-32 of every chunk; :class:`TincError` names the first that differs."""
    for chunk in chunks:
        chunk.checked()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Facts:
    """What a file says about its volume.

    Attributes
    ----------
    tree : an octree over its voxels z, y, x: of networks, or of blocks.
    dtype : of the volume, one of :data:`DTYPES`.
    value_range : smallest and largest value of the volume, exact in ``dtype``.
    spacing, origin : of the voxels along z, y, x, in ``unit``, which is stored only with a spacing.
    error_bound : largest absolute error the writer promised.
    affine : 12 numbers kept as float32, a 3 x 4 matrix row by row.
    """

    tree: Octree
    dtype: np.dtype[Any]
    value_range: tuple[float, float]
    spacing: tuple[float, ...] | None = None
    unit: str = ""
    origin: tuple[float, ...] | None = None
    error_bound: float | None = None
    affine: tuple[float, ...] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        return self.tree.shape


def within(what: str, value: float, low: float, high: float) -> None:
    """Refuse a number out of range; NaN is out of any."""
    if not low <= value <= high:
        raise TincError(f"{what} is {value}, expected {low if low == high else f'{low} to {high}'}")


def check_size(size: int) -> None:
    """Refuse the size of a file that cannot be a ``.tinc`` file."""
    why = "" if size >= MIN_FILE else "not a .tinc file: " if size else "is empty: "
    if not MIN_FILE <= size <= MAX_FILE:
        raise TincError(f"{why}file size is {size}, expected {MIN_FILE} to {MAX_FILE}")


def read_head(read: Callable[[int, int], bytes], size: int) -> tuple[Feature, bytes]:
    """Checks 1 and 2: the prefix, and HEAD's length and CRC. ``read`` gives the bytes from a place to another."""
    check_size(size)
    prefix = read(0, PREFIX.size)
    magic, version, features, length, crc16, crc32 = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise TincError(f"not a .tinc file: magic is {magic.hex(' ')}, expected {MAGIC.hex(' ')}")
    computed = binascii.crc_hqx(prefix[:10], 0xFFFF)
    if computed != crc16:
        raise TincError(f"prefix: CRC-16 is {computed:04x}, expected {crc16:04x}")
    if version >> 4 != MAJOR:
        raise TincError(f"needs a reader of format {version >> 4}; this version of napari-tinc reads format {MAJOR}")
    needed = [name for bit, name in enumerate((*FEATURE_NAMES, *"567")) if features & ~sum(READABLE) & 1 << bit]
    if needed:
        raise TincError(f"needs the feature {', '.join(map(repr, needed))}; this version of napari-tinc cannot read it")
    within("head length", length, 1, min(MAX_HEAD, size - PREFIX.size))
    head = read(PREFIX.size, PREFIX.size + length)
    if zlib.crc32(head) != crc32:
        raise TincError(f"head: CRC-32 is {zlib.crc32(head):08x}, expected {crc32:08x}")
    return Feature(features), head


def seal(features: Feature, head: bytes, payloads: Iterable[bytes]) -> bytes:
    """The bytes of a file: prefix, HEAD and BODY."""
    start = struct.pack("<4sBBI", MAGIC, MAJOR << 4 | MINOR, features, len(head))
    prefix = start + struct.pack("<HI", binascii.crc_hqx(start, 0xFFFF), zlib.crc32(head))
    return b"".join([prefix, head, *payloads])


class Cursor:
    """A cursor over HEAD. Every read is checked; ``what`` names the field in errors."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.at = 0

    def take(self, what: str, n_bytes: int) -> bytes:
        if self.at + n_bytes > len(self.head):
            raise TincError(f"{what}: head is {len(self.head)} bytes, expected at least {self.at + n_bytes}")
        self.at += n_bytes
        return self.head[self.at - n_bytes : self.at]

    def unsigned(self, what: str, n_bytes: int, high: int, low: int = 0) -> int:
        value = int.from_bytes(self.take(what, n_bytes), "little")
        within(what, value, low, high)
        return value

    def uv(self, what: str, low: int, high: int) -> int:
        value = 0
        for shift in range(0, 49, 7):
            byte = self.take(what, 1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                if byte == 0 and shift:
                    raise TincError(f"{what}: {value} is stored in {shift // 7 + 1} bytes, expected the fewest")
                within(what, value, low, high)
                return value
        raise TincError(f"{what}: number is longer than 7 bytes")

    def floats(self, what: str, code: str, low: float = -MAX_FLOAT, high: float = MAX_FLOAT) -> tuple[float, ...]:
        values = struct.unpack("<" + code, self.take(what, struct.calcsize("<" + code)))
        for value in values:
            within(what, value, low, high)
        return values

    def bits(self, what: str, n_bits: int) -> NDArray[np.uint8]:
        packed = np.frombuffer(self.take(what, (n_bits + 7) // 8), np.uint8)
        bits = np.unpackbits(packed, bitorder="little")
        if bits[n_bits:].any():
            raise TincError(f"{what}: padding bits are {bits[n_bits:].tolist()}, expected zeros")
        return bits[:n_bits]

    def end(self) -> None:
        """Refuse bytes that are left."""
        if self.at != len(self.head):
            raise TincError(f"head is {len(self.head)} bytes, expected {self.at}")


def uv(value: int) -> bytes:
    """A number as minimal LEB128."""
    within("number", value, 0, 2**49 - 1)
    groups = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([group | 128 for group in groups[:-1]] + groups[-1:])


def read_start(cursor: Cursor) -> tuple[int, np.dtype[Any], tuple[int, int, int], tuple[float, float]]:
    """Check 3 and the range of check 4: flags, dtype, shape and value range, with which every head begins."""
    flags = cursor.unsigned("flags", 1, _SPACING | _ORIGIN | _ERROR_BOUND | _AFFINE)
    dtype = np.dtype(DTYPES[cursor.unsigned("dtype", 1, len(DTYPES) - 1)])
    z, y, x = (cursor.uv("axis", 1, MAX_AXIS) for _ in range(3))
    within("number of voxels", z * y * x, 1, MAX_VOXELS)
    stored = cursor.take("value range", 2 * dtype.itemsize)
    lo, hi = np.frombuffer(stored, dtype.newbyteorder("<")).tolist()
    if not -math.inf < lo <= hi < math.inf:
        raise TincError(f"value range is {lo} to {hi}, expected it finite and ascending")
    return flags, dtype, (z, y, x), (lo, hi)


def span_of(value_range: tuple[Any, Any]) -> float:
    """What errors are shares of: hi - lo, or the largest number if that is beyond it."""
    return min(float(value_range[1]) - float(value_range[0]), MAX_FLOAT)


def read_optional(cursor: Cursor, flags: int) -> dict[str, Any]:
    """The rest of check 4: the facts that flags name, as arguments of :class:`Facts`."""
    found: dict[str, Any] = {}
    if flags & _SPACING:
        found["spacing"] = cursor.floats("spacing", "3d", MIN_SPACING, MAX_SPACING)
        unit_bytes = cursor.take("unit", cursor.uv("unit length", 0, MAX_UNIT))
        found["unit"] = unit = unit_bytes.decode(errors="replace")
        if unit.encode() != unit_bytes or not unit.isprintable():
            raise TincError(f"unit is {unit_bytes!r}, expected printable UTF-8")
    if flags & _ORIGIN:
        found["origin"] = cursor.floats("origin", "3d")
    if flags & _ERROR_BOUND:
        found["error_bound"] = cursor.floats("error bound", "d", 0)[0]
    if flags & _AFFINE:
        found["affine"] = cursor.floats("affine", "12f")
    return found


def pack_start(facts: Facts) -> bytes:
    """What :func:`read_start` reads."""
    code = f"{facts.dtype.kind}{facts.dtype.itemsize}"
    if code not in DTYPES:
        raise TincError(f"dtype is {facts.dtype}, expected one of {', '.join(DTYPES)}")
    with np.errstate(all="ignore"):
        value_range = np.array(facts.value_range).astype("<" + code)
    if value_range.tolist() != list(facts.value_range):
        raise TincError(f"value range is {facts.value_range}, expected numbers exact in {facts.dtype}")
    flags = sum(1 << bit for bit, part in enumerate(_optional(facts)) if part)
    return bytes([flags, DTYPES.index(code)]) + b"".join(map(uv, facts.shape)) + value_range.tobytes()


def pack_optional(facts: Facts) -> bytes:
    """What :func:`read_optional` reads."""
    return b"".join(_optional(facts))


def _optional(facts: Facts) -> list[bytes]:
    unit = facts.unit.encode()
    return [
        b"" if facts.spacing is None else struct.pack("<3d", *facts.spacing) + uv(len(unit)) + unit,
        b"" if facts.origin is None else struct.pack("<3d", *facts.origin),
        b"" if facts.error_bound is None else struct.pack("<d", facts.error_bound),
        b"" if facts.affine is None else struct.pack("<12f", *facts.affine),
    ]


def read_tree(cursor: Cursor, shape: tuple[int, int, int], most: int = MAX_NODES) -> Octree:
    """Check 6."""
    split = cursor.bits("split flags", cursor.uv("number of nodes", 1, most))
    try:
        small = len(split) <= SMALL_TREE
        return _tree_of(shape, split.tobytes()) if small else Octree.from_splits(shape, split.view(bool))
    except ValueError as error:
        raise TincError(str(error)) from error


@lru_cache(maxsize=64)
def _tree_of(shape: tuple[int, int, int], split: bytes) -> Octree:
    """Blocks of a file mostly have the same few trees, which cannot change."""
    return Octree.from_splits(shape, np.frombuffer(split, np.uint8) > 0)


def of_small_trees(function: Callable[..., Any]) -> Callable[..., Any]:
    """Remember what a function of a tree, or of what has an ``octree``, gave last, where that is small.

    Blocks of a file mostly have the same few, which cannot change. Large ones would fill the memory.
    """
    remembered = lru_cache(maxsize=256)(function)

    @wraps(function)
    def chosen(first: Any, *rest: Any) -> Any:
        small = len(getattr(first, "octree", first).split) <= SMALL_TREE
        return (remembered if small else function)(first, *rest)

    return chosen


def pack_tree(tree: Octree) -> bytes:
    return uv(len(tree.split)) + np.packbits(tree.split, bitorder="little").tobytes()


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table of chunks. ``start`` is the place of its payload in the file."""

    code: int
    n_nodes: int
    start: int
    length: int
    crc: int

    @property
    def kind(self) -> int:
        return self.code >> 4 & 7

    @property
    def level(self) -> int:
        return self.code & 15

    @property
    def role(self) -> Kind | Ancillary | None:
        return _ROLES.get((self.code >= 128, self.kind))

    def chunk(self, payload: bytes) -> Chunk:
        return Chunk(self.kind, self.code >= 128, self.level, self.n_nodes, payload, self.crc)


class Entries(Sequence[Entry]):
    """Rows of a table, made when they are asked for: the head of a file of 458 kB has 65536.

    Attributes
    ----------
    code, n_nodes, length, crc : uint8 and uint32 (n,).
    start, stop : uint32 (n,), where payloads begin and end.
    """

    def __init__(self, code: NDArray[np.uint8], n_nodes: NDArray[np.uint32], start: NDArray[np.uint32],
                 length: NDArray[np.uint32], crc: NDArray[np.uint32]) -> None:  # fmt: skip
        self.code, self.n_nodes, self.start, self.length, self.crc = code, n_nodes, start, length, crc

    def __len__(self) -> int:
        return len(self.code)

    def __iter__(self) -> Iterator[Entry]:
        columns = (self.code, self.n_nodes, self.start, self.length, self.crc)
        return map(Entry, *(column.tolist() for column in columns))

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice | NDArray[Any]) -> Entries: ...
    def __getitem__(self, index: int | slice | NDArray[Any]) -> Entry | Entries:
        columns: tuple[NDArray[Any], ...] = (self.code, self.n_nodes, self.start, self.length, self.crc)
        if isinstance(index, int | np.integer):
            return Entry(*(int(column[index]) for column in columns))
        return Entries(*(column[index] for column in columns))

    @property
    def stop(self) -> NDArray[np.uint32]:
        return self.start + self.length

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Drop the others; column by column, as a table may be nearly all that a file is."""
        for name in ("code", "n_nodes", "start", "length", "crc"):
            setattr(self, name, getattr(self, name)[rows])


def read_table(cursor: Cursor, known: Iterable[Kind]) -> Entries:
    """The rows of the table, up to the end of the head; critical chunks only of kinds that are ``known``."""
    known = list(known)
    codes, n_nodes, lengths, crcs = bytearray(), array("I"), array("I"), array("I")
    for _ in range(cursor.uv("number of chunks", 1, MAX_CHUNKS)):
        code = cursor.unsigned("chunk type", 1, 255)
        codes.append(code)
        n_nodes.append(cursor.uv("nodes of a chunk", 0, MAX_CHUNK_NODES))
        lengths.append(cursor.uv("length of a chunk", 0, MAX_FILE))
        crcs.append(cursor.unsigned("CRC-32 of a chunk", 4, 2**32 - 1))
        kind = code >> 4 & 7
        if code < 128 and kind not in known:
            name = Kind(kind).name if kind in list(Kind) else f"number {kind}"
            raise TincError(f"needs the chunk kind {name}; this version of napari-tinc cannot read it")
        if code >> 4 == 8 | Ancillary.META:
            within("length of META", lengths[-1], 0, MAX_META)
    cursor.end()
    length = np.frombuffer(lengths, np.uint32)
    first = PREFIX.size + len(cursor.head)
    within("file size by the lengths of chunks", first + int(length.sum(dtype=np.int64)), first, MAX_FILE)
    start = np.empty(len(length), np.uint32)
    start[0] = first
    np.cumsum(length[:-1], out=start[1:])
    start[1:] += start[0]
    return Entries(
        np.frombuffer(codes, np.uint8), np.frombuffer(n_nodes, np.uint32), start, length,
        np.frombuffer(crcs, np.uint32),
    )  # fmt: skip


def pack_entry(chunk: Chunk) -> bytes:
    """A chunk's row of the table."""
    code = chunk.ancillary << 7 | chunk.kind << 4 | chunk.level
    return struct.pack("<B", code) + uv(chunk.n_nodes) + uv(len(chunk.payload)) + struct.pack("<I", chunk.crc)
