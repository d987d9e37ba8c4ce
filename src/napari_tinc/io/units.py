"""Units of length, as the formats spell them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from .read_options import say

# Names that NGFF, pint and napari share: (symbol in OME-XML, metres).
UNITS = {
    "pixel": ("pixel", math.nan),
    "picometer": ("pm", 1e-12),
    "angstrom": ("Å", 1e-10),
    "nanometer": ("nm", 1e-9),
    "micrometer": ("µm", 1e-6),
    "millimeter": ("mm", 1e-3),
    "centimeter": ("cm", 1e-2),
    "inch": ("in", 0.0254),
    "meter": ("m", 1.0),
    "kilometer": ("km", 1e3),
}
_SPELLINGS = {symbol: name for name, (symbol, _) in UNITS.items()} | {"um": "micrometer", "micron": "micrometer"}

SMALLEST = 1e-12  # Smaller voxels, in their unit, are refused by the format, as are larger ones than 1 / this.

# What comes of a conversion between units, or of a matrix, is wrong by less than this share: 0.30000000000000004.
CONVERSION = 1e-14

Size = tuple[Any, Any]  # a voxel's extent along an axis and its unit, as the file spells them; None where it does not


def unit_name(text: object) -> str | None:
    """Return the name in `UNITS` of "µm", "micron" or "Micrometers"; None if the text is not a unit of length."""
    unescaped = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), str(text))  # as ImageJ writes µ
    key = unicodedata.normalize("NFC", unescaped).strip().replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    if len(key) > 2:  # a symbol's case counts: Mm is not mm
        key = key.lower().replace("metre", "meter").removesuffix("s")
    return key if key in UNITS else _SPELLINGS.get(key)


def spacing_and_unit(sizes: Sequence[Size]) -> tuple[tuple[float, float, float] | None, str | None]:
    """Return the spacing along z, y, x in the unit of x, or of the first axis that has one.

    What is missing along z is 1. What has no unit, or none of length, counts as having that of the others. Both are
    said. (None, None) if sizes along y or x are missing; this is said if others are there.
    """
    numbers = [_positive(size) for size, _ in sizes]
    if not any(numbers):
        given = [size for size, _ in sizes if size is not None]
        if any(number_of(size) != 0 for size in given):
            say(f"voxel sizes are left out: {', '.join(map(str, given))} are not three positive numbers")
        return None, None
    if len(numbers) != 3 or not (numbers[1] and numbers[2]):
        say(f"voxel sizes are left out: {_as_text(sizes)}, expected numbers along z, y, x")
        return None, None
    names = [unit_name(unit) for _, unit in sizes]
    metres = [UNITS[name][1] if name else math.nan for name in names]
    base = next((i for i in (2, 1, 0) if math.isfinite(metres[i])), 2)
    unit = names[base]
    spacing = []
    for axis, number, name, metre in zip("zyx", numbers, names, metres, strict=True):
        if number is None:
            say(f"the file has no voxel size along {axis}, 1 is taken: {_as_text(sizes)}")
        elif name != unit and math.isfinite(metres[base]) and not math.isfinite(metre):
            say(f"the voxel size along {axis} has no unit of length, {unit} is taken: {_as_text(sizes)}")
        comparable = name != unit and math.isfinite(metre) and number is not None
        edge = number or 1.0
        spacing.append(shortest(edge * metre / metres[base] if comparable else edge, CONVERSION))
    z, y, x = spacing
    if not all(SMALLEST <= edge <= 1 / SMALLEST for edge in spacing):
        say(f"voxel sizes are left out: {_as_text(sizes)}, expected {SMALLEST:g} to {1 / SMALLEST:g}")
        return None, None
    unknown = [str(text) for name, (_, text) in zip(names, sizes, strict=True) if name is None and _is_meant(text)]
    if unit is None and unknown:
        say(f"the unit {unknown[-1]!r} of voxel sizes is left out: it is not a unit of length")
    return (z, y, x), unit


def shortest(number: float, tolerance: float) -> float:
    """Return the number of the fewest decimal digits that differs from another by at most a share of it."""
    for digits in range(1, 17):
        rounded = float(f"{number:.{digits}g}")
        if abs(rounded - number) <= tolerance * abs(number):
            return rounded
    return number


def number_of(size: object) -> float:
    """Return a size as a number, also if it is written with a decimal comma; NaN if it is none."""
    try:
        return float(size.replace(",", ".") if isinstance(size, str) else size)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _positive(size: object) -> float | None:
    """Return the absolute value of a size; None if it is no number but 0."""
    number = abs(number_of(size))
    return number if 0 < number < math.inf else None


def _is_meant(unit: object) -> bool:
    """Tell whether a text was meant as a unit of length."""
    return unit is not None and str(unit).strip().lower() not in ("", "none", "unknown", "pixels", "reference frame")


def _as_text(sizes: Sequence[Size]) -> str:
    """Put sizes and units as the file has them into words."""
    return ", ".join(
        f"{axis} unknown" if size is None else f"{axis} {size} {unit or ''}".strip()
        for axis, (size, unit) in zip("zyx", sizes, strict=False)
    )


# Names that NGFF, pint and napari share, and symbols: in seconds.
_SECONDS = {
    "second": 1.0, "s": 1.0, "sec": 1.0, "millisecond": 1e-3, "ms": 1e-3, "msec": 1e-3, "microsecond": 1e-6, "us": 1e-6,
    "µs": 1e-6, "usec": 1e-6, "nanosecond": 1e-9, "ns": 1e-9, "minute": 60.0, "min": 60.0, "hour": 3600.0, "h": 3600.0,
    "day": 86400.0, "d": 86400.0,
}  # fmt: skip


def seconds_of(unit: object) -> float | None:
    """Return how many seconds a unit of time has; None if the text is none."""
    text = str(unit or "").strip().replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    return _SECONDS.get(text, _SECONDS.get(text.lower().removesuffix("s")) if len(text) > 3 else None)
