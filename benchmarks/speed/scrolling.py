"""Scrolling through compressed volumes in napari: how long a step takes, and how much of the volume it decodes.

    python -m benchmarks.speed.scrolling CORPUS FOLDER [--steps 100] [--edge 256] [--reuse]

Makes FOLDER/one.tinc (a single tree) and FOLDER/eight.tinc (blocks) of a brain of the corpus, mirrored to EDGE^3
voxels, at RATIO, with networks, whose widths are those of a whole training; the training itself is cut short, as it
changes nothing here. FOLDER/none.tinc has no networks and is lossless. Then, in processes of their own, with slicing on
napari's thread and beside it (NAPARI_ASYNC=1), a real napari window goes through z, a slice a step, from the first to
the last.

A step lasts until the slice is there and has been drawn. Points evaluated are counted in decode.Network.on_grid, and
voxels in residual.decode, those of the thumbnail and of coarser levels among them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import machine, markdown


def make(corpus: Path, folder: Path, edge: int, steps: int, ratio: float) -> None:
    import tifffile

    import napari_tinc as tinc
    from napari_tinc.format.networks_file import WeightsFormat
    from napari_tinc.training import task
    from napari_tinc.training.allocation import allocate

    brain = tifffile.imread(corpus / "mri_mni152.tif")
    while min(brain.shape) < edge:
        brain = np.pad(brain, [(0, n) for n in brain.shape], mode="symmetric")
    brain = brain[:edge, :edge, :edge]
    folder.mkdir(parents=True, exist_ok=True)
    task.STEPS["fast"] = steps
    for name, block in (("one", edge), ("eight", edge // 2)):
        octree, *_ = allocate((block,) * 3, brain.nbytes / ratio * (block / edge) ** 3, WeightsFormat.ENTROPY)
        levels = octree.depth + 1  # as it would be by itself; but asked for, there are networks whatever is better
        tinc.compress(brain, ratio=ratio, preset="fast", block=block, levels=levels).save(folder / f"{name}.tinc")
    tinc.compress(brain, max_error=0).save(folder / "none.tinc")


def scroll(path: str) -> None:
    """Print figures of one file as JSON."""
    import napari
    from napari.qt import get_qapp

    from napari_tinc.bounded import box
    from napari_tinc.networks.evaluate import Network

    evaluated = [0]
    on_grid, decode = Network.on_grid, box.decode_box

    def counting(self: Network, axes: list[np.ndarray], *arguments: Any, **options: Any) -> np.ndarray:
        evaluated[0] += int(np.prod([len(axis) for axis in axes]))
        return on_grid(self, axes, *arguments, **options)

    def counting_voxels(data: bytes, shape: tuple[int, ...], *arguments: Any) -> np.ndarray:
        evaluated[0] += int(np.prod(shape))
        return decode(data, shape, *arguments)

    Network.on_grid = counting  # type: ignore[method-assign]
    box.decode_box = counting_voxels
    viewer = napari.Viewer()
    application = get_qapp()
    began = time.perf_counter()
    (layer,) = viewer.open(path, plugin="napari-tinc")
    opened = time.perf_counter() - began
    n_slices, size = int(viewer.dims.nsteps[0]), layer.metadata["tinc"].size

    def settle() -> None:
        """Until what is on screen is what was asked for."""
        while not layer.loaded:
            time.sleep(0.001)
            application.processEvents()
        application.processEvents()

    for _ in range(5):
        settle()
    took, counted = [], []
    for z in range(n_slices):
        before, began = evaluated[0], time.perf_counter()
        viewer.dims.set_current_step(0, z)
        settle()
        took.append(1e3 * (time.perf_counter() - began))
        counted.append(100 * (evaluated[0] - before) / size)
    level = layer.data_level
    before, began = evaluated[0], time.perf_counter()
    viewer.dims.ndisplay = 3
    settle()
    solid = time.perf_counter() - began
    found = {
        "open (ms)": f"{1e3 * opened:.0f}", "level": str(level),
        "step: median (ms)": f"{np.median(took):.0f}", "95 %": f"{np.percentile(took, 95):.0f}",
        "worst": f"{max(took):.0f}", "decoded: mean (%)": f"{np.mean(counted):.2f}", "most": f"{max(counted):.2f}",
        "3D shows": "x".join(map(str, layer._slice.image.raw.shape)), "after (s)": f"{solid:.1f}",
    }  # fmt: skip
    print(json.dumps(found))
    viewer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--ratio", type=float, default=64)
    parser.add_argument("--edge", type=int, default=256)
    parser.add_argument("--reuse", action="store_true", help="take the files that are in FOLDER")
    arguments = parser.parse_args()
    if not arguments.reuse:
        make(arguments.corpus, arguments.folder, arguments.edge, arguments.steps, arguments.ratio)
    rows, columns = [], [""]
    for name in ("one", "eight", "none"):
        for asynchronous in ("0", "1"):
            code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "
            code += "from benchmarks.speed.scrolling import scroll; "
            code += f"scroll({str(arguments.folder / name)!r} + '.tinc')"
            done = subprocess.run(
                [sys.executable, "-c", code], check=True, capture_output=True, text=True,
                env=os.environ | {"NAPARI_ASYNC": asynchronous},
            )  # fmt: skip
            found = json.loads(done.stdout.strip().splitlines()[-1])
            columns = ["", *found]
            rows.append([f"{name}.tinc, NAPARI_ASYNC={asynchronous}", *found.values()])
    print(f"{markdown(columns, rows)}\n\n{machine()}.")


if __name__ == "__main__":
    main()
