"""Hostile files without end: a mutator that knows the format.

Files are taken apart field by field, changed, and put together again with right lengths and CRCs, so that changes
reach what lies behind the checksums: trees, widths, tables, entropy-coded words, residuals, files inside of files. Some
are damaged blindly. Seeds are the golden files and others that are drawn at random.
"""

from __future__ import annotations

import contextlib
import math
import random
import struct
from functools import lru_cache
from typing import Any

import numpy as np
from drawn import generated, random_splits, random_widths
from fields import BLOCK, META, MODEL, OVERVIEW, PROVENANCE, VERIFY, WEIGHTS, File, Row, sealed, uv

from napari_tinc.bounded import box, quantization
from napari_tinc.differences import checksum
from napari_tinc.errors import TincError
from napari_tinc.format import limits, widths
from napari_tinc.format.limits import DTYPES
from napari_tinc.octree import Octree

DECODED = 2**16  # voxels of a volume that is decoded whole
N_FRESH = 60  # generated files among the seeds
WIDTH_OF = {"flags": 1, "dtype": 1, "mean": 2, "std": 2, "layers": 1, "form": 1, "calibration": 1}  # else uv, or below
FLOATS = {"spacing": "<3d", "origin": "<3d", "bound": "<d", "affine": "<12f", "omega0": "<f"}
NUMBERS = sorted({
    n for power in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 20, 21, 24, 28, 30, 31, 32, 36, 40, 48, 63, 64)
    for n in (2**power - 1, 2**power, 2**power + 1)
})  # fmt: skip
SMALL_NUMBERS = [n for n in NUMBERS if n < 300]
REALS = [
    0.0, -0.0, 1.0, -1.0, 0.5, 1e-12, 1e12, 9e-13, 2e12, 1e-300, 1e300, 5e-324, 1.7976931348623157e308, math.inf,
    -math.inf, math.nan, 3.4028235e38, 65504.0, 1e-30, 2.0**52, 2.0**63,
]  # fmt: skip
TEXTS = [
    b"", b"{", b"{}", b"[]", b"null", b"1", b'""', b"\0", b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16"),
    b'{"axes":1}', b'{"axes":"zy"}', b'{"axes":"zzz"}', b'{"axes":["z","y","x"]}', b'{"axes":"czyx"}',
    b'{"axes":"zyx","axes":"abc"}', b'{"axes":"\\u0000yx"}', b'{"axes":"\xce\xb1yx"}',
    b'{"channels":1}', b'{"channels":[1]}', b'{"channels":[{"name":1}]}', b'{"channels":[{}]}',
    b'{"channels":{"name":"a"}}', b'{"channels":[{"color":"\\ud800"}]}', b'{"bool":true}', b'{"bool":1}',
    b'{"labels":true}', b'{"labels":"yes"}', b'{"axes":"zyx","bool":true,"labels":true,"channels":[]}',
    b"{" + b'"a":{' * 3000, b"[" * 60000, b'{"a":' + b"9" * 5000 + b"}", b'{"a":1e999}', b'{"a":NaN}',
    b'{"a":"\xff\xfe"}', b'{"a":1}' + b" " * 65000, b'{"psnr":"x"}', b'{"encoder":1}',
]  # fmt: skip


class Mutator:
    """Hostile files without end, the same for the same seed."""

    def __init__(self, seed: int, seeds: list[bytes]) -> None:
        self.rng = random.Random(seed)
        self.seeds = list(seeds)
        self.n_golden = len(seeds)
        self.made = 0

    def fresh(self) -> None:
        """Put generated files among the seeds, in the place of others."""
        made = generated(self.rng)
        if len(self.seeds) < self.n_golden + N_FRESH:
            self.seeds.append(made)
        else:
            self.seeds[self.rng.randrange(self.n_golden, len(self.seeds))] = made

    def next(self) -> bytes:
        if self.made % (40 if self.made < 40 * N_FRESH else 1000) == 0:
            self.fresh()
        self.made += 1
        rng = self.rng
        data = rng.choice(self.seeds)
        if rng.random() < 0.04:
            return self.damaged(data)
        data = self.mutated(data)
        return self.damaged(data) if rng.random() < 0.03 else data

    def mutated(self, data: bytes, depth: int = 0) -> bytes:
        """With right lengths and CRCs; ``data`` is good."""
        file, rng = parsed(data).copy(), self.rng
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
            change = rng.choice((self.of_field, self.of_field, self.of_payload, self.of_payload, self.of_payload,
                                 self.of_rows, self.of_tree))  # fmt: skip
            with contextlib.suppress(IndexError, struct.error, TincError):  # an earlier change left no such part
                change(file, depth)
        if rng.random() < 0.03:
            file.version = rng.randrange(256)
        if rng.random() < 0.03:
            file.features ^= 1 << rng.randrange(8)
        if rng.random() < 0.02:
            head = b"".join(file.fields.values()) + file.table()
            body = b"".join(row.payload for row in file.rows)
            return sealed(self.damaged(head), body, version=file.version, features=file.features)
        return file.build()

    def damaged(self, data: bytes) -> bytes:
        """Bits, bytes, pieces: without any knowledge."""
        rng = self.rng
        out = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 4, 16))):
            at = rng.randrange(len(out) + 1)
            what = rng.randrange(7)
            if what == 0 and at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            elif what == 1 and at < len(out):
                out[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
            elif what == 2:
                del out[at : at + rng.choice((1, 2, 4, 8, 100))]
            elif what == 3:
                out[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8, 100)))
            elif what == 4:
                del out[at:]
            elif what == 5:
                other = rng.randrange(len(out) + 1)
                out[at:at] = out[other : other + rng.choice((1, 4, 16))]
            else:
                out[at : at + 4] = rng.choice(NUMBERS).to_bytes(9, "little")[:4]
        return bytes(out)

    def of_field(self, file: File, depth: int) -> None:
        rng = self.rng
        name = rng.choice(list(file.fields))
        old = file.fields[name]
        if rng.random() < 0.15 or name in ("split", "widths", "unit"):
            file.fields[name] = self.damaged(old) if rng.random() < 0.5 else self.same_length(old)
        elif name in FLOATS:
            values = list(struct.unpack(FLOATS[name], old))
            values[rng.randrange(len(values))] = rng.choice(REALS)
            file.fields[name] = packed(values, FLOATS[name][-1])
        elif name in ("low", "high"):
            dtype = np.dtype("<" + DTYPES[min(file.fields["dtype"][0], 8)])
            if dtype.kind == "f":
                file.fields[name] = packed([rng.choice(REALS)], dtype)
            else:
                file.fields[name] = rng.choice(NUMBERS).to_bytes(9, "little")[: dtype.itemsize]
        elif name in WIDTH_OF:
            numbers = range(12) if rng.random() < 0.7 else NUMBERS
            file.fields[name] = rng.choice(numbers).to_bytes(9, "little")[: WIDTH_OF[name]]
        else:
            file.fields[name] = uv(rng.choice(SMALL_NUMBERS if rng.random() < 0.6 else NUMBERS))
        if name == "flags" and rng.random() < 0.7:  # what the flags announce comes too
            self.facts(file)

    def facts(self, file: File) -> None:
        rng, flags = self.rng, file.fields["flags"][0]
        names = list(file.fields)
        before = names[: names.index("high" if "mean" not in file.fields else "std") + 1]
        after = names[names.index("leading" if "leading" in file.fields else "layers") :]
        facts: dict[str, bytes] = {}
        if flags & 1:
            unit = rng.choice((b"mm", b"", b"\xc2\xb5m", b"\xff", b"\n", bytes(40)))
            facts |= {"spacing": struct.pack("<3d", 1, 2, 3), "unit length": uv(len(unit)), "unit": unit}
        for bit, name in ((2, "origin"), (4, "bound"), (8, "affine")):
            if flags & bit:
                facts[name] = bytes(struct.calcsize(FLOATS[name]))
        fields = file.fields
        file.fields = {n: fields[n] for n in before} | facts | {n: fields[n] for n in after}

    def of_tree(self, file: File, depth: int) -> None:
        """Another tree that closes, for the shape the file says."""
        rng = self.rng
        if rng.random() < 0.3:
            for axis in "zyx":
                file.fields[axis] = uv(rng.choice(SMALL_NUMBERS[1:] if rng.random() < 0.8 else NUMBERS))
        shape = tuple(sum((byte & 127) << 7 * i for i, byte in enumerate(file.fields[axis])) for axis in "zyx")
        split = random_splits(rng, shape)
        file.fields["nodes"] = uv(len(split))
        file.fields["split"] = np.packbits(split, bitorder="little").tobytes()
        if "widths" in file.fields and rng.random() < 0.7 and 0 < math.prod(shape) <= limits.MAX_VOXELS:
            tree = Octree.from_splits(shape, np.array(split, bool))
            file.fields["widths"] = widths.pack_widths(tree, random_widths(rng, tree))
            counts = np.bincount(tree.level).tolist()
            kept = [row for row in file.rows if row.role != WEIGHTS]
            weights = [row for row in file.rows if row.role == WEIGHTS] or [Row(0x10, 1, b"")]
            for level, count in enumerate(counts):
                kept.append(Row(WEIGHTS << 4 | level, count, weights[level % len(weights)].payload))
            file.rows = kept

    def of_rows(self, file: File, depth: int) -> None:
        """The table of chunks."""
        rng, rows = self.rng, file.rows
        at = rng.randrange(len(rows)) if rows else 0
        what = rng.randrange(10)
        if what == 0 or not rows:
            rows.insert(at, Row(rng.randrange(256), rng.choice(SMALL_NUMBERS), rng.randbytes(rng.choice((0, 4, 40)))))
        elif what == 1:
            rows.insert(rng.randrange(len(rows) + 1), rows[at].copy())
        elif what == 2:
            del rows[at]
        elif what == 3:
            rng.shuffle(rows)
        elif what == 4:
            rows[at].code = rng.randrange(256)
        elif what == 5:
            rows[at].code ^= 1 << rng.randrange(8)
        elif what == 6:
            rows[at].n_nodes = rng.choice(SMALL_NUMBERS if rng.random() < 0.7 else NUMBERS)
        elif what == 7:
            rows[at].crc = rng.randrange(2**32)
        elif what == 8:
            other = parsed(rng.choice(self.seeds))
            rows.insert(rng.randrange(len(rows) + 1), rng.choice(other.rows).copy())
        else:
            text = rng.choice(TEXTS)
            rows.insert(rng.randrange(1, len(rows) + 1), Row(rng.choice((META, PROVENANCE)) << 4, 0, text))

    def of_payload(self, file: File, depth: int) -> None:
        rng = self.rng
        if not file.rows:
            return
        row = rng.choice(file.rows)
        if row.role == MODEL and "form" in file.fields:
            row.payload = self.words(row.payload, 2)
        elif row.role == WEIGHTS:
            row.payload = self.words(row.payload, 4)
        elif row.role in (BLOCK, OVERVIEW) and row.code & 15:
            row.payload = self.of_residual(row.payload)
            if rng.random() < 0.1:
                repair_verify(file)
        elif row.role in (BLOCK, OVERVIEW) and depth == 0:
            try:
                row.payload = self.mutated(row.payload, 1)
            except TincError:  # it was hostile already
                row.payload = self.damaged(row.payload)
        elif row.role in (META, PROVENANCE):
            row.payload = rng.choice(TEXTS) if rng.random() < 0.6 else self.damaged(row.payload)
        else:
            row.payload = self.words(row.payload, rng.choice((1, 2, 4)))

    def same_length(self, data: bytes) -> bytes:
        out = bytearray(data)
        for _ in range(self.rng.choice((1, 1, 2, 4))):
            if out:
                out[self.rng.randrange(len(out))] ^= 1 << self.rng.randrange(8)
        return bytes(out)

    def words(self, data: bytes, size: int) -> bytes:
        """Of entropy-coded data or tables of numbers; mostly of the same length."""
        rng = self.rng
        if rng.random() < 0.1 or not data:
            return self.damaged(data)
        out = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            at = rng.randrange(0, len(out) + 1, size)
            what = rng.randrange(7)
            if what == 0:
                out[at : at + size] = rng.randbytes(size)
            elif what == 6:
                out[at : at + 4] = packed([rng.choice(REALS)], "<f4")
            elif what == 1:
                out[at : at + size] = rng.choice(NUMBERS).to_bytes(9, "little")[:size]
            elif what == 2:
                out[at:at] = rng.randbytes(size)
            elif what == 3:
                del out[at : at + size]
            elif what == 4:
                del out[at:]
            elif at < len(out):
                out[at] ^= 1 << rng.randrange(8)
        return bytes(out)

    def of_residual(self, data: bytes) -> bytes:
        rng = self.rng
        if not data or rng.random() < 0.05:
            return bytes([rng.randrange(6)]) + data[1:]
        if data[0] not in (1, 2) or len(data) < quantization.HEAD.size:
            return data[:1] + self.words(data[1:], 4 if data[0] == 4 else 1)
        head = list(quantization.HEAD.unpack_from(data))
        ends = np.cumsum([quantization.HEAD.size, head[8], head[9]]).tolist()
        ends.append(ends[-1])  # corrections stay at the words' front, unless lengths are damaged
        parts = [data[a:b] for a, b in zip(ends, [*ends[1:], len(data)], strict=True)]
        if rng.random() < 0.5:
            at = rng.randrange(len(head))
            if at < 4:
                head[at] = rng.choice(range(6) if rng.random() < 0.7 else range(256))
            elif at == 4:
                real = rng.random() < 0.5
                head[4] = (struct.pack("<d", rng.choice(REALS)) if real
                           else (rng.choice(NUMBERS) * rng.choice((1, -1)) % 2**64).to_bytes(8, "little"))  # fmt: skip
            elif at == 7:
                head[7] = rng.choice(REALS)
            elif at < 7:
                head[at] = rng.choice(NUMBERS) % 2**64
            else:
                head[at] = rng.choice(NUMBERS) % 2**32
        else:
            at = rng.choice((0, 1, 3, 3, 3))
            parts[at] = self.words(parts[at], 4)
            if at < 2:
                head[8 + at] = len(parts[at])
        return quantization.HEAD.pack(*head) + b"".join(parts)


def packed(values: list[float], dtype: Any) -> bytes:
    with np.errstate(all="ignore"):
        return np.array(values).astype(dtype).tobytes()


def repair_verify(file: File) -> None:
    """The CRC-32 of the values that mutated residuals now decode to, so that they are accepted."""
    rows = [row for row in file.rows if row.role == VERIFY]
    sizes = [sum((byte & 127) << 7 * i for i, byte in enumerate(file.fields[axis])) for axis in "zyx"]
    residuals = [row for row in file.rows if row.role in (BLOCK, OVERVIEW) and row.code & 15]
    if not rows or not 0 < math.prod(sizes) <= DECODED or len(residuals) != 1 or file.fields["dtype"][0] > 8:
        return
    try:
        values = box.decode_box(residuals[0].payload, tuple(sizes), DTYPES[file.fields["dtype"][0]])
    except ValueError:
        return
    rows[0].payload = struct.pack("<I", checksum(values))


@lru_cache(maxsize=256)
def parsed(data: bytes) -> File:
    return File.parse(data)
