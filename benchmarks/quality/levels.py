"""How the coarse levels of a file compare with its full decode, averaged over the same cells.

    python -m benchmarks.quality.levels FILE.tinc ORIGINAL.tif [...]

PSNR of both against the original averaged over the cells, by the range of the original; a level may be 1 dB below.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray

import napari_tinc as tinc
from napari_tinc.io.read import read_image
from napari_tinc.metrics import psnr


def averaged(volume: NDArray, factor: int) -> NDArray:
    """Means over cells of ``factor`` voxels along each axis; the last cells are smaller."""
    out = volume.astype(np.float64)
    for axis, n in enumerate(volume.shape):
        edges = np.arange(0, n, factor)
        counts = np.minimum(factor, n - edges).reshape([-1 if a == axis else 1 for a in range(3)])
        out = np.add.reduceat(out, edges, axis=axis) / counts
    return out


def main() -> None:
    for path, original in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        volume, truth = tinc.open(path), np.asarray(read_image(original).array)
        whole, span = np.asarray(volume), float(np.ptp(truth))
        for number, level in enumerate(volume.levels):
            began = time.perf_counter()
            values = np.asarray(level)
            seconds = time.perf_counter() - began
            wanted = averaged(truth, 2**number)
            found = [
                psnr(float(np.sqrt(((a - wanted) ** 2).mean())), span) for a in (values, averaged(whole, 2**number))
            ]
            print(
                f"{path} level {number} {level.shape}: {found[0]:.2f} dB, averaged {found[1]:.2f} dB, {seconds:.2f} s"
            )


if __name__ == "__main__":
    main()
