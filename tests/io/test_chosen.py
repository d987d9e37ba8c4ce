"""What a caller says of a file: its axes, a channel, a series, that it has labels."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from images import SHAPE, ramp

from napari_tinc.cli.main import main
from napari_tinc.errors import ReadWarning
from napari_tinc.io.read import read_image, read_volumes
from napari_tinc.io.units import spacing_and_unit


def test_axes_are_what_the_caller_says(tmp_path: Path) -> None:
    metadata = {"axes": "TYX", "unit": "mm", "spacing": 3.0}
    tifffile.imwrite(tmp_path / "t.tif", ramp(), imagej=True, metadata=metadata, resolution=(4, 2))
    with pytest.raises(ValueError, match=r"points in time.* are slices, say so with --axes ZYX"):
        read_volumes(tmp_path / "t.tif")
    image = read_volumes(tmp_path / "t.tif", axes="zyx")
    assert (image.axes, image.spacing) == ("ZYX", (3, 0.5, 0.25))
    np.testing.assert_array_equal(image.array, ramp())
    turned = read_volumes(tmp_path / "t.tif", axes="XZY")
    assert turned.spacing == (0.5, 0.25, 3)
    np.testing.assert_array_equal(turned.array, ramp().transpose(1, 2, 0))
    for axes, problem in (("CZYX", "names 4 axes, but the image has 3: TYX, 4 x 5 x 6"), ("ZZX", "different letters")):
        with pytest.raises(ValueError, match=problem):
            read_image(tmp_path / "t.tif", axes=axes)


def test_axes_of_length_one_may_be_left_out(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", ramp((1, 4, 1, 5, 6)))
    np.testing.assert_array_equal(read_volumes(tmp_path / "v.npy", axes="ZYX").array, ramp())


def test_colours_are_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "v.tif", ramp((*SHAPE, 3), "u1"), photometric="rgb")
    with pytest.raises(ValueError, match=r"its voxels are colours: --axes ZYXC .*--channel 0"):
        read_volumes(tmp_path / "v.tif")
    planar = {"photometric": "rgb", "planarconfig": "separate"}
    tifffile.imwrite(tmp_path / "planar.tif", ramp((4, 3, 5, 6), "u1"), **planar)
    with pytest.raises(ValueError, match="its voxels are colours: --axes ZCYX"):
        read_volumes(tmp_path / "planar.tif")
    array = ramp((*SHAPE, 3), "u1")
    np.testing.assert_array_equal(read_volumes(tmp_path / "v.tif", axes="ZYXC").array, np.moveaxis(array, -1, 0))
    np.testing.assert_array_equal(read_volumes(tmp_path / "v.tif", channel=1).array, array[..., 1])


def test_one_channel(tmp_path: Path) -> None:
    metadata = {"axes": "CZYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    array = ramp((2, *SHAPE))
    tifffile.imwrite(tmp_path / "v.ome.tif", array, metadata=metadata, photometric="minisblack")
    for channel in (1, "1", "GFP"):
        image = read_volumes(tmp_path / "v.ome.tif", channel=channel)
        assert (image.axes, image.channels) == ("ZYX", [])
        np.testing.assert_array_equal(image.array, array[1])
        np.testing.assert_array_equal(image.array[1:3, 2], array[1, 1:3, 2])
    with pytest.raises(ValueError, match="it has 2 channels, 0 to 1: DAPI, GFP"):
        read_image(tmp_path / "v.ome.tif", channel=2)
    metadata = {"axes": "CZYX", "Channel": {"Name": ["GFP", "GFP"]}}
    tifffile.imwrite(tmp_path / "w.ome.tif", array, metadata=metadata, photometric="minisblack")
    with pytest.raises(ValueError, match="channels 0, 1 are called so: give the number"):
        read_image(tmp_path / "w.ome.tif", channel="GFP")
    np.testing.assert_array_equal(read_image(tmp_path / "w.ome.tif", channel="1").array, array[1])
    metadata = {"axes": "CZYX", "Channel": {"Name": ["1", "0"]}}
    tifffile.imwrite(tmp_path / "n.ome.tif", array, metadata=metadata, photometric="minisblack")
    with pytest.warns(ReadWarning, match="is taken as a number"):
        np.testing.assert_array_equal(read_image(tmp_path / "n.ome.tif", channel="1").array, array[1])
    np.save(tmp_path / "v.npy", ramp())
    with pytest.raises(ValueError, match="its axes are ZYX, without channels"):
        read_image(tmp_path / "v.npy", channel=0)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64", "bool"])
def test_labels_from_the_command_line_are_exact_and_marked(tmp_path: Path, run_tinc: Any, dtype: str) -> None:
    labels = (np.arange(16**3).reshape(16, 16, 16) % 7).astype(dtype)
    np.save(tmp_path / "v.npy", labels)
    run_tinc("compress", tmp_path / "v.npy", tmp_path / "v.tinc", "--labels")
    import napari_tinc as tinc

    volume = tinc.open(tmp_path / "v.tinc")
    assert volume.error_bound == 0 and volume.labels
    np.testing.assert_array_equal(volume, labels)
    run_tinc("verify", tmp_path / "v.tinc", "--against", tmp_path / "v.npy")


def test_labels_that_are_none_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for array, problem in ((ramp() * 0.5, "a label is 0.5"), (ramp() * np.nan, "expected labels")):
        np.save(tmp_path / "v.npy", array)
        assert main(["compress", str(tmp_path / "v.npy"), str(tmp_path / "v.tinc"), "--labels"]) == 1
        assert problem in capsys.readouterr().err
    np.save(tmp_path / "v.npy", ramp())
    assert main(["compress", str(tmp_path / "v.npy"), str(tmp_path / "v.tinc"), "--labels", "--ratio", "8"]) == 1
    assert "expected --max-error 0: labels must be exact" in capsys.readouterr().err


@pytest.fixture
def run_tinc(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: object) -> str:
        assert main(list(map(str, arguments))) == 0, capsys.readouterr().err
        return capsys.readouterr().err

    return run


# --- voxel sizes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "expected", "told"),
    [
        ([(None, "µm"), (2, "µm"), (1, "µm")], ((1, 2, 1), "micrometer"), "no voxel size along z, 1 is taken"),
        ([(0, "µm"), (2, "µm"), (1, "µm")], ((1, 2, 1), "micrometer"), "no voxel size along z"),
        ([(float("nan"), "mm"), (2, "mm"), (1, "mm")], ((1, 2, 1), "millimeter"), "no voxel size along z"),
        ([(3, None), (2, "mm"), (1, "mm")], ((3, 2, 1), "millimeter"), "along z has no unit"),
        ([(3, "pixel"), (2, "mm"), (1, "mm")], ((3, 2, 1), "millimeter"), "along z has no unit"),
        ([(3, "mm"), (2, "mm"), (1, None)], ((3, 2, 1), "millimeter"), "along x has no unit"),
        ([(3, "parrots"), (2, "parrots"), (1, "parrots")], ((3, 2, 1), None), "unit 'parrots'.* is left out"),
        ([("0,5", "mm"), (2, "mm"), (1, "mm")], ((0.5, 2, 1), "millimeter"), ""),
        ([("much", "mm"), (2, "mm"), (1, "mm")], ((1, 2, 1), "millimeter"), "no voxel size along z"),
        ([(3, "mm"), (2, "mm"), (0, "mm")], (None, None), "voxel sizes are left out"),
        ([(3, "mm"), (2, "mm"), (1e-20, "mm")], (None, None), "voxel sizes are left out"),
        ([(2, "mm"), (1, "mm")], (None, None), "expected numbers along z, y, x"),
        ([(None, "mm"), (None, "mm"), (None, "mm")], (None, None), ""),
        ([(0, None), (0, None), (0, None)], (None, None), ""),
        ([], (None, None), ""),
        ([(300, "nm"), (2, "µm"), (1, "µm")], ((0.3, 2, 1), "micrometer"), ""),
    ],
)
def test_voxel_sizes_are_kept_or_said(sizes: Any, expected: Any, told: str) -> None:
    if told:
        with pytest.warns(ReadWarning, match=told):
            found = spacing_and_unit(sizes)
    else:
        found = spacing_and_unit(sizes)
    assert found == (expected[0] and pytest.approx(expected[0]), expected[1])


def test_labels_that_a_nifti_has_as_floats(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    labels = np.random.default_rng(3).integers(0, 60, (6, 7, 8)).astype("f4")
    image = nibabel.Nifti1Image(labels.T, np.eye(4))
    image.header.set_intent("label")
    nibabel.save(image, tmp_path / "v.nii")
    found = read_image(tmp_path / "v.nii")
    assert found.labels and np.dtype(found.array.dtype) == "int32"
    np.testing.assert_array_equal(found.array[:], labels)


# --- axes of length one ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["npy", "tif", "h5", "zarr"])
@pytest.mark.parametrize(
    ("shape", "axes", "lengths"),
    [
        ((12, 1, 5, 6), "ZYX", (12, 5, 6)),
        ((4, 5, 6, 1), "ZYX", (4, 5, 6)),
        ((2, 4, 1, 5, 6), "QZYX", (2, 4, 5, 6)),
        ((1, 4, 1, 5, 6), "ZYX", (4, 5, 6)),
        ((1, 5, 6, 1), "ZYX", (1, 5, 6)),
    ],
)
def test_unnamed_axes_of_length_one_are_no_slices(
    tmp_path: Path, suffix: str, shape: tuple[int, ...], axes: str, lengths: tuple[int, ...]
) -> None:
    file, array = tmp_path / f"v.{suffix}", ramp(shape)
    if suffix == "npy":
        np.save(file, array)
    elif suffix == "tif":
        tifffile.imwrite(file, array, photometric="minisblack")
    elif suffix == "h5":
        with pytest.importorskip("h5py").File(file, "w") as opened:
            opened["data"] = array
    else:
        pytest.importorskip("zarr").create_array(file, data=array)
    with pytest.warns(ReadWarning, match=r"an axis of length one is left out: .* x .*--axes"):
        image = read_image(file)
    assert image.axes == axes
    np.testing.assert_array_equal(image.array, array.reshape(lengths))


def test_named_or_leading_axes_of_length_one_are_what_they_are(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", ramp((12, 1, 5, 6)), photometric="minisblack", metadata={"axes": "TZYX"})
    np.save(tmp_path / "v.npy", ramp((12, 1, 5, 6)))
    for image in (read_image(tmp_path / "t.tif"), read_image(tmp_path / "v.npy", axes="TZYX")):
        assert (image.axes, image.array.shape) == ("TZYX", (12, 1, 5, 6))
    for shape, kept in (((1, 4, 5, 6), (4, 5, 6)), ((1, 1, 5, 6), (1, 5, 6))):
        np.save(tmp_path / "v.npy", ramp(shape))
        assert read_image(tmp_path / "v.npy").array.shape == kept


# --- resolution of plain TIFFs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resolution", "unit", "spacing", "name"),
    [
        ((20, 40), "CENTIMETER", (1, 0.25, 0.5), "millimeter"),
        ((25.4, 50.8), "INCH", (1, 0.5, 1), "millimeter"),
        ((1 / 0.000026, 1 / 0.000013), "CENTIMETER", (1, 0.13, 0.26), "micrometer"),
        ((72, 72), "INCH", None, None),
        ((28.35, 28.35), "CENTIMETER", None, None),
        ((300, 300), "INCH", None, None),
        ((96, 96), "NONE", None, None),
        ((13, 13), "NONE", None, None),
        ((1, 1), "INCH", None, None),
    ],
)
def test_the_resolution_of_a_plain_tiff(
    tmp_path: Path, resolution: tuple[float, float], unit: str, spacing: Any, name: str | None
) -> None:
    tifffile.imwrite(
        tmp_path / "v.tif", ramp(), resolution=resolution, resolutionunit=unit, metadata=None, photometric="minisblack"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ReadWarning)
        image = read_image(tmp_path / "v.tif")
    assert (image.spacing, image.units) == (spacing, name)
    said = [str(one.message) for one in caught if one.category is ReadWarning]
    assert ["no voxel size along z" in text for text in said] == [True] * (spacing is not None)


def test_fixed_point_ratios_of_imagej_have_no_noise(tmp_path: Path) -> None:
    """ImageJ writes pixels per unit in millionths."""
    metadata = {"axes": "ZYX", "unit": "um", "spacing": 0.4}
    ratio = (round(1e6 / 0.13), 1000000)
    tifffile.imwrite(tmp_path / "v.tif", ramp(), imagej=True, metadata=metadata, resolution=(ratio, ratio))
    assert read_image(tmp_path / "v.tif").spacing == (0.4, 0.13, 0.13)
