"""Good files drawn at random: trees of any shape with networks, scalars, blocks of both kinds, of every dtype."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np

from napari_tinc.bounded import box as bounded_box
from napari_tinc.differences import checksum
from napari_tinc.errors import TincError
from napari_tinc.format import blocks_file, limits, networks_file
from napari_tinc.format import chunks as format_chunks
from napari_tinc.format import widths as format_widths
from napari_tinc.format.blocks_file import BlocksHeader, Payload
from napari_tinc.format.chunks import Chunk
from napari_tinc.format.limits import DTYPES
from napari_tinc.format.networks_file import Calibration, NetworksHeader, WeightsFormat
from napari_tinc.format.widths import INHERITS, SCALAR
from napari_tinc.networks.calibration import Corrections
from napari_tinc.networks.scalars import Scalars
from napari_tinc.networks.weights import architecture_of, round_trip, to_chunks
from napari_tinc.octree import MAX_DEPTH, Octree, split_counts


def random_splits(rng: random.Random, shape: tuple[int, ...], most: int = 80) -> list[bool]:
    """Breadth-first, of a tree that closes; of a volume that cannot be, one node."""
    if not 0 < math.prod(shape) <= limits.MAX_VOXELS:
        return [False]
    counts = split_counts(shape, MAX_DEPTH).sum(axis=1).tolist()
    split: list[bool] = []
    n, share = 1, rng.random()
    for level in range(MAX_DEPTH + 1):
        children = 2 ** (counts[level + 1] - counts[level]) if level < MAX_DEPTH else 1
        inner = 0
        for _ in range(n):
            again = children > 1 and rng.random() < share and len(split) + 1 + (inner + 1) * children + n < most
            split.append(again)
            inner += again
        n = inner * children
        if not n:
            break
    return split


def random_widths(rng: random.Random, tree: Octree) -> np.ndarray:
    """Networks all the way down, or ending above leaves that share them or are scalars."""
    widths = np.array([rng.randint(1, 6) for _ in range(tree.depth + 1)])[tree.level]
    if rng.random() < 0.4:
        widths = np.array([rng.randint(1, 4) for _ in tree.split])
    if rng.random() < 0.05:
        widths[rng.randrange(len(widths))] = 256
    if rng.random() < 0.5:
        return widths.astype(np.int16)
    ended = np.zeros(len(widths), bool)  # at this node or above it no networks are below
    first_child: set[int] = set()
    for node in range(len(widths)):
        parent = int(tree.parent[node])
        if parent >= 0 and ended[parent]:
            ended[node] = True
            widths[node] = INHERITS
            if not tree.split[node] and parent in first_child and rng.random() < 0.5:
                widths[node] = SCALAR
            first_child.add(parent)
        elif parent >= 0 and parent in first_child and not tree.split[node] and rng.random() < 0.2:
            widths[node] = SCALAR
        else:
            first_child.add(parent)
            ended[node] = bool(tree.split[node]) and rng.random() < 0.3
    return widths.astype(np.int16)


def generated(rng: random.Random) -> bytes:
    """A good file, of a shape, tree and dtype drawn at random."""
    while True:
        try:
            return _one_tree(rng, None, rng.choice(DTYPES)) if rng.random() < 0.6 else _blocks(rng)
        except TincError:  # too large a network for so small a file, or a network without leaves
            continue


def _range(rng: random.Random, dtype: str) -> tuple[float, float]:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        pair = np.array([rng.choice((0.0, -0.0, 1.0, -2.5, 1e-12, 6e4, 1e30, 8e307, -8e307)) for _ in range(2)])
        low, high = np.sort(pair.clip(np.finfo(kind).min / 2, np.finfo(kind).max / 2).astype(kind)).tolist()
        return low, high
    info = np.iinfo(kind)
    low, high = sorted(rng.choice([int(info.min), int(info.max), 0, 1, 100]) for _ in range(2))
    return low, high


def _shape(rng: random.Random) -> tuple[int, int, int]:
    top = rng.choice((4, 12, 30))
    z, y, x = (rng.randint(1, top) for _ in range(3))
    return z, y, x


def _one_tree(rng: random.Random, shape: tuple[int, int, int] | None, dtype: str) -> bytes:
    shape = shape or ((rng.choice((2**24, 1000)), 2, rng.choice((1, 300))) if rng.random() < 0.1 else _shape(rng))
    tree = Octree.from_splits(shape, np.array(random_splits(rng, shape)))
    header = NetworksHeader(
        tree=tree, dtype=np.dtype(dtype), value_range=_range(rng, dtype), mean_q=rng.randrange(65536),
        std_q=rng.choice((0, 65535, rng.randrange(65536))), widths=random_widths(rng, tree),
        layers=rng.choice((1, 2, 2, 3, 8)), omega0=rng.choice((0.0, 5.0, 30.0)),
        weights_format=rng.choice(list(WeightsFormat)), calibration=rng.choice(list(Calibration)),
    )  # fmt: skip
    format_widths._check_networks(tree, header.widths)
    if rng.random() < 0.4:
        last = rng.randint(1, networks_file.head_layer(header))
        header = replace(header, lattice=(last, *sorted((rng.randint(0, last), rng.randint(0, last)), reverse=True)))
    architecture = architecture_of(header)
    if architecture.n_parameters > 2**16:
        raise TincError("too large to be a seed")
    vector, steps = round_trip(
        architecture, architecture.initial(rng.randrange(1000)), np.full(len(architecture.tensors), 0.05),
        header.weights_format,
    )  # fmt: skip
    numbers = np.random.default_rng(rng.randrange(2**32))
    n = len(architecture.heads)
    corrections = Corrections(header.calibration, numbers.normal(1, 0.1, n), numbers.normal(0, 0.1, n))
    if header.calibration is Calibration.GLOBAL:
        corrections = Corrections(Calibration.GLOBAL, np.full(n, 1.1), np.full(n, -0.1))
    elif header.calibration is Calibration.NONE:
        corrections = Corrections.none(n)
    scalars = Scalars.of(numbers.normal(size=int((header.widths == SCALAR).sum())), 0.01)
    chunks = to_chunks(architecture, vector, steps, header.weights_format, corrections, scalars)
    return networks_file.pack(header, chunks)


def _blocks(rng: random.Random) -> bytes:
    shape, dtype = _shape(rng), rng.choice(DTYPES)
    tree = Octree.from_splits(shape, np.array(random_splits(rng, shape, 10)))
    leading = rng.choice(((), (), (1,), (2,), (2, 1), (1, 2, 2)))
    edge = rng.choice((0, 0, 2, 5))
    header = BlocksHeader(tree=tree, dtype=np.dtype(dtype), value_range=_range(rng, dtype), leading=leading, edge=edge)
    sizes = (tree.stop - tree.start)[tree.leaves].tolist()
    numbers = np.random.default_rng(rng.randrange(2**32))

    def part(size: tuple[int, int, int]) -> Payload:
        if rng.random() < 0.3:
            return Payload(_one_tree(rng, size, dtype))
        bound = rng.choice((0, 0, 0, 1, 0.01))
        box = numbers.normal(0, 30, size)
        if rng.random() < 0.3:
            box = np.sort(np.rint(box / 20) * 20, axis=None).reshape(size)
        box = box.astype("i4").astype(dtype) if np.dtype(dtype).kind != "f" else box.astype(dtype)
        data, decoded = bounded_box.encode_and_decode(box, bound, rng.choice((0, 0, 2)), rng.choice((0, 0, 0.3)))
        return Payload(data, checksum(decoded))

    n = header.n_volumes
    overviews = [part(tuple(header.overview_shape())) for _ in range(n if edge else 0)]
    extra = [Chunk.of(format_chunks.Ancillary.META, rng.choice((b"{", b"{}")))] if rng.random() < 0.3 else []
    return blocks_file.pack(header, overviews, [part(tuple(size)) for _ in range(n) for size in sizes], extra)
