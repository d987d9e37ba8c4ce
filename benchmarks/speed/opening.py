"""How long a file takes to open in a fresh process, and to decode: python -m benchmarks.speed.opening FILE.tinc

Opening is the wall time of a process that imports NumPy, opens the file and decodes its middle slice, less that of a
process that only imports NumPy: medians of --runs processes of each, in turn. Needs an idle machine; takes seconds.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np

import napari_tinc as tinc
from benchmarks.common import machine, markdown

NUMPY = "import numpy as np"
SLICE = f"""{NUMPY}
import sys
import napari_tinc as tinc
volume = tinc.open(sys.argv[1])
plane = np.asarray(volume[len(volume) // 2])
assert plane.shape == volume.shape[1:]
"""
HEAVY = {"torch", "napari", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "skimage", "scipy", "tifffile"}
MODULES = f"{SLICE}print(*sorted({HEAVY} & set(sys.modules)))"


def wall(code: str, path: str) -> float:
    """Milliseconds that a fresh interpreter takes to run it."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, path], check=True)
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="a .tinc file")
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    loaded = subprocess.run(  # this also fills the caches of bytecode and disk
        [sys.executable, "-c", MODULES, arguments.file], check=True, capture_output=True, text=True
    ).stdout.strip()
    pairs = [(wall(NUMPY, arguments.file), wall(SLICE, arguments.file)) for _ in range(arguments.runs)]
    numpy_only, opened = (statistics.median(column) for column in zip(*pairs, strict=True))
    volume = tinc.open(arguments.file)
    np.asarray(volume[0])  # decodes the weights
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        np.asarray(volume)
        seconds.append(time.perf_counter() - began)
    rows = [
        ["process that imports NumPy (ms)", f"{numpy_only:.0f}"],
        ["process that also opens and decodes a slice (ms)", f"{opened:.0f}"],
        ["difference (ms)", f"{opened - numpy_only:.0f}"],
        [f"loaded, of {', '.join(sorted(HEAVY))}", loaded or "none"],
        ["full decode (Mvoxel/s)", f"{volume.size / statistics.median(seconds) / 1e6:.1f}"],
    ]
    size = "x".join(map(str, volume.shape))
    print(f"{markdown([f'{size} {volume.dtype}, {volume.nbytes_compressed:,} bytes', ''], rows)}\n\n{machine()}.")


if __name__ == "__main__":
    main()
