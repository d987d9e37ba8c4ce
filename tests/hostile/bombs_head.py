"""Files at and past the limits of the head, all checksums right."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import numpy as np
from bombs import CONSTANT, VERIFY, Case, Cases, blocks, chain, f4, f8, many, one, rooted, split_bits
from fields import Row, sealed, uv

from napari_tinc.format.limits import DTYPES
from napari_tinc.octree import Octree

MOST = 2**49 - 1  # in 7 bytes


def numbers() -> Cases:
    """Numbers of the head: at the limit, past it, as large as can be, in more bytes than needed, without end."""
    big = b"\x81\x80\x04"  # 2^16 + 1
    fields: dict[str, tuple[Callable[[bytes], bytes], str, int, int]] = {
        "z": (lambda v: rooted((1, 1, 1), [False], z=v), "axis", 1, 2**24),
        "y": (lambda v: rooted((1, 1, 1), [False], y=v), "axis", 1, 2**24),
        "x": (lambda v: rooted((1, 1, 1), [False], x=v), "axis", 1, 2**24),
        "leading axis": (lambda v: blocks(leading=b"\x01" + v, features=21), "leading axis", 1, 1),
        "edge": (lambda v: blocks(edge=v), "edge of the overview", 0, 2**16),
        "width": (lambda v: one(widths=b"\x00\x02" + v), "width", 1, 256),
    }
    for name, (make, called, low, high) in fields.items():
        if name not in ("edge", "leading axis"):
            yield f"{name} {low}", Case(make(uv(low)))
        if name in "zyx":
            yield f"{name} {high}", Case(make(uv(high)))
        if name != "leading axis":
            yield f"{name} {high + 1}", Case(make(uv(high + 1)), f"{called} is {high + 1}, expected [01] to {high}")
        yield f"{name} {MOST}", Case(make(uv(MOST)), f"{called} is {MOST}, expected")
        yield f"{name} long", Case(make(b"\x81\x00"), f"{called}: 1 is stored in 2 bytes, expected the fewest")
        yield f"{name} endless", Case(make(b"\xff" * 8), f"{called}: number is longer than 7 bytes")
    yield (
        "edge 65536",
        Case(blocks((1, 1, 1), [Row(0x51, 0, b"\0\0"), CONSTANT, Row(0x30, 0, bytes(8))], edge=uv(2**16))),
    )
    yield "voxels 2^40", Case(rooted((2**24, 2**16, 1), [False]))
    yield "voxels past", Case(rooted((2**24, 2**16, 2), [False]), f"number of voxels is {2**41}, expected 1 to {2**40}")
    yield "voxels 2^72", Case(rooted((2**24,) * 3, [False]), f"number of voxels is {2**72}, expected 1 to {2**40}")
    for axis in "zyx":
        yield f"{axis} 0", Case(rooted((1, 1, 1), [False], **{axis: b"\0"}), "axis is 0, expected 1 to 16777216")
    bytes_ = {"flags": 15, "dtype": 8, "layers": 8, "form": 3, "calibration": 2}
    called = {"form": "weights format"}
    for name, most in bytes_.items():
        for value in {most + 1, 2 * most + 2, 128, 255}:
            # Facts and values of the range follow from flags and dtype, so these are refused before they are read.
            yield (
                f"{name} {value}",
                Case(one(**{name: bytes([value])}), f"{called.get(name, name)} is {value}, expected"),
            )
    for value in (1, 8):
        yield f"layers {value}", Case(one(layers=bytes([value])))
    yield "layers 0", Case(one(layers=b"\0"), "layers is 0, expected 1 to 8")
    for form, kind in [(form, kind) for form in range(3) for kind in range(3)]:
        yield f"form {form} {kind}", Case(one(form=bytes([form]), calibration=bytes([kind])))
    yield "unit 32", Case(one(unit_length=b"\x20", unit=b"m" * 32))
    yield "unit 33", Case(one(unit_length=b"\x21", unit=b"m" * 33), "unit length is 33, expected 0 to 32")
    yield "unit 2^49", Case(one(unit_length=uv(MOST)), f"unit length is {MOST}, expected 0 to 32")
    for unit in (b"\xff\xff", b"a\n", b"\x1b[", b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x80\xae"):
        data = one(unit_length=bytes([len(unit)]), unit=unit)
        yield f"unit {unit!r}", Case(data, r"unit is b'.*', expected printable UTF-8")
    yield "width form", Case(one(widths=b"\x02"), "width form is 2, expected 0 to 1")
    for value, low in ((0, 2), (1, 2), (258, 2), (MOST, 2)):
        yield (
            f"width classes {value}",
            Case(one(widths=b"\x01" + uv(value)), f"width classes is {value}, expected {low} to 257"),
        )
    yield "root without network", Case(one(widths=b"\x00\x00\x00"), "width of the root is 0, expected 1 to 256")
    yield "chunks 0", Case(sealed(one()[16:-5][: -3 * 7 - 1] + b"\0"), "number of chunks is 0, expected 1 to 65536")
    for count in (65537, 2**20, MOST):
        data = sealed(one()[16:-5][: -3 * 7 - 1] + uv(count))
        yield f"chunks {count}", Case(data, f"number of chunks is {count}, expected 1 to 65536")
    yield "chunks 65536 declared", Case(sealed(one()[16:-5][: -3 * 7 - 1] + uv(65536)), "chunk type: head is .* bytes")
    yield (
        "nodes 2^17 of blocks past",
        Case(blocks(nodes=uv(2**17 + 1)), "number of nodes is 131073, expected 1 to 131072"),
    )
    yield "nodes 2^17 of blocks declared", Case(blocks(nodes=uv(2**17)), "split flags: head is .* at least")
    yield "nodes 0", Case(one(nodes=b"\0", split=b""), "number of nodes is 0, expected 1 to 65536")
    yield "nodes past", Case(one(nodes=big, split=bytes(8193)), "number of nodes is 65537, expected 1 to 65536")
    yield "nodes 2^49", Case(one(nodes=uv(MOST)), f"number of nodes is {MOST}, expected 1 to 65536")
    yield "nodes declared", Case(one(nodes=uv(65536), split=b""), "split flags: head is .* bytes, expected at least")


def floats() -> Cases:
    """Facts that are floats; NaN and infinities everywhere."""
    largest = struct.unpack("<d", b"\xff\xff\xff\xff\xff\xff\xef\x7f")[0]
    for at in range(3):
        for value, good in (
            (1e-12, True), (1e12, True), (9.99e-13, False), (1.001e12, False), (0.0, False), (-1.0, False),
            (math.nan, False), (math.inf, False),
        ):  # fmt: skip
            values = [1.0] * 3
            values[at] = value
            message = None if good else r"spacing is .*, expected 1e-12 to 1000000000000"
            yield f"spacing {at} {value}", Case(one(spacing=f8(*values)), message)
        for value in (largest, -largest, math.inf, -math.inf, math.nan):
            values = [0.0] * 3
            values[at] = value
            message = None if abs(value) <= largest else "origin is .*, expected -1.79.* to 1.79"
            yield f"origin {at} {value}", Case(one(origin=f8(*values)), message)
    for value in (0.0, 5e-324, largest, -5e-324, -1.0, math.inf, math.nan):
        yield (
            f"bound {value}",
            Case(one(bound=f8(value)), None if 0 <= value <= largest else "error bound is .*, expected 0 to"),
        )
    for value in (3.4028234663852886e38, math.inf, -math.inf, math.nan):
        good = abs(value) < 1e39
        yield (
            f"affine {value}",
            Case(one(affine=f4(*range(11), value)), None if good else "affine is .*, expected -1.79"),
        )
        yield f"omega0 {value}", Case(one(omega0=f4(value)), None if good else "omega0 is .*, expected -1.79")
    for index, code in enumerate(DTYPES):
        dtype = np.dtype("<" + code)
        limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        pairs = [(limits.min, limits.max), (limits.max, limits.min), (0, 0), (1, 0)]
        if dtype.kind == "f":
            pairs += [(np.nan, 0), (0, np.nan), (-np.inf, 0), (0, np.inf), (-0.0, 0.0), (0.0, -0.0)]
        for low, high in pairs:
            data = one(dtype=bytes([index]), low=np.array(low, dtype).tobytes(), high=np.array(high, dtype).tobytes())
            good = low <= high and math.isfinite(float(high) - float(low))
            yield (
                f"range {code} {low} {high}",
                Case(data, None if good else "value range is .* expected it finite and asc"),
            )


def trees() -> Cases:
    """Depths, nodes and boxes."""
    cube = (2**13,) * 3
    yield "depth 12", Case(rooted(cube, chain(12)))
    yield "depth 13", Case(rooted(cube, chain(13)), "octree is deeper than 12 levels")
    yield "depth 40", Case(rooted((2**13,) * 3, chain(40)), "octree is deeper than 12 levels")
    yield "depth 12 of a line", Case(rooted((1, 1, 2**24), chain(12, 2)))
    yield "nodes 65529", Case(rooted((512, 512, 512), many(65529)))
    yield "nodes 65533", Case(rooted((1, 256, 256), [True] * 16383 + [False] * 49150))
    yield (
        "no axis left",
        Case(rooted((1, 1, 1), chain(1)), "octree splits a box of level 0 of a volume .*, which has no axis"),
    )
    yield "no axis left below", Case(rooted((1, 1, 2), chain(2, 2)), "octree splits a box of level 1")
    for n, split in ((8, [True] + [False] * 7), (10, [True] + [False] * 9), (1, [True]), (9, [False] * 9)):
        yield (
            f"does not close {n} {split[0]}",
            Case(rooted((8, 8, 8), split), f"octree does not close: {n} nodes stored, .* needed"),
        )
    for bit in range(1, 8):
        yield (
            f"split padding {bit}",
            Case(one(split=bytes([1, 1 << bit])), "split flags: padding bits are .*, expected zeros"),
        )
    full = Octree.full(cube, 3).split.tolist()
    yield (
        "weights past 2^26",
        Case(
            rooted(cube, full, widths=b"\x00" + uv(256) * 4, layers=b"\x08"),
            f"number of weights is .*, expected 1 to {2**26}",
        ),
    )
    n_weights = 4 * 128 + 3 * (128 * 128 + 128) + 129
    least = -(-(n_weights - 4096) // 64)
    for size, good in ((least, True), (least - 1, False)):
        empty = len(rooted((8, 8, 8), [False], widths=b"\x00\x80\x01", layers=b"\x04"))
        rows = [Row(0, 0, bytes(size - empty - 1)), Row(0x10, 1, b"")]  # the length of MODEL takes a byte more
        data = rooted((8, 8, 8), [False], rows, widths=b"\x00\x80\x01", layers=b"\x04")
        assert len(data) == size
        message = None if good else f"number of weights is {n_weights}, expected 0 to {64 * size + 4096}"
        yield f"weights for a file of {size}", Case(data, message)
    for layers in (1, 4, 8):
        yield (
            f"width 256, {layers} layers",
            Case(
                rooted((8, 8, 8), [False], widths=b"\x00\x80\x02", layers=bytes([layers])),
                None if layers == 1 else "number of weights is .*, expected 0 to",
            ),
        )


def tables() -> Cases:
    """Chunks: how many, how long, in what order."""
    small = [Row(0, 0, b""), Row(0x10, 1, b"")]
    extra = Row(0xF0, 0, b"")
    for count, good in ((62, True), (66, True), (67, False), (1000, False)):
        data = rooted((8, 8, 8), [False], [*small, *[extra] * count])
        n = count + 2
        most = 64 + len(data) // 128
        assert (n <= most) == good or count in (66, 67)
        yield (
            f"{n} chunks of one tree",
            Case(data, None if n <= most else f"number of chunks is {n}, expected 1 to {most}$"),
        )
    filled = [*small, *[extra] * 998, Row(0xF0, 0, bytes(128 * 936))]
    yield "1001 chunks of a larger file", Case(rooted((8, 8, 8), [False], filled))
    tree = Octree.full((1, 256, 256), 8)
    empty = Row(0x40, 0, b"")
    nodes, split = uv(len(tree.split)), split_bits(tree.split)
    yield "65536 blocks", Case(lambda: blocks((1, 256, 256), [empty] * 65536, features=16, nodes=nodes, split=split))
    yield (
        "65536 blocks and VERIFY",
        Case(
            lambda: blocks(
                (1, 256, 256), [CONSTANT] * 65536 + [Row(0x30, 0, bytes(4 * 65536))], nodes=nodes, split=split
            ),
            "number of chunks is 65537, expected 1 to 65536",
        ),
    )
    yield (
        "65537 blocks",
        Case(
            blocks((1, 1, 1), [empty], features=20, leading=b"\x01" + uv(65537)),
            "number of blocks is 65537, expected 1 to 65536",
        ),
    )
    yield (
        "2^40 blocks",
        Case(
            blocks((1, 1, 1), [empty], features=20, leading=b"\x02" + uv(2**20) + uv(2**20)),
            f"number of blocks is {2**40}, expected 1 to 65536",
        ),
    )
    yield (
        "voxels with leading axes past",
        Case(
            blocks((2**20, 2**20, 1), [empty], features=20, leading=b"\x01\x02"),
            f"number of voxels is {2**41}, expected 1 to {2**40}",
        ),
    )
    for count in (1, 2, 3):
        yield f"{count} leading axes", Case(blocks(features=21, leading=bytes([count] + [1] * count)))
    for count in (4, 255, MOST):
        yield (
            f"{count} leading axes",
            Case(blocks(features=21, leading=uv(count) + b"\x01" * 4), f"leading axes is {count}, expected 0 to 3"),
        )
    yield (
        "leading axis of 0",
        Case(blocks(features=21, leading=b"\x01\x00"), f"leading axis is 0, expected 1 to {2**40}"),
    )
    yield "leading axes not said", Case(blocks(leading=b"\x01\x01"), "has 1 leading axes, and the features")
    yield "no leading axes but said", Case(blocks(features=21), "has 0 leading axes, and the features")
    yield "residual not said", Case(blocks(features=16), "has 1 residuals, and the features")
    yield "no residual but said", Case(blocks(rows=[empty]), "has 0 residuals, and the features")
    for name, rows, message in (
        ("no block", [VERIFY], "number of BLOCK chunks is 0, expected 1"),
        ("two blocks", [CONSTANT, CONSTANT, Row(0x30, 0, bytes(8))], "number of BLOCK chunks is 2, expected 1"),
        ("an overview", [Row(0x51, 0, b"\0\0"), CONSTANT, Row(0x30, 0, bytes(8))], "number of OVERVIEW chunks is 1"),
        ("no VERIFY", [CONSTANT], "number of VERIFY chunks is 0, expected 1"),
        ("two VERIFY", [CONSTANT, VERIFY, VERIFY], "number of VERIFY chunks is 2, expected 1"),
        ("short VERIFY", [CONSTANT, Row(0x30, 0, bytes(3))], "length of VERIFY is 3, expected 4"),
        ("long VERIFY", [CONSTANT, Row(0x30, 0, bytes(8))], "length of VERIFY is 8, expected 4"),
        ("VERIFY first", [VERIFY, CONSTANT], "critical chunks are out of order"),
        ("level 2", [Row(0x42, 0, b"\0\0"), VERIFY], "level of a critical chunk is 2, expected 0 to 1"),
        ("level 1 of VERIFY", [CONSTANT, Row(0x31, 0, bytes(4))], "level of a critical chunk is 1, expected 0"),
        ("nodes of a block", [Row(0x41, 1, b"\0\0"), VERIFY], "nodes of a critical chunk is 1, expected 0"),
        ("MODEL in blocks", [Row(0x00, 0, b""), CONSTANT, VERIFY], "needs the chunk kind MODEL"),
    ):  # fmt: skip
        yield name, Case(blocks(rows=rows), message)
    for n_nodes in (0, 9, 2**20):
        rows = [Row(0, 0, b""), Row(0x10, n_nodes, b"")]
        message = f"nodes of WEIGHTS chunk 1 is {n_nodes}, expected 1"
        yield f"{n_nodes} networks in a chunk", Case(rooted((8, 8, 8), [False], rows), message)
    yield (
        "2^20 + 1 nodes of a chunk",
        Case(
            rooted((8, 8, 8), [False], [*small, Row(0xF0, 2**20 + 1, b"")]),
            f"nodes of a chunk is {2**20 + 1}, expected 0 to {2**20}",
        ),
    )
    yield "2^20 nodes of an ancillary chunk", Case(rooted((8, 8, 8), [False], [*small, Row(0xF0, 2**20, b"")]))
    for role in (0x80, 0xA0):
        for size in (2**16, 2**16 + 1):
            data = rooted((8, 8, 8), [False], [*small, Row(role, 0, b"{" + b" " * (size - 2) + b"}")])
            refused = role == 0x80 and size > 2**16
            yield (
                f"{role:#x} of {size}",
                Case(data, "length of META is 65537, expected 0 to 65536" if refused else None),
            )
    head = one()[16:-5]
    for length in (2**31, 2**31 + 1, 2**40, MOST):
        table = head[: -3 * 7 - 1] + b"\x01\x00\x00" + uv(length) + bytes(4)
        message = (
            f"file size by the lengths .* expected .* to {2**31}"
            if length == 2**31
            else f"length of a chunk is {length}"
        )
        yield f"a chunk of {length}", Case(sealed(table), message)
    table = head[: -3 * 7 - 1] + uv(256) + (b"\x00\x00" + uv(2**31) + bytes(4)) * 256
    yield (
        "chunks of 2^39 bytes",
        Case(sealed(table), rf"file size by the lengths of chunks is {2**39 + 16 + len(table)}"),
    )
    yield "head 1 MiB", Case(sealed(bytes(2**20)), "axis is 0, expected 1 to")
    yield "head past 1 MiB", Case(sealed(bytes(2**20 + 1)), "head length is 1048577, expected 1 to 1048576")
    prefix = sealed(b"")
    yield (
        "head past the file",
        Case(prefix[:6] + struct.pack("<I", 2**32 - 1) + sealed(b"", version=0x10)[10:], "prefix: CRC-16 is"),
    )
    for size in (0, 1, 15):
        yield f"file of {size}", Case(one()[:size], f"file size is {size}, expected 16 to {2**31}")
    yield "file of 16", Case(one()[:16], "head length is .*, expected 1 to 0")
