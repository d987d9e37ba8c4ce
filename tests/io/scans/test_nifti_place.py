"""NIfTI files come back with their sform and qform. nibabel writes the originals and reads what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc.errors import ReadWarning
from napari_tinc.io.read import read_volumes
from napari_tinc.io.write import write_image

nibabel = pytest.importorskip("nibabel")
OBLIQUE = np.array([[-0.8, 0.05, 0, 90], [0.05, 0.8, 0.02, -110], [0, 0.02, 2.5, -300], [0, 0, 0, 1]])
VALUES = np.random.default_rng(0).integers(-500, 2000, (12, 10, 9)).astype(np.int16)  # x, y, z


def compressed(path: Path, **options: Any) -> tinc.TincVolume:
    image = read_volumes(path)
    return tinc.compress(image.array, options=tinc.Options(max_error=0, **options).with_facts(image.options()))


def written(volume: tinc.TincVolume, path: Path) -> Any:
    write_image(path, volume, volume.spacing, volume.units, axes=volume.axis_labels, placement=volume.placement,
                details=volume.details, labels=volume.labels)  # type: ignore[arg-type]  # fmt: skip
    return nibabel.load(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (2, 1), (4, 3), (0, 0)])
@pytest.mark.parametrize("differ", [False, True])
def test_both_forms_and_their_codes(tmp_path: Path, suffix: str, codes: tuple[int, int], differ: bool) -> None:
    image = nibabel.Nifti1Image(VALUES, OBLIQUE)
    image.header.set_xyzt_units("mm")
    image.header["cal_max"] = 900
    image.set_sform(OBLIQUE if codes[0] else None, codes[0])
    moved = OBLIQUE + 5 * differ * np.array([[0, 0, 0, 1]] * 3 + [[0] * 4])
    image.set_qform(moved if codes[1] else None, codes[1])
    nibabel.save(image, tmp_path / f"a{suffix}")
    original = nibabel.load(tmp_path / f"a{suffix}")
    back = written(compressed(tmp_path / f"a{suffix}", block=16), tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(back.dataobj, VALUES)
    np.testing.assert_array_equal(back.affine, original.affine)
    kept = ["sform_code", "qform_code", "cal_max"] + ["srow_x", "srow_y", "srow_z"] * bool(codes[0])
    kept += ["quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"] * bool(codes[1])
    for name in kept:
        np.testing.assert_array_equal(back.header[name], original.header[name], name)
    np.testing.assert_array_equal(np.abs(back.header["pixdim"][1:4]), original.header["pixdim"][1:4])


def test_an_image_and_its_labels_overlay_afterwards(tmp_path: Path) -> None:
    """The command line, an oblique affine with a far origin: 1000 voxels are where they were, to 1e-4 mm."""
    from napari_tinc.cli.main import main

    affine = OBLIQUE.copy()
    affine[:3, 3] += 1234.567
    labels = (VALUES > 500).astype(np.int16) * 7
    for name, values, flags in (
        ("ct", VALUES, ["--max-error", "20"]),
        ("seg", labels, ["--max-error", "0", "--labels"]),
    ):
        image = nibabel.Nifti1Image(values, affine)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, tmp_path / f"{name}.nii.gz")
        paths = [str(tmp_path / f"{name}{suffix}") for suffix in (".nii.gz", ".tinc", "-back.nii.gz")]
        assert main(["compress", *paths[:2], *flags]) == 0 and main(["decompress", *paths[1:]]) == 0
        original, back = nibabel.load(paths[0]), nibabel.load(paths[2])
        voxels = np.random.default_rng(1).uniform(0, 500, (1000, 3))
        was, now = (nibabel.affines.apply_affine(each.affine, voxels) for each in (original, back))
        assert np.abs(was - now).max() < 1e-4
    np.testing.assert_array_equal(np.asarray(back.dataobj), labels)
    assert int(back.header["intent_code"]) == 1002 and tinc.open(paths[1]).labels


def test_pixdim_that_contradicts_the_matrix_is_told(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES, np.diag([0.8, 0.8, 0.8, 1]))
    image.header["pixdim"][1:4] = 1
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[80:92] = np.ones(3, "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.warns(ReadWarning, match=r"sizes x, y, z of 1, 1, 1, but its affine of 0\.8, 0\.8, 0\.8, which are"):
        image = read_volumes(tmp_path / "a.nii")
    assert image.spacing == pytest.approx((0.8,) * 3)


def test_time_channels_and_other_units(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 9, (3, 2, 4, 5, 6)).astype(np.float16)
    write_image(tmp_path / "v.nii", values, (0.2, 0.1, 0.1), "inch", axes="tczyx", details=tinc.Options(
        details={"time": (500, "millisecond")}).details)  # fmt: skip
    image = nibabel.load(tmp_path / "v.nii")
    assert image.shape == (6, 5, 4, 3, 2) and image.header.get_xyzt_units() == ("mm", "msec")
    np.testing.assert_allclose(image.header.get_zooms(), (2.54, 2.54, 5.08, 500, 1), rtol=1e-6)
    back = read_volumes(tmp_path / "v.nii")
    assert back.axes == "CTZYX" and back.details is not None and back.details.time == (500, "millisecond")
    np.testing.assert_array_equal(np.asarray(back.array), values.swapaxes(0, 1))
