"""The file's bytes: exact inverses, every damage refused, and a save that never loses the old file."""

from __future__ import annotations

import dataclasses
import struct
import zlib

import numpy as np
import pytest
from crafted_heads import crafted, sealed
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
    assert len(pack(header, chunks)) == 16 + 1 + 11 + 7 + 6 + 1 + 3 * 7


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
