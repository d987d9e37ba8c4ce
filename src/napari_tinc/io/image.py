"""Reading image files of other formats: TIFF, .npy, NIfTI, Zarr, HDF5 -> read_image -> Image.

Every format goes through its field's library, imported only when a file needs it. Large images are not read: what comes
is an array that reads what it is asked for. Whether an image can be compressed (axes, dtype) is for the caller to say.
Nothing here knows of `.tinc` files, napari or Qt; write.py writes.
"""

from __future__ import annotations

import importlib
import math
import os
import re
import unicodedata
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .arrays import AxesView

READ_WHOLE = 2**28  # bytes; larger TIFFs are read where they are looked at

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
_HDF5_DATASET = re.compile(r"(.+\.(?:h5|hdf5|hdf)):(.*)", re.IGNORECASE)

COLOR = re.compile(r"#?([0-9a-fA-F]{6})")

_Size = tuple[Any, Any]  # a voxel's extent along an axis and its unit, as the file spells them; None where it does not


class _Content(NamedTuple):
    """What a file holds: sizes along z, y, x, and of every channel a name and a color as RRGGBB."""

    array: Any
    axes: str
    sizes: Sequence[_Size] = ()
    channels: Sequence[tuple[object, object]] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """An image as its file describes it.

    Attributes
    ----------
    array : NumPy array or memory map; a library's array or an :class:`~napari_tinc.io.arrays.AxesView` of it, not yet
    read. axes : one upper-case letter a dimension, "ZYX" for a volume; Q is an axis the file does not name.
    spacing : voxel size along z, y, x in `units`; None when the file says nothing.
    units : a name napari and pint understand ("micrometer"); None when the file gives none they do.
    name : the file's name without suffixes, then that of the dataset where the path names one.
    channels : "name" and "color" ("#rrggbb") of every channel, as far as the file says; empty where it does not.
    """

    array: Any
    axes: str
    spacing: tuple[float, float, float] | None
    units: str | None
    name: str
    channels: list[dict[str, str]] = field(default_factory=list)

    def options(self) -> dict[str, Any]:
        """What :func:`napari_tinc.fit` is to be told of it: spacing, units, axis labels, channels."""
        units = self.units if self.spacing else None
        return {
            "spacing": self.spacing, "units": units, "axis_labels": _letters(self.axes), "channels": self.channels
        }  # fmt: skip


def read_volumes(path: str | os.PathLike[str]) -> Image:
    """Like :func:`read_image`, of an image with axes z, y, x, maybe after others; ValueError where it has not."""
    image = read_image(path)
    if not image.axes.endswith("ZYX"):
        shape = ", ".join(map(str, image.array.shape))
        raise ValueError(
            f"{path} has axes {image.axes}, shape {shape}; expected ZYX, maybe after others such as T and C"
        )
    return image


def _letters(axes: str) -> str:
    """Different lower-case letters; an axis whose letter is taken, or is none, becomes r, s, u, ..."""
    letters, found = axes.lower(), ""
    for letter in letters:
        spare = next(other for other in "rsuvwabdefg" if other not in letters + found)
        found += letter if "a" <= letter <= "z" and letter not in found else spare
    return found


def file_of(path: str | os.PathLike[str]) -> str:
    """The file, without what names something in it."""
    match = _HDF5_DATASET.fullmatch(os.fspath(path))
    return match[1] if match else os.fspath(path)


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read a TIFF, .npy, NIfTI, Zarr or OME-Zarr (finest level) or HDF5 (``file.h5:/path``) image.

    Axes of length one other than z, y, x are dropped; z, y, x come last and in this order. TIFFs of up to
    :data:`READ_WHOLE` bytes, compressed NIfTI files and nothing else are read into memory.

    Raises
    ------
    FileNotFoundError : there is no such file.
    ImportError : the format's library is not installed.
    ValueError : the suffix is not supported, or the file cannot be read.
    """
    match = _HDF5_DATASET.fullmatch(os.fspath(path))
    file = Path(file_of(path))
    owners = (file, *(folder for folder in file.parents if folder.suffix.lower() == ".zarr"))  # x.zarr/0
    owner = next((candidate for candidate in owners if _input_suffix(candidate)), None)
    if owner is None:
        problem = f"the suffix {file.suffix} is not supported" if file.suffix else "it has no suffix"
        raise ValueError(f"cannot read {file}: {problem}; supported are {', '.join(_READERS)}")
    if not file.exists():
        raise FileNotFoundError(f"cannot read {file}: there is no such file")
    if not (file.is_file() or file.is_dir()):  # to open a pipe would wait for its writer
        raise ValueError(f"cannot read {file}: it is not a regular file")
    suffix = _input_suffix(owner)
    inside = match[2].strip("/") if match else file.relative_to(owner).as_posix().strip(".")
    stem = owner.name[: -len(suffix)].removesuffix(".ome")
    try:
        content = _READERS[suffix](file, inside)
        array, axes = _ordered(content.array, content.axes)
        spacing, units = _calibration(content.sizes)
        channels = _channels(content.channels, array.shape[axes.index("C")] if "C" in axes else 0)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # each library has its own for a damaged file
        raise _unreadable(path, error) from error
    return Image(array, axes, spacing, units, f"{stem} {inside.rpartition('/')[2]}".strip(), channels)


def _read_tiff(file: Path, inside: str) -> _Content:
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        series = tiff.series[0]
        array = series.asarray() if series.nbytes <= READ_WHOLE else None
        # tifffile only logs a broken chain of pages: a file cut short would be read as a volume with fewer slices.
        tiff.filehandle.seek(tiff.pages.next_page_offset or 0)
        if tiff.filehandle.read(tiff.tiff.offsetsize) != bytes(tiff.tiff.offsetsize):
            raise ValueError(f"it is damaged or cut short after page {len(tiff.pages)}")
        if missing := sum(page is None for page in series.pages):  # of which tifffile makes zeros
            raise ValueError(f"{missing} of its {len(series.pages)} planes are in files that are not here, or in none")
        axes = "ZYX" if series.axes in ("QYX", "IYX") else series.axes  # a stack of pages that nobody named
        if array is None:
            array = _lazy_tiff(file, series)
        if tiff.imagej_metadata:
            fields = tiff.imagej_metadata
            return _Content(array, axes, _imagej_sizes(fields, tiff.pages.first.tags), _imagej_channels(fields))
        pixels: Mapping[str, Any] = tiff.shaped_metadata[0] if tiff.shaped_metadata else {}
        channels = []
        if tiff.ome_metadata:
            from xml.etree import ElementTree

            found = (e for e in ElementTree.fromstring(tiff.ome_metadata).iter() if e.tag.endswith("Pixels"))
            if (element := next(found, None)) is not None:
                pixels = element.attrib
                channels = [(c.get("Name"), _rgb(c.get("Color"))) for c in element if c.tag.endswith("Channel")]
    sizes = [(pixels.get(f"PhysicalSize{a}"), pixels.get(f"PhysicalSize{a}Unit", "µm")) for a in "ZYX"]
    return _Content(array, axes, sizes, channels)


def _lazy_tiff(file: Path, series: Any) -> Any:
    """A memory map of a contiguous, uncompressed image; else a view that decodes the pages or tiles it is asked for."""
    import tifffile

    if series.dataoffset is not None:
        return tifffile.memmap(file, mode="r")
    for number, page in enumerate(series.pages):
        ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))
        if max(ends, default=0) > page.parent.filehandle.size:
            raise ValueError(f"it is damaged or cut short in page {number}")
    zarr = library("zarr")
    kept = tifffile.TiffFile(file)
    try:
        view = AxesView(zarr.open_array(kept.series[0].aszarr(level=0), mode="r"))
    except BaseException:
        kept.close()
        raise
    weakref.finalize(view, kept.close)
    return view


def _rgb(color: str | None) -> str | None:
    """OME's color, red, green, blue and alpha as a signed integer, as RRGGBB."""
    return None if color is None else f"{int(color) % 2**32 >> 8:06x}"


def _imagej_channels(fields: Mapping[str, Any]) -> list[tuple[object, object]]:
    """Colors of the brightest values of ImageJ's lookup tables; its labels name slices, not channels."""
    return [(None, np.asarray(table)[:, -1].astype(np.uint8).tobytes().hex()) for table in fields.get("LUTs", ())]


def _imagej_sizes(fields: Mapping[str, Any], tags: Any) -> list[_Size]:
    """ImageJ's `spacing` and `unit`, 1 for a size it leaves out; x and y are TIFF tags, in pixels per unit."""
    if "unit" not in fields and "spacing" not in fields:
        return []
    pixels, per = zip(*(tags.valueof(f"{axis}Resolution", (1, 1)) for axis in "YX"), strict=True)
    y, x = (length / count if count else 1 for count, length in zip(pixels, per, strict=True))
    unit = fields.get("unit")
    return [(fields.get("spacing", 1), fields.get("zunit", unit)), (y, fields.get("yunit", unit)), (x, unit)]


def _read_npy(file: Path, inside: str) -> _Content:
    array = np.lib.format.open_memmap(file, mode="r")  # np.load would also open archives of several arrays
    return _Content(array, _default_axes(array.ndim))


def _read_nifti(file: Path, inside: str) -> _Content:
    image = library("nibabel").load(file)
    stored = image.dataobj
    raw = stored.get_unscaled()  # a memory map, unless the file is compressed
    array = raw.T if (stored.slope, stored.inter) == (1, 0) else _Scaled(raw.T, stored.slope, stored.inter)
    # nibabel's own reading of this byte fails on a code it does not know.
    unit = {1: "m", 2: "mm", 3: "um"}.get(int(image.header["xyzt_units"]) & 7)
    # Zooms are float32; the shortest decimals are the numbers that were meant.
    zooms = [float(str(zoom)) for zoom in image.header.get_zooms()[:3]]
    return _Content(array, "XYZTCQQ"[: raw.ndim][::-1], [(zoom, unit) for zoom in reversed(zooms)])


class _Scaled(AxesView):
    """Values times a slope plus an intercept, float32."""

    def __init__(self, array: Any, slope: float, intercept: float) -> None:
        super().__init__(array, dtype=np.float32)
        self.slope, self.intercept = float(slope), float(intercept)

    def __getitem__(self, index: Any) -> Any:
        values = np.asarray(self.array[index], np.float64)
        return (values * self.slope + self.intercept).astype(np.float32)


class _OfFile(AxesView):
    """Failures to read it name the file; libraries have many kinds of them."""

    def __init__(self, array: Any, file: Path, portable: bool) -> None:
        super().__init__(array, portable=portable)
        self.file = file

    def __getitem__(self, index: Any) -> Any:
        try:
            return super().__getitem__(index)
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            raise _unreadable(self.file, error) from error


def _unreadable(path: str | os.PathLike[str], error: Exception) -> ValueError:
    return ValueError(f"cannot read {path}: {' '.join(str(error).split()) or type(error).__name__}")


def _read_zarr(file: Path, inside: str) -> _Content:
    zarr = library("zarr")
    node = zarr.open(file, mode="r")
    if isinstance(node, zarr.Array):
        # The second is where xarray has them in version 2.
        names = getattr(node.metadata, "dimension_names", None) or node.attrs.get("_ARRAY_DIMENSIONS") or ()
        axes = "".join(name[:1].upper() for name in names if name)
        array = _OfFile(node, file, portable=True)
        return _Content(array, axes if len(axes) == node.ndim else _default_axes(node.ndim))
    attributes = node.attrs.asdict()
    attributes = attributes.get("ome", attributes)  # v0.5, v0.4
    multiscales = attributes.get("multiscales")
    if not multiscales:
        members = ", ".join(f"{file}/{name}" for name in sorted(node.keys()))
        raise ValueError(f"a Zarr group that is not an OME-Zarr image; give an array in it: {members or 'none'}")
    labels, level = multiscales[0]["axes"], multiscales[0]["datasets"][0]
    axes = "".join(label["name"][:1].upper() for label in labels)
    transformations = [*level["coordinateTransformations"], *multiscales[0].get("coordinateTransformations", ())]
    scale = np.prod([step["scale"] for step in transformations if step["type"] == "scale"], axis=0)
    sizes = {axis: (size, label.get("unit")) for axis, size, label in zip(axes, scale, labels, strict=True)}
    channels = [(item.get("label"), item.get("color")) for item in attributes.get("omero", {}).get("channels", ())]
    array = _OfFile(node[level["path"]], file, portable=True)
    return _Content(array, axes, [sizes.get(axis, (None, None)) for axis in "ZYX"], channels)


def _read_hdf5(file: Path, inside: str) -> _Content:
    h5py = library("h5py")
    source = h5py.File(file, "r")  # closes when the last dataset taken from it is gone
    dataset = source.get(inside) if inside else None
    if not isinstance(dataset, h5py.Dataset):
        items: list[Any] = []
        source.visititems(lambda _, item: items.append(item))
        shapes = [(item, item.shape or ()) for item in items if isinstance(item, h5py.Dataset)]
        volumes = [item for item, shape in shapes if 3 in (len(shape), sum(length != 1 for length in shape))]
        if inside or len(volumes) != 1:
            problem = f"it has no dataset /{inside}" if inside else f"it has {len(volumes)} 3D datasets, not one"
            names = [f"{file}:{volume.name} ({'x'.join(map(str, volume.shape))})" for volume in volumes]
            more = ", ..." if len(names) > 10 else ""
            raise ValueError(f"{problem}; 3D datasets: {', '.join(names[:10]) or 'none'}{more}")
        dataset = volumes[0]
    if dataset.shape is None:
        raise ValueError(f"dataset /{inside} is empty")
    sizes = np.ravel(dataset.attrs.get("element_size_um", ()))  # z, y, x: what Fiji's HDF5 plugin writes
    array = _OfFile(dataset, file, portable=False)
    return _Content(array, _default_axes(dataset.ndim), [(size, "um") for size in sizes])


_READERS: dict[str, Callable[[Path, str], _Content]] = {
    **dict.fromkeys((".tif", ".tiff"), _read_tiff),
    **dict.fromkeys((".npy",), _read_npy),
    **dict.fromkeys((".nii", ".nii.gz"), _read_nifti),
    **dict.fromkeys((".zarr",), _read_zarr),
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), _read_hdf5),
}


def _input_suffix(file: Path) -> str:
    """The supported suffix that the file's name ends with, or an empty string."""
    return next((suffix for suffix in _READERS if file.name.lower().endswith(suffix)), "")


def library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'reading this file needs {name}: pip install "napari-tinc[io]"') from error


def _default_axes(ndim: int) -> str:
    return ("Q" * ndim + "ZYX")[3:]


def _ordered(array: Any, axes: str) -> tuple[Any, str]:
    """Drop axes of length one other than z, y, x, and have z, y, x last where these are all; reads nothing."""
    kept = [i for i, axis in enumerate(axes) if axis in "ZYX" or array.shape[i] != 1]
    spatial = [i for i in kept if axes[i] in "ZYX"]
    if (
        sorted(axes[i] for i in spatial) == ["X", "Y", "Z"] and "S" not in axes
    ):  # samples of a color stay where they are
        kept = [i for i in kept if i not in spatial] + sorted(spatial, key=lambda i: "ZYX".index(axes[i]))
    ordered = "".join(axes[i] for i in kept)
    if kept == list(range(len(axes))):
        return array, axes
    if isinstance(array, np.ndarray):
        array = array[tuple(slice(None) if i in kept else 0 for i in range(len(axes)))]
        return array.transpose([sorted(kept).index(i) for i in kept]), ordered
    return AxesView(array, kept, portable=getattr(array, "portable", False)), ordered


def _channels(found: Sequence[tuple[object, object]], count: int) -> list[dict[str, str]]:
    """Names and colors of so many channels; empty where these are others, or nothing is said of any."""
    channels = []
    for name, color in found:
        text = printable(" ".join(name.split())) if isinstance(name, str) else ""
        match = COLOR.fullmatch(color) if isinstance(color, str) else None
        channels.append(({"name": text} if text else {}) | ({"color": f"#{match[1].lower()}"} if match else {}))
    return channels if len(channels) == count and any(channels) else []


def printable(text: str) -> str:
    """Without control characters, which XML has no place for."""
    return "".join(character for character in text if character.isprintable())


def unit_name(text: object) -> str | None:
    """The name in `UNITS` for "µm", "micron" or "Micrometers"; None for what is not a unit of length."""
    unescaped = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), str(text))  # as ImageJ writes µ
    key = unicodedata.normalize("NFC", unescaped).strip().replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    if len(key) > 2:  # a symbol's case counts: Mm is not mm
        key = key.lower().replace("metre", "meter").removesuffix("s")
    return key if key in UNITS else _SPELLINGS.get(key)


def _calibration(sizes: Sequence[_Size]) -> tuple[tuple[float, float, float] | None, str | None]:
    """Spacing along z, y, x in one unit, that of x; (None, None) where sizes are missing or cannot be compared."""
    if len(sizes) != 3 or any(size is None for size, _ in sizes):
        return None, None
    names = [unit_name(unit) for _, unit in sizes]
    metres = [UNITS[name][1] if name else math.nan for name in names]
    factors = [1.0 if name == names[2] else metre / metres[2] for name, metre in zip(names, metres, strict=True)]
    z, y, x = (abs(float(size)) * factor for (size, _), factor in zip(sizes, factors, strict=True))
    return ((z, y, x), names[2]) if min(z, y, x) > 0 and math.isfinite(z + y + x) else (None, None)
