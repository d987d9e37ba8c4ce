"""Payloads at and past their limits: networks, files inside of files, texts; all checksums right."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from bombs import Case, Cases, blocks, f4, f8, rooted, split_bits
from fields import Row, uv

from napari_tinc.octree import Octree


def model(form: int, kind: int, payload: bytes, values: bytes, **changes: bytes) -> bytes:
    """A network of width 1, one layer: 4 weights of position, head and its bias."""
    rows = [Row(0, 0, payload), Row(0x10, 1, values)]
    return rooted((4, 4, 4), [False], rows, form=bytes([form]), calibration=bytes([kind]), layers=b"\x01", **changes)


def step(value: float) -> bytes:
    return f4(value)[2:]


def payloads() -> Cases:
    """What MODEL and WEIGHTS hold."""
    decode = {"decode": True}
    half = np.zeros(6, "<f2").tobytes()
    yield "float16", Case(model(0, 0, b"", half), **decode)
    for values in (half[:-1], half + b"\0", b""):
        yield (
            f"float16 {len(values)}",
            Case(model(0, 0, b"", values), f"payload is {len(values)} bytes, expected 12", **decode),
        )
    for value in (np.inf, np.nan, -np.inf):
        values = np.array([0, 0, 0, value, 0, 0], "<f2").tobytes()
        yield (
            f"float16 {value}",
            Case(
                model(0, 0, b"", values), "a weight, gain, offset or scalar is .*, expected at most 1048576", **decode
            ),
        )
    for value, good in ((2.0**20, True), (2.0**20 + 1, False), (math.inf, False), (math.nan, False), (-3e38, False)):
        for place in (0, 1):
            pair = [1.0, 0.0]
            pair[place] = value
            message = None if good else "a weight, gain, offset or scalar is .*, expected at most 1048576"
            yield f"calibration {place} {value}", Case(model(0, 1, f4(*pair), half), message, **decode)
    three = step(1) * 3
    yield "int8", Case(model(1, 0, three, bytes([128, 127, 1, 2, 3, 4])), **decode)
    for value in (0.0, -1.0, math.inf, math.nan):
        yield (
            f"step {value}",
            Case(model(1, 0, step(value) + step(1) * 2, bytes(6)), "a rounding step that is not a positive", **decode),
        )
    yield "steps to 2^20", Case(model(1, 0, step(2**13) * 3, bytes([128] * 6)), **decode)
    yield (
        "steps past 2^20",
        Case(model(1, 0, step(2**14) * 3, bytes([128] * 6)), "scalar is 2097152.0, expected at most", **decode),
    )
    yield (
        "largest step",
        Case(model(1, 0, b"\x7f\x7f" * 3, bytes([127] * 6)), "scalar is inf, expected at most", **decode),
    )
    for size in (0, 5, 7, 100):
        yield (
            f"MODEL of {size}",
            Case(
                model(1, 0, bytes(size) if size < 6 else step(1) * 3 + bytes(size - 6), bytes(6)),
                f"MODEL chunk is {size} bytes, expected at least 6" if size < 6 else "of scalars, expected none",
                **decode,
            ),
        )
    entry = struct.pack("<2sHH", step(1), 1000, 0)
    quiet, signalling = b"\x00\x7e", b"\x00\x7d"
    for nan in (quiet, signalling):
        yield f"float16 NaN {nan!r}", Case(model(0, 0, b"", nan * 6), "scalar is nan, expected at most", **decode)
    for nan in (b"\0\0\xc0\x7f", b"\0\0\xa0\x7f"):
        for pair in (nan + f4(0), f4(1) + nan):
            yield f"calibration {pair!r}", Case(model(0, 1, pair, half), "scalar is nan, expected at most", **decode)
    large = np.full(6, 60000, "<f2").tobytes()
    yield (
        "values past all floats",
        Case(model(0, 1, f4(2**20, 2**20), large, dtype=b"\x08", low=f8(-8e307), high=f8(8e307)), **decode),
    )
    yield "entropy, all 0", Case(model(2, 0, entry * 3, b""), **decode)
    for largest, good in ((32767, True), (32768, False), (65535, False)):
        table = struct.pack("<2sHH", step(1e-4), 65535, largest) * 3
        data = model(2, 0, table, b"")
        message = None if good else f"largest magnitude is {largest}, expected at most 32767"
        yield f"largest {largest}", Case(data, message, **decode)
    yield (
        "entropy, odd bytes",
        Case(model(2, 0, entry * 3, b"\x01\x00\x01"), "data of 3 bytes, expected a multiple of 4", **decode),
    )
    yield "entropy, zero word", Case(model(2, 0, entry * 3, bytes(4)), "end in a zero word", **decode)
    yield "entropy, left over", Case(model(2, 0, entry * 3, b"\x01\0\0\0"), "are not used up", **decode)
    yield "253 groups", Case(grouped(250), **decode)
    yield "groups past 256", Case(grouped(300), "network has more than 256 groups of nodes", **decode)
    yield (
        "tables past 2^22 items",
        Case(grouped(40, largest=32767), "tables of the tensors have .* items, expected at most", **decode),
    )
    yield "pieces past 2^18", Case(pieces, "chunks of .* tensors, expected a product of at most 262144", **decode)


def grouped(n: int, largest: int = 0) -> bytes:
    """A tree of leaves of n widths, of networks that are all 0."""
    tree = Octree.full((64, 64, 64), 3)
    n_nodes = np.bincount(tree.level).tolist()
    above = [1, 8, 64]
    widths = np.resize(np.arange(1, min(n, 256) + 1), n_nodes[3])
    second = np.resize([1, 2], 64) if n > 256 else np.ones(64, int)
    classes = np.unique(np.concatenate([[1], second, widths]))
    bits = (len(classes) - 1).bit_length()
    packed = b""
    for level in (np.ones(1, int), np.ones(8, int), second, widths):
        index = np.searchsorted(classes, level)
        packed += split_bits((index[:, None] >> np.arange(bits) & 1).ravel())
    stored = b"\x01" + uv(len(classes)) + b"".join(map(uv, classes.tolist())) + packed
    groups = len({(int(second[i // 8]), int(w)) for i, w in enumerate(widths)}) + len(set(second.tolist())) + 2
    n_tensors = 2 * groups - 1 + 2 * len({(int(second[i // 8]), int(w)) for i, w in enumerate(widths)})
    table = struct.pack("<2sHH", step(1), 1000, largest) * n_tensors
    padding = Row(0xF0, 0, bytes(6 * len(widths) * int(widths.max()) // 64))
    rows = [Row(0, 0, table), *(Row(0x10 | level, count, b"") for level, count in enumerate([*above[:3], n_nodes[3]]))]
    return rooted((64, 64, 64), tree.split, [*rows, padding], widths=stored, form=b"\x02", layers=b"\x01")


def pieces() -> bytes:
    """Of 4096 networks each in a chunk of its own, 8 layers: 18 tensors."""
    tree = Octree.full((64, 64, 64), 5)
    counts = np.bincount(tree.level).tolist()
    n_tensors = 6 * 2 + 5 + 6 * 2 * 7 + 2
    chunks = [Row(0x10 | level, 1, b"") for level in range(5) for _ in range(counts[level])]
    chunks += [Row(0x15, counts[5], b"")]
    assert len(chunks) * n_tensors > 2**18
    n_weights = sum(counts) * (5 + 7 * 2) + counts[5] * 2
    padding = Row(0xF0, 0, bytes(max(128 * len(chunks), n_weights // 64)))
    rows = [Row(0, 0, bytes(6 * n_tensors)), *chunks, padding]
    return rooted((64, 64, 64), tree.split, rows, widths=b"\x00" + b"\x01" * 6, form=b"\x02", layers=b"\x08")


def inner() -> Cases:
    """Files inside of files."""

    def case(data: bytes, message: str | None, shape: tuple[int, int, int] = (4, 4, 4), **changes: Any) -> Case:
        return Case(blocks(shape, [Row(0x40, 0, data)], features=16, **changes), message, decode=True)

    tree = model(0, 0, b"", np.zeros(6, "<f2").tobytes())
    of_bytes = model(0, 0, b"", np.zeros(6, "<f2").tobytes(), dtype=b"\x00", low=b"\x00", high=b"\x09")
    yield "a block", case(of_bytes, None)
    yield "a block of another dtype", case(tree, r"a block is \(4, 4, 4\) of uint16, expected \(4, 4, 4\) of uint8")
    yield (
        "a block of another shape",
        case(of_bytes, r"a block is \(4, 4, 4\) of uint8, expected \(4, 4, 5\)", (4, 4, 5)),
    )
    yield "blocks in a block", case(blocks((4, 4, 4)), "has the features .*, expected at most .* of a single tree")
    yield "an empty block", case(b"", "file size is 0, expected 16 to")
    yield "a block cut off", case(of_bytes[:-1], r"file size is \d+, expected \d+")


def texts() -> Cases:
    """META and PROVENANCE: JSON of strangers."""

    def case(text: bytes, message: str | None, role: int = 0x80) -> Case:
        rows = [Row(0, 0, b""), Row(0x10, 1, np.zeros(6, "<f2").tobytes()), Row(role, 0, text)]
        return Case(rooted((4, 4, 4), [False], rows, layers=b"\x01"), message, decode=True)

    for role, name in ((0x80, "META"), (0xA0, "PROVENANCE")):
        for text in (b"", b"{", b"\0", b"\xff", b"[" * 60000, b'{"a":' * 12000, b'{"a":' + b"9" * 60000 + b"}"):
            yield f"{name} {text[:6]!r}", case(text, f"{name} chunk is not JSON: ", role)
        for text, kind in ((b"[]", "list"), (b"1", "int"), (b"null", "NoneType"), (b'"{}"', "str")):
            yield f"{name} {text!r}", case(text, f"{name} chunk holds a JSON {kind}, expected an object", role)
        yield f"{name} unknown", case(b'{"later": [1, {"a": null}]}', None, role)
    for axes in (
        b"1",
        b"null",
        b'"zy"',
        b'"tzyx"',
        b'"zzz"',
        b'"\\u0000yx"',
        b'["z","y","x"]',
        b'"' + b"z" * 60000 + b'"',
    ):
        message = r"META chunk names the axes .{1,80}, expected 3 different letters$"
        yield f"axes {axes[:14]!r}", case(b'{"axes":' + axes + b"}", message)
    for found in (b"1", b"[{}]", b'[{"name":"a"}]', b'[{"name":1}]', b'{"name":"a"}', b"[" + b"{}," * 20000 + b"{}]"):
        message = r"META chunk has the channels .{1,80}, expected 0 objects of texts$"
        yield f"channels {found[:14]!r}", case(b'{"channels":' + found + b"}", message)
    yield "axes", case(b'{"axes":"abc","channels":[]}', None)
