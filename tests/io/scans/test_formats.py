"""Formats of scanners and microscopes, written by their libraries and read here, and written here and read by them."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_tinc.errors import ReadWarning
from napari_tinc.format.details import Details
from napari_tinc.format.placement import Placement, rotation_of
from napari_tinc.io.read import read_volumes
from napari_tinc.io.write import write_image

nrrd = pytest.importorskip("nrrd")
sitk = pytest.importorskip("SimpleITK")
mrcfile = pytest.importorskip("mrcfile")
nibabel = pytest.importorskip("nibabel")
VALUES = np.random.default_rng(0).integers(-500, 2000, (9, 8, 7)).astype(np.int16)
TURNED = rotation_of((np.cos(0.3), 0.5 * np.sin(0.3), 0.5 * np.sin(0.3), np.sqrt(0.5) * np.sin(0.3)))
SPACING = (2.5, 0.7, 0.8)
MATRIX = np.eye(4)
MATRIX[:3, :3], MATRIX[:3, 3] = TURNED @ np.diag(SPACING), (-300.125, 90.5, -110)
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def itk_image(values: np.ndarray = VALUES) -> Any:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((1.1, 2.2, -3.3))
    image.SetDirection(TURNED.ravel().tolist())
    return image


@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nrrd", "a.nhdr"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_itk_writes(tmp_path: Path, name: str, packed: bool) -> None:
    original = itk_image()
    sitk.WriteImage(original, str(tmp_path / name), packed)
    image = read_volumes(tmp_path / name)
    np.testing.assert_array_equal(image.array, VALUES)
    np.testing.assert_array_equal(image.array[2:5, 1, ::3], VALUES[2:5, 1, ::3])
    assert image.array.dtype == np.int16 and image.spacing == pytest.approx(SPACING) and image.units == "millimeter"
    assert image.placement is not None
    for voxel in np.random.default_rng(0).integers(0, 7, (1000, 3)).tolist():
        was = original.TransformIndexToPhysicalPoint(voxel)
        np.testing.assert_allclose((image.placement.xyz("LPS") @ [*voxel, 1])[:3], was, atol=1e-9)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".nii.gz"])
@pytest.mark.parametrize("space", ["RAS", "LPS"])
@pytest.mark.parametrize(("unit", "factor"), [("millimeter", 1.0), ("micrometer", 1e-3)])
def test_what_itk_reads(tmp_path: Path, suffix: str, space: str, unit: str, factor: float) -> None:
    place = Placement(affine=MATRIX.tolist(), space=space)
    write_image(tmp_path / f"a{suffix}", VALUES, place.spacing, unit, placement=place)
    image = sitk.ReadImage(str(tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VALUES)
    scale = 1.0 if suffix == ".nii.gz" and unit == "micrometer" else factor  # ITK's NIfTI converts units itself
    matrix = place.xyz("LPS", factor)
    for voxel in ([0, 0, 0], [3, 4, 5]):
        found = np.array(image.TransformIndexToPhysicalPoint(voxel)) * (factor / scale if scale != factor else 1)
        np.testing.assert_allclose(found, (matrix @ [*voxel, 1])[:3] if scale == factor else found, atol=1e-4)
    back = read_volumes(tmp_path / f"a{suffix}")
    assert back.placement is not None and back.units in ("millimeter", "micrometer")
    again = back.placement.xyz("LPS", 1e-3 if back.units == "micrometer" else 1.0)
    np.testing.assert_allclose(again, matrix, atol=2e-5 * factor)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".nii", ".h5"])
@pytest.mark.parametrize("dtype", [*DTYPES, ">i2"])
def test_dtypes_come_back(tmp_path: Path, suffix: str, dtype: str) -> None:
    values = np.abs(VALUES).astype(dtype)
    write_image(tmp_path / f"a{suffix}", values, (2, 1, 1), "mm")
    back = read_volumes(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.array, values)
    assert np.dtype(back.array.dtype).newbyteorder("=") == values.dtype.newbyteorder("=")


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "float16", "float32"])
def test_mrc_comes_back(tmp_path: Path, dtype: str) -> None:
    values = np.abs(VALUES % 100).astype(dtype)
    place = Placement(affine=[[13, 0, 0, -5], [0, 12, 0, 0], [0, 0, 11, 7]])
    write_image(tmp_path / "a.mrc", values, (13, 12, 11), "angstrom", placement=place)
    mrcfile.validate(tmp_path / "a.mrc")
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        np.testing.assert_array_equal(mrc.data, values)
        assert mrc.header.dmean == pytest.approx(values.mean(), rel=1e-3)
        assert mrc.header.rms == pytest.approx(values.astype(float).std(), rel=1e-3)
    back = read_volumes(tmp_path / "a.mrc")
    assert back.spacing == pytest.approx((13, 12, 11), rel=1e-6) and back.units == "angstrom"
    assert back.placement is not None and back.placement.matrix[:3, 3].tolist() == [-5, 0, 7]


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".mrc"])
def test_dtypes_that_a_format_has_not_are_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match=r"has no complex64, only .*int16.*: choose another format"):
        write_image(tmp_path / f"a{suffix}", VALUES.astype(np.complex64), None, None)
    assert not list(tmp_path.iterdir())


def test_mrc_with_columns_along_another_axis(tmp_path: Path) -> None:
    """Maps of EMDB have any order; nxstart counts columns, whatever axis they run along."""
    with mrcfile.new(tmp_path / "a.map") as mrc:
        mrc.set_data(VALUES.astype(np.float32))
        mrc.voxel_size = (1.5, 2.5, 3.5)
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = 2, 1, 3
        mrc.header.nxstart = -4
    image = read_volumes(tmp_path / "a.map")
    np.testing.assert_array_equal(image.array, VALUES.swapaxes(1, 2))
    assert image.spacing == (3.5, 2.5, 1.5) and image.placement is not None
    assert image.placement.matrix[:3, 3].tolist() == [0, -10, 0]


@pytest.mark.parametrize(("suffix", "pack"), [(".map.gz", gzip.compress), (".mrc.bz2", bz2.compress), (".st", bytes)])
def test_packed_mrc(tmp_path: Path, suffix: str, pack: Any) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(VALUES)
    (tmp_path / f"b{suffix}").write_bytes(pack((tmp_path / "a.mrc").read_bytes()))
    np.testing.assert_array_equal(read_volumes(tmp_path / f"b{suffix}").array, VALUES)


def test_bytes_of_imod_are_not_signed(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(np.full((3, 4, 5), -1, np.int8))
    data = bytearray((tmp_path / "a.mrc").read_bytes())
    data[152:160] = np.array([1146047817, 0], "<i4").tobytes()
    (tmp_path / "a.mrc").write_bytes(data)
    with pytest.warns(ReadWarning, match="0 to 255, as IMOD wrote them"):
        assert np.unique(read_volumes(tmp_path / "a.mrc").array).tolist() == [255]


@pytest.mark.parametrize("encoding", ["raw", "gzip", "ascii"])
@pytest.mark.parametrize("space", ["left-posterior-superior", "right-anterior-superior", "left-anterior-superior", ""])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_pynrrd_writes(tmp_path: Path, encoding: str, space: str) -> None:
    xyz = np.vstack([[0.7, 0.1, 0], [-0.1, 0.7, 0], [0, 0, 2.5]])
    header = {"space directions": xyz, "space origin": [1, 2, 3], "encoding": encoding}
    header |= {"space": space} if space else {"space dimension": 3}
    nrrd.write(str(tmp_path / "a.nrrd"), VALUES, header, index_order="C")
    image = read_volumes(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(image.array, VALUES)
    assert isinstance(image.array, np.memmap) == (encoding == "raw")
    assert image.placement is not None and image.units == ("millimeter" if space else None)
    signs = {"left-anterior-superior": [-1, 1, 1]}.get(space, [1, 1, 1])
    np.testing.assert_allclose((image.placement.xyz() @ [1, 2, 3, 1])[:3], ([1, 2, 3] @ xyz + [1, 2, 3]) * signs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_segments_of_3d_slicer(tmp_path: Path) -> None:
    labels = (VALUES > 0).astype(np.uint8) * 3
    header = {"Segment0_Name": "liver", "Segment0_LabelValue": "3", "Segment0_Color": "1 0.5 0", "encoding": "gzip"}
    nrrd.write(str(tmp_path / "a.seg.nrrd"), labels, header, index_order="C")
    image = read_volumes(tmp_path / "a.seg.nrrd")
    assert image.labels and image.details is not None and image.details.objects == ((3, "liver", "#ff8000"),)
    write_image(tmp_path / "b.seg.nrrd", labels, None, None, labels=True, details=image.details)
    back = nrrd.read_header(str(tmp_path / "b.seg.nrrd"))
    assert (back["Segment0_Name"], back["Segment0_LabelValue"]) == ("liver", "3")


def test_series_in_four_axes(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 99, (3, 4, 5, 6)).astype(np.uint8)
    for suffix, axes in ((".nrrd", "TZYX"), (".mha", "TZYX"), (".h5", "TZYX"), (".mrc", "QZYX")):
        path = tmp_path / f"a{suffix}"
        write_image(path, values, (2, 1, 1), "um", axes="tzyx", details=Details(time=(2.5, "second")))
        image = read_volumes(path)
        assert image.axes == axes
        np.testing.assert_array_equal(image.array, values)


def test_four_dimensions_of_space(tmp_path: Path) -> None:
    values = np.arange(3 * 4 * 5 * 6, dtype="i2").reshape(3, 4, 5, 6)
    original = sitk.GetImageFromArray(values, isVector=False)
    original.SetSpacing((0.5, 0.7, 2.0, 3.0))
    original.SetOrigin((1.0, 2.0, 3.0, 4.0))
    sitk.WriteImage(original, str(tmp_path / "a.nrrd"))
    with pytest.warns(ReadWarning, match="four dimensions: the step along the fourth, 3, is not kept"):
        image = read_volumes(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(image.array, values)
    assert image.axes == "QZYX" and image.spacing == pytest.approx((2, 0.7, 0.5))
    assert image.placement is not None and image.placement.matrix[:3, 3].tolist() == [3, 2, 1]
    turned = np.eye(4)
    turned[2:, 2:] = [[0.8, -0.6], [0.6, 0.8]]  # z and the fourth
    original.SetDirection(turned.ravel().tolist())
    sitk.WriteImage(original, str(tmp_path / "b.nrrd"))
    with pytest.warns(ReadWarning, match="spacing and place are not kept: its space directions are"):
        assert read_volumes(tmp_path / "b.nrrd").spacing is None


@pytest.mark.parametrize("worst", [np.nan, np.inf])
def test_the_header_of_an_mrc_file_is_of_finite_values(tmp_path: Path, worst: float) -> None:
    values = VALUES.astype("f4")
    values[::2, 0] = worst
    write_image(tmp_path / "a.mrc", values, None, None)
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        finite, header = values[np.isfinite(values)].astype(float), mrc.header
        assert (header.dmin, header.dmax) == (finite.min(), finite.max())
        assert header.dmean == pytest.approx(finite.mean()) and header.rms == pytest.approx(finite.std())
    write_image(tmp_path / "b.mrc", np.full_like(values, worst), None, None)
    with mrcfile.open(tmp_path / "b.mrc") as mrc:
        assert (mrc.header.dmin, mrc.header.dmax, mrc.header.dmean, mrc.header.rms) == (0, -1, -2, -1)


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("MGHImage", ".mgz"), ("MGHImage", ".mgh"), ("Spm99AnalyzeImage", ".img"), ("AnalyzeImage", ".img"),
     ("Nifti1Pair", ".img"), ("Nifti1Pair", ".hdr")],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_nibabel_writes(tmp_path: Path, kind: str, suffix: str) -> None:
    affine = np.diag([-0.8, 0.7, 2.5, 1]) if "Analyze" in kind else Placement(affine=MATRIX.tolist(), space="RAS").xyz()
    affine[:3, 3] = 5, 6, 7
    nibabel.save(getattr(nibabel, kind)(VALUES.T, affine), tmp_path / f"a{suffix}")
    image = read_volumes(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(np.asarray(image.array), VALUES)
    assert image.spacing == pytest.approx(SPACING if "Analyze" not in kind else (2.5, 0.7, 0.8), rel=1e-5)
    if kind == "AnalyzeImage":
        assert image.placement is None  # it has no place for it
    else:
        assert image.placement is not None
        np.testing.assert_allclose(image.placement.xyz("RAS"), affine, atol=1e-5)


def test_real_files_of_nibabel() -> None:
    """Those of its tests that are volumes; the values are its own."""
    folder = Path(nibabel.__file__).parent / "tests" / "data"
    names = ("tiny.mnc", "small.mnc", "minc2_1_scale.mnc", "scaled+tlrc.BRIK", "test.mgz", "anatomical.nii")
    there = [folder / name for name in names if (folder / name).exists()]
    for path in there:
        image, original = read_volumes(path), nibabel.load(path)
        values = np.asarray(original.dataobj)
        values = np.squeeze(values if path.suffix == ".mnc" else values.T)
        np.testing.assert_array_equal(np.asarray(image.array), values, path.name)
        assert image.placement is not None
        first = (image.placement.xyz("RAS") @ [0, 0, 0, 1])[:3]
        np.testing.assert_allclose(first, original.affine[:3, 3], atol=1e-6)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.mrc", "a.mgz", "a.dcm", "a.mnc", "a.nhdr"])
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind\n" * 40)
    with pytest.raises(ValueError, match=f"cannot read .*{name}") as caught:
        read_volumes(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.mrc"])
def test_files_that_are_cut_short_are_refused(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / name, VALUES, None, None)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot read|ERROR|Error|expected|size"):
        np.asarray(read_volumes(tmp_path / name).array)
