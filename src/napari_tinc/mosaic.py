"""A file of blocks: boxes of a large volume, of channels and of points in time, each a tree of networks of its own.

A block is decoded without any other, so that of a file only what a view meets is read; and is compressed without any
other, so that a volume need not fit in memory, nor the work on one machine. An overview is the volume at a coarser
sampling. See framing.py for the notation::

    HEAD          u8 flags | u8 dtype | 3 uv shape (z, y, x) | 2 items value range | optional facts
                  | uv leading axes, uv size of each | uv nodes, a split bit a node | uv edge of an overview's cell
                  | uv chunks x {u8 type, uv nodes, uv length, u32 CRC-32}
    BODY          an OVERVIEW a channel and point in time, or none; then a BLOCK for each of these and each leaf of the
                  tree, leaves fastest; ancillary chunks anywhere

A payload of OVERVIEW or BLOCK is a file as container.py has it, without spacing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .framing import (
    MAX_CHUNKS,
    MAX_VOXELS,
    Chunk,
    Cursor,
    Entry,
    Facts,
    Feature,
    Kind,
    TincError,
    pack_entry,
    pack_optional,
    pack_start,
    pack_tree,
    read_optional,
    read_start,
    read_table,
    read_tree,
    seal,
    uv,
    within,
)

MAX_LEADING = 3  # axes before z, y, x
MAX_EDGE = 2**16


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Mosaic(Facts):
    """What a file of blocks says before its chunks.

    Attributes
    ----------
    tree : the octree whose leaves are the blocks.
    leading : sizes of the axes before z, y, x.
    edge : voxels along a cell of the overview, 0 where there is none.
    """

    leading: tuple[int, ...] = ()
    edge: int = 0

    @property
    def n_volumes(self) -> int:
        """Channels times points in time."""
        return math.prod(self.leading)

    def overview_shape(self) -> tuple[int, ...]:
        return tuple(-(-n // self.edge) for n in self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where the parts of a file are.

    Attributes
    ----------
    overviews : one a volume, or none.
    blocks : leaves fastest; shorter than it should be where the file is cut off.
    ancillary : all others.
    """

    overviews: list[Entry]
    blocks: list[Entry]
    ancillary: list[Entry]


def parse(features: Feature, head: bytes, size: int, *, partial: bool = False) -> tuple[Mosaic, Layout]:
    """Read the head of a file of ``size`` bytes. With ``partial`` it may be cut off anywhere after the head.

    Raises
    ------
    TincError
        If anything is not as the format demands.
    """
    cursor = Cursor(head)
    flags, dtype, shape, value_range = read_start(cursor)
    optional = read_optional(cursor, flags)
    leading = tuple(cursor.uv("leading axis", 1, MAX_VOXELS) for _ in range(cursor.uv("leading axes", 0, MAX_LEADING)))
    within("number of voxels", math.prod(leading) * math.prod(shape), 1, MAX_VOXELS)
    if bool(leading) != bool(features & Feature.LEADING_AXES):
        raise TincError(f"has {len(leading)} leading axes, and the features {features!r}, expected these to say so")
    tree = read_tree(cursor, shape)
    edge = cursor.uv("edge of the overview", 0, MAX_EDGE)
    mosaic = Mosaic(
        tree=tree, dtype=dtype, value_range=value_range, leading=leading, edge=edge, **optional
    )  # fmt: skip
    n_blocks = mosaic.n_volumes * len(tree.leaves)
    within("number of blocks", n_blocks, 1, MAX_CHUNKS)
    table = read_table(cursor, (Kind.OVERVIEW, Kind.BLOCK))
    end = table[-1].start + table[-1].length
    within("file size", size, table[0].start if partial else end, end)
    of_role: dict[Any, list[Entry]] = {Kind.OVERVIEW: [], Kind.BLOCK: []}
    ancillary: list[Entry] = []
    for entry in table:
        of_role.get(entry.role, ancillary).append(entry)
        if entry.role is Kind.OVERVIEW and of_role[Kind.BLOCK]:
            raise TincError("an OVERVIEW follows a BLOCK, expected it before all of these")
        if entry.role in of_role:
            within("level and nodes of a block", entry.level + entry.n_nodes, 0, 0)
    within("number of BLOCK chunks", len(of_role[Kind.BLOCK]), n_blocks, n_blocks)
    overviews = mosaic.n_volumes if edge else 0
    within("number of OVERVIEW chunks", len(of_role[Kind.OVERVIEW]), overviews, overviews)

    def whole(entries: Sequence[Entry]) -> list[Entry]:
        return [entry for entry in entries if entry.start + entry.length <= size]

    return mosaic, Layout(*(whole(entries) for entries in (*of_role.values(), ancillary)))


def pack(mosaic: Mosaic, overviews: Sequence[bytes], blocks: Sequence[bytes], ancillary: Sequence[Chunk]) -> bytes:
    """The bytes of a file.

    Raises
    ------
    TincError
        If the file could not be read back as it was given.
    """
    chunks = [
        *(Chunk.of(Kind.OVERVIEW, data) for data in overviews), *ancillary,
        *(Chunk.of(Kind.BLOCK, data) for data in blocks),
    ]  # fmt: skip
    features = Feature.BLOCKS | (Feature.LEADING_AXES if mosaic.leading else Feature(0))
    try:
        head = b"".join([
            pack_start(mosaic), pack_optional(mosaic), uv(len(mosaic.leading)), *map(uv, mosaic.leading),
            pack_tree(mosaic.tree), uv(mosaic.edge), uv(len(chunks)), *map(pack_entry, chunks),
        ])  # fmt: skip
        data = seal(features, head, (chunk.payload for chunk in chunks))
    except (struct.error, ValueError, OverflowError) as error:
        raise TincError(f"header cannot be stored: {error}") from error
    parse(features, head, len(data))
    return data
