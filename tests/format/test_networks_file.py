"""The file's bytes: exact inverses, every damage refused, and a save that never loses the old file."""

from __future__ import annotations

import binascii
import dataclasses
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import SMALL, files, headers, small_file

from napari_tinc.errors import TincError
from napari_tinc.format.chunks import Chunk, ChunkKind, verify
from napari_tinc.format.networks_file import Calibration, NetworksHeader, WeightsFormat, pack, parameter_counts, parse
from napari_tinc.format.widths import SCALAR
from napari_tinc.octree import Octree

few = settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


HEAD_END = 16 + struct.unpack_from("<I", SMALL, 6)[0]


def sealed(
    head: bytes, body: bytes = b"", *, magic: bytes = b"\x89TNC", version: int = 0x10, features: int = 0
) -> bytes:
    """A file with a valid prefix around any head."""
    start = struct.pack("<4sBBI", magic, version, features, len(head))
    return start + struct.pack("<HI", binascii.crc_hqx(start, 0xFFFF), zlib.crc32(head)) + head + body


# A head field by field, written from the specification, not with the code under test. 9 nodes of width 2.
FIELDS: dict[str, bytes] = {
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
    "chunks": b"\x03",
    "model": b"\x00\x00\x00" + struct.pack("<I", 0),
    "level 0": b"\x10\x01\x02" + struct.pack("<I", zlib.crc32(b"ab")),
    "level 1": b"\x11\x08\x03" + struct.pack("<I", zlib.crc32(b"cde")),
}


def crafted(body: bytes = b"abcde", **fields: bytes) -> bytes:
    """FIELDS with some replaced, CRCs right; underscores stand for spaces."""
    return sealed(b"".join((FIELDS | {k.replace("_", " "): v for k, v in fields.items()}).values()), body)


def test_layout_is_the_one_of_the_specification() -> None:
    data = crafted()
    header, chunks = parse(data)
    assert pack(header, chunks) == data
    assert (header.shape, header.dtype, header.value_range) == ((30, 30, 40), np.dtype("f4"), (-1, 2.5))
    assert (header.mean, header.std) == (2.5, pytest.approx(0.7))
    assert (header.spacing, header.unit, header.origin) == ((2, 1, 1), "mm", (0, 1, 2))
    assert (header.error_bound, header.affine) == (0.5, tuple(range(12)))
    assert (header.layers, header.omega0) == (2, 25.5)
    assert (header.weights_format, header.calibration) == (WeightsFormat.FLOAT16, Calibration.GLOBAL)
    assert header.tree.split.tolist() == [True] + [False] * 8
    assert header.widths.tolist() == [2] * 9
    assert header.widths.dtype == np.int16
    assert [chunk.checked() for chunk in chunks] == [b"", b"ab", b"cde"]
    assert [chunk.role for chunk in chunks] == [ChunkKind.MODEL, ChunkKind.WEIGHTS, ChunkKind.WEIGHTS]


def test_a_plain_header_takes_few_bytes() -> None:
    header = NetworksHeader(
        tree=Octree.full((64, 64, 64), 1),
        dtype=np.dtype("u1"),
        value_range=(0, 255),
        mean_q=1,
        std_q=2,
        widths=np.full(9, 4, np.int16),
        layers=4,
        omega0=30,
    )
    chunks = [
        Chunk.of(ChunkKind.MODEL, b""),
        Chunk.of(ChunkKind.WEIGHTS, b"", 0, 1),
        Chunk.of(ChunkKind.WEIGHTS, b"", 1, 8),
    ]
    assert len(pack(header, chunks)) == 16 + 11 + 7 + 6 + 1 + 3 * 7


@few
@given(files())
def test_pack_and_parse_are_inverses(file: tuple[NetworksHeader, tuple[Chunk, ...]]) -> None:
    header, chunks = file
    data = pack(header, chunks)
    again, chunks_again = parse(data)
    assert chunks_again == chunks
    assert pack(again, chunks_again) == data
    verify(chunks_again)
    assert header.tree.split.tolist() == again.tree.split.tolist()
    assert header.widths.tolist() == again.widths.tolist()
    arrays = {"tree", "widths"}
    for name in {field.name for field in dataclasses.fields(NetworksHeader)} - arrays:
        assert getattr(header, name) == getattr(again, name), name
    assert (header.mean, header.std) == (again.mean, again.std)


@few
@given(headers())
def test_parameter_counts_follow_the_definition(header: NetworksHeader) -> None:
    headed = set()
    for leaf in header.tree.leaves.tolist():
        networks = [node for node in header.tree.path(leaf) if header.widths[node] > 0]
        headed |= set() if header.widths[leaf] == SCALAR else {networks[-1]}
    expected = []
    for node, width in enumerate(np.maximum(header.widths, 0).tolist()):
        parent = int(header.tree.parent[node])
        above = int(header.widths[parent]) if parent >= 0 else 0
        n = 4 * width + above * width + (header.layers - 1) * (width * width + width)
        expected.append((n + width + 1 if node in headed else n) if width else 0)
    assert parameter_counts(header).tolist() == expected


@few
@given(st.binary(max_size=120))
def test_any_bytes_as_a_head_are_refused_cleanly(head: bytes) -> None:
    with pytest.raises(TincError):
        parse(sealed(head))


@settings(few, max_examples=300)
@given(st.data())
def test_a_mutated_head_is_refused_or_means_exactly_one_thing(data: st.DataObject) -> None:
    """CRCs repaired: whatever passes the checks is written again byte for byte."""
    head = bytearray(SMALL[16:HEAD_END])
    for _ in range(data.draw(st.integers(1, 3))):
        head[data.draw(st.integers(0, len(head) - 1))] = data.draw(st.integers(0, 255))
    mutated = sealed(bytes(head), SMALL[HEAD_END:])
    try:
        header, chunks = parse(mutated)
    except TincError:
        return
    assert pack(header, chunks) == mutated


def test_every_single_bit_flip_is_refused() -> None:
    for bit in range(len(SMALL) * 8):
        damaged = bytearray(SMALL)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TincError):
            verify(parse(bytes(damaged))[1])


def test_every_truncation_is_refused_and_names_the_sizes() -> None:
    for size in range(len(SMALL)):
        with pytest.raises(TincError):
            parse(SMALL[:size])
    with pytest.raises(TincError, match=f"file size is {len(SMALL) - 1}, expected {len(SMALL)}$"):
        parse(SMALL[:-1])


@pytest.mark.parametrize("partial", [False, True])
def test_trailing_bytes_are_refused(partial: bool) -> None:
    with pytest.raises(TincError, match=f"file size is {len(SMALL) + 1}"):
        parse(SMALL + b"\0", partial=partial)


def test_partial_returns_the_whole_chunks() -> None:
    _, chunks = small_file()
    ends = HEAD_END + np.cumsum([len(chunk.payload) for chunk in chunks])
    for size in range(len(SMALL) + 1):
        if size < ends[0]:
            with pytest.raises(TincError):
                parse(SMALL[:size], partial=True)
        else:
            assert parse(SMALL[:size], partial=True)[1] == chunks[: int((ends <= size).sum())]


def test_partial_counts_only_the_weights_that_are_there() -> None:
    header = NetworksHeader(
        tree=Octree.full((64, 64, 64), 1),
        dtype=np.dtype("u1"),
        value_range=(0, 1),
        mean_q=0,
        std_q=0,
        widths=np.array([1] + [90] * 8, np.int16),
        layers=2,
        omega0=30,
    )
    chunks = [
        Chunk.of(ChunkKind.MODEL, b""),
        Chunk.of(ChunkKind.WEIGHTS, b"r", 0, 1),
        Chunk.of(ChunkKind.WEIGHTS, bytes(2000), 1, 8),
    ]
    data = pack(header, chunks)
    assert len(parse(data[:-1], partial=True)[1]) == 2


def test_damage_is_named_when_the_chunk_is_used_not_before() -> None:
    damaged = SMALL.replace(b"three leaves", b"three l3aves")
    _, chunks = parse(damaged)
    stored, computed = zlib.crc32(b"three leaves"), zlib.crc32(b"three l3aves")
    with pytest.raises(TincError, match=f"WEIGHTS chunk of level 1: CRC-32 is {computed:08x}, expected {stored:08x}"):
        chunks[3].checked()
    with pytest.raises(TincError, match="CRC-32"):
        verify(chunks)
    assert chunks[2].checked() == b"the root"


def test_unknown_ancillary_chunks_are_kept() -> None:
    header, chunks = parse(SMALL)
    assert chunks[4].role is None
    assert chunks[4].checked() == b"from the future"
    assert pack(header, chunks) == SMALL
    unreadable = dataclasses.replace(chunks[4], payload=b"changed")
    with pytest.raises(TincError, match=r"unknown \(7\) chunk of level 5"):
        unreadable.checked()


def test_a_later_minor_version_is_read() -> None:
    assert parse(sealed(SMALL[16:HEAD_END], SMALL[HEAD_END:], version=0x13))[1] == small_file()[1]


def doubles(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def singles(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def chain(depth: int) -> bytes:
    """Split flags of a path down one child of a 2^24 cube."""
    flags = [1] + ([1] + [0] * 7) * (depth - 1) + [0] * 8
    return np.packbits(flags, bitorder="little").tobytes()


HUGE = b"\x80\x80\x80\x08"  # uv 2^24
CRC0 = bytes(4)
BAD_HEADS = {
    "reserved flag": (crafted(flags=b"\x1f"), "flags is 31, expected 0 to 15"),
    "dtype": (crafted(dtype=b"\x09"), "dtype is 9, expected 0 to 8"),
    "empty axis": (crafted(shape=b"\x14\x00\x28"), "axis is 0, expected 1 to 16777216"),
    "long axis": (crafted(shape=b"\x14\x81\x80\x80\x08\x28"), "axis is 16777217"),
    "voxels": (crafted(shape=HUGE * 3), f"number of voxels is {2**72}, expected 1 to {2**40}"),
    "long uv": (crafted(shape=b"\x94\x00\x1e\x28"), "axis: 20 is stored in 2 bytes"),
    "endless uv": (crafted(shape=b"\xff" * 9), "axis: number is longer than 7 bytes"),
    "range order": (crafted(range=singles(3, 2)), "value range is 3.0 to 2.0, expected it finite and ascending"),
    "range nan": (crafted(range=singles(float("nan"), 2)), "value range is nan"),
    "range inf": (crafted(range=singles(0, float("inf"))), "value range is 0.0 to inf"),
    "range overflow": (crafted(dtype=b"\x08", range=doubles(-1.7e308, 1.7e308)), "value range is -1.7e"),
    "spacing zero": (crafted(spacing=doubles(1, 0, 1)), "spacing is 0.0, expected 1e-12 to 1000000000000"),
    "spacing nan": (crafted(spacing=doubles(1, 1, float("nan"))), "spacing is nan"),
    "spacing large": (crafted(spacing=doubles(2e12, 1, 1)), "spacing is 2000000000000"),
    "unit length": (crafted(unit=b"\x21" + b"m" * 33), "unit length is 33, expected 0 to 32"),
    "unit encoding": (crafted(unit=b"\x02\xffm"), r"unit is b'\\xffm', expected printable UTF-8"),
    "unit control": (crafted(unit=b"\x02\x1bm"), "unit is"),
    "origin": (crafted(origin=doubles(0, float("-inf"), 0)), "origin is -inf"),
    "error bound": (crafted(bound=doubles(-1)), "error bound is -1.0"),
    "error bound nan": (crafted(bound=doubles(float("nan"))), "error bound is nan"),
    "affine": (crafted(affine=singles(*range(11), float("inf"))), "affine is inf"),
    "no layers": (crafted(layers=b"\x00"), "layers is 0, expected 1 to 8"),
    "layers": (crafted(layers=b"\x09"), "layers is 9, expected 1 to 8"),
    "omega0": (crafted(omega0=singles(float("nan"))), "omega0 is nan"),
    "weights format": (crafted(weights=b"\x03"), "weights format is 3, expected 0 to 2"),
    "calibration": (crafted(calibration=b"\x03"), "calibration is 3, expected 0 to 2"),
    "no nodes": (crafted(nodes=b"\x00", split=b""), "number of nodes is 0, expected 1 to 65536"),
    "nodes": (crafted(nodes=b"\x81\x80\x04"), "number of nodes is 65537"),
    "nodes past the head": (crafted(nodes=b"\x80\x80\x04"), "split flags: head is .* bytes, expected at least 8"),
    "open tree": (crafted(split=b"\x03\x00"), "octree does not close: 9 nodes stored, at least 17 needed"),
    "closed early": (crafted(split=b"\x00\x00"), "octree does not close: 9 nodes stored, 1 needed"),
    "split padding": (crafted(split=b"\x01\x02"), r"split flags: padding bits are \[1, 0, 0, 0, 0, 0, 0\]"),
    "split voxel": (crafted(shape=b"\x01\x01\x01"), "splits a box of level 0"),
    "deep tree": (
        crafted(shape=b"\x80\x40" * 3, nodes=bytes([1 + 8 * 13]), split=chain(13)),
        "octree is deeper than 12 levels",
    ),
    "width form": (crafted(widths=b"\x02"), "width form is 2, expected 0 to 1"),
    "width": (crafted(widths=b"\x00\x02\x81\x02"), "width is 257, expected 0 to 256"),
    "width 0": (crafted(widths=b"\x00\x00\x02"), "width of the root is 0, expected 1 to 256"),
    "one width class": (crafted(widths=b"\x01\x01\x02"), "width classes is 1, expected 2 to 257"),
    "scalars only": (crafted(widths=b"\x00\x02\x00\xff"), "network of node 0 has no leaf, expected"),
    "head in between": (
        crafted(widths=b"\x01\x02\x00\x02\x01\x01\x00"),
        "network of node 0 has both networks below it and leaves of its own",
    ),
    "scalar padding": (crafted(widths=b"\x01\x02\x00\x02\x01\x01\xff"), "scalar flags: padding bits"),
    "width form 1 for 0": (crafted(widths=b"\x01\x02\x02\x03\x01\x00"), "one canonical form"),
    "width order": (crafted(widths=b"\x01\x02\x03\x02\x00\x02"), "one canonical form"),
    "width unused": (crafted(widths=b"\x01\x03\x02\x03\x04\x00\x04\x00"), "one canonical form"),
    "width index": (crafted(widths=b"\x01\x03\x02\x03\x04\x03\x00\x00"), "width index is 3, expected 0 to 2"),
    "width padding": (crafted(widths=b"\x01\x02\x02\x03\x02\x02"), "width indices: padding bits"),
    "weights for the file": (
        crafted(widths=b"\x00\x02\x40"),
        r"number of weights is \d+, expected 0 to 1\d{4}$",
    ),
    "no chunks": (crafted(chunks=b"\x00"), "number of chunks is 0, expected 1 to 65536"),
    "chunks": (crafted(chunks=b"\x81\x80\x04"), "number of chunks is 65537"),
    "short table": (crafted(chunks=b"\x04"), "chunk type: head is"),
    "trailing head": (crafted(level_1=FIELDS["level 1"] + b"\0"), r"head is \d+ bytes, expected \d+"),
    "no MODEL": (crafted(model=b"\x80\x00\x00" + CRC0), "chunk 0 has type 0x80, expected one MODEL chunk"),
    "two MODELs": (crafted(chunks=b"\x04", model=FIELDS["model"] * 2), "chunk 1 has type 0x00, expected one MODEL"),
    "MODEL level": (crafted(model=b"\x01\x00\x00" + CRC0), "level of the MODEL chunk is 1, expected 0"),
    "MODEL nodes": (crafted(model=b"\x00\x01\x00" + CRC0), "nodes of the MODEL chunk is 1, expected 0"),
    "level order": (crafted(level_0=FIELDS["level 1"], level_1=FIELDS["level 0"]), "level of WEIGHTS chunk 1 is 1"),
    "no nodes in chunk": (crafted(level_0=b"\x10\x00\x02" + CRC0), "nodes of WEIGHTS chunk 1 is 0, expected 1"),
    "nodes in chunk": (crafted(level_1=b"\x11\x09\x03" + CRC0), "nodes of WEIGHTS chunk 2 is 9, expected 1 to 8"),
    "nodes missing": (crafted(level_1=b"\x11\x07\x03" + CRC0), "nodes with weights is 8, expected 9"),
    "nodes twice": (crafted(chunks=b"\x04", level_1=FIELDS["level 1"] * 2), "follows the last of 9 networks"),
    "residual": (crafted(level_1=b"\x21\x08\x03" + CRC0), "needs the chunk kind RESIDUAL"),
    "verify": (crafted(level_1=b"\x31\x08\x03" + CRC0), "needs the chunk kind VERIFY"),
    "unknown kind": (crafted(level_1=b"\x61\x08\x03" + CRC0), "needs the chunk kind number 6"),
    "long META": (
        crafted(chunks=b"\x04", level_1=FIELDS["level 1"] + b"\x80\x00\x81\x80\x04" + CRC0),
        "length of META is 65537, expected 0 to 65536",
    ),
    "sizes": (crafted(body=b"abcdef"), r"file size is \d+, expected \d+$"),
    "length": (crafted(level_1=b"\x11\x08\x81\x80\x80\x80\x08" + CRC0), "length of a chunk is 2147483649"),
    "size": (b"\x89TNC", "not a .tinc file: file size is 4, expected 16 to 2147483648"),
    "magic": (sealed(b"", bytes(9), magic=b"\x89PNG"), "this is not a .tinc file"),
    "CRC-16": (SMALL[:10] + b"\0\0" + SMALL[12:], r"prefix: CRC-16 is [0-9a-f]{4}, expected 0000"),
    "major": (sealed(b"", version=0x20), "needs a reader of format 2; this version of napari-tinc reads format 1"),
    "feature 0": (sealed(b"\0", features=1), "has the features"),
    "feature 1": (sealed(b"", features=2), "needs the feature 'integer decode'"),
    "feature 2": (sealed(b"\0", features=4), "has the features"),
    "feature 5": (sealed(b"", features=32), "needs the feature '5'"),
    "feature 3": (sealed(b"", features=8), "needs the feature 'special-value mask'"),
    "two features": (sealed(b"", features=10), "needs the feature 'integer decode', 'special-value mask'"),
    "feature 7": (sealed(b"", features=128), "needs the feature '7'"),
    "no head": (sealed(b""), "head length is 0, expected 1 to 0"),
    "head length": (sealed(bytes(2**20 + 1)), "head length is 1048577, expected 1 to 1048576"),
    "head CRC": (crafted()[:16] + b"\x0e" + crafted()[17:], "head: CRC-32 is"),
}


@pytest.mark.parametrize(("data", "message"), BAD_HEADS.values(), ids=BAD_HEADS)
def test_bad_headers_are_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(TincError, match=message):
        parse(data)


def bombs() -> dict[str, bytes]:
    """Files of some hundred bytes (one of 5 KB: a bit a node) that declare as much as they can."""
    full = Octree.full((2**13, 2**13, 2**13), 5)  # 37 449 nodes
    nodes = b"\xc9\xa4\x02"
    split = np.packbits(full.split, bitorder="little").tobytes()
    wide = b"\x00" + b"\x80\x02" * 6
    return {
        "voxels": crafted(shape=HUGE * 3),
        "nodes": crafted(nodes=b"\x80\x80\x04"),
        "chunks": crafted(chunks=b"\x80\x80\x04"),
        "body": crafted(level_1=b"\x11\x08\x80\x80\x80\x80\x08" + CRC0),
        "weights": crafted(shape=b"\x80\x40" * 3, nodes=nodes, split=split, widths=wide, layers=b"\x08"),
        "width": crafted(widths=b"\x00\x80\x02\x80\x02", layers=b"\x08"),
    }


@pytest.mark.parametrize(("name", "data"), bombs().items(), ids=bombs())
def test_bombs_do_not_allocate(name: str, data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TincError):
            parse(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (2e5 if len(data) < 1000 else 2**21), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": np.dtype("u8")}, "dtype is uint64, expected one of"),
        ({"dtype": np.dtype("f2"), "value_range": (0.0, 0.1)}, "expected numbers exact in float16"),
        ({"dtype": np.dtype("f2"), "value_range": (0.0, 1e6)}, "expected numbers exact in float16"),
        ({"dtype": np.dtype("u1"), "value_range": (0, 256)}, "expected numbers exact in uint8"),
        ({"dtype": np.dtype("u1"), "value_range": (0, float("nan"))}, "expected numbers exact in uint8"),
        ({"mean_q": 65536}, "cannot be stored"),
        ({"std_q": -1}, "cannot be stored"),
        ({"layers": 300}, "cannot be stored"),
        ({"omega0": 1e300}, "cannot be stored"),
        ({"spacing": (1.0, 1.0)}, "cannot be stored"),
        ({"spacing": ()}, "cannot be stored"),
        ({"unit": "\ud800"}, "cannot be stored"),
        ({"unit": "\N{MICRO SIGN}" * 17}, "unit length is 34"),
        ({"widths": np.ones(8, np.int16)}, "number of widths is 8, expected 9"),
        ({"widths": np.full(9, 300, np.int16)}, "width is 300"),
    ],
)
def test_a_header_that_could_not_be_read_is_not_written(changes: dict[str, object], message: str) -> None:
    header, chunks = small_file()
    with pytest.raises(TincError, match=message):
        pack(dataclasses.replace(header, **changes), chunks)


@pytest.mark.parametrize(
    "changes", [{"kind": 8}, {"level": 16}, {"n_nodes": -1}, {"crc": 2**32}, {"kind": -1}, {"level": 300}]
)
def test_a_chunk_that_could_not_be_read_is_not_written(changes: dict[str, int]) -> None:
    header, chunks = small_file()
    with pytest.raises(TincError):
        pack(header, (*chunks, dataclasses.replace(chunks[1], **changes)))


def test_byte_order_of_the_given_dtype_does_not_matter() -> None:
    header, chunks = small_file()
    assert pack(dataclasses.replace(header, dtype=np.dtype(">u2")), chunks) == SMALL
