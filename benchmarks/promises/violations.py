"""Whether every voxel keeps its bound: boxes of real and made-up numbers of every dtype, counted in float64.

    python -m benchmarks.promises.violations CORPUS [--voxels 1e9] [--seed 0]

Each box is compressed with napari_tinc.compress(max_error=E), written to bytes, read back and compared. Numbers are:
crops of the corpus, scaled to the dtype; noise; an offset of 1000 times the range; a scale of 1e-30; denormals; the
smallest and largest numbers of the dtype; NaN and infinities strewn in. Bounds: 0, and 1e-1 to 1e-6 of the range.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

import napari_tinc as tinc
from napari_tinc.format import quality

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")
KINDS = ("plain", "noise", "offset", "tiny", "denormal", "extreme", "broken")
BOUNDS = (0.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6)  # of the range
EDGE = 96


def crops(corpus: Path, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random box of a random volume, scaled to 0..1."""
    volume = _volumes(corpus)[rng.integers(len(_volumes(corpus)))]
    shape = [min(n, EDGE) for n in volume.shape]
    corner = [int(rng.integers(0, n - size + 1)) for n, size in zip(volume.shape, shape, strict=True)]
    box = volume[tuple(slice(at, at + size) for at, size in zip(corner, shape, strict=True))].astype(np.float64)
    return (box - box.min()) / (np.ptp(box) or 1)


_LOADED: list[NDArray] = []


def _volumes(corpus: Path) -> list[NDArray]:
    if not _LOADED:
        _LOADED.extend(v for path in sorted(corpus.glob("*.tif")) if (v := tifffile.imread(path)).ndim == 3)
    return _LOADED


def numbers(unit: NDArray[np.float64], code: str, kind: str, rng: np.random.Generator) -> NDArray:
    """Numbers of a kind and dtype, made of a box of 0..1."""
    dtype = np.dtype(code)
    if kind == "noise":
        unit = rng.random(unit.shape)
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        low, high = float(limits.min), float(limits.max)
        if kind == "offset":  # a range of a thousandth, far from 0
            low = high - max(1, (high - low) / 1000)
        elif kind == "tiny":
            high = low + 1
        elif kind == "denormal":
            low, high = 0, min(high, 12)
        values = np.rint(low + unit * (high - low))
        if kind == "extreme":
            values = np.where(rng.random(unit.shape) < 0.01, rng.choice([low, high], unit.shape), values)
        return np.clip(values, limits.min, limits.max).astype(dtype)
    info = np.finfo(dtype)
    with np.errstate(all="ignore"):
        values = {
            "offset": 1 + unit / 1000, "tiny": unit * 1e-30, "denormal": unit * float(info.tiny),
            "extreme": (unit - 0.5) * 0.9 * float(info.max),
        }.get(kind, unit * 1000 - 300).astype(dtype)  # fmt: skip
    if kind == "extreme":
        values[rng.random(unit.shape) < 0.001] = rng.choice([-info.max, info.max])
        values[0, 0, 0], values[-1, -1, -1] = -info.max, info.max
    if kind == "broken":
        strewn = rng.random(unit.shape) < 0.01
        values[strewn] = rng.choice([np.nan, np.inf, -np.inf, -0.0], int(strewn.sum()))
    return values


def violations(original: NDArray, values: NDArray, bound: float) -> int:
    """Voxels with other bits that are further than the bound away, counted without napari-tinc; NaN is never near."""
    differ = original.view(f"u{original.itemsize}") != values.view(f"u{original.itemsize}")
    with np.errstate(all="ignore"):
        near = np.abs(values.astype(np.float64) - original.astype(np.float64)) <= bound
    return int(np.count_nonzero(differ & ~near if bound else differ))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--voxels", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    began, done, wrong, boxes = time.perf_counter(), 0, 0, 0
    shown = began
    cases = itertools.cycle(itertools.product(KINDS, DTYPES, BOUNDS))
    while done < args.voxels:
        kind, code, share = next(cases)
        array = numbers(crops(args.corpus, rng), code, kind, rng)
        finite = array[np.isfinite(array)].astype(np.float64)
        bound = share * quality.span_of((finite.min(), finite.max()))
        volume = tinc.TincVolume(tinc.compress(array, max_error=bound).parts.data())
        found = violations(array, np.asarray(volume), bound)
        if found:
            print(f"{found} violations: {kind} {code} bound {bound}", flush=True)
        done, wrong, boxes = done + array.size, wrong + found, boxes + 1
        if time.perf_counter() - shown > 60:
            shown = time.perf_counter()
            print(f"{done:.3g} voxels, {wrong} violations, {shown - began:.0f} s", flush=True)
    print(f"{boxes} boxes, {done:.4g} voxels, {wrong} violations, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
