"""The residual coder against other codecs: without loss, at bounds of the error, and at sizes far below.

    python -m benchmarks.quality.bounded CORPUS bounds [NAMES ...]
    python -m benchmarks.quality.bounded CORPUS ratios [NAMES ...]
    python -m benchmarks.quality.bounded CORPUS labels

``bounds`` prints bytes and speeds; ``ratios`` the PSNR where the bound is chosen for the bytes, of the volumes and
beside the other codecs of docs/benchmarks/rate-distortion.md; ``labels`` the bytes of label images and masks. Volumes
are cut into boxes of at most 128 voxels an axis, each coded on its own; peers see whole volumes. Bounds of integers are
rounded down; peers are given 0.49 more, as rounding to integers takes that off again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import lzma
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks import common
from napari_tinc import metrics
from napari_tinc.bounded import box as bounded_box
from napari_tinc.bounded import labels, search
from napari_tinc.bounded import numbers as bounded_numbers

NAMES = [
    "ct_thorax", "fluo_nuclei", "sim_turbulence", "microct_snow", "cryoem_betagal", "mri_t1_ch2", "mri_mni152",
    "mri_stroke_3contrast", "hipct_brain64", "fibsem_medulla_a", "fluo_neuron_sparse", "fluo_droplet_timelapse",
]  # fmt: skip
BOUNDS = (0.0, 1e-2, 1e-3, 1e-4)  # of the range
RATIOS = (16, 32, 64, 128, 256)
CODECS = ("SPERR", "x265", "SVT-AV1", "fast", "balanced", "best")  # of docs/benchmarks/rate-distortion.json
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


def encode(volume: NDArray[Any], bound: float, taper: int = 0) -> list[bytes]:
    return [bounded_box.encode_box(volume[box], bound, taper) for box in boxes(volume.shape)]


def decode(parts: list[bytes], like: NDArray[Any]) -> NDArray[Any]:
    out = np.empty_like(like)
    for part, box in zip(parts, boxes(like.shape), strict=True):
        out[box] = bounded_box.decode_box(part, out[box].shape, like.dtype)
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


def ratio_rows(name: str, volume: NDArray[Any], others: dict[tuple[str, int], dict[str, Any]]) -> list[list[str]]:
    rows, extent = [], float(volume.max()) - float(volume.min())
    cuts = [np.ascontiguousarray(volume[box]) for box in boxes(volume.shape)]
    for ratio in RATIOS:
        target, began = volume.nbytes // ratio, time.perf_counter()
        row = [name, str(ratio)]
        try:
            found = search.best_within(cuts, target)
            seconds = time.perf_counter() - began
            out = decode(found.parts, volume)
            psnr = metrics.measure(volume, out, found.nbytes).psnr
            assert abs(psnr - 10 * np.log10(extent**2 / found.mse)) < 0.01
            row += [f"{psnr:.2f}", f"{found.bound / extent:.4f}", str(found.taper), f"{found.nbytes / target:.3f}"]
            row.append(f"{seconds / volume.size * 1e6:.1f}")
        except ValueError as error:
            print(error)
            row += ["-"] * 5
        known = [others.get((codec, ratio), {"reached": False}) for codec in CODECS]
        rows.append(row + [f"{other['psnr']:.2f}" if other["reached"] else "-" for other in known])
        print(*rows[-1], flush=True)
    return rows


def label_images(corpus: Path) -> dict[str, NDArray[Any]]:
    neurons, head, nuclei = (load(corpus, name) for name in ("labels_fibsem_neurons", "mri_mni152", "fluo_nuclei"))
    volumes = {"labels_fibsem_neurons": neurons, "its boundaries": (np.diff(neurons.astype(int)) != 0).astype(np.uint8)}
    for part in (0.1, 0.5):
        volumes[f"mri_mni152 above {part:g} of its maximum"] = (head > part * head.max()).astype(np.uint8)
    volumes["fluo_nuclei above 0.1 of its maximum"] = (nuclei > 0.1 * nuclei.max()).astype(np.uint8)
    return volumes


def label_row(name: str, volume: NDArray[Any]) -> list[str]:
    cuts = [np.ascontiguousarray(volume[box]) for box in boxes(volume.shape)]
    began = time.perf_counter()
    parts = [labels.encode_labels(cut) for cut in cuts]
    encoded = time.perf_counter()
    out = [labels.decode_labels(part, cut.shape, cut.dtype) for part, cut in zip(parts, cuts, strict=True)]
    decoded = time.perf_counter()
    assert all((a == b).all() for a, b in zip(out, cuts, strict=True))
    numbers = [bounded_numbers.as_numbers(cut, 0, 0)[0] if np.ptp(cut) else bytes(3) for cut in cuts]
    chosen = sum(len(bounded_box.encode_box(cut, 0)) for cut in cuts)
    others = {"as numbers": sum(map(len, numbers)), **lossless_peers(volume)}
    if volume.dtype == np.uint8:
        packed = np.packbits(volume.astype(bool), axis=-1)
        others["packed bits, LZMA"] = len(lzma.compress(packed.tobytes()))
    planes = [imagecodecs.png_encode(plane, level=9) for plane in volume]
    others["PNG"] = sum(map(len, planes))
    nbytes, seconds = sum(map(len, parts)), (encoded - began, decoded - encoded)
    row = [name, "x".join(map(str, volume.shape)), str(len(np.unique(volume))), str(nbytes), str(chosen)]
    row.append(", ".join(f"{peer} {size}" for peer, size in sorted(others.items(), key=lambda item: item[1])))
    return [*row, *(f"{volume.size / 1e6 / each:.1f}" for each in seconds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("what", choices=["bounds", "ratios", "labels"])
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    rows = []
    measured = json.loads((Path(__file__).parents[2] / "docs" / "benchmarks" / "rate-distortion.json").read_text())
    for name, volume in label_images(options.corpus).items() if options.what == "labels" else ():
        rows.append(label_row(name, volume))
        print(*rows[-1], flush=True)
    names = {"bounds": NAMES, "ratios": [name for name in common.VOLUMES if name != "mri_t1_ch2"], "labels": []}
    for name in options.names or names[options.what]:
        if options.what == "bounds":
            rows += bounds_rows(name, load(options.corpus, name))
        else:
            others = {(row["codec"], row["ratio"]): row for row in measured if row["volume"] == name}
            rows += ratio_rows(name, common.load(options.corpus, name), others)
    if options.what == "bounds":
        head = ["volume", "bound", "bytes", "of the best", "best", "others", "encode Mvoxel/s", "decode Mvoxel/s"]
    elif options.what == "labels":
        head = ["volume", "shape", "labels", "bytes", "of residual.encode", "others", "encode", "decode Mvoxel/s"]
    else:
        head = ["volume", "ratio", "dB", "bound", "taper", "of the budget", "s/Mvoxel", *CODECS]
    print(common.markdown(head, rows))
    print(common.computer("numpy", "constriction", "imagecodecs"))


if __name__ == "__main__":
    main()
