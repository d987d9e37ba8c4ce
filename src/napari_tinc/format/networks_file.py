"""A file of one tree of networks: its header, its tree and widths, the order of its chunks, and every check of these.

What a payload means belongs elsewhere: entropy coding, networks and calibration see a chunk's bytes only after
:meth:`Chunk.checked`. See head.py for the notation and for what all files share::

    HEAD          u8 flags | u8 dtype | 3 uv shape (z, y, x) | 2 items value range | u16 mean | u16 std
                  | [3 f64 spacing, uv + UTF-8 unit] [3 f64 origin] [f64 error bound] [12 f32 affine]
                  | u8 layers | f32 omega0 | u8 weights format | u8 calibration
                  | uv nodes, a split bit a node | u8 width form, widths | a scalar bit a leaf without network
                  | uv chunks x {u8 type, uv nodes, uv length, u32 CRC-32}
    BODY          MODEL, then WEIGHTS coarse level first; ancillary chunks anywhere between

What :func:`parse` accepts, :func:`pack` writes again byte for byte (with its own minor version).
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..octree import Octree
from .head import (
    Chunk,
    Cursor,
    Entry,
    Facts,
    Feature,
    Kind,
    TincError,
    of_small_trees,
    pack_entry,
    pack_optional,
    pack_start,
    pack_tree,
    read_head,
    read_optional,
    read_start,
    read_table,
    read_tree,
    seal,
    uv,
    within,
)

MAX_LAYERS, MAX_WIDTH = 8, 256
SCALAR, INHERITS = 0, -1  # in place of a width: a leaf that is one value, a node that uses its parent's network
MAX_TREE = 2**16  # nodes
SPARE_CHUNKS, LEAST_CHUNK = 64, 128  # chunks, and bytes of the file for each further one
MAX_WEIGHTS, MAX_WEIGHTS_PER_BYTE, SPARE_WEIGHTS = 2**26, 64, 4096  # no small file may declare a huge network


class WeightsFormat(IntEnum):
    """How WEIGHTS payloads hold their numbers."""

    FLOAT16, INT8, ENTROPY = range(3)


class Calibration(IntEnum):
    """Which gains and offsets correct the network's output."""

    NONE, GLOBAL, PER_LEAF = range(3)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Header(Facts):
    """What a file says before its chunks.

    Attributes
    ----------
    tree : the octree of networks.
    mean_q, std_q : 0..65535, see :attr:`mean` and :attr:`std`.
    widths : int16 (n_nodes,), neurons of a node's layers, 1..256; or :data:`SCALAR` or :data:`INHERITS`.
    layers : sine layers of a node's MLP, 1..8.
    omega0 : frequency of the sines, kept as float32.
    """

    mean_q: int
    std_q: int
    widths: NDArray[np.int16]
    layers: int
    omega0: float
    weights_format: WeightsFormat = WeightsFormat.ENTROPY
    calibration: Calibration = Calibration.NONE

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


def serving(tree: Octree, widths: NDArray[Any]) -> NDArray[np.int32]:
    """The node whose network a node uses, its own or the nearest above; -1 for a scalar. int32 (n_nodes,)."""
    node = np.arange(len(widths), dtype=np.int32)
    node[widths == SCALAR] = -1
    for level in range(1, tree.depth + 1):
        nodes = tree.at_level(level)
        inherits = widths[nodes] == INHERITS
        node[nodes][inherits] = node[tree.parent[nodes][inherits]]
    return node


def has_head(tree: Octree, widths: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether a leaf's values come from a node: it has a linear head then. (n_nodes,)."""
    used = np.zeros(len(widths) + 1, bool)
    used[serving(tree, widths)[tree.leaves]] = True  # of a scalar the last
    return used[:-1]


def find_heads(tree: Octree, widths: NDArray[Any]) -> NDArray[np.int64]:
    """The nodes with a head, ascending."""
    return np.flatnonzero(has_head(tree, widths))


def heads_of_leaves(tree: Octree, widths: NDArray[Any]) -> NDArray[np.int64]:
    """Which of :func:`find_heads` each leaf's values come from, -1 for a scalar. int64 (n_leaves,)."""
    served = serving(tree, widths)[tree.leaves]
    return np.where(served < 0, -1, np.searchsorted(find_heads(tree, widths), served))


def parts_of_leaves(header: Header) -> NDArray[np.int64]:
    """The part that QUALITY counts each leaf to: one a head, ascending, then one for all scalars. (n_leaves,)."""
    head = heads_of_leaves(header.tree, header.widths)
    return np.where(head < 0, head.max() + 1, head)


def count_parameters(tree: Octree, widths: NDArray[Any], layers: int) -> NDArray[np.int32]:
    """Weights and biases of every node, int32 (n_nodes,).

    A node of width w sees 3 coordinates and the v outputs of its parent: 4w + vw in its first layer, w^2 + w in
    each further one, and w + 1 in the head if it has one. A node without network has none.
    """
    headed = has_head(tree, widths)
    own = np.maximum(widths, 0).astype(np.int32)  # no node has more than 2^20; in place, as trees may be large
    counts = own[tree.parent]
    counts[0] = 0
    counts += 4 + (layers - 1)
    counts += (layers - 1) * own
    counts *= own
    np.add(counts, own, out=counts, where=headed)
    np.add(counts, 1, out=counts, where=headed)
    return counts


def parameter_counts(header: Header) -> NDArray[np.int32]:
    """Weights and biases of every node, int32 (n_nodes,)."""
    counts: NDArray[np.int32] = _parameter_counts(header.tree, header.widths.tobytes(), header.layers)
    return counts


@of_small_trees
def _parameter_counts(tree: Octree, widths: bytes, layers: int) -> NDArray[np.int32]:
    counts = count_parameters(tree, np.frombuffer(widths, np.int16), layers)
    counts.flags.writeable = False
    return counts


def pack(header: Header, chunks: Sequence[Chunk]) -> bytes:
    """The bytes of a file. CRCs are written as the chunks carry them, so that damage stays visible.

    Raises
    ------
    TincError
        If the file could not be read back as it was given.
    """
    try:
        head = _pack_header(header) + uv(len(chunks)) + b"".join(map(pack_entry, chunks))
        data = seal(Feature(0), head, (chunk.payload for chunk in chunks))
    except (struct.error, ValueError, OverflowError) as error:
        raise TincError(f"header cannot be stored: {error}") from error
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
    features, head = read_head(lambda start, stop: data[start:stop], len(data))
    if features:
        raise TincError(f"has the features {features!r}, expected none of a single tree")
    cursor = Cursor(head)
    header = _read_header(cursor)
    table = read_table(cursor, (Kind.MODEL, Kind.WEIGHTS))
    stop = table.stop
    size = int(stop[-1])
    within("number of chunks", len(table), 1, SPARE_CHUNKS + size // LEAST_CHUNK)
    entries = list(table)
    _check_order(entries, header)
    within("file size", len(data), int(stop[0]) if partial else size, size)
    whole = entries[: int(np.searchsorted(stop, len(data), side="right"))]
    chunks = tuple(entry.chunk(data[entry.start : entry.start + entry.length]) for entry in whole)
    present = sum(chunk.n_nodes for chunk in chunks if chunk.role is Kind.WEIGHTS)
    n_weights = int(parameter_counts(header)[header.widths > 0][:present].sum())
    within("number of weights", n_weights, 0, MAX_WEIGHTS_PER_BYTE * len(data) + SPARE_WEIGHTS)
    return header, chunks


def _read_header(cursor: Cursor) -> Header:
    """Checks 3 to 6 and the first half of 7; the second needs the chunks."""
    flags, dtype, shape, value_range = read_start(cursor)
    if not math.isfinite(value_range[1] - value_range[0]):
        low, high = value_range
        raise TincError(f"value range is {low} to {high}, expected it finite and ascending, and of a finite width")
    mean_q, std_q = cursor.unsigned("mean", 2, 65535), cursor.unsigned("std", 2, 65535)
    optional = read_optional(cursor, flags)
    layers = cursor.unsigned("layers", 1, MAX_LAYERS, low=1)
    omega0 = cursor.floats("omega0", "f")[0]
    weights_format = WeightsFormat(cursor.unsigned("weights format", 1, len(WeightsFormat) - 1))
    calibration = Calibration(cursor.unsigned("calibration", 1, len(Calibration) - 1))
    tree = read_tree(cursor, shape, MAX_TREE)
    header = Header(
        tree=tree, dtype=dtype, value_range=value_range, mean_q=mean_q, std_q=std_q, widths=_read_widths(cursor, tree),
        layers=layers, omega0=omega0, weights_format=weights_format, calibration=calibration, **optional,
    )  # fmt: skip
    within("number of weights", int(parameter_counts(header).sum()), 1, MAX_WEIGHTS)
    return header


def _read_widths(cursor: Cursor, tree: Octree) -> NDArray[np.int16]:
    """The width of every node, refused unless stored exactly as :func:`_pack_widths` does."""
    start = cursor.at
    classes: list[int] = []
    if cursor.unsigned("width form", 1, 1):
        classes = [cursor.uv("width", 0, MAX_WIDTH) for _ in range(cursor.uv("width classes", 2, MAX_WIDTH + 1))]
    n_bits = (len(classes) - 1).bit_length()
    width_of = np.array(classes, np.int16)
    widths = np.full(len(tree.split), INHERITS, np.int16)
    for level in range(tree.depth + 1):
        below = _below_networks(tree, widths, level)
        n_below = int(np.count_nonzero(below))
        if not n_below:
            break
        stored: Any
        if classes:
            bits = cursor.bits("width indices", n_below * n_bits).reshape(-1, n_bits)
            index = np.zeros(n_below, np.int16)
            for bit in range(n_bits):
                index |= bits[:, bit].astype(np.int16) << np.int16(bit)
            within("width index", int(index.max()), 0, len(classes) - 1)
            stored = width_of[index]
        else:
            stored = np.int16(cursor.uv("width", 0, MAX_WIDTH))
        widths[tree.at_level(level)][below] = np.where(stored > 0, stored, np.int16(INHERITS))
    plain = tree.leaves[widths[tree.leaves] == INHERITS]
    widths[plain[cursor.bits("scalar flags", len(plain)) > 0]] = SCALAR
    if cursor.head[start : cursor.at] != _canonical(tree, widths.tobytes()):
        raise TincError("widths are stored out of order or at length, expected the one canonical form")
    return widths


@of_small_trees
def _canonical(tree: Octree, widths: bytes) -> bytes:
    """The one form in which widths are stored, after they were checked."""
    found = np.frombuffer(widths, np.int16)
    _check_networks(tree, found)
    return _pack_widths(tree, found)


def _below_networks(tree: Octree, widths: NDArray[np.int16], level: int) -> NDArray[np.bool_]:
    """The nodes of a level whose width is stored, of all of that level: the root, and children of networks."""
    return widths[tree.parent[tree.at_level(level)]] > 0 if level else np.ones(1, bool)


def _check_networks(tree: Octree, widths: NDArray[np.int16]) -> None:
    """Each network has children with networks, or else a head; and each above it is one too."""
    if widths[0] <= 0:
        raise TincError(f"width of the root is {max(0, widths[0])}, expected 1 to {MAX_WIDTH}")
    networks = widths > 0
    inner = np.zeros(len(widths), bool)
    inner[tree.parent[1:][networks[1:]]] = True
    headed = has_head(tree, widths)
    wrong = np.flatnonzero(networks & (inner == headed))
    if wrong.size:
        state = "both networks below it and leaves of its own" if inner[wrong[0]] else "no leaf"
        raise TincError(f"network of node {wrong[0]} has {state}, expected one of networks below and leaves")
    if (tree.split & (widths == SCALAR)).any() or not networks[tree.parent[1:][networks[1:]]].all():
        raise TincError("a scalar is split or a network is below a node without one, expected neither")


def _check_order(table: Sequence[Entry], header: Header) -> None:
    """Check 8 but for the sum: MODEL first, then all networks in order."""
    per_level = [
        int(np.count_nonzero(header.widths[header.tree.at_level(i)] > 0)) for i in range(header.tree.depth + 1)
    ]
    level_ends = list(itertools.accumulate(n for n in per_level if n))
    level, node = 0, 0  # the first node no chunk holds yet
    for i, entry in enumerate(table):
        if (i == 0) != (entry.role is Kind.MODEL):
            raise TincError(f"chunk {i} has type {entry.code:#04x}, expected one MODEL chunk, the first")
        if entry.role is Kind.MODEL:
            within("level of the MODEL chunk", entry.level, 0, 0)
            within("nodes of the MODEL chunk", entry.n_nodes, 0, 0)
        elif entry.role is Kind.WEIGHTS:
            if level == len(level_ends):
                raise TincError(f"WEIGHTS chunk {i} follows the last of {node} networks, expected none")
            within(f"level of WEIGHTS chunk {i}", entry.level, level, level)
            within(f"nodes of WEIGHTS chunk {i}", entry.n_nodes, 1, level_ends[level] - node)
            node += entry.n_nodes
            level += node == level_ends[level]
    within("nodes with weights", node, level_ends[-1], level_ends[-1])


def _pack_header(header: Header) -> bytes:
    """HEAD up to the chunk table."""
    within("width", int(header.widths.max(initial=0)), 0, MAX_WIDTH)
    within("number of widths", header.widths.size, len(header.tree.split), len(header.tree.split))
    return b"".join([
        pack_start(header), struct.pack("<HH", header.mean_q, header.std_q), pack_optional(header),
        struct.pack("<BfBB", header.layers, header.omega0, header.weights_format, header.calibration),
        pack_tree(header.tree), _pack_widths(header.tree, header.widths),
    ])  # fmt: skip


def _pack_widths(tree: Octree, widths: NDArray[np.int16]) -> bytes:
    """Form 0, a uv a level; where a level mixes widths form 1, the sorted classes and each node's index of few bits.

    Only children of networks are spoken of; 0 is no network. Then a bit a leaf without one: whether it is a scalar.
    """
    scalars = widths[tree.leaves[widths[tree.leaves] <= 0]] == SCALAR
    flags = np.packbits(scalars, bitorder="little").tobytes()
    per_level = [
        np.maximum(widths[tree.at_level(level)][_below_networks(tree, widths, level)], 0)
        for level in range(tree.depth + 1)
    ]
    per_level = [level for level in per_level if level.size]
    if all((level == level[0]).all() for level in per_level):
        return b"\0" + b"".join(uv(int(level[0])) for level in per_level) + flags
    occurs = np.zeros(MAX_WIDTH + 1, bool)
    for level in per_level:
        occurs[level] = True
    classes = np.flatnonzero(occurs)
    index_of = (np.cumsum(occurs) - 1).astype(np.int16)
    n_bits = (len(classes) - 1).bit_length()
    packed = b""
    for level in per_level:
        bits = np.empty((len(level), n_bits), np.uint8)
        for bit in range(n_bits):
            bits[:, bit] = index_of[level] >> np.int16(bit) & 1
        packed += np.packbits(bits, axis=None, bitorder="little").tobytes()
    return b"\1" + b"".join(map(uv, [len(classes), *classes.tolist()])) + packed + flags
