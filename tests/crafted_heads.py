"""A head of a file of one tree, field by field, written from the specification, not with the code under test."""

from __future__ import annotations

import binascii
import struct
import zlib

import numpy as np


def sealed(
    head: bytes, body: bytes = b"", *, magic: bytes = b"\x89TNC", version: int = 0x10, features: int = 0
) -> bytes:
    """A file with a valid prefix around any head."""
    start = struct.pack("<4sBBI", magic, version, features, len(head))
    return start + struct.pack("<HI", binascii.crc_hqx(start, 0xFFFF), zlib.crc32(head)) + head + body


# A head field by field, written from the specification, not with the code under test. 9 nodes of width 2.
FIELDS: dict[str, bytes] = {
    "further": b"",
    "flags": b"\x0f",
    "dtype": b"\x07",  # float32
    "shape": b"\x1e\x1e\x28",
    "range": struct.pack("<ff", -1, 2.5),
    "mean": struct.pack("<H", 65535),
    "std": struct.pack("<H", 13107),  # a fifth
    "spacing": struct.pack("<ddd", 2, 1, 1),
    "unit": b"\x02mm",
    "origin": struct.pack("<ddd", 0, 1, 2),
    "bound": struct.pack("<d", 0.5),
    "affine": struct.pack("<12f", *range(12)),
    "layers": b"\x02",
    "omega0": struct.pack("<f", 25.5),
    "weights": b"\x00",
    "calibration": b"\x01",
    "nodes": b"\x09",
    "split": b"\x01\x00",
    "widths": b"\x00\x02\x02",
    "lattice": b"",
    "chunks": b"\x03",
    "model": b"\x00\x00\x00" + struct.pack("<I", 0),
    "level 0": b"\x10\x01\x02" + struct.pack("<I", zlib.crc32(b"ab")),
    "level 1": b"\x11\x08\x03" + struct.pack("<I", zlib.crc32(b"cde")),
}


def crafted(body: bytes = b"abcde", *, features: int = 0, **fields: bytes) -> bytes:
    """FIELDS with some replaced, CRCs right; underscores stand for spaces."""
    head = b"".join((FIELDS | {k.replace("_", " "): v for k, v in fields.items()}).values())
    return sealed(head, body, features=features)


def doubles(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def singles(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def chain(depth: int) -> bytes:
    """Split flags of a path down one child of a 2^24 cube."""
    flags = [1] + ([1] + [0] * 7) * (depth - 1) + [0] * 8
    return np.packbits(flags, bitorder="little").tobytes()
