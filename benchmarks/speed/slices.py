"""Slices of many blocks of networks, before and now: python -m benchmarks.speed.slices CORPUS OLD_CHECKOUT FOLDER

The volume is the first 128 x 1024 x 1024 voxels of that of benchmarks.speed.large, in 64 blocks at ratio 1024, `fast`.
A process with this checkout and one with the old one each make a file of it, which stays in FOLDER, and read slices of
1024 x 1024 of their own in turns: the first of an opened file, in which everything is cold, and the eight behind it.
Milliseconds by the clock, medians of --runs turns. The two files take two minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.common import machine, markdown
from benchmarks.speed.large import slab, tiles
from benchmarks.speed.pairs import Answer, answer, start

RATIO = 1024
NEXT = 8  # Slices behind the first.


def fit(corpus: str, path: str) -> Answer:
    import napari_tinc as tinc

    began = time.perf_counter()
    tinc.compress(slab(tiles(Path(corpus)), 0), ratio=RATIO, preset="fast", device="cpu").save(path)
    return {"seconds": time.perf_counter() - began}


def look(path: str, first: int) -> Answer:
    import napari_tinc as tinc

    began = time.perf_counter()
    volume = tinc.open(path)
    np.asarray(volume[first])
    cold = time.perf_counter()
    for at in range(1, NEXT + 1):
        np.asarray(volume[first + at])
    return {"cold": 1000 * (cold - began), "next": 1000 * (time.perf_counter() - cold) / NEXT}


def main() -> int:
    if "--answer" in sys.argv:
        answer({"fit": fit, "look": look})
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="folder of the volumes")
    parser.add_argument("old", type=Path, help="checkout of an earlier state")
    parser.add_argument("folder", type=Path, help="where the files are kept")
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        checkouts = options.old.resolve(), Path(__file__).resolve().parents[2]
        asks = [start(stack, checkout, "benchmarks.speed.slices") for checkout in checkouts]
        paths = [str(options.folder / f"{which}.tinc") for which in ("old", "new")]
        for ask, path in zip(asks, paths, strict=True):
            if not Path(path).exists():
                print(f"{path}: {ask(do='fit', corpus=options.corpus, path=path)['seconds']:.0f} s", flush=True)
            ask(do="look", path=path, first=60)  # imports, and what a process does once
        turns = [
            [ask(do="look", path=path, first=5 + 7 * turn) for ask, path in zip(asks, paths, strict=True)]
            for turn in range(options.runs)
        ]
    table = []
    for what, key in (("opening and the first slice", "cold"), (f"a slice, of the {NEXT} behind it", "next")):
        old, new = (statistics.median(one[key] for one in of) for of in zip(*turns, strict=True))
        table.append([what, f"{old:.0f} / {new:.0f}", f"{old / new:.2f}"])
    print(markdown(["1024 x 1024 voxels of 64 blocks, ms", "old / new", "ratio"], table))
    print(f"\n{machine()}; old: {options.old}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
