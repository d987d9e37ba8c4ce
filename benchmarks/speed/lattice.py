"""How much faster files decode on a lattice: OMP_NUM_THREADS=1 taskset -c 0 python -m benchmarks.speed.lattice CORPUS

Fits volumes with `fast`. Decodes each file as it is, and with its lattice taken away as files were before, in turn: all
of it, and slices of a file of blocks that has the same tree 4 x 4 times side by side. A slice is cold, with its trees
parsed; the next are the mean of the eight behind. CPU seconds, medians of --runs turns. Needs minutes; a busy machine
makes the figures larger and hardly changes their ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import napari_tinc as tinc
from benchmarks.common import VOLUMES, load, machine, markdown
from napari_tinc.decoding.network_box import NetworkBox
from napari_tinc.format import blocks_file, networks_file
from napari_tinc.format.blocks_file import BlocksHeader, Payload
from napari_tinc.octree import Octree

SIDE = 4  # Trees side by side along y and x.
NEXT = 8  # Slices behind a cold one.
CACHE = 2**29  # Bytes: all trees stay parsed.


def cpu_seconds(work: Callable[[], object]) -> float:
    """What the process spends on it."""
    began = time.process_time()
    work()
    return time.process_time() - began


def side_by_side(box: NetworkBox, data: bytes) -> tinc.TincVolume:
    """A volume of blocks that are all the same tree."""
    z, y, x = box.shape
    shape = (z, SIDE * y, SIDE * x)
    tree = next(
        tree for depth in range(1, 9) if (tree := Octree.full(shape, depth)).n_leaves == SIDE**2
        and tree.stop[tree.leaves[0]].tolist() == [z, y, x]
    )  # fmt: skip
    header = BlocksHeader(tree=tree, dtype=box.header.dtype, value_range=box.header.value_range)
    return tinc.TincVolume(blocks_file.pack(header, [], [Payload(data)] * SIDE**2, []), cache_bytes=CACHE)


def slices(volume: tinc.TincVolume, first: int) -> tuple[float, float]:
    """Seconds of a cold slice whose trees are parsed, and the mean of those of the next."""
    np.asarray(volume[0])
    cold = cpu_seconds(lambda: np.asarray(volume[first]))
    return cold, statistics.mean(cpu_seconds(lambda at=at: np.asarray(volume[first + at])) for at in range(1, NEXT + 1))


def psnr(found: NDArray[np.generic], volume: NDArray[np.generic]) -> float:
    """In dB, by the range of the volume."""
    errors = np.square(found.astype(float) - volume).mean()
    return float(20 * np.log10(float(np.ptp(volume)) / np.sqrt(errors)))


def row(name: str, volume: NDArray[np.generic], ratio: int, n_runs: int) -> list[str]:
    """A row of the table: with the lattice against without."""
    compressed = tinc.compress(volume, ratio=ratio, preset="fast", method="networks")
    box = compressed.parts.part(0, 0)
    assert isinstance(box, NetworkBox)
    critical = [chunk for chunk in box.chunks if not chunk.ancillary]
    files = [networks_file.pack(replace(box.header, lattice=of), critical) for of in ((), box.header.lattice)]
    volumes = [tinc.TincVolume(data) for data in files]
    psnrs = [psnr(np.asarray(one), volume) for one in volumes]
    times: list[list[list[float]]] = [[[], [], [], []] for _ in files]
    first = volume.shape[0] // 4 // 2 * 2
    for _ in range(n_runs):
        for data, one, of in zip(files, volumes, times, strict=True):
            of[0].append(cpu_seconds(lambda one=one: np.asarray(one)) / volume.size * 1e9)
            for odd in (0, 1):
                cold, after = slices(side_by_side(box, data), first + odd)
                of[1 + odd].append(1000 * cold)
                of[3].append(1000 * after)
    medians = [[statistics.median(values) for values in of] for of in times]
    cells = [f"{a:.0f} / {b:.0f} = {a / b:.2f}" for a, b in zip(*medians, strict=True)]
    widths = [int(w) for w in np.unique(box.header.widths[box.header.widths > 0])[::-1]]
    lattice = ", ".join(map(str, box.header.lattice)) or "none"
    return [f"{name} {ratio}", "/".join(map(str, widths)), lattice, f"{psnrs[1] - psnrs[0]:+.3f}", *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument(
        "--volumes", nargs="+", default=["mri_t1_ch2", "fluo_nuclei", "sim_turbulence"], choices=VOLUMES
    )
    parser.add_argument("--edge", type=int, default=128, help="voxels along an edge of the middle that is fitted")
    parser.add_argument("--ratios", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    rows = []
    for name in args.volumes:
        volume = load(args.corpus, name)
        middle = [slice(max(0, (n - args.edge) // 2), max(0, (n - args.edge) // 2) + args.edge) for n in volume.shape]
        volume = np.ascontiguousarray(volume[tuple(middle)])
        rows += [row(name, volume, ratio, args.runs) for ratio in args.ratios]
        print(rows[-len(args.ratios) :], flush=True)
    head = [
        "volume, ratio",
        "widths",
        "lattice",
        "dB",
        "ns a voxel",
        "ms, cold slice",
        "ms, cold odd slice",
        "ms, next",
    ]
    print(markdown(head, rows))
    print(f"\nWithout / with a lattice. {machine()}")


if __name__ == "__main__":
    main()
