"""How long an overlay of 4096 leaves over 256^3 voxels takes in a real window: python -m benchmarks.speed.overlay

Needs a screen, as screenshots.py does. Times are of the call, and of the call and the drawing after it; the image alone
is timed first, since most of a switch to 3D is its own.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

scratch = tempfile.TemporaryDirectory(prefix="napari-tinc-overlay-")
os.environ["NAPARI_CONFIG"] = str(Path(scratch.name) / "settings.yaml")

import napari  # noqa: E402
import numpy as np  # noqa: E402
from qtpy.QtTest import QTest  # noqa: E402

from benchmarks.common import machine, markdown  # noqa: E402
from napari_tinc.decoding.leaf_table import LEAF_FIELDS  # noqa: E402
from napari_tinc.octree import Octree  # noqa: E402
from napari_tinc.plugin.layers.origin import VOLUME  # noqa: E402
from napari_tinc.plugin.leaves.overlays import leaf_view  # noqa: E402


def main() -> None:
    octree, rng = Octree.full((256, 256, 256), 4), np.random.default_rng(0)
    rows = np.zeros(len(octree.leaves), LEAF_FIELDS)
    rows["start"], rows["stop"], rows["level"] = octree.start[octree.leaves], octree.stop[octree.leaves], 4
    for name in ("rmse", "max_error", "psnr", "bytes"):
        rows[name] = rng.random(len(rows))
    # What the views ask of a volume; fitting one with so many leaves would take long and change nothing here.
    volume = SimpleNamespace(leaves=rows, header=SimpleNamespace(tree=octree), shape=octree.shape)
    viewer = napari.Viewer(show_welcome_screen=False)
    # Or the first switch to 3D has the window grow three times, as napari shows its controls of Labels in 3D row by
    # row, and software draws the image each time anew.
    viewer.window.resize(1080, 760)
    values = rng.integers(0, 255, octree.shape).astype(np.uint8)
    image = viewer.add_image(values, name="noise (tinc)", metadata={VOLUME: volume})
    QTest.qWait(500)
    found: list[list[str]] = []

    def timed(name: str, action: Callable[[], object]) -> None:
        began = time.perf_counter()
        action()
        called = time.perf_counter() - began
        viewer.screenshot(flash=False)
        found.append([name, f"{called:.3f}", f"{time.perf_counter() - began:.3f}"])

    for name, ndisplay in (("image alone, to 3D", 3), ("image alone, to 2D", 2)):
        timed(name, lambda ndisplay=ndisplay: setattr(viewer.dims, "ndisplay", ndisplay))
    view = leaf_view(viewer, image)
    timed("build", view.show_leaves)
    for z in (10, 11, 100):
        timed(f"slice {z}", lambda z=z: viewer.dims.set_point(0, z))
    for _ in range(2):
        timed("to 3D, 256 boxes", lambda: setattr(viewer.dims, "ndisplay", 3))
        timed("to 2D", lambda: setattr(viewer.dims, "ndisplay", 2))
    timed("other colours", lambda: view.color_by("bytes"))
    timed("map", lambda: view.show_map("RMSE"))
    viewer.close()
    print(f"{markdown(['', 'call (s)', 'and drawing (s)'], found)}\n\n{machine()}.")


if __name__ == "__main__":
    main()
