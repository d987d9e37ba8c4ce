"""What calibration gives, and costs, for every volume: python -m benchmarks.quality.calibration CORPUS

Fits each volume, takes away the calibration it may have, and finds the best one of each kind for the decoded values.
What a file gets is that which fits into the bytes the budget has left, if it gives 0.005 dB or more.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import VOLUMES, load, machine, markdown, timed_fit
from napari_tinc import metrics
from napari_tinc.networks.calibration import Corrections, fit_corrections
from napari_tinc.networks.values import normalise, to_values
from napari_tinc.networks.weights import from_chunks


def row(name: str, volume: NDArray[Any], ratio: float, preset: str) -> list[str]:
    finished, _, _ = timed_fit(volume, ratio=ratio, preset=preset)
    header = finished.volume.header
    stored = from_chunks(header, finished.volume.chunks).uncalibrated()
    grid = [np.arange(n) + 0.5 for n in header.shape]
    outputs = stored.network().on_grid(grid)
    normalised = normalise(volume, header)

    def psnr(corrections: Corrections) -> float:
        calibrated = outputs.copy()
        replace(stored, corrections=corrections).network().calibrate(calibrated)
        return metrics.measure(volume, to_values(calibrated, header), 1).psnr

    before = psnr(stored.corrections)
    cells = [name, f"{before:.2f}"]
    n_heads = len(stored.architecture.heads)
    for spare in (8, 10**6):
        found = fit_corrections(outputs, normalised, stored.architecture, header.weights_format, spare)
        cells.append(f"{psnr(found) - before:+.3f}")
    return [*cells, f"8, {8 + n_heads}", header.calibration.name.lower().replace("_", " ")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder of the volumes")
    parser.add_argument("--ratio", type=float, default=256)
    parser.add_argument("--preset", default="fast")
    arguments = parser.parse_args()
    rows = []
    for name in VOLUMES:
        rows.append(row(name, load(arguments.corpus, name), arguments.ratio, arguments.preset))
        print(*rows[-1], file=sys.stderr)
    head = ["volume", "PSNR without (dB)", "global", "per head", "bytes", "in the file"]
    print(f"Ratio {arguments.ratio:g}, {arguments.preset}.\n\n{markdown(head, rows)}\n\n{machine()}.")


if __name__ == "__main__":
    main()
