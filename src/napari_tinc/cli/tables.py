"""Results as plain lines of text: how keys are headed, numbers written and columns aligned.

Nothing here knows what a result means.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

Part = str | Mapping[str, Any] | Sequence[Mapping[str, Any]]  # of a result: lines, pairs or a table

# Headings that differ from the key.
HEADINGS = {
    "bits_per_voxel": "bits/voxel", "psnr": "PSNR (dB)", "psnr_inside": "PSNR inside", "psnr_outside": "PSNR outside",
    "ssim": "SSIM", "rmse": "RMSE",
}  # fmt: skip
# How numbers are written; others with six digits.
FORMATS = {
    "bytes": ",.0f", "n_leaves": ",", "n_parameters": ",", "parameters": ",", "ratio": ".2f", "bits_per_voxel": ".4f",
    "psnr": ".2f", "psnr_inside": ".2f", "psnr_outside": ".2f", "exact_voxels": ",", "ssim": ".4f", "rmse": ".4g",
    "max_error": ".4g", "gain": ".3f", "offset": ".3g", "seconds": ".1f",
}  # fmt: skip


def put(text: str) -> None:
    """Print on stdout. Characters that its encoding lacks, and control characters, become question marks."""
    if sys.stdout is None:  # closed by the process that started this one
        return
    encoding = sys.stdout.encoding or "utf-8"
    lines = "\n".join(map(printable, text.split("\n")))
    print(lines.encode(encoding, "replace").decode(encoding), flush=True)


def printable_line(text: str) -> str:
    """Join the lines of a text to one, and replace what cannot be printed."""
    return printable(" ".join(text.split()))


def pairs(result: Mapping[str, Any]) -> str:
    """Lay out a result with a line a key."""
    return "\n".join(f"{heading(key):<13} {cell(value, key)}" for key, value in result.items())


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay out rows as lines, right-justified under the headings of the first row's keys."""
    cells = [list(map(heading, rows[0])), *([cell(value, key) for key, value in row.items()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in cells)


def cell(value: Any, key: str = "", separator: str = ", ") -> str:
    """Write a value as text: lists with commas, lists in them with slashes, a dash for None and nan."""
    if isinstance(value, list | tuple):
        return separator.join(cell(item, key, "/") for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{heading(name)} {cell(item, name)}" for name, item in value.items())
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, int | float):
        return format(value, FORMATS.get(key, ".6g" if isinstance(value, float) else ""))
    return str(value)


def heading(key: str) -> str:
    """Return the heading of a key: "n_leaves" is "leaves"."""
    return HEADINGS.get(key, key.removeprefix("n_").replace("_", " "))


def printable(line: str) -> str:
    """Replace control characters, which could steer the terminal, by question marks."""
    return "".join(character if character.isprintable() else "?" for character in line)


def plain(part: Part) -> str:
    """Lay out a part of a result in plain lines."""
    if isinstance(part, str):
        return part
    return pairs(part) if isinstance(part, Mapping) else table(part)
