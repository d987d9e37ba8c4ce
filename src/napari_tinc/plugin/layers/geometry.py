"""Spacing, units and position of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...decoding.volume import TincVolume

UNIT_SCALE = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Edges of a voxel along z, y, x in ``units`` (None for pixels), and one letter an axis, those before z too."""

    spacing: tuple[float, float, float]
    units: str | None
    axis_labels: str


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Spacing, unit and labels of a layer's last three axes; of what napari allows, the part that a file can hold.

    Axes of different units are converted to that of x, or left without a unit where that cannot be done. A file
    knows labels of one letter; others become zyx.
    """
    scale = arguments.get("scale")
    sizes = [abs(float(size)) for size in (UNIT_SCALE if scale is None else scale)][-3:]
    units = list(arguments.get("units") or ())[-3:]
    name = known_unit(units[-1]) if units else None
    if name is not None and len({str(unit) for unit in units}) > 1:
        sizes, name = _converted(sizes, units, name)
    labels = [str(label) for label in arguments.get("axis_labels") or ()][-3:]
    plain = len(labels) == 3 == len(set(labels)) and all(len(label) == 1 for label in labels)
    z, y, x = sizes
    return Geometry((z, y, x), name, "".join(labels) if plain else "zyx")


def with_geometry(volume: TincVolume, wanted: Geometry) -> TincVolume:
    """The same compressed volume with another spacing, unit or labels of z, y, x; itself if it has them."""
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
    """pint's name of a unit of length; None for pixels and what pint does not know."""
    import pint

    if not unit:
        return None
    registry = pint.get_application_registry()
    try:
        parsed = registry.Unit(str(unit))
        return str(parsed) if parsed.is_compatible_with("meter") else None
    except Exception:  # pint's parser raises errors of many kinds, its tokenizer's among them
        return None


def _converted(sizes: Sequence[float], units: Sequence[object], name: str) -> tuple[list[float], str | None]:
    import pint

    registry = pint.get_application_registry()
    try:
        factors = [float(registry.Quantity(1, str(unit)).to(name).magnitude) for unit in units]
    except pint.errors.PintError:
        return list(sizes), None
    return [size * factor for size, factor in zip(sizes, factors, strict=True)], name
