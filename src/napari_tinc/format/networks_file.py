"""The bytes of a file of one tree of networks: its header, its widths, the order of its chunks, and all checks of
these.

What a payload means belongs elsewhere: entropy coding, networks and calibration see a chunk's bytes only after
:meth:`Chunk.checked`. See head.py for the notation and for what all files share::

    HEAD          [uv further features]
                  | u8 flags | u8 dtype | 3 uv shape (z, y, x) | 2 items value range | u16 mean | u16 std
                  | [3 f64 spacing, uv + UTF-8 unit] [3 f64 origin] [f64 error bound] [12 f32 affine]
                  | u8 layers | f32 omega0 | u8 weights format | u8 calibration
                  | uv nodes, a split bit a node | u8 width form, widths | a scalar bit a leaf without network
                  | with the feature LATTICE: 3 uv layers
                  | uv chunks x {u8 type, uv nodes, uv length, u32 CRC-32}
    BODY          MODEL, then WEIGHTS coarse level first; ancillary chunks anywhere between

What :func:`parse` accepts, :func:`pack` writes again byte for byte (with its own minor version).
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from ..octree import Octree
from .chunks import Chunk, ChunkEntry, ChunkKind, pack_entry, read_table
from .cursor import FieldReader, check_range, pack_varint
from .head import (
    NO_FEATURE,
    OF_NETWORKS,
    Feature,
    VolumeFacts,
    assemble,
    pack_optional,
    pack_start,
    read_head,
    read_optional,
    read_start,
)
from .limits import (
    LEAST_CHUNK,
    MAX_LAYERS,
    MAX_TREE,
    MAX_WEIGHTS,
    MAX_WEIGHTS_PER_BYTE,
    MAX_WIDTH,
    SPARE_CHUNKS,
    SPARE_WEIGHTS,
)
from .tree import cache_for_small_trees, pack_tree, read_tree
from .widths import count_parameters, pack_widths, read_widths

LATTICE_STRIDES = (2, 4, 8)  # Voxels between the points of a lattice along each axis.


class WeightsFormat(IntEnum):
    """How WEIGHTS payloads store numbers: 16-bit floats, 8-bit integers, or entropy-coded ones (of sorted columns)."""

    FLOAT16, INT8, ENTROPY, SORTED = range(4)

    @property
    def is_entropy_coded(self) -> bool:
        """Whether numbers are entropy-coded integers."""
        return self in (WeightsFormat.ENTROPY, WeightsFormat.SORTED)

    @property
    def label(self) -> str:
        """Name of the numbers, as users choose it."""
        return "entropy" if self.is_entropy_coded else self.name.lower()


class Calibration(IntEnum):
    """Which gains and offsets correct the output: none, one pair for all leaves, or one pair for each head."""

    NONE, GLOBAL, PER_LEAF = range(3)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NetworksHeader(VolumeFacts):
    """The facts that a file of one tree of networks stores before its chunks.

    Attributes
    ----------
    tree : the octree of networks.
    mean_q, std_q : 0..65535, see :attr:`mean` and :attr:`std`.
    widths : int16 (n_nodes,), neurons of a node's layers, 1..256; or :data:`SCALAR` or :data:`INHERITS`.
    layers : sine layers of a node's MLP, 1..8.
    omega0 : frequency of the sines, kept as float32.
    lattice : for each of :data:`LATTICE_STRIDES` the last layer of a path from the root whose sums are interpolated
        from a lattice of that stride, the heads being the last, 0 for none; empty if there is no lattice.
    """

    mean_q: int
    std_q: int
    widths: NDArray[np.int16]
    layers: int
    omega0: float
    weights_format: WeightsFormat = WeightsFormat.SORTED
    calibration: Calibration = Calibration.NONE
    lattice: tuple[int, ...] = ()

    @property
    def mean(self) -> float:
        """Value in the data that a network output of 0 stands for."""
        lo, hi = self.value_range
        return float(lo) + float(hi - lo) * (self.mean_q / 65535)

    @property
    def std(self) -> float:
        """Difference in the data that a difference of 1 in the network's output stands for."""
        lo, hi = self.value_range
        return float(hi - lo) * (self.std_q / 65535)


def parameter_counts(header: NetworksHeader) -> NDArray[np.int32]:
    """Return the number of weights and biases of every node, int32 (n_nodes,)."""
    counts: NDArray[np.int32] = _parameter_counts(header.tree, header.widths.tobytes(), header.layers)
    return counts


@cache_for_small_trees
def _parameter_counts(tree: Octree, widths: bytes, layers: int) -> NDArray[np.int32]:
    """Count the parameters; the result cannot be changed, as it may be remembered."""
    counts = count_parameters(tree, np.frombuffer(widths, np.int16), layers)
    counts.flags.writeable = False
    return counts


def pack(header: NetworksHeader, chunks: Sequence[Chunk]) -> bytes:
    """Build the bytes of a file. CRCs are written as the chunks carry them, so that damage stays visible.

    Raises
    ------
    TincError
        If the file could not be read back as it was given.
    """
    try:
        head = _pack_header(header) + pack_varint(len(chunks)) + b"".join(map(pack_entry, chunks))
        data = assemble(features_of(header), head, (chunk.payload for chunk in chunks))
    except (struct.error, ValueError, OverflowError) as error:
        raise TincError(f"header cannot be stored: {error}") from error
    if parse(data)[1] != tuple(chunks):
        raise TincError("chunks cannot be stored: a kind is not within 0 to 7 or a level not within 0 to 15")
    return data


def features_of(header: NetworksHeader) -> Feature:
    """Return the features that a reader of the file needs."""
    features = Feature.LATTICE if header.lattice else NO_FEATURE
    return features | (Feature.SORTED if header.weights_format is WeightsFormat.SORTED else NO_FEATURE)


def parse(data: bytes, *, partial: bool = False) -> tuple[NetworksHeader, tuple[Chunk, ...]]:
    """Read the header of a file and cut out its chunks, whose CRCs :meth:`Chunk.checked` compares later.

    With ``partial`` the file may end anywhere after its first chunk; only the whole chunks are returned, which make
    a coarser level of detail.

    Raises
    ------
    TincError
        If anything is not as the format demands.
    """
    features, head = read_head(lambda start, stop: data[start:stop], len(data))
    if features & ~OF_NETWORKS:
        raise TincError(f"has the features {features!r}, expected at most {OF_NETWORKS!r} of a single tree")
    cursor = FieldReader(head)
    header = _read_header(cursor, features)
    if features & Feature.LATTICE:
        header = replace(header, lattice=_read_lattice(cursor, header))
    table = read_table(cursor, (ChunkKind.MODEL, ChunkKind.WEIGHTS))
    stop = table.stop
    size = int(stop[-1])
    check_range("number of chunks", len(table), 1, SPARE_CHUNKS + size // LEAST_CHUNK)
    entries = list(table)
    _check_order(entries, header)
    check_range("file size", len(data), int(stop[0]) if partial else size, size)
    whole = entries[: int(np.searchsorted(stop, len(data), side="right"))]
    chunks = tuple(entry.chunk(data[entry.start : entry.start + entry.length]) for entry in whole)
    present = sum(chunk.n_nodes for chunk in chunks if chunk.role is ChunkKind.WEIGHTS)
    n_weights = int(parameter_counts(header)[header.widths > 0][:present].sum())
    check_range("number of weights", n_weights, 0, MAX_WEIGHTS_PER_BYTE * len(data) + SPARE_WEIGHTS)
    return header, chunks


def _read_header(cursor: FieldReader, features: Feature) -> NetworksHeader:
    """Read the header (checks 3 to 6, and the first half of 7; the second half needs the chunks)."""
    flags, dtype, shape, value_range = read_start(cursor, features)
    if not math.isfinite(value_range[1] - value_range[0]):
        low, high = value_range
        raise TincError(f"value range is {low} to {high}, expected it finite and ascending, and of a finite width")
    mean_q, std_q = cursor.unsigned("mean", 2, 65535), cursor.unsigned("std", 2, 65535)
    optional = read_optional(cursor, flags)
    layers = cursor.unsigned("layers", 1, MAX_LAYERS, low=1)
    omega0 = cursor.floats("omega0", "f")[0]
    weights_format = WeightsFormat(cursor.unsigned("weights format", 1, len(WeightsFormat) - 1))
    if (weights_format is WeightsFormat.SORTED) != bool(features & Feature.SORTED):
        raise TincError(f"has weights {weights_format.name}, and the features {features!r}, expected these to say so")
    calibration = Calibration(cursor.unsigned("calibration", 1, len(Calibration) - 1))
    tree = read_tree(cursor, shape, MAX_TREE)
    header = NetworksHeader(
        tree=tree, dtype=dtype, value_range=value_range, mean_q=mean_q, std_q=std_q, widths=read_widths(cursor, tree),
        layers=layers, omega0=omega0, weights_format=weights_format, calibration=calibration, **optional,
    )  # fmt: skip
    check_range("number of weights", int(parameter_counts(header).sum()), 1, MAX_WEIGHTS)
    return header


def finest_stride(header: NetworksHeader) -> int:
    """Return the voxels between points of the finest lattice, 1 where there is none."""
    return LATTICE_STRIDES[header.lattice.count(header.lattice[0]) - 1] if header.lattice else 1


def head_layer(header: NetworksHeader) -> int:
    """Return the index of the heads of the deepest networks on the path from the root: behind all sine layers."""
    return header.layers * (1 + int(header.tree.level[header.widths > 0].max()))


def _read_lattice(cursor: FieldReader, header: NetworksHeader) -> tuple[int, ...]:
    """Read the last layer on the lattice of each stride: none follows that of a finer lattice."""
    lattice: list[int] = []
    for stride in LATTICE_STRIDES:
        low, high = (0, lattice[-1]) if lattice else (1, head_layer(header))
        lattice.append(cursor.varint(f"last layer on a lattice of stride {stride}", low, high))
    return tuple(lattice)


def _check_order(table: Sequence[ChunkEntry], header: NetworksHeader) -> None:
    """Check that MODEL comes first and WEIGHTS cover all networks in order (check 8, but for the sum of lengths)."""
    per_level = [
        int(np.count_nonzero(header.widths[header.tree.at_level(i)] > 0)) for i in range(header.tree.depth + 1)
    ]
    level_ends = list(itertools.accumulate(n for n in per_level if n))
    level, node = 0, 0  # the first node that no chunk holds yet
    for i, entry in enumerate(table):
        if (i == 0) != (entry.role is ChunkKind.MODEL):
            raise TincError(f"chunk {i} has type {entry.code:#04x}, expected one MODEL chunk, the first")
        if entry.role is ChunkKind.MODEL:
            check_range("level of the MODEL chunk", entry.level, 0, 0)
            check_range("nodes of the MODEL chunk", entry.n_nodes, 0, 0)
        elif entry.role is ChunkKind.WEIGHTS:
            if level == len(level_ends):
                raise TincError(f"WEIGHTS chunk {i} follows the last of {node} networks, expected none")
            check_range(f"level of WEIGHTS chunk {i}", entry.level, level, level)
            check_range(f"nodes of WEIGHTS chunk {i}", entry.n_nodes, 1, level_ends[level] - node)
            node += entry.n_nodes
            level += node == level_ends[level]
    check_range("nodes with weights", node, level_ends[-1], level_ends[-1])


def _pack_header(header: NetworksHeader) -> bytes:
    """Build HEAD up to the table of chunks."""
    check_range("width", int(header.widths.max(initial=0)), 0, MAX_WIDTH)
    check_range("number of widths", header.widths.size, len(header.tree.split), len(header.tree.split))
    return b"".join([
        pack_start(header), struct.pack("<HH", header.mean_q, header.std_q), pack_optional(header),
        struct.pack("<BfBB", header.layers, header.omega0, header.weights_format, header.calibration),
        pack_tree(header.tree), pack_widths(header.tree, header.widths), *map(pack_varint, header.lattice),
    ])  # fmt: skip
