"""Made the golden files, once. Not run by tests, and overwrites nothing: what a release wrote stays readable.

    python tests/golden/make.py     # adds files that are not there yet, and their records to golden.json

A record says what a file decodes to: ``crc32`` of all values, little-endian in C order, where these are exact; else
``probes``, pairs of a place in C order and the value there before it is rounded to the dtype. ``overviews`` likewise.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from arrays import balls, far_apart, repeated, smooth, unlike_floats, waves, with_background
from describe import record

import napari_tinc as tinc
from napari_tinc.bounded import box as bounded_box
from napari_tinc.bounded.background import Background
from napari_tinc.differences import checksum
from napari_tinc.encoding import without_networks
from napari_tinc.filtering.filter import Filter
from napari_tinc.format import blocks_file
from napari_tinc.format.blocks_file import BlocksHeader, Payload
from napari_tinc.format.chunks import Ancillary, Chunk
from napari_tinc.format.networks_file import Calibration, NetworksHeader, WeightsFormat, pack
from napari_tinc.format.widths import INHERITS, SCALAR
from napari_tinc.networks import weights
from napari_tinc.networks.calibration import Corrections
from napari_tinc.networks.scalars import Scalars
from napari_tinc.networks.weights import round_trip, to_chunks
from napari_tinc.octree import Octree
from napari_tinc.training import task

FOLDER = Path(__file__).parent
FROM_THE_FUTURE = b"an ancillary chunk of a later version"

FORMS, KINDS = tuple(WeightsFormat), tuple(Calibration)
Files = dict[str, Callable[[], bytes]]


def networks(
    shape: tuple[int, int, int], depth: int, widths: Sequence[int] | np.ndarray, dtype: str, low: float, high: float,
    form: WeightsFormat = WeightsFormat.ENTROPY, kind: Calibration = Calibration.NONE, *, layers: int = 2,
    seed: int = 0, split: Sequence[int] | None = None, extra: Sequence[Chunk] = (), **facts: Any,
) -> bytes:  # fmt: skip
    """A file of random networks; ``widths`` are of the levels, or of the nodes."""
    rng = np.random.default_rng(seed)
    tree = Octree.full(shape, depth) if split is None else Octree.from_splits(shape, np.array(split) > 0)
    of_nodes = np.array(widths, np.int16) if len(widths) == len(tree.split) else np.array(widths, np.int16)[tree.level]
    low, high = (np.array(value, dtype).item() for value in (low, high))
    header = NetworksHeader(
        tree=tree, dtype=np.dtype(dtype), value_range=(low, high), mean_q=31000, std_q=17000, widths=of_nodes,
        layers=layers, omega0=4.0, weights_format=form, calibration=kind, **facts,
    )  # fmt: skip
    architecture = weights.architecture_of(header)
    steps = rng.uniform(0.01, 0.08, len(architecture.tensors))
    vector, stored = round_trip(architecture, architecture.initial(seed), steps, form)
    n = len(architecture.heads)
    corrections = Corrections.none(n)
    if kind is not Calibration.NONE:
        gain, offset = rng.normal(1, 0.1, n), rng.normal(0, 0.1, n)
        if kind is Calibration.GLOBAL:
            gain[:], offset[:] = gain[0], offset[0]
        corrections = Corrections(kind, gain, offset).stored()
    scalars = Scalars.of(rng.normal(size=int((of_nodes == SCALAR).sum())), 0.01)
    return pack(header, [*to_chunks(architecture, vector, stored, form, corrections, scalars), *extra])


def partly_scalars(form: WeightsFormat = WeightsFormat.ENTROPY) -> bytes:
    """Three levels; of the root's children some end in scalars, some share their network, one has children."""
    shape = (20, 24, 28)
    split = np.zeros(8 * 4 + 1, bool)
    split[[0, 1, 3, 6]] = True
    tree = Octree.from_splits(shape, split)
    widths = np.array([6, 5, 4, 7, 0, 4, 5, 0, 4] + [3] * 8 + [INHERITS] * 8 + [SCALAR] * 8, np.int16)
    widths[10:12], widths[25 + 2] = SCALAR, INHERITS
    assert len(tree.split) == len(widths)
    return networks(shape, 0, widths, "u2", 100, 4000, form, Calibration.PER_LEAF, split=split.tolist(), seed=5)


def mixed_widths(form: WeightsFormat = WeightsFormat.ENTROPY) -> bytes:
    rng = np.random.default_rng(3)
    widths = rng.choice([3, 4, 6], len(Octree.full((30, 17, 26), 2).split))
    return networks((30, 17, 26), 2, widths, "u1", 0, 255, form, layers=1, seed=3)


def many_chunks() -> bytes:
    before = weights.CHUNK_BYTES
    weights.CHUNK_BYTES = 300
    try:
        return networks((24, 24, 24), 1, (10, 8), "u2", 7, 900, kind=Calibration.PER_LEAF, layers=3, seed=8)
    finally:
        weights.CHUNK_BYTES = before


def trained(array: np.ndarray, **options: Any) -> bytes:
    """What the encoder of this version makes of it, with a few steps of training."""
    before = dict(task.STEPS), without_networks.MOST_RATIO
    task.STEPS["fast"], without_networks.MOST_RATIO = 100, 0
    try:
        return tinc.compress(array, preset="fast", device="cpu", **options).parts.data()
    finally:
        task.STEPS.update(before[0])
        without_networks.MOST_RATIO = before[1]


def bounded(array: np.ndarray, max_error: float = 0, **options: Any) -> bytes:
    return tinc.compress(array, max_error=max_error, **options).parts.data()


def of_blocks(
    shape: tuple[int, int, int], dtype: str, low: float, high: float, blocks: Sequence[Payload], *, depth: int = 0,
    overviews: Sequence[Payload] = (), extra: Sequence[Chunk] = (), tree: Octree | None = None, **facts: Any,
) -> bytes:  # fmt: skip
    tree = tree or Octree.full(shape, depth)
    header = BlocksHeader(tree=tree, dtype=np.dtype(dtype), value_range=(low, high), **facts)
    return blocks_file.pack(header, overviews, blocks, extra)


def coded(array: np.ndarray, bound: float, taper: int = 0, dead_zone: float = 0) -> Payload:
    data, decoded = bounded_box.encode_and_decode(array, bound, taper, dead_zone)
    return Payload(data, checksum(decoded))


def tapered() -> bytes:
    """Larger errors where they cost least, in eight boxes and an overview: as files without networks have it."""
    array = np.rint(2000 + 900 * smooth((22, 26, 24), 4)).astype("u2")
    tree = Octree.full(array.shape, 1)
    boxes = [
        array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        for start, stop in zip(tree.start[tree.leaves].tolist(), tree.stop[tree.leaves].tolist(), strict=True)
    ]
    blocks = [coded(np.ascontiguousarray(box), 12, 2, 0.2) for box in boxes]
    means = np.rint([[[array[z : z + 4, y : y + 4, x : x + 4].mean() for x in range(0, 24, 4)]
                      for y in range(0, 26, 4)] for z in range(0, 22, 4)]).astype("u2")  # fmt: skip
    return of_blocks(
        array.shape, "u2", int(array.min()), int(array.max()), blocks, depth=1, overviews=[coded(means, 3)], edge=4
    )


def filtered(dtype: str, classes: int, clips: bool, **facts: Any) -> bytes:
    """Boxes within a bound that pass a filter of random coefficients, and one that is constant and does not."""
    array = waves(dtype, (11, 14, 30), 900)
    array[:6, :7, :15] = array.min()
    rng = np.random.default_rng(classes)
    integers = rng.integers(-40, 41, (classes, 27 if clips else 14)).astype(np.int32)
    tree = Octree.full(array.shape, 1)
    boxes = [
        array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        for start, stop in zip(tree.start[tree.leaves].tolist(), tree.stop[tree.leaves].tolist(), strict=True)
    ]
    blocks = [coded(np.ascontiguousarray(box), 40, 3, 0.15) for box in boxes]
    low, high = array.min().item(), array.max().item()
    return of_blocks(
        array.shape, dtype, low, high, blocks, depth=1, filter=Filter(integers, 8, 0.0078125).pack(), **facts
    )


def both_kinds() -> bytes:
    """Two blocks, one of networks and one without."""
    shape = (10, 9, 22)
    tree = Octree.full(shape, 1)
    first, second = (tuple(size) for size in (tree.stop - tree.start)[tree.leaves].tolist())
    exact = np.rint(500 + 300 * smooth(second, 2)).astype("i2")
    return of_blocks(
        shape, "i2", -800, 900,
        [Payload(networks(first, 0, (6,), "i2", -700, 800, seed=2)), coded(exact, 0)], depth=1,
    )  # fmt: skip


def on_backgrounds(dtype: str) -> bytes:
    """Four blocks: all background, and a background with numbers, with networks, and with numbers again."""
    shape = (17, 16, 130)
    z, y, x = (np.linspace(0, 1, n) for n in shape)
    array = 400 + 90 * z[:, None, None] + 60 * y[:, None] + 200 * x * x
    busy = np.zeros(shape, bool)
    busy[2:9, 2:9, 42:51] = busy[3:11, 3:10, 76:84] = busy[0:8, 0:7, 122:130] = True
    array = (array + np.where(busy, 150 * smooth(shape, 8), 0)).astype(dtype)
    if array.dtype.kind in "iu":
        array = np.rint(array).astype(dtype)
    tree = Octree.full(shape, 2)
    blocks = []
    for start, stop in zip(tree.start[tree.leaves].tolist(), tree.stop[tree.leaves].tolist(), strict=True):
        box = np.ascontiguousarray(array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))])
        payload = coded(box, 6, 3, 0.15)
        if len(blocks) == 2:
            background = Background.parse(payload.data, box.shape, box.dtype).data
            payload = Payload(background + networks(box.shape, 0, (5,), dtype, 300, 900, seed=3))
        blocks.append(payload)
    return of_blocks(shape, dtype, array.min().item(), array.max().item(), blocks, depth=2)


def joined_blocks() -> bytes:
    """A block joined of two, whose numbers are of a part of it; one all background; networks of a part of the last."""
    shape = (18, 20, 150)
    z, y, x = (np.linspace(0, 1, n) for n in shape)
    array = 400 + 90 * z[:, None, None] + 60 * y[:, None] + 200 * x * x
    busy = np.zeros(shape, bool)
    busy[3:12, 5:14, 38:56] = busy[4:12, 6:14, 148:150] = True
    array = np.rint(array + np.where(busy, 150 * smooth(shape, 8), 0)).astype("i2")
    tree = Octree.full(shape, 2)
    tree = tree.without_children(tree.parent[tree.leaves][:1])
    blocks = []
    for start, stop in zip(tree.start[tree.leaves].tolist(), tree.stop[tree.leaves].tolist(), strict=True):
        box = array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        blocks.append(coded(np.ascontiguousarray(box), 6, 3, 0.15))
    assert blocks[0].data[1] & 128 and tree.n_leaves == 3
    background = Background.parse(blocks[2].data, box.shape, box.dtype).cropped()
    size = tuple(side.stop - side.start for side in background.core)
    blocks[2] = Payload(background.data + networks(size, 1, (4, 3), "i2", 300, 900, seed=4))
    return of_blocks(shape, "i2", array.min().item(), array.max().item(), blocks, tree=tree)


def overviews_of_networks() -> bytes:
    """Two channels of two blocks, and an overview each, all of networks."""
    shape, edge = (10, 12, 30), 4
    tree = Octree.full(shape, 1)
    boxes = [tuple(size) for size in (tree.stop - tree.start)[tree.leaves].tolist()]
    small = tuple(-(-n // edge) for n in shape)
    blocks = [Payload(networks(boxes[at % 2], 0, (5,), "f4", -1, 1 + at, seed=at)) for at in range(4)]
    overviews = [Payload(networks(small, 0, (3,), "f4", -1, 2, FORMS[1], seed=20 + at)) for at in range(2)]
    meta = b'{"channels":[{"name":"nuclei","color":"#00ff00"},{"name":"membrane"}]}'
    return of_blocks(
        shape, "f4", -1, 4, blocks, depth=1, overviews=overviews, edge=edge, leading=(2,),
        extra=[Chunk.of(Ancillary.META, meta)],
    )  # fmt: skip


def blocks_on_lattices() -> bytes:
    """Two blocks and an overview of networks; one block and the overview have a lattice."""
    shape, edge = (14, 15, 44), 4
    tree = Octree.full(shape, 1)
    first, second = (tuple(size) for size in (tree.stop - tree.start)[tree.leaves].tolist())
    small = tuple(-(-n // edge) for n in shape)
    return of_blocks(
        shape, "i2", -800, 900,
        [Payload(networks(first, 0, (6,), "i2", -700, 800, seed=2)),
         Payload(networks(second, 1, (6, 4), "i2", -800, 900, seed=3, lattice=(2, 1, 0)))],
        depth=1, overviews=[Payload(networks(small, 0, (3,), "i2", -800, 900, seed=5, lattice=(2, 2, 0)))], edge=edge,
    )  # fmt: skip


def sorted_blocks() -> bytes:
    """Two blocks of networks: columns are sorted in one."""
    shape = (10, 11, 30)
    tree = Octree.full(shape, 1)
    sizes = [tuple(size) for size in (tree.stop - tree.start)[tree.leaves].tolist()]
    forms = (WeightsFormat.ENTROPY, WeightsFormat.SORTED)
    blocks = [
        Payload(networks(size, 1, (9, 4), "i2", -700, 800, form, seed=2))
        for size, form in zip(sizes, forms, strict=True)
    ]
    return of_blocks(shape, "i2", -700, 800, blocks, depth=1)


FILES: Files = {
    "sorted-u2": lambda: networks((26, 30, 41), 1, (21, 6), "u2", 7, 4095, FORMS[3], KINDS[2], layers=3, seed=40,
                                  lattice=(4, 2, 1)),
    "sorted-one-layer-f4": lambda: networks((9, 30, 33), 2, (6, 5, 1), "f4", 0, 1, FORMS[3], layers=1, seed=41),
    "sorted-mixed-widths": lambda: mixed_widths(FORMS[3]),
    "sorted-scalars": lambda: partly_scalars(FORMS[3]),
    "sorted-blocks": sorted_blocks,
    "sorted-trained": lambda: trained(np.rint(2000 + 900 * smooth((24, 28, 30))).astype("u2"), ratio=24),
    "lattice-u2": lambda: networks(
        (26, 30, 41), 1, (7, 5), "u2", 7, 4095, kind=KINDS[2], layers=3, seed=30, lattice=(4, 2, 1)
    ),
    "lattice-outputs-f4": lambda: networks((9, 30, 33), 2, (6, 5, 3), "f4", 0, 1, seed=31, lattice=(6, 3, 3)),
    "lattice-blocks": blocks_on_lattices,
    "entropy-none-u2": lambda: networks((18, 20, 22), 1, (8, 5), "u2", 7, 4095, FORMS[2], KINDS[0], layers=3),
    "entropy-global-f4": lambda: networks((18, 20, 22), 1, (8, 5), "f4", -1.5, 2.25, FORMS[2], KINDS[1], seed=1),
    "entropy-per-head-u1": lambda: networks((18, 20, 22), 1, (8, 5), "u1", 0, 255, FORMS[2], KINDS[2], seed=2),
    "int8-none-i1": lambda: networks((18, 20, 22), 1, (6, 4), "i1", -128, 127, FORMS[1], KINDS[0], seed=3),
    "int8-global-i2": lambda: networks((18, 20, 22), 1, (6, 4), "i2", -3000, 30000, FORMS[1], KINDS[1], seed=4),
    "int8-per-head-f2": lambda: networks((18, 20, 22), 1, (6, 4), "f2", -8, 8, FORMS[1], KINDS[2], seed=5),
    "float16-none-u4": lambda: networks((18, 20, 22), 1, (5, 3), "u4", 0, 2**32 - 1, FORMS[0], KINDS[0], seed=6),
    "float16-global-f8": lambda: networks((18, 20, 22), 1, (5, 3), "f8", -1e-9, 1e-9, FORMS[0], KINDS[1], seed=7),
    "float16-per-head-i4": lambda: networks((18, 20, 22), 1, (5, 3), "i4", -(2**31), 2**31 - 1, FORMS[0], KINDS[2]),
    "one-level": lambda: networks((10, 12, 14), 0, (9,), "u2", 0, 65535, layers=4, seed=9),
    "three-levels-thin": lambda: networks((6, 40, 44), 3, (6, 5, 4, 3), "u1", 3, 200, seed=10),
    "eight-layers": lambda: networks((8, 9, 10), 1, (4, 3), "f4", 0, 1, layers=8, seed=11),
    "mixed-widths": mixed_widths,
    "scalars": partly_scalars,
    "many-chunks": many_chunks,
    "every-fact": lambda: networks(
        (7, 13, 29), 1, (5, 3), "u2", 0, 999, spacing=(2.5, 0.25, 0.25), unit="\N{MICRO SIGN}m",
        origin=(-3.0, 0.0, 1e6), error_bound=0.25, affine=tuple(range(12)), seed=12,
    ),
    "unknown-ancillary": lambda: networks(
        (7, 8, 9), 0, (4,), "u1", 0, 9, seed=13,
        extra=[
            Chunk.of(Ancillary.META, b'{"axes":"abc"}'),
            Chunk(7, True, 5, 3, FROM_THE_FUTURE, zlib.crc32(FROM_THE_FUTURE)),
            Chunk.of(Ancillary.THUMB, b"a picture"),
        ],
    ),
    "line": lambda: networks((1, 1, 65), 4, (4, 3, 3, 2, 2), "i2", -5, 500, seed=14),
    "plane": lambda: networks((1, 31, 50), 2, (5, 4, 3), "f4", 0, 1, kind=KINDS[2], seed=15),
    "voxel": lambda: networks((1, 1, 1), 0, (1,), "u1", 5, 6, layers=1, seed=16),
    "trained": lambda: trained(
        np.rint(2000 + 900 * smooth((24, 28, 30))).astype("u2"), ratio=24, spacing=(2, 0.5, 0.5), units="um"
    ),
    "trained-constant": lambda: trained(np.full((12, 14, 16), 1234, "u2"), nbytes=400),
    "trained-blocks": lambda: trained(
        np.rint(2000 + 900 * smooth((16, 18, 40))).astype("u2"), nbytes=2200, block=24, spacing=(1, 1, 2)
    ),
    "overviews-channels": overviews_of_networks,
    "trained-blocks-channels": lambda: trained(
        np.stack([np.rint(120 + 100 * smooth((16, 18, 20), s)) for s in (1, 2)]).astype("u1"), nbytes=1600,
        channels=[{"name": "nuclei", "color": "#00ff00"}, {"name": "membrane"}],
    ),
    "blocks-of-both-kinds": both_kinds,
    "blocks-tapered": tapered,
    "blocks-background-u2": lambda: on_backgrounds("u2"),
    "blocks-background-f4": lambda: on_backgrounds("f4"),
    "blocks-joined": joined_blocks,
    "filtered-i2": lambda: filtered("i2", 8, True),
    "filtered-f4": lambda: filtered("f4", 4, False),
    "filtered-f8": lambda: filtered("f8", 1, True, error_bound=1e3),
    "exact-constant": lambda: bounded(np.full((5, 6, 7), -1.25, "f4")),
    "exact-u1": lambda: bounded((waves("i2", scale=20) + 100).astype("u1")),
    "exact-u2-background": lambda: bounded(with_background()),
    "exact-i4-table": lambda: bounded(far_apart()),
    "exact-f2-special": lambda: bounded(unlike_floats("f2")),
    "exact-f4-special": lambda: bounded(unlike_floats("f4")),
    "exact-f8-special": lambda: bounded(unlike_floats("f8")),
    "exact-f4-shifted": lambda: bounded(waves("i4", scale=3000).astype("f4") / 16),
    "exact-f8": lambda: bounded(waves("f8", (6, 7, 8))),
    "exact-f4-repeats": lambda: bounded(repeated()),
    "exact-labels-u1": lambda: bounded(balls((14, 16, 18), 9).astype("u1"), labels=True),
    "exact-labels-i4": lambda: bounded(
        np.array([-(2**31), -7, 0, 3, 10**6, 2**31 - 1], "i4")[balls((14, 16, 18), 5, 2)], labels=True
    ),
    "exact-mask": lambda: bounded(balls((13, 15, 17), 3, 3) > 0),
    "exact-time-channels": lambda: bounded(
        np.stack([waves("i2", (6, 7, 8), 40, s) for s in range(6)]).reshape(3, 2, 6, 7, 8),
        axis_labels="tczyx",
        channels=[{"name": "a", "color": "#ff00ff"}, {"name": "b", "color": "#ffffff"}],
        spacing=(1, 2, 3),
        units="mm",
    ),
    "exact-odd-axes": lambda: bounded(
        np.stack([waves("i2", (5, 6, 7), 90, s) + 199 for s in range(4)]).astype("u2").reshape(2, 1, 2, 5, 6, 7),
        axis_labels="wvuzyx",
    ),
    "exact-blocks": lambda: bounded(waves("i1", (9, 20, 70), 50), block=24),
    "bounded-u2": lambda: bounded((waves("i2", (20, 22, 24), 2000) + 3000).astype("u2"), max_error=5),
    "bounded-f4-special": lambda: bounded(
        np.where(balls((12, 13, 14), 2, 4) == 1, np.float32(np.nan), waves("f4", (12, 13, 14))), max_error=0.004
    ),
    "bounded-f4-masked": lambda: bounded(
        np.where(balls((12, 13, 14), 2, 4) == 1, np.float32(1e20), waves("f4", (12, 13, 14))), max_error=0.004
    ),
    "bounded-f8-masked": lambda: bounded(
        np.choose(balls((9, 10, 11), 4, 2) % 3, [waves("f8", (9, 10, 11)), np.nan, -np.inf]), max_error=1e-9
    ),
    "region-exact-in-networks": lambda: trained(
        np.rint(2000 + 900 * smooth((24, 28, 30))).astype("u2"),
        nbytes=3600,
        method="networks",
        spacing=(2, 0.5, 0.5),
        exact=balls((24, 28, 30), 1, 3) > 0,
    ),
    "region-bounded-channels": lambda: bounded(
        np.stack([waves("i2", (9, 12, 40), 300, s) for s in range(2)]),
        40,
        block=24,
        exact_max_error=2,
        exact=np.stack([balls((9, 12, 40), 3, 1) > 0, balls((9, 12, 40), 2, 5) == 1]),
    ),
    "fill-i2-in-networks": lambda: trained(
        np.where(balls((16, 20, 22), 2, 3) > 0, -32768, waves("i2", (16, 20, 22), 900)), nbytes=2400, fill=-32768
    ),
    "fill-i4": lambda: bounded(waves("i4", scale=60) | -np.int32(balls((9, 12, 13), 1) > 0), 3, fill=-1),
    "bounded-f8-wide": lambda: bounded(waves("f8", (10, 11, 12)) ** 9 * 1e200, max_error=1e195),
}  # fmt: skip


def main() -> None:
    records = json.loads((FOLDER / "golden.json").read_text()) if (FOLDER / "golden.json").exists() else {}
    for name, make in FILES.items():
        path = FOLDER / f"{name}.tinc"
        if path.exists():
            print(f"{name}: is there, and stays")
            continue
        data = make()
        records[name] = record(data)
        with path.open("xb") as file:
            file.write(data)
        print(f"{name}: {len(data)} bytes")
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(records[name])}" for name in sorted(records))
    (FOLDER / "golden.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
