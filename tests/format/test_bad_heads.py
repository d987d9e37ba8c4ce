"""Heads that must be refused: each wrong field by name, and declared sizes that no memory is taken for."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from crafted_heads import FIELDS, chain, crafted, doubles, sealed, singles
from strategies import SMALL

from napari_tinc.errors import TincError
from napari_tinc.format.networks_file import parse
from napari_tinc.octree import Octree

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
    "weights format": (crafted(weights=b"\x04"), "weights format is 4, expected 0 to 3"),
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
    "feature 2": (sealed(b"\0", features=4), "has the features"),
    "feature 9": (sealed(b"\2", features=8), "needs the feature of number 9; this version"),
    "features 8 and 50": (sealed(b"\x81\x80\x80\x80\x80\x80\x01", features=8), "needs the feature of number 50"),
    "no further feature": (sealed(b"\0", features=8), "further features is 0, expected 1 to 562949953421311"),
    "further features": (
        sealed(b"\x81\0", features=8),
        "further features: 1 is stored in 2 bytes, expected the fewest",
    ),
    "no further features": (sealed(b"\x81", features=8), "further features: head is 1 bytes, expected at least 2"),
    "sorted columns": (crafted(features=8, further=b"\1"), "has weights FLOAT16, and the features"),
    "columns not sorted": (crafted(weights=b"\3"), "has weights SORTED, and the features"),
    "no lattice": (crafted(features=2, lattice=bytes(3)), "last layer on a lattice of stride 2 is 0, expected 1 to 4"),
    "layer of no node": (crafted(features=2, lattice=b"\5\0\0"), "stride 2 is 5, expected 1 to 4"),
    "rising lattices": (crafted(features=2, lattice=b"\2\3\0"), "stride 4 is 3, expected 0 to 2"),
    "rising last lattice": (crafted(features=2, lattice=b"\2\1\2"), "stride 8 is 2, expected 0 to 1"),
    "short lattice": (crafted(features=2, lattice=b"\2\1"), "stride 8 is 3, expected 0 to 1"),
    "long lattice": (crafted(features=2, lattice=b"\2\x81\0\0"), "stride 4: 1 is stored in 2 bytes"),
    "lattice without its feature": (crafted(lattice=b"\2\1\0"), r"head is \d+ bytes, expected \d+$"),
    "lattice and blocks": (sealed(b"\0", features=18), "has the features"),
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
