"""Spacing, unit and axis labels of a layer, as far as a file can keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...decoding.volume import TincVolume

UNIT_SCALE = (1.0, 1.0, 1.0)  # The scale of a layer whose spacing is not known.


@dataclass(frozen=True, slots=True)
class Geometry:
    """Hold the edges of a voxel along z, y, x in ``units`` (None for pixels), and a letter for each axis."""

    spacing: tuple[float, float, float]
    units: str | None
    axis_labels: str


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Return spacing, unit and labels of a layer's last three axes, as far as a file can hold them.

    Axes of different units are converted to that of x. If that is not possible, the result has no unit. A file has
    labels of one letter; others become zyx.
    """
    scale = arguments.get("scale")
    sizes = [abs(float(size)) for size in (UNIT_SCALE if scale is None else scale)][-3:]
    units = list(arguments.get("units") or ())[-3:]
    name = known_unit(units[-1]) if units else None
    if name is not None and len({str(unit) for unit in units}) > 1:
        sizes, name = _converted(sizes, units, name)
    labels = [str(label) for label in arguments.get("axis_labels") or ()][-3:]
    one_letter_each = len(labels) == 3 == len(set(labels)) and all(len(label) == 1 for label in labels)
    z, y, x = sizes
    return Geometry((z, y, x), name, "".join(labels) if one_letter_each else "zyx")


def with_geometry(volume: TincVolume, wanted: Geometry) -> TincVolume:
    """Return a compressed volume with another spacing, unit or labels of z, y, x; itself if nothing differs."""
    labels = volume.axis_labels[:-3] + wanted.axis_labels[-3:]
    if len(set(labels)) < len(labels):
        labels = volume.axis_labels
    same = (
        np.allclose(volume.spacing, wanted.spacing, rtol=1e-9, atol=0)
        and known_unit(volume.units) == wanted.units
        and volume.axis_labels == labels
    )
    if same:
        return volume
    spacing = None if wanted.spacing == UNIT_SCALE and wanted.units is None else wanted.spacing
    return volume.rewritten(spacing=spacing, units=wanted.units, axis_labels=labels)


def known_unit(unit: object) -> str | None:
    """Return pint's name of a unit of length; None for pixels and for what pint does not know."""
    import pint

    if not unit:
        return None
    registry = pint.get_application_registry()
    try:
        parsed = registry.Unit(str(unit))
        return str(parsed) if parsed.is_compatible_with("meter") else None
    except Exception:  # pint's parser raises errors of many kinds.
        return None


def _converted(sizes: Sequence[float], units: Sequence[object], name: str) -> tuple[list[float], str | None]:
    """Return sizes in the unit ``name``, and that; the sizes as they are, and None, if they cannot be converted."""
    import pint

    registry = pint.get_application_registry()
    try:
        factors = [float(registry.Quantity(1, str(unit)).to(name).magnitude) for unit in units]
    except pint.errors.PintError:
        return list(sizes), None
    return [size * factor for size, factor in zip(sizes, factors, strict=True)], name
