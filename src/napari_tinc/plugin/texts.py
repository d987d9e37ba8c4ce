"""What the compress widget says of sizes, progress and results."""

from __future__ import annotations

import math

from ..pipeline import Estimate
from ..training import Progress
from .jobs import Result
from .layers import promise

WHAT = {"training": "step", "blocks": "block", "reading": "reading block", "overview": "overview, step"}


def networks(found: Estimate) -> str:
    widths = ", ".join(map(str, found.widths))
    leaves = f"{found.n_leaves} leaves" if found.n_leaves > 1 else "1 leaf"
    if found.n_blocks > 1:
        leaves += f" in {found.n_blocks} blocks"
    return f"{leaves}, widths {widths}: {found.n_parameters:,} weights"


def progress(event: Progress, stopping: bool, waiting: int) -> str:
    """How far, how good, how big."""
    lines = ["Stopping, what has been learnt is kept."] if stopping else []
    if event.phase == "packing":
        lines.append("Packing and measuring ...")
    else:
        done = f"{WHAT.get(event.phase, event.phase)} {event.step} of {event.steps}"
        left = f"{duration(event.seconds_left)} left, " if math.isfinite(event.seconds_left) else ""
        lines.append(left + done)
    if math.isfinite(event.psnr):
        lines.append(f"PSNR {event.psnr:.1f} dB, loss {event.loss:.3g}")
    if event.nbytes is not None:
        lines.append(f"Weights {size(event.nbytes)}")
    if waiting:
        lines.append(f"{waiting} waiting")
    return "\n".join(lines)


def summary(result: Result) -> str:
    volume, quality = result.volume, result.quality
    how = f"PSNR {quality.psnr:.2f} dB, SSIM {quality.ssim:.4f}\n"
    made_labels = volume.labels and volume.dtype != bool  # a mask that was an image is one again
    if said := promise(volume):
        how = f"Checked: {said}\n" + (how if volume.error_bound else "")
    return (
        f"Ratio {quality.ratio:.1f}: {size(volume.nbytes)} became {size(volume.nbytes_compressed)}\n{how}"
        f"{duration(result.seconds)}\n\n"
        f'To save it: File > Save Selected Layers, type "TINC compressed {"labels" if made_labels else "volume"}".'
    )


def size(count: float) -> str:
    """Three digits and an SI prefix: 32.8 kB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
