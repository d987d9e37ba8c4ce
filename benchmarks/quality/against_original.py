"""The original TINC recipe and ours at the same bytes: python -m benchmarks.quality.against_original CORPUS

On 128^3 voxels of an MRI (mri_mni152) at ratio 66, one run after the other; also `fast` cut down to --first-steps.
Writes against_original.json with the curves, against_original.svg where matplotlib is installed, and prints a Markdown
table. Needs an idle machine; takes --seconds, plus a minute and a half for ours, plus half a minute in all to look at
the original's volume.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import napari_tinc as tinc
from benchmarks.common import load, machine, markdown, timed_fit
from benchmarks.quality import original_recipe
from napari_tinc.training import task

RATIO = 66
TIMES = (3, 5, 10, 20, 30, 45, 60)
LOOKS = (2, *TIMES, 90, 120, 180, 240, 300, 375, 450, 525, 600)


def run_original(volume: NDArray[Any], seconds: float, levels: int) -> dict[str, Any]:
    """Its curve, every point of it measured on the whole volume."""
    nbytes = volume.nbytes // RATIO
    size = 4 * original_recipe.count_parameters(original_recipe.widest(nbytes, levels), levels)
    curve = []
    for look in original_recipe.train(volume, nbytes, seconds, levels, LOOKS):
        curve.append([look.seconds, look.psnr])
        print(f"original: {look.steps} steps, {look.seconds:.1f} s, {look.psnr:.2f} dB", file=sys.stderr)
    return {
        "name": "original", "levels": levels, "steps": look.steps, "seconds": look.seconds, "psnr": look.psnr,
        "bytes": size, "curve": curve, "estimated": False,
    }  # fmt: skip


def run_ours(volume: NDArray[Any], preset: str, steps: int | None = None) -> dict[str, Any]:
    """Our curve: what training reports of itself, then the PSNR of the file.

    ``steps`` instead of the preset's, with weights of 8 bits: so short a fit has no use for more of them.
    """
    if steps:
        task.STEPS = {**task.STEPS, preset: steps}
    finished, progress, seconds = timed_fit(volume, ratio=RATIO, preset=preset, weights="int8" if steps else "entropy")
    quality = tinc.compare(volume, finished.volume)
    print(f"{preset}: {progress[-1].step} steps, {seconds:.1f} s, {quality.psnr:.2f} dB", file=sys.stderr)
    curve = [[event.seconds, event.psnr] for event in progress if event.phase == "training"]
    return {
        "name": f"{preset}, cut short" if steps else preset, "steps": progress[-1].step, "seconds": seconds,
        "psnr": quality.psnr,
        "bytes": finished.volume.nbytes_compressed, "curve": [*curve, [seconds, quality.psnr]], "estimated": True,
    }  # fmt: skip


def psnr_at(run: dict[str, Any], seconds: float) -> str:
    """What stood at that time: the PSNR in the end, if it had ended; "~" marks an estimate."""
    if run["seconds"] <= seconds:
        return f"{run['psnr']:.2f}"
    passed = [psnr for at, psnr in run["curve"] if at <= seconds + 0.2]
    if not passed or not math.isfinite(passed[-1]):
        return "-"
    return f"{'~' if run['estimated'] else ''}{passed[-1]:.2f}"


def table(runs: list[dict[str, Any]]) -> str:
    ends = [time for time in TIMES if time <= max(run["seconds"] for run in runs) + 0.5]
    rows = [[f"PSNR (dB) at {time} s", *(psnr_at(run, time) for run in runs)] for time in ends]
    for title, key, form in (("PSNR (dB) in the end", "psnr", ".2f"), ("seconds", "seconds", ".1f"),
                             ("steps", "steps", ",d"), ("bytes", "bytes", ",d")):  # fmt: skip
        rows.append([title, *(format(run[key], form) for run in runs)])
    note = "~ is training's own estimate; every other PSNR is measured on the whole volume."
    return f"{markdown(['', *(run['name'] for run in runs)], rows)}\n\n{note}"


def plot(runs: list[dict[str, Any]], path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(f"no matplotlib, so no {path}", file=sys.stderr)
        return
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="seconds", ylabel="PSNR (dB)", title=f"mri_mni152, 128³ voxels, ratio {RATIO}")
    for run in runs:
        line = axes.plot(*zip(*run["curve"], strict=True), label=f"{run['name']}: {run['psnr']:.2f} dB")[0]
        axes.plot(run["seconds"], run["psnr"], "o", color=line.get_color())
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder of mri_mni152.tif")
    parser.add_argument("--seconds", type=float, default=60, help="how long the original trains")
    parser.add_argument("--first-steps", type=int, default=240, help="of a first look at ours")
    parser.add_argument("--levels", type=int, choices=(2, 3), default=2, help="levels of the original's tree")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results", help="folder to write to")
    arguments = parser.parse_args()
    volume = load(arguments.corpus, "mri_mni152_crop")
    runs = [run_ours(volume, preset) for preset in ("fast", "balanced")]
    runs.insert(0, run_ours(volume, "fast", arguments.first_steps))
    runs.append(run_original(volume, arguments.seconds, arguments.levels))
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = {"ratio": RATIO, "machine": machine(), "runs": runs}
    (arguments.out / "against_original.json").write_text(json.dumps(result, indent=1))
    plot(runs, arguments.out / "against_original.svg")
    print(f"{table(runs)}\n\n{machine()}.")


if __name__ == "__main__":
    main()
