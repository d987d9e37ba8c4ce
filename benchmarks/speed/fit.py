"""The fit on a CPU before and after a change: python -m benchmarks.speed.fit CORPUS OLD_CHECKOUT

Two processes, one with this checkout and one with the old one, take turns, so that both have the same machine. First
steps: the median over a short training, rounding included, of the networks that a ratio gets. Then whole files of
crops, with their PSNR. Last a job of blocks. Seconds and CPU seconds of old and new, and the ratio of their medians.
The first file of a process, which compiles or imports, is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import VOLUMES, load, machine, markdown
from benchmarks.speed.pairs import Answer, Ask, answer, start

STEPS = 400  # A training that is timed has as many; the first twentieth does not count.
BATCH = 4096  # Voxels in its steps, as in `fast` and `balanced`.


# --- one of the two processes: a request a line on stdin, an answer a line on stdout ---------------------------------


def crop(corpus: str, name: str, edge: int) -> NDArray[Any]:
    """The middle of a volume."""
    volume = load(Path(corpus), name)
    return np.ascontiguousarray(volume[tuple(slice(max(0, (n - edge) // 2), (n + edge) // 2) for n in volume.shape)])


def steps(corpus: str, name: str, edge: int, ratio: float) -> Answer:
    from napari_tinc.control import Control
    from napari_tinc.events import Mark
    from napari_tinc.format.networks_file import WeightsFormat
    from napari_tinc.networks.architecture import Architecture
    from napari_tinc.training.allocation import allocate
    from napari_tinc.training.trainer import Schedule, train

    volume = crop(corpus, name, edge)
    nbytes = volume.nbytes / ratio
    tree, widths, layers = allocate(volume.shape, nbytes, WeightsFormat.ENTROPY)
    normalised = ((volume - volume.mean()) / volume.std()).astype(np.float32)
    marks = []
    for event in train(
        normalised, Architecture(tree, widths, layers, 8.0), Schedule(STEPS, BATCH), nbytes=nbytes, peak=5.0,
        device="cpu", control=Control(),
    ):  # fmt: skip
        if isinstance(event, Mark):
            marks.append((time.perf_counter(), time.process_time()))
    wall, cpu = (statistics.median(np.diff(times)) * len(marks) / STEPS for times in zip(*marks, strict=True))
    shape = "/".join(str(int(widths[tree.level == level][0])) for level in range(tree.depth + 1))
    return {"widths": shape, "wall": wall, "cpu": cpu}


def fit(corpus: str, name: str, edge: int, **options: Any) -> Answer:
    import napari_tinc as tinc

    volume, began = crop(corpus, name, edge), (time.perf_counter(), time.process_time())
    *_, finished = tinc.fit(volume, device="cpu", method="networks", **options)
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    return {"wall": wall, "cpu": cpu, "psnr": finished.quality.psnr, "bytes": finished.volume.nbytes_compressed}


# --- the other side --------------------------------------------------------------------------------------------------


def compared(old: list[Answer], new: list[Answer]) -> list[str]:
    """Seconds and CPU seconds of both, and the ratios new / old of the medians."""
    cells = []
    for kind in ("wall", "cpu"):
        before, after = (statistics.median(a[kind] for a in answers) for answers in (old, new))
        cells += [f"{before:.4g}", f"{after:.4g}", f"{after / before:.2f}"]
    return cells


def rows(
    old: Ask, new: Ask, requests: list[Answer], rounds: int
) -> Iterator[tuple[Answer, list[Answer], list[Answer]]]:
    """Ask both in turns."""
    for request in requests:
        pairs = [(old(**request, **extra), new(**request, **extra)) for extra in seeds(request, rounds)]
        yield request, [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def seeds(request: Answer, rounds: int) -> list[Answer]:
    return [{"seed": seed} if request["do"] == "fit" else {} for seed in range(rounds)]


def main() -> None:
    if "--answer" in sys.argv:
        answer({"steps": steps, "fit": fit})
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="folder of the volumes")
    parser.add_argument("old", type=Path, help="checkout of an earlier state")
    parser.add_argument("--edge", type=int, default=64, help="voxels along the crops that become whole files")
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--ratio", type=float, default=64)
    parser.add_argument("--rounds", type=int, default=3, help="of everything; seeds of the files")
    parser.add_argument("--volumes", nargs="*", default=list(VOLUMES), help="of the files; the first also for steps")
    parser.add_argument("--blocks", type=int, default=32, help="voxels along the blocks of the job of blocks; 0: none")
    options = parser.parse_args()
    common = {"corpus": options.corpus}
    head = ["", "old (s)", "new (s)", "ratio", "old (CPU s)", "new (CPU s)", "ratio"]
    with ExitStack() as stack:
        old, new = (
            start(stack, checkout, "benchmarks.speed.fit") for checkout in (options.old, Path(__file__).parents[2])
        )
        for ask in (old, new):
            ask(do="fit", name="mri_mni152_crop", edge=32, ratio=64, preset="fast", **common)
        print(f"{machine()}; old: {options.old}\n", flush=True)
        name = "mri_mni152_crop"
        wanted = [{"do": "steps", "name": name, "edge": 128, "ratio": ratio, **common} for ratio in (1024, 256, 64)]
        table = [[f"step of {b[0]['widths']}", *compared(a, b)] for _, a, b in rows(old, new, wanted, options.rounds)]
        print(markdown(head, table), flush=True)
        settings = {"edge": options.edge, "ratio": options.ratio, "preset": options.preset, **common}
        table, differences = [], []
        wanted = [{"do": "fit", "name": name, **settings} for name in options.volumes]
        for request, before, after in rows(old, new, wanted, options.rounds):
            differences.append(statistics.mean(b["psnr"] - a["psnr"] for a, b in zip(before, after, strict=True)))
            psnr = [f"{statistics.mean(a['psnr'] for a in answers):.2f}" for answers in (before, after)]
            table.append([request["name"], *compared(before, after), *psnr, f"{differences[-1]:+.3f}"])
            print(f"  {' '.join(table[-1])}", file=sys.stderr, flush=True)
        print(f"\n{markdown([*head, 'old (dB)', 'new (dB)', 'difference'], table)}")
        if differences:
            print(f"\nMean difference {statistics.mean(differences):+.3f} dB.", flush=True)
        if options.blocks:
            wanted = [{"do": "fit", "name": name, **settings, "block": options.blocks, "edge": 128}]
            table = [[f"blocks of {options.blocks}", *compared(a, b)] for _, a, b in rows(old, new, wanted, 1)]
            print(f"\n{markdown(head, table)}")


if __name__ == "__main__":
    main()
