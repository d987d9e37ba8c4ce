"""Reading NIfTI files. Every file is made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from images import SHAPE, SPACING, check_volume, ramp, save_nifti

from napari_tinc.errors import ReadWarning
from napari_tinc.io.arrays import AxesView
from napari_tinc.io.read import read_image


@pytest.mark.parametrize("name", ["brain.nii", "brain.nii.gz"])
@pytest.mark.parametrize(
    ("unit", "units"), [("mm", "millimeter"), ("micron", "micrometer"), ("meter", "meter"), ("unknown", None)]
)
def test_nifti(tmp_path: Path, name: str, unit: str, units: str | None) -> None:
    save_nifti(tmp_path / name, ramp(dtype="int16").T, unit=unit)
    image = read_image(tmp_path / name)
    check_volume(image, SPACING, units, ramp(dtype="int16"))
    assert image.spacing == SPACING  # not 0.28999999165534973
    assert image.name == "brain"


@pytest.mark.parametrize(
    ("stored", "slope", "inter", "dtype"),
    [
        ("int16", 1, 0, "int16"),
        ("int16", 2, -1024, "int16"),
        ("int16", 1000, 5, "int32"),
        ("uint8", 1, -200, "int16"),
        ("uint16", 1, -200, "uint16"),  # none of these values is below 0, though others might be
        ("int32", 1, -5, "int32"),
        ("int32", 2**28, 7, "float64"),
        ("int16", 0.5, 3, "float32"),
        ("int16", 0.0123, -7.5, "float64"),
        ("int32", 0.5, 0, "float64"),
        ("float32", 2, 1, "float64"),
        ("int64", 3, -1, "int16"),
    ],
)
def test_nifti_scaling(tmp_path: Path, stored: str, slope: float, inter: float, dtype: str) -> None:
    """Values are what nibabel shows, in float64; a float32 of them was "proved bit for bit" once."""
    nibabel = pytest.importorskip("nibabel")
    numbers = ramp((*SHAPE[:2], 30), stored)[..., 24:]
    save_nifti(tmp_path / "v.nii", numbers.T, unit="mm")
    content = bytearray((tmp_path / "v.nii").read_bytes())
    content[112:120] = np.array([slope, inter], "<f4").tobytes()
    if stored == "uint16":
        content[352:] = (numbers + 200).astype(stored).tobytes()
    (tmp_path / "v.nii").write_bytes(content)
    shown = nibabel.load(tmp_path / "v.nii").get_fdata().T
    array = read_image(tmp_path / "v.nii").array
    assert array.dtype == dtype
    np.testing.assert_array_equal(np.asarray(array, np.float64), shown)
    if dtype == "float64" and slope != 2**28:
        rough = read_image(tmp_path / "v.nii", precise=False).array
        assert rough.dtype == np.float32
        np.testing.assert_array_equal(rough, shown.astype(np.float32))


def test_nifti_is_not_read(tmp_path: Path) -> None:
    save_nifti(tmp_path / "v.nii", ramp(dtype="int16").T)
    array = read_image(tmp_path / "v.nii").array
    assert isinstance(array, np.memmap)
    del array
    save_nifti(tmp_path / "w.nii", ramp((2, *SHAPE), "int16").T, 0.3, 5)
    slope = float(np.float32(0.3))
    scaled = np.fromfile(tmp_path / "w.nii", "<i2", offset=352).reshape(2, *SHAPE) * slope + 5
    view = read_image(tmp_path / "w.nii").array
    assert isinstance(view, AxesView) and isinstance(view.array, np.memmap)
    assert (view.dtype, view.shape) == (np.float64, (2, *SHAPE))
    np.testing.assert_array_equal(view[1, 2:, 3], scaled[1, 2:, 3])


@pytest.mark.parametrize(("fields", "name"), [("RGB", "v.nii.gz"), ("RGB", "v.nii"), ("RGBA", "v.nii")])
def test_nifti_colours_are_channels(tmp_path: Path, fields: str, name: str) -> None:
    nibabel = pytest.importorskip("nibabel")
    colours = np.zeros(SHAPE[::-1], [(field, "u1") for field in fields])
    for number, field in enumerate(fields):
        colours[field] = ramp(dtype="u1").T + number
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), tmp_path / name)
    image = read_image(tmp_path / name)
    assert (image.axes, image.array.shape) == ("CZYX", (len(fields), *SHAPE))
    assert [channel["name"] for channel in image.channels] == ["red", "green", "blue", "alpha"][: len(fields)]
    for number, field in enumerate(fields):
        np.testing.assert_array_equal(image.array[number], colours[field].T)


def test_nifti_labels_are_labels(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(ramp(dtype="int16").T, np.eye(4))
    image.to_filename(tmp_path / "v.nii")
    assert not read_image(tmp_path / "v.nii").labels
    image.header.set_intent("label")
    image.to_filename(tmp_path / "v.nii")
    assert read_image(tmp_path / "v.nii").labels


def test_nifti_files_that_are_no_volumes_say_what_they_are(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    axes = nibabel.cifti2.SeriesAxis(0, 1, 3), nibabel.cifti2.BrainModelAxis.from_mask(np.ones(4), name="CORTEX_LEFT")
    nibabel.Cifti2Image(np.zeros((3, 4)), axes).to_filename(tmp_path / "v.dtseries.nii")
    with pytest.raises(ValueError, match="it is a CIFTI file: its values lie on surfaces of a brain, not in a volume"):
        read_image(tmp_path / "v.dtseries.nii")
    save_nifti(tmp_path / "v.nii.gz", ramp(dtype="int16"))
    (tmp_path / "v.nii.gz").rename(tmp_path / "v.nii")
    with pytest.raises(ValueError, match=r"it is compressed: call it \.nii\.gz"):
        read_image(tmp_path / "v.nii")


def test_nifti_time_series_and_unknown_unit_code(tmp_path: Path) -> None:
    save_nifti(tmp_path / "t.nii", ramp((6, 5, 4, 2), "int16"))
    assert read_image(tmp_path / "t.nii").axes == "TZYX"
    save_nifti(tmp_path / "one.nii", ramp((6, 5, 4, 1), "int16"))
    content = bytearray((tmp_path / "one.nii").read_bytes())
    content[123] = 99
    (tmp_path / "one.nii").write_bytes(content)
    check_volume(read_image(tmp_path / "one.nii"), SPACING, "micrometer", ramp((6, 5, 4), "int16").T)


def test_voxel_sizes_are_those_of_the_affine(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(ramp(dtype="int16").T, np.diag([0.8, 0.8, 2.5, 1]))
    image.header.set_zooms((1, 1, 1))
    content = image.to_bytes()
    assert nibabel.Nifti1Image.from_bytes(content).header.get_zooms() == (1, 1, 1)
    (tmp_path / "v.nii").write_bytes(content)
    with pytest.warns(ReadWarning, match=r"voxel sizes x, y, z of 1, 1, 1, but its affine of 0\.8, 0\.8, 2\.5"):
        assert read_image(tmp_path / "v.nii").spacing == (2.5, 0.8, 0.8)


@pytest.mark.parametrize(("slope", "intercept"), [(1e16, 0), (1e16, 1), (1e30, -5)])
def test_values_that_float64_rounds_are_those_of_nibabel_and_said(
    tmp_path: Path, slope: float, intercept: float
) -> None:
    nibabel = pytest.importorskip("nibabel")
    save_nifti(tmp_path / "v.nii", ramp(dtype="int16").T - 60)
    content = bytearray((tmp_path / "v.nii").read_bytes())
    content[112:120] = np.array([slope, intercept], "<f4").tobytes()  # where nibabel would rescale what is stored
    (tmp_path / "v.nii").write_bytes(content)
    with pytest.warns(ReadWarning, match="the values are rounded to float64, as other programs show them"):
        found = read_image(tmp_path / "v.nii").array[:]
    np.testing.assert_array_equal(found, nibabel.load(tmp_path / "v.nii").get_fdata().T)
