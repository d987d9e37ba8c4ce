"""Read an image: the suffix of its name decides which reader does it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .arrays import guarded, unreadable
from .bioio_images import PACKAGES, read_bioio
from .chosen import chosen, how_to_name
from .hdf5 import read_hdf5
from .hdf5_kinds.imaris import read_imaris
from .hdf5_kinds.matlab import read_matlab
from .hdf5_kinds.netcdf import read_netcdf
from .hdf5_kinds.nexus import read_emd, read_nexus
from .image import Content, Image, channels_of, in_usual_order, say_if_guessed
from .ngff.n5 import read_n5
from .ngff.read import read_zarr
from .ngff.stores import split_url, zarr_root
from .nifti import read_nifti
from .npy import read_npy, read_npz
from .raw import read_raw
from .read_options import ReadOptions
from .scans.dicom import read_dicom
from .scans.dicom_files import is_dicom
from .scans.metaimage import read_metaimage
from .scans.mrc import MRC_SUFFIXES, read_mrc
from .scans.nrrd import read_nrrd
from .scans.others import NIBABEL_SUFFIXES, par_beside, read_with_nibabel
from .slices import read_folder, read_slices
from .tiff import read_tiff
from .units import spacing_and_unit

# A reader gets the file, the path of the image in it ("" for none), and what the caller says of it.
# The place of a Zarr may be a URL.
Reader = Callable[[Any, str, ReadOptions], Content]

_READERS: dict[str, Reader] = {
    **dict.fromkeys((".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk"), read_tiff),
    **dict.fromkeys((".npy",), read_npy),
    **dict.fromkeys((".npz",), read_npz),
    **dict.fromkeys((".nii", ".nii.gz"), read_nifti),
    **dict.fromkeys((".zarr", ".ozx", ".zarr.zip", ".zip"), read_zarr),
    **dict.fromkeys((".h5", ".hdf5", ".hdf", ".dx"), read_hdf5),
    **dict.fromkeys((".nxs", ".nx5"), read_nexus),
    **dict.fromkeys((".emd",), read_emd),
    **dict.fromkeys((".nc", ".nc4", ".cdf"), read_netcdf),
    **dict.fromkeys((".mat",), read_matlab),
    **dict.fromkeys((".ims",), read_imaris),
    **dict.fromkeys((".n5",), read_n5),
    **dict.fromkeys(PACKAGES, read_bioio),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), read_dicom),
    **dict.fromkeys((".nrrd", ".nhdr"), read_nrrd),
    **dict.fromkeys((".mha", ".mhd"), read_metaimage),
    **dict.fromkeys(MRC_SUFFIXES, read_mrc),
    **dict.fromkeys(NIBABEL_SUFFIXES, read_with_nibabel),
}

# An image in these files is named after a colon: scan.h5:/entry/data.
_WITH_COLON = (".h5", ".hdf5", ".hdf", ".dx", ".nxs", ".nx5", ".emd", ".nc", ".nc4", ".cdf", ".mat", ".npz")
# An image in these folders and archives is named by its path: scan.zarr/0.
_WITH_FOLDERS = (".zarr", ".ozx", ".zip", ".n5")

# Archives and compressed files that no reader opens, such as scan.dcm.gz.
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".7z", ".rar", ".zipx")

_INSIDE = re.compile(rf"(.+(?:{'|'.join(map(re.escape, _WITH_COLON))})):(.*)", re.IGNORECASE)


def read_volumes(path: str | os.PathLike[str], **choices: Any) -> Image:
    """Read an image with axes z, y, x, maybe after others, as :func:`read_image` does.

    ValueError if it has other axes.
    """
    image = read_image(path, **choices)
    if not image.axes.endswith("ZYX"):
        shape = ", ".join(map(str, image.array.shape))
        raise ValueError(
            f"{path} has axes {image.axes}, shape {shape}; expected ZYX, maybe after others such as T and C: "
            f"{how_to_name(image.axes, image.array.shape)}"
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
    owner, inside, suffix, reader = _located(os.fspath(path), options)
    stem = os.path.basename(os.fspath(owner))
    stem = (stem[: -len(suffix)] if suffix and stem.lower().endswith(suffix) else stem).removesuffix(".ome")
    try:
        content = chosen(reader(owner, inside, options), options)
        if options.axes is None:
            say_if_guessed(content.axes, content.array.shape)
        array, axes = in_usual_order(content.array, content.axes)
        spacing, units = spacing_and_unit(content.sizes)
        channels = channels_of(content.channels, array.shape[axes.index("C")] if "C" in axes else 0, content.windows)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # each library raises other errors for a damaged file
        raise unreadable(path, error) from error
    name = f"{stem} {inside.rpartition('/')[2]}".strip()
    array = guarded(array, path)
    return Image(
        array, axes, spacing, units, name, channels, content.labels, content.placement, content.details,
        tuple(content.fill),
    )  # fmt: skip


def _located(path: str, options: ReadOptions) -> tuple[Path | str, str, str, Reader]:
    """Return the file or folder of a path, the path of the image in it, the suffix of its name, and its reader.

    FileNotFoundError or ValueError if there is none.
    """
    if "://" in path:
        return (*split_url(path), ".zarr", read_zarr)
    match = _INSIDE.fullmatch(path)
    file = Path(file_of(path))
    owners = (file, *(folder for folder in file.parents if folder.suffix.lower() in _WITH_FOLDERS))
    owner = next((candidate for candidate in owners if _input_suffix(candidate)), None) or zarr_root(file) or file
    suffix = _input_suffix(owner)
    if owner != file and owner.is_file():  # an archive
        reader = _READERS[suffix]
    else:
        reader = _reader_of(file, suffix or (".zarr" if zarr_root(owner) else ""), options)
    return owner, match[2].strip("/") if match else file.relative_to(owner).as_posix().strip("."), suffix, reader


def _reader_of(file: Path, suffix: str, options: ReadOptions) -> Reader:
    """Return the reader of a file of a supported suffix, of a folder, of a file without a header, or of a pattern.

    FileNotFoundError or ValueError if there is none.
    """
    if not file.exists():
        if "*" in file.name or "?" in file.name:
            if files := [found for found in file.parent.glob(file.name) if found.is_file()]:
                return lambda *_: read_slices(files)
            raise FileNotFoundError(f"cannot read {file}: there are no such files")
        if suffix or options.raw:
            raise FileNotFoundError(f"cannot read {file}: there is no such file")
    elif not (file.is_file() or file.is_dir()):  # to open a pipe would wait for its writer
        raise ValueError(f"cannot read {file}: it is not a regular file")
    if options.raw is not None and file.is_file():
        return read_raw
    if not _READERS.get(suffix) and is_dicom(file):  # files of a scanner and their folders often have no suffix
        return read_dicom
    if file.is_dir() and suffix not in _WITH_FOLDERS:
        return read_dicom if is_dicom(file) else read_folder
    if file.suffix.lower() in _PACKED and not suffix:
        raise ValueError(f"cannot read {file}: files of the suffix {file.suffix} are not unpacked; unpack it first")
    if par_beside(file):
        return read_with_nibabel
    if not suffix:
        problem = f"the suffix {file.suffix} is not supported" if file.suffix else "it has no suffix"
        supported = f"supported are {', '.join(_READERS)}, folders of slices, and files without a header (--raw)"
        raise ValueError(f"cannot read {file}: {problem}; {supported}")
    return _READERS[suffix]


def _input_suffix(file: Path) -> str:
    """Return the supported suffix that a file's name ends with, or an empty string."""
    return next((suffix for suffix in _READERS if file.name.lower().endswith(suffix)), "")
