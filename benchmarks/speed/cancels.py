"""How long a job takes to end after it is cancelled, and what memory it leaves, through the widget's job layer.

    python -m benchmarks.speed.cancels --times 200

Each cancel comes at a random moment of a job on a volume of 128^3; what is timed is from there to the end of the
generator, which runs in a thread as the widget's does. The jobs of one target share what the job before has warmed up,
and all of them what a whole fit leaves behind, such as libraries.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import random
import sys
import threading
import time
from typing import Any

import numpy as np
import psutil

from benchmarks.common import machine, markdown
from napari_tinc import samples
from napari_tinc.control import Control
from napari_tinc.encoding.options import Options
from napari_tinc.plugin.jobs.job import Request, compress_layer
from napari_tinc.plugin.layers.geometry import Geometry

MRI = samples.mri().array
LABELS = (MRI >> 4).astype("u2")
TARGETS: dict[str, tuple[Any, dict[str, Any], str, float]] = {  # volume, target, preset, seconds on a busy machine
    "ratio 64, fast": (MRI, {"ratio": 64}, "fast", 40),
    "ratio 64, balanced": (MRI, {"ratio": 64}, "balanced", 25),
    "PSNR 36": (MRI, {"psnr": 36}, "fast", 40),
    "lossless, u1": (MRI, {"max_error": 0}, "fast", 8),
    "lossless, f4": (MRI.astype("f4") * np.float32(1.1) + np.float32(0.3), {"max_error": 0}, "fast", 12),
    "lossless, f4 that repeats": ((MRI // 2).astype("f4") * np.float32(1.1), {"max_error": 0}, "fast", 12),
    "max_error 0.5, f4": (MRI.astype("f4") * np.float32(1.1), {"max_error": 0.5}, "fast", 8),
    "labels": (LABELS, {"max_error": 0}, "fast", 6),
    "blocks, ratio 16": (MRI, {"ratio": 16}, "fast", 40),
}


def cancelled_after(seconds: float | None, request: Request) -> tuple[float | None, float, str]:
    """Seconds that the job took to end after so many, None where it had ended before; its CPU time; its last phase.

    After None seconds it is left to end by itself.
    """
    control, ended, phase = Control(), [], ["start"]

    def run() -> None:
        for event in compress_layer(request, control, 2**26):
            phase[0] = getattr(event, "phase", type(event).__name__)
        ended.append(time.perf_counter())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(seconds)
    asked, used, running = time.perf_counter(), time.process_time(), thread.is_alive()
    control.cancel.set()
    thread.join()
    return (ended[0] - asked if running else None), time.process_time() - used, phase[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.25, help="of the seconds that a job takes on a busy machine")
    parser.add_argument("--only", help="targets whose name holds this text")
    args = parser.parse_args()

    chance = random.Random(args.seed)
    targets = {name: value for name, value in TARGETS.items() if not args.only or args.only in name}
    rows, everything = [], []
    process = psutil.Process()
    place = Geometry((1, 1, 1), "", "zyx")
    small = Options(ratio=64, preset="fast", device="cpu")
    cancelled_after(None, Request(name="a", data=MRI[::2, ::2, ::2], geometry=place, options=small))
    for name, (volume, target, preset, seconds_busy) in targets.items():
        most = args.share * seconds_busy
        options = Options(**target, preset=preset, device="cpu", labels=name == "labels")
        request = Request(name="a", data=volume, geometry=place, options=options)
        cancelled_after(3, request)
        gc.collect()
        before = process.memory_info().rss
        found: list[float] = []
        busy: list[float] = []
        grown = 0.0
        while len(found) < -(-args.times // len(targets)):
            at = chance.uniform(0, most)
            seconds, cpu, phase = cancelled_after(at, request)
            if seconds is None:
                most = min(most, at)
                continue
            found.append(seconds)
            busy.append(cpu)
            gc.collect()
            grown = (process.memory_info().rss - before) / 1e6
            if seconds > 0.5:
                print(
                    f"{name}: {seconds:.2f} s ({cpu:.2f} s of CPU) after {at:.1f} s, last seen {phase}",
                    file=sys.stderr,
                    flush=True,
                )
        everything.append((found, busy))
        rows.append([name, *figures(found), *figures(busy)[1:], f"{grown:.0f} MB"])
        print(rows[-1], file=sys.stderr, flush=True)
    found, busy = (list(itertools.chain(*parts)) for parts in zip(*everything, strict=True))
    rows.append([f"all {len(found)}", *figures(found), *figures(busy)[1:], ""])
    print(machine())
    head = ["job", "median", "99th percentile", "worst", "CPU, 99th percentile", "CPU, worst", "resident set grown by"]
    print(markdown(head, rows))


def figures(seconds: list[float]) -> list[str]:
    return [f"{1000 * value:.0f} ms" for value in (*np.percentile(seconds, [50, 99]), max(seconds))]


if __name__ == "__main__":
    main()
