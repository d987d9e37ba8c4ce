"""Write volumes in other formats. An array is read slab by slab.

Writing is atomic: the file is complete, or what was there before stays. Nothing here knows of `.tinc` files, napari or
Qt.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from io import BufferedWriter, FileIO, UnsupportedOperation
from pathlib import Path
from typing import Any

import numpy as np

from ..format.details import Details
from ..format.placement import Placement
from ..storage import atomic
from .described import FACTS, USUAL_CHANGES, Described
from .image import Spacing
from .npy import write_npy
from .ome_zarr import ChunkCoding, is_replaceable_zarr, write_zarr
from .scans.hdf5_write import write_hdf5
from .scans.metaimage import write_metaimage
from .scans.mrc import CHANGES as MRC_CHANGES
from .scans.mrc import write_mrc
from .scans.nifti_write import write_nifti
from .scans.nrrd import write_nrrd
from .tiff import write_tiff
from .units import unit_name

# A writer of a file gets the open file, the path that it will have, the array and what is known of it.
Writer = Callable[[Any, Path, Any, Described], None]


def _write_npy(stream: Any, path: Path, array: Any, described: Described) -> None:
    write_npy(stream, array)


def _write_tiff(stream: Any, path: Path, array: Any, described: Described) -> None:
    write_tiff(stream, array, described, ome_named=path.stem.lower().endswith(".ome"))


def _write_nifti(stream: Any, path: Path, array: Any, described: Described) -> None:
    write_nifti(stream, array, described, compressed=path.suffix.lower() == ".gz")


def _write_nrrd(stream: Any, path: Path, array: Any, described: Described) -> None:
    write_nrrd(stream, array, described)


def _write_metaimage(stream: Any, path: Path, array: Any, described: Described) -> None:
    write_metaimage(stream, array, described)


_WRITERS: dict[str, Writer] = {
    ".tif": _write_tiff, ".tiff": _write_tiff, ".npy": _write_npy, ".nii": _write_nifti, ".nii.gz": _write_nifti,
    ".nrrd": _write_nrrd, ".mha": _write_metaimage,
}  # fmt: skip
# These writers make the file themselves, at a path that is free.
_PATH_WRITERS: dict[str, Callable[[Path, Any, Described], None]] = {
    ".mrc": write_mrc, ".map": write_mrc, ".h5": write_hdf5, ".hdf5": write_hdf5,
}  # fmt: skip
# Sizes in these formats are in a unit of their own, so that those without a unit are left out.
OF_A_UNIT = (".mrc", ".map")
# What each format keeps of FACTS; docs/reference/formats.md says it, too, and is compared with files that are written.
KEEPS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((".tif", ".tiff", ".ome.tif", ".ome.tiff", ".h5", ".hdf5"), FACTS), ".npy": (),
    **dict.fromkeys((".nii", ".nii.gz"),
                    ("spacing", "unit", "origin", "orientation", "shear", "time step", "contrast limits", "labels")),
    **dict.fromkeys((".nrrd", ".mha"), FACTS),
    **dict.fromkeys((".mrc", ".map"), ("spacing", "unit", "origin", "labels")),
    ".zarr": ("spacing", "unit", "origin", "time step", "channels", "contrast limits", "labels", "names of labels"),
}  # fmt: skip
# What becomes of dtypes for which a format has no place; all others stay.
CHANGES: dict[str, Mapping[str, str]] = {
    **dict.fromkeys((".nii", ".nii.gz", ".nrrd", ".mha"), USUAL_CHANGES),
    **dict.fromkeys((".mrc", ".map"), MRC_CHANGES),
}  # fmt: skip
OUTPUT_SUFFIXES = (*_WRITERS, *_PATH_WRITERS, ".zarr")


def write_image(
    path: str | os.PathLike[str], array: Any, spacing: Spacing | None, units: str | None, *, axes: str = "zyx",
    channels: Sequence[Mapping[str, str]] = (), value_range: tuple[float, float] | None = None,
    coarser: Sequence[Any] = (), placement: Placement | None = None, details: Details | None = None,
    labels: bool = False, coding: ChunkCoding | None = None,
) -> list[str]:  # fmt: skip
    """Write volumes of axes (..., z, y, x). The file is complete or not written; a file that exists is replaced.

    docs/reference/formats.md says what each format keeps. TIFFs are of ImageJ's kind if it knows the dtype, else OME.
    float16, 64-bit integers, a single slice, or planes that are not y, x make a plain TIFF with OME's fields in its
    description. OME-Zarr (0.5) has the ``coarser`` levels, each half as large as the one before. Units that
    :func:`~napari_tinc.io.read.read_image` does not know are left out.

    Parameters
    ----------
    array : anything with a shape, a dtype and basic indexing whose parts become NumPy arrays. At most about
        :data:`~.arrays.SLAB` voxels, or a plane, are read at a time.
    axes : a letter for each axis.
    channels : "name", "color" ("#rrggbb") and "window" of every channel.
    value_range : smallest and largest value, for the contrast of OME-Zarr's channels.
    coarser : coarser levels of the volume, for OME-Zarr.
    placement : where the voxels lie, in ``units``.
    details : time step, contrast limits, names of labels.
    labels : whether the values are labels.
    coding : how the chunks of an OME-Zarr are coded, if not as Zarr does by itself.

    Returns
    -------
    What of all this the format does not keep, in words: a sentence for each kind of loss.

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
    suffix = output_suffix(path)
    if not suffix:
        raise ValueError(f"cannot write {path}: its suffix must be one of {', '.join(OUTPUT_SUFFIXES)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}")
    if not hasattr(array, "shape"):
        array = np.asarray(array)
    if len(array.shape) != len(axes) or len(axes) < 3:
        raise ValueError(f"cannot write {path}: expected a {max(3, len(axes))}D array, got shape {array.shape}")
    if suffix == ".zarr" and not is_replaceable_zarr(path):
        raise ValueError(f"cannot write {path}: it is there, and is no Zarr folder")
    described = Described(
        axes=axes, spacing=spacing, units=unit_name(units), channels=channels, value_range=value_range,
        placement=placement, details=details or Details(), labels=labels, name=path.name,
    )  # fmt: skip
    temporary = Path(atomic.temporary_name(str(path)))
    try:
        if suffix == ".zarr":
            levels = [array, *coarser]
            write_zarr(
                temporary, levels, spacing, described.units, axes, channels, value_range, path.name, coding, described
            )
            _replace_folder(temporary, path)
        elif suffix in _PATH_WRITERS:
            _PATH_WRITERS[suffix](temporary, array, described)
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        else:
            raw = FileIO(temporary, "x+")
            with _Stream(raw) as stream:
                _WRITERS[suffix](stream, path, array, described)
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
    ome = ".ome" if path.stem.lower().endswith(".ome") and f".ome{suffix}" in KEEPS else ""
    keeps = KEEPS[ome + suffix]
    if suffix in OF_A_UNIT and described.units is None:
        keeps = tuple(fact for fact in keeps if fact not in ("spacing", "origin"))
    return _losses(path.name, described, keeps, np.dtype(array.dtype), CHANGES.get(suffix, {}))


def _losses(
    name: str, described: Described, keeps: Sequence[str], dtype: np.dtype[Any], changes: Mapping[str, str]
) -> list[str]:  # fmt: skip
    """Return a sentence for what a file does not keep, one for a mark of labels that is lost, and one for a dtype."""
    lost, texts = described.lost_in(keeps), []
    has_labels = "labels" in lost
    if lost := [fact for fact in lost if fact != "labels"]:
        texts.append(f"{name} does not keep {', '.join(lost)}")
    if has_labels and dtype.kind != "b":  # a mask is known by its dtype
        texts.append(f"{name} does not say that its values are labels: give --labels when you compress it")
    if dtype.name in changes:
        texts.append(f"{name} has the values as {changes[dtype.name]}: its format has no {dtype.name}")
    return texts


def output_suffix(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a format that can be written, with which a name ends; "" if there is none."""
    name = os.path.basename(path).lower()
    return max((suffix for suffix in OUTPUT_SUFFIXES if name.endswith(suffix)), key=len, default="")


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
