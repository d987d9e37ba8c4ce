"""How fluid napari's window stays over large files:

    python -m benchmarks.speed.window_large FOLDER [--every 1] [--edge 512]

Makes, unless they are there, FOLDER/blocks-EDGE.tinc (uint16, smooth structure, edges and noise, --max-error BOUND, in
blocks of 128^3 voxels) and FOLDER/networks-HALF.tinc (the same at half the edge, networks at RATIO, a short training).
Then, each in a process of its own, a real window shows arrays of the same sizes in memory, which is what napari itself
takes, and the files. In each of them z is dragged through all slices (--every n-th), at 25 slices a second at most,
then jumps to 20 slices, then goes from 2D to 3D.

Gaps are the delays of a timer of 5 ms. "coarse" counts slices that were shown before they were decoded. "true after" is
the time until the picture equals the decoded values, which is checked. To measure another version of the package, set
PYTHONPATH. Needs a screen, as screenshots.py does, and an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import machine, markdown

BOUND, RATIO = 400, 500
STEPS = 60  # of the training: what is decoded takes as long as after a whole one
TICK_MS, SLICE_MS, JUMP_MS = 5, 40, 60
MOST_SECONDS = 300


def synthetic(edge: int) -> np.ndarray:
    """Smooth fields of three scales, a ball with shells, and noise; about as hard to predict as a CT."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    fields = [rng.normal(size=(n,) * 3).astype(np.float32) for n in (6, 20, 60)]
    along = np.linspace(-1, 1, edge, dtype=np.float32)
    y, x = along[:, None], along[None]
    out = np.empty((edge,) * 3, np.uint16)
    for at in range(edge):
        plane = np.zeros((edge, edge), np.float32)
        for field, weight in zip(fields, (6000, 2500, 900), strict=True):
            z = at / (edge - 1) * (len(field) - 1)
            low = min(int(z), len(field) - 2)
            between = field[low] * (low + 1 - z) + field[low + 1] * (z - low)
            plane += weight * ndimage.zoom(between, edge / len(field), order=1, grid_mode=True, mode="nearest")
        radius = np.sqrt(1.2 * along[at] ** 2 + y**2 + 1.4 * x**2)
        plane += 20000 * (radius < 0.9) + 9000 * (np.abs(radius - 0.88) < 0.03)
        plane += 4000 * (np.sin(14 * radius + plane / 9000) > 0.6)
        plane[radius >= 0.93] = 1500
        plane += 6000 + rng.normal(scale=200, size=plane.shape).astype(np.float32)
        out[at] = np.clip(plane, 0, 65535)
    return out


def make(folder: Path, edge: int) -> dict[str, Path]:
    """The two files."""
    import napari_tinc as tinc
    from napari_tinc.training import task

    folder.mkdir(parents=True, exist_ok=True)
    half = edge // 2
    files = {"blocks": folder / f"blocks-{edge}.tinc", "networks": folder / f"networks-{half}.tinc"}
    if not files["blocks"].exists():
        tinc.compress(synthetic(edge), max_error=BOUND).save(files["blocks"])
    if not files["networks"].exists():
        task.STEPS["fast"] = STEPS
        tinc.compress(synthetic(half), ratio=RATIO, preset="fast", levels=3, block=half).save(files["networks"])
    return files


def levels(array: np.ndarray) -> list[np.ndarray]:
    """An array and its halves, as a lazy file has them."""
    found = [array]
    while found[-1].size > 2**22:
        found.append(np.ascontiguousarray(found[-1][::2, ::2, ::2]))
    return found


class Window:
    """A viewer with one layer, and the gaps of its event loop."""

    def __init__(self, add: Callable[[Any], Any]) -> None:
        os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
        import napari
        from qtpy.QtCore import Qt, QTimer
        from qtpy.QtTest import QTest

        self.wait = QTest.qWait
        self.viewer = napari.Viewer(show_welcome_screen=False)
        self.viewer.dims.ndisplay = 3  # imports what napari needs for 3D
        self.wait(500)
        self.viewer.dims.ndisplay = 2
        self.gaps: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._on_tick)
        self._timer.start(TICK_MS)
        began = time.perf_counter()
        self.layer = add(self.viewer)
        self.opened = time.perf_counter() - began
        self.settle()
        self.wait(500)

    def settle(self) -> float:
        """Seconds until what is shown is what was asked for."""
        began = time.perf_counter()
        while not self.layer.loaded and time.perf_counter() - began < MOST_SECONDS:
            self.wait(10)
        self.wait(2 * TICK_MS)
        return time.perf_counter() - began

    def take_gaps(self) -> np.ndarray:
        gaps, self.gaps = self.gaps, []
        return np.array(gaps or [0.0])

    def is_true(self) -> bool:
        """Whether the picture has the values of the layer's data."""
        layer, shown = self.layer, np.asarray(self.layer._slice.image.raw)
        level = layer.data[layer.data_level] if layer.multiscale else layer.data
        if self.viewer.dims.ndisplay == 3:
            return np.array_equal(shown, np.asarray(level))
        z = round(self.viewer.dims.current_step[0] / layer.downsample_factors[layer.data_level][0])
        (y0, x0), (y1, x1) = layer.corner_pixels[:, 1:].tolist()
        whole = np.asarray(level[z])
        return np.array_equal(shown, whole[y0 : y1 + 1, x0 : x1 + 1] if layer.multiscale else whole)

    def _on_tick(self) -> None:
        now = time.perf_counter()
        self.gaps.append(max(0.0, 1000 * (now - self._last) - TICK_MS))
        self._last = now


def drive(window: Window, every: int) -> dict[str, str]:
    """Drag, jump, turn to 3D."""
    viewer, layer = window.viewer, window.layer
    count = int(viewer.dims.nsteps[0])
    opening = window.take_gaps()
    found = {"open: worst gap (ms)": f"{opening.max():.0f}"}
    coarse = 0
    for z in range(0, count, every):
        viewer.dims.set_current_step(0, z)
        coarse += not layer.loaded
        window.wait(SLICE_MS)
    drag = window.take_gaps()
    window.settle()
    true = window.is_true()
    window.take_gaps()
    for z in np.random.default_rng(0).integers(0, count, 20).tolist():
        viewer.dims.set_current_step(0, z)
        window.wait(JUMP_MS)
    jumps = window.take_gaps()
    window.settle()
    true &= window.is_true()
    drawn: list[float] = []
    viewer.window._qt_viewer.canvas._scene_canvas.events.draw.connect(lambda _: drawn.append(time.perf_counter()))
    window.take_gaps()
    began = time.perf_counter()
    viewer.dims.ndisplay = 3
    while not drawn:
        window.wait(TICK_MS)
    settled = began + (window.settle(), time.perf_counter() - began)[1]
    solid = window.take_gaps()
    true &= window.is_true()
    return found | {
        "drag: median": f"{np.median(drag):.0f}",
        "95 %": f"{np.percentile(drag, 95):.0f}", "worst": f"{drag.max():.0f}",
        "coarse": f"{coarse} of {len(range(0, count, every))}",
        "jumps: median": f"{np.median(jumps):.0f}", "worst ": f"{jumps.max():.0f}",
        "3D: first picture (ms)": f"{1000 * (drawn[0] - began):.0f}", "worst  ": f"{solid.max():.0f}",
        "true after (s)": f"{settled - began:.1f}", "equal": "yes" if true else "NO",
    }  # fmt: skip


def show(kind: str, place: str, every: int) -> None:
    """Print figures of an array in memory, by its edge, or of a file, as JSON."""
    if kind == "memory":
        arrays = levels(synthetic(int(place)))
        several = len(arrays) > 1
        window = Window(lambda viewer: viewer.add_image(arrays if several else arrays[0], multiscale=several))
    else:
        window = Window(lambda viewer: viewer.open(place, plugin="napari-tinc")[0])
    print(json.dumps(drive(window, every)), flush=True)
    window.viewer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--edge", type=int, default=512)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", choices=["memory", "blocks", "networks"])
    arguments = parser.parse_args()
    files = make(arguments.folder, arguments.edge)
    tasks = [
        ("memory", str(arguments.edge), f"{arguments.edge}^3 in memory"),
        ("blocks", str(files["blocks"]), f"{arguments.edge}^3, within {BOUND}"),
        ("memory", str(arguments.edge // 2), f"{arguments.edge // 2}^3 in memory"),
        ("networks", str(files["networks"]), f"{arguments.edge // 2}^3, networks, ratio {RATIO}"),
    ]
    rows, columns = [], [""]
    for kind, place, name in tasks:
        if arguments.only not in (None, kind):
            continue
        code = f"from benchmarks.speed import window_large; window_large.show({kind!r}, {place!r}, {arguments.every})"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.strip().splitlines()[-1])
        columns = ["gaps in ms", *found]
        rows.append([name, *found.values()])
    load = os.getloadavg()[0]
    print(f"{markdown(columns, rows)}\n\n{machine()}; load {load:.1f}.")


if __name__ == "__main__":
    main()
