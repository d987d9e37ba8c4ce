"""What the metadata of TIFF files say, of ImageJ, OME, LSM, Metamorph: voxel sizes, channels, calibrations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from .read_options import say
from .scaled import Scaled, scaled
from .units import Size, number_of

STRAIGHT_LINE = 0  # ImageJ's number of a calibration that is a line.
UNCALIBRATED = 20  # ImageJ's number of none.


class Facts(NamedTuple):
    """What metadata say of an image: sizes of voxels along z, y, x with units; name and colour of every channel."""

    sizes: list[Size]
    channels: list[tuple[object, object]]


def facts_of(tiff: Any, series: int) -> Facts:
    """Return what the metadata of a TIFF file say of one of its series."""
    if tiff.imagej_metadata:
        fields = tiff.imagej_metadata
        return Facts(_imagej_sizes(fields, tiff.pages.first.tags), _imagej_channels(fields))
    if tiff.lsm_metadata:
        sizes = [(tiff.lsm_metadata.get(f"VoxelSize{axis}"), "m") for axis in "ZYX"]
        return Facts(sizes, [])
    if tiff.stk_metadata:
        return Facts(_metamorph_sizes(tiff.stk_metadata), [])
    if tiff.ome_metadata:
        return _ome_facts(tiff.ome_metadata, series)
    pixels: Mapping[str, Any] = tiff.shaped_metadata[series] if _has_shaped(tiff, series) else {}
    return Facts(_ome_sizes(pixels), [])


def calibrated(array: Any, tiff: Any) -> Any:
    """Return the values that ImageJ shows: what is stored, on its calibration's straight line, in float32.

    A calibration that is a curve, or of colours or floats, is left out, and this is said.
    """
    fields = tiff.imagej_metadata or {}
    kind = fields.get("cf", UNCALIBRATED)
    if kind == UNCALIBRATED:
        return array
    numbers = [number_of(fields.get(name)) for name in ("c0", "c1")]
    is_line = kind == STRAIGHT_LINE and all(map(math.isfinite, numbers))
    if not is_line or np.dtype(array.dtype).name not in ("uint8", "uint16"):
        what = "a straight line" if is_line else f"a curve (cf={kind})"
        say(f"ImageJ's calibration is left out: it is {what}, of {array.dtype}, expected a line for 8 or 16 bits")
        return array
    values = scaled(array, numbers[1], numbers[0], single=True)
    return _Clipped(values) if fields.get("zeroclip") in (True, "true") else values


class _Clipped(Scaled):
    """A view in which values below 0 are 0."""

    def __init__(self, array: Any) -> None:
        super().__init__(array, 1, 0, array.dtype)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a part."""
        return np.maximum(self.array[index], 0).astype(self.dtype)


def _has_shaped(tiff: Any, series: int) -> bool:
    """Tell whether tifffile's own description of a series is there."""
    return bool(tiff.shaped_metadata) and series < len(tiff.shaped_metadata)


def _imagej_channels(fields: Mapping[str, Any]) -> list[tuple[object, object]]:
    """Return the color of the brightest value of each of ImageJ's lookup tables.

    Its labels name slices, not channels.
    """
    return [(None, np.asarray(table)[:, -1].astype(np.uint8).tobytes().hex()) for table in fields.get("LUTs", ())]


def _imagej_sizes(fields: Mapping[str, Any], tags: Any) -> list[Size]:
    """Return sizes of a voxel: z from ImageJ's `spacing`, x and y from tags in pixels per unit."""
    if "unit" not in fields and "spacing" not in fields:
        return []
    pixels, per = zip(*(tags.valueof(f"{axis}Resolution", (1, 1)) for axis in "YX"), strict=True)
    y, x = (length / count if count else 1 for count, length in zip(pixels, per, strict=True))
    unit = fields.get("unit")
    return [(fields.get("spacing"), fields.get("zunit", unit)), (y, fields.get("yunit", unit)), (x, unit)]


def _metamorph_sizes(fields: Mapping[str, Any]) -> list[Size]:
    """Return sizes of a voxel of a Metamorph stack; the step along z is the mean distance of its planes."""
    unit = fields.get("CalibrationUnits")
    steps = np.ravel(fields.get("ZDistance", ()))
    step = float(np.mean(steps)) if steps.size else None
    return [(step, unit), (fields.get("YCalibration"), unit), (fields.get("XCalibration"), unit)]


def _ome_sizes(pixels: Mapping[str, Any]) -> list[Size]:
    """Return sizes of a voxel as the Pixels of OME have them."""
    return [(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "ZYX"]


def _ome_facts(text: str, series: int) -> Facts:
    """Return what OME-XML says of an image. If the text is damaged, nothing is known, and this is said."""
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        say(f"the OME-XML is damaged ({error}): voxel sizes and channels are left out, and its pages are a plain stack")
        return Facts([], [])
    elements = [element for element in root.iter() if element.tag.endswith("}Pixels") or element.tag == "Pixels"]
    if series >= len(elements):
        return Facts([], [])
    pixels = elements[series]
    channels: list[tuple[object, object]] = [
        (c.get("Name"), _rgb(c.get("Color"))) for c in pixels if c.tag.endswith("Channel")
    ]
    return Facts(_ome_sizes(pixels.attrib), channels)


def _rgb(color: str | None) -> str | None:
    """Return a color of OME, a signed integer of red, green, blue and alpha, as RRGGBB."""
    try:
        return None if color is None else f"{int(color) % 2**32 >> 8:06x}"
    except ValueError:
        return None
