"""What is made of the rows of rate_distortion.py: BD-PSNR, tables and plots."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from benchmarks.common import VOLUMES, markdown
from benchmarks.quality.bjontegaard import Gain, bd_psnr

PRESETS = ["fast", "balanced", "best"]
ORIGINAL = "original TINC"
VVC = "VVC"
NAMES = [name for name in VOLUMES if name != "mri_t1_ch2"]  # one MRI is enough for the mean
INTERVALS = [(64, 1024), (256, 1024), (64, 256)]
COLOURS = {  # ours in warm colours and thick; the peers so that they can be told apart
    "fast": "#fdae6b", "balanced": "#e6550d", "best": "#a50f15", ORIGINAL: "#000000", "SPERR": "#1f77b4",
    "SZ3": "#9edae5", "ZFP": "#c7c7c7", "JPEG 2000": "#98df8a", "JPEG XL": "#2ca02c", "x265": "#9467bd",
    "SVT-AV1": "#e377c2", VVC: "#17becf",
}  # fmt: skip
FULL = 0.95  # of an interval; less is marked
NEAR = 0.97  # of the target's bytes; less is marked
INTRODUCTION = """# Rate and distortion

```sh
python -m benchmarks.quality.rate_distortion CORPUS
```

PSNR = 10 log10(range² / MSE) and SSIM by the range of the volume, on values rounded to its dtype and clipped to its
range, by the same function for every codec. Ratio = bytes of the raw array / bytes of the whole stream. Every peer's
parameter is searched for the target; the best of its settings counts. JPEG 2000 and JPEG XL code slices, x265 and
SVT-AV1 a video along z. The figures of VVC (VVenC, preset slow, a constant QP) were made on another machine; PSNR alone
is known, interpolated between its points to the ratios. The commits that made our figures are
[at the end](#measured-on).

## BD-PSNR: ours minus the peer's (dB)

The mean vertical distance between two curves of PSNR over log2(bytes), PCHIP between the points: above 0, ours is
better. Only where both codecs reach the rate; `~` is over less than 95 % of the interval, `-` where there is nothing to
compare. Mean and worst are over the volumes that have a figure.
"""
EXTRA = """### Volumes that are in no mean above

Those that begin with `het_` have parts that differ (an MRI crop in a smooth ramp, a CT crop in air, an EM and an MRI
crop in a noisy ramp); the others were kept out of all tuning.
"""
TABLES = f"""## The volumes

PSNR in dB and, in brackets, SSIM. `-`: the codec does not reach the ratio, or only with a picture that is no better
than the mean value. `*`: its stream is more than {100 - 100 * NEAR:.0f} % smaller than the target. Seconds: median over
the ratios, for the final stream, not the search. Ours were taken while the machine did other work, some rows with
pauses between: read them as upper limits. The page [Speed](speed.md#whole-files) has seconds of an idle machine.
"""
ENGINES = """## Measured on

The engine is the commit of the code that made a figure; in brackets, for how many of the volumes. Figures of different
engines stand side by side: compare them with care. Engines older than 62ffea6 are stale: today's code may give others.
"""
Row = dict[str, Any]


def report(rows: list[Row], out: Path) -> str:
    """Write tables and plots; the summary table."""
    volumes = list(dict.fromkeys(row["volume"] for row in rows))
    images = out.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    sections = []
    for name in volumes:
        mine = [row for row in rows if row["volume"] == name]
        image = images / f"{out.stem}-{name}.svg"
        plot(mine, image)
        title = f"### {name}\n\n{'x'.join(map(str, mine[0]['shape']))} {mine[0]['dtype']}"
        sections.append(f"{title}\n\n![PSNR over ratio](images/{image.name})\n\n{table(mine)}")
    machines = "\n".join(f"- {where}" for where in sorted({row["machine"].partition(", engine")[0] for row in rows}))
    known = [name for name in volumes if name in NAMES]
    found = summary(rows, known)
    extra = [name for name in volumes if name not in NAMES]
    further = [f"{EXTRA}\n{summary(rows, extra)}"] if extra else []
    parts = [INTRODUCTION, found, *further, TABLES, "\n\n".join(sections), f"{ENGINES}\n{engines(rows)}\n\n{machines}"]
    out.write_text("\n\n".join(part.strip() for part in parts) + "\n")
    return found


def engines(rows: list[Row]) -> str:
    """A table of the engines of our rows, by preset and ratio."""
    ratios = sorted({row["ratio"] for row in rows})

    def made_by(preset: str, ratio: int) -> str:
        mine = [row["machine"] for row in rows if (row["codec"], row["ratio"]) == (preset, ratio)]
        counts = Counter(machine.partition(", engine ")[2] for machine in mine)
        return ", ".join(f"{engine} ({count})" for engine, count in counts.most_common())

    return markdown(
        ["preset", *map(str, ratios)], [[preset, *(made_by(preset, r) for r in ratios)] for preset in PRESETS]
    )


def codecs(rows: list[Row]) -> list[str]:
    """Those that have rows, in the order of the tables."""
    return [codec for codec in COLOURS if any(row["codec"] == codec for row in rows)]


def summary(rows: list[Row], volumes: list[str]) -> str:
    """A table for every interval."""
    tables = []
    for low, high in INTERVALS:
        lines = []
        for preset in PRESETS:
            for peer in [codec for codec in codecs(rows) if codec not in PRESETS]:
                gains = {name: gain(rows, name, preset, peer, low, high) for name in volumes}
                known = {name: gain.psnr for name, gain in gains.items() if gain}
                if not known:
                    continue
                worst = min(known, key=lambda name: known[name])
                mark = "~" * any(gain.covered < FULL for gain in gains.values() if gain)
                ends = [f"{mark}{statistics.fmean(known.values()):+.2f}", f"{known[worst]:+.2f} ({worst})"]
                lines.append([f"{preset} − {peer}", *ends, str(len(known)), *(cell(gains[name]) for name in volumes)])
        head = [f"ratio {low} to {high}", "mean", "worst", "volumes", *volumes]
        tables.append(markdown(head, lines) if lines else f"Ratio {low} to {high}: no rows of ours yet.")
    return "\n\n".join(tables)


def gain(rows: list[Row], volume: str, preset: str, peer: str, low: int, high: int) -> Gain | None:
    """Of the preset over the peer between two ratios, from all their points."""
    mine = [row for row in rows if row["volume"] == volume and row["reached"]]
    curves = [[(row["bytes"], row["psnr"]) for row in mine if row["codec"] == codec] for codec in (preset, peer)]
    if not all(curves):
        return None
    return bd_psnr(*curves, mine[0]["raw_bytes"] / high, mine[0]["raw_bytes"] / low)


def cell(gain: Gain | None) -> str:
    return f"{'~' * (gain.covered < FULL)}{gain.psnr:+.2f}" if gain else "-"


def table(rows: list[Row]) -> str:
    """PSNR and SSIM of a volume, a line a codec."""
    ratios = sorted({row["ratio"] for row in rows})
    lines = []
    for codec in codecs(rows):
        mine = {row["ratio"]: row for row in rows if row["codec"] == codec}
        reached = [row for row in mine.values() if row["reached"]]
        seconds = [
            f"{statistics.median(known):.2f}" if known else "-"
            for key in ("encode_seconds", "decode_seconds")
            for known in [[row[key] for row in reached if row.get(key) is not None]]
        ]
        lines.append([codec, *(figures(mine.get(ratio)) for ratio in ratios), *seconds])
    return markdown(["codec", *map(str, ratios), "encode (s)", "decode (s)"], lines)


def figures(row: Row | None) -> str:
    if row is None:
        return ""
    if not row["reached"]:
        return "-"
    mark = "*" * (row["bytes"] < NEAR * row["raw_bytes"] / row["ratio"])
    ssim = f" ({row['ssim']:.3f})" if "ssim" in row else ""
    return f"{row['psnr']:.2f}{ssim}{mark}"


def plot(rows: list[Row], path: Path) -> None:
    """PSNR over the real ratio; the same rows give the same file."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    size = f"{'×'.join(map(str, rows[0]['shape']))} {rows[0]['dtype']}"
    axes = figure.add_subplot(xlabel="ratio", ylabel="PSNR (dB)", title=f"{rows[0]['volume']}, {size}")
    for codec in codecs(rows):
        points = {
            row["raw_bytes"] / row["bytes"]: row["psnr"] for row in rows if row["codec"] == codec and row["reached"]
        }
        ours = codec in PRESETS
        axes.plot(
            *zip(*sorted(points.items()), strict=True) if points else ([], []), "o-", color=COLOURS[codec], label=codec,
            linewidth=2.5 if ours else 1.2, markersize=5 if ours else 3, zorder=3 if ours else 2,
        )  # fmt: skip
    ratios = sorted({row["ratio"] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ratios, map(str, ratios))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    with matplotlib.rc_context({"svg.hashsalt": "rate-distortion", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
