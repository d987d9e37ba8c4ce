"""What is known of an image besides its values, for the writers of all formats."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..format.details import Details
from ..format.placement import Placement
from .image import Spacing
from .units import CONVERSION, UNITS, seconds_of, shortest

# What a file may keep besides values.
FACTS = (
    "spacing", "unit", "origin", "orientation", "shear", "time step", "channels", "contrast limits", "labels",
    "names of labels", "colormap, gamma and layer name",
)  # fmt: skip
# What values become in formats that have no place for some dtypes.
USUAL_CHANGES = {"bool": "uint8", "float16": "float32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What is known of an image.

    Attributes
    ----------
    axes : a lower-case letter for each axis.
    spacing : size of a voxel along z, y, x in ``units``; None if it is not known.
    units : a name in :data:`~.units.UNITS`; None if it is not known.
    channels : "name", "color" ("#rrggbb") and "window" ("low high") of every channel.
    value_range : smallest and largest value.
    placement : where the voxels lie.
    details : time step, contrast limits, names of labels.
    labels : whether the values are labels.
    name : of the file that is written.
    """

    axes: str = "zyx"
    spacing: Spacing | None = None
    units: str | None = None
    channels: Sequence[Mapping[str, str]] = ()
    value_range: tuple[float, float] | None = None
    placement: Placement | None = None
    details: Details = field(default_factory=Details)
    labels: bool = False
    name: str = ""

    def factor_to(self, unit: str) -> float | None:
        """Return how many of ``unit`` the unit of the spacing is; None if it is not known."""
        metres = UNITS[self.units][1] if self.units else math.nan
        return metres / UNITS[unit][1] if math.isfinite(metres) else None

    def edges_in(self, unit: str) -> Spacing | None:
        """Return the spacing in a unit; None if spacing or unit are not known."""
        factor = self.factor_to(unit)
        if self.spacing is None or factor is None:
            return None
        z, y, x = (shortest(edge * factor, CONVERSION) for edge in self.spacing)
        return z, y, x

    @property
    def symbol(self) -> str:
        """Symbol of the unit, in letters that every format has; "" if it is not known."""
        symbol = UNITS[self.units][0] if self.units and self.units != "pixel" else ""
        return {"µm": "um", "Å": "angstrom"}.get(symbol, symbol)

    @property
    def seconds(self) -> tuple[float, str] | None:
        """Time step as NIfTI has it: in "sec", "msec" or "usec"; None if it is not known."""
        if self.details.time is None:
            return None
        step, unit = self.details.time
        factor = seconds_of(unit)
        if factor is None:
            return None
        for name, length in (("sec", 1.0), ("msec", 1e-3), ("usec", 1e-6)):
            if math.isclose(factor, length):
                return step, name
        return step * factor, "sec"

    def lost_in(self, keeps: Container[str]) -> list[str]:
        """Return what a format loses that keeps only some of :data:`FACTS`."""
        place = self.placement
        there = {
            "spacing": self.spacing is not None, "unit": self.units is not None,
            "origin": place is not None and bool(place.matrix[:3, 3].any()),
            "orientation": place is not None and not place.is_upright,
            "shear": place is not None and place.is_sheared,
            "time step": self.details.time is not None, "channels": any(map(len, self.channels)),
            "contrast limits": self.details.limits is not None
            or any("window" in channel for channel in self.channels), "labels": self.labels,
            "names of labels": bool(self.details.objects),
            "colormap, gamma and layer name": any((self.details.colormap, self.details.gamma, self.details.name)),
        }  # fmt: skip
        lost = [name for name in FACTS if there[name] and name not in keeps]
        return ["origin", *lost] if "orientation" in lost and there["origin"] and "origin" in keeps else lost


def written_dtype(dtype: Any, known: Sequence[str], name: str, becomes: Mapping[str, str]) -> np.dtype[Any]:
    """Return the dtype in which a format stores values. ValueError if it has none for them.

    Parameters
    ----------
    known : dtypes that the format has.
    name : of the format, for the message.
    becomes : dtypes that it has not, and what they are stored as.
    """
    stored = becomes.get(np.dtype(dtype).name, np.dtype(dtype).name)
    if stored not in known:
        raise ValueError(f"{name} has no {np.dtype(dtype)}, only {', '.join(known)}: choose another format")
    return np.dtype(stored).newbyteorder("<")
