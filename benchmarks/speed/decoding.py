"""How fast files of networks are decoded, before and now: python -m benchmarks.speed.decoding CORPUS OLD_CHECKOUT

A process with this checkout and one with the old one each fit the middle 128^3 voxels of the volumes with networks
(`fast`), which makes files of the same size. Then they open and decode all of their own file, in turns: seconds by the
clock and of the processor, medians of --runs turns. What is decoded before, to load compiled code, does not count; it
does in the last table: fresh processes, in turns, that open a file and show a slice, or decode all.
One core (`OMP_NUM_THREADS=1 taskset -c 0`) makes the figures steadier on a busy machine. Needs a quarter of an hour;
with --folder the files are kept, and are not fitted again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import VOLUMES, load, machine, markdown
from benchmarks.speed.opening import NUMPY, SLICE
from benchmarks.speed.pairs import Answer, answer, start

EDGE = 128  # Voxels along an edge of the middle that is fitted.
TURN_SECONDS = 0.5  # A turn decodes a file as often as takes about so long.
LOADING = 2**22  # So many voxels are decoded before the first turn, for which compiled code is loaded.
OPENINGS = 15  # Fresh processes of each kind.
ALL = f"{NUMPY}\nimport sys\nimport napari_tinc as tinc\nnp.asarray(tinc.open(sys.argv[1]))\n"


def middle(corpus: str, name: str) -> NDArray[Any]:
    """The middle of a volume."""
    volume = load(Path(corpus), name)
    return np.ascontiguousarray(volume[tuple(slice(max(0, (n - EDGE) // 2), (n + EDGE) // 2) for n in volume.shape)])


# --- one of the two processes: a request a line on stdin, an answer a line on stdout ---------------------------------


def fit(corpus: str, name: str, ratio: float, path: str) -> Answer:
    """Fit networks into a file."""
    import napari_tinc as tinc

    options: dict[str, Any] = {"method": "networks"}
    if "method" not in tinc.compress.__annotations__:  # an early version, which tried the other only by itself
        from napari_tinc import codec

        codec.is_candidate, options = lambda *_: False, {}
    volume = middle(corpus, name)
    tinc.compress(volume, ratio=ratio, preset="fast", device="cpu", **options).save(path)
    return {}


def about(corpus: str, name: str, path: str) -> Answer:
    """What a file is like."""
    import napari_tinc as tinc

    compressed, volume = tinc.open(path), middle(corpus, name)
    errors = np.square(np.asarray(compressed).astype(np.float64) - volume).mean()
    header = getattr(compressed.parts.part(0, 0), "header", None)
    widths = [] if header is None else np.unique(header.widths[header.widths > 0])[::-1].tolist()
    return {
        "widths": "/".join(map(str, widths)), "lattice": ", ".join(map(str, getattr(header, "lattice", ()))) or "none",
        "voxels": volume.size,
        "psnr": 20 * float(np.log10(float(np.ptp(volume)) / np.sqrt(errors))),
        "bytes": Path(path).stat().st_size,
    }  # fmt: skip


def decode(path: str, times: int) -> Answer:
    """Decode all of a file, as often as is asked."""
    import napari_tinc as tinc

    clock, processor = time.perf_counter(), time.process_time()
    for _ in range(times):
        np.asarray(tinc.open(path))
    seconds = time.perf_counter() - clock, time.process_time() - processor
    return {"wall": seconds[0] / times, "cpu": seconds[1] / times}


# --- the other side --------------------------------------------------------------------------------------------------


def decoding_row(label: str, facts: list[Answer], turns: list[tuple[Answer, Answer]]) -> tuple[list[str], list[float]]:
    """A row of the table, and the ratios old / new of clock and processor."""
    cells, ratios = [], []
    for kind in ("wall", "cpu"):
        before, after = (statistics.median(one[kind] for one in engine) for engine in zip(*turns, strict=True))
        ratios.append(before / after)
        cells += [f"{1000 * before:.0f} / {1000 * after:.0f}", f"{ratios[-1]:.2f}"]
    old, new = facts
    return [
        label, f"{old['widths']}, {new['widths']}", new["lattice"], f"{old['psnr']:.2f}, {new['psnr']:.2f}",
        f"{old['bytes']}, {new['bytes']}", *cells,
    ], ratios  # fmt: skip


def fresh_row(label: str, work: str, checkouts: list[Path], paths: list[Path]) -> list[str]:
    """Milliseconds that work on a file takes in fresh processes, beyond importing NumPy; whether Numba is imported."""
    seconds: list[list[float]] = [[], []]
    imports = []
    for turn in range(OPENINGS + 1):  # The first fills the caches of bytecode and disk.
        for engine, (checkout, path) in enumerate(zip(checkouts, paths, strict=True)):
            environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
            began, difference = time.perf_counter(), 0.0
            for code in (NUMPY, f"{work}print('numba' in sys.modules)"):
                printed = subprocess.run(
                    [sys.executable, "-c", code, str(path)], check=True, capture_output=True, env=environment, text=True
                ).stdout  # fmt: skip
                difference, began = time.perf_counter() - began - difference, time.perf_counter()
            if turn:
                seconds[engine].append(difference)
            else:
                imports.append(printed.strip())
    before, after = (1000 * statistics.median(one) for one in seconds)
    return [label, f"{before:.0f} / {after:.0f}", f"{before / after:.2f}", ", ".join(imports)]


def main() -> int:
    if "--answer" in sys.argv:
        answer({"fit": fit, "about": about, "decode": decode})
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="folder of the volumes")
    parser.add_argument("old", type=Path, help="checkout of an earlier state")
    parser.add_argument("--volumes", nargs="+", default=list(VOLUMES), choices=VOLUMES)
    parser.add_argument("--ratios", nargs="+", type=float, default=[64.0, 256.0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the files are kept")
    options = parser.parse_args()
    table, ratios = [], []
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        checkouts = [options.old.resolve(), Path(__file__).resolve().parents[2]]
        engines = [start(stack, checkout, "benchmarks.speed.decoding") for checkout in checkouts]
        print(f"{machine()}; old: {options.old}\n", flush=True)
        for name in options.volumes:
            for ratio in options.ratios:
                paths = [folder / f"{name}-{ratio:g}-{which}.tinc" for which in ("old", "new")]
                facts = []
                for ask, path in zip(engines, paths, strict=True):
                    if not path.exists():
                        ask(do="fit", corpus=options.corpus, name=name, ratio=ratio, path=str(path))
                    facts.append(ask(do="about", corpus=options.corpus, name=name, path=str(path)))
                pairs = list(zip(engines, paths, strict=True))
                loading = 1 if table else -(-LOADING // facts[0]["voxels"])
                times = [
                    max(1, round(TURN_SECONDS / ask(do="decode", path=str(path), times=loading)["cpu"]))
                    for ask, path in pairs
                ]
                turns = []
                for _ in range(options.runs):
                    old, new = (
                        ask(do="decode", path=str(p), times=n) for (ask, p), n in zip(pairs, times, strict=True)
                    )
                    turns.append((old, new))
                row, of_row = decoding_row(f"{name} {ratio:g}", facts, turns)
                table.append(row)
                ratios.append(of_row)
                print(f"  {'  '.join(row)}", file=sys.stderr, flush=True)
        for label, over in (("geometric mean", statistics.geometric_mean), ("least", min)):
            wall, cpu = (over(column) for column in zip(*ratios, strict=True))
            table.append([label, "", "", "", "", "", f"{wall:.2f}", "", f"{cpu:.2f}"])
        columns = ["volume, ratio", "widths", "lattice", "dB", "bytes", "ms", "old / new", "CPU ms", "old / new"]
        print(markdown(columns, table))
        paths = [folder / f"{options.volumes[0]}-{options.ratios[0]:g}-{which}.tinc" for which in ("old", "new")]
        fresh = [
            fresh_row(label, work, checkouts, paths)
            for label, work in (("opening and first slice", SLICE), ("all", ALL))
        ]
        head = [f"{options.volumes[0]} {options.ratios[0]:g}", "ms beyond NumPy", "old / new", "imports Numba"]
        print(f"\n{markdown(head, fresh)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
