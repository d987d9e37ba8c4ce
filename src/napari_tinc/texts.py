"""Sizes, durations and promises in words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

FULL_SHARE = 0.8  # A file that uses less of the bytes that were allowed says so.


def rough_size(nbytes: float) -> str:
    """Write a number of bytes that is needed, rounded up: 1.2 GB, 40 MB, 200 kB."""
    if nbytes < 1e6:
        return f"{math.ceil(nbytes / 1e3)} kB"
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e8 else f"{math.ceil(nbytes / 1e6)} MB"


def size(count: float) -> str:
    """Write the size of a file with three digits and an SI prefix: 32.8 kB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Write a duration in seconds, or in minutes from 100 seconds on."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def promise_of(bound: float) -> str:
    """Write what a bound on the error means for every voxel."""
    return f"every voxel within {bound:g}" if bound else "every voxel bit for bit"


def promise_of_file(bound: float | None, region_bound: float | None, n_voxels: int) -> str:
    """Write what a file promises, in all and of the voxels of its regions; "" if it promises nothing."""
    everywhere = "" if bound is None else promise_of(bound)
    if region_bound is None:
        return everywhere
    kept = f"{n_voxels:,} voxels {'bit for bit' if not region_bound else f'within {region_bound:g}'}"
    return (
        f"{kept}; {everywhere.replace('every voxel', 'every other voxel')}"
        if everywhere
        else f"{kept}; no bound elsewhere"
    )


def unused_text(nbytes: int, budget: int, max_error: float, method: str) -> str:
    """Say that a file takes much less than it was allowed, and why; "" if it does not, or has no budget.

    Parameters
    ----------
    nbytes, budget : bytes of the file, and those that were allowed; 0 for no budget.
    max_error : the largest error of any voxel.
    method : "networks" or "predictive".
    """
    if nbytes >= FULL_SHARE * budget:
        return ""
    if max_error == 0:
        why = "every voxel is kept bit for bit in fewer"
    elif method == "networks":
        why = "networks of the next larger size would take more"
    else:
        why = "the next finer step of the values would take more"
    return f"{nbytes / budget:.0%} of the {budget:,} bytes that were allowed are used: {why}"


def hex_of(color: Sequence[float]) -> str:
    """Write a color of three or four numbers, 0 to 1, as "#rrggbb"; with its opacity, "#rrggbbaa", if that is not 1."""
    text = "".join(f"{round(255 * min(1.0, max(0.0, float(part)))):02x}" for part in color)
    return f"#{text.removesuffix('ff') if len(text) == 8 else text}"


def with_names(text: str, names: Mapping[str, str]) -> str:
    """Return a message about Python arguments in other words, such as flags: "max_error=0" as "--max-error 0".

    Parameters
    ----------
    names : what an argument is called instead. Arguments whose names are usual words, such as ratio, are found where
        "=" follows, or where the message begins with them.
    """
    every = "|".join(sorted(names, key=len, reverse=True))

    def value(match: re.Match[str]) -> str:
        """Name an argument and write its value as on a command line."""
        number = re.sub(r"[()\[\]'\s]", "", match[2])
        return names[match[1]] + ("" if number in ("", "True") else f" {number}")

    text = re.sub(rf"(?<![\w./\\-])({every})=(\([^)]*\)|\[[^\]]*\]|[^\s,;:)]*)", value, text)
    text = re.sub(rf"^({every})(?= (?:is|and|has|of|within|given|adds)\b)", lambda match: names[match[1]], text)
    unusual = "|".join(name for name in names if "_" in name or name == "nbytes")
    return re.sub(rf"(?<![\w./\\-])({unusual})(?!\w|\.\w)", lambda match: names[match[1]], text) if unusual else text
