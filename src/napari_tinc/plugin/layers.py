"""Between a TincVolume and a napari image layer: data, scale, units, axis labels, and whether they still agree.

Works on layer data and plain dictionaries of layer arguments; knows nothing of viewers or Qt.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..lazy import LazyArray
from ..volume import TincVolume

VOLUME, CHECKSUM = "tinc", "tinc_crc32"  # keys in a layer's metadata
OVERVIEW_VOXELS = 2**21  # of the coarsest level, which is decoded at once: napari's thumbnail and 3D view take it
UNIT_SCALE = (1.0, 1.0, 1.0)
MOST_VOLUMES = 1000  # in one layer; more are a mistake


@dataclass(frozen=True, slots=True)
class Geometry:
    """Edges of a voxel along z, y, x in ``units`` (None for pixels), and one letter an axis."""

    spacing: tuple[float, float, float]
    units: str | None
    axis_labels: str


def to_layer(volume: TincVolume, name: str, eager_voxels: int) -> tuple[Any, dict[str, Any]]:
    """Data and arguments of the image layer that shows a volume.

    Data is an array, decoded here, for at most ``eager_voxels`` (or :data:`OVERVIEW_VOXELS`); otherwise a list of
    lazy levels, finest first, of which only the last is decoded.
    """
    low, high = map(float, volume.value_range)
    metadata: dict[str, Any] = {VOLUME: volume}
    data: Any
    if volume.size <= max(eager_voxels, OVERVIEW_VOXELS):
        data = np.asarray(volume)
        metadata[CHECKSUM] = _checksum(data)
    else:
        last = next(i for i, level in enumerate(volume.levels) if level.size <= OVERVIEW_VOXELS)
        data = [*volume.levels[:last], np.asarray(volume.levels[last])]
    arguments: dict[str, Any] = {
        "name": name,
        "contrast_limits": (low, high) if low < high else (min(low, 0.0), max(high, 1.0)),
        "scale": volume.spacing,
        "metadata": metadata,
    }
    if units := _known_unit(volume.units):
        arguments["units"] = (units,) * 3
    if len(volume.axis_labels) == 3:
        arguments["axis_labels"] = tuple(volume.axis_labels)
    return data, arguments


def unchanged(data: Any, arguments: Mapping[str, Any]) -> TincVolume | None:
    """The volume that a layer's data was decoded from, if the data is still what was decoded."""
    metadata = arguments.get("metadata") or {}
    volume = metadata.get(VOLUME)
    if not isinstance(volume, TincVolume):
        return None
    if arguments.get("multiscale"):
        finest = data[0]
        same = isinstance(finest, LazyArray) and finest.volume is volume and finest.shape == volume.shape
    else:
        same = (
            isinstance(data, np.ndarray)
            and (data.shape, data.dtype) == (volume.shape, volume.dtype)
            and _checksum(data) == metadata.get(CHECKSUM)
        )
    return volume if same else None


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Spacing, unit and labels of a 3D layer; of what napari allows, the part that a file can hold.

    Axes of different units are converted to that of x, or left without a unit where that cannot be done. A file
    knows labels of one letter; others become zyx.
    """
    scale = arguments.get("scale")
    sizes = [abs(float(size)) for size in (UNIT_SCALE if scale is None else scale)][-3:]
    units = list(arguments.get("units") or ())[-3:]
    name = _known_unit(units[-1]) if units else None
    if name is not None and len({str(unit) for unit in units}) > 1:
        sizes, name = _converted(sizes, units, name)
    labels = [str(label) for label in arguments.get("axis_labels") or ()][-3:]
    plain = len(labels) == 3 == len(set(labels)) and all(len(label) == 1 for label in labels)
    z, y, x = sizes
    return Geometry((z, y, x), name, "".join(labels) if plain else "zyx")


def with_geometry(volume: TincVolume, wanted: Geometry) -> TincVolume:
    """The same compressed volume with another spacing, unit or labels; itself if it has them."""
    same = (
        np.allclose(volume.spacing, wanted.spacing, rtol=1e-9, atol=0)
        and _known_unit(volume.units) == wanted.units
        and volume.axis_labels == wanted.axis_labels
    )
    if same:
        return volume
    spacing = None if wanted.spacing == UNIT_SCALE and wanted.units is None else wanted.spacing
    return volume.rewritten(spacing=spacing, units=wanted.units, axis_labels=wanted.axis_labels)


def intensities(data: Any, arguments: Mapping[str, Any]) -> ArrayLike:
    """What of an image layer is to be compressed: its finest level.

    Raises
    ------
    ValueError
        If it is not one 3D volume; says what it is.
    """
    found = volumes_of(data, arguments)
    if len(found) > 1:
        name, shape = arguments.get("name", "the layer"), " x ".join(map(str, found[0][1].shape))
        raise ValueError(
            f"{name} holds {len(found)} volumes ({shape} each); the Compress widget does one of them or all, and "
            "a .tinc file holds one"
        )
    return found[0][1]


def volumes_of(data: Any, arguments: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The 3D volumes in an image layer, lazily, each with what tells it from the others: channels, points in time.

    Raises
    ------
    ValueError
        If there is none, or too many to be meant.
    """
    name = arguments.get("name", "the layer")
    finest = data[0] if arguments.get("multiscale") else data
    shape = " x ".join(map(str, finest.shape))
    if arguments.get("rgb"):
        if finest.ndim != 4:
            raise ValueError(f"{name} is an RGB image of {finest.ndim - 1} axes ({shape}); volumes have 3 (z, y, x)")
        return [(color, finest[..., index]) for index, color in enumerate("RGBA"[: finest.shape[-1]])]
    if finest.ndim < 3:
        raise ValueError(f"{name} has {finest.ndim} axes ({shape}); only volumes of 3 (z, y, x) can be compressed")
    leading = finest.shape[:-3]
    count = math.prod(leading)
    if count > MOST_VOLUMES:
        raise ValueError(f"{name} holds {count} volumes ({shape}), expected at most {MOST_VOLUMES}")
    return [
        (", ".join(map(str, index)), finest[index] if index else finest) for index in np.ndindex(*leading)
    ]  # fmt: skip


def _checksum(array: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def _known_unit(unit: object) -> str | None:
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
