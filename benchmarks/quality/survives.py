"""What survives at which ratio, for three analyses: python -m benchmarks.quality.survives CORPUS

Each volume is compressed with preset fast, reopened, and analysed as its original is: a threshold (Otsu) found anew in
each copy, the volume beyond it, the objects, and the surface. Once as it is, and once after a Gaussian filter of one
voxel, as people do with noisy images. Rows are kept in a JSON file; a later run makes only those that are missing,
unless --again. The table and the plots are made anew at the end of every run, from all rows.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label, marching_cubes, mesh_surface_area

import napari_tinc as tinc
from benchmarks.common import load, machine, markdown, timed_fit
from napari_tinc.correlation import fourier_shell_correlation

RATIOS = [16, 32, 64, 128, 256, 512, 1024]
PRESET = "fast"
LEAST_OBJECT = 64  # voxels; smaller ones are not counted
SMOOTHING = {"as it is": 0, "smoothed": 1}  # sigma of the filter, voxels
MEASURES = ("volume", "objects", "surface")
Row = dict[str, Any]


class Subject(NamedTuple):
    """What is looked for in a volume, and its voxels, which not every file states."""

    bright: bool
    objects: str
    color: str
    spacing: tuple[float, float, float]
    unit: str


SUBJECTS = {
    "fluo_nuclei": Subject(True, "nuclei", "#e6550d", (0.29, 0.26, 0.26), "µm"),
    "mri_mni152_crop": Subject(False, "dark parts of a head: fluid, and what is around it", "#1f77b4", (1, 1, 1), "mm"),
    "ct_thorax": Subject(False, "air in and around a chest", "#2ca02c", (1.5, 1.5, 1.5), "mm"),
}
INTRODUCTION = f"""# What survives

```sh
python -m benchmarks.quality.survives CORPUS
```

Does an analysis give the same result on the copy as on the original? Three volumes, each compressed at the ratios
below with preset `{PRESET}`, and reopened. On original and copy alike, with scikit-image:

1. `threshold_otsu` finds a threshold, anew in each copy.
2. **Volume**: the voxels beyond it.
3. **Objects**: connected components (faces) of at least {LEAST_OBJECT} voxels.
4. **Surface**: the area of the `marching_cubes` mesh at the threshold.

Each is done on the image as it is, and after a Gaussian filter of one voxel, which is usual for noisy images. *Detail*
is the resolution at which the [Fourier shell correlation](../concepts/quality-numbers.md#fourier-shell-correlation) of
copy and original falls below 0.5. In brackets: the change from the original.

![Change of each measure over the ratio](images/survives.svg)
"""

SUMMARY = """## In short

The largest change among the three volumes:
"""
ADVICE = """Volumes change least. Surfaces shrink most: noise makes a surface rough, and a copy does not keep noise. So
filter original and copy alike before you compare them. Counts move either way: small objects appear, merge or vanish.
"""


def analyse(image: NDArray[Any], spacing: Sequence[float], bright: bool, sigma: float) -> dict[str, float]:
    """Threshold, volume, count of objects and surface area, in units of the spacing."""
    image = gaussian(image.astype(np.float64), sigma) if sigma else image.astype(np.float64)
    threshold = float(threshold_otsu(image))
    mask = image > threshold if bright else image < threshold
    sizes = np.bincount(label(mask, connectivity=1).ravel())[1:]
    vertices, faces, _, _ = marching_cubes(image, threshold, spacing=tuple(spacing))
    return {
        "threshold": threshold, "volume": float(mask.sum() * math.prod(spacing)),
        "objects": int((sizes >= LEAST_OBJECT).sum()), "surface": float(mesh_surface_area(vertices, faces)),
    }  # fmt: skip


def analyses(image: NDArray[Any], spacing: Sequence[float], bright: bool) -> dict[str, dict[str, float]]:
    """The analysis with and without smoothing."""
    return {name: analyse(image, spacing, bright, sigma) for name, sigma in SMOOTHING.items()}


def measure(volume: NDArray[Any], ratio: float, spacing: Sequence[float], unit: str, bright: bool) -> Row:
    """Compress, save, open again, and analyse what is decoded."""
    finished, _, seconds = timed_fit(volume, ratio=ratio, preset=PRESET)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.tinc"
        finished.volume.save(path)
        values, nbytes = np.asarray(tinc.open(path)), path.stat().st_size
    correlation = fourier_shell_correlation(volume, values, spacing, unit)
    return {
        "bytes": nbytes, "method": finished.method, "psnr": finished.quality.psnr, "encode_seconds": seconds,
        "detail": correlation.resolution(0.5), "finest": correlation.finest, "unit": unit,
        "analyses": analyses(values, spacing, bright),
    }  # fmt: skip


def read(store: Path) -> list[Row]:
    return json.loads(store.read_text()) if store.exists() else []


def keep(store: Path, row: Row) -> None:
    """Write all rows anew, in the order of volumes and ratios."""
    rows = [old for old in read(store) if (old["volume"], old["ratio"]) != (row["volume"], row["ratio"])]
    rows = sorted([*rows, row], key=lambda each: (list(SUBJECTS).index(each["volume"]), each["ratio"]))
    store.write_text(json.dumps(rows, indent=1) + "\n")


def report(rows: list[Row], out: Path) -> str:
    """Write the page and its plot, and return the page."""
    names = [name for name in SUBJECTS if any(row["volume"] == name for row in rows)]
    (out.parent / "images").mkdir(parents=True, exist_ok=True)
    plot(rows, names, out.parent / "images" / "survives.svg")
    sections = [section([row for row in rows if row["volume"] == name], name) for name in names]
    machines = "\n".join(f"- {where}" for where in sorted({row["machine"] for row in rows}))
    page = "\n\n".join([INTRODUCTION.strip(), summary(rows, names), *sections, f"## Measured on\n\n{machines}"]) + "\n"
    out.write_text(page)
    return page


def summary(rows: list[Row], names: list[str]) -> str:
    """The largest change of each measure at each ratio that all volumes have."""
    originals = {row["volume"]: row for row in rows if not row["ratio"]}
    copies = {ratio: [row for row in rows if row["ratio"] == ratio] for ratio in RATIOS}
    copies = {ratio: found for ratio, found in copies.items() if len(found) == len(names)}
    lines = []
    for smoothing in SMOOTHING:
        for key in MEASURES:
            worst = [
                max(found, key=lambda row: abs(change(row, originals[row["volume"]], smoothing, key)))
                for found in copies.values()
            ]
            cells = [difference(row, originals[row["volume"]], smoothing, key) for row in worst]
            lines.append([f"{key}, {smoothing}", *cells])
    return f"{SUMMARY.strip()}\n\n{markdown(['ratio', *map(str, copies)], lines)}\n\n{ADVICE.strip()}"


def section(rows: list[Row], name: str) -> str:
    """The tables of one volume: a line for the original, and one for each ratio."""
    original, *copies = rows
    unit = original["unit"]
    lines = []
    for row in rows:
        facts = ["original", "", "", ""]
        if row is not original:
            facts = [str(row["ratio"]), row["method"], f"{row['psnr']:.2f}", f"{row['detail']:.3g}"]
        cells = [cell(row, original, smoothing, key) for smoothing in SMOOTHING for key in MEASURES]
        lines.append([*facts, *cells])
    head = ["ratio", "method", "PSNR (dB)", f"detail ({unit})"]
    head += [f"{key}, {smoothing}" for smoothing in SMOOTHING for key in MEASURES]
    shape = "x".join(map(str, original["shape"]))
    about = f"{shape} {original['dtype']}. The objects are {SUBJECTS[name].objects}."
    about += f" Surfaces are in {unit}², volumes in {unit}³."
    if copies:
        about += f" The finest detail that the voxels can hold is {copies[0]['finest']:.3g} {unit}."
    return f"## {name}\n\n{about}\n\n{markdown(head, lines)}"


def change(row: Row, original: Row, smoothing: str, key: str) -> float:
    """Relative difference of a measure from that of the original."""
    before = original["analyses"][smoothing][key]
    return row["analyses"][smoothing][key] / before - 1 if before else math.nan


def difference(row: Row, original: Row, smoothing: str, key: str) -> str:
    """Say how far a measure is from that of the original: "-2 of 13" objects, "+0.5 %" of others."""
    if key == "objects":
        before = original["analyses"][smoothing][key]
        return f"{row['analyses'][smoothing][key] - before:+d} of {before}"
    return f"{100 * change(row, original, smoothing, key):+.1f} %"


def cell(row: Row, original: Row, smoothing: str, key: str) -> str:
    value = row["analyses"][smoothing][key]
    text = f"{value:,.0f}"
    return text if row is original else f"{text} ({difference(row, original, smoothing, key).partition(' of ')[0]})"


def plot(rows: list[Row], names: list[str], path: Path) -> None:
    """Changes over the ratio, a panel a measure; solid lines as it is, dashed ones smoothed."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, len(MEASURES))
    for axes, key in zip(panels, MEASURES, strict=True):
        for name in names:
            original, *copies = (row for row in rows if row["volume"] == name)
            for smoothing, style in zip(SMOOTHING, ("o-", "s--"), strict=True):
                changes = [100 * change(row, original, smoothing, key) for row in copies]
                text = f"{name}, {smoothing}"
                axes.plot(
                    [row["ratio"] for row in copies], changes, style, color=SUBJECTS[name].color, label=text, ms=3
                )
        axes.set(title=key, xlabel="ratio", xscale="log")
        axes.set_xscale("log", base=2)
        axes.set_xticks(RATIOS, map(str, RATIOS), rotation=45)
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("change from the original (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names), fontsize=8)
    with matplotlib.rc_context({"svg.hashsalt": "survives", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder of the volumes")
    parser.add_argument("--volumes", nargs="*", choices=list(SUBJECTS), default=list(SUBJECTS))
    parser.add_argument("--ratios", nargs="+", type=int, default=RATIOS)
    parser.add_argument("--again", action="store_true", help="also measure what is there already")
    page = Path(__file__).parents[2] / "docs" / "benchmarks" / "survives.md"
    parser.add_argument("--out", type=Path, default=page, help="JSON beside it, the plot in images")
    arguments = parser.parse_args()
    store, here = arguments.out.with_suffix(".json"), machine()
    store.parent.mkdir(parents=True, exist_ok=True)
    for name in arguments.volumes:
        volume, (bright, _, _, spacing, unit) = load(arguments.corpus, name), SUBJECTS[name]
        known = set() if arguments.again else {(row["volume"], row["ratio"]) for row in read(store)}
        facts = {"shape": volume.shape, "dtype": str(volume.dtype), "unit": unit, "machine": here}
        if (name, 0) not in known:
            keep(store, {"volume": name, "ratio": 0, **facts, "analyses": analyses(volume, spacing, bright)})
        for ratio in arguments.ratios:
            if (name, ratio) not in known:
                row = measure(volume, ratio, spacing, unit, bright)
                print(f"{name} {ratio}: {row}", file=sys.stderr, flush=True)
                keep(store, {"volume": name, "ratio": ratio, **facts, **row})
    print(report(read(store), arguments.out))


if __name__ == "__main__":
    main()
