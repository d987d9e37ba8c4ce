"""A volume of 1024^3 voxels that is never in memory: compressing it, opening it, looking at it.

    python -m benchmarks.speed.large CORPUS FOLDER [--steps 100] [--ratio 1024]

Makes FOLDER/large.zarr (2 GB of uint16, tiled from volumes of the corpus, mirrored and under a smooth gain) if it is
not there, compresses it in a process of its own whose peak of resident memory is reported, and measures the file:
opening, slices, a block of 64^3, and scrolling through 200 slices in napari, whose growth of memory is reported. Each
block is trained for so many steps, fewer than the preset's so that the run ends today: neither memory nor the time to
read depends on them.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

EDGE, BLOCK = 1024, 128
TILES = ("ct_thorax", "fluo_nuclei", "microct_snow", "mri_mni152", "mri_t1_ch2")


def tiles(corpus: Path) -> list[NDArray[np.float32]]:
    """Volumes that repeat without an edge, from 0 to 1."""
    import tifffile

    mirrored = []
    for name in TILES:
        tile = tifffile.imread(corpus / f"{name}.tif").astype(np.float32)
        low, high = np.percentile(tile, (0.1, 99.9))
        tile = np.clip((tile - low) / (high - low), 0, 1)
        mirrored.append(np.pad(tile, [(0, n) for n in tile.shape], mode="symmetric"))
    return mirrored


def slab(of: list[NDArray[np.float32]], z: int) -> NDArray[np.uint16]:
    """The planes of a row of blocks, from z on."""
    phase = [np.sin(np.arange(EDGE) * 2 * np.pi / EDGE + shift) for shift in range(3)]
    planes = np.empty((BLOCK, EDGE, EDGE), np.float32)
    for y in range(0, EDGE, 256):
        for x in range(0, EDGE, 256):
            tile = of[(y // 256 + 2 * (x // 256) + z // 256) % len(of)]
            sizes = zip((z, y, x), (BLOCK, 256, 256), tile.shape, strict=True)
            index = [np.arange(at, at + n) % size for at, n, size in sizes]
            planes[:, y : y + 256, x : x + 256] = tile[np.ix_(*index)]
    gain = 0.75 + 0.08 * sum(
        wave[(slice(z, z + BLOCK) if axis == 0 else slice(None),)].reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, wave in enumerate(phase)
    )
    return np.rint(planes * gain * 40000).astype(np.uint16)


def make(corpus: Path, path: Path) -> None:
    import zarr

    array = zarr.create_array(path, shape=(EDGE,) * 3, chunks=(BLOCK,) * 3, dtype="uint16")
    of = tiles(corpus)
    for z in range(0, EDGE, BLOCK):
        array[z : z + BLOCK] = slab(of, z)


def compress(source: str, target: str, steps: int, ratio: float) -> None:
    import zarr

    import napari_tinc as tinc
    from napari_tinc.events import Planned
    from napari_tinc.training import task

    task.count_steps = lambda *_: steps
    for event in tinc.fit(zarr.open_array(source, mode="r"), ratio=ratio, preset="fast"):
        if isinstance(event, Planned):
            planned = event
        elif isinstance(event, tinc.Finished):
            event.volume.save(target)
            figures = {
                "blocks": planned.n_blocks, "block": planned.block_shape, "announced MB": planned.memory / 1e6,
                "peak MB": peak_of_this_program(), "seconds": event.seconds,
                "file MB": event.volume.nbytes_compressed / 1e6, "ratio": event.quality.ratio,
                "PSNR": event.quality.psnr, "SSIM": event.quality.ssim,
            }  # fmt: skip
            print(json.dumps(figures))


def peak_of_this_program() -> float:
    """MB of memory at most. What getrusage tells begins with the peak of the program that started this one."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1)) / 1e3


def report(what: str, work: Callable[[int], object], times: int = 9) -> None:
    took = []
    for at in range(times):
        began = time.perf_counter()
        work(at)
        took.append(1e3 * (time.perf_counter() - began))
    print(f"{what}: median {np.median(took):.1f} ms, worst {max(took):.1f}")


def look(path: Path) -> None:
    import napari_tinc as tinc

    report("open", lambda _: tinc.open(path))
    for axis in range(3):
        volume = tinc.open(path)
        places = [(slice(None),) * axis + (100 + 90 * at,) for at in range(9)]
        report(f"slice across axis {axis}", lambda at, volume=volume, places=places: np.asarray(volume[places[at]]))
    volume = tinc.open(path)
    np.asarray(volume[100])
    report("slice across axis 0, its networks known", lambda at: np.asarray(volume[101 + at]))
    corners = np.random.default_rng(0).integers(0, EDGE - 64, (9, 3))
    blocks = [tuple(slice(low, low + 64) for low in corner) for corner in corners]
    report("block of 64^3", lambda at: np.asarray(tinc.open(path)[blocks[at]]))


def scroll(path: Path) -> None:
    import napari

    viewer = napari.Viewer()
    process = psutil.Process()
    (layer,) = viewer.open(path, plugin="napari-tinc")
    before = process.memory_info().rss
    took = []
    for z in range(300, 500):
        began = time.perf_counter()
        viewer.dims.set_current_step(0, z)
        napari.qt.get_qapp().processEvents()
        took.append(1e3 * (time.perf_counter() - began))
    grown = (process.memory_info().rss - before) / 1e6
    print(f"scrolling 200 slices in napari, level {layer.data_level}: median {np.median(took):.0f} ms, ", end="")
    print(f"worst {max(took):.0f}; {grown:.0f} MB more")
    viewer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--ratio", type=float, default=1024)
    args = parser.parse_args()
    source, target = args.folder / "large.zarr", args.folder / "large.tinc"
    if not source.exists():
        make(args.corpus, source)
    if not target.exists():
        code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "
        code += "from benchmarks.speed.large import compress; "
        code += f"compress({str(source)!r}, {str(target)!r}, {args.steps}, {args.ratio})"
        subprocess.run([sys.executable, "-c", code], check=True)
    look(target)
    scroll(target)


if __name__ == "__main__":
    main()
