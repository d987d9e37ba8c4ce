"""Units of length, as the formats spell them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

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

Size = tuple[Any, Any]  # a voxel's extent along an axis and its unit, as the file spells them; None where it does not


def unit_name(text: object) -> str | None:
    """Return the name in `UNITS` of "µm", "micron" or "Micrometers"; None if the text is not a unit of length."""
    unescaped = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), str(text))  # as ImageJ writes µ
    key = unicodedata.normalize("NFC", unescaped).strip().replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    if len(key) > 2:  # a symbol's case counts: Mm is not mm
        key = key.lower().replace("metre", "meter").removesuffix("s")
    return key if key in UNITS else _SPELLINGS.get(key)


def spacing_and_unit(sizes: Sequence[Size]) -> tuple[tuple[float, float, float] | None, str | None]:
    """Return the spacing along z, y, x in the unit of x. (None, None) if sizes are missing or cannot be compared."""
    if len(sizes) != 3 or any(size is None for size, _ in sizes):
        return None, None
    names = [unit_name(unit) for _, unit in sizes]
    metres = [UNITS[name][1] if name else math.nan for name in names]
    factors = [1.0 if name == names[2] else metre / metres[2] for name, metre in zip(names, metres, strict=True)]
    z, y, x = (abs(float(size)) * factor for (size, _), factor in zip(sizes, factors, strict=True))
    return ((z, y, x), names[2]) if min(z, y, x) > 0 and math.isfinite(z + y + x) else (None, None)


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
