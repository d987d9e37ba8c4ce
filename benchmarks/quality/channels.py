"""Channels of one image: a tree of networks for each of them, or one for all, in a file of equally many bytes.

    python -m benchmarks.quality.channels CORPUS [--ratio 64] [--preset fast]

The shared tree is fitted to the channels stacked along z, so that they have the root in common. It is trained for the
steps that its size asks for, and once more for as many as the separate trees have together. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tifffile

from benchmarks.common import machine, markdown, timed_fit
from napari_tinc.metrics import measure
from napari_tinc.training import task

FILE = "mri_stroke_3contrast.tif"  # (channel, z, y, x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--ratio", type=float, default=64)
    parser.add_argument("--preset", default="fast")
    args = parser.parse_args()
    image = np.ascontiguousarray(tifffile.imread(args.corpus / FILE))
    stacked = image.reshape(-1, *image.shape[2:])
    usual, rows = task.STEPS[args.preset], []
    whole = max(stacked.shape)  # an edge of block at which nothing is cut

    def fit(what: str, volume: np.ndarray, steps: float) -> int:
        task.STEPS[args.preset] = round(steps)
        finished, _, seconds = timed_fit(volume, ratio=args.ratio, preset=args.preset, block=whole)
        n_trees = len(volume) if volume.ndim > 3 else 1
        shape = volume.shape[-3:]
        each = task.estimate(shape, finished.volume.nbytes_compressed // n_trees, settings).steps
        found = np.asarray(finished.volume).reshape(image.shape)
        nbytes = finished.volume.nbytes_compressed
        psnr = [measure(a, b, nbytes).psnr for a, b in zip(image, found, strict=True)]
        rows.append([
            what, f"{nbytes:,}", f"{n_trees * each}", f"{seconds:.0f}", f"{measure(image, found, nbytes).psnr:.2f}",
            ", ".join(f"{value:.2f}" for value in psnr),
        ])  # fmt: skip
        print(f"  {rows[-1]}", flush=True)
        return n_trees * each

    settings = task.Settings(args.preset)
    separate = fit("a tree a channel", image, usual)
    shared = fit("one tree", stacked, usual)
    fit("one tree, steps of the first", stacked, usual * separate / shared)
    head = [f"{FILE}, ratio {args.ratio:g}, {args.preset}", "bytes", "steps", "seconds", "PSNR (dB)", "of each channel"]
    print(f"\n{markdown(head, rows)}\n\n{machine()}")


if __name__ == "__main__":
    main()
