"""Whether the same command gives the same bytes: in many processes, on a busy machine, on one CPU and on two.

    python benchmarks/reproducible.py --times 20

Every run is a process of its own. Odd runs share the CPUs with a process that keeps one busy; "1 CPU" is pinned to one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from common import computer, markdown

JOBS = {
    "ratio 64, fast": "volume, ratio=64, preset='fast'",
    "ratio 4, networks or none": "volume, ratio=4, preset='fast'",
    "PSNR 24": "volume, psnr=24, preset='fast'",
    "blocks of 32": "volume[:32], ratio=32, preset='fast', block=32",
    "float32, max_error 0.5": "volume[:48].astype('f4') * 1.1, max_error=0.5",
}
RUN = """
import hashlib, sys
import napari_tinc as tinc
from napari_tinc import samples
volume = samples.mri().array[::2, ::2, ::2]
print(hashlib.sha256(tinc.compress({job}, device="cpu").parts.data()).hexdigest())
"""


def digest(job: str, cpus: set[int]) -> str:
    """Of the file that the job makes in a process that may use these CPUs."""
    command = [sys.executable, "-c", RUN.format(job=job)]
    pin = f"import os, sys; os.sched_setaffinity(0, {cpus}); os.execv(sys.executable, sys.argv[1:])"
    return subprocess.run([sys.executable, "-c", pin, *command], capture_output=True, text=True, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20)
    times = parser.parse_args().times
    cpus = sorted(os.sched_getaffinity(0))
    rows = []
    for name, job in JOBS.items():
        found = {"1 CPU": [digest(job, {cpus[0]}) for _ in range(2)], f"{len(cpus)} CPUs": []}
        for time in range(times):
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if time % 2 else None
            found[f"{len(cpus)} CPUs"].append(digest(job, set(cpus)))
            if busy:
                busy.kill()
                busy.wait()
        sets = [set(digests) for digests in found.values()]
        row = [name, *(f"{len(one)} of {len(all_)}" for one, all_ in zip(sets, found.values(), strict=True))]
        rows.append([*row, "yes" if sets[0] == sets[1] else "no"])
        print(rows[-1], file=sys.stderr, flush=True)
    print(computer("numpy", "torch"))
    print(markdown(["job", *(f"different files, {name}" for name in found), "the same on both"], rows))


if __name__ == "__main__":
    main()
