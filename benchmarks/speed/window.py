"""How fluid napari's window stays while a volume is compressed in it: python -m benchmarks.speed.window [--preset fast]

Compresses the bundled MRI (128^3 voxels) from the widget in a real window, in napari's process and in one of its own,
with a timer of 5 ms whose delays are the gaps of the event loop, then the same without a window, one after the other,
--rounds times. Start is the time from Compress to the first progress. Memory is what napari's process uses more after
a job than before it, when its result has been removed. Needs a screen, as screenshots.py does, and an idle machine.
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
import psutil  # noqa: E402
from napari._app_model import get_app_model  # noqa: E402
from qtpy.QtCore import QTimer  # noqa: E402
from qtpy.QtTest import QTest  # noqa: E402

from benchmarks.common import machine, markdown, timed_fit  # noqa: E402
from napari_tinc.plugin.compress import widget as compress_widget  # noqa: E402
from napari_tinc.samples import mri  # noqa: E402

TICK_MS = 5


def in_a_window(preset: str, isolate: bool) -> tuple[float, float, list[float], float]:
    """Seconds of all of it and until the first progress, the gaps of the event loop in ms, and MB that stay in use."""
    viewer = napari.Viewer(show_welcome_screen=False)
    viewer.open_sample("napari-tinc", "sample_mri")
    get_app_model().commands.execute_command("napari-tinc.compress_widget")
    widget = viewer.window.dock_widgets["Compress (TINC)"]
    assert isinstance(widget, compress_widget.CompressWidget)
    widget.preset.value, widget.isolate.value = preset, isolate
    QTest.qWait(4000)  # torch is asked for devices
    gaps: list[float] = []
    first: list[float] = []
    widget.queue.progressed.connect(lambda *_: first or first.append(time.perf_counter() - began))
    memory = psutil.Process().memory_info().rss
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
    viewer.layers.remove("brain (tinc 64x)")
    QTest.qWait(500)
    memory = psutil.Process().memory_info().rss - memory
    viewer.close()
    return seconds, first[0], gaps, memory / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    volume = mri().array
    rows, ratios = [], {False: [], True: []}
    starts = []
    for number in range(arguments.rounds):
        _, _, alone = timed_fit(volume, ratio=64, preset=arguments.preset)
        start = {}
        for isolate in (False, True) if number % 2 else (True, False):
            seconds, start[isolate], gaps, memory = in_a_window(arguments.preset, isolate)
            ratios[isolate].append(seconds / alone)
            rows.append([
                "of its own" if isolate else "napari's", f"{np.median(gaps):.0f}", f"{np.percentile(gaps, 99):.0f}",
                f"{max(gaps):.0f}", f"{start[isolate]:.1f}", f"{seconds:.1f}", f"{alone:.1f}",
                f"{seconds / alone:.2f}", f"{memory:.0f}",
            ])  # fmt: skip
        starts.append(start[True] - start[False])
    head = [
        "process", "gap: median (ms)", "99 %", "worst", "start (s)", "in napari (s)", "without (s)", "ratio",
        "memory (MB)",
    ]  # fmt: skip
    print(
        f"{markdown(head, rows)}\n\nMedian ratio {statistics.median(ratios[False]):.2f} in napari's process, "
        f"{statistics.median(ratios[True]):.2f} in one of its own, which starts {statistics.median(starts):.1f} s "
        f"later. {machine()}."
    )


if __name__ == "__main__":
    main()
