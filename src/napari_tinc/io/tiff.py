"""Read and write TIFF files: plain ones, those of ImageJ, OME-TIFF, LSM and Metamorph stacks."""

from __future__ import annotations

import contextlib
import logging
import math
import re
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..array_like import LazyBase
from .arrays import AxesView, slabs_of, sparing
from .described import FACTS, Described
from .image import Content, default_axes, library, printable, rgb_of
from .own_facts import KEY, own_text, with_own_facts
from .read_options import ReadOptions, say
from .tiff_facts import calibrated, facts_of, look_of_page
from .units import UNITS

READ_WHOLE = 2**28  # Larger TIFFs, in bytes, are not read into memory.

_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
# Larger files are no TIFFs of ImageJ, which knows no BigTIFF; tifffile keeps room for the tags.
_CLASSIC_BYTES = 2**32 - 2**25
_OME_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_MOST_POSITIONS = 2**14  # Files of more planes do not have the place of each in OME-XML.
_REDUCED = 1  # The bit of a page's subfile type that says it is a smaller copy of another.


def read_tiff(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read one series of a TIFF, or all pages if its series are slices of one kind.

    Raises
    ------
    ImportError
        If pages are compressed in a way that needs imagecodecs.
    ValueError
        If the file is cut short, or some of its planes are missing, or it has no such series.
    """
    import tifffile

    with _log_said(), tifffile.TiffFile(file) as tiff:
        number, pages = _pages_to_read(tiff, options.series)
        series = tiff.series[number]
        # tifffile only logs a broken chain of pages: a file cut short would be read as a volume with fewer slices.
        tiff.filehandle.seek(tiff.pages.next_page_offset or 0)
        if tiff.filehandle.read(tiff.tiff.offsetsize) != bytes(tiff.tiff.offsetsize):
            raise ValueError(f"it is damaged or cut short after page {len(tiff.pages)}")
        if missing := sum(page is None for page in series.pages):  # tifffile would return zeros for these
            raise ValueError(f"{missing} of its {len(series.pages)} planes are in files that are not here, or in none")
        for page in {page.keyframe for page in pages}:
            _check_codec(tifffile, page)
        is_merged = len(pages) > len(series.pages)
        if len(series.pages) * series.keyframe.size > series.size:
            is_merged = True
            say(f"the metadata describe a stack of {series.shape[0]} planes, but there are {len(pages)}: all are read")
        nbytes = len(pages) * series.keyframe.nbytes if is_merged else series.nbytes
        is_mapped = series.dataoffset is not None and not is_merged
        if nbytes > READ_WHOLE and not is_mapped:
            _check_length(pages)
        if not is_mapped:
            _say_if_sparse(pages)
        of_pages = [page.index for page in pages] if is_merged else []
        if nbytes > READ_WHOLE:
            array = (
                sparing(tifffile.memmap(file, series=number, mode="r"))
                if is_mapped
                else _lazy_tiff(file, number, of_pages)
            )
        else:
            array = np.asarray(_PageStack(pages)) if is_merged else series.asarray()
        axes = "IYX" if is_merged else series.axes
        if re.fullmatch("[QI]+YX([QI]*|S)", axes):
            n_colors = axes.count("S")
            axes = default_axes(array.shape[: len(axes) - n_colors]) + "S" * n_colors
        facts = facts_of(tiff, number)
        array = calibrated(array, tiff)
        details = look_of_page(series.keyframe, facts.details)
    content = Content(array, axes, facts.sizes, facts.channels, details=details)
    return with_own_facts(content, facts.own)


def _pages_to_read(tiff: Any, wanted: int | None) -> tuple[int, list[Any]]:
    """Return the number of the series to read, and its pages; or those of all series, if these are slices of one kind.

    Raises
    ------
    ValueError
        If there is no series of the number that is wanted.
    """
    found = [series for series in tiff.series if not _is_reduced(series)] or list(tiff.series)
    listed = "; ".join(
        f"{tiff.series.index(series)} {series.axes} {' x '.join(map(str, series.shape))} {series.dtype}"
        for series in found[:10]
    ) + "; ..." * (len(found) > 10)
    if wanted is not None:
        if wanted >= len(tiff.series):
            raise ValueError(f"--series {wanted} given, but it has {len(tiff.series)} series: {listed}")
        return wanted, list(tiff.series[wanted].pages)
    number = next((i for i, series in enumerate(tiff.series) if series in found and len(series.shape) > 2), None)
    if number is None:
        number = tiff.series.index(found[0])
    _say_if_left_over(tiff)
    if len(found) > 1:
        if _are_slices(found):
            if not all(series.kind in ("generic", "uniform") for series in found):
                say(f"{len(found)} series are read as one stack of slices, --series N reads one of them: {listed}")
            return number, sorted((page for series in found for page in series.pages), key=lambda page: page.index)
        say(f"series {number} of {len(found)} is read, --series N reads another: {listed}")
    return number, list(tiff.series[number].pages)


def _say_if_left_over(tiff: Any) -> None:
    """Say how many pages of the file are in no series, as where OME-XML describes fewer than there are."""
    used = {page.index for series in tiff.series for page in series.pages if page is not None and page.parent is tiff}
    if len(tiff.pages) == 1 or len(used) >= len(tiff.pages):
        return
    left = [
        page
        for page in tiff.pages
        if page.index not in used and not getattr(page.keyframe, "subfiletype", 0) & _REDUCED
    ]
    if left:
        say(f"{len(left)} of {len(tiff.pages)} pages are left out: the metadata describe none of them")


def _is_reduced(series: Any) -> bool:
    """Tell whether a series is a thumbnail of another."""
    return series.keyframe is not None and bool(series.keyframe.subfiletype & _REDUCED)


def _are_slices(found: Sequence[Any]) -> bool:
    """Tell whether several series are slices of one stack: unnamed planes of one shape and dtype, a page each."""
    planes = {(series.shape[-2:], series.dtype.str, series.keyframe.photometric) for series in found}
    plain = all(series.axes in ("YX", "QYX", "IYX", "ZYX") and series.kind != "ome" for series in found)
    pages = all(math.prod(series.shape[:-2]) == len(series.pages) and None not in series.pages for series in found)
    return plain and pages and len(planes) == 1


def _check_codec(tifffile: Any, page: Any) -> None:
    """Raise ImportError if the library that decodes a page is not installed."""
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
        tifffile.TIFF.UNPREDICTORS[page.predictor]
    except (KeyError, ImportError, AttributeError) as error:
        if page.compression == 1 and page.predictor == 1:
            return
        name = getattr(page.compression, "name", page.compression)
        raise ImportError(
            f'reading this TIFF needs imagecodecs, for its compression {name}: pip install "napari-tinc[io]"'
        ) from error


def _check_length(pages: Sequence[Any]) -> None:
    """Raise ValueError if a page has data beyond the end of the file."""
    for number, page in enumerate(pages):
        ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))
        if max(ends, default=0) > page.parent.filehandle.size:
            raise ValueError(f"it is damaged or cut short in page {number}")


def _say_if_sparse(pages: Sequence[Any]) -> None:
    """Say how many parts of pages were never written: tifffile reads zeros there, or the number for no data."""
    counts = [count for page in pages for count in page.databytecounts]
    if empty := counts.count(0):
        say(f"{empty} of {len(counts)} strips or tiles have no data; they are read as {pages[0].keyframe.nodata}")


class _PageStack(LazyBase):
    """Pages of one shape and dtype as a stack of slices, decoded when they are indexed."""

    def __init__(self, pages: Sequence[Any]) -> None:
        self._pages = pages
        self._first = np.dtype(pages[0].dtype).newbyteorder("="), tuple(pages[0].keyframe.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._pages), *self._first[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._first[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        items = index if isinstance(index, tuple) else (index,)
        chosen: Any = self._pages[items[0] if items else slice(None)]
        if isinstance(chosen, list):
            planes = [page.asarray()[tuple(items[1:])] for page in chosen]
            return np.stack(planes) if planes else np.zeros((0, *self._first[1]), self.dtype)[(slice(None), *items[1:])]
        return chosen.asarray()[tuple(items[1:])]


def _lazy_tiff(file: Path, number: int, of_pages: Sequence[int]) -> Any:
    """Return a view of a series, or of pages as a stack, that decodes the pages or tiles it needs."""
    import tifffile

    zarr = None if of_pages else library("zarr")
    open_file = tifffile.TiffFile(file)
    open_file.filehandle.set_lock(True)
    try:
        if zarr is None:
            view = AxesView(_PageStack([open_file.pages[index] for index in of_pages]))
        else:
            view = AxesView(zarr.open_array(open_file.series[number].aszarr(level=0), mode="r"))
    except BaseException:
        open_file.close()
        raise
    weakref.finalize(view, open_file.close)
    return view


@contextlib.contextmanager
def _log_said() -> Iterator[None]:
    """Say what tifffile logs, which nobody would see in napari; what it only repairs may be wrong."""
    logger, handler = logging.getLogger("tifffile"), logging.Handler(logging.WARNING)
    texts: list[str] = []
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
    for text in dict.fromkeys(texts):  # not if the file is refused
        if "ParseError" not in text:  # which is said in other words
            say(text)


def write_tiff(stream: Any, array: Any, described: Described, ome_named: bool) -> None:
    """Write a TIFF, slab by slab."""
    import tifffile

    dtype = np.dtype(array.dtype).newbyteorder("=")
    options = _tiff_options(tuple(array.shape), dtype, described, ome_named)
    nbytes = math.prod(array.shape) * dtype.itemsize
    if not options.get("imagej"):
        options["bigtiff"] = nbytes > _CLASSIC_BYTES
    planes = (plane.astype(dtype, copy=False) for slab in slabs_of(array) for plane in slab)
    tifffile.imwrite(stream, planes, shape=tuple(array.shape), dtype=dtype, photometric="minisblack", **options)


def _tiff_options(
    shape: tuple[int, ...], dtype: np.dtype[Any], described: Described, ome_named: bool
) -> dict[str, Any]:  # fmt: skip
    """Return tifffile's arguments for the most widely read kind of TIFF that keeps all of the description."""
    spacing, axes, own = described.spacing, described.axes, own_text(described, FACTS)
    stack = min(shape[-3:]) > 1  # tifffile squeezes axes of length one out of ImageJ and OME files
    # ImageJ has x and y as ratios of 32-bit integers, which lose digits far from 1.
    ratios = spacing is None or all(1e-4 <= size <= 1e6 for size in spacing)
    known = dtype.name in _IMAGEJ_DTYPES and math.prod(shape) * dtype.itemsize <= _CLASSIC_BYTES
    planes = axes.endswith("yx")  # ImageJ and OME know no other order
    if axes[:-2] in ("z", "t", "c") and planes and known and stack and ratios and not ome_named:
        return _imagej_options(described, own)
    # OME has T and C. tifffile stores another axis as one of these if it is free.
    ome = stack and planes and dtype.name in _OME_DTYPES and len(axes) <= 5 and set(axes) <= set("qtczyx")
    return {"ome": ome, "metadata": _ome_metadata(shape, described) | _own_metadata(own, ome)}


def _imagej_options(described: Described, own: str) -> dict[str, Any]:
    """Return tifffile's arguments for a TIFF of ImageJ."""
    metadata: dict[str, Any] = {"axes": described.axes.upper()}
    if described.details.limits:
        metadata["min"], metadata["max"] = described.details.limits
    if described.seconds:
        step, unit = described.seconds
        metadata["finterval"] = step * {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}[unit]
    options: dict[str, Any] = {"imagej": True}
    if described.spacing is not None:
        metadata["spacing"] = float(described.spacing[0])
        options["resolution"] = (1 / described.spacing[2], 1 / described.spacing[1])
        if described.units:
            symbol = UNITS[described.units][0]
            metadata["unit"] = {"µm": "um", "Å": "angstrom", "in": "inch"}.get(symbol, symbol)  # ASCII only
    return options | {"metadata": metadata | ({KEY: own} if own else {})}


def _ome_metadata(shape: tuple[int, ...], described: Described) -> dict[str, Any]:
    """Return what OME-XML has a place for. Planes have the place of their first voxel, as a stage has."""
    metadata: dict[str, Any] = {"axes": described.axes.upper()}
    # Without a unit OME assumes micrometres; this is its word for an unknown unit.
    unit = UNITS[described.units][0] if described.units else "reference frame"
    if described.spacing is not None:
        for axis, size in zip("ZYX", described.spacing, strict=True):
            metadata[f"PhysicalSize{axis}"] = float(size)
            metadata[f"PhysicalSize{axis}Unit"] = unit
    if described.seconds and described.axes[0] == "t":
        step, name = described.seconds
        metadata |= {"TimeIncrement": step, "TimeIncrementUnit": {"sec": "s", "msec": "ms", "usec": "µs"}[name]}
    place = described.placement
    count = math.prod(shape[:-2])
    if place is not None and place.is_upright and count <= _MOST_POSITIONS:
        z, y, x = place.matrix[:3, 3].tolist()
        depths = [z + place.spacing[0] * number for number in range(shape[-3])] * (count // shape[-3])
        positions = {"X": [x] * count, "Y": [y] * count, "Z": depths}
        metadata["Plane"] = {f"Position{axis}": values for axis, values in positions.items()}
        metadata["Plane"] |= {f"Position{axis}Unit": [unit] * count for axis in positions}
    if described.channels:
        names = [printable(item.get("name", f"Channel {i}")) for i, item in enumerate(described.channels)]
        metadata["Channel"] = {"Name": names, "Color": [_ome_color(rgb_of(item)) for item in described.channels]}
    return metadata


def _own_metadata(own: str, ome: bool) -> dict[str, Any]:
    """Return what napari-tinc adds: an annotation in OME-XML, or a field in tifffile's own description."""
    if not own:
        return {}
    return {"MapAnnotation": {"Namespace": KEY, KEY: own}} if ome else {KEY: own}


def _ome_color(color: str) -> int:
    """Return RRGGBB as OME stores it: opaque, a signed integer of red, green, blue and alpha."""
    value = int(color, 16) << 8 | 255
    return value - 2**32 if value >= 2**31 else value
