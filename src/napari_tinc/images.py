"""Image files of other formats: what the command line reads (IN) and writes (OUT).

    TIFF, .npy, NIfTI, Zarr, HDF5 -> read_image -> Image
    array, spacing, units -> write_image -> TIFF, .npy

Every format goes through its field's library, imported only when a file needs it. Whether an image can be compressed
(axes ZYX, dtype) is for the caller to say. Nothing here knows of `.tinc` files, napari or Qt.
"""

from __future__ import annotations

import importlib
import math
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

OUTPUT_SUFFIXES = (".tif", ".tiff", ".npy")

# Names that NGFF, pint and napari share: (symbol in OME-XML, metres).
_UNITS = {
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
_SPELLINGS = {symbol: name for name, (symbol, _) in _UNITS.items()} | {"um": "micrometer", "micron": "micrometer"}
_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_IMAGEJ_BYTES = 2**32 - 2**25  # no BigTIFF for ImageJ, and tifffile keeps room for the tags
_OME_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_HDF5_DATASET = re.compile(r"(.+\.(?:h5|hdf5|hdf)):(.*)", re.IGNORECASE)

_Size = tuple[Any, Any]  # a voxel's extent along an axis and its unit, as the file spells them; None where it does not
_Content = tuple[Any, str, Sequence[_Size]]  # array, axes, sizes along z, y, x


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """An image as its file describes it.

    Attributes
    ----------
    array : NumPy array or memory map; with more than three axes in a Zarr or HDF5 file, its library's, not yet read.
    axes : one upper-case letter a dimension, "ZYX" for a volume; Q is an axis the file does not name.
    spacing : voxel size along z, y, x in `units`; None when the file says nothing.
    units : a name napari and pint understand ("micrometer"); None when the file gives none they do.
    name : the file's name without suffixes, then that of the dataset where the path names one.
    """

    array: Any
    axes: str
    spacing: tuple[float, float, float] | None
    units: str | None
    name: str


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read a TIFF, .npy, NIfTI, Zarr or OME-Zarr (finest level) or HDF5 (``file.h5:/path``) image.

    Axes of length one other than z, y, x are dropped, and volumes transposed to ZYX.

    Raises
    ------
    FileNotFoundError : there is no such file.
    ImportError : the format's library is not installed.
    ValueError : the suffix is not supported, or the file cannot be read.
    """
    match = _HDF5_DATASET.fullmatch(os.fspath(path))
    file = Path(match[1] if match else path)
    owners = (file, *(folder for folder in file.parents if folder.suffix.lower() == ".zarr"))  # x.zarr/0
    owner = next((candidate for candidate in owners if _input_suffix(candidate)), None)
    if owner is None:
        problem = f"the suffix {file.suffix} is not supported" if file.suffix else "it has no suffix"
        raise ValueError(f"cannot read {file}: {problem}; supported are {', '.join(_READERS)}")
    if not file.exists():
        raise FileNotFoundError(f"cannot read {file}: there is no such file")
    suffix = _input_suffix(owner)
    inside = match[2].strip("/") if match else file.relative_to(owner).as_posix().strip(".")
    stem = owner.name[: -len(suffix)].removesuffix(".ome")
    try:
        array, axes, sizes = _READERS[suffix](file, inside)
        array, axes = _squeezed(array, axes)
        spacing, units = _calibration(sizes)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # each library has its own for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"cannot read {path}: {reason}") from error
    return Image(array, axes, spacing, units, f"{stem} {inside.rpartition('/')[2]}".strip())


def write_image(
    path: str | os.PathLike[str], array: Any, spacing: tuple[float, float, float] | None, units: str | None
) -> None:
    """Write a volume of axes ZYX, complete or not at all; a file already there is replaced.

    TIFFs keep the spacing and its units: ImageJ's kind where it knows the dtype, else OME, else (float16, 64-bit
    integers, a single slice) a plain one with OME's fields in its description. `.npy` has no place for either.
    Units :func:`read_image` would not know are left out.

    Raises
    ------
    FileNotFoundError : there is no such folder.
    ValueError : the suffix is not one of `OUTPUT_SUFFIXES`, or the array is not 3D.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise ValueError(f"cannot write {path}: its suffix must be one of {', '.join(OUTPUT_SUFFIXES)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}")
    volume = np.asarray(array)
    if volume.ndim != 3:
        raise ValueError(f"cannot write {path}: expected a 3D array, got shape {volume.shape}")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            if path.suffix.lower() == ".npy":
                np.save(stream, volume, allow_pickle=False)
            else:
                import tifffile

                options = _tiff_options(volume, spacing, _unit_name(units), path.stem.lower().endswith(".ome"))
                tifffile.imwrite(stream, volume, photometric="minisblack", **options)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _tiff_options(
    volume: NDArray[Any], spacing: tuple[float, float, float] | None, units: str | None, ome_named: bool
) -> dict[str, Any]:
    """tifffile's arguments for the most widely read kind of TIFF that keeps all there is to keep."""
    symbol = _UNITS[units][0] if units else ""
    stack = min(volume.shape) > 1  # tifffile squeezes axes of length one out of ImageJ and OME files
    # ImageJ has x and y as ratios of 32-bit integers, which lose digits far from 1.
    ratios = spacing is None or all(1e-4 <= size <= 1e6 for size in spacing)
    known = volume.dtype.name in _IMAGEJ_DTYPES and volume.nbytes <= _IMAGEJ_BYTES
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if known and stack and ratios and not ome_named:
        if spacing is None:
            return {"imagej": True, "metadata": metadata}
        metadata["spacing"] = float(spacing[0])
        if units:
            metadata["unit"] = {"µm": "um", "Å": "angstrom", "in": "inch"}.get(symbol, symbol)  # ASCII only
        return {"imagej": True, "metadata": metadata, "resolution": (1 / spacing[2], 1 / spacing[1])}
    if spacing is not None:
        for axis, size in zip("ZYX", spacing, strict=True):
            metadata[f"PhysicalSize{axis}"] = float(size)
            # OME takes no unit for micrometres; this is its word for an unknown one.
            metadata[f"PhysicalSize{axis}Unit"] = symbol or "reference frame"
    return {"ome": stack and volume.dtype.name in _OME_DTYPES, "metadata": metadata}


def _read_tiff(file: Path, inside: str) -> _Content:
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        series = tiff.series[0]
        array = series.asarray()
        # tifffile only logs a broken chain of pages: a file cut short would be read as a volume with fewer slices.
        tiff.filehandle.seek(tiff.pages.next_page_offset or 0)
        if tiff.filehandle.read(tiff.tiff.offsetsize) != bytes(tiff.tiff.offsetsize):
            raise ValueError(f"it is damaged or cut short after page {len(tiff.pages)}")
        axes = "ZYX" if series.axes in ("QYX", "IYX") else series.axes  # a stack of pages that nobody named
        if tiff.imagej_metadata:
            return array, axes, _imagej_sizes(tiff.imagej_metadata, tiff.pages.first.tags)
        fields: dict[str, Any] = tiff.shaped_metadata[0] if tiff.shaped_metadata else {}
        if tiff.ome_metadata:
            from xml.etree import ElementTree

            elements = ElementTree.fromstring(tiff.ome_metadata).iter()
            fields = next((element.attrib for element in elements if element.tag.endswith("Pixels")), {})
    return array, axes, [(fields.get(f"PhysicalSize{a}"), fields.get(f"PhysicalSize{a}Unit", "µm")) for a in "ZYX"]


def _imagej_sizes(fields: dict[str, Any], tags: Any) -> list[_Size]:
    """ImageJ's `spacing` and `unit`, 1 for a size it leaves out; x and y are TIFF tags, in pixels per unit."""
    if "unit" not in fields and "spacing" not in fields:
        return []
    pixels, per = zip(*(tags.valueof(f"{axis}Resolution", (1, 1)) for axis in "YX"), strict=True)
    y, x = (length / count if count else 1 for count, length in zip(pixels, per, strict=True))
    unit = fields.get("unit")
    return [(fields.get("spacing", 1), fields.get("zunit", unit)), (y, fields.get("yunit", unit)), (x, unit)]


def _read_npy(file: Path, inside: str) -> _Content:
    array = np.lib.format.open_memmap(file, mode="r")  # np.load would also open archives of several arrays
    return array, _default_axes(array.ndim), []


def _read_nifti(file: Path, inside: str) -> _Content:
    image = _library("nibabel").load(file)
    stored = image.dataobj
    identity = (stored.slope, stored.inter) == (1, 0)
    array = stored.get_unscaled() if identity else np.asanyarray(stored, dtype=np.float32)
    # nibabel's own reading of this byte fails on a code it does not know.
    unit = {1: "m", 2: "mm", 3: "um"}.get(int(image.header["xyzt_units"]) & 7)
    # Zooms are float32; the shortest decimals are the numbers that were meant.
    zooms = [float(str(zoom)) for zoom in image.header.get_zooms()[:3]]
    return array.T, "XYZTCQQ"[: array.ndim][::-1], [(zoom, unit) for zoom in reversed(zooms)]


def _read_zarr(file: Path, inside: str) -> _Content:
    zarr = _library("zarr")
    node = zarr.open(file, mode="r")
    if isinstance(node, zarr.Array):
        names = getattr(node.metadata, "dimension_names", None) or ()
        axes = "".join(name[:1].upper() for name in names if name)
        return node, axes if len(axes) == node.ndim else _default_axes(node.ndim), []
    attributes = node.attrs.asdict()
    multiscales = attributes.get("ome", attributes).get("multiscales")  # v0.5, v0.4
    if not multiscales:
        members = ", ".join(f"{file}/{name}" for name in sorted(node.keys()))
        raise ValueError(f"a Zarr group that is not an OME-Zarr image; give an array in it: {members or 'none'}")
    labels, level = multiscales[0]["axes"], multiscales[0]["datasets"][0]
    axes = "".join(label["name"][:1].upper() for label in labels)
    transformations = [*level["coordinateTransformations"], *multiscales[0].get("coordinateTransformations", ())]
    scale = np.prod([step["scale"] for step in transformations if step["type"] == "scale"], axis=0)
    sizes = {axis: (size, label.get("unit")) for axis, size, label in zip(axes, scale, labels, strict=True)}
    return node[level["path"]], axes, [sizes.get(axis, (None, None)) for axis in "ZYX"]


def _read_hdf5(file: Path, inside: str) -> _Content:
    h5py = _library("h5py")
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
    sizes = dataset.attrs.get("element_size_um", ())  # z, y, x: what Fiji's HDF5 plugin writes
    return dataset, _default_axes(dataset.ndim), [(size, "um") for size in sizes]


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


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'reading this file needs {name}: pip install "napari-tinc[io]"') from error


def _default_axes(ndim: int) -> str:
    return ("Q" * ndim + "ZYX")[3:]


def _squeezed(array: Any, axes: str) -> tuple[Any, str]:
    """Drop axes of length one other than z, y, x, and order a volume ZYX; larger images stay as they are, unread."""
    kept = [i for i, axis in enumerate(axes) if axis in "ZYX" or array.shape[i] != 1]
    if len(kept) > 3:
        return array, axes
    array = array[tuple(slice(None) if i in kept else 0 for i in range(len(axes)))]
    axes = "".join(axes[i] for i in kept)
    if sorted(axes) == ["X", "Y", "Z"]:
        return array.transpose([axes.index(axis) for axis in "ZYX"]), "ZYX"
    return array, axes


def _unit_name(text: object) -> str | None:
    """The name in `_UNITS` for "µm", "micron" or "Micrometers"; None for what is not a unit of length."""
    unescaped = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), str(text))  # as ImageJ writes µ
    key = unicodedata.normalize("NFC", unescaped).strip().replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    if len(key) > 2:  # a symbol's case counts: Mm is not mm
        key = key.lower().replace("metre", "meter").removesuffix("s")
    return key if key in _UNITS else _SPELLINGS.get(key)


def _calibration(sizes: Sequence[_Size]) -> tuple[tuple[float, float, float] | None, str | None]:
    """Spacing along z, y, x in one unit, that of x; (None, None) where sizes are missing or cannot be compared."""
    if len(sizes) != 3 or any(size is None for size, _ in sizes):
        return None, None
    names = [_unit_name(unit) for _, unit in sizes]
    metres = [_UNITS[name][1] if name else math.nan for name in names]
    factors = [1.0 if name == names[2] else metre / metres[2] for name, metre in zip(names, metres, strict=True)]
    z, y, x = (abs(float(size)) * factor for (size, _), factor in zip(sizes, factors, strict=True))
    return ((z, y, x), names[2]) if min(z, y, x) > 0 and math.isfinite(z + y + x) else (None, None)
