"""Reading Zarr folders. Every file is made here."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from images import SHAPE, SPACING, check_volume, ramp, save_ome_zarr

from napari_tinc.io.arrays import AxesView
from napari_tinc.io.read import read_image


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str) -> None:
    path = tmp_path / "v.ome.zarr"
    outer = [{"type": "scale", "scale": [1.0, 1.0, 2.0, 2.0, 2.0]}]
    scale = [1.0, 1.0, 150.0, 0.13, 0.065]
    save_ome_zarr(path, version, "tczyx", ramp((1, 1, *SHAPE)), scale, coordinateTransformations=outer)
    image = read_image(path)
    check_volume(image, (0.3, 0.26, 0.13), "micrometer")
    assert image.name == "v"
    assert isinstance(image.array, AxesView) and image.array.portable  # a worker of a cluster reads it itself
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(image.array)), image.array)
    level = read_image(f"{path}/1/")
    assert (level.array.shape, level.name) == ((4, 5, 3), "v 1")
    assert level.spacing == pytest.approx((0.3, 0.26, 0.13))  # as the image says of this level


def test_ome_zarr_in_xyz_order_is_transposed(tmp_path: Path) -> None:
    save_ome_zarr(tmp_path / "v.zarr", "0.4", "xyz", ramp().T, [0.13, 0.26, 290])
    check_volume(read_image(tmp_path / "v.zarr"), SPACING, "micrometer")


def test_ome_zarr_channels_are_left_unread(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    save_ome_zarr(tmp_path / "v.zarr", "0.5", "czyx", ramp((2, *SHAPE)), [1, 290, 0.26, 0.13])
    image = read_image(tmp_path / "v.zarr")
    assert (image.axes, image.array.shape) == ("CZYX", (2, *SHAPE))
    assert isinstance(image.array, AxesView) and isinstance(image.array.array, zarr.Array)


def test_ome_zarr_channel_names(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    for version in ("0.4", "0.5"):
        path = tmp_path / f"v{version}.zarr"
        save_ome_zarr(path, version, "tczyx", ramp((1, 2, *SHAPE)), [1, 1, 290, 0.26, 0.13])
        omero = {"channels": [{"label": "DAPI\0", "color": "0000FF", "window": {}}, {"color": "blue", "label": 3}]}
        group = zarr.open_group(path, mode="a")
        group.attrs.update({"omero": omero} if version == "0.4" else {"ome": group.attrs["ome"] | {"omero": omero}})
        image = read_image(path)
        assert image.channels == [{"name": "DAPI", "color": "#0000ff"}, {}]
        assert (image.axes, image.array.shape) == ("CZYX", (2, *SHAPE))
        np.testing.assert_array_equal(image.array[1, 2:], ramp((2, *SHAPE))[1, 2:])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_array(tmp_path: Path, zarr_format: Any) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "v.zarr", data=ramp(), zarr_format=zarr_format)
    check_volume(read_image(tmp_path / "v.zarr"), None, None)


def test_zarr_dimension_names(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "v.zarr", data=ramp(), zarr_format=3, dimension_names=["c", "y", "x"])
    assert read_image(tmp_path / "v.zarr").axes == "CYX"


def test_dimension_names_of_xarray(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(tmp_path / "v.zarr", data=ramp().T, zarr_format=2)
    array.attrs["_ARRAY_DIMENSIONS"] = ["x", "y", "z"]
    check_volume(read_image(tmp_path / "v.zarr"), None, None)


def test_a_damaged_chunk_of_a_zarr_is_named(tmp_path: Path) -> None:
    """zlib, gzip and lzma have errors of their own, which were tracebacks; others did not say which file."""
    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "v.zarr", data=ramp(), compressors=zarr.codecs.GzipCodec())
    (chunk,) = (path for path in (tmp_path / "v.zarr" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"cannot read .*v\.zarr: "):
        np.asarray(read_image(tmp_path / "v.zarr").array)


def test_zarr_group_of_arrays(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "v.zarr", mode="w")
    with pytest.raises(ValueError, match="give an array or image in it: none"):
        read_image(tmp_path / "v.zarr")
    group.create_array("raw", data=ramp())
    with pytest.raises(ValueError, match=r"not an OME-Zarr image; give an array or image in it: .*v\.zarr/raw"):
        read_image(tmp_path / "v.zarr")
    check_volume(read_image(tmp_path / "v.zarr" / "raw"), None, None)
