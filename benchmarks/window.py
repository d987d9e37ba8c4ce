"""How fluid napari's window stays while a volume is compressed in it: python benchmarks/window.py [--preset fast]

Compresses the bundled MRI (128^3 voxels) from the widget in a real window, with a timer of 5 ms whose delays are the
gaps of the event loop, then the same without a window, one after the other, --rounds times. Needs a screen, as
screenshots.py does, and an idle machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

scratch = tempfile.TemporaryDirectory(prefix="napari-tinc-window-")
os.environ["NAPARI_CONFIG"] = str(Path(scratch.name) / "settings.yaml")

import napari  # noqa: E402
import numpy as np  # noqa: E402
from common import machine, markdown, timed_fit  # noqa: E402
from napari._app_model import get_app_model  # noqa: E402
from qtpy.QtCore import QTimer  # noqa: E402
from qtpy.QtTest import QTest  # noqa: E402

from napari_tinc.plugin import compress  # noqa: E402
from napari_tinc.samples import mri  # noqa: E402

TICK_MS = 5


def in_a_window(preset: str, preview: bool) -> tuple[float, list[float]]:
    """Seconds of training and packing, and the gaps of the event loop in ms."""
    viewer = napari.Viewer(show_welcome_screen=False)
    viewer.open_sample("napari-tinc", "sample_mri")
    get_app_model().commands.execute_command("napari-tinc.compress_widget")
    widget = viewer.window.dock_widgets["Compress (TINC)"]
    assert isinstance(widget, compress.CompressWidget)
    widget.preset.value, widget.preview.value = preset, preview
    QTest.qWait(2000)
    gaps: list[float] = []
    last = time.perf_counter()

    def tick() -> None:
        nonlocal last
        now = time.perf_counter()
        gaps.append(1000 * (now - last) - TICK_MS)
        last = now

    timer = QTimer()
    timer.timeout.connect(tick)
    began = time.perf_counter()
    widget.start()
    last = time.perf_counter()
    timer.start(TICK_MS)
    step = 0
    while widget.queue.running is not None:
        QTest.qWait(20)
        step += 1
        if step % 25 == 0:  # the user looks around meanwhile
            viewer.dims.set_point(0, step // 25 % 128)
    timer.stop()
    seconds = time.perf_counter() - began
    viewer.close()
    return seconds, gaps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    volume = mri().array
    rows, ratios = [], []
    for _ in range(arguments.rounds):
        seconds, gaps = in_a_window(arguments.preset, preview=True)
        _, _, alone = timed_fit(volume, ratio=64, preset=arguments.preset)
        ratios.append(seconds / alone)
        rows.append([
            f"{np.median(gaps):.0f}", f"{np.percentile(gaps, 99):.0f}", f"{max(gaps):.0f}", f"{seconds:.1f}",
            f"{alone:.1f}", f"{seconds / alone:.2f}",
        ])  # fmt: skip
    head = ["gap: median (ms)", "99 %", "worst", "in napari (s)", "without (s)", "ratio"]
    print(f"{markdown(head, rows)}\n\nMedian ratio {statistics.median(ratios):.2f}. {machine()}.")


if __name__ == "__main__":
    main()
