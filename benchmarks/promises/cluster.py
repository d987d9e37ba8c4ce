"""One process, two workers, and two workers of which one is killed half-way: the same bytes?

    python -m benchmarks.promises.cluster CORPUS [--steps 200]

Volume: mri_t1_ch2 in blocks of at most 64 voxels along an edge, ratio 16, preset "fast" with fewer steps. Workers are
processes of one thread each on this machine; their starting time is not counted.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

import napari_tinc as tinc
from napari_tinc.events import Planned
from napari_tinc.training import task

OPTIONS: dict[str, Any] = {"ratio": 16, "preset": "fast", "block": 64, "levels": 2}


def few_steps(steps: int) -> None:
    task.STEPS["fast"] = steps


def run(volume: NDArray, scheduler: Any, kill: int = 0) -> tuple[bytes, float, int]:
    """Bytes, seconds, blocks; the process ``kill`` is killed when a third of the blocks are done."""
    began, blocks, data = time.perf_counter(), 0, b""
    for event in tinc.fit(volume, **OPTIONS, scheduler=scheduler):
        if isinstance(event, Planned):
            blocks = event.n_blocks
        elif isinstance(event, tinc.Finished):
            data = event.volume.parts.data()
        elif event.phase == "blocks" and kill and event.step * 3 >= blocks:
            os.kill(kill, signal.SIGKILL)
            kill = 0
    return data, time.perf_counter() - began, blocks


def main() -> None:
    from distributed import Client, LocalCluster

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    few_steps(args.steps)
    volume = tifffile.imread(args.corpus / "mri_t1_ch2.tif")
    one, seconds, blocks = run(volume, None)
    print(
        f"one process: {blocks} blocks, {len(one)} bytes, {seconds:.0f} s, {seconds / blocks:.2f} s a block", flush=True
    )
    for killing in (False, True):
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            client.register_worker_callbacks(lambda: few_steps(args.steps))  # of restarted workers, too
            pids = client.run(os.getpid)
            data, seconds, _ = run(volume, client, next(iter(pids.values())) if killing else 0)
            after = client.run(os.getpid)
        lost = len(set(pids.values()) - set(after.values()))
        same = "the same bytes" if data == one else f"OTHER bytes ({len(data)})"
        print(f"two workers, {lost} killed: {same}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
