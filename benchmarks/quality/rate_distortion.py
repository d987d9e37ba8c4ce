"""Our presets against other codecs over ratios: python -m benchmarks.quality.rate_distortion CORPUS

Every row is kept in a JSON file as soon as it is there; a later run makes only those that are missing, unless --again.
The tables and plots are made anew at the end of every run, from all rows; --presets and --peers with nothing behind
them make nothing else. The original recipe trains for --recipe-seconds a row, so it is run on mri_mni152_crop at
ratio 64 only, unless --recipe-everywhere. Seconds need an idle machine. Every TIFF in the folders of --extra is a
volume more, with tables of its own: those of CORPUS/make_heterogeneous.py, for example. Rows of VVC are taken from
CORPUS/vvc.json, which was made elsewhere, where it has the volume.

The peers take about an hour in all, our presets many times that.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

import napari_tinc as tinc
from benchmarks.common import computer, load, machine, timed_fit
from benchmarks.quality import original_recipe
from benchmarks.quality.peers import PEERS, Sweep
from benchmarks.quality.rate_distortion_report import NAMES, ORIGINAL, PRESETS, VVC, report
from napari_tinc import metrics

RATIOS = [32, 64, 128, 256, 512, 1024]
RECIPE = ("mri_mni152_crop", 64)
LEVELS = 2  # of the original's tree
Row = dict[str, Any]


def measure_ours(volume: NDArray[Any], ratio: float, preset: str) -> Row:
    """Compress, save, open again, verify, decode. ValueError if the file is not what the encoder said it is."""
    try:
        finished, progress, seconds = timed_fit(volume, ratio=ratio, preset=preset)
    except ValueError as error:  # the ratio is out of reach
        return {"reached": False, "note": str(error)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.tinc"
        finished.volume.save(path)
        opened, nbytes = tinc.open(path), path.stat().st_size
    opened.verify()
    began = time.perf_counter()
    values = np.asarray(opened)
    decode_seconds = time.perf_counter() - began
    quality = metrics.measure(volume, values, nbytes)
    said = finished.quality  # of a file of blocks put together from theirs: SSIM without the windows across their edges
    psnr_off, ssim_off = abs(quality.psnr - said.psnr), abs(quality.ssim - said.ssim)
    if (quality.max_error, quality.ratio) != (said.max_error, said.ratio) or psnr_off > 1e-6 or ssim_off > 2e-3:
        raise ValueError(f"reopened as {quality}, reported as {said}")
    if quality.ratio < ratio:
        raise ValueError(f"ratio is {quality.ratio:.3f}, expected {ratio:g} or more")
    return {
        "reached": True, "bytes": nbytes, "psnr": quality.psnr, "ssim": quality.ssim, "encode_seconds": seconds,
        "decode_seconds": decode_seconds, "setting": f"{progress[-1].step} steps",
    }  # fmt: skip


def measure_original(volume: NDArray[Any], ratio: float, seconds: float) -> Row:
    target = int(volume.nbytes / ratio)
    try:
        *_, look = original_recipe.train(volume, target, seconds, LEVELS)
    except ValueError as error:  # an odd size, or too few bytes
        return {"reached": False, "note": str(error)}
    width = original_recipe.widest(target, LEVELS)
    nbytes = 4 * original_recipe.count_parameters(width, LEVELS)
    quality = metrics.measure(volume, look.values, nbytes)
    return {
        "reached": True, "bytes": nbytes, "psnr": quality.psnr, "ssim": quality.ssim, "encode_seconds": look.seconds,
        "decode_seconds": look.decode_seconds, "setting": f"width {width}, {look.steps} steps",
    }  # fmt: skip


def read(store: Path) -> list[Row]:
    return json.loads(store.read_text()) if store.exists() else []


def keep(store: Path, row: Row) -> None:
    """Put the row into the file, one a line, in place of an older one; other runs may add theirs meanwhile."""
    key = {name: row[name] for name in ("volume", "codec", "ratio")}
    rows = [*(other for other in read(store) if not key.items() <= other.items()), row]
    order = [*PRESETS, ORIGINAL, *PEERS, VVC]
    rows.sort(key=lambda row: (place(row["volume"]), order.index(row["codec"]), row["ratio"]))
    temporary = store.with_suffix(".tmp")
    temporary.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    temporary.replace(store)


def place(name: str) -> tuple[int, str]:
    """Where a volume stands in the tables: those of the corpus in their order, others by name."""
    return (NAMES.index(name), "") if name in NAMES else (len(NAMES), name)


def rows_of_vvc(corpus: Path, name: str, volume: NDArray[Any]) -> list[Row]:
    """Rows made of the figures that lie beside the corpus; they say no SSIM and no decoding time."""
    known = json.loads((corpus / "vvc.json").read_text())
    return [
        {
            "volume": name, "codec": VVC, "ratio": int(ratio), "reached": True,
            "bytes": int(volume.nbytes / int(ratio)), "psnr": psnr,
            "encode_seconds": known["encode_seconds_median"].get(name), "setting": known["settings"],
            "shape": volume.shape, "dtype": str(volume.dtype), "raw_bytes": volume.nbytes,
            "machine": f"another machine: {known['codec']}",
        }
        for ratio, psnr in known["psnr"].get(name, {}).items()
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder of the volumes")
    parser.add_argument("--volumes", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--extra", nargs="*", type=Path, default=[], help="folders of TIFF volumes to measure besides")
    parser.add_argument("--ratios", nargs="+", type=int, default=RATIOS)
    parser.add_argument("--presets", nargs="*", choices=PRESETS, default=PRESETS)
    parser.add_argument("--peers", nargs="*", choices=[ORIGINAL, *PEERS], default=[ORIGINAL, *PEERS])
    parser.add_argument("--again", action="store_true", help="also measure what is there already")
    parser.add_argument("--recipe-seconds", type=float, default=60, help="how long the original trains")
    parser.add_argument("--recipe-everywhere", action="store_true", help="the original on all volumes, at all ratios")
    page = Path(__file__).parents[2] / "docs" / "benchmarks" / "rate-distortion.md"
    parser.add_argument("--out", type=Path, default=page, help="JSON beside it, plots in images")
    arguments = parser.parse_args()
    here, there, store, failed = machine(), computer("imagecodecs", "av"), arguments.out.with_suffix(".json"), 0
    store.parent.mkdir(parents=True, exist_ok=True)
    extra = {path.stem: path for folder in arguments.extra for path in sorted(folder.glob("*.tif"))}
    for name in [*arguments.volumes, *extra]:
        volume = np.ascontiguousarray(tifffile.imread(extra[name])) if name in extra else load(arguments.corpus, name)
        for row in rows_of_vvc(arguments.corpus, name, volume):
            keep(store, row)
        for codec in [*arguments.peers, *arguments.presets]:
            sweep = Sweep(codec, volume) if codec in PEERS else None
            for ratio in arguments.ratios:
                key = {"volume": name, "codec": codec, "ratio": ratio}
                known = not arguments.again and any(key.items() <= row.items() for row in read(store))
                skipped = codec == ORIGINAL and not arguments.recipe_everywhere and (name, ratio) != RECIPE
                if known or skipped:
                    continue
                began = time.perf_counter()
                try:
                    if sweep:
                        row = sweep.row(int(volume.nbytes / ratio))
                    elif codec == ORIGINAL:
                        row = measure_original(volume, ratio, arguments.recipe_seconds)
                    else:
                        row = measure_ours(volume, ratio, codec)
                except Exception as error:  # one bad row must not cost the others; the next run tries it again
                    print(f"FAILED {key}: {type(error).__name__}: {error}", file=sys.stderr)
                    failed += 1
                    continue
                row = {label: round(value, 5) if isinstance(value, float) else value for label, value in row.items()}
                print(f"{name} {codec} {ratio}: {row}, {time.perf_counter() - began:.0f} s in all", file=sys.stderr)
                size = {"shape": volume.shape, "dtype": str(volume.dtype), "raw_bytes": volume.nbytes}
                keep(store, {**key, **row, **size, "machine": there if sweep else here})
    print(report(read(store), arguments.out))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
