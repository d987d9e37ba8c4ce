"""Hypothesis strategies: octrees, and headers and chunks that a file can hold."""

from __future__ import annotations

import zlib

import numpy as np
from hypothesis import strategies as st

from napari_tinc.format.chunks import Ancillary, Chunk, ChunkKind
from napari_tinc.format.limits import DTYPES
from napari_tinc.format.networks_file import Calibration, NetworksHeader, WeightsFormat, pack
from napari_tinc.format.widths import INHERITS, SCALAR
from napari_tinc.octree import MAX_DEPTH, Octree, split_counts

finite = st.floats(allow_nan=False, allow_infinity=False)
finite32 = st.floats(allow_nan=False, allow_infinity=False, width=32)
shapes = st.tuples(*[st.integers(1, 2**9)] * 3)


@st.composite
def octrees(draw: st.DrawFn, max_nodes: int = 200) -> Octree:
    """Trees with random splits, of few nodes."""
    shape = draw(shapes)
    counts = split_counts(shape, MAX_DEPTH).sum(axis=1)
    split: list[bool] = []
    level, n = 0, 1
    while n:
        n_children = 2 ** int(counts[level + 1] - counts[level]) if level < MAX_DEPTH else 1
        room = (max_nodes - len(split) - n) // n_children if n_children > 1 else 0
        inner = draw(st.sets(st.integers(0, n - 1), max_size=min(room, n))) if room > 0 else set()
        split += [i in inner for i in range(n)]
        level, n = level + 1, len(inner) * n_children
    return Octree.from_splits(shape, np.array(split))


@st.composite
def networks(draw: st.DrawFn, tree: Octree) -> np.ndarray:
    """Widths of a tree's nodes, networks all the way down or ending above leaves that share them or are scalars."""
    per_level = draw(st.booleans())
    level_widths = draw(st.lists(st.integers(1, 20), min_size=tree.depth + 1, max_size=tree.depth + 1))
    node_widths = draw(st.lists(st.integers(1, 20), min_size=len(tree.split), max_size=len(tree.split)))
    widths = np.array(level_widths)[tree.level] if per_level else np.array(node_widths)
    if draw(st.booleans()):
        return widths.astype(np.int16)
    random = draw(st.randoms(use_true_random=False))
    children = [np.flatnonzero(tree.parent == node).tolist() for node in range(len(tree.split))]

    def leaves_of(node: int) -> list[int]:
        below = [leaf for child in children[node] for leaf in leaves_of(child)]
        return below if tree.split[node] else [node]

    def without(node: int) -> None:
        widths[node] = INHERITS
        for child in children[node]:
            without(child)

    def visit(node: int) -> None:
        if not tree.split[node]:
            return
        if random.random() < 0.3:  # the last network of its branch
            for child in children[node]:
                without(child)
            leaves = leaves_of(node)
            for leaf in leaves[1:]:
                widths[leaf] = SCALAR if random.random() < 0.5 else INHERITS
            return
        for child in children[node][1:]:
            if random.random() < 0.3:
                without(child)
                widths[leaves_of(child)] = SCALAR
        for child in children[node]:
            if widths[child] > 0:
                visit(child)

    visit(0)
    return widths.astype(np.int16)


@st.composite
def headers(draw: st.DrawFn) -> NetworksHeader:
    """Headers of every dtype, with and without each optional part."""
    tree = draw(octrees())
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    if dtype.kind == "f":
        limit = min(float(np.finfo(dtype).max), 8e307)
        values = st.floats(-limit, limit, width=dtype.itemsize * 8)
    else:
        values = st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    lo, hi = sorted([draw(values), draw(values)])
    widths = draw(networks(tree))
    spacing = draw(st.none() | st.tuples(*[st.floats(1e-12, 1e12)] * 3))
    layers = draw(st.integers(1, 8))
    lattice = tuple(sorted(draw(st.lists(st.integers(1, layers), min_size=3, max_size=3)), reverse=True))
    return NetworksHeader(
        tree=tree,
        dtype=dtype,
        value_range=(lo, hi),
        mean_q=draw(st.integers(0, 65535)),
        std_q=draw(st.integers(0, 65535)),
        widths=widths,
        layers=layers,
        lattice=draw(st.sampled_from([(), lattice])),
        omega0=draw(finite32),
        weights_format=draw(st.sampled_from(WeightsFormat)),
        calibration=draw(st.sampled_from(Calibration)),
        spacing=spacing,
        unit=draw(st.sampled_from(["", "mm", "\N{MICRO SIGN}m", "\N{ANGSTROM SIGN}"])) if spacing else "",
        origin=draw(st.none() | st.tuples(finite, finite, finite)),
        error_bound=draw(st.none() | st.floats(0, 1e300)),
        affine=draw(st.none() | st.tuples(*[finite32] * 12)),
    )


@st.composite
def files(draw: st.DrawFn) -> tuple[NetworksHeader, tuple[Chunk, ...]]:
    """A header with chunks for all its nodes, split anywhere, and ancillary ones, known or not, among them."""
    header = draw(headers())
    payloads = st.binary(max_size=40)
    # Enough bytes that the network is not too large for its file.
    chunks = [Chunk.of(ChunkKind.MODEL, bytes(10_000) + draw(payloads))]
    for level, n_nodes in enumerate(np.bincount(header.tree.level[header.widths > 0]).tolist()):
        while n_nodes:
            n_here = draw(st.integers(1, n_nodes))
            chunks.append(Chunk.of(ChunkKind.WEIGHTS, draw(payloads), level, n_here))
            n_nodes -= n_here
    for _ in range(draw(st.integers(0, 3))):
        known = Chunk.of(Ancillary.META, draw(payloads), draw(st.integers(0, 15)), draw(st.integers(0, 2**20)))
        extra = Chunk(draw(st.integers(0, 7)), True, known.level, known.n_nodes, known.payload, known.crc)
        chunks.insert(draw(st.integers(1, len(chunks))), extra)
    return header, tuple(chunks)


def small_file() -> tuple[NetworksHeader, tuple[Chunk, ...]]:
    """A root with eight leaves, every optional part, an ancillary chunk we do not know."""
    header = NetworksHeader(
        tree=Octree.full((30, 30, 40), 1),
        dtype=np.dtype("u2"),
        value_range=(7, 4095),
        mean_q=6000,
        std_q=9000,
        widths=np.array([6, 4, 4, 1, 4, 4, 9, 4, 4], np.int16),
        layers=3,
        omega0=30.0,
        weights_format=WeightsFormat.ENTROPY,
        calibration=Calibration.PER_LEAF,
        spacing=(1.5, 0.5, 0.5),
        unit="\N{MICRO SIGN}m",
        origin=(-3.0, 0.0, 1e6),
        error_bound=0.25,
        affine=tuple(range(12)),
    )
    chunks = (
        Chunk.of(ChunkKind.MODEL, b"tables"),
        Chunk.of(Ancillary.META, b'{"name": "brain"}'),
        Chunk.of(ChunkKind.WEIGHTS, b"the root", level=0, n_nodes=1),
        Chunk.of(ChunkKind.WEIGHTS, b"three leaves", level=1, n_nodes=3),
        Chunk(7, True, 5, 3, b"from the future", zlib.crc32(b"from the future")),
        Chunk.of(ChunkKind.WEIGHTS, b"and the other five", level=1, n_nodes=5),
    )
    return header, chunks


SMALL = pack(*small_file())
