"""Read an image: the suffix of its name decides which reader does it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .arrays import unreadable
from .hdf5 import read_hdf5
from .image import Content, Image, channels_of, in_usual_order
from .nifti import read_nifti
from .npy import read_npy
from .ome_zarr import read_zarr
from .read_options import ReadOptions
from .scans.dicom import read_dicom
from .scans.dicom_files import is_dicom
from .scans.metaimage import read_metaimage
from .scans.mrc import MRC_SUFFIXES, read_mrc
from .scans.nrrd import read_nrrd
from .scans.others import NIBABEL_SUFFIXES, read_with_nibabel
from .tiff import read_tiff
from .units import spacing_and_unit

# A reader gets the file, the path of the image in it ("" for none), and what the caller says of it.
Reader = Callable[[Path, str, ReadOptions], Content]

_READERS: dict[str, Reader] = {
    **dict.fromkeys((".tif", ".tiff"), read_tiff),
    **dict.fromkeys((".npy",), read_npy),
    **dict.fromkeys((".nii", ".nii.gz"), read_nifti),
    **dict.fromkeys((".zarr",), read_zarr),
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), read_hdf5),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), read_dicom),
    **dict.fromkeys((".nrrd", ".nhdr"), read_nrrd),
    **dict.fromkeys((".mha", ".mhd"), read_metaimage),
    **dict.fromkeys(MRC_SUFFIXES, read_mrc),
    **dict.fromkeys(NIBABEL_SUFFIXES, read_with_nibabel),
}

# An image in these files is named after a colon: scan.h5:/entry/data.
_WITH_COLON = (".h5", ".hdf5", ".hdf")
# An image in these folders is named by its path: scan.zarr/0.
_WITH_FOLDERS = (".zarr",)

_INSIDE = re.compile(rf"(.+(?:{'|'.join(map(re.escape, _WITH_COLON))})):(.*)", re.IGNORECASE)


def read_volumes(path: str | os.PathLike[str], **choices: Any) -> Image:
    """Read an image with axes z, y, x, maybe after others, as :func:`read_image` does.

    ValueError if it has other axes.
    """
    image = read_image(path, **choices)
    if not image.axes.endswith("ZYX"):
        shape = ", ".join(map(str, image.array.shape))
        raise ValueError(
            f"{path} has axes {image.axes}, shape {shape}; expected ZYX, maybe after others such as T and C"
        )
    return image


def file_of(path: str | os.PathLike[str]) -> str:
    """Return the path of the file, without the dataset in it."""
    match = _INSIDE.fullmatch(os.fspath(path))
    return match[1] if match else os.fspath(path)


def read_image(path: str | os.PathLike[str], **choices: Any) -> Image:
    """Read a TIFF, .npy, NIfTI, Zarr, OME-Zarr (finest level) or HDF5 (``file.h5:/path``) image.

    Axes of length one other than z, y, x are dropped; z, y, x come last and in this order. Only TIFFs of up to
    :data:`READ_WHOLE` bytes and compressed NIfTI files are read into memory.

    Parameters
    ----------
    choices : fields of :class:`~.read_options.ReadOptions`: ``axes``, ``labels``, ``series``, ``channel``, ``raw``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If the format's library is not installed.
    ValueError
        If the suffix is not supported, or the file cannot be read.
    """
    options = ReadOptions(**choices)
    match = _INSIDE.fullmatch(os.fspath(path))
    file = Path(file_of(path))
    owners = (file, *(folder for folder in file.parents if folder.suffix.lower() in _WITH_FOLDERS))
    owner = next((candidate for candidate in owners if _input_suffix(candidate)), None)
    if owner is None and is_dicom(file):  # files of a scanner and their folders often have no suffix
        owner = file
    if owner is None:
        problem = f"the suffix {file.suffix} is not supported" if file.suffix else "it has no suffix"
        raise ValueError(f"cannot read {file}: {problem}; supported are {', '.join(_READERS)}")
    if not file.exists():
        raise FileNotFoundError(f"cannot read {file}: there is no such file")
    if not (file.is_file() or file.is_dir()):  # to open a pipe would wait for its writer
        raise ValueError(f"cannot read {file}: it is not a regular file")
    suffix = _input_suffix(owner)
    inside = match[2].strip("/") if match else file.relative_to(owner).as_posix().strip(".")
    stem = owner.name[: len(owner.name) - len(suffix)].removesuffix(".ome")
    try:
        content = _READERS.get(suffix, read_dicom)(file, inside, options)
        array, axes = in_usual_order(content.array, content.axes)
        spacing, units = spacing_and_unit(content.sizes)
        channels = channels_of(content.channels, array.shape[axes.index("C")] if "C" in axes else 0)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # each library raises other errors for a damaged file
        raise unreadable(path, error) from error
    name = f"{stem} {inside.rpartition('/')[2]}".strip()
    labels = content.labels or options.labels
    return Image(array, axes, spacing, units, name, channels, labels, content.placement, content.details)


def _input_suffix(file: Path) -> str:
    """Return the supported suffix that a file's name ends with, or an empty string."""
    return next((suffix for suffix in _READERS if file.name.lower().endswith(suffix)), "")
