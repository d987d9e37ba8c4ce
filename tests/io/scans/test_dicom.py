"""DICOM series that pydicom writes, against SimpleITK's reading of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc.errors import ReadWarning
from napari_tinc.io.read import read_volumes
from napari_tinc.io.scans import dicom
from napari_tinc.io.write import write_image

pydicom = pytest.importorskip("pydicom")
sitk = pytest.importorskip("SimpleITK")
from dicom_series import CORNER, SECRET, hounsfield, read_back, save_series, save_slice, slice_positions  # noqa: E402


def by_itk(folder: Path) -> Any:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def worst_place(matrix: np.ndarray, image: Any) -> float:
    """How far 1000 voxels are from where ITK has them, in mm."""
    voxels = np.random.default_rng(0).integers(0, 7, (1000, 3)).tolist()
    return max(
        np.abs((matrix @ [*voxel, 1])[:3] - image.TransformIndexToPhysicalPoint(voxel)).max() for voxel in voxels
    )


@pytest.mark.parametrize("suffix", [".dcm", "", ".IMA"])
def test_a_folder_or_any_of_its_files(tmp_path: Path, suffix: str) -> None:
    hu = hounsfield()
    save_series(tmp_path / "ct", hu, suffix=suffix)
    itk = by_itk(tmp_path / "ct")
    for path in (tmp_path / "ct", sorted((tmp_path / "ct").iterdir())[4]):
        image = read_volumes(path)
        np.testing.assert_array_equal(image.array, hu)
        assert (image.array.dtype, image.axes, image.units) == (np.int16, "ZYX", "millimeter")
        assert image.spacing == pytest.approx((2.5, 0.7, 0.9)) and image.placement is not None
        assert worst_place(image.placement.xyz("LPS"), itk) < 1e-9
        np.testing.assert_array_equal(image.array[2:5, 3, ::2], hu[2:5, 3, ::2])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(itk), hu)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_compressed_and_written_it_lies_where_itk_has_it(tmp_path: Path, suffix: str) -> None:
    save_series(tmp_path / "ct", hounsfield())
    image = read_volumes(tmp_path / "ct")
    volume = tinc.compress(image.array, options=tinc.Options(max_error=0).with_facts(image.options()))
    write_image(tmp_path / f"b{suffix}", volume, image.spacing, volume.units, placement=volume.placement)
    back, itk = sitk.ReadImage(str(tmp_path / f"b{suffix}")), by_itk(tmp_path / "ct")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(itk))
    for voxel in np.random.default_rng(0).integers(0, 7, (1000, 3)).tolist():
        was, now = (each.TransformIndexToPhysicalPoint(voxel) for each in (itk, back))
        np.testing.assert_allclose(now, was, rtol=0, atol=1e-4)


def test_nothing_that_names_the_patient_is_kept(tmp_path: Path) -> None:
    save_series(tmp_path / f"{SECRET}", hounsfield())
    image = read_volumes(tmp_path / SECRET)
    volume = tinc.compress(image.array, options=tinc.Options(max_error=0).with_facts(image.options()))
    volume.save(tmp_path / "x.tinc")
    for suffix in (".nii", ".nrrd", ".mha"):
        write_image(
            tmp_path / f"x{suffix}", volume, image.spacing, "mm", placement=volume.placement, details=volume.details
        )
    for file in tmp_path.glob("x.*"):
        data = file.read_bytes()
        assert not [word for word in (SECRET, "1234", "19700102", "20231107", "1.2.3", "1.9") if word.encode() in data]
    assert set(volume.provenance) == {"encoder", "psnr", "ssim"} and volume.details.limits == (-160, 240)


@pytest.mark.parametrize("left_out", [[3], [2, 5]])
def test_missing_slices_are_refused(tmp_path: Path, left_out: list[int]) -> None:
    save_series(tmp_path / "ct", hounsfield(), left_out=left_out)
    with pytest.raises(
        ValueError, match="not evenly spaced: 5 mm between .* but 2.5 mm between most; slices are missing"
    ):
        read_volumes(tmp_path / "ct")


@pytest.mark.parametrize("left_out", [[0], [0, 6], [1, 3, 5]])
def test_slices_that_may_be_missing_are_told(tmp_path: Path, left_out: list[int]) -> None:
    """At the ends, or every other one: the places are even, and only the numbers of the images tell it."""
    save_series(tmp_path / "ct", hounsfield(), left_out=left_out)
    with pytest.warns(ReadWarning, match="images may be missing"):
        assert read_volumes(tmp_path / "ct").array.shape[0] == 7 - len(left_out)


def test_doubled_slices(tmp_path: Path) -> None:
    save_series(tmp_path / "ct", hounsfield())
    shutil.copy(tmp_path / "ct" / "003.dcm", tmp_path / "ct" / "copy.dcm")
    with pytest.warns(ReadWarning, match="1 of its 8 images are copies"):
        np.testing.assert_array_equal(read_volumes(tmp_path / "ct").array, hounsfield())
    other = read_back(tmp_path / "ct" / "copy.dcm")
    other.SOPInstanceUID = "1.2.9"
    other.save_as(tmp_path / "ct" / "copy.dcm")
    with pytest.raises(
        ValueError, match=r"1 of its 7 slices are there more than once: 003.dcm, copy.dcm lie at -120.37"
    ):
        read_volumes(tmp_path / "ct")


def test_a_tilted_gantry_is_told_and_kept(tmp_path: Path) -> None:
    save_series(tmp_path / "ct", hounsfield(), tilt=0.7)
    with pytest.warns(ReadWarning, match=r"gantry tilted by 15\.6 degrees"):
        place = read_volumes(tmp_path / "ct").placement
    assert place is not None and place.is_sheared
    np.testing.assert_allclose((place.xyz("LPS") @ [0, 0, 6, 1])[:3], slice_positions(7, 0.7)[6], atol=1e-6)


def test_several_series(tmp_path: Path) -> None:
    save_series(tmp_path / "a", hounsfield())
    save_series(tmp_path / "a" / "more", hounsfield(seed=1), SeriesInstanceUID="1.2.4", SeriesNumber=9)
    with pytest.raises(
        ValueError, match=r"2 series; choose one: --series 0: CT 7 of 12 x 10.*--series 1: CT 7 of 12 x 10"
    ):
        read_volumes(tmp_path / "a")
    np.testing.assert_array_equal(read_volumes(tmp_path / "a", series=1).array, hounsfield(seed=1))
    np.testing.assert_array_equal(read_volumes(tmp_path / "a" / "003.dcm").array, hounsfield())


def test_points_in_time(tmp_path: Path) -> None:
    for time in (0, 1):
        hu = hounsfield(seed=time)
        save_series(tmp_path / str(time), hu, AcquisitionNumber=time + 1)
        for z, file in enumerate(sorted((tmp_path / str(time)).iterdir())):
            (tmp_path / "all").mkdir(exist_ok=True)
            file.rename(tmp_path / "all" / f"{z}-{time}.dcm")
    image = read_volumes(tmp_path / "all")
    assert image.axes == "TZYX"
    np.testing.assert_array_equal(image.array, np.stack([hounsfield(), hounsfield(seed=1)]))
    np.testing.assert_array_equal(image.array[1, 2], hounsfield(seed=1)[2])


@pytest.mark.parametrize(("slope", "intercept"), [("0.37", "-5.5"), ("2", "-7"), ("1", "-1024")])
@pytest.mark.parametrize("signed", [False, True])
def test_values_are_those_of_itk(tmp_path: Path, slope: str, intercept: str, signed: bool) -> None:
    """Slope and intercept, 16 bits and 12 of 16, with something else in the bits above."""
    stored = np.random.default_rng(0).integers(-2000, 2000, (3, 12, 10)).astype(np.int16)
    stored = stored if signed else (stored + 2000).astype(np.uint16)
    (tmp_path / "ct").mkdir()
    for z, position in enumerate(slice_positions(3)):
        dirty = (stored[z] & 0x0FFF) | (0x3000 if z == 1 else 0)
        save_slice(tmp_path / "ct" / f"{z}.dcm", dirty.astype(stored.dtype), position, z + 1, BitsStored=12, HighBit=11,
                   RescaleSlope=slope, RescaleIntercept=intercept)  # fmt: skip
    image, itk = read_volumes(tmp_path / "ct"), sitk.GetArrayFromImage(by_itk(tmp_path / "ct"))
    expected = stored * float(slope) + float(intercept)
    np.testing.assert_allclose(np.asarray(image.array), expected, rtol=1e-15)
    np.testing.assert_allclose(np.asarray(image.array), itk, rtol=1e-6)
    assert np.dtype(image.array.dtype).kind == ("f" if "." in slope else "i")


def test_a_slope_of_its_own_for_each_slice(tmp_path: Path) -> None:
    """As PET has it."""
    (tmp_path / "pet").mkdir()
    for z, position in enumerate(slice_positions(4)):
        save_slice(tmp_path / "pet" / f"{z}.dcm", np.full((5, 6), 100 + z, np.int16), position, z + 1,
                   RescaleSlope=str(0.5 + z), RescaleIntercept="0", Modality="PT")  # fmt: skip
    values = np.asarray(read_volumes(tmp_path / "pet").array)
    assert values[:, 0, 0].tolist() == [(100 + z) * (0.5 + z) for z in range(4)]


def test_many_frames_in_a_file(tmp_path: Path) -> None:
    """An enhanced file, whose frames are not in the order of their places."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    hu, positions = hounsfield(), slice_positions(7)
    order = [3, 0, 6, 1, 5, 2, 4]
    save_slice(tmp_path / "one.dcm", hu[0], positions[0], 1)
    header = read_back(tmp_path / "one.dcm")
    header.NumberOfFrames, header.PixelData = 7, hu[order].astype("<i2").tobytes()
    frames = []
    for z in order:
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = [f"{value:.10g}" for value in positions[z]]
        frame.PlanePositionSequence = Sequence([place])
        frames.append(frame)
    shared, plane, measures, scale = Dataset(), Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient, measures.PixelSpacing = header.ImageOrientationPatient, [0.7, 0.9]
    scale.RescaleSlope, scale.RescaleIntercept = 2, -1
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([plane]), Sequence([measures])
    shared.PixelValueTransformationSequence = Sequence([scale])
    header.SharedFunctionalGroupsSequence = Sequence([shared])
    header.PerFrameFunctionalGroupsSequence = Sequence(frames)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(header, name)
    header.save_as(tmp_path / "many.dcm")
    (tmp_path / "one.dcm").unlink()
    image = read_volumes(tmp_path / "many.dcm")
    np.testing.assert_array_equal(image.array, hu.astype(int) * 2 - 1)
    assert image.placement is not None and image.spacing == pytest.approx((2.5, 0.7, 0.9))
    np.testing.assert_allclose(image.placement.xyz("LPS")[:3, 3], CORNER)


def test_images_without_places_are_told(tmp_path: Path) -> None:
    save_series(tmp_path / "ct", hounsfield(), ImagePositionPatient=None)
    with pytest.warns(ReadWarning, match="say not where they lie; they are taken in their order|no voxel size along z"):
        image = read_volumes(tmp_path / "ct")
    np.testing.assert_array_equal(image.array, hounsfield())
    assert image.placement is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colours"),
     ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "a DICOM segmentation, .* export it as NIfTI or NRRD")],
)  # fmt: skip
def test_what_is_no_volume_is_refused(tmp_path: Path, fields: dict[str, Any], reason: str) -> None:
    save_series(tmp_path / "ct", hounsfield(), **fields)
    with pytest.raises(ValueError, match=reason):
        read_volumes(tmp_path / "ct")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    save_series(tmp_path / "ct", hounsfield())
    path = tmp_path / "ct" / "003.dcm"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"the pixels of 003\.dcm cannot be decoded"):
        np.asarray(read_volumes(tmp_path / "ct").array)
    path.write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(ValueError, match=r"003\.dcm is damaged"):
        read_volumes(tmp_path / "ct")


def test_frames_are_decoded_when_they_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_series(tmp_path / "ct", hounsfield())
    decoded: list[Any] = []
    original = dicom.stored_pixels
    monkeypatch.setattr(dicom, "stored_pixels", lambda frame: decoded.append(frame.file) or original(frame))
    array = read_volumes(tmp_path / "ct").array
    del decoded[:]
    _ = array[3], array[3:5, :2], array[4, 2]
    assert len(decoded) <= 2
    monkeypatch.setattr(dicom, "_CACHE_BYTES", 1)
    np.testing.assert_array_equal(array, hounsfield())


def test_inverted_images_are_said_and_keep_their_look(tmp_path: Path) -> None:
    save_series(tmp_path / "scan", hounsfield(), PhotometricInterpretation="MONOCHROME1")
    with pytest.warns(ReadWarning, match=r"inverted \(MONOCHROME1\): values are those that are stored"):
        image = read_volumes(tmp_path / "scan")
    np.testing.assert_array_equal(image.array[:], hounsfield())
    assert image.details is not None and image.details.colormap == "gray_r"
    volume = tinc.compress(image.array, max_error=3, **image.options())
    assert volume.details.colormap == "gray_r" and volume.details.limits == (-160, 240)
