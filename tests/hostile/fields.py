"""A file in its parts, field by field, to be changed and put together again with right lengths and CRCs."""

from __future__ import annotations

import binascii
import struct
import zlib
from dataclasses import dataclass, field

from napari_tinc.format import blocks_file, networks_file
from napari_tinc.format.head import Feature, read_head
from napari_tinc.format.limits import DTYPES

PREFIX = struct.Struct("<4sBBIHI")
MODEL, WEIGHTS, VERIFY, BLOCK, OVERVIEW = 0, 1, 3, 4, 5
META, PROVENANCE, QUALITY = 8, 10, 11
FURTHER = 8  # Bit of the features in the prefix: HEAD begins with more.


def uv(value: int) -> bytes:
    out = b""
    while True:
        value, low = value >> 7, value & 127
        out += bytes([low | (128 if value else 0)])
        if not value:
            return out


@dataclass(slots=True)
class Row:
    """A row of the table, with its payload. ``crc`` is set where it is to be wrong."""

    code: int
    n_nodes: int
    payload: bytes
    crc: int | None = None

    def copy(self) -> Row:
        return Row(self.code, self.n_nodes, self.payload, self.crc)

    @property
    def role(self) -> int:
        return self.code >> 4


@dataclass(slots=True)
class File:
    """A file in its parts. ``features`` are those of the prefix; ``fields`` those of HEAD before the table, by name."""

    version: int
    features: int
    fields: dict[str, bytes]
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def parse(cls, data: bytes) -> File:
        """Of a file that is good."""
        _, version, features, length, _, _ = PREFIX.unpack_from(data)
        head = data[16 : 16 + length]
        if features & Feature.BLOCKS:
            _, layout = blocks_file.parse(*read_head(lambda start, stop: data[start:stop], len(data)), len(data))
            verify = [] if layout.verify is None else [layout.verify]
            entries = sorted(
                [*layout.overviews, *layout.regions, *layout.blocks, *layout.ancillary, *verify], key=lambda e: e.start
            )
            rows = [Row(e.code, e.n_nodes, data[e.start : e.start + e.length], e.crc) for e in entries]
        else:
            _, chunks = networks_file.parse(data)
            rows = [Row(c.ancillary << 7 | c.kind << 4 | c.level, c.n_nodes, c.payload, c.crc) for c in chunks]
        for row in rows:
            row.crc = None if row.crc == zlib.crc32(row.payload) else row.crc
        file = cls(version, features, {}, rows)
        file.fields = _fields(head[: length - len(file.table())], features)
        return file

    def copy(self) -> File:
        return File(self.version, self.features, dict(self.fields), [row.copy() for row in self.rows])

    def table(self) -> bytes:
        out = [uv(len(self.rows))]
        for row in self.rows:
            crc = zlib.crc32(row.payload) if row.crc is None else row.crc
            out.append(bytes([row.code]) + uv(row.n_nodes) + uv(len(row.payload)) + struct.pack("<I", crc))
        return b"".join(out)

    def build(self) -> bytes:
        return sealed(
            b"".join(self.fields.values()) + self.table(), b"".join(row.payload for row in self.rows),
            version=self.version, features=self.features,
        )  # fmt: skip


def sealed(head: bytes, body: bytes = b"", *, version: int = 0x10, features: int = 0) -> bytes:
    """A prefix with right CRCs around any head."""
    start = struct.pack("<4sBBI", b"\x89TNC", version, features, len(head))
    return start + struct.pack("<HI", binascii.crc_hqx(start, 0xFFFF), zlib.crc32(head)) + head + body


def _fields(head: bytes, features: int) -> dict[str, bytes]:
    """HEAD before the table, cut up as the specification says."""
    out: dict[str, bytes] = {}
    at = 0

    def take(name: str, n: int) -> bytes:
        nonlocal at
        out[name] = head[at : at + n]
        at += n
        return out[name]

    def number(name: str) -> int:
        n = 1
        while head[at + n - 1] & 128:
            n += 1
        return sum((byte & 127) << 7 * i for i, byte in enumerate(take(name, n)))

    if features & FURTHER:
        number("further")
    flags = take("flags", 1)[0]
    size = int(DTYPES[take("dtype", 1)[0]][1])
    for axis in "zyx":
        number(axis)
    take("low", size), take("high", size)
    blocks = features & Feature.BLOCKS
    if not blocks:
        take("mean", 2), take("std", 2)
    if flags & 1:
        take("spacing", 24)
        take("unit", number("unit length"))
    for bit, name, n in ((2, "origin", 24), (4, "bound", 8), (8, "affine", 48)):
        if flags & bit:
            take(name, n)
    if blocks:
        for index in range(number("leading")):
            number(f"leading {index}")
    else:
        take("layers", 1), take("omega0", 4), take("form", 1), take("calibration", 1)
    take("split", (number("nodes") + 7) // 8)
    take("edge" if blocks else "widths", len(head) - at)
    return out
