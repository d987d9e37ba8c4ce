"""What a process of its own costs and how soon it ends: python -m benchmarks.speed.isolation [--cancels 50]

Seconds (wall clock and CPU) from the call of fit and of fit_isolated to their first event, for the bundled MRI and with
no compiled code loaded yet; voxels a second that the child is handed; how long a cancelled fit takes to end, at random
moments; and how much more memory the caller uses afterwards.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import threading
import time

import numpy as np
import psutil

import napari_tinc as tinc
from benchmarks.common import machine, markdown
from napari_tinc.samples import mri

FIRST = """
import time, resource
from napari_tinc.encoding import compress as codec; from napari_tinc.isolation import caller as isolation
from napari_tinc.samples import mri
array, began = mri().array, time.perf_counter()
events = {fit}(array, {options})
next(events)
wall = time.perf_counter() - began
events.close()
cpu = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(wall, sum(used.ru_utime + used.ru_stime for used in cpu))
"""


def first_event(fit: str, options: str) -> tuple[float, float]:
    """Seconds to the first event, and CPU seconds of a process that does nothing else."""
    code = FIRST.format(fit=fit, options=options)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    wall, cpu = map(float, found.split())
    return wall, cpu


def starts(rounds: int) -> str:
    rows = []
    for name, options in (("networks", "ratio=64, levels=2, preset='fast'"), ("within a bound", "max_error=4")):
        pairs = [
            (first_event("codec.fit", options), first_event("isolation.fit_isolated", options)) for _ in range(rounds)
        ]
        for at, what in enumerate(("seconds", "CPU seconds")):
            here, there = (statistics.median(pair[side][at] for pair in pairs) for side in (0, 1))
            more = statistics.median(pair[1][at] - pair[0][at] for pair in pairs)
            rows.append([name, what, f"{here:.2f}", f"{there:.2f}", f"{more:.2f}"])
    return markdown(["to the first event", "", "in this process", "in one of its own", "more"], rows)


def handed_over() -> str:
    array = np.zeros((256, 512, 512), np.float32)
    began = time.perf_counter()
    *_, last = tinc.fit_isolated(array, max_error=1)
    there = time.perf_counter() - began
    began = time.perf_counter()
    *_, last = tinc.fit(array, max_error=1)
    here = time.perf_counter() - began
    assert last.volume.nbytes_compressed < 10_000
    return (
        f"An empty volume of {array.nbytes / 1e6:.0f} MB within a bound, each voxel read twice: {here:.1f} s here, "
        f"{there:.1f} s there."
    )


def cancels(count: int) -> str:
    array, seconds = mri().array, []
    rng = random.Random(0)
    before = psutil.Process().memory_info().rss
    for _ in range(count):
        control, asked = tinc.Control(), []

        def cancel(control: tinc.Control = control, asked: list[float] = asked) -> None:
            asked.append(time.perf_counter())
            control.cancel.set()

        threading.Timer(rng.uniform(0, 6), cancel).start()
        for _ in tinc.fit_isolated(array, ratio=64, preset="best", control=control):
            pass
        seconds.append(time.perf_counter() - asked[0])
    after = psutil.Process().memory_info().rss
    return (
        f"{count} cancels at random moments of the first 6 s: median {statistics.median(seconds):.2f} s, 99 % "
        f"{np.percentile(seconds, 99):.2f} s, worst {max(seconds):.2f} s; {(after - before) / 1e6:+.1f} MB in the "
        "caller."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cancels", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{starts(arguments.rounds)}\n\n{handed_over()}\n\n{cancels(arguments.cancels)}\n\n{machine()}.")


if __name__ == "__main__":
    main()
