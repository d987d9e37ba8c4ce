"""What the benchmarks share: the volumes of the corpus, one timed fit, Markdown tables, where a figure was measured."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

import napari_tinc as tinc

WHOLE = (slice(None),) * 3
VOLUMES = {  # name of a row -> file without suffix, crop
    "ct_thorax": ("ct_thorax", WHOLE),
    "fluo_nuclei": ("fluo_nuclei", WHOLE),
    "sim_turbulence": ("sim_turbulence", WHOLE),
    "microct_snow": ("microct_snow", WHOLE),
    "cryoem_betagal": ("cryoem_betagal", WHOLE),
    "mri_t1_ch2": ("mri_t1_ch2", WHOLE),
    "mri_mni152_crop": ("mri_mni152", (slice(30, 158), slice(52, 180), slice(34, 162))),
    "hipct_brain64": ("hipct_brain64", WHOLE),
    "fibsem_medulla_crop": ("fibsem_medulla_a", (slice(61, 189),) * 3),
}


def load(corpus: Path, name: str) -> NDArray[Any]:
    """The volume of that row, (z, y, x), contiguous."""
    file, crop = VOLUMES[name]
    return np.ascontiguousarray(tifffile.imread(corpus / f"{file}.tif")[crop])


def timed_fit(volume: NDArray[Any], **options: Any) -> tuple[tinc.Finished, list[tinc.Progress], float]:
    """Run ``tinc.fit`` to its end: the last event, those before it, and the seconds of all of it.

    The first fit of a process loads compiled code, which takes a second and counts.
    """
    began = time.perf_counter()
    *progress, finished = tinc.fit(volume, **options)
    return finished, progress, time.perf_counter() - began


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column left-aligned and the others right-aligned."""
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def computer(*packages: str) -> str:
    """What every figure depends on: processors and versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}, {versions}"


def machine() -> str:
    """What a figure of ours depends on: also the last commit to the engine ("+": and changes since)."""
    root = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True).stdout.strip()

    commit = git("log", "-1", "--format=%h", "--", "src") + "+" * bool(git("status", "--porcelain", "--", "src"))
    return f"{computer('numpy', 'numba')}, engine {commit or 'unknown'}"
