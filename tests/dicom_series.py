"""DICOM series, made for tests with pydicom. Every field that can name a patient is filled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SECRET = "Zygmunt"  # in every text of the header
OBLIQUE = (0.96, 0.28, 0.0, -0.28 * 0.8, 0.96 * 0.8, 0.6)  # rows and columns, at a right angle
CORNER = (-120.37, 88.125, -310.5)
STEP = 2.5
PIXELS = (0.7, 0.9)  # between rows, between columns


def hounsfield(shape: tuple[int, int, int] = (7, 12, 10), seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-1000, 2000, shape).astype(np.int16)


def slice_positions(count: int, tilt: float = 0.0) -> NDArray[np.float64]:
    rows, columns = np.array(OBLIQUE[:3]), np.array(OBLIQUE[3:])
    step = STEP * np.cross(rows, columns) + tilt * columns
    return np.array(CORNER) + np.arange(count)[:, None] * step


def identified() -> Dataset:
    """A header that names the patient, the dates and the places."""
    header = Dataset()
    header.PatientName, header.PatientID, header.PatientBirthDate = f"{SECRET}^Ada", f"{SECRET}-1234", "19700102"
    header.PatientAddress, header.InstitutionName = f"{SECRET} street", f"{SECRET} hospital"
    header.ReferringPhysicianName, header.OperatorsName = f"{SECRET}^Doctor", f"{SECRET}^Nurse"
    header.StudyDescription = header.SeriesDescription = f"{SECRET} thorax"
    header.StudyDate = header.SeriesDate = header.AcquisitionDate = header.ContentDate = "20231107"
    header.StudyTime, header.AccessionNumber, header.StationName = "101112", f"{SECRET}77", f"{SECRET}CT"
    header.PatientComments = header.ImageComments = f"about {SECRET}"
    header.ProtocolName, header.StudyID, header.DeviceSerialNumber = f"{SECRET}p", f"{SECRET}9", f"{SECRET}d"
    header.add_new(0x00110010, "LO", f"{SECRET} PRIVATE")
    return header


def save_slice(path: Path, pixels: NDArray[Any], position: Sequence[float] | None, number: int, **fields: Any) -> None:
    header = identified()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    header.SeriesInstanceUID, header.StudyInstanceUID, header.FrameOfReferenceUID = "1.2.3", "1.2", "1.9"
    header.Modality, header.SeriesNumber, header.InstanceNumber = "CT", 3, number
    header.Rows, header.Columns = pixels.shape
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 8 * pixels.dtype.itemsize
    header.HighBit, header.PixelRepresentation = header.BitsStored - 1, int(pixels.dtype.kind == "i")
    if position is not None:
        header.ImagePositionPatient = [f"{value:.10g}" for value in position]
        header.ImageOrientationPatient = [f"{value:.10g}" for value in OBLIQUE]
        header.PixelSpacing = list(PIXELS)
    header.SliceThickness = STEP
    for name, value in fields.items():
        if value is None:
            delattr(header, name)
        else:
            setattr(header, name, value)
    header.PixelData = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"))).tobytes()
    header.save_as(path, enforce_file_format=True)


def save_series(folder: Path, hu: NDArray[np.int16], *, tilt: float = 0.0, left_out: Sequence[int] = (),
                suffix: str = ".dcm", **fields: Any) -> None:  # fmt: skip
    """Save a CT with an intercept of -1024, whose files are not named in the order of the slices."""
    folder.mkdir(exist_ok=True)
    positions = slice_positions(len(hu), tilt)
    for z in range(len(hu)):
        if z not in left_out:
            name = f"{(z * 5 + 3) % 97:03d}{suffix}"
            stored = (hu[z] + 1024).astype(np.uint16)
            save_slice(
                folder / name, stored, positions[z], z + 1, **{"BitsStored": 12, "HighBit": 11, "RescaleSlope": 1,
                "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400} | fields,
            )  # fmt: skip


def read_back(path: Path) -> Any:
    return pydicom.dcmread(path)
