"""Files that packages ship, and what was wrong with reading their kinds: against their own libraries."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_tinc.errors import ReadWarning
from napari_tinc.io.read import read_image, read_volumes

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")
from dicom_series import hounsfield, save_series, save_slice, slice_positions  # noqa: E402

# nibabel leaves files of MGH and PAR/REC open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning")
NIBABEL = Path(nibabel.__file__).parent / "tests" / "data"
DICOM = Path(pydicom.__file__).parent / "data" / "test_files"


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("example4d+orig.HEAD", (3.0, "second")), ("phantom_EPI_asc_CLEAR_2_1.PAR", (2.0, "second")),
        ("test.mgz", (2.0, "millisecond")), ("minc2_4d.mnc", None),
    ],
)  # fmt: skip
def test_time_steps_are_kept(name: str, time: tuple[float, str] | None) -> None:
    if not (NIBABEL / name).exists():
        pytest.skip("nibabel came without its test data")
    image = read_volumes(NIBABEL / name)
    shown = np.asarray(nibabel.load(NIBABEL / name).dataobj)
    np.testing.assert_array_equal(np.asarray(image.array), shown if name.endswith("mnc") else shown.T)
    assert image.axes == "TZYX" and image.details is not None and image.details.time == time


def test_a_rec_file_beside_a_par_file_is_no_mrc_file(tmp_path: Path) -> None:
    name = "phantom_EPI_asc_CLEAR_2_1"
    if not (NIBABEL / f"{name}.REC").exists():
        pytest.skip("nibabel came without its test data")
    for suffix in ("PAR", "REC"):
        shutil.copy(NIBABEL / f"{name}.{suffix}", tmp_path)
    np.testing.assert_array_equal(
        read_volumes(tmp_path / f"{name}.REC").array, read_volumes(tmp_path / f"{name}.PAR").array
    )
    (tmp_path / f"{name}.REC").unlink()
    with pytest.raises(ValueError, match=r"a part of it is in .*REC, which is not there"):
        read_volumes(tmp_path / f"{name}.PAR")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("scan.dcm.gz", b"\x1f\x8b", r"suffix \.gz are not unpacked; unpack it first"),
        ("a.par", b"0.1 0.2 0.3\n", r"nibabel finds no image in it, though \.par files have one"),
        ("a.img", b"something else", r"nibabel finds no image in it, though \.img files have one"),
        ("a.mat", b"1 0 0 0\n0 1 0 0\n", "it is no file of MATLAB, or damaged"),
    ],
)
def test_files_of_other_kinds_are_refused_in_a_sentence(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_volumes(tmp_path / name)


def test_python_objects_are_refused(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}, None], object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", shapes=objects, values=np.zeros((2, 3, 4)), allow_pickle=True)
    with pytest.raises(ValueError, match="it holds Python objects, expected numbers"):
        read_volumes(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="it holds Python objects, expected numbers"):
        read_volumes(tmp_path / "a.npz:shapes")
    assert read_volumes(tmp_path / "a.npz").array.shape == (2, 3, 4)


@pytest.mark.parametrize(("axes", "hint"), [("YXQ", "YXZ"), ("CYX", "ZYX"), ("QQYX", "CZYX"), ("QYXQ", "CYXZ")])
def test_the_hint_for_axes_leaves_y_and_x_where_they_are(axes: str, hint: str) -> None:
    from napari_tinc.io.chosen import how_to_name

    assert f"--axes {hint}," in how_to_name(axes, (5,) * len(axes))
    assert "single picture in colours" in how_to_name("YXS", (90, 80, 3))


def test_an_axis_of_nexus_without_a_scale(tmp_path: Path) -> None:
    """NeXus calls it ".", which h5py takes for the group itself."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        group = file.create_group("entry/data")
        file.attrs["default"], file["entry"].attrs["default"] = "entry", "data"
        group.attrs["signal"], group.attrs["axes"] = "values", [".", "y", "x"]
        group["values"], group["y"] = np.ones((3, 4, 5)), np.arange(4) * 0.5
    assert read_image(tmp_path / "a.nxs").array.shape == (3, 4, 5)


@pytest.mark.parametrize("turn", [(180, 0), (0, 180), (179.98, 30)])
def test_half_turns_of_a_qform_are_those_of_nibabel(tmp_path: Path, turn: tuple[float, float]) -> None:
    """In float32 three of four numbers do not tell the fourth; it was off by 0.0005, and voxels by millimetres."""
    (a, b), matrix = np.radians(turn), np.eye(4)
    about_z = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    matrix[:3, :3] = np.array(about_z) @ about_x * (0.6, 0.7, 4.0)
    image = nibabel.Nifti1Image(np.zeros((6, 9, 200), np.int16), matrix)
    image.header.set_xyzt_units("mm")
    image.set_sform(matrix, 0)
    image.set_qform(matrix, 1)
    image.to_filename(tmp_path / "a.nii")
    placement = read_volumes(tmp_path / "a.nii").placement
    assert placement is not None
    ends = np.array([[0, 0, 0, 1], [6, 9, 200, 1]]).T
    np.testing.assert_allclose(placement.xyz("RAS") @ ends, nibabel.load(tmp_path / "a.nii").affine @ ends, atol=1e-5)


# --- DICOM -----------------------------------------------------------------------------------------------------------


def test_a_file_beside_damaged_ones_is_read(tmp_path: Path) -> None:
    """One damaged file made every other in its folder unreadable, even of another series."""
    save_series(tmp_path / "ct", hounsfield())
    (tmp_path / "ct" / "zzz.dcm").write_bytes(b"nothing of the kind" * 20)
    with pytest.warns(ReadWarning, match=r"1 files beside 003\.dcm are left out, .*: zzz\.dcm is damaged"):
        np.testing.assert_array_equal(read_volumes(tmp_path / "ct" / "003.dcm").array, hounsfield())
    with pytest.raises(ValueError, match=r"zzz\.dcm is damaged"):
        read_volumes(tmp_path / "ct")


def test_of_copies_the_file_that_is_asked_for_is_read(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        save_slice(tmp_path / f"{name}.dcm", np.full((4, 5), number, np.int16), (0, 0, 0), 1, SOPInstanceUID="1.2.3")
    with pytest.warns(ReadWarning, match="1 of its 2 images are copies"):
        assert np.asarray(read_volumes(tmp_path / "b.dcm").array).max() == 1


def test_signed_and_unsigned_slices_of_one_series(tmp_path: Path) -> None:
    """The dtype of the first slice was taken for all: 40000 became -25536."""
    for z, (value, dtype) in enumerate([(-5, np.int16), (40000, np.uint16)]):
        save_slice(tmp_path / f"{z}.dcm", np.full((4, 5), value, dtype), slice_positions(2)[z], z + 1)
    assert np.asarray(read_volumes(tmp_path).array)[:, 0, 0].tolist() == [-5, 40000]


def test_slices_of_other_pixel_spacing_are_a_series_of_their_own(tmp_path: Path) -> None:
    for z in range(2):
        fields: dict[str, Any] = {"PixelSpacing": [0.7, 0.7 + z / 10]}
        save_slice(tmp_path / f"{z}.dcm", np.zeros((4, 5), np.int16), slice_positions(2)[z], z + 1, **fields)
    with pytest.raises(ValueError, match="it has 2 series; choose one"):
        read_volumes(tmp_path)


def test_deflated_files_are_inflated(tmp_path: Path) -> None:
    shutil.copy(DICOM / "image_dfl.dcm", tmp_path)
    shown = pydicom.dcmread(tmp_path / "image_dfl.dcm").pixel_array
    np.testing.assert_array_equal(np.asarray(read_volumes(tmp_path / "image_dfl.dcm").array)[0], shown)


def test_a_cell_of_a_crystal_that_is_not_rectangular_is_said(tmp_path: Path) -> None:
    mrcfile = pytest.importorskip("mrcfile")
    with mrcfile.new(tmp_path / "a.map") as file:
        file.set_data(np.ones((3, 4, 5), np.float32))
        file.voxel_size, file.header.cellb.gamma = 2, 120
    with pytest.warns(ReadWarning, match="angles of 90, 90, 120 degrees, which are left out"):
        assert read_volumes(tmp_path / "a.map").spacing == (2, 2, 2)


def test_a_single_slice_of_unknown_thickness_is_said(tmp_path: Path) -> None:
    save_slice(tmp_path / "a.dcm", np.zeros((4, 5), np.int16), (1, 2, 3), 1, SliceThickness=None)
    with pytest.warns(ReadWarning, match="single slice of unknown thickness: 1 mm is taken"):
        assert read_volumes(tmp_path / "a.dcm").spacing == (1, 0.7, 0.9)
