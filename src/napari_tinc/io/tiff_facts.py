"""What the metadata of TIFF files say, of ImageJ, OME, LSM, Metamorph: voxel sizes, channels, calibrations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from ..format.details import Details
from .image import INVERTED
from .own_facts import KEY
from .read_options import say
from .scaled import Scaled, scaled
from .units import Size, number_of, seconds_of, shortest

STRAIGHT_LINE = 0  # ImageJ's number of a calibration that is a line.
UNCALIBRATED = 20  # ImageJ's number of none.
# Dots an inch that programs write where nobody measured anything: of screens and printers.
PRINT_DPI = (72, 90, 96, 100, 120, 144, 150, 180, 200, 240, 300, 360, 400, 600, 1200)
PRINT_TOLERANCE = 2e-3  # Such a number may be rounded by this share, as 28.35 dots a centimetre are.
WHITE_IS_ZERO = 0  # The number of this photometric interpretation.
SHOWN_OTHERWISE = {
    WHITE_IS_ZERO: "the file says that 0 is white: values are those that are stored, the colormap is gray_r",
    3: "the file has a table of colours, which is left out; values are their numbers",
}
MILLIMETRES = {2: 25.4, 3: 10.0}  # By the number of a ResolutionUnit; others have no length.
SMALL_PIXEL = 0.05  # Pixels below so many millimetres are told in micrometres.
DECIMALS = tuple(10**digits for digits in range(3, 10))  # Ratios are mostly rounded to one of so many parts.
RATIO_TOLERANCE = 1e-9  # The best ratio of two integers of 32 bits is wrong by less than this share.


class Facts(NamedTuple):
    """What metadata say of an image.

    Attributes
    ----------
    sizes : of voxels along z, y, x, with units.
    channels : name and colour of every channel.
    details : time step and contrast limits.
    own : text that napari-tinc added, see :mod:`.own_facts`.
    """

    sizes: list[Size]
    channels: list[tuple[object, object]]
    details: Details | None = None
    own: object = None


def facts_of(tiff: Any, series: int) -> Facts:
    """Return what the metadata of a TIFF file say of one of its series."""
    if tiff.imagej_metadata:
        fields, tags = tiff.imagej_metadata, tiff.pages.first.tags
        return Facts(_imagej_sizes(fields, tags), _imagej_channels(fields), _imagej_details(fields), fields.get(KEY))
    if tiff.lsm_metadata:
        sizes = [(tiff.lsm_metadata.get(f"VoxelSize{axis}"), "m") for axis in "ZYX"]
        return Facts(sizes, [])
    if tiff.stk_metadata:
        return Facts(_metamorph_sizes(tiff.stk_metadata), [])
    if tiff.ome_metadata:
        return _ome_facts(tiff.ome_metadata, series)
    pixels: Mapping[str, Any] = tiff.shaped_metadata[series] if _has_shaped(tiff, series) else {}
    sizes = _ome_sizes(pixels)
    if all(size is None for size, _ in sizes):
        page = tiff.series[series].keyframe
        sizes = _tag_sizes(page.tags) if page is not None else []
    return Facts(sizes, [], own=pixels.get(KEY))


def look_of_page(page: Any, details: Details | None) -> Details | None:
    """Return the details with the colormap of a page whose smallest value is white. What is shown otherwise is said."""
    photometric = int(page.photometric)
    if shown := SHOWN_OTHERWISE.get(photometric):
        say(shown)
    return replace(details or Details(), colormap=INVERTED) if photometric == WHITE_IS_ZERO else details


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
    y, x = (_pixel(ratio) if min(ratio) else 1 for ratio in zip(pixels, per, strict=True))
    unit = fields.get("unit")
    return [(fields.get("spacing"), fields.get("zunit", unit)), (y, fields.get("yunit", unit)), (x, unit)]


def _imagej_details(fields: Mapping[str, Any]) -> Details | None:
    """Return the time between two frames; and what is shown black and white, of an image of one channel."""
    step, limits = number_of(fields.get("finterval")), tuple(number_of(fields.get(name)) for name in ("min", "max"))
    unit = fields.get("tunit", "s")
    has_step = math.isfinite(step) and step > 0 and fields.get("frames", 1) > 1 and seconds_of(unit) is not None
    is_shown = fields.get("channels", 1) == 1 and all(map(math.isfinite, limits)) and limits[0] < limits[1]
    if fields.get("cf") == STRAIGHT_LINE and is_shown:  # limits are of the values that are stored
        slope, intercept = number_of(fields.get("c1")), number_of(fields.get("c0"))
        limits = tuple(sorted(limit * slope + intercept for limit in limits))
        is_shown = all(map(math.isfinite, limits)) and limits[0] < limits[1]
    time = (step, "second" if unit in ("s", "sec") else str(unit)) if has_step else None
    return Details(time=time, limits=(limits[0], limits[1]) if is_shown else None) or None


def _tag_sizes(tags: Any) -> list[Size]:
    """Return sizes along y and x by the tags of resolution, where these were measured.

    A resolution without a unit, of 1, or of screens and printers, is what programs write by themselves.
    """
    per_pixel = MILLIMETRES.get(int(tags.valueof("ResolutionUnit", 2)))
    ratios = [tags.valueof(f"{axis}Resolution", (0, 1)) for axis in "YX"]
    if per_pixel is None or not all(min(ratio) > 0 and tuple(ratio) != (1, 1) for ratio in ratios):
        return []
    inches = [count / length * 25.4 / per_pixel for count, length in ratios]
    if all(any(math.isclose(dots, dpi, rel_tol=PRINT_TOLERANCE) for dpi in PRINT_DPI) for dots in inches):
        return []
    edges = [_pixel(ratio, per_pixel) for ratio in ratios]
    if min(edges) < SMALL_PIXEL:
        return [(None, "µm"), *((shortest(edge * 1000, 1e-14), "µm") for edge in edges)]
    return [(None, "mm"), *((edge, "mm") for edge in edges)]


def _pixel(ratio: tuple[int, int], length: float = 1.0) -> float:
    """Return the edge of a pixel of which there are so many (a ratio of whole numbers) to a length.

    It is the shortest decimal among those that become this ratio: 0.26, not 0.26000000000000056.
    """
    count, per = ratio
    decimal = next((ten for ten in DECIMALS if ten % per == 0), 0)  # the ratio was rounded to this many parts
    tolerance = 0.5 * per / (count * decimal) if decimal else RATIO_TOLERANCE
    return shortest(float(Fraction(per, count) * Fraction(length)), tolerance)


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
    step = number_of(pixels.get("TimeIncrement"))
    unit = pixels.get("TimeIncrementUnit", "s")
    is_known = math.isfinite(step) and step > 0 and seconds_of(unit) is not None
    name = {"s": "second", "ms": "millisecond", "µs": "microsecond"}.get(unit, unit)
    details = Details(time=(step, name)) if is_known else None
    own = next((m.text for m in root.iter() if m.tag.endswith("}M") and m.get("K") == KEY), None)
    return Facts(_ome_sizes(pixels.attrib), channels, details, own)


def _rgb(color: str | None) -> str | None:
    """Return a color of OME, a signed integer of red, green, blue and alpha, as RRGGBB."""
    try:
        return None if color is None else f"{int(color) % 2**32 >> 8:06x}"
    except ValueError:
        return None
