"""Reading NIfTI files. Every file is made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from images import SHAPE, SPACING, check_volume, ramp, save_nifti

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


@pytest.mark.parametrize(("slope", "inter", "dtype"), [(1, 0, "int16"), (2, -1024, "float32"), (1, 5, "float32")])
def test_nifti_scaling(tmp_path: Path, slope: float, inter: float, dtype: str) -> None:
    scaled = (ramp(dtype="int16") * slope + inter).astype(dtype)  # nibabel stores what its scaling maps back to this
    save_nifti(tmp_path / "v.nii", scaled.T.astype("int16"), slope, inter)
    stored = np.fromfile(tmp_path / "v.nii", "<i2", offset=352).reshape(SHAPE)
    check_volume(read_image(tmp_path / "v.nii"), SPACING, "millimeter", (stored * slope + inter).astype(dtype))


def test_nifti_is_not_read(tmp_path: Path) -> None:
    save_nifti(tmp_path / "v.nii", ramp(dtype="int16").T)
    array = read_image(tmp_path / "v.nii").array
    assert isinstance(array, np.memmap)
    del array
    save_nifti(tmp_path / "w.nii", ramp((2, *SHAPE), "int16").T, 2, 5)
    scaled = np.fromfile(tmp_path / "w.nii", "<i2", offset=352).reshape(2, *SHAPE) * 2.0 + 5
    view = read_image(tmp_path / "w.nii").array
    assert isinstance(view, AxesView) and isinstance(view.array, np.memmap)
    assert (view.dtype, view.shape) == (np.float32, (2, *SHAPE))
    np.testing.assert_array_equal(view[1, 2:, 3], scaled[1, 2:, 3])


def test_nifti_time_series_and_unknown_unit_code(tmp_path: Path) -> None:
    save_nifti(tmp_path / "t.nii", ramp((6, 5, 4, 2), "int16"))
    assert read_image(tmp_path / "t.nii").axes == "TZYX"
    save_nifti(tmp_path / "one.nii", ramp((6, 5, 4, 1), "int16"))
    content = bytearray((tmp_path / "one.nii").read_bytes())
    content[123] = 99
    (tmp_path / "one.nii").write_bytes(content)
    check_volume(read_image(tmp_path / "one.nii"), SPACING, "micrometer", ramp((6, 5, 4), "int16").T)
