"""Read and write TIFF files: plain ones, those of ImageJ, and OME-TIFF."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import AxesView, slabs_of
from .image import Content, Spacing, library, printable, rgb_of
from .read_options import ReadOptions
from .units import UNITS, Size

READ_WHOLE = 2**28  # Larger TIFFs, in bytes, are not read into memory.

_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
# Larger files are no TIFFs of ImageJ, which knows no BigTIFF; tifffile keeps room for the tags.
_CLASSIC_BYTES = 2**32 - 2**25
_OME_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def read_tiff(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read the first series of a TIFF. ValueError if it is cut short, or some of its planes are missing."""
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        series = tiff.series[0]
        array = series.asarray() if series.nbytes <= READ_WHOLE else None
        # tifffile only logs a broken chain of pages: a file cut short would be read as a volume with fewer slices.
        tiff.filehandle.seek(tiff.pages.next_page_offset or 0)
        if tiff.filehandle.read(tiff.tiff.offsetsize) != bytes(tiff.tiff.offsetsize):
            raise ValueError(f"it is damaged or cut short after page {len(tiff.pages)}")
        if missing := sum(page is None for page in series.pages):  # tifffile would return zeros for these
            raise ValueError(f"{missing} of its {len(series.pages)} planes are in files that are not here, or in none")
        axes = "ZYX" if series.axes in ("QYX", "IYX") else series.axes  # a stack of pages without a name
        if array is None:
            array = _lazy_tiff(file, series)
        if tiff.imagej_metadata:
            fields = tiff.imagej_metadata
            return Content(array, axes, _imagej_sizes(fields, tiff.pages.first.tags), _imagej_channels(fields))
        pixels: Mapping[str, Any] = tiff.shaped_metadata[0] if tiff.shaped_metadata else {}
        channels = []
        if tiff.ome_metadata:
            from xml.etree import ElementTree

            elements = (e for e in ElementTree.fromstring(tiff.ome_metadata).iter() if e.tag.endswith("Pixels"))
            if (element := next(elements, None)) is not None:
                pixels = element.attrib
                channels = [(c.get("Name"), _rgb(c.get("Color"))) for c in element if c.tag.endswith("Channel")]
    sizes = [(pixels.get(f"PhysicalSize{a}"), pixels.get(f"PhysicalSize{a}Unit", "µm")) for a in "ZYX"]
    return Content(array, axes, sizes, channels)


def _lazy_tiff(file: Path, series: Any) -> Any:
    """Return a memory map of a contiguous, uncompressed image; else a view that decodes the pages or tiles it needs."""
    import tifffile

    if series.dataoffset is not None:
        return tifffile.memmap(file, mode="r")
    for number, page in enumerate(series.pages):
        ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))
        if max(ends, default=0) > page.parent.filehandle.size:
            raise ValueError(f"it is damaged or cut short in page {number}")
    zarr = library("zarr")
    open_file = tifffile.TiffFile(file)
    try:
        view = AxesView(zarr.open_array(open_file.series[0].aszarr(level=0), mode="r"))
    except BaseException:
        open_file.close()
        raise
    weakref.finalize(view, open_file.close)
    return view


def _rgb(color: str | None) -> str | None:
    """Return a color of OME, a signed integer of red, green, blue and alpha, as RRGGBB."""
    return None if color is None else f"{int(color) % 2**32 >> 8:06x}"


def _imagej_channels(fields: Mapping[str, Any]) -> list[tuple[object, object]]:
    """Return the color of the brightest value of each of ImageJ's lookup tables.

    Its labels name slices, not channels.
    """
    return [(None, np.asarray(table)[:, -1].astype(np.uint8).tobytes().hex()) for table in fields.get("LUTs", ())]


def _imagej_sizes(fields: Mapping[str, Any], tags: Any) -> list[Size]:
    """Return sizes of a voxel: z from ImageJ's `spacing` (1 if it has none), x and y from tags in pixels per unit."""
    if "unit" not in fields and "spacing" not in fields:
        return []
    pixels, per = zip(*(tags.valueof(f"{axis}Resolution", (1, 1)) for axis in "YX"), strict=True)
    y, x = (length / count if count else 1 for count, length in zip(pixels, per, strict=True))
    unit = fields.get("unit")
    return [(fields.get("spacing", 1), fields.get("zunit", unit)), (y, fields.get("yunit", unit)), (x, unit)]


def write_tiff(
    stream: Any, array: Any, spacing: Spacing | None, units: str | None, axes: str,
    channels: Sequence[Mapping[str, str]], ome_named: bool,
) -> None:  # fmt: skip
    """Write a TIFF, slab by slab."""
    import tifffile

    dtype = np.dtype(array.dtype).newbyteorder("=")
    options = _tiff_options(tuple(array.shape), dtype, spacing, units, axes, channels, ome_named)
    nbytes = math.prod(array.shape) * dtype.itemsize
    if not options.get("imagej"):
        options["bigtiff"] = nbytes > _CLASSIC_BYTES
    planes = (plane.astype(dtype, copy=False) for slab in slabs_of(array) for plane in slab)
    tifffile.imwrite(stream, planes, shape=tuple(array.shape), dtype=dtype, photometric="minisblack", **options)


def _tiff_options(
    shape: tuple[int, ...], dtype: np.dtype[Any], spacing: Spacing | None, units: str | None, axes: str,
    channels: Sequence[Mapping[str, str]], ome_named: bool,
) -> dict[str, Any]:  # fmt: skip
    """Return tifffile's arguments for the most widely read kind of TIFF that keeps all of the description."""
    symbol = UNITS[units][0] if units else ""
    stack = min(shape[-3:]) > 1  # tifffile squeezes axes of length one out of ImageJ and OME files
    # ImageJ has x and y as ratios of 32-bit integers, which lose digits far from 1.
    ratios = spacing is None or all(1e-4 <= size <= 1e6 for size in spacing)
    known = dtype.name in _IMAGEJ_DTYPES and math.prod(shape) * dtype.itemsize <= _CLASSIC_BYTES
    metadata: dict[str, Any] = {"axes": axes.upper()}
    planes = axes.endswith("yx")  # ImageJ and OME know no other order
    if axes[:-2] in ("z", "t", "c") and planes and known and stack and ratios and not ome_named:
        if spacing is None:
            return {"imagej": True, "metadata": metadata}
        metadata["spacing"] = float(spacing[0])
        if units:
            metadata["unit"] = {"µm": "um", "Å": "angstrom", "in": "inch"}.get(symbol, symbol)  # ASCII only
        return {"imagej": True, "metadata": metadata, "resolution": (1 / spacing[2], 1 / spacing[1])}
    if spacing is not None:
        for axis, size in zip("ZYX", spacing, strict=True):
            metadata[f"PhysicalSize{axis}"] = float(size)
            # Without a unit OME assumes micrometres; this is its word for an unknown unit.
            metadata[f"PhysicalSize{axis}Unit"] = symbol or "reference frame"
    # OME has T and C. tifffile stores another axis as one of these if it is free.
    ome = stack and planes and dtype.name in _OME_DTYPES and len(axes) <= 5 and set(axes) <= set("qtczyx")
    if ome and channels:
        metadata["Channel"] = {"Name": [printable(item.get("name", f"Channel {i}")) for i, item in enumerate(channels)]}
        metadata["Channel"]["Color"] = [_ome_color(rgb_of(item)) for item in channels]
    return {"ome": ome, "metadata": metadata}


def _ome_color(color: str) -> int:
    """Return RRGGBB as OME stores it: opaque, a signed integer of red, green, blue and alpha."""
    value = int(color, 16) << 8 | 255
    return value - 2**32 if value >= 2**31 else value
