"""The residual coder against other codecs: without loss, at bounds of the error, and at sizes far below.

    python benchmarks/residual.py CORPUS bounds [NAMES ...]
    python benchmarks/residual.py CORPUS ratios [NAMES ...] [--network]

``bounds`` prints bytes and speeds, ``ratios`` the PSNR where the bound is chosen for the bytes. Volumes are cut into
boxes of at most 128 voxels an axis, each coded on its own; peers see whole volumes. Bounds of integers are rounded
down; peers are given 0.49 more, as rounding to integers takes that off again.
"""

from __future__ import annotations

import argparse
import itertools
import lzma
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import imagecodecs
import numpy as np
import peers
import tifffile
from numpy.typing import NDArray

import napari_tinc as tinc
from napari_tinc import metrics, residual

NAMES = [
    "ct_thorax", "fluo_nuclei", "sim_turbulence", "microct_snow", "cryoem_betagal", "mri_t1_ch2", "mri_mni152",
    "mri_stroke_3contrast", "hipct_brain64", "fibsem_medulla_a", "fluo_neuron_sparse", "fluo_droplet_timelapse",
]  # fmt: skip
BOUNDS = (0.0, 1e-2, 1e-3, 1e-4)  # of the range
RATIOS = (16, 32, 64)
BOX = 128


def load(corpus: Path, name: str) -> NDArray[Any]:
    """The volume, (z, y, x): the first channel or time point."""
    volume = tifffile.imread(corpus / f"{name}.tif")
    return np.ascontiguousarray(volume[(0,) * (volume.ndim - 3)])


def boxes(shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    cuts = []
    for n in shape:
        parts = -(-n // BOX)
        cuts.append([slice(n * i // parts, n * (i + 1) // parts) for i in range(parts)])
    return list(itertools.product(*cuts))


def encode(volume: NDArray[Any], bound: float, guide: NDArray[Any] | None = None, taper: int = 0) -> list[bytes]:
    return [
        residual.encode(volume[box], None if guide is None else guide[box], bound, taper) for box in boxes(volume.shape)
    ]


def decode(parts: list[bytes], like: NDArray[Any], guide: NDArray[Any] | None = None) -> NDArray[Any]:
    out = np.empty_like(like)
    for part, box in zip(parts, boxes(like.shape), strict=True):
        out[box] = residual.decode(part, out[box].shape, like.dtype, None if guide is None else guide[box])
    return out


def lossless_peers(volume: NDArray[Any]) -> dict[str, int]:
    data = volume.tobytes()
    sizes = {
        "zstd 19": len(imagecodecs.zstd_encode(data, level=19)),
        "LZMA": len(lzma.compress(data)),
        "Blosc2": len(imagecodecs.blosc2_encode(volume, level=9, compressor="zstd", shuffle="bitshuffle")),
    }
    if volume.dtype.kind in "iu":
        planes = volume.astype(np.uint16) if volume.dtype.kind == "u" and volume.itemsize > 1 else volume
        if volume.dtype.kind == "i":
            planes = (volume.astype(np.int64) - int(volume.min())).astype(np.uint16)
        sizes["JPEG XL"] = sum(len(imagecodecs.jpegxl_encode(plane, lossless=True, effort=7)) for plane in planes)
        sizes["JPEG-LS"] = sum(len(imagecodecs.jpegls_encode(plane)) for plane in planes)
    return sizes


def bounded_peers(volume: NDArray[Any], bound: float) -> dict[str, int]:
    values = volume.astype(np.float32)
    allowed = int(bound) + 0.49 if volume.dtype.kind in "iu" else bound
    encoders: dict[str, Callable[[], bytes]] = {
        "SZ3": lambda: imagecodecs.sz3_encode(values, mode="abs", abs=allowed),
        "SPERR": lambda: imagecodecs.sperr_encode(values, allowed, mode="pwe"),
        "ZFP": lambda: imagecodecs.zfp_encode((values - values.mean()) / np.float32(allowed), 1.0, mode="a"),
    }
    return {name: len(encoder()) for name, encoder in encoders.items()}


def bounds_rows(name: str, volume: NDArray[Any]) -> list[list[str]]:
    rows = []
    extent = float(volume.max()) - float(volume.min())
    for relative in BOUNDS:
        bound = relative * extent
        if relative and volume.dtype.kind in "iu" and bound < 1:
            continue  # without loss
        began = time.perf_counter()
        parts = encode(volume, bound)
        encoded = time.perf_counter()
        out = decode(parts, volume)
        decoded = time.perf_counter()
        if bound:
            assert np.abs(out.astype(np.float64) - volume).max() <= bound
        else:
            assert out.tobytes() == volume.tobytes()
        nbytes = sum(map(len, parts))
        others = bounded_peers(volume, bound) if bound else lossless_peers(volume)
        best = min(others, key=lambda peer: others[peer])
        rows.append([
            name, f"{relative:g}", f"{nbytes}", f"{nbytes / others[best]:.3f}", f"{best} {others[best]}",
            ", ".join(f"{peer} {size}" for peer, size in others.items() if peer != best),
            f"{volume.size / 1e6 / (encoded - began):.1f}", f"{volume.size / 1e6 / (decoded - encoded):.1f}",
        ])  # fmt: skip
        print(*rows[-1], flush=True)
    return rows


def best_within(
    volume: NDArray[Any], target: int, guide: NDArray[Any] | None = None
) -> tuple[float, float, int, int] | None:
    """PSNR, bound as a part of the range, taper and bytes of the best that is no larger than the target."""
    extent = float(volume.max()) - float(volume.min())
    best = None
    for taper in (0, 2, 4):
        low, high = -14.0, 0.0  # binary logarithm of the bound
        for _ in range(9):
            middle = (low + high) / 2
            parts = encode(volume, 2**middle * extent, guide, taper)
            nbytes = sum(map(len, parts))
            if nbytes > target:
                low = middle
                continue
            high = middle
            found = metrics.measure(volume, decode(parts, volume, guide), nbytes).psnr, 2**middle, taper, nbytes
            best = found if best is None else max(best, found)
    return best


def ratio_rows(name: str, volume: NDArray[Any], network: bool) -> list[list[str]]:
    sweep, rows = peers.Sweep("SPERR", volume), []
    for ratio in RATIOS:
        target = volume.nbytes // ratio
        other = sweep.row(target)
        row = [name, str(ratio), f"{other['psnr']:.2f}" if other["reached"] else "-"]
        found = best_within(volume, target)
        row.append("-" if found is None else f"{found[0]:.2f} (bound {found[1]:.3f}, taper {found[2]})")
        if network:
            part = tinc.compress(volume, preset="fast", ratio=4 * ratio)
            guide = part.decode()
            row.append(f"{metrics.measure(volume, guide, part.nbytes_compressed).psnr:.2f}")
            found = best_within(volume, target - part.nbytes_compressed, guide)
            row.append("-" if found is None else f"{found[0]:.2f} (bound {found[1]:.3f}, taper {found[2]})")
        rows.append(row)
        print(*row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("what", choices=["bounds", "ratios"])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--network", action="store_true", help="also with a network of a quarter of the bytes before")
    options = parser.parse_args()
    rows = []
    for name in options.names:
        volume = load(options.corpus, name)
        rows += bounds_rows(name, volume) if options.what == "bounds" else ratio_rows(name, volume, options.network)
    if options.what == "bounds":
        head = ["volume", "bound", "bytes", "of the best", "best", "others", "encode Mvoxel/s", "decode Mvoxel/s"]
    else:
        head = ["volume", "ratio", "SPERR dB", "dB"] + ["network dB", "on a network dB"] * options.network
    print(common.markdown(head, rows))
    print(common.computer("numpy", "constriction", "imagecodecs"))


if __name__ == "__main__":
    main()
