"""The texts of the Compress dock: sizes, progress, results."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...decoding.block_contents import BlockContents
from ...decoding.volume import TincVolume
from ...events import Progress
from ...texts import duration, promise_of, size
from ...training.task import Estimate
from ..layers.from_volume import promise_of_volume

if TYPE_CHECKING:
    from ..jobs.job import Result
    from ..jobs.queue import LayerJob

# Phase of a job -> what it is called in the progress.
PHASES = {"training": "Training step", "blocks": "Block", "reading": "Reading block", "overview": "Overview, step"}
# Method -> what the plan says about it.
METHOD_DESCRIPTIONS = {
    "auto": "Networks, or the predictive coder where that is better",
    "networks": "An octree of networks",
    "predictive": "The predictive coder, without networks",
}


def describe_networks(planned: Estimate) -> str:
    """Describe the networks that a fit will train."""
    widths = ", ".join(map(str, planned.widths))
    leaves = f"{planned.n_leaves} leaves" if planned.n_leaves > 1 else "1 leaf"
    if planned.n_blocks > 1:
        leaves += f" in {planned.n_blocks} blocks"
    return f"{leaves}, widths {widths}: {planned.n_parameters:,} weights"


def describe_goal(target: Mapping[str, Any], nbytes: int, prefix: str, labels: bool) -> list[str]:
    """Say what a volume of so many bytes will become. ``prefix`` is "2 times " for two volumes, "" for one."""
    size_before = f"{prefix}{size(nbytes)}"
    if "max_error" not in target and "psnr" not in target:
        return [f"{size_before} will become {size(target.get('nbytes') or nbytes / target['ratio'])}"]
    if "psnr" in target:
        return [f"{size_before} will become the smallest file of {target['psnr']:g} dB found in up to six fits"]
    lines = [f"{size_before} will become the smallest file with {promise_of(target['max_error'])}"]
    if labels:
        lines.append("Labels and masks are always kept bit for bit: a number that is nearly right is another label")
    return lines


def headline(job: LayerJob, max_length: int = 1000) -> str:
    """Return what is compressed and how far it is: "Compressing brain: 40 %, 12 s left".

    A name of more than ``max_length`` characters is cut.
    """
    name, remaining = job.request.name, job.remaining
    name = name if len(name) <= max_length else f"{name[: max_length - 1]}…"
    text = f"Compressing {name}"
    if remaining is None or math.isnan(remaining.seconds_left):
        return text
    return f"{text}: {100 * remaining.share_done:.0f} %, {duration(remaining.seconds_left)} left"


def progress(job: LayerJob, event: Progress, waiting: int) -> str:
    """Describe a running job: how far it is, its PSNR and size so far, and how many jobs wait for it."""
    lines = ["Stopping. What has been learnt is kept."] if job.control.stop.is_set() else []
    lines.append(headline(job))
    if event.phase == "packing":
        lines.append("Writing and measuring the result ...")
    elif event.phase == "preparing":
        lines.append("Preparing this computer for its first compression. This takes up to half a minute, once.")
    else:
        fit_number = f"Fit {event.attempt}: " if event.attempt > 1 else ""
        lines.append(f"{fit_number}{PHASES.get(event.phase, event.phase.capitalize())} {event.step} of {event.steps}")
    if math.isfinite(event.psnr):
        lines.append(f"PSNR so far {event.psnr:.1f} dB")
    if event.nbytes is not None:
        lines.append(f"Size so far {size(event.nbytes)}")
    if waiting:
        lines.append(f"{waiting} more {'waits' if waiting == 1 else 'wait'} for this one.")
    return "\n".join(lines)


def describe_contents(volume: TincVolume) -> str:
    """Describe what a compressed volume consists of: "An octree of 64 networks with 64 leaves"."""
    if not isinstance(volume.parts, BlockContents):
        count = int(np.count_nonzero(np.asarray(volume.header.widths) > 0))  # type: ignore[attr-defined]
        leaves = volume.header.tree.n_leaves
        return f"An octree of {count} networks with {leaves} leaves" if count > 1 else "One network"
    blocks = math.prod(volume.shape[:-3]) * len(volume.parts.start)
    if volume.method == "networks":
        return f"{blocks} blocks, each an octree of networks"
    return f"Without networks: {blocks} {'block' if blocks == 1 else 'blocks'}, predictive coder"


def summary(result: Result) -> str:
    """Describe a result, a fact a line, and what can be done with it."""
    volume, quality = result.volume, result.quality
    lines = [f"Ratio {quality.ratio:.1f}: {size(volume.nbytes)} became {size(volume.nbytes_compressed)}"]
    promised = promise_of_volume(volume)
    if promised:
        lines.append(f"Checked: {promised}")
    if volume.error_bound != 0:
        lines.append(f"PSNR {quality.psnr:.2f} dB, SSIM {quality.ssim:.4f}{_psnr_of_regions(volume)}")
    lines.append(
        f"{describe_contents(volume)}{f' ({result.reason})' if result.reason else ''}, in {duration(result.seconds)}."
    )
    if volume.error_bound != 0:
        lines.append("Compare and Leaves, under Plugins > TINC, show where it differs from the original.")
    return "\n".join(lines)


def _psnr_of_regions(volume: TincVolume) -> str:
    """Describe the PSNR inside and outside the regions of a file; "" if it does not say them."""
    texts = []
    for name in ("inside", "outside"):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            decibels = float(volume.provenance[f"psnr_{name}"])
            texts.append(f"{'exact' if decibels >= 9999 else f'{decibels:.2f} dB'} {name} the region")
    return "".join(f"; {text}" for text in texts)


def notice(name: str, result: Result) -> str:
    """Describe a result in one line, the figures first: napari cuts a notice after some forty characters."""
    volume, quality = result.volume, result.quality
    quality_text = "bit for bit" if volume.error_bound == 0 else f"PSNR {quality.psnr:.2f} dB"
    figures = f"Ratio {volume.ratio:.1f}, {quality_text}, {duration(result.seconds)}"
    return f"{figures}: {name}, {size(volume.nbytes_compressed)}"


def saved_size(volume: TincVolume) -> str:
    """Describe the size of a file: "27 kB, ratio 64.0"."""
    return f"{size(volume.nbytes_compressed)}, ratio {volume.ratio:.1f}"
