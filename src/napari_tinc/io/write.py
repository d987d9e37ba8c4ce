"""Writing volumes in other formats: an array, read slab by slab -> write_image -> TIFF, .npy, OME-Zarr.

What is written is complete or not there at all; a file that it replaces is there until then. Nothing here knows of
`.tinc` files, napari or Qt.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedWriter, FileIO, UnsupportedOperation
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..storage import stores
from .arrays import AxesView
from .image import COLOR, UNITS, library, printable, unit_name

OUTPUT_SUFFIXES = (".tif", ".tiff", ".npy", ".zarr")
SLAB = 2**24  # voxels read at a time
CHUNK = 128  # voxels along an edge of a Zarr chunk

_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_CLASSIC_BYTES = 2**32 - 2**25  # no BigTIFF for ImageJ, and tifffile keeps room for the tags
_OME_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
_AXIS_TYPES = {"z": "space", "y": "space", "x": "space", "t": "time", "c": "channel"}

Spacing = tuple[float, float, float]


def write_image(
    path: str | os.PathLike[str], array: Any, spacing: Spacing | None, units: str | None, *, axes: str = "zyx",
    channels: Sequence[Mapping[str, str]] = (), value_range: tuple[float, float] | None = None,
    coarser: Sequence[Any] = (),
) -> None:  # fmt: skip
    """Write volumes of axes (..., z, y, x), complete or not at all; what is already there is replaced.

    TIFFs keep the spacing and its units: ImageJ's kind where it knows the dtype, else OME, else (float16, 64-bit
    integers, a single slice, planes that are not called yx) a plain one with OME's fields in its description. OME-Zarr
    (0.5) keeps them too, and has the ``coarser`` levels, each half as large as the one before. `.npy` has no place for
    either.
    Units :func:`~napari_tinc.io.image.read_image` would not know are left out.

    Parameters
    ----------
    array : anything with a shape, a dtype and basic indexing whose parts become NumPy arrays; no more than about
        :data:`SLAB` voxels, or a plane, are asked for at a time.
    axes : a letter an axis.
    channels : "name" and "color" ("#rrggbb") of every channel.
    value_range : smallest and largest value, for the contrast of OME-Zarr's channels.

    Raises
    ------
    FileNotFoundError : there is no such folder.
    ImportError : the format's library is not installed.
    OSError : it cannot be written; says how many bytes were needed, before Zarr's compression. What was there stays.
    ValueError : the suffix is not one of `OUTPUT_SUFFIXES`, or the format cannot hold the array.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    suffix = path.suffix.lower()
    if suffix not in OUTPUT_SUFFIXES:
        raise ValueError(f"cannot write {path}: its suffix must be one of {', '.join(OUTPUT_SUFFIXES)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}")
    if not hasattr(array, "shape"):
        array = np.asarray(array)
    if len(array.shape) != len(axes) or len(axes) < 3:
        raise ValueError(f"cannot write {path}: expected a {max(3, len(axes))}D array, got shape {array.shape}")
    if suffix == ".zarr" and not is_replaceable_zarr(path):
        raise ValueError(f"cannot write {path}: it is there, and is no Zarr folder")
    units = unit_name(units)
    part = Path(stores.temporary_name(str(path)))
    try:
        if suffix == ".zarr":
            _write_zarr(part, [array, *coarser], spacing, units, axes, channels, value_range, path.name)
            _replace_folder(part, path)
        else:
            raw = FileIO(part, "x")
            with _Stream(raw) as stream:
                if suffix == ".npy":
                    _write_npy(stream, array)
                else:
                    _write_tiff(stream, array, spacing, units, axes, channels, path.stem.lower().endswith(".ome"))
                stream.flush()
                os.fsync(raw.fileno())
            part.replace(path)
    except OSError as error:
        levels = [array, *coarser] if suffix == ".zarr" else [array]
        nbytes = sum(math.prod(level.shape) * np.dtype(level.dtype).itemsize for level in levels)
        raise stores.not_written(path, nbytes, error) from error
    finally:
        stores.remove(str(part))
    stores.sweep(str(path))  # not before: where a process was killed between two renames, the old folder is there


class _Stream(BufferedWriter):
    """A file that NumPy does not write to behind its back: its errors do not say what was wrong."""

    def fileno(self) -> int:
        raise UnsupportedOperation


def is_replaceable_zarr(path: Path) -> bool:
    """Whether there is nothing, or an empty folder, or a Zarr array or group of levels, and nothing else in it."""
    if not path.is_dir():
        return not path.exists()
    names = {entry.name for entry in path.iterdir()}
    said = names & set(_ZARR_FILES)
    return not names or (bool(said) and all(re.fullmatch(r"c|[0-9.]+", name) for name in names - said))


def size_on_disk(path: str | os.PathLike[str]) -> int:
    """Bytes of a file, or of all files in a folder."""
    path = Path(path)
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        if path.is_dir()
        else os.stat(path).st_size
    )


def _replace_folder(part: Path, path: Path) -> None:
    old = Path(stores.temporary_name(str(path)))
    if path.exists():
        path.replace(old)  # a folder with files in it cannot be overwritten by a rename
    try:
        part.replace(path)
    except BaseException:
        if old.exists():
            old.replace(path)
        raise
    stores.remove(str(old))


def _slabs(array: Any) -> Iterator[NDArray[Any]]:
    """The planes of an array in their order, some at a time: (planes, y, x)."""
    depth, plane = array.shape[-3], math.prod(array.shape[-2:])
    rows = max(1, SLAB // max(1, plane))
    for place in np.ndindex(*array.shape[:-3]):
        for z in range(0, depth, rows):
            yield np.ascontiguousarray(array[(*place, slice(z, z + rows))])


def _write_npy(stream: Any, array: Any) -> None:
    dtype = np.dtype(array.dtype)
    if dtype.hasobject:
        raise ValueError(f"arrays of {dtype} are not written")
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(array.shape)}
    np.lib.format.write_array_header_1_0(stream, header)
    for slab in _slabs(array):
        stream.write(slab.astype(dtype, copy=False).data)


def _write_tiff(
    stream: Any, array: Any, spacing: Spacing | None, units: str | None, axes: str,
    channels: Sequence[Mapping[str, str]], ome_named: bool,
) -> None:  # fmt: skip
    import tifffile

    dtype = np.dtype(array.dtype).newbyteorder("=")
    options = _tiff_options(tuple(array.shape), dtype, spacing, units, axes, channels, ome_named)
    nbytes = math.prod(array.shape) * dtype.itemsize
    if not options.get("imagej"):
        options["bigtiff"] = nbytes > _CLASSIC_BYTES
    planes = (plane.astype(dtype, copy=False) for slab in _slabs(array) for plane in slab)
    tifffile.imwrite(stream, planes, shape=tuple(array.shape), dtype=dtype, photometric="minisblack", **options)


def _tiff_options(
    shape: tuple[int, ...], dtype: np.dtype[Any], spacing: Spacing | None, units: str | None, axes: str,
    channels: Sequence[Mapping[str, str]], ome_named: bool,
) -> dict[str, Any]:  # fmt: skip
    """tifffile's arguments for the most widely read kind of TIFF that keeps all there is to keep."""
    symbol = UNITS[units][0] if units else ""
    stack = min(shape[-3:]) > 1  # tifffile squeezes axes of length one out of ImageJ and OME files
    # ImageJ has x and y as ratios of 32-bit integers, which lose digits far from 1.
    ratios = spacing is None or all(1e-4 <= size <= 1e6 for size in spacing)
    known = dtype.name in _IMAGEJ_DTYPES and math.prod(shape) * dtype.itemsize <= _CLASSIC_BYTES
    metadata: dict[str, Any] = {"axes": axes.upper()}
    planes = axes.endswith("yx")  # both kinds know no others
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
            # OME takes no unit for micrometres; this is its word for an unknown one.
            metadata[f"PhysicalSize{axis}Unit"] = symbol or "reference frame"
    # OME has T and C; of others tifffile makes one where that leaves a place.
    ome = stack and planes and dtype.name in _OME_DTYPES and len(axes) <= 5 and set(axes) <= set("qtczyx")
    if ome and channels:
        metadata["Channel"] = {"Name": [printable(item.get("name", f"Channel {i}")) for i, item in enumerate(channels)]}
        metadata["Channel"]["Color"] = [_ome_color(_rgb(item)) for item in channels]
    return {"ome": ome, "metadata": metadata}


def _rgb(channel: Mapping[str, str]) -> str:
    """Its color as RRGGBB, white where there is none."""
    match = COLOR.fullmatch(channel.get("color", ""))
    return match[1].upper() if match else "FFFFFF"


def _ome_color(color: str) -> int:
    """RRGGBB, opaque, as a signed integer of red, green, blue and alpha."""
    value = int(color, 16) << 8 | 255
    return value - 2**32 if value >= 2**31 else value


def _write_zarr(
    folder: Path, levels: Sequence[Any], spacing: Spacing | None, units: str | None, axes: str,
    channels: Sequence[Mapping[str, str]], value_range: tuple[float, float] | None, name: str,
) -> None:  # fmt: skip
    """OME-Zarr 0.5: time first, then channels or an axis of another kind, then space; five axes at most."""
    zarr = library("zarr")
    order = sorted(range(len(axes)), key=lambda i: (axes[i] in "zyx", axes[i] != "t"))
    names = [axes[i] for i in order]
    if len(axes) > 5 or sum(letter != "t" for letter in names[:-3]) > 1:
        raise ValueError(f"an OME-Zarr image has time and one other axis before z, y, x, not {', '.join(names[:-3])}")
    said: list[dict[str, Any]] = []
    for letter in names:
        label = {"name": letter} | ({"type": _AXIS_TYPES[letter]} if letter in _AXIS_TYPES else {})
        said.append(label | ({"unit": units} if units not in (None, "pixel") and letter in "zyx" else {}))
    group = zarr.open_group(folder, mode="w", zarr_format=3)
    datasets = []
    for level, lazy in enumerate(levels):
        factor, array = 2**level, AxesView(lazy, order)
        leading = [1.0] * (len(axes) - 3)
        sizes = spacing or (1.0, 1.0, 1.0)
        scale: dict[str, Any] = {"type": "scale", "scale": [*leading, *(factor * size for size in sizes)]}
        # A voxel of a coarser level is a mean, whose place is between those of the voxels it was made of.
        shift = [*(0.0 for _ in leading), *((factor - 1) / 2 * size for size in sizes)]
        moved = [{"type": "translation", "translation": shift}] if level else []
        datasets.append({"path": str(level), "coordinateTransformations": [scale, *moved]})
        chunks = (*(1 for _ in leading), *(min(CHUNK, n) for n in array.shape[-3:]))
        target = group.create_array(
            str(level), shape=array.shape, chunks=chunks, dtype=array.dtype, dimension_names=names
        )
        steps = [*(1 for _ in leading), CHUNK, 2 * CHUNK, 2 * CHUNK]  # whole chunks
        for corner in itertools.product(*(range(0, n, step) for n, step in zip(array.shape, steps, strict=True))):
            box = tuple(slice(low, min(low + step, n)) for low, step, n in zip(corner, steps, array.shape, strict=True))
            target[box] = array[box]
    image = {"name": name.split(".")[0], "axes": said, "datasets": datasets}
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [image]}
    if channels:
        ome["omero"] = {"channels": [_omero(item, i, value_range) for i, item in enumerate(channels)]}
    group.attrs["ome"] = ome


def _omero(channel: Mapping[str, str], index: int, value_range: tuple[float, float] | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "label": channel.get("name", f"Channel {index}"), "active": True,
        "color": _rgb(channel),
    }  # fmt: skip
    if value_range:
        low, high = map(float, value_range)
        found["window"] = {"min": low, "max": high, "start": low, "end": high}
    return found
