"""Compress the volumes of the corpus and check every file: python benchmarks/corpus_table.py CORPUS

A row: compress, save, open again, verify, decode. It FAILED if the reopened volume is not of exactly the quality that
the encoder reported, or the file not 0..3 % smaller than the target; then the exit code is 1. Every row is kept in a
JSON file beside the table as soon as it is there; a later run makes only those that are missing or failed, unless
--again. Needs an idle machine; "balanced" takes about a quarter of an hour for everything.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import VOLUMES, load, machine, markdown, timed_fit
from numpy.typing import NDArray

import napari_tinc as tinc
from napari_tinc.container import parameter_counts

HEAD = (
    "volume", "shape", "dtype", "ratio, target", "ratio, file", "bytes", "seconds", "steps", "PSNR (dB)", "SSIM",
    "bits/weight", "decode (Mvoxel/s)",
)  # fmt: skip
Row = dict[str, Any]


def measure(volume: NDArray[Any], ratio: float, preset: str) -> Row:
    """All figures of a row; ``failed`` says what is wrong with it, if anything is."""
    finished, progress, seconds = timed_fit(volume, ratio=ratio, preset=preset)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.tinc"
        finished.volume.save(path)
        nbytes = path.stat().st_size
        opened = tinc.open(path)
    opened.verify()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        decoded = np.asarray(opened)
        times.append(time.perf_counter() - began)
    quality = tinc.compare(volume, opened)
    real = volume.nbytes / nbytes
    failed = []
    if decoded.shape != volume.shape or decoded.dtype != volume.dtype:
        failed.append(f"decoded as {decoded.shape} {decoded.dtype}")
    if quality != finished.quality:
        failed.append(f"reopened as {quality}, reported as {finished.quality}")
    if not ratio <= real <= 1.03 * ratio:
        failed.append(f"ratio {real:.3f} is not {ratio:g} to {1.03 * ratio:g}")
    return {
        "bytes": nbytes, "real_ratio": real, "seconds": seconds, "steps": progress[-1].step, "psnr": quality.psnr,
        "ssim": quality.ssim, "bits_per_weight": 8 * nbytes / int(parameter_counts(opened.header).sum()),
        "decode": volume.size / statistics.median(times) / 1e6, "failed": "; ".join(failed),
    }  # fmt: skip


def cells(row: Row) -> list[str]:
    start = [row["volume"], "x".join(map(str, row["shape"])), row["dtype"], f"{row['ratio']:g}"]
    if "psnr" not in row:
        return [*start, *["-"] * 7, "FAILED"]
    figures = (("real_ratio", ".2f"), ("bytes", ",d"), ("seconds", ".1f"), ("steps", ",d"), ("psnr", ".2f"),
               ("ssim", ".4f"), ("bits_per_weight", ".2f"), ("decode", ".1f"))  # fmt: skip
    row_cells = [*start, *(format(row[key], form) for key, form in figures)]
    return [f"FAILED {row_cells[0]}", *row_cells[1:]] if row["failed"] else row_cells


def table(rows: list[Row], preset: str) -> str:
    """The rows of a preset, and where they were measured."""
    order = list(VOLUMES)
    mine = sorted((r for r in rows if r["preset"] == preset), key=lambda r: (order.index(r["volume"]), r["ratio"]))
    machines = sorted({row["machine"] for row in mine})
    return f"Preset {preset}.\n\n{markdown(HEAD, [cells(row) for row in mine])}\n\n{'; '.join(machines)}.\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder of the volumes")
    parser.add_argument("--volumes", nargs="+", choices=VOLUMES, default=list(VOLUMES))
    parser.add_argument("--ratios", nargs="+", type=float, default=[64, 256])
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--again", action="store_true", help="also measure what is there already")
    docs = Path(__file__).parents[1] / "docs"
    parser.add_argument("--out", type=Path, default=docs / "benchmarks-table.md", help="the table; its JSON beside it")
    arguments = parser.parse_args()
    where = machine()  # now, before anybody changes the engine that runs
    store, preset = arguments.out.with_suffix(".json"), arguments.preset
    rows: list[Row] = json.loads(store.read_text()) if store.exists() else []
    for name in arguments.volumes:
        for ratio in arguments.ratios:
            key = {"volume": name, "ratio": ratio, "preset": preset}
            old = next((row for row in rows if key.items() <= row.items()), None)
            if old and not old["failed"] and not arguments.again:
                continue
            volume = load(arguments.corpus, name)
            row = {**key, "shape": volume.shape, "dtype": str(volume.dtype), "machine": where}
            try:
                row |= measure(volume, ratio, preset)
            except Exception as error:  # one bad row must not cost the others
                row["failed"] = f"{type(error).__name__}: {error}"
            rows = [other for other in rows if other is not old] + [row]
            store.write_text(json.dumps(rows, indent=1))
            arguments.out.write_text(table(rows, preset))
            print(" ".join(cells(row)), f"FAILED: {row['failed']}" if row["failed"] else "", file=sys.stderr)
    print(table(rows, preset))
    failed = [row for row in rows if row["preset"] == preset and row["failed"]]
    for row in failed:
        print(f"FAILED {row['volume']} at {row['ratio']:g}: {row['failed']}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
