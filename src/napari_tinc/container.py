"""The bytes of a ``.tinc`` file, version 1: header, tree, chunks, every check a reader makes, and the safe write.

What a payload means belongs elsewhere: entropy coding, networks and calibration see a chunk's bytes only after
:meth:`Chunk.checked`. NumPy and the standard library only; docs/format.md is the authority. All is little-endian;
``uv`` is a minimal LEB128 number of at most 7 bytes; bits are packed least significant first, padding bits are 0::

    PREFIX  16 B  magic 89 54 4E 43 | u8 major<<4 + minor | u8 required features | u32 head length
                  | u16 CRC-16/CCITT of the ten bytes so far | u32 CRC-32 of HEAD
    HEAD          u8 flags | u8 dtype | 3 uv shape (z, y, x) | 2 items value range | u16 mean | u16 std
                  | [3 f64 spacing, uv + UTF-8 unit] [3 f64 origin] [f64 error bound] [12 f32 affine]
                  | u8 layers | f32 omega0 | u8 weights format | u8 calibration
                  | uv nodes, a split bit a node | u8 width form, widths | a scalar bit a leaf without network
                  | uv chunks x {u8 type, uv nodes, uv length, u32 CRC-32}
    BODY          the chunks back to back: MODEL, then WEIGHTS coarse level first; ancillary ones anywhere between

A chunk's type is b7 ancillary, b6-4 kind, b3-0 level. Offsets follow from the lengths, so that overlaps, holes and
trailing bytes cannot be said. Any header has exactly one encoding: what :func:`parse` accepts, :func:`pack`
writes again byte for byte (with its own minor version).
"""

from __future__ import annotations

import binascii
import math
import struct
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_tinc.octree import MAX_NODES, Octree

MAGIC, MAJOR, MINOR = b"\x89TNC", 1, 0
FEATURES = ("residual", "integer decode", "channel or time axes", "special-value mask")  # bits 0-3; none readable yet
DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")  # a header stores the index

MIN_FILE, MAX_FILE = 16, 2**31  # bytes
MAX_HEAD = 2**20  # bytes
MAX_AXIS, MAX_VOXELS = 2**24, 2**40
MIN_SPACING, MAX_SPACING = 1e-12, 1e12
MAX_UNIT = 32  # bytes
MAX_LAYERS, MAX_WIDTH = 8, 256
SCALAR, INHERITS = 0, -1  # in place of a width: a leaf that is one value, a node that uses its parent's network
MAX_WEIGHTS, MAX_WEIGHTS_PER_BYTE, SPARE_WEIGHTS = 2**26, 64, 4096  # no small file may declare a huge network
MAX_CHUNKS = 2**16
MAX_META = 2**16  # bytes
MAX_FLOAT = sys.float_info.max

_PREFIX = struct.Struct("<4sBBIHI")
_SPACING, _ORIGIN, _ERROR_BOUND, _AFFINE = 1, 2, 4, 8  # header flags


class TincError(Exception):
    """A file that is not a good ``.tinc`` file of a version we read. Names what was stored and what was expected."""


class Kind(IntEnum):
    """Chunks a reader must understand. Numbers overlap with :class:`Ancillary`: compare roles with ``is``."""

    MODEL, WEIGHTS, RESIDUAL, VERIFY = range(4)


class Ancillary(IntEnum):
    """Chunks a reader may skip, and keeps when it writes the file again."""

    META, THUMB, PROVENANCE, QUALITY = range(4)


class WeightsFormat(IntEnum):
    """How WEIGHTS payloads hold their numbers."""

    FLOAT16, INT8, ENTROPY = range(3)


class Calibration(IntEnum):
    """Which gains and offsets correct the network's output."""

    NONE, GLOBAL, PER_LEAF = range(3)


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
    def role(self) -> Kind | Ancillary | None:
        """What the chunk is, None where this version does not know it."""
        roles = Ancillary if self.ancillary else Kind
        return roles(self.kind) if self.kind in list(roles) else None

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


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What a file says before its chunks.

    Attributes
    ----------
    tree : the octree, with the volume's shape (z, y, x).
    dtype : of the volume, one of :data:`DTYPES`.
    value_range : smallest and largest value of the volume, exact in ``dtype``.
    mean_q, std_q : 0..65535, see :attr:`mean` and :attr:`std`.
    widths : int16 (n_nodes,), neurons of a node's layers, 1..256; or :data:`SCALAR` or :data:`INHERITS`.
    layers : sine layers of a node's MLP, 1..8.
    omega0 : frequency of the sines, kept as float32.
    spacing, origin : of the voxels along z, y, x, in ``unit``, which is stored only with a spacing.
    error_bound : largest absolute error the writer promised.
    affine : 12 numbers kept as float32, a 3 x 4 matrix row by row.
    """

    tree: Octree
    dtype: np.dtype[Any]
    value_range: tuple[float, float]
    mean_q: int
    std_q: int
    widths: NDArray[np.int16]
    layers: int
    omega0: float
    weights_format: WeightsFormat = WeightsFormat.ENTROPY
    calibration: Calibration = Calibration.NONE
    spacing: tuple[float, ...] | None = None
    unit: str = ""
    origin: tuple[float, ...] | None = None
    error_bound: float | None = None
    affine: tuple[float, ...] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        return self.tree.shape

    @property
    def mean(self) -> float:
        """The value that a network output of 0 stands for."""
        lo, hi = self.value_range
        return float(lo) + float(hi - lo) * (self.mean_q / 65535)

    @property
    def std(self) -> float:
        """How much the value grows when the network's output grows by 1."""
        lo, hi = self.value_range
        return float(hi - lo) * (self.std_q / 65535)


def serving(tree: Octree, widths: NDArray[Any]) -> NDArray[np.int64]:
    """The node whose network a node uses, its own or the nearest above; -1 for a scalar. int64 (n_nodes,)."""
    node = np.where(widths == SCALAR, -1, np.arange(len(widths)))
    for level in range(1, tree.depth + 1):
        inherits = np.flatnonzero((tree.level == level) & (widths == INHERITS))
        node[inherits] = node[tree.parent[inherits]]
    return node


def find_heads(tree: Octree, widths: NDArray[Any]) -> NDArray[np.int64]:
    """The nodes that a leaf's values come from, ascending: each has a linear head."""
    used = np.unique(serving(tree, widths)[tree.leaves])
    return used[used >= 0]


def heads_of_leaves(tree: Octree, widths: NDArray[Any]) -> NDArray[np.int64]:
    """Which of :func:`find_heads` each leaf's values come from, -1 for a scalar. int64 (n_leaves,)."""
    served = serving(tree, widths)[tree.leaves]
    return np.where(served < 0, -1, np.searchsorted(find_heads(tree, widths), served))


def parts_of_leaves(header: Header) -> NDArray[np.int64]:
    """The part that QUALITY counts each leaf to: one a head, ascending, then one for all scalars. (n_leaves,)."""
    head = heads_of_leaves(header.tree, header.widths)
    return np.where(head < 0, head.max() + 1, head)


def count_parameters(tree: Octree, widths: NDArray[Any], layers: int) -> NDArray[np.int64]:
    """Weights and biases of every node, int64 (n_nodes,).

    A node of width w sees 3 coordinates and the v outputs of its parent: 4w + vw in its first layer, w^2 + w in
    each further one, and w + 1 in the head if it has one. A node without network has none.
    """
    own = np.maximum(widths, 0).astype(np.int64)
    above = np.where(tree.parent < 0, 0, own[tree.parent])
    counts = (4 + above) * own + (layers - 1) * (own * own + own)
    heads = find_heads(tree, widths)
    counts[heads] += own[heads] + 1
    return counts


def parameter_counts(header: Header) -> NDArray[np.int64]:
    """Weights and biases of every node, int64 (n_nodes,)."""
    return count_parameters(header.tree, header.widths, header.layers)


def pack(header: Header, chunks: Sequence[Chunk]) -> bytes:
    """The bytes of a file. CRCs are written as the chunks carry them, so that damage stays visible.

    Raises
    ------
    TincError
        If the file could not be read back as it was given.
    """
    try:
        head = _pack_header(header) + _uv(len(chunks)) + b"".join(map(_pack_entry, chunks))
        start = struct.pack("<4sBBI", MAGIC, MAJOR << 4 | MINOR, 0, len(head))
        prefix = start + struct.pack("<HI", binascii.crc_hqx(start, 0xFFFF), zlib.crc32(head))
    except (struct.error, ValueError, OverflowError) as error:
        raise TincError(f"header cannot be stored: {error}") from error
    data = b"".join([prefix, head, *(chunk.payload for chunk in chunks)])
    if parse(data)[1] != tuple(chunks):
        raise TincError("chunks cannot be stored: a kind is not within 0 to 7 or a level not within 0 to 15")
    return data


def parse(data: bytes, *, partial: bool = False) -> tuple[Header, tuple[Chunk, ...]]:
    """Read a file's header and cut out its chunks, whose CRCs are left to :meth:`Chunk.checked`.

    With ``partial`` the file may end anywhere after its first chunk; only the whole chunks are returned, which make
    a coarser level of detail.

    Raises
    ------
    TincError
        If anything is not as the format demands.
    """
    head = _checked_head(data)
    reader = _Reader(head)
    header = _read_header(reader)
    table = _read_table(reader, header)
    if reader.at != len(head):
        raise TincError(f"head is {len(head)} bytes, expected {reader.at}")
    at = _PREFIX.size + len(head)
    size = at + sum(length for _, _, length, _ in table)
    _within("file size", len(data), at + table[0][2] if partial else size, size)
    chunks = []
    for code, n_nodes, length, crc in table:
        if at + length > len(data):
            break
        chunks.append(Chunk(code >> 4 & 7, code >= 128, code & 15, n_nodes, data[at : at + length], crc))
        at += length
    present = sum(chunk.n_nodes for chunk in chunks if chunk.role is Kind.WEIGHTS)
    n_weights = int(parameter_counts(header)[header.widths > 0][:present].sum())
    _within("number of weights", n_weights, 0, MAX_WEIGHTS_PER_BYTE * len(data) + SPARE_WEIGHTS)
    return header, tuple(chunks)


def _within(what: str, value: float, low: float, high: float) -> None:
    """Refuse a number out of range; NaN is out of any."""
    if not low <= value <= high:
        raise TincError(f"{what} is {value}, expected {low if low == high else f'{low} to {high}'}")


def _checked_head(data: bytes) -> bytes:
    """Checks 1 and 2: the prefix, and HEAD's length and CRC."""
    _within("file size", len(data), MIN_FILE, MAX_FILE)
    magic, version, features, length, crc16, crc32 = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise TincError(f"not a .tinc file: magic is {magic.hex(' ')}, expected {MAGIC.hex(' ')}")
    computed = binascii.crc_hqx(data[:10], 0xFFFF)
    if computed != crc16:
        raise TincError(f"prefix: CRC-16 is {computed:04x}, expected {crc16:04x}")
    if version >> 4 != MAJOR:
        raise TincError(f"needs a reader of format {version >> 4}; this version of napari-tinc reads format {MAJOR}")
    needed = [name for bit, name in enumerate((*FEATURES, *"4567")) if features >> bit & 1]
    if needed:
        raise TincError(f"needs the feature {', '.join(map(repr, needed))}; this version of napari-tinc cannot read it")
    _within("head length", length, 1, min(MAX_HEAD, len(data) - _PREFIX.size))
    head = data[_PREFIX.size : _PREFIX.size + length]
    if zlib.crc32(head) != crc32:
        raise TincError(f"head: CRC-32 is {zlib.crc32(head):08x}, expected {crc32:08x}")
    return head


class _Reader:
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
        _within(what, value, low, high)
        return value

    def uv(self, what: str, low: int, high: int) -> int:
        value = 0
        for shift in range(0, 49, 7):
            byte = self.take(what, 1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                if byte == 0 and shift:
                    raise TincError(f"{what}: {value} is stored in {shift // 7 + 1} bytes, expected the fewest")
                _within(what, value, low, high)
                return value
        raise TincError(f"{what}: number is longer than 7 bytes")

    def floats(self, what: str, code: str, low: float = -MAX_FLOAT, high: float = MAX_FLOAT) -> tuple[float, ...]:
        values = struct.unpack("<" + code, self.take(what, struct.calcsize("<" + code)))
        for value in values:
            _within(what, value, low, high)
        return values

    def bits(self, what: str, n_bits: int) -> NDArray[np.uint8]:
        packed = np.frombuffer(self.take(what, (n_bits + 7) // 8), np.uint8)
        bits = np.unpackbits(packed, bitorder="little")
        if bits[n_bits:].any():
            raise TincError(f"{what}: padding bits are {bits[n_bits:].tolist()}, expected zeros")
        return bits[:n_bits]


def _read_header(reader: _Reader) -> Header:
    """Checks 3 to 6 and the first half of 7; the second needs the chunks."""
    flags = reader.unsigned("flags", 1, _SPACING | _ORIGIN | _ERROR_BOUND | _AFFINE)
    dtype = np.dtype(DTYPES[reader.unsigned("dtype", 1, len(DTYPES) - 1)])
    z, y, x = (reader.uv("axis", 1, MAX_AXIS) for _ in range(3))
    _within("number of voxels", z * y * x, 1, MAX_VOXELS)
    stored = reader.take("value range", 2 * dtype.itemsize)
    lo, hi = np.frombuffer(stored, dtype.newbyteorder("<")).tolist()
    if not (lo <= hi and math.isfinite(hi - lo)):
        raise TincError(f"value range is {lo} to {hi}, expected it finite and ascending")
    mean_q, std_q = reader.unsigned("mean", 2, 65535), reader.unsigned("std", 2, 65535)
    spacing, unit = None, ""
    if flags & _SPACING:
        spacing = reader.floats("spacing", "3d", MIN_SPACING, MAX_SPACING)
        unit_bytes = reader.take("unit", reader.uv("unit length", 0, MAX_UNIT))
        unit = unit_bytes.decode(errors="replace")
        if unit.encode() != unit_bytes or not unit.isprintable():
            raise TincError(f"unit is {unit_bytes!r}, expected printable UTF-8")
    origin = reader.floats("origin", "3d") if flags & _ORIGIN else None
    error_bound = reader.floats("error bound", "d", 0)[0] if flags & _ERROR_BOUND else None
    affine = reader.floats("affine", "12f") if flags & _AFFINE else None
    layers = reader.unsigned("layers", 1, MAX_LAYERS, low=1)
    omega0 = reader.floats("omega0", "f")[0]
    weights_format = WeightsFormat(reader.unsigned("weights format", 1, len(WeightsFormat) - 1))
    calibration = Calibration(reader.unsigned("calibration", 1, len(Calibration) - 1))
    split = reader.bits("split flags", reader.uv("number of nodes", 1, MAX_NODES)).astype(bool)
    try:
        tree = Octree.from_splits((z, y, x), split)
    except ValueError as error:
        raise TincError(str(error)) from error
    header = Header(
        tree, dtype, (lo, hi), mean_q, std_q, _read_widths(reader, tree), layers, omega0,
        weights_format, calibration, spacing, unit, origin, error_bound, affine,
    )  # fmt: skip
    _within("number of weights", int(parameter_counts(header).sum()), 1, MAX_WEIGHTS)
    return header


def _read_widths(reader: _Reader, tree: Octree) -> NDArray[np.int16]:
    """The width of every node, refused unless stored exactly as :func:`_pack_widths` does."""
    start = reader.at
    classes: list[int] = []
    if reader.unsigned("width form", 1, 1):
        classes = [reader.uv("width", 0, MAX_WIDTH) for _ in range(reader.uv("width classes", 2, MAX_WIDTH + 1))]
    n_bits = (len(classes) - 1).bit_length()
    widths = np.full(len(tree.split), INHERITS, np.int16)
    for level in range(tree.depth + 1):
        nodes = _below_networks(tree, widths, level)
        if not nodes.size:
            break
        if classes:
            bits = reader.bits("width indices", len(nodes) * n_bits).reshape(-1, n_bits)
            index = bits @ (1 << np.arange(n_bits, dtype=np.uint16))
            _within("width index", int(index.max()), 0, len(classes) - 1)
            stored = np.array(classes)[index]
        else:
            stored = np.array(reader.uv("width", 0, MAX_WIDTH))
        widths[nodes] = np.where(stored > 0, stored, INHERITS)
    plain = tree.leaves[widths[tree.leaves] == INHERITS]
    widths[plain[reader.bits("scalar flags", len(plain)) > 0]] = SCALAR
    _check_networks(tree, widths)
    if reader.head[start : reader.at] != _pack_widths(tree, widths):
        raise TincError("widths are stored out of order or at length, expected the one canonical form")
    return widths


def _below_networks(tree: Octree, widths: NDArray[np.int16], level: int) -> NDArray[np.int64]:
    """The nodes of a level whose width is stored: the root, and children of networks."""
    nodes = np.flatnonzero(tree.level == level)
    return nodes if level == 0 else nodes[widths[tree.parent[nodes]] > 0]


def _check_networks(tree: Octree, widths: NDArray[np.int16]) -> None:
    """Each network has children with networks, or else a head; and each above it is one too."""
    if widths[0] <= 0:
        raise TincError(f"width of the root is {max(0, widths[0])}, expected 1 to {MAX_WIDTH}")
    networks = widths > 0
    inner = np.zeros(len(widths), bool)
    inner[tree.parent[networks & (tree.parent >= 0)]] = True
    headed = np.zeros(len(widths), bool)
    headed[find_heads(tree, widths)] = True
    wrong = np.flatnonzero(networks & (inner == headed))
    if wrong.size:
        state = "both networks below it and leaves of its own" if inner[wrong[0]] else "no leaf"
        raise TincError(f"network of node {wrong[0]} has {state}, expected one of networks below and leaves")
    if (tree.split & (widths == SCALAR)).any() or not networks[tree.parent[networks][1:]].all():
        raise TincError("a scalar is split or a network is below a node without one, expected neither")


def _read_table(reader: _Reader, header: Header) -> list[tuple[int, int, int, int]]:
    """Check 8 but for the sum: (type, nodes, length, CRC-32) of each chunk, MODEL first, all networks in order."""
    table = []
    level_ends = np.cumsum(np.bincount(header.tree.level[header.widths > 0])).tolist()
    level, node = 0, 0  # the first node no chunk holds yet
    for i in range(reader.uv("number of chunks", 1, MAX_CHUNKS)):
        code = reader.unsigned("chunk type", 1, 255)
        n_nodes = reader.uv("nodes of a chunk", 0, MAX_NODES)
        length = reader.uv("length of a chunk", 0, MAX_FILE)
        table.append((code, n_nodes, length, reader.unsigned("CRC-32 of a chunk", 4, 2**32 - 1)))
        kind = code >> 4  # 8 and more: ancillary
        if Kind.WEIGHTS < kind < 8:
            name = Kind(kind).name if kind in list(Kind) else f"number {kind}"
            raise TincError(f"needs the chunk kind {name}; this version of napari-tinc cannot read it")
        if (i == 0) != (kind == Kind.MODEL):
            raise TincError(f"chunk {i} has type {code:#04x}, expected one MODEL chunk, the first")
        if kind == Kind.MODEL:
            _within("level of the MODEL chunk", code & 15, 0, 0)
            _within("nodes of the MODEL chunk", n_nodes, 0, 0)
        elif kind == Kind.WEIGHTS:
            if level == len(level_ends):
                raise TincError(f"WEIGHTS chunk {i} follows the last of {node} networks, expected none")
            _within(f"level of WEIGHTS chunk {i}", code & 15, level, level)
            _within(f"nodes of WEIGHTS chunk {i}", n_nodes, 1, level_ends[level] - node)
            node += n_nodes
            level += node == level_ends[level]
        elif kind - 8 == Ancillary.META:
            _within("length of META", length, 0, MAX_META)
    _within("nodes with weights", node, level_ends[-1], level_ends[-1])
    return table


def _uv(value: int) -> bytes:
    """A number as minimal LEB128."""
    _within("number", value, 0, 2**49 - 1)
    groups = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([group | 128 for group in groups[:-1]] + groups[-1:])


def _pack_entry(chunk: Chunk) -> bytes:
    """A chunk's row of the table."""
    code = chunk.ancillary << 7 | chunk.kind << 4 | chunk.level
    return struct.pack("<B", code) + _uv(chunk.n_nodes) + _uv(len(chunk.payload)) + struct.pack("<I", chunk.crc)


def _pack_header(header: Header) -> bytes:
    """HEAD up to the chunk table."""
    code = f"{header.dtype.kind}{header.dtype.itemsize}"
    if code not in DTYPES:
        raise TincError(f"dtype is {header.dtype}, expected one of {', '.join(DTYPES)}")
    _within("number of widths", header.widths.size, len(header.tree.split), len(header.tree.split))
    with np.errstate(all="ignore"):
        value_range = np.array(header.value_range).astype("<" + code)
    if value_range.tolist() != list(header.value_range):
        raise TincError(f"value range is {header.value_range}, expected numbers exact in {header.dtype}")
    unit = header.unit.encode()
    optional = [
        b"" if header.spacing is None else struct.pack("<3d", *header.spacing) + _uv(len(unit)) + unit,
        b"" if header.origin is None else struct.pack("<3d", *header.origin),
        b"" if header.error_bound is None else struct.pack("<d", header.error_bound),
        b"" if header.affine is None else struct.pack("<12f", *header.affine),
    ]
    flags = sum(1 << bit for bit, part in enumerate(optional) if part)
    return b"".join([
        bytes([flags, DTYPES.index(code)]), *map(_uv, header.shape), value_range.tobytes(),
        struct.pack("<HH", header.mean_q, header.std_q), *optional,
        struct.pack("<BfBB", header.layers, header.omega0, header.weights_format, header.calibration),
        _uv(len(header.tree.split)), np.packbits(header.tree.split, bitorder="little").tobytes(),
        _pack_widths(header.tree, header.widths),
    ])  # fmt: skip


def _pack_widths(tree: Octree, widths: NDArray[np.int16]) -> bytes:
    """Form 0, a uv a level; where a level mixes widths form 1, the sorted classes and each node's index of few bits.

    Only children of networks are spoken of; 0 is no network. Then a bit a leaf without one: whether it is a scalar.
    """
    per_level = [np.maximum(widths[_below_networks(tree, widths, level)], 0) for level in range(tree.depth + 1)]
    per_level = [level for level in per_level if level.size]
    scalars = widths[tree.leaves[widths[tree.leaves] <= 0]] == SCALAR
    flags = np.packbits(scalars, bitorder="little").tobytes()
    if all((level == level[0]).all() for level in per_level):
        return b"\0" + b"".join(_uv(int(level[0])) for level in per_level) + flags
    classes = np.unique(np.concatenate(per_level))
    n_bits = (len(classes) - 1).bit_length()
    packed = b""
    for level in per_level:
        bits = np.searchsorted(classes, level)[:, None] >> np.arange(n_bits) & 1
        packed += np.packbits(bits.astype(np.uint8), axis=None, bitorder="little").tobytes()
    return b"\1" + b"".join(map(_uv, [len(classes), *classes.tolist()])) + packed + flags
