"""The bytes of a file of blocks: boxes of a large volume, of channels and of points in time, each compressed
separately.

A block is decoded without any other, so that of a file only what a view meets is read; and is compressed without any
other, so that a volume need not fit in memory, nor the work on one machine. An overview is the volume at a coarser
sampling. See head.py for the notation::

    HEAD          [uv further features]
                  | u8 flags | u8 dtype | 3 uv shape (z, y, x) | 2 items value range | optional facts
                  | uv leading axes, uv size of each | uv nodes, a split bit a node | uv edge of an overview's cell
                  | where there is one: uv length of the filter, its bytes (filtering/filter.py)
                  | regions (regions.py) | uv chunks x {u8 type, uv nodes, uv length, u32 CRC-32}
    BODY          an OVERVIEW a channel and point in time, or none; then a REGION for each region; then a BLOCK for each
                  channel and point in time and each leaf of the tree, leaves fastest; ancillary chunks anywhere

A payload of OVERVIEW or BLOCK is, at level 0, a file as networks_file.py has it, without spacing; at level 1 the bytes
of bounded/box.py. If there are such, a chunk VERIFY ends the critical ones: a u32 CRC-32 of the values of each, in
order. At level 2 a BLOCK is a background as bounded/background.py has it, and behind that a file as at level 0, for the
voxels that the background leaves.
"""

from __future__ import annotations

import functools
import math
import operator
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from .chunks import Chunk, ChunkEntry, ChunkKind, ChunkTable, pack_entry, read_table
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
from .limits import MAX_CHUNKS, MAX_EDGE, MAX_FILTER, MAX_LEADING, MAX_VOXELS
from .regions import RegionFacts, pack_regions, read_regions
from .tree import pack_tree, read_tree

BACKGROUND_KIND = (
    6  # First byte of boxes of which a polynomial stands for a part; files of networks begin with another.
)

BACKGROUND_HEAD = struct.Struct("<2xHI8x")  # Bytes of the coefficients of such a polynomial, and of its mask.


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BlocksHeader(VolumeFacts):
    """The facts that a file of blocks stores before its chunks.

    Attributes
    ----------
    tree : the octree whose leaves are the blocks.
    leading : sizes of the axes before z, y, x.
    edge : voxels along a cell of the overview, 0 where there is none.
    filter : bytes of the filter that blocks of level 1 pass; empty where there is none.
    regions : the regions that are kept exactly, or within a bound of their own; None if there are none.
    of_networks : features that networks of blocks and overviews may need; :func:`pack` looks at them itself.
    """

    leading: tuple[int, ...] = ()
    edge: int = 0
    filter: bytes = b""
    regions: RegionFacts | None = None
    of_networks: Feature = NO_FEATURE

    @property
    def n_volumes(self) -> int:
        """Number of volumes: channels times points in time."""
        return math.prod(self.leading)

    def overview_shape(self) -> tuple[int, ...]:
        """Return the cells of an overview along z, y, x."""
        return tuple(-(-n // self.edge) for n in self.shape)


@dataclass(frozen=True, slots=True)
class Payload:
    """The bytes of a block or an overview.

    Attributes
    ----------
    data : a file of one tree of networks, maybe after a background; or a box of the predictive coder.
    crc : CRC-32 of the decoded values of a box of the predictive coder; None for networks.
    """

    data: bytes
    crc: int | None = None

    @property
    def has_background(self) -> bool:
        """Whether a polynomial stands for a part of the box, so that a reader has to know of backgrounds."""
        return self.data[:1] == bytes([BACKGROUND_KIND])

    def features(self) -> Feature:
        """Read which features of networks a reader of the block needs, so that the whole file must name them."""
        first = BACKGROUND_HEAD.size + sum(BACKGROUND_HEAD.unpack_from(self.data)) if self.has_background else 0
        if self.crc is not None or len(self.data) == first:  # no bytes where a size is estimated
            return NO_FEATURE
        return read_head(lambda start, stop: self.data[first + start : first + stop], len(self.data) - first)[0]

    @property
    def level(self) -> int:
        """Level of the chunk: 0 for networks, 1 for the predictive coder, 2 for networks with a background."""
        return 1 if self.crc is not None else 2 * self.has_background


@dataclass(frozen=True, slots=True, eq=False)
class BlockLayout:
    """The places of the chunks in a file of blocks.

    Attributes
    ----------
    overviews : one for each volume, or none.
    regions : one for each region of the header, or none.
    blocks : blocks of the first volume, then of the second, ...; fewer than the header says if the file is cut off.
    ancillary : chunks that a reader may skip.
    verify : VERIFY; None if all blocks have networks, or if the file is cut off.
    residuals : first bytes of the payloads whose checksums VERIFY has, in order. uint32 (n,).
    """

    overviews: Sequence[ChunkEntry]
    regions: Sequence[ChunkEntry]
    blocks: Sequence[ChunkEntry]
    ancillary: Sequence[ChunkEntry]
    verify: ChunkEntry | None
    residuals: NDArray[np.uint32]


def parse(features: Feature, head: bytes, size: int, *, partial: bool = False) -> tuple[BlocksHeader, BlockLayout]:
    """Read the head of a file of ``size`` bytes. With ``partial`` the file may be cut off anywhere after the head.

    Raises
    ------
    TincError
        If anything is not as the format demands.
    """
    cursor = FieldReader(head)
    flags, dtype, shape, value_range = read_start(cursor, features)
    optional = read_optional(cursor, flags)
    leading = tuple(
        cursor.varint("leading axis", 1, MAX_VOXELS) for _ in range(cursor.varint("leading axes", 0, MAX_LEADING))
    )
    check_range("number of voxels", math.prod(leading) * math.prod(shape), 1, MAX_VOXELS)
    if bool(leading) != bool(features & Feature.LEADING_AXES):
        raise TincError(f"has {len(leading)} leading axes, and the features {features!r}, expected these to say so")
    tree = read_tree(cursor, shape)
    edge = cursor.varint("edge of the overview", 0, MAX_EDGE)
    filter_ = b""
    if features & Feature.FILTER:
        filter_ = cursor.take("filter", cursor.varint("length of the filter", 1, MAX_FILTER))
    n_volumes = math.prod(leading)
    regions = read_regions(cursor, shape, n_volumes) if features & Feature.REGIONS else None
    header = BlocksHeader(
        tree=tree, dtype=dtype, value_range=value_range, leading=leading, edge=edge, filter=filter_, regions=regions,
        of_networks=features & OF_NETWORKS, **optional,
    )  # fmt: skip
    n_blocks = n_volumes * tree.n_leaves
    check_range("number of blocks", n_blocks, 1, MAX_CHUNKS)
    table = read_table(cursor, (ChunkKind.OVERVIEW, ChunkKind.REGION, ChunkKind.BLOCK, ChunkKind.VERIFY))
    end = int(table.stop[-1])
    check_range("file size", size, int(table.start[0]) if partial else end, end)
    ancillary, critical = table[np.flatnonzero(table.code >= 128)], table
    critical.keep(table.code < 128)
    levels = critical.code & 15
    places = np.array([3, 3, 3, 3, 2, 0, 3, 1], np.int8)[critical.code >> 4]  # VERIFY, BLOCK, OVERVIEW, REGION
    if (places[1:] < places[:-1]).any():
        raise TincError("critical chunks are out of order, expected OVERVIEW, REGION, BLOCK, VERIFY")
    highest = np.array([1, 0, 2 if features & Feature.BACKGROUND else 1, 0], np.uint8)[places]
    for entry in (critical[int(at)] for at in np.flatnonzero((levels > highest) | (critical.n_nodes > 0))[:1]):
        check_range("level of a critical chunk", entry.level, 0, int(highest[critical.start == entry.start][0]))
        check_range("nodes of a critical chunk", entry.n_nodes, 0, 0)
    first, second, third = np.searchsorted(places, np.array((1, 2, 3), np.int8)).tolist()
    overviews, regional = critical[:first], critical[first:second]
    blocks, verify = critical[second:third], critical[third:]
    n_regions = len(regions.table) if regions else 0
    check_range("number of REGION chunks", len(regional), n_regions, n_regions)
    check_range("number of BLOCK chunks", len(blocks), n_blocks, n_blocks)
    if header.error_bound is not None and (blocks.code & 15 != 1).any():
        raise TincError("has an error bound and a block with networks, expected blocks within the bound only")
    n_overviews = n_volumes if edge else 0
    check_range("number of OVERVIEW chunks", len(overviews), n_overviews, n_overviews)
    residuals = critical.start[levels == 1]
    if (len(residuals) > 0) != bool(features & Feature.RESIDUAL):
        raise TincError(f"has {len(residuals)} residuals, and the features {features!r}, expected these to say so")
    if filter_ and not len(residuals):
        raise TincError("has a filter and no blocks that pass it, expected residuals too")
    check_range("number of VERIFY chunks", len(verify), int(len(residuals) > 0), int(len(residuals) > 0))
    for entry in verify:
        check_range("length of VERIFY", entry.length, 4 * len(residuals), 4 * len(residuals))

    def complete(entries: ChunkTable) -> ChunkTable:
        """Keep the chunks that end before the file does."""
        return entries[: int(np.searchsorted(entries.stop, size, side="right"))]

    layout = BlockLayout(
        complete(overviews), complete(regional), complete(blocks), complete(ancillary),
        next(iter(complete(verify)), None), residuals,
    )  # fmt: skip
    return header, layout


def pack(
    header: BlocksHeader, overviews: Sequence[Payload], blocks: Sequence[Payload], ancillary: Sequence[Chunk],
    regions: Sequence[bytes] = (),
) -> bytes:  # fmt: skip
    """Build the bytes of a file of blocks; ``regions`` are the payloads of those that the header has.

    Raises
    ------
    TincError
        If the file could not be read back as it was given.
    """
    checks = [payload.crc for payload in (*overviews, *blocks) if payload.crc is not None]
    chunks = [
        *(Chunk.of(ChunkKind.OVERVIEW, payload.data, payload.level) for payload in overviews),
        *ancillary,
        *(Chunk.of(ChunkKind.REGION, payload) for payload in regions),
        *(Chunk.of(ChunkKind.BLOCK, payload.data, payload.level) for payload in blocks),
        *([Chunk.of(ChunkKind.VERIFY, np.array(checks, "<u4").tobytes())] if checks else []),
    ]  # fmt: skip
    features = Feature.BLOCKS
    features |= Feature.LEADING_AXES if header.leading else NO_FEATURE
    features |= Feature.RESIDUAL if checks else NO_FEATURE
    has_background = any(payload.has_background for payload in (*overviews, *blocks))
    features |= Feature.BACKGROUND if has_background else NO_FEATURE
    features |= functools.reduce(operator.or_, (payload.features() for payload in (*overviews, *blocks)), NO_FEATURE)
    features |= Feature.FILTER if header.filter else NO_FEATURE
    features |= Feature.REGIONS if header.regions else NO_FEATURE
    try:
        head = b"".join([
            pack_start(header), pack_optional(header),
            pack_varint(len(header.leading)), *map(pack_varint, header.leading),
            pack_tree(header.tree), pack_varint(header.edge),
            pack_varint(len(header.filter)) if header.filter else b"", header.filter, pack_regions(header.regions),
            pack_varint(len(chunks)), *map(pack_entry, chunks),
        ])  # fmt: skip
        data = assemble(features, head, (chunk.payload for chunk in chunks))
    except (struct.error, ValueError, OverflowError) as error:
        raise TincError(f"header cannot be stored: {error}") from error
    parse(*read_head(lambda start, stop: data[start:stop], len(data)), len(data))
    return data
