"""Chunks of a file, and the table of them."""

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
from .cursor import HeadReader, check_range, pack_varint
from .head import PREFIX
from .limits import MAX_CHUNK_NODES, MAX_CHUNKS, MAX_FILE, MAX_META


class ChunkKind(IntEnum):
    """Chunks a reader must understand. Numbers overlap with :class:`Ancillary`: compare roles with ``is``."""

    MODEL, WEIGHTS, RESIDUAL, VERIFY, BLOCK, OVERVIEW = range(6)


class Ancillary(IntEnum):
    """Chunks a reader may skip, and keeps when it writes the file again."""

    META, THUMB, PROVENANCE, QUALITY = range(4)


_ROLES: dict[tuple[bool, int], ChunkKind | Ancillary] = {
    (roles is Ancillary, int(role)): role for roles in (ChunkKind, Ancillary) for role in roles
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
    def of(cls, role: ChunkKind | Ancillary, payload: bytes, level: int = 0, n_nodes: int = 0) -> Chunk:
        """A new chunk with the CRC of its payload."""
        return cls(int(role), isinstance(role, Ancillary), level, n_nodes, payload, zlib.crc32(payload))

    @property
    def length(self) -> int:
        """Bytes of the payload."""
        return len(self.payload)

    @property
    def role(self) -> ChunkKind | Ancillary | None:
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


@dataclass(frozen=True, slots=True)
class ChunkEntry:
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
    def role(self) -> ChunkKind | Ancillary | None:
        return _ROLES.get((self.code >= 128, self.kind))

    def chunk(self, payload: bytes) -> Chunk:
        return Chunk(self.kind, self.code >= 128, self.level, self.n_nodes, payload, self.crc)


class ChunkTable(Sequence[ChunkEntry]):
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

    def __iter__(self) -> Iterator[ChunkEntry]:
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
        return self.start + self.length

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Drop the others; column by column, as a table may be nearly all that a file is."""
        for name in ("code", "n_nodes", "start", "length", "crc"):
            setattr(self, name, getattr(self, name)[rows])


def read_table(cursor: HeadReader, known: Iterable[ChunkKind]) -> ChunkTable:
    """The rows of the table, up to the end of the head; critical chunks only of kinds that are ``known``."""
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
    first = PREFIX.size + len(cursor.head)
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
    """A chunk's row of the table."""
    code = chunk.ancillary << 7 | chunk.kind << 4 | chunk.level
    return (
        struct.pack("<B", code)
        + pack_varint(chunk.n_nodes)
        + pack_varint(len(chunk.payload))
        + struct.pack("<I", chunk.crc)
    )
