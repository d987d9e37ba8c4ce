"""Whether the same command gives the same bytes: in many processes, on a busy machine, on one CPU and on two.

    python -m benchmarks.promises.reproducible --times 20

A process makes five files; odd ones share the CPUs with a process that keeps one busy; "1 CPU" is pinned to one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from benchmarks.common import computer, markdown

JOBS = {
    "ratio 64, fast": "volume, ratio=64, preset='fast'",
    "ratio 4, networks or none": "volume, ratio=4, preset='fast'",
    "PSNR 24": "volume, psnr=24, preset='fast'",
    "blocks": "volume, ratio=16, preset='fast', block=24",
    "float32, max_error 0.5": "volume.astype('f4') * 1.1, max_error=0.5",
}
EACH = 5  # files that a process makes
RUN = """
import hashlib
import napari_tinc as tinc
from napari_tinc import samples
volume = samples.mri().array[24:104:2, 24:104:2, 24:104:2]
for _ in range({each}):
    print(hashlib.sha256(tinc.compress({job}, device="cpu").parts.data()).hexdigest())
"""


def digests(job: str, cpus: set[int], each: int) -> list[str]:
    """Of the files that a process makes that may use these CPUs."""
    command = [sys.executable, "-c", RUN.format(job=job, each=each)]
    pin = f"import os, sys; os.sched_setaffinity(0, {cpus}); os.execv(sys.executable, sys.argv[1:])"
    run = subprocess.run([sys.executable, "-c", pin, *command], capture_output=True, text=True, check=True)
    return run.stdout.split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20)
    times = parser.parse_args().times
    cpus = sorted(os.sched_getaffinity(0))
    rows = []
    for name, job in JOBS.items():
        all_cpus = f"{len(cpus)} CPUs"
        found = {"1 CPU": digests(job, {cpus[0]}, 2), all_cpus: []}
        for number in range(-(-times // EACH)):
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if number % 2 else None
            found[all_cpus] += digests(job, set(cpus), EACH)
            if busy:
                busy.kill()
                busy.wait()
        sets = [set(digests) for digests in found.values()]
        row = [name, *(f"{len(one)} of {len(all_)}" for one, all_ in zip(sets, found.values(), strict=True))]
        rows.append([*row, "yes" if sets[0] == sets[1] else "no"])
        print(rows[-1], file=sys.stderr, flush=True)
    print(computer("numpy", "numba"))
    print(markdown(["job", *(f"different files, {name}" for name in found), "the same on both"], rows))


if __name__ == "__main__":
    main()
