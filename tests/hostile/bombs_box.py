"""Boxes within a bound at and past their limits; all checksums right."""

from __future__ import annotations

import lzma
import math
import struct
from typing import Any

import numpy as np
from bombs import Case, Cases, box

from napari_tinc.bounded import entropy, interpolation, labels, quantization
from napari_tinc.bounded.entropy import STEEP, Tables, Writer
from napari_tinc.bounded.quantization import HEAD


def head(**changes: Any) -> bytes:
    """The HEAD of a residual: ordered, 0 to 200."""
    fields: dict[str, Any] = {
        "kind": 1, "taper": 0, "shift": 0, "low": 0, "lowest": 0, "high": 200, "bound": 0, "step": 0.0, "table": 0,
        "low_bits": 0, "corrections": 0,
    } | changes  # fmt: skip
    if not isinstance(fields["lowest"], bytes):
        code = "<q" if isinstance(fields["lowest"], int) else "<d"
        fields["lowest"] = struct.pack(code, fields["lowest"])
    return HEAD.pack(*fields.values())


def words(high: int = 200, first: int = 7, bound: int = 0) -> bytes:
    """A box of one value, 4 x 5 x 6."""
    return interpolation.encode_integers(np.full((4, 5, 6), first), high, bound)[0]


def residuals() -> Cases:
    """Boxes without networks: heads, parts, streams."""
    body = words()

    def of(data: bytes, message: str | None = None, dtype: str = "u1") -> Case:
        return Case(box(data, dtype=dtype), None if message is None else f"residual: .*{message}", decode=True)

    yield "good", of(head() + body)
    yield "empty", of(b"", "residual is 0 bytes, expected 2 for a constant box")
    for kind in (5, 7, 255):
        yield (
            f"kind {kind}",
            of(bytes([kind]) + head()[1:] + body, f"kind of residual is {kind}, expected 1, or 2 for floats"),
        )
    yield "grid of integers", of(head(kind=2, step=1.0) + body, "kind of residual is 2, expected 1")
    yield "repeats of integers", of(b"\x03" + head()[1:] + body, "kind of residual is 3, expected 1")
    yield "labels of floats", Case(box(b"\x04" + body, dtype="f4"), "residual: ", decode=True)
    for size in (0, 2, 100):
        yield f"constant {size}", of(bytes(1 + size), f"residual is {1 + size} bytes, expected 2 for a constant")
    yield "short head", of(head()[:-1], "residual is 47 bytes, expected 48 or more")
    for taper in (1, 2, 3, 4):
        yield f"taper {taper}", of(head(taper=taper) + body)
    for taper in (5, 255):
        yield (
            f"taper {taper}",
            of(head(taper=taper) + body, f"taper are 200, 0, {taper}, expected a bound within a range"),
        )
    for high in (0, 2**36, 2**63, 2**64 - 1):
        yield f"high {high}", of(head(high=high) + body, f"range, bound and taper are {high}, 0, 0, expected")
    yield "high 255", of(head(high=255) + words(255))
    yield "high 256", of(head(high=256) + words(256), "ranks are 0 to 256, expected those of uint8")
    yield "high 2^36 - 1", of(head(high=2**36 - 1) + body, "ranks are 0 to 68719476735, expected those of uint8")
    yield "bound 200", of(head(bound=200) + words(bound=200))
    for bound in (201, 2**36, 2**64 - 1):
        yield (
            f"bound {bound}",
            of(head(bound=bound) + body, f"range, bound and taper are 200, {bound}, 0, expected a bound"),
        )
    for value in (1.0, -1.0, math.nan, math.inf):
        yield f"step {value} of ordered", of(head(step=value) + body, "grid is 0, .*, expected finite numbers")
    for value in (0.0, -1.0, math.nan, math.inf):
        yield (
            f"step {value} of grid",
            of(head(kind=2, lowest=0.0, step=value) + body, "grid is 0.0, .*, expected finite", "f4"),
        )
    for value in (math.nan, math.inf, -math.inf):
        yield (
            f"lowest {value}",
            of(head(kind=2, lowest=value, step=1.0) + body, "grid is .*, 1.0, expected finite", "f4"),
        )
    for value in (1e308, -1e308, 1.7e308, 5e-324):
        yield f"lowest {value}", of(head(kind=2, lowest=value, step=1e308) + body, None, "f8")
    for lowest, good in ((0, True), (55, True), (56, False), (-1, False), (-(2**63), False), (2**63 - 1, False)):
        yield (
            f"ranks from {lowest}",
            of(head(lowest=lowest) + body, None if good else f"ranks are {lowest} to .*, expected those of uint8"),
        )
    for dtype in ("f2", "f4", "f8"):
        bits = 8 * int(dtype[1])
        for shift, good in ((bits - 9, True), (bits, False), (255, False)):
            data = head(shift=shift, high=100) + words(100)
            yield (
                f"shift {shift} of {dtype}",
                of(data, None if good else f"bits shifted out and low bits are {shift}, 0, expected those", dtype),
            )
        yield (
            f"ranks of {dtype}",
            of(head(lowest=2 ** (bits - 1) - 200) + body, "ranks are .*, expected those of float", dtype),
        )
    for dtype, low in (("u1", 1), ("u4", 1), ("f4", 1), ("f8", 29)):
        yield (
            f"low {low} of {dtype}",
            of(head(low=low) + body, f"bits shifted out and low bits are 0, {low}, expected those of", dtype),
        )
    for room in (9, 10):  # ranks of 200 * 2^20 and some more
        low_bits = quantization._pack_low_bits(np.full((4, 5, 6), 10), 20)
        data = head(low=20, low_bits=len(low_bits), lowest=2**63 - 1 - room - (200 << 20)) + low_bits + words(first=200)
        message = None if room == 10 else "low bits of the highest rank are 10, expected at most 9 of float64"
        yield f"low bits past the largest rank but {room}", of(data, message, "f8")
    yield (
        "shift of integers",
        of(head(shift=1) + body, "bits shifted out and low bits are 1, 0, expected those of uint8"),
    )
    yield "shift of a grid", of(head(kind=2, lowest=0.0, step=1.0, shift=1) + body, "expected none of a grid", "f4")
    for part in ("table", "low_bits", "corrections"):
        for size in (len(body) + 1, 2**31, 2**32 - 1):
            yield (
                f"{part} of {size}",
                of(head(**{part: size}) + body, "parts of the residual end at byte .*, expected at most"),
            )
    yield "low bits without", of(head(low_bits=4) + body, "parts of the residual end at byte")
    place, value = struct.pack("<I", 3), b"\x09"
    yield "a correction", of(head(corrections=1) + place + value + body)
    yield "corrections of all", of(head(corrections=120) + np.arange(120, dtype="<u4").tobytes() + b"\x08" * 120 + body)
    for places in ((120,), (2**32 - 1,), (3, 3), (4, 3), (0, 1, 120)):
        data = head(corrections=len(places)) + np.array(places, "<u4").tobytes() + value * len(places) + body
        yield f"corrections at {places}", of(data, "positions of corrections are not ascending below 120")
    yield (
        "idle correction",
        of(head(corrections=1) + place + b"\x07" + body, "corrections of the residual leave voxels as they are"),
    )
    for name, data, message in (
        ("no words", b"", "."), ("odd words", body + b"\x01", "expected a multiple of 4"),
        ("a word more", body + b"\x01\0\0\0", "."), ("a zero word", body + bytes(4), "."),
        ("random", np.random.default_rng(1).bytes(400), "."),
    ):  # fmt: skip
        yield name, of(head() + data, message)
    for first in (-1, 201, 2**35):
        yield (
            f"first voxel {first}",
            of(head() + stream(([first], entropy.FLAT)), f"first voxel is {first}, expected 0 to 200"),
        )
    for background in (-2, 201):
        data = stream(([0], entropy.FLAT), ([background], entropy.FLAT))
        yield f"background {background}", of(head() + data, f"background is {background}, expected -1 to 200")
    for count in (-1, 201, 2**30):
        data = stream(([0], entropy.FLAT), ([-1], entropy.FLAT), ([count], STEEP))
        yield f"{count} tables", of(head() + data, f"number of tables is {count}, expected 0 to 200")
    for runs, message in (
        ([[0]], "classes of a table is 0, expected 1 to 200"),
        ([[201]], "classes of a table is 201, expected 1 to 200"),
        ([[200, 1], [1]], "classes of a table is 1, expected 1 to 0"),
        ([[1, 0]], "tokens of a table is 0, expected 1 to"),
        ([[1, 160]], "tokens of a table is 160, expected 1 to"),
    ):  # fmt: skip
        flat = [(run[i : i + 1], STEEP) for run in runs for i in range(len(run))]
        data = stream(([0], entropy.FLAT), ([-1], entropy.FLAT), ([len(runs)], STEEP), *flat)
        yield f"tables {runs}", of(head() + data, message)
    for cost in (-1, 128, 2**20):
        data = stream(
            ([0], entropy.FLAT), ([-1], entropy.FLAT), ([1], STEEP), ([9], STEEP), ([2], STEEP), ([cost, 0], STEEP)
        )
        yield f"cost {cost}", of(head() + data, "costs of tokens are .*, expected 0 to 127")
    data = stream(([0], entropy.FLAT), ([-1], entropy.FLAT), ([0], STEEP))
    yield "no tables", of(head() + data, "class of a voxel is .*, expected one below 0")
    yield from boxes()
    yield from rank_tables()
    yield from xz()
    yield from names()


def stream(*runs: tuple[list[int], Any]) -> bytes:
    writer = Writer()
    for integers, law in runs:
        writer.integers(integers, law)
    return writer.to_bytes()


def boxes() -> Cases:
    """Of a few bytes, and as large as they may be."""
    empty = stream(([0], entropy.FLAT), ([-1], entropy.FLAT), ([1], STEEP), ([200], STEEP), ([1], STEEP))
    for shape, dtype in (
        ((4096, 1, 1), "f8"),
        ((1, 1024, 4096), "f8"),
        ((128, 128, 256), "u1"),
        ((4096, 1024, 1), "u2"),
    ):
        data = bytes(1 + int(dtype[1]))
        size = math.prod(shape)
        yield f"constant {shape}", Case(box(data, shape, dtype, np.zeros(size, dtype)), decode=True)
    for shape in (
        (4097, 1, 1),
        (1, 4097, 1),
        (1, 1, 2**24),
        (2**22 + 1, 1, 1),
        (2048, 2049, 1),
        (2**13, 2**13, 2**13),
        (129, 128, 257),
    ):
        yield (
            f"box {shape}",
            Case(
                box(b"\0\0", shape, "u1", np.zeros(1)),
                rf"residual: shape is .*, expected three axes of 1 to 4096, and at most {2**22}",
                decode=True,
            ),
        )
    yield "a box of nothing", Case(box(head(high=1) + empty, (32, 32, 32), "u1"), decode=True)
    for length in (4096, 4097):
        good = length == 4096
        values = np.zeros(length, "u1")
        message = None if good else "residual: shape is"
        yield f"a line of {length}", Case(box(head(high=1) + empty, (1, 1, length), "u1", values), message, decode=True)


def rank_tables() -> Cases:
    """Lists of the ranks that occur."""
    box_ = words(3, 2)

    def table(gaps: list[int], n: int | None = None) -> bytes:
        writer = Writer()
        found = entropy.tokens_of(np.array(gaps))[0]
        laws = Tables.of([(np.zeros(len(found), np.uint8), found)])
        laws.write(writer)
        writer.integers(gaps, entropy.categorical(laws.costs[0] if len(laws.costs[0]) > 1 else [0, 0]))
        return writer.to_bytes()

    def case(gaps: list[int], message: str | None, **changes: Any) -> Case:
        data = table(gaps)
        return Case(
            box(head(table=len(data), high=3, **changes) + data + box_),
            message and f"residual: .*{message}",
            decode=True,
        )

    yield "table", case([1, 20, 30], None)
    for gaps in ([1, 0, 2], [1, -1, 2], [5, -5, 5]):
        yield f"table {gaps}", case(gaps, "table of integers does not ascend within the range")
    yield "table past the dtype", case([1, 200, 99], "ranks are 0 to 300, expected those of uint8")
    yield "table past 2^36", case([1, 2**35, 2**35], "table of integers does not ascend within the range")
    yield "table with a bound", case([1, 20, 30], "table of 4 integers for 120 voxels, expected fewer", bound=1)
    data = table([1] * 30)
    for high in (120, 2**31):
        yield (
            f"table of {high}",
            Case(
                box(head(table=len(data), high=high) + data + box_),
                f"residual: .*table of {high + 1} integers for 120 voxels",
                decode=True,
            ),
        )
    yield "table that is none", Case(box(head(table=4, high=3) + b"\x01\0\0\0" + box_), "residual: ", decode=True)


def xz() -> Cases:
    """Kind 3 with streams that are too long, too short, hungry."""
    values = np.zeros((4, 5, 6), "f4")
    raw = values.tobytes()

    def case(data: bytes, message: str | None) -> Case:
        return Case(box(b"\x03" + data, dtype="f4", values=values), message and f"residual: .*{message}", decode=True)

    good = lzma.compress(raw, preset=4)
    yield "xz", case(good, None)
    yield "xz of 8 MiB", case(lzma.compress(raw, preset=6), "no .xz stream: Memory usage limit exceeded")
    yield "xz of 64 MiB", case(lzma.compress(raw, preset=9), "no .xz stream: Memory usage limit exceeded")
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**29}]
    yield "xz of 512 MiB", case(lzma.compress(raw, filters=filters), "no .xz stream: Memory usage limit exceeded")
    yield "xz one byte more", case(lzma.compress(raw + b"\0", preset=4), "holds 481 bytes, expected exactly 480")
    yield "xz one byte less", case(lzma.compress(raw[1:], preset=4), "holds 479 bytes, expected exactly 480")
    yield "xz of a gigabyte", case(lzma.compress(bytes(2**24), preset=4), "holds 481 bytes, expected exactly 480")
    yield "xz of nothing", case(lzma.compress(b"", preset=4), "holds 0 bytes, expected exactly 480")
    yield "two xz", case(good + good, "expected exactly 480")
    yield "xz and zeros", case(good + bytes(4), "expected exactly 480")
    yield "xz cut off", case(good[:-1], "expected exactly 480")
    yield "xz damaged", case(good[:30] + b"\xff" + good[31:], "no .xz stream|expected exactly")
    yield "lzma alone", case(lzma.compress(raw, format=lzma.FORMAT_ALONE), "no .xz stream")
    yield "no xz", case(b"", "expected exactly 480")


def names() -> Cases:
    """Kind 4: labels."""
    values = np.arange(120, dtype="u1").reshape(4, 5, 6) // 40

    def case(data: bytes, message: str | None) -> Case:
        return Case(box(b"\x04" + data), message and f"residual: .*{message}", decode=True)

    good = labels.encode_labels(np.arange(3, dtype="u1"), values.astype(np.intp))
    yield "labels", case(good, None)
    for count in (0, -1, 121, 257, 2**30):
        yield (
            f"{count} labels",
            case(stream(([count], entropy.FLAT)), f"number of labels is {count}, expected 1 to 120"),
        )
    for gaps in ([256], [0, 255], [100, 100, 100], [255, 0]):
        data = stream(([len(gaps)], entropy.FLAT), (gaps, entropy.MEDIUM))
        yield f"labels {gaps}", case(data, "labels do not ascend within uint8")
    for gap in (-1, 2**32, 2**35):
        data = stream(([1], entropy.FLAT), ([gap], entropy.MEDIUM))
        yield f"gap {gap}", case(data, "half of a gap between labels is .*, expected 32 bits")
    for number in (3,):
        writer = Writer()
        writer.integers([3], entropy.FLAT)
        writer.integers([0, 0, 0], entropy.MEDIUM)
        writer.bits(np.array([number]), 2)
        yield f"number {number} of 3", case(writer.to_bytes(), "number of a label is 3, expected one below 3")
    yield "labels and a word", case(good + b"\x01\0\0\0", ".")
    yield "labels, odd", case(good + b"\x01", "expected a multiple of 4")
    yield "labels cut off", case(good[:-4], ".")
