"""What hostile files are built with: heads, blocks and boxes of any fields, all checksums right."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from fields import File, Row, uv

from napari_tinc.bounded import box as bounded_box
from napari_tinc.differences import checksum
from napari_tinc.format.limits import DTYPES


def f8(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def f4(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def one(rows: list[Row] | None = None, **changes: bytes) -> bytes:
    """A file of one tree, 9 nodes of width 2, float16; what its chunks hold is never looked at."""
    fields = {
        "flags": b"\x0f", "dtype": b"\x02", "z": b"\x1e", "y": b"\x1e", "x": b"\x28", "low": bytes(2),
        "high": b"\xff\xff", "mean": bytes(2), "std": bytes(2), "spacing": f8(1, 1, 1), "unit length": b"\x02",
        "unit": b"mm", "origin": f8(0, 0, 0), "bound": f8(0), "affine": f4(*range(12)), "layers": b"\x02",
        "omega0": f4(1), "form": b"\x00", "calibration": b"\x00", "nodes": b"\x09", "split": b"\x01\x00",
        "widths": b"\x00\x02\x02",
    }  # fmt: skip
    given = {name.replace("_", " "): value for name, value in changes.items()}
    assert given.keys() <= fields.keys()
    return File(0x10, 0, fields | given, rows or [Row(0, 0, b""), Row(0x10, 1, b"ab"), Row(0x11, 8, b"cde")]).build()


def split_bits(split: Any) -> bytes:
    return np.packbits(np.asarray(split, np.uint8), bitorder="little").tobytes()


def rooted(shape: tuple[int, ...], split: Any, rows: list[Row] | None = None, **changes: bytes) -> bytes:
    """One network at the root of any tree, which all leaves share."""
    z, y, x = map(uv, shape)
    n_leaves = int((~np.asarray(split, bool)).sum())
    widths = b"\x00\x01" + (b"\x00" if len(split) > 1 else b"")
    flags = bytes((n_leaves + 7) // 8) if len(split) > 1 else b""
    facts = {"z": z, "y": y, "x": x, "nodes": uv(len(split)), "split": split_bits(split), "widths": widths + flags}
    return one(rows or [Row(0, 0, b""), Row(0x10, 1, b"")], **(facts | changes))


def chain(depth: int, children: int = 8) -> list[bool]:
    """Splits of a path down one child."""
    return [bool(depth)] + ([True] + [False] * (children - 1)) * (depth - 1) + [False] * (children if depth else 0)


def many(n: int, shape: tuple[int, int, int] = (512, 512, 512)) -> list[bool]:
    """Splits of a tree of n nodes, which is 1 more than a multiple of 8."""
    split = np.zeros(n, bool)
    split[: (n - 1) // 8] = True
    return split.tolist()


def blocks(
    shape: tuple[int, ...] = (4, 5, 6), rows: list[Row] | None = None, *, dtype: int = 0, features: int = 17,
    leading: bytes = b"\x00", nodes: bytes = b"\x01", split: bytes = b"\x00", edge: bytes = b"\x00",
    low: bytes | None = None, high: bytes | None = None,
) -> bytes:  # fmt: skip
    """A file of blocks; by default of one constant residual."""
    size = int(DTYPES[dtype][1])
    z, y, x = map(uv, shape)
    fields = {
        "flags": b"\x00", "dtype": bytes([dtype]), "z": z, "y": y, "x": x, "low": low or bytes(size),
        "high": high or bytes(size), "leading": leading, "nodes": nodes, "split": split, "edge": edge,
    }  # fmt: skip
    return File(0x10, features, fields, [CONSTANT, VERIFY] if rows is None else rows).build()


CONSTANT, VERIFY = Row(0x41, 0, b"\x00\x00"), Row(0x30, 0, bytes(4))


def box(
    data: bytes, shape: tuple[int, ...] = (4, 5, 6), dtype: str = "u1", values: np.ndarray | None = None
) -> bytes:  # fmt: skip
    """A file of one residual; its CRC-32 is that of ``values``, or whatever the residual decodes to."""
    if values is None:
        try:
            values = bounded_box.decode_box(data, shape, dtype)
        except ValueError:
            values = np.zeros(1)
    rows = [Row(0x41, 0, data), Row(0x30, 0, struct.pack("<I", checksum(values)))]
    return blocks(shape, rows, dtype=DTYPES.index(dtype))


@dataclass(frozen=True)
class Case:
    """``message`` is None where it is to be accepted. ``decode`` it, or only open it."""

    data: bytes | Callable[[], bytes]
    message: str | None = None
    decode: bool = False


Cases = Iterator[tuple[str, Case]]
