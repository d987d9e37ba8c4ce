"""Writing images of other formats, and reading them back. Every file is made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from test_images import SHAPE, SPACING, check_volume, ramp

from napari_tinc.io import arrays, ome_zarr
from napari_tinc.io import tiff as io_tiff
from napari_tinc.io.read import read_image
from napari_tinc.io.write import OUTPUT_SUFFIXES, write_image

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64", "int64", "bool")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["v.tif", "v.TIFF", "v.ome.tif"])
def test_tiff_round_trip(tmp_path: Path, name: str, dtype: str) -> None:
    write_image(tmp_path / name, ramp(dtype=dtype), SPACING, "um")
    image = read_image(tmp_path / name)
    check_volume(image, SPACING, "micrometer", ramp(dtype=dtype))
    assert image.name == "v"
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("shape", [(1, 4, 5), (4, 1, 5), (4, 5, 1), (1, 1, 1), (5, 4, 3), (3, 4, 4), (1, 4, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16"])
def test_tiff_round_trip_of_odd_shapes(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    write_image(tmp_path / "v.tif", ramp(shape, dtype), SPACING, "mm")
    check_volume(read_image(tmp_path / "v.tif"), SPACING, "millimeter", ramp(shape, dtype))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16"])
@pytest.mark.parametrize("units", [None, "mm", "micrometer", "Å", "inch", "pixel", "furlong"])
@pytest.mark.parametrize("spacing", [None, (1.0, 1.0, 1.0), (3e-9, 2.3456789e-9, 1e-10), (0.1 + 0.2, 1 / 3, 2e8)])
def test_tiff_round_trip_of_spacing_and_units(tmp_path: Path, dtype: str, units: str | None, spacing: Any) -> None:
    write_image(tmp_path / "v.tif", ramp(dtype=dtype), spacing, units)
    known = {None: None, "mm": "millimeter", "Å": "angstrom", "furlong": None}
    expected = None if spacing is None else known.get(units, units)
    check_volume(read_image(tmp_path / "v.tif"), spacing, expected, ramp(dtype=dtype))


def test_tiff_kinds(tmp_path: Path) -> None:
    for dtype, name, kind in [("uint8", "a.tif", "imagej"), ("int16", "b.tif", "ome"), ("uint8", "c.ome.tif", "ome")]:
        write_image(tmp_path / name, ramp(dtype=dtype), SPACING, "mm")
        with tifffile.TiffFile(tmp_path / name) as tiff:
            assert tiff.series[0].kind == kind
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.imagej_metadata is not None
        assert (tiff.imagej_metadata["unit"], tiff.imagej_metadata["slices"]) == ("mm", 4)


def test_a_volume_too_large_for_imagej_is_written_as_ome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io_tiff, "_CLASSIC_BYTES", 100)
    write_image(tmp_path / "v.tif", ramp(), SPACING, "mm")
    with tifffile.TiffFile(tmp_path / "v.tif") as tiff:
        assert tiff.series[0].kind == "ome" and tiff.is_bigtiff


@pytest.mark.parametrize("dtype", [*DTYPES, ">u2"])
def test_npy_round_trip(tmp_path: Path, dtype: str) -> None:
    write_image(tmp_path / "v.npy", ramp(dtype=dtype), SPACING, "mm")
    check_volume(read_image(str(tmp_path / "v.npy")), None, None, ramp(dtype=dtype))


def test_writes_any_array_like_and_byte_order(tmp_path: Path) -> None:
    class Lazy:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
            return ramp(dtype=">u2").transpose(2, 1, 0)

    write_image(tmp_path / "v.tif", Lazy(), None, None)
    check_volume(read_image(tmp_path / "v.tif"), None, None, ramp().transpose(2, 1, 0))


class Broken:
    """An array whose last planes cannot be read."""

    shape, dtype = SHAPE, np.dtype("uint16")

    def __getitem__(self, index: Any) -> Any:
        if index[0].stop >= SHAPE[0]:
            raise OSError("no space left")
        return ramp()[index]


@pytest.mark.parametrize("suffix", [*OUTPUT_SUFFIXES, ".ome.tif", ".ome.zarr"])
def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(arrays, "SLAB", 30)
    monkeypatch.setattr(ome_zarr, "CHUNK", 2)
    if suffix.endswith("zarr"):
        pytest.importorskip("zarr")
    path = tmp_path / f"v{suffix}"
    for there in (False, True):
        if there:
            write_image(path, ramp(), None, None)
        with pytest.raises(OSError, match="no space left"):
            write_image(path, Broken(), None, None)
        assert [file.name for file in tmp_path.iterdir()] == [path.name] * there
    np.testing.assert_array_equal(read_image(path).array, ramp())


@pytest.mark.parametrize("suffix", OUTPUT_SUFFIXES)
def test_volumes_are_read_slab_by_slab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    asked = []

    class Counting:
        shape, dtype = (2, 7, 5, 6), np.dtype("uint16")

        def __getitem__(self, index: Any) -> Any:
            part = ramp(self.shape)[index]
            asked.append(part.size)
            return part

    monkeypatch.setattr(arrays, "SLAB", 70)
    monkeypatch.setattr(ome_zarr, "CHUNK", 2)
    write_image(tmp_path / f"v{suffix}", Counting(), None, None, axes="tzyx")
    np.testing.assert_array_equal(read_image(tmp_path / f"v{suffix}").array, ramp((2, 7, 5, 6)))
    assert max(asked) <= 70 and sum(asked) == 420


CHANNELS = [{"name": "DAPI", "color": "#0000ff"}, {"name": "GFP", "color": "#80ff00"}]


@pytest.mark.parametrize("name", ["v.ome.tif", "v.tif", "v.ome.zarr", "v.zarr"])
@pytest.mark.parametrize(
    ("axes", "shape"), [("czyx", (2, *SHAPE)), ("tczyx", (3, 2, *SHAPE)), ("tzyx", (3, *SHAPE)), ("qzyx", (3, *SHAPE))]
)
def test_channels_and_time(tmp_path: Path, name: str, axes: str, shape: tuple[int, ...]) -> None:
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    channels = CHANNELS if "c" in axes else []
    write_image(tmp_path / name, ramp(shape), SPACING, "um", axes=axes, channels=channels, value_range=(0, 9))
    image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image.array, ramp(shape))
    assert (image.axes, image.units, image.channels) == (axes.upper(), "micrometer", channels)
    assert image.spacing == pytest.approx(SPACING)


def test_ome_zarr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "v.ome.zarr"
    array = ramp((2, 3, *SHAPE))  # channels first, which goes second
    monkeypatch.setattr(ome_zarr, "CHUNK", 4)
    options: dict[str, Any] = {"axes": "ctzyx", "channels": [{"color": "red"}, {"name": "GFP"}]}
    write_image(path, array, SPACING, "um", **options, coarser=[array[..., ::2, ::2, ::2]], value_range=(0, 719))
    group = zarr.open_group(path, mode="r")
    ome = group.attrs["ome"]
    (image,) = ome["multiscales"]
    assert (ome["version"], image["name"]) == ("0.5", "v")
    assert [axis["name"] for axis in image["axes"]] == list("tczyx")
    assert image["axes"][0] == {"name": "t", "type": "time"}
    assert image["axes"][2] == {"name": "z", "type": "space", "unit": "micrometer"}
    fine, coarse = image["datasets"]
    assert fine["coordinateTransformations"] == [{"type": "scale", "scale": [1, 1, *SPACING]}]
    assert coarse["coordinateTransformations"] == [
        {"type": "scale", "scale": [1, 1, *(2 * size for size in SPACING)]},
        {"type": "translation", "translation": [0, 0, *(size / 2 for size in SPACING)]},
    ]
    assert group["0"].metadata.dimension_names == tuple("tczyx") and group["0"].chunks == (1, 1, 4, 4, 4)
    np.testing.assert_array_equal(group["0"][:], array.transpose(1, 0, 2, 3, 4))
    assert group["1"].shape == (3, 2, 2, 3, 3)
    window = {"min": 0, "max": 719, "start": 0, "end": 719}
    assert ome["omero"]["channels"] == [
        {"label": "Channel 0", "active": True, "color": "FFFFFF", "window": window},
        {"label": "GFP", "active": True, "color": "FFFFFF", "window": window},
    ]
    assert read_image(path).axes == "TCZYX"


def test_folders_that_are_no_zarr_are_not_replaced(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    folder = tmp_path / "mine.zarr"
    folder.mkdir()
    write_image(folder, ramp(), None, None)  # an empty folder has nothing to lose
    write_image(folder, ramp()[::-1], None, None)
    np.testing.assert_array_equal(read_image(folder).array, ramp()[::-1])
    (tmp_path / "photos.zarr").mkdir()
    (tmp_path / "photos.zarr" / "cat.jpg").touch()
    (tmp_path / "file.zarr").touch()
    for name in ("photos.zarr", "file.zarr"):
        with pytest.raises(ValueError, match=r"it is there, and is no Zarr folder"):
            write_image(tmp_path / name, ramp(), None, None)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(("axes", "shape"), [("qczyx", (2, 2, *SHAPE)), ("qtczyx", (2, 2, 2, *SHAPE))])
def test_ome_zarr_has_a_place_for_one_axis_beside_time(tmp_path: Path, axes: str, shape: tuple[int, ...]) -> None:
    pytest.importorskip("zarr")
    with pytest.raises(ValueError, match="time and one other axis before z, y, x, not "):
        write_image(tmp_path / "v.zarr", ramp(shape), None, None, axes=axes)
    assert not list(tmp_path.iterdir())
    for name in ("v.tif", "v.npy"):
        write_image(tmp_path / name, ramp(shape), None, None, axes=axes)
        np.testing.assert_array_equal(read_image(tmp_path / name).array, ramp(shape))


def test_write_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"v\.png.*\.tif, \.tiff, \.npy"):
        write_image(tmp_path / "v.png", ramp(), None, None)
    with pytest.raises(ValueError, match=r"3D array, got shape \(2, 4, 5, 6\)"):
        write_image(tmp_path / "v.tif", ramp((2, *SHAPE)), None, None)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_image(tmp_path / "nowhere" / "v.tif", ramp(), None, None)
    with pytest.raises(ValueError, match="arrays of object are not written"):
        write_image(tmp_path / "v.npy", ramp(dtype=object), None, None)
    assert not list(tmp_path.iterdir())


def test_names_that_xml_cannot_hold(tmp_path: Path) -> None:
    channels = [{"name": "DAPI\0"}, {"name": "a & b\x01"}]
    write_image(tmp_path / "v.tif", np.zeros((2, 3, 4, 5), "u2"), None, None, axes="czyx", channels=channels)
    assert [item["name"] for item in read_image(tmp_path / "v.tif").channels] == ["DAPI", "a & b"]


@pytest.mark.parametrize("name", ["v.tif", "v.ome.tif"])
@pytest.mark.parametrize("axes", ["xyz", "zxy", "abc", "qyx", "tzxy"])
def test_any_letters_of_axes(tmp_path: Path, name: str, axes: str) -> None:
    """napari's layers have them; ImageJ and OME do not."""
    array = np.arange(2 * 3 * 4 * 5, dtype="u2").reshape((2, 3, 4, 5)[4 - len(axes) :] if len(axes) == 4 else (6, 4, 5))
    write_image(tmp_path / name, array, None, None, axes=axes)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / name), array)
