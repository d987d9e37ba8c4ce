"""What the compress widget says of sizes, progress and results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...decoding.contents import BlockContents
from ...decoding.volume import TincVolume
from ...events import Progress
from ...texts import duration, promise_of, size
from ...training.task import Estimate
from ..layers.from_volume import promise

if TYPE_CHECKING:
    from ..jobs.job import Result
    from ..jobs.queue import LayerJob

WHAT = {"training": "Training step", "blocks": "Block", "reading": "Reading block", "overview": "Overview, step"}
METHODS = {
    "auto": "Networks, or the predictive coder where that is better",
    "networks": "An octree of networks",
    "predictive": "The predictive coder, without networks",
}


def networks(planned: Estimate) -> str:
    """Describe the networks that a fit will train."""
    widths = ", ".join(map(str, planned.widths))
    leaves = f"{planned.n_leaves} leaves" if planned.n_leaves > 1 else "1 leaf"
    if planned.n_blocks > 1:
        leaves += f" in {planned.n_blocks} blocks"
    return f"{leaves}, widths {widths}: {planned.n_parameters:,} weights"


def goal(target: Mapping[str, Any], nbytes: int, times: str, labels: bool) -> list[str]:
    """Say what will become of a volume of so many bytes; ``times`` is "2 times " before each size of two volumes."""
    was = f"{times}{size(nbytes)}"
    if "max_error" not in target and "psnr" not in target:
        return [f"{was} will become {size(target.get('nbytes') or nbytes / target['ratio'])}"]
    if "psnr" in target:
        return [f"{was} will become the smallest file of {target['psnr']:g} dB found in up to six fits"]
    lines = [f"{was} will become the smallest file with {promise_of(target['max_error'])}"]
    if labels:
        lines.append("Labels and masks are always kept bit for bit: a number that is nearly right is another label")
    return lines


def headline(job: LayerJob, most: int = 1000) -> str:
    """Say what is compressed and how far it is: "Compressing brain: 40 %, 12 s left". Long names are cut."""
    name, remaining = job.request.name, job.remaining
    name = name if len(name) <= most else f"{name[: most - 1]}…"
    text = f"Compressing {name}"
    if remaining is None or math.isnan(remaining.seconds_left):
        return text
    return f"{text}: {100 * remaining.share_done:.0f} %, {duration(remaining.seconds_left)} left"


def progress(job: LayerJob, event: Progress, waiting: int) -> str:
    """Say how far, how good, how big."""
    lines = ["Stopping. What has been learnt is kept."] if job.control.stop.is_set() else []
    lines.append(headline(job))
    if event.phase == "packing":
        lines.append("Writing and measuring the result ...")
    else:
        again = f"Fit {event.attempt}: " if event.attempt > 1 else ""
        lines.append(f"{again}{WHAT.get(event.phase, event.phase.capitalize())} {event.step} of {event.steps}")
    if math.isfinite(event.psnr):
        lines.append(f"PSNR so far {event.psnr:.1f} dB")
    if event.nbytes is not None:
        lines.append(f"Size so far {size(event.nbytes)}")
    if waiting:
        lines.append(f"{waiting} more {'waits' if waiting == 1 else 'wait'} for this one.")
    return "\n".join(lines)


def made_of(volume: TincVolume) -> str:
    """Say what a compressed volume consists of."""
    if not isinstance(volume.parts, BlockContents):
        count = int(np.count_nonzero(np.asarray(volume.header.widths) > 0))  # type: ignore[attr-defined]
        leaves = volume.header.tree.n_leaves
        return f"An octree of {count} networks with {leaves} leaves" if count > 1 else "One network"
    blocks = math.prod(volume.shape[:-3]) * len(volume.parts.start)
    if volume.method == "networks":
        return f"{blocks} blocks, each an octree of networks"
    return f"Without networks: {blocks} {'block' if blocks == 1 else 'blocks'}, predictive coder"


def summary(result: Result) -> str:
    """Tell a result, and what can be done with it."""
    volume, quality = result.volume, result.quality
    lines = [f"Ratio {quality.ratio:.1f}: {size(volume.nbytes)} became {size(volume.nbytes_compressed)}"]
    kept = promise(volume)
    if kept:
        lines.append(f"Checked: {kept}")
    if not kept or volume.error_bound:
        lines.append(f"PSNR {quality.psnr:.2f} dB, SSIM {quality.ssim:.4f}")
    lines.append(f"{made_of(volume)}{f' ({result.reason})' if result.reason else ''}, in {duration(result.seconds)}.")
    if volume.error_bound != 0:
        lines.append("Compare and Leaves, under Plugins > TINC, show where it differs from the original.")
    return "\n".join(lines)


def notice(name: str, result: Result) -> str:
    """Tell a result in one line, the figures first: napari cuts a notice after some forty characters."""
    volume, quality = result.volume, result.quality
    good = "bit for bit" if volume.error_bound == 0 else f"PSNR {quality.psnr:.2f} dB"
    return f"Ratio {volume.ratio:.1f}, {good}, {duration(result.seconds)}: {name}, {size(volume.nbytes_compressed)}"


def saved_size(volume: TincVolume) -> str:
    """Say how large a file is, and how much smaller than the raw volume."""
    return f"{size(volume.nbytes_compressed)}, ratio {volume.ratio:.1f}"
