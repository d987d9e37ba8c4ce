"""Write volumes in other formats: TIFF, .npy, OME-Zarr. An array is read slab by slab.

Writing is atomic: the file is complete, or what was there before stays. Nothing here knows of `.tinc` files, napari or
Qt.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from io import BufferedWriter, FileIO, UnsupportedOperation
from pathlib import Path
from typing import Any

import numpy as np

from ..storage import atomic
from .image import Spacing
from .npy import write_npy
from .ome_zarr import ChunkCoding, is_replaceable_zarr, write_zarr
from .tiff import write_tiff
from .units import unit_name

OUTPUT_SUFFIXES = (".tif", ".tiff", ".npy", ".zarr")


def write_image(
    path: str | os.PathLike[str], array: Any, spacing: Spacing | None, units: str | None, *, axes: str = "zyx",
    channels: Sequence[Mapping[str, str]] = (), value_range: tuple[float, float] | None = None,
    coarser: Sequence[Any] = (), coding: ChunkCoding | None = None,
) -> None:  # fmt: skip
    """Write volumes of axes (..., z, y, x). The file is complete or not written; a file that exists is replaced.

    TIFFs keep the spacing and its units. They are of ImageJ's kind if it knows the dtype, else OME. float16, 64-bit
    integers, a single slice, or planes that are not y, x make a plain TIFF with OME's fields in its description.
    OME-Zarr (0.5) keeps spacing and units too, and has the ``coarser`` levels, each half as large as the one before.
    `.npy` stores neither. Units that :func:`~napari_tinc.io.read.read_image` does not know are left out.

    Parameters
    ----------
    array : anything with a shape, a dtype and basic indexing whose parts become NumPy arrays. At most about
        :data:`~.arrays.SLAB` voxels, or a plane, are read at a time.
    axes : a letter for each axis.
    channels : "name" and "color" ("#rrggbb") of every channel.
    value_range : smallest and largest value, for the contrast of OME-Zarr's channels.
    coarser : coarser levels of the volume, for OME-Zarr.
    coding : how the chunks of an OME-Zarr are coded, if not as Zarr does by itself.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ImportError
        If the format's library is not installed.
    OSError
        If the file cannot be written; the message has the bytes needed, before Zarr's compression.
    ValueError
        If the suffix is not one of `OUTPUT_SUFFIXES`, or the format cannot hold the array.
    """
    path = Path(os.path.realpath(path))  # a symbolic link is kept
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
    temporary = Path(atomic.temporary_name(str(path)))
    try:
        if suffix == ".zarr":
            write_zarr(temporary, [array, *coarser], spacing, units, axes, channels, value_range, path.name, coding)
            _replace_folder(temporary, path)
        else:
            raw = FileIO(temporary, "x")
            with _Stream(raw) as stream:
                if suffix == ".npy":
                    write_npy(stream, array)
                else:
                    write_tiff(stream, array, spacing, units, axes, channels, path.stem.lower().endswith(".ome"))
                stream.flush()
                os.fsync(raw.fileno())
            temporary.replace(path)
    except OSError as error:
        levels = [array, *coarser] if suffix == ".zarr" else [array]
        nbytes = sum(math.prod(level.shape) * np.dtype(level.dtype).itemsize for level in levels)
        raise atomic.not_written(path, nbytes, error) from error
    finally:
        atomic.remove(str(temporary))
    atomic.sweep(str(path))  # only now: if a process was killed between two renames, the old folder has the data


class _Stream(BufferedWriter):
    """A file that NumPy cannot write to through its descriptor, since NumPy's errors do not tell the reason."""

    def fileno(self) -> int:
        """Refuse to give the descriptor."""
        raise UnsupportedOperation


def size_on_disk(path: str | os.PathLike[str]) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    path = Path(path)
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        if path.is_dir()
        else os.stat(path).st_size
    )


def _replace_folder(temporary: Path, path: Path) -> None:
    """Put a folder in the place of another, which comes back if that fails."""
    old = Path(atomic.temporary_name(str(path)))
    if path.exists():
        path.replace(old)  # a folder with files in it cannot be overwritten by a rename
    try:
        temporary.replace(path)
    except BaseException:
        if old.exists():
            old.replace(path)
        raise
    atomic.remove(str(old))
