"""Chunks of a file, and the table of chunks in its head."""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from .cursor import FieldReader, check_range, pack_varint
from .head import PREFIX
from .limits import MAX_CHUNK_NODES, MAX_CHUNKS, MAX_FILE, MAX_META


class ChunkKind(IntEnum):
    """Kinds of chunks that a reader must understand.

    Their numbers overlap with :class:`Ancillary`: compare roles with ``is``.
    """

    MODEL, WEIGHTS, RESIDUAL, VERIFY, BLOCK, OVERVIEW = range(6)
    REGION = 7


class Ancillary(IntEnum):
    """Kinds of chunks that a reader may skip. It keeps them when it writes the file again."""

    META, THUMB, PROVENANCE, QUALITY, DETAILS = range(5)


_ROLES: dict[tuple[bool, int], ChunkKind | Ancillary] = {
    (roles is Ancillary, int(role)): role for roles in (ChunkKind, Ancillary) for role in roles
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk with its payload, which :meth:`checked` compares with its checksum.

    Attributes
    ----------
    kind : number of the kind; may be unknown if ``ancillary``.
    ancillary : whether a reader may skip the chunk.
    level : level of the octree that a WEIGHTS chunk belongs to, or what other kinds use the number for.
    n_nodes : networks in a WEIGHTS chunk.
    payload : bytes as they are in the file, not checked.
    crc : CRC-32 as it is in the file.
    """

    kind: int
    ancillary: bool
    level: int
    n_nodes: int
    payload: bytes = field(repr=False)
    crc: int

    @classmethod
    def of(cls, role: ChunkKind | Ancillary, payload: bytes, level: int = 0, n_nodes: int = 0) -> Chunk:
        """Make a chunk, with the CRC-32 of its payload."""
        return cls(int(role), isinstance(role, Ancillary), level, n_nodes, payload, zlib.crc32(payload))

    @property
    def length(self) -> int:
        """Bytes of the payload."""
        return len(self.payload)

    @property
    def role(self) -> ChunkKind | Ancillary | None:
        """Kind of the chunk; None if this version does not know it."""
        return _ROLES.get((self.ancillary, self.kind))

    def checked(self) -> bytes:
        """Return the payload after a comparison with its CRC-32. TincError if they differ."""
        computed = zlib.crc32(self.payload)
        if computed != self.crc:
            name = self.role.name if self.role is not None else f"unknown ({self.kind})"
            raise TincError(f"{name} chunk of level {self.level}: CRC-32 is {computed:08x}, expected {self.crc:08x}")
        return self.payload


def verify(chunks: Iterable[Chunk]) -> None:
    """Compare every chunk with its CRC-32. TincError names the first that differs."""
    for chunk in chunks:
        chunk.checked()


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """A row of the table of chunks.

    Attributes
    ----------
    code : byte that has kind and level.
    n_nodes : networks in a WEIGHTS chunk.
    start, length : first byte of the payload in the file, and its number of bytes.
    crc : CRC-32 of the payload.
    """

    code: int
    n_nodes: int
    start: int
    length: int
    crc: int

    @property
    def kind(self) -> int:
        """Number of the kind, 0 to 7."""
        return self.code >> 4 & 7

    @property
    def level(self) -> int:
        """Level of the octree, 0 to 15."""
        return self.code & 15

    @property
    def role(self) -> ChunkKind | Ancillary | None:
        """Kind of the chunk; None if this version does not know it."""
        return _ROLES.get((self.code >= 128, self.kind))

    def chunk(self, payload: bytes) -> Chunk:
        """Make the chunk of this row from its payload."""
        return Chunk(self.kind, self.code >= 128, self.level, self.n_nodes, payload, self.crc)


class ChunkTable(Sequence[ChunkEntry]):
    """The rows of a table of chunks, as columns. A row becomes an object when it is read: a small file may have 65,536.

    Attributes
    ----------
    code : uint8 (n,).
    n_nodes, length, crc : uint32 (n,).
    start, stop : first byte of every payload, and one past its last, uint32 (n,).
    """

    def __init__(self, code: NDArray[np.uint8], n_nodes: NDArray[np.uint32], start: NDArray[np.uint32],
                 length: NDArray[np.uint32], crc: NDArray[np.uint32]) -> None:  # fmt: skip
        self.code, self.n_nodes, self.start, self.length, self.crc = code, n_nodes, start, length, crc

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.code)

    def __iter__(self) -> Iterator[ChunkEntry]:
        """Iterate over the rows, as :class:`ChunkEntry`."""
        columns = (self.code, self.n_nodes, self.start, self.length, self.crc)
        return map(ChunkEntry, *(column.tolist() for column in columns))

    @overload
    def __getitem__(self, index: int) -> ChunkEntry: ...
    @overload
    def __getitem__(self, index: slice | NDArray[Any]) -> ChunkTable: ...
    def __getitem__(self, index: int | slice | NDArray[Any]) -> ChunkEntry | ChunkTable:
        columns: tuple[NDArray[Any], ...] = (self.code, self.n_nodes, self.start, self.length, self.crc)
        if isinstance(index, int | np.integer):
            return ChunkEntry(*(int(column[index]) for column in columns))
        return ChunkTable(*(column[index] for column in columns))

    @property
    def stop(self) -> NDArray[np.uint32]:
        """One past the last byte of every payload, uint32 (n,)."""
        return self.start + self.length

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Keep only the chosen rows. One column at a time, since a table may be most of what a file takes in memory."""
        for name in ("code", "n_nodes", "start", "length", "crc"):
            setattr(self, name, getattr(self, name)[rows])


def read_table(cursor: FieldReader, known: Iterable[ChunkKind]) -> ChunkTable:
    """Read the table of chunks, up to the end of the head.

    TincError for a critical chunk of a kind that is not ``known``.
    """
    known = list(known)
    codes, n_nodes, lengths, crcs = bytearray(), array("I"), array("I"), array("I")
    for _ in range(cursor.varint("number of chunks", 1, MAX_CHUNKS)):
        code = cursor.unsigned("chunk type", 1, 255)
        codes.append(code)
        n_nodes.append(cursor.varint("nodes of a chunk", 0, MAX_CHUNK_NODES))
        lengths.append(cursor.varint("length of a chunk", 0, MAX_FILE))
        crcs.append(cursor.unsigned("CRC-32 of a chunk", 4, 2**32 - 1))
        kind = code >> 4 & 7
        if code < 128 and kind not in known:
            name = ChunkKind(kind).name if kind in list(ChunkKind) else f"number {kind}"
            raise TincError(f"needs the chunk kind {name}; this version of napari-tinc cannot read it")
        if code >> 4 == 8 | Ancillary.META:
            check_range("length of META", lengths[-1], 0, MAX_META)
    cursor.end()
    length = np.frombuffer(lengths, np.uint32)
    first = PREFIX.size + len(cursor.data)
    check_range("file size by the lengths of chunks", first + int(length.sum(dtype=np.int64)), first, MAX_FILE)
    start = np.empty(len(length), np.uint32)
    start[0] = first
    np.cumsum(length[:-1], out=start[1:])
    start[1:] += start[0]
    return ChunkTable(
        np.frombuffer(codes, np.uint8), np.frombuffer(n_nodes, np.uint32), start, length,
        np.frombuffer(crcs, np.uint32),
    )  # fmt: skip


def pack_entry(chunk: Chunk) -> bytes:
    """Build a chunk's row of the table."""
    code = chunk.ancillary << 7 | chunk.kind << 4 | chunk.level
    return (
        struct.pack("<B", code)
        + pack_varint(chunk.n_nodes)
        + pack_varint(len(chunk.payload))
        + struct.pack("<I", chunk.crc)
    )
