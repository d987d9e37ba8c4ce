"""What other formats keep of a file that is decompressed, and what is said where they do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import napari_tinc as tinc
from napari_tinc.cli.main import main
from napari_tinc.io.read import read_image

for library in ("h5py", "nibabel", "nrrd", "SimpleITK", "mrcfile", "zarr"):
    pytest.importorskip(library)

LABELS = (np.arange(6 * 7 * 8).reshape(6, 7, 8) // 90).astype("u2")
KEEPING = (".tif", ".ome.tif", ".h5", ".nii.gz", ".nrrd", ".mha", ".mrc", ".ome.zarr")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that succeeds; what it said on stderr."""

    def said(*arguments: object) -> str:
        assert main(list(map(str, arguments))) == 0, capsys.readouterr().err
        return capsys.readouterr().err

    return said


@pytest.mark.parametrize("suffix", KEEPING)
def test_labels_stay_labels(tmp_path: Path, said: Callable[..., str], suffix: str) -> None:
    tinc.compress(LABELS, max_error=0, labels=True).save(tmp_path / "v.tinc")
    assert said("decompress", tmp_path / "v.tinc", tmp_path / f"v{suffix}") == ""
    said("compress", tmp_path / f"v{suffix}", tmp_path / "w.tinc")
    again = tinc.open(tmp_path / "w.tinc")
    assert again.labels and again.error_bound == 0
    np.testing.assert_array_equal(again, LABELS)


def test_labels_that_npy_loses_are_said(tmp_path: Path, said: Callable[..., str]) -> None:
    tinc.compress(LABELS, max_error=0, labels=True).save(tmp_path / "v.tinc")
    text = "v.npy does not say that its values are labels: give --labels when you compress it"
    assert text in said("decompress", tmp_path / "v.tinc", tmp_path / "v.npy")
    tinc.compress(LABELS, max_error=0).save(tmp_path / "i.tinc")
    assert said("decompress", tmp_path / "i.tinc", tmp_path / "i.npy") == ""
    said("decompress", tmp_path / "i.tinc", tmp_path / "i.tif")
    assert not read_image(tmp_path / "i.tif").labels


def test_a_format_of_other_dtypes_says_what_becomes_of_values(tmp_path: Path, said: Callable[..., str]) -> None:
    for dtype, suffix, text in (
        ("bool", ".nii", "v.nii has the values as uint8: its format has no bool"),
        ("float16", ".mha", "v.mha has the values as float32: its format has no float16"),
        ("uint8", ".mrc", "v.mrc has the values as uint16: its format has no uint8"),
        ("bool", ".npy", ""),
        ("float16", ".tif", ""),
    ):
        tinc.compress((LABELS % 2).astype(dtype), max_error=0).save(tmp_path / "v.tinc")
        err = said("decompress", tmp_path / "v.tinc", tmp_path / f"v{suffix}")
        assert err == (f"napari-tinc: {text}\n" if text else "")


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".h5", ".nrrd", ".mha"])
def test_names_that_look_like_a_header_survive(tmp_path: Path, said: Callable[..., str], suffix: str) -> None:
    channels = [{"name": 'a=b "µ"\\', "window": "5 50"}, {"name": "c:=d;", "color": "#00ff00"}]
    array = np.stack([LABELS, LABELS])
    tinc.compress(array, max_error=0, axis_labels="czyx", channels=channels).save(tmp_path / "v.tinc")
    assert said("decompress", tmp_path / "v.tinc", tmp_path / f"v{suffix}") == ""
    image = read_image(tmp_path / f"v{suffix}")
    assert (image.axes, [item["name"] for item in image.channels]) == ("CZYX", [item["name"] for item in channels])
    assert image.channels[0]["window"] == "5 50"


def test_ome_tiff_has_origin_and_time_where_others_look(tmp_path: Path, said: Callable[..., str]) -> None:
    matrix = np.diag([2.0, 0.5, 0.5, 1.0])
    matrix[:3, 3] = 10, 20, 30
    facts: dict[str, Any] = {"spacing": (2, 0.5, 0.5), "units": "micrometer", "placement": matrix}
    array = np.stack([LABELS, LABELS])
    tinc.compress(
        array, max_error=0, axis_labels="tzyx", details={"time": (250, "millisecond")}, **facts
    ).save(tmp_path / "v.tinc")  # fmt: skip
    said("decompress", tmp_path / "v.tinc", tmp_path / "v.ome.tif")
    with tifffile.TiffFile(tmp_path / "v.ome.tif") as tiff:
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
    assert (pixels["TimeIncrement"], pixels["TimeIncrementUnit"]) == (250, "ms")
    place = [[plane[f"Position{axis}"] for axis in "ZYX"] for plane in pixels["Plane"]]
    assert place[:2] == [[10, 20, 30], [12, 20, 30]] and place[len(LABELS)] == place[0]
    assert pixels["Plane"][0]["PositionXUnit"] == "µm"
    image = read_image(tmp_path / "v.ome.tif")
    assert image.details is not None and image.details.time == (250, "millisecond")
    assert image.placement is not None
    np.testing.assert_array_equal(image.placement.matrix, matrix)


def test_places_without_a_unit_survive_or_are_said(tmp_path: Path, said: Callable[..., str]) -> None:
    """NIfTI files that nibabel writes have no unit, unless somebody sets one."""
    matrix = np.array([[2, 0, 0, 10], [0, 0.6, -0.1, 20], [0, 0.1, 0.7, 30], [0, 0, 0, 1]])
    tinc.compress(LABELS, max_error=0, placement=matrix).save(tmp_path / "v.tinc")
    assert said("decompress", tmp_path / "v.tinc", tmp_path / "v.h5") == ""
    image = read_image(tmp_path / "v.h5")
    assert image.placement is not None and not image.units
    np.testing.assert_allclose(image.placement.matrix, matrix, rtol=1e-12)
    lost = "napari-tinc: v.mrc does not keep spacing, origin, orientation, shear\n"
    assert said("decompress", tmp_path / "v.tinc", tmp_path / "v.mrc") == lost
