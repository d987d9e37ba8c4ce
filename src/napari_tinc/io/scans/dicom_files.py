"""Find the files of a DICOM series, and read their headers: only what places the pixels and tells their values.

Nothing that names a patient is read, let alone kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..image import library
from ..read_options import say

_SUFFIXES = (".dcm", ".dicom", ".ima")  # Files of these names are DICOM, even without the usual first bytes.
_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "InstanceNumber", "Rows",
    "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "DoseGridScaling",
    "GridFrameOffsetVector", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "GantryDetectorTilt", "ImagesInAcquisition", "ImageType",
    "TemporalPositionIdentifier", "TemporalResolution", "EchoTime", "TriggerTime", "AcquisitionNumber",
    "DiffusionBValue", "WindowCenter", "WindowWidth", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "DetectorInformationSequence",
)  # fmt: skip


def is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM, by its name or its first bytes; or whether any file in a folder is."""
    if path.is_dir():
        return any(is_dicom(file) for file in _files_in(path))
    if not path.is_file():
        return False
    if path.suffix.lower() in _SUFFIXES:
        return True
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def headers_of(path: Path) -> list[tuple[Path, Any]]:
    """Return the images in a folder, or in the folder of a file, each with its header.

    Of a file of many frames, only that file is taken. A damaged file beside the one that is asked for is said.

    Raises
    ------
    ValueError
        If there is no image, or a file in the folder is damaged: it may be a slice.
    """
    if path.is_file():
        header = _header(path)
        if header is None:
            raise ValueError("it is a DICOM file without an image")
        if int(header.get("NumberOfFrames") or 1) > 1:
            return [(path, header)]
        series = header.get("SeriesInstanceUID")
        others = _headers_beside(path) if series else []
        of_series = [(file, other) for file, other in others if other.get("SeriesInstanceUID") == series]
        return sorted([(path, header), *of_series], key=lambda one: one[0])
    found = [(file, _header(file)) for file in _files_in(path) if is_file_of_dicom(file)]
    images = [(file, header) for file, header in found if header is not None]
    if not images:
        raise ValueError("none of its DICOM files has an image")
    return images


def _headers_beside(path: Path) -> list[tuple[Path, Any]]:
    """Return the other images in the folder of a file. Those that cannot be read are said: they may be slices."""
    found, damaged = [], []
    for file in sorted(path.parent.iterdir()):
        if file == path or not is_file_of_dicom(file):
            continue
        try:
            found.append((file, _header(file)))
        except ValueError as error:
            damaged.append(str(error))
    if damaged:
        say(f"{len(damaged)} files beside {path.name} are left out, though they may be slices of it: {damaged[0]}")
    return [(file, header) for file, header in found if header is not None]


def is_file_of_dicom(path: Path) -> bool:
    """Tell whether a path is a DICOM file other than a table of contents."""
    return path.is_file() and path.name.upper() != "DICOMDIR" and is_dicom(path)


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield all files in a folder and those inside it, in the order of their names."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files_in(path)
        else:
            yield path


def _header(file: Path) -> Any | None:
    """Read the header of a file; None if it has no image."""
    pydicom = library("pydicom", "scans")
    try:
        with warnings.catch_warnings():  # about fields that are against the standard
            warnings.filterwarnings("ignore", module="pydicom")
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS), force=True)
            int(header.get("NumberOfFrames") or 1)  # pydicom converts a field, and fails, when it is looked at
    except Exception as error:
        raise ValueError(f"{file.name} is damaged: {error}") from error
    if "Rows" in header and "Columns" in header:
        return header
    if "SOPClassUID" not in header:
        raise ValueError(f"{file.name} is damaged, or no DICOM file")
    return None
