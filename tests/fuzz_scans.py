"""Random files of CT, MRI and electron microscopes, each with what another library than our reader's says of it."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz_files import Expected, numbers, sizes

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from DICOM's coordinates, or back


def rotation(rng: np.random.Generator) -> np.ndarray:
    """A rotation, 3 x 3: none, a change of axes, or any."""
    kind = rng.integers(3)
    if kind == 0:
        return np.eye(3)
    matrix = np.eye(3)[rng.permutation(3)] if kind == 1 else np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return matrix * np.sign(np.linalg.det(matrix)) if np.linalg.det(matrix) < 0 else matrix


def placed(rng: np.random.Generator, spacing: tuple[float, float, float]) -> np.ndarray:
    """A matrix, 4 x 4, that takes voxels x, y, z to the world; spacing is that of z, y, x."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(rng) * spacing[::-1]
    matrix[:3, 3] = np.round(rng.uniform(-300, 300, 3), 3)
    return matrix


def of_itk(image: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values and matrix of an image of SimpleITK's, from voxels x, y, z to RAS."""
    sitk = pytest.importorskip("SimpleITK")
    ndim, matrix = image.GetDimension(), np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (ndim, ndim))[:3, :3] * image.GetSpacing()[:3]
    matrix[:3, 3] = image.GetOrigin()[:3]
    return sitk.GetArrayFromImage(image), TO_RAS @ matrix


def made_by_itk(rng: np.random.Generator, array: np.ndarray, spacing: tuple[float, float, float]) -> Any:
    """An image of SimpleITK's that lies somewhere; an axis before z, y, x is time."""
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(array, isVector=False)
    matrix, ndim = placed(rng, spacing), array.ndim
    direction = np.eye(ndim)
    direction[:3, :3] = matrix[:3, :3] / spacing[::-1]
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin([*matrix[:3, 3].tolist(), *[0.0] * (ndim - 3)])
    image.SetSpacing([*spacing[::-1], *[1.0] * (ndim - 3)])
    return image


def nifti_placed(rng: np.random.Generator, path: Path) -> Expected:
    """A NIfTI of nibabel's with an oblique matrix in one or both of its forms; maybe a pair of .hdr and .img."""
    nibabel = pytest.importorskip("nibabel")
    array, spacing = numbers(rng, ("u1", "i2", "u2", "f4"), 3, "<"), sizes(rng)
    matrix = placed(rng, spacing)
    is_pair = rng.random() < 0.3
    image = (nibabel.Nifti1Pair if is_pair else nibabel.Nifti1Image)(array.T, matrix)
    image.header.set_xyzt_units("mm")
    code = int(rng.integers(1, 5))
    image.set_sform(matrix, code if rng.random() < 0.7 else 0)
    image.set_qform(matrix, code)
    file = path / ("v.hdr" if is_pair else "v.nii.gz" if rng.random() < 0.3 else "v.nii")
    image.to_filename(file)
    back = nibabel.load(file)
    return Expected(np.asarray(back.dataobj).T, spacing, "millimeter", back.affine)


def analyze(rng: np.random.Generator, path: Path) -> Expected:
    """An Analyze file of nibabel's: plain, or of SPM, which has a slope and a matrix in a file beside it."""
    nibabel = pytest.importorskip("nibabel")
    array, spacing = numbers(rng, ("u1", "i2", "i4", "f4", "f8"), int(rng.integers(3, 5)), "<"), sizes(rng)
    kind = [nibabel.AnalyzeImage, nibabel.Spm99AnalyzeImage, nibabel.Spm2AnalyzeImage][int(rng.integers(3))]
    matrix = np.diag([-spacing[2], spacing[1], spacing[0], 1.0])
    image = kind(array.T, None if kind is nibabel.AnalyzeImage else matrix, kind.header_class(
        endianness=str(rng.choice(["<", ">"]))))  # fmt: skip
    image.set_data_dtype(array.dtype if array.dtype.kind != "f" or kind is nibabel.AnalyzeImage else "i2")
    image.header.set_zooms([*spacing[::-1], *[1.0] * (array.ndim - 3)])
    image.to_filename(path / "v.img")
    back = nibabel.load(path / "v.img")
    return Expected(np.asarray(back.dataobj).T, spacing, "millimeter",
                    None if kind is nibabel.AnalyzeImage else back.affine)  # fmt: skip


def mgh(rng: np.random.Generator, path: Path) -> Expected:
    """A FreeSurfer file of nibabel's."""
    nibabel = pytest.importorskip("nibabel")
    array, spacing = numbers(rng, ("u1", "i2", "i4", "f4"), int(rng.integers(3, 5)), "<"), sizes(rng)
    matrix = placed(rng, spacing)
    file = path / ("v.mgz" if rng.random() < 0.5 else "v.mgh")
    nibabel.MGHImage(array.T, matrix).to_filename(file)
    back = nibabel.load(file)
    return Expected(array, spacing, "millimeter", back.affine)


def of_itks_writers(rng: np.random.Generator, path: Path) -> Expected:
    """A file that ITK wrote: NRRD, MetaImage, NIfTI or MINC, maybe compressed, in one file or two."""
    sitk = pytest.importorskip("SimpleITK")
    suffix = str(rng.choice(["nrrd", "nhdr", "mha", "mhd", "nii", "nii.gz", "mnc"]))
    dtypes = ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8") if suffix != "mnc" else ("u1", "i2", "i4", "f4", "f8")
    array, spacing = numbers(rng, dtypes, 3, "<"), sizes(rng)
    image, file = made_by_itk(rng, array, spacing), path / f"v.{suffix}"
    if suffix == "mnc":
        image.SetDirection(np.eye(3).ravel().tolist())
        image.SetOrigin([0.0] * 3)
    sitk.WriteImage(image, str(file), bool(rng.random() < 0.5))
    values, matrix = of_itk(sitk.ReadImage(str(file)))
    np.testing.assert_array_equal(values, array)
    # ITK takes MINC's coordinates, which are RAS, for its LPS.
    return Expected(values, spacing, "millimeter", TO_RAS @ matrix if suffix == "mnc" else matrix)


def nrrd(rng: np.random.Generator, path: Path) -> Expected:
    """A NRRD of pynrrd's, of any encoding and byte order; where it lies as ITK reads it, if it says so."""
    writer, sitk = pytest.importorskip("nrrd"), pytest.importorskip("SimpleITK")
    ndim = 3 if rng.random() < 0.7 else 4
    array, spacing = numbers(rng, ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"), ndim), sizes(rng)
    encoding = str(rng.choice(["raw", "gzip", "bzip2", "ascii"]))
    if encoding == "ascii":
        array = array.astype(array.dtype.newbyteorder("="))
    header: dict[str, Any] = {"encoding": encoding}
    kind = int(rng.integers(3))
    matrix, unit, leading = None, None, [np.full(3, np.nan)] * (ndim - 3)
    if kind == 0:
        matrix, unit = placed(rng, spacing), "millimeter"
        header["space"] = str(rng.choice(["left-posterior-superior", "right-anterior-superior"]))
        header["space directions"] = np.array([*matrix[:3, :3].T, *leading])
        header["space origin"] = matrix[:3, 3]
        header["kinds"] = ["domain"] * 3 + [str(rng.choice(["list", "time", "vector"]))] * (ndim - 3)
        matrix = matrix if header["space"].startswith("right") else TO_RAS @ matrix
    elif kind == 1:
        header["spacings"] = np.array([*spacing[::-1], *[np.nan] * (ndim - 3)])
        header["kinds"] = ["domain"] * 3 + ["list"] * (ndim - 3)
        if rng.random() < 0.5:
            unit, header["units"] = "micrometer", ["um"] * 3 + [""] * (ndim - 3)
    file = path / ("v.nhdr" if rng.random() < 0.3 else "v.nrrd")
    order = str(rng.choice(["C", "F"]))
    writer.write(str(file), array if order == "C" else array.T, header, index_order=order)
    if ndim == 3 and encoding != "bzip2":  # ITK has no bzip2
        values, by_itk = of_itk(sitk.ReadImage(str(file)))
        np.testing.assert_array_equal(values, array)
        assert matrix is None or np.allclose(by_itk, matrix, atol=1e-4)
    return Expected(array, spacing if kind < 2 else None, unit, matrix)


def metaimage(rng: np.random.Generator, path: Path) -> Expected:
    """A MetaImage written by hand, with the fields that other programs write, as ITK reads it."""
    sitk = pytest.importorskip("SimpleITK")
    names = {"u1": "UCHAR", "i1": "CHAR", "u2": "USHORT", "i2": "SHORT", "u4": "UINT", "i4": "INT", "f4": "FLOAT",
             "f8": "DOUBLE"}  # fmt: skip
    channels = int(rng.choice([1, 1, 3]))
    array, spacing = numbers(rng, tuple(names), 3), sizes(rng)
    if channels > 1:
        array = np.stack([array, array[::-1], array], -1)
    matrix = placed(rng, spacing)
    is_big = array.dtype.newbyteorder("=") != array.dtype
    padding = int(rng.integers(0, 40))
    lines = ["ObjectType = Image", "NDims = 3", "BinaryData = True", f"BinaryDataByteOrderMSB = {is_big}"]
    if rng.random() < 0.6:
        lines += [f"TransformMatrix = {' '.join(map(repr, (matrix[:3, :3] / spacing[::-1]).T.ravel().tolist()))}",
                  f"Offset = {' '.join(map(str, matrix[:3, 3].tolist()))}", "AnatomicalOrientation = RAI"]  # fmt: skip
    lines += [
        f"ElementSpacing = {' '.join(map(str, spacing[::-1]))}",
        f"DimSize = {' '.join(map(str, array.shape[2::-1]))}",
    ]
    lines += [f"ElementNumberOfChannels = {channels}"] * (channels > 1)
    lines += [f"ElementType = MET_{names[array.dtype.str[1:]]}"]
    if rng.random() < 0.5:
        (path / "values.raw").write_bytes(bytes(padding) + array.tobytes())
        text = "\n".join([*lines, f"HeaderSize = {padding}", "ElementDataFile = values.raw", ""])
        (path / "v.mhd").write_text(text)
        file = path / "v.mhd"
    else:
        file = path / "v.mha"
        file.write_bytes("\n".join([*lines, "ElementDataFile = LOCAL", ""]).encode() + array.tobytes())
    values, by_itk = of_itk(sitk.ReadImage(str(file)))
    np.testing.assert_array_equal(values, array)
    return Expected(np.moveaxis(values, -1, 0) if channels > 1 else values, spacing, "millimeter", by_itk)


def mrc(rng: np.random.Generator, path: Path) -> Expected:
    """An MRC file of mrcfile's: any mode, byte order and order of axes, with an origin or a start, maybe compressed."""
    mrcfile = pytest.importorskip("mrcfile")
    array, spacing = numbers(rng, ("i1", "i2", "u2", "f2", "f4"), 3, "<"), sizes(rng)
    order = [int(axis) for axis in rng.permutation(3)] if rng.random() < 0.5 else [0, 1, 2]  # of z, y, x in the file
    stored = np.ascontiguousarray(array.transpose(order))
    plain = path / "plain.mrc"
    origin = np.round(rng.uniform(-50, 50, 3), 2) if rng.random() < 0.5 else np.zeros(3)
    start = rng.integers(-20, 20, 3) if not origin.any() and rng.random() < 0.7 else np.zeros(3, int)
    with mrcfile.new(plain) as file:
        file.set_data(stored)
        header = file.header
        header.maps, header.mapr, header.mapc = (3 - axis for axis in order)
        header.mz, header.my, header.mx = array.shape
        header.cella.z, header.cella.y, header.cella.x = (
            np.float32(n * edge) for n, edge in zip(array.shape, spacing, strict=True)
        )
        header.origin.z, header.origin.y, header.origin.x = origin
        for name, axis in zip(("nzstart", "nystart", "nxstart"), order, strict=True):  # sections, rows, columns
            header[name] = start[axis]
    data = plain.read_bytes()
    if rng.random() < 0.4:
        with mrcfile.mmap(plain) as file:
            swapped = file.header.byteswap().view(file.header.dtype.newbyteorder())
            swapped.machst = [0x11, 0x11, 0, 0]
            data = swapped.tobytes() + file.data.byteswap().tobytes()
    plain.unlink()
    suffix = str(rng.choice(["mrc", "map", "rec", "map.gz", "mrc.bz2"]))
    packed = {"gz": gzip.compress, "z2": bz2.compress}.get(suffix[-2:], bytes)
    (path / f"v.{suffix}").write_bytes(packed(data))
    where = origin if origin.any() else start * spacing
    matrix = np.diag([*spacing[::-1], 1.0])
    matrix[:3, 3] = where[::-1]
    return Expected(array, spacing, "angstrom", matrix if where.any() else None, space="")


def dicom(rng: np.random.Generator, path: Path) -> Expected:
    """A series of pydicom's, in any transfer syntax that it writes; places by ITK, values by pydicom."""
    pydicom, sitk = pytest.importorskip("pydicom"), pytest.importorskip("SimpleITK")
    from pydicom import uid

    spacing = sizes(rng)
    matrix, count = placed(rng, spacing), int(rng.integers(2, 7))
    bits, signed = int(rng.choice([8, 12, 16])), bool(rng.random() < 0.5)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    dtype = np.dtype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    stored = rng.integers(low, high, (count, int(rng.integers(4, 12)) * 2, int(rng.integers(4, 12)))).astype(dtype)
    slopes = [float(rng.choice([1, 2, 0.5, 0.01]))] * count
    if rng.random() < 0.2:
        slopes = [0.25 * (z + 1) for z in range(count)]
    intercept = float(rng.choice([0, -1024, 3, 0.5]))
    syntax = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless,
              uid.DeflatedExplicitVRLittleEndian][int(rng.integers(5))]  # fmt: skip
    (path / "series").mkdir()
    names, suffix = rng.permutation(count), str(rng.choice([".dcm", "", ".IMA"]))
    for z in range(count):
        header = _dicom_header(pydicom, matrix, spacing, stored[z].shape, bits, signed)
        position = matrix[:3] @ [0, 0, z, 1]
        header.InstanceNumber, header.SOPInstanceUID = int(names[z]) + 1, f"1.2.3.{z + 1}"
        header.ImagePositionPatient = [f"{value:.10g}" for value in position]
        if (slopes[z], intercept) != (1, 0) or rng.random() < 0.5:
            header.RescaleSlope, header.RescaleIntercept = str(slopes[z]), str(intercept)
        else:
            intercept = intercept if slopes[z] == 1 else 0.0
        if rng.random() < 0.3:
            header.add_new(0x00280120, "SS" if signed else "US", low if signed else high - 1)  # PixelPaddingValue
        order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
        header.PixelData = stored[z].astype(dtype.newbyteorder(order)).tobytes()
        header["PixelData"].VR = "OW" if dtype.itemsize == 2 or syntax == uid.ImplicitVRLittleEndian else "OB"
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
        header.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian if syntax == uid.RLELossless else syntax
        if syntax == uid.RLELossless:
            header.compress(uid.RLELossless, generate_instance_uid=False)
        header.save_as(path / "series" / f"{names[z]:03d}{suffix}", enforce_file_format=True)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path / "series")))
    values = np.array([plane * slope + intercept for plane, slope in zip(stored.astype(float), slopes, strict=True)])
    try:
        by_itk, ras = of_itk(reader.Execute())
    except RuntimeError as error:  # GDCM has no way back from RLE for some
        if "Transfer Syntax" not in str(error) or syntax != uid.RLELossless:
            raise
        return Expected(values, spacing, "millimeter", TO_RAS @ matrix)
    assert by_itk.shape == values.shape and np.allclose(by_itk, values, rtol=1e-5, atol=1e-4)
    return Expected(values, spacing, "millimeter", ras)


def _dicom_header(
    pydicom: Any, matrix: np.ndarray, spacing: tuple[float, float, float], shape: Any, bits: int, signed: bool
) -> Any:  # fmt: skip
    """A header of an image of one frame, without its position, values and transfer syntax."""
    header = pydicom.Dataset()
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = pydicom.uid.CTImageStorage
    header.SeriesInstanceUID, header.StudyInstanceUID, header.Modality = "1.2.3", "1.2", "CT"
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Rows, header.Columns = shape
    header.BitsAllocated, header.BitsStored, header.HighBit = 8 if bits == 8 else 16, bits, bits - 1
    header.PixelRepresentation = int(signed)
    header.PixelSpacing = [str(spacing[1]), str(spacing[2])]
    rows, columns = matrix[:3, 0] / spacing[2], matrix[:3, 1] / spacing[1]
    header.ImageOrientationPatient = [f"{value:.12g}" for value in (*rows, *columns)]
    return header


def dicom_frames(rng: np.random.Generator, path: Path) -> Expected:
    """An enhanced file of many frames in any order, each with its place, maybe with its scale."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom import Dataset, uid

    spacing = sizes(rng)
    matrix, count = placed(rng, spacing), int(rng.integers(2, 7))
    stored = rng.integers(-2000, 2000, (count, 6, 8)).astype("i2")
    header = _dicom_header(pydicom, matrix, spacing, stored[0].shape, 16, True)
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = uid.EnhancedMRImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = "1.2.3.1"
    order, is_own = rng.permutation(count), bool(rng.random() < 0.5)
    scales = [(0.5 * (z + 1), -3.0) if is_own else (1.0, 7.0) for z in range(count)]
    shared, frames = Dataset(), [Dataset() for _ in range(count)]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [Dataset()], [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = header.PixelSpacing
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = header.ImageOrientationPatient
    del header.PixelSpacing, header.ImageOrientationPatient
    for frame, z in zip(frames, order, strict=True):
        frame.PlanePositionSequence = [Dataset()]
        frame.PlanePositionSequence[0].ImagePositionPatient = [f"{value:.10g}" for value in matrix[:3] @ [0, 0, z, 1]]
        scaled = frame if is_own else shared
        scaled.PixelValueTransformationSequence = [Dataset()]
        scaled.PixelValueTransformationSequence[0].RescaleSlope = str(scales[z][0])
        scaled.PixelValueTransformationSequence[0].RescaleIntercept = str(scales[z][1])
    header.SharedFunctionalGroupsSequence, header.PerFrameFunctionalGroupsSequence = [shared], frames
    header.NumberOfFrames, header.PixelData = count, stored[order].tobytes()
    header["PixelData"].VR = "OW"
    header.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    if rng.random() < 0.4:
        header.compress(uid.RLELossless, generate_instance_uid=False)
    header.save_as(path / "v.dcm", enforce_file_format=True)
    values = np.array(
        [plane * slope + shift for plane, (slope, shift) in zip(stored.astype(float), scales, strict=True)]
    )
    return Expected(values, spacing, "millimeter", TO_RAS @ matrix)


WRITERS: tuple[Callable[[np.random.Generator, Path], Expected], ...] = (
    nifti_placed, analyze, mgh, of_itks_writers, nrrd, metaimage, mrc, dicom, dicom_frames,
)  # fmt: skip
NAMES = (
    "v.hdr", "v.img", "v.mgz", "v.mgh", "v.nrrd", "v.nhdr", "v.mha", "v.mhd", "v.mnc", "v.mrc", "v.map", "v.rec",
    "v.map.gz", "v.mrc.bz2", "series", "v.dcm",
)  # fmt: skip
