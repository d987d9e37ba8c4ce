"""Reading OME-Zarr as other programs write it: all versions, labels, plates, zip files, servers. Written by hand."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from images import SHAPE, check_volume, ramp
from server import served
from zarr_by_hand import axes_of, level, write_array, write_group, write_image

from napari_tinc.cli.main import main
from napari_tinc.decoding.volume import open as open_tinc
from napari_tinc.errors import ReadWarning
from napari_tinc.io.read import read_image, read_volumes

pytest.importorskip("zarr")

SCALE = [2.0, 0.5, 0.25]
STEP = {"type": "scale", "scale": SCALE, "input": "0", "output": "intrinsic"}
SYSTEM = {"name": "intrinsic", "axes": axes_of("zyx")}
OTHER = {"name": "turned", "axes": axes_of("xyz")}


@pytest.mark.parametrize(
    ("image", "leading", "spacing"),
    [
        ({"version": "0.1"}, 2, None),
        ({"version": "0.2"}, 2, None),
        ({}, 2, None),
        ({"version": "0.3", "axes": ["c", "z", "y", "x"]}, 1, None),
        ({"version": "0.4", "axes": axes_of("czyx"), "datasets": [level([1, *SCALE])]}, 1, SCALE),
        ({"version": "0.5", "axes": axes_of("zyx"), "datasets": [level(SCALE)]}, 0, SCALE),
        ({"version": "0.5.2", "axes": axes_of("zyx"), "datasets": [level(SCALE)]}, 0, SCALE),
        (
            {"version": "0.6", "coordinateSystems": [OTHER, SYSTEM],
             "datasets": [{"path": "0", "coordinateTransformations": [STEP]}]}, 0, SCALE,
        ),
        (
            {"version": "0.6.dev2", "coordinateSystems": [OTHER, SYSTEM], "datasets": [
                {"path": "0", "coordinateTransformations": [
                    {"type": "sequence", "output": "intrinsic", "transformations": [
                        {"type": "identity"}, {"type": "scale", "scale": SCALE},
                    ]},
                ]},
            ]}, 0, SCALE,
        ),
    ],
)  # fmt: skip
def test_every_version(tmp_path: Path, image: dict[str, Any], leading: int, spacing: Any) -> None:
    write_image(tmp_path / "v.zarr", ramp((1,) * leading + SHAPE), image)
    check_volume(read_image(tmp_path / "v.zarr"), spacing, "micrometer" if spacing else None)


@pytest.mark.parametrize("version", ["0.7", "0.10", "1.0", "2"])
def test_an_unknown_version_is_named(tmp_path: Path, version: str) -> None:
    write_image(tmp_path / "v.zarr", ramp(), {"axes": axes_of("zyx"), "version": version})
    with pytest.raises(ValueError, match=rf"OME-Zarr of version {version}; expected 0\.1 to 0\.6"):
        read_image(tmp_path / "v.zarr")


@pytest.mark.parametrize(
    ("names", "axes"),
    [
        (["x", "y", "z"], "ZYX"),
        (["Time", "z", "y", "x"], "TZYX"),
        (["channel", "z", "y", "x"], "CZYX"),
        (["yaw", "z", "y", "x"], "QZYX"),
        (["zoom", "zz", "z", "y", "x"], "QQZYX"),
    ],
)
def test_names_of_axes(tmp_path: Path, names: list[str], axes: str) -> None:
    """An axis "yaw" was taken for y."""
    array = ramp((2, 3, *SHAPE)[-len(names) :])
    write_image(tmp_path / "v.zarr", array, {"axes": [{"name": name} for name in names]})
    image = read_image(tmp_path / "v.zarr")
    assert image.axes == axes
    np.testing.assert_array_equal(image.array, array.T if names[0] == "x" else array)


@pytest.mark.parametrize(
    ("levels", "outer", "said"),
    [
        ([level(SCALE)], [{"type": "scale", "scale": SCALE}], "a scale of 3 numbers, expected 4"),
        ([level(None, {"type": "rotation", "rotation": [1]})], [], "a transformation of type rotation"),
        ([level(None, {"type": "scale", "path": "elsewhere"})], [], "a transformation of type scale"),
        ([level([1, "wide", 1, 1])], [], "could not convert"),
    ],
)
def test_spacing_that_cannot_be_used_is_said(tmp_path: Path, levels: Any, outer: Any, said: str) -> None:
    image = {"axes": axes_of("czyx"), "datasets": levels, "coordinateTransformations": outer}
    write_image(tmp_path / "v.zarr", ramp((2, *SHAPE)), image)
    with pytest.warns(ReadWarning, match=f"spacing is left out: .*{said}"):
        image = read_image(tmp_path / "v.zarr")
    assert image.axes == "CZYX" and image.spacing is None


def test_a_level_without_transformations_has_no_spacing(tmp_path: Path) -> None:
    write_image(tmp_path / "v.zarr", ramp(), {"axes": axes_of("zyx")})
    check_volume(read_image(tmp_path / "v.zarr"), None, None)


def test_a_level_given_by_its_path_has_the_axes_of_its_image(tmp_path: Path) -> None:
    """The array "0" of an image in x, y, z order was read as z, y, x."""
    image = {"axes": axes_of("xyz"), "datasets": [level(SCALE[::-1])]}
    write_image(tmp_path / "v.zarr", ramp().T, image)
    check_volume(read_image(tmp_path / "v.zarr" / "0"), SCALE, "micrometer")


def test_other_images_of_a_group_are_said(tmp_path: Path) -> None:
    levels = [level(SCALE), level([1, 1, 1], path="raw")]
    images = [{"name": name, "axes": axes_of("zyx"), "datasets": [one]} for name, one in zip("ab", levels, strict=True)]
    write_group(tmp_path / "v.zarr", {"multiscales": images})
    write_array(tmp_path / "v.zarr" / "0", ramp())
    write_array(tmp_path / "v.zarr" / "raw", ramp() + 1)
    with pytest.warns(ReadWarning, match=r"the first of 2 images is read \(a, b\); --series chooses another"):
        check_volume(read_image(tmp_path / "v.zarr"), SCALE, "micrometer")
    check_volume(read_image(tmp_path / "v.zarr", series=1), [1, 1, 1], "micrometer", ramp() + 1)
    with pytest.raises(ValueError, match="--series is 2, expected 0 to 1"):
        read_image(tmp_path / "v.zarr", series=2)


def test_the_finest_level_is_read_wherever_it_stands(tmp_path: Path) -> None:
    levels = [level([4, 1, 0.5], path="half"), level(SCALE)]
    write_image(tmp_path / "v.zarr", ramp(), {"axes": axes_of("zyx"), "datasets": levels})
    write_array(tmp_path / "v.zarr" / "half", ramp()[::2, ::2, ::2])
    with pytest.warns(ReadWarning, match="the first level, half, is not the finest one: 0 is read"):
        check_volume(read_image(tmp_path / "v.zarr"), SCALE, "micrometer")


@pytest.mark.parametrize("damage", ["lost", "cut", "axes"])
def test_damaged_metadata_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "v.zarr"
    write_image(path, ramp(), {"axes": axes_of("zyx" if damage != "axes" else "zy"), "datasets": [level(SCALE)]})
    if damage == "lost":
        (path / "0" / ".zarray").unlink()
    elif damage == "cut":
        (path / "0" / ".zarray").write_text((path / "0" / ".zarray").read_text()[:50])
    with pytest.raises(ValueError, match=r"^cannot read .*v\.zarr: "):
        read_image(path)


def test_an_image_whose_values_were_not_copied_is_said(tmp_path: Path) -> None:
    write_image(tmp_path / "v.zarr", ramp(), {"axes": axes_of("zyx")})
    (tmp_path / "v.zarr" / "0" / "0.0.0").unlink()
    with pytest.warns(ReadWarning, match=r"v\.zarr/0 holds no values: every voxel is its fill value 0"):
        assert not np.asarray(read_image(tmp_path / "v.zarr").array).any()


# --- labels -----------------------------------------------------------------------------------------------------------


def save_labels(path: Path, array: Any, **attributes: Any) -> None:
    write_image(path, ramp(), {"axes": axes_of("zyx"), "datasets": [level(SCALE)]})
    write_group(path / "labels", {"labels": ["cells"]})
    write_image(path / "labels" / "cells", array, {"axes": axes_of("zyx"), "datasets": [level(SCALE)]}, **attributes)


@pytest.mark.parametrize("attributes", [{"image-label": {"version": "0.4"}}, {}])
@pytest.mark.parametrize("inside", ["labels/cells", "labels/cells/0"])
def test_labels_are_labels(tmp_path: Path, attributes: dict[str, Any], inside: str) -> None:
    save_labels(tmp_path / "v.zarr", ramp(), **attributes)
    image = read_image(tmp_path / "v.zarr" / inside)
    assert image.labels and image.spacing == tuple(SCALE)
    assert not read_image(tmp_path / "v.zarr").labels
    with pytest.raises(ValueError, match=r"it is a group of label images.*: .*v\.zarr/labels/cells"):
        read_image(tmp_path / "v.zarr" / "labels")


def test_the_command_line_keeps_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.random.default_rng(0).integers(0, 900, (6, 7, 8), "uint16") * 7
    save_labels(tmp_path / "v.zarr", labels, **{"image-label": {}})
    source, file = str(tmp_path / "v.zarr/labels/cells"), str(tmp_path / "v.tinc")
    assert main(["compress", source, file]) == 0  # as if without a target
    volume = open_tinc(file)
    assert volume.labels and np.array_equal(volume, labels)
    assert main(["compress", source, file, "--ratio", "20"]) == 1
    assert "labels" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", ["u1", "i8", "u8", "f4", "?"])
def test_labels_of_other_dtypes_are_kept(tmp_path: Path, dtype: str) -> None:
    """A mask that is called labels, numbers of segments in floats or in 64 bits."""
    labels = np.random.default_rng(0).integers(0, 2 if dtype == "?" else 200, (6, 7, 8)).astype(dtype)
    save_labels(tmp_path / "v.zarr", labels, **{"image-label": {}})
    file = str(tmp_path / "v.tinc")
    assert main(["compress", str(tmp_path / "v.zarr/labels/cells"), file]) == 0
    volume = open_tinc(file)
    assert volume.labels and np.array_equal(volume, labels)


def test_names_and_colors_of_labels(tmp_path: Path) -> None:
    label = {
        "colors": [{"label-value": 1, "rgba": [255, 0, 0, 128]}, {"label-value": 2, "rgba": [0, 255, 0, 255]}, {}],
        "properties": [{"label-value": 2, "name": "spleen"}, {"label-value": 5, "name": "liver"}, {"name": "none"}],
    }
    save_labels(tmp_path / "v.zarr", ramp(), **{"image-label": label})
    details = read_image(tmp_path / "v.zarr/labels/cells").details
    assert details is not None
    assert details.objects == ((1, "", "#ff000080"), (2, "spleen", "#00ff00"), (5, "liver", ""))
    for damaged in ({"colors": 3}, {"colors": [{"label-value": "1"}]}, {"properties": [None]}, [], None):
        save_labels(tmp_path / "w.zarr", ramp(), **{"image-label": damaged})
        assert read_image(tmp_path / "w.zarr/labels/cells").labels


def test_labels_that_are_no_whole_numbers_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_labels(tmp_path / "v.zarr", ramp().astype("f4") / 2, **{"image-label": {}})
    assert main(["compress", str(tmp_path / "v.zarr/labels/cells"), str(tmp_path / "v.tinc")]) == 1
    assert "a label is 0.5, expected whole numbers" in capsys.readouterr().err


# --- plates and others ------------------------------------------------------------------------------------------------


def test_a_plate_lists_its_first_fields(tmp_path: Path) -> None:
    path = tmp_path / "pl.zarr"
    wells = [f"{row}/{column}" for row in "ABCD" for column in range(1, 13)]
    write_group(path, {"plate": {"wells": [{"path": well} for well in wells]}})
    for well in wells[:9]:
        write_group(path / well, {"well": {"images": [{"path": "0"}, {"path": "1"}]}})
        write_image(path / well / "1", ramp(), {"axes": axes_of("zyx")})
    listed = r"it is a plate.*give a field of it: .*pl\.zarr/A/1/0, .*pl\.zarr/A/1/1, .*pl\.zarr/A/2/0, .*, \.\.\.$"
    with pytest.raises(ValueError, match=listed):
        read_image(path)
    with pytest.raises(ValueError, match=r"it is a well.*pl\.zarr/A/2/0, .*pl\.zarr/A/2/1$"):
        read_image(path / "A" / "2")
    check_volume(read_image(path / "A" / "2" / "1"), None, None)


def test_series_of_bioformats2raw(tmp_path: Path) -> None:
    path = tmp_path / "bf.zarr"
    write_group(path, {"bioformats2raw.layout": 3})
    write_group(path / "OME", {"series": ["0"]})
    write_image(path / "0", ramp(), {"axes": axes_of("zyx")})
    check_volume(read_image(path), None, None)  # the only one
    for series in ("1", "10", "2"):
        write_image(path / series, ramp(), {"axes": axes_of("zyx")})
    with pytest.raises(ValueError, match=r"image in it: .*bf\.zarr/0, .*/1, .*/2, .*bf\.zarr/10$"):
        read_image(path)


# --- places -----------------------------------------------------------------------------------------------------------


def packed(folder: Path, file: Path, top: str = "") -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.rglob("*"):
            if path.is_file():
                archive.write(path, f"{top}{path.relative_to(folder).as_posix()}")
    return file


@pytest.mark.parametrize("name", ["v.ozx", "v.zarr.zip", "v.ome.zarr.zip", "v.zip", "v.OZX"])
@pytest.mark.parametrize("top", ["", "v.zarr/", "a/b/v.zarr/"])
def test_zip_files(tmp_path: Path, name: str, top: str) -> None:
    save_labels(tmp_path / "v.zarr", ramp() + 1)
    file = packed(tmp_path / "v.zarr", tmp_path / name, top)
    image = read_image(file)
    check_volume(image, SCALE, "micrometer")
    assert image.name == "v" and not image.labels
    labels = read_image(file / "labels" / "cells")
    check_volume(labels, SCALE, "micrometer", ramp() + 1)
    assert labels.labels and labels.name == "v cells"


def test_zip_files_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as archive:
        archive.writestr("slice1.tif", b"")
    with pytest.raises(ValueError, match="the zip file holds 0 Zarr images, expected one; unpack it first"):
        read_image(tmp_path / "v.zip")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.zarr/.zgroup", b"")
        archive.writestr("b.zarr/.zgroup", b"")
    with pytest.raises(ValueError, match=r"2 Zarr images, expected one: a\.zarr, b\.zarr; unpack it first"):
        read_image(tmp_path / "two.zip")
    (tmp_path / "cut.ozx").write_bytes((tmp_path / "two.zip").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"cannot read .*cut\.ozx: .*File is not a zip file"):
        read_image(tmp_path / "cut.ozx")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_folder_of_another_name(tmp_path: Path, zarr_format: int) -> None:
    image = {"axes": axes_of("zyx"), "datasets": [level(SCALE)], "version": "0.4" if zarr_format == 2 else "0.5"}
    write_image(tmp_path / "image", ramp(), image)
    check_volume(read_image(tmp_path / "image"), SCALE, "micrometer")
    check_volume(read_image(tmp_path / "image" / "0"), SCALE, "micrometer")


def test_by_url(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    save_labels(tmp_path / "v.ome.zarr", ramp() + 1)
    with served(tmp_path) as url:
        image = read_volumes(f"{url}/v.ome.zarr")
        check_volume(image, SCALE, "micrometer")
        assert image.name == "v"
        labels = read_volumes(f"{url}/v.ome.zarr/labels/cells")
        check_volume(labels, SCALE, "micrometer", ramp() + 1)
        assert labels.labels
        with pytest.raises(ValueError, match=r"cannot read http.*lost\.zarr: there is no Zarr array or group"):
            read_image(f"{url}/lost.zarr")


def test_scaled_arrays_of_xarray(tmp_path: Path) -> None:
    write_array(tmp_path / "v.zarr", ramp(dtype="i2"))
    facts = {"scale_factor": 0.5, "add_offset": -3.0, "_ARRAY_DIMENSIONS": ["x", "y", "z"]}
    (tmp_path / "v.zarr" / ".zattrs").write_text(json.dumps(facts))
    image = read_image(tmp_path / "v.zarr")
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.array, ramp().T * 0.5 - 3)
    for scale in ("0.5", [0.5, 2.0], 0):
        (tmp_path / "v.zarr" / ".zattrs").write_text(json.dumps(facts | {"scale_factor": scale}))
        with pytest.raises(ValueError, match=r"\(scale_factor\), which has no meaning"):
            read_image(tmp_path / "v.zarr")


def test_chunks_that_are_not_there_have_the_fill_value(tmp_path: Path) -> None:
    path = tmp_path / "v.zarr"
    write_array(path, ramp(), chunks=[4, 5, 3], fill_value=7)
    (path / "0.0.0").write_bytes(ramp()[..., :3].tobytes())
    expected = ramp()
    expected[..., 3:] = 7
    np.testing.assert_array_equal(read_image(path).array, expected)
    shutil.rmtree(path)
    write_array(path, ramp().astype(">u2"), order="F")
    facts = json.loads((path / ".zarray").read_text())
    assert (facts["dtype"], facts["order"]) == (">u2", "F")
    (path / "0.0.0").write_bytes(ramp().astype(">u2").tobytes("F"))
    np.testing.assert_array_equal(read_image(path).array, ramp())
