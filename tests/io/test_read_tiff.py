"""Reading TIFF files. Every file is made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from images import SHAPE, check_volume, cut_tiff, ramp

from napari_tinc.io import tiff as io_tiff
from napari_tinc.io.arrays import AxesView
from napari_tinc.io.read import read_image


@pytest.mark.parametrize("unit", ["um", "micron", "microns", r"\u00B5m", r"\u00b5m"])
def test_imagej_units(tmp_path: Path, unit: str) -> None:
    metadata = {"axes": "ZYX", "spacing": -0.5, "unit": unit}
    tifffile.imwrite(tmp_path / "v.tif", ramp(), imagej=True, resolution=(4, 2), metadata=metadata)
    check_volume(read_image(tmp_path / "v.tif"), (0.5, 0.5, 0.25), "micrometer")


@pytest.mark.parametrize(
    ("metadata", "spacing", "units"),
    [
        ({}, None, None),
        ({"unit": "mm"}, (1, 0.5, 0.25), "millimeter"),
        ({"spacing": 3.0}, (3, 0.5, 0.25), None),
        ({"unit": "um", "zunit": "nm", "spacing": 300.0}, (0.3, 0.5, 0.25), "micrometer"),
    ],
)
def test_imagej_metadata(tmp_path: Path, metadata: dict[str, Any], spacing: Any, units: str | None) -> None:
    metadata = {"axes": "ZYX", **metadata}
    tifffile.imwrite(tmp_path / "v.tif", ramp(), imagej=True, resolution=(4, 2), metadata=metadata)
    check_volume(read_image(tmp_path / "v.tif"), spacing, units)


@pytest.mark.parametrize(
    ("metadata", "spacing", "units"),
    [
        ({}, None, None),
        ({"PhysicalSizeX": 1, "PhysicalSizeY": 2, "PhysicalSizeZ": 3}, (3, 2, 1), "micrometer"),
        (
            {"PhysicalSizeX": 1, "PhysicalSizeY": 2, "PhysicalSizeZ": 300, "PhysicalSizeZUnit": "nm"},
            (0.3, 2, 1),
            "micrometer",
        ),
    ],
)
def test_ome_metadata(tmp_path: Path, metadata: dict[str, Any], spacing: Any, units: str | None) -> None:
    array = ramp((1, 4, 1, 5, 6))
    tifffile.imwrite(tmp_path / "v.ome.tif", array, metadata={"axes": "TZCYX", **metadata}, photometric="minisblack")
    check_volume(read_image(tmp_path / "v.ome.tif"), spacing, units)


def test_plain_tiff_stacks_are_volumes(tmp_path: Path) -> None:
    array = ramp((7, 5, 6))
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", byteorder=">", resolution=(72, 72, "INCH"))
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        for page in array:
            writer.write(page, metadata=None)
    for name in ("a.tif", "b.tif"):
        check_volume(read_image(tmp_path / name), None, None, array)


@pytest.mark.parametrize("axes", ["CZYX", "TZYX", "TYX", "YX", "ZYXS"])
def test_tiffs_that_are_not_volumes_keep_their_axes(tmp_path: Path, axes: str) -> None:
    array = ramp((2, 5, 6, 3)[-len(axes) :], "uint8")
    options: dict[str, Any] = {"photometric": "rgb"} if axes[-1] == "S" else {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "v.tif", array, metadata={"axes": axes}, **options)
    image = read_image(tmp_path / "v.tif")
    assert (image.axes, image.array.shape) == (axes, array.shape)


def test_a_tiff_cut_short_is_refused(tmp_path: Path) -> None:
    cut_tiff(tmp_path / "v.tif")
    assert tifffile.imread(tmp_path / "v.tif").shape == (2, 20, 20)  # what makes the check necessary
    with pytest.raises(ValueError, match=r"v\.tif: it is damaged or cut short after page 2"):
        read_image(tmp_path / "v.tif")


@pytest.mark.parametrize("whole", [2**28, 100])
def test_planes_that_are_missing_are_not_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int) -> None:
    """tifffile takes them for zeros, and `verify --against` had proved them."""
    pytest.importorskip("zarr")
    monkeypatch.setattr(io_tiff, "READ_WHOLE", whole)
    tifffile.imwrite(tmp_path / "v.tif", ramp((3, 8, 9)), photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(tmp_path / "v.tif") as tiff:
        pages = [page.asarray() for page in tiff.pages]
    xml = tifffile.OmeXml()
    xml.addimage("uint16", (5, 8, 9), (5, 1, 1, 8, 9, 1), axes="ZYX")
    with tifffile.TiffWriter(tmp_path / "v.ome.tif", ome=False) as writer:
        for number, page in enumerate(pages):
            text = xml.tostring(declaration=True).encode() if number == 0 else None
            writer.write(page.astype("u2"), description=text, metadata=None, contiguous=False)
    with pytest.raises(ValueError, match="2 of its 5 planes are in files that are not here, or in none"):
        read_image(tmp_path / "v.ome.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped", "pages"])
def test_large_tiffs_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, compression: str | None
) -> None:
    pytest.importorskip("zarr")
    monkeypatch.setattr(io_tiff, "READ_WHOLE", 100)
    path, array = tmp_path / "v.tif", ramp((7, 8, 9))
    options: dict[str, Any] = {"photometric": "minisblack", "compression": compression}
    if kind == "pages":
        with tifffile.TiffWriter(path, byteorder=">") as writer:
            for page in array:
                writer.write(page, metadata=None, contiguous=False, **options)
    else:
        metadata = {"axes": "ZYX", "PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0, "PhysicalSizeZ": 2.0, "spacing": 2.0}
        options |= {"imagej": kind == "imagej", "ome": kind == "ome", "metadata": metadata}
        tifffile.imwrite(path, array, **options)
    image = read_image(path)
    assert isinstance(image.array, np.memmap if compression is None and kind != "pages" else AxesView)
    assert (image.axes, image.array.shape, image.spacing) == (
        "ZYX",
        array.shape,
        None if kind == "pages" else (2, 1, 1),
    )
    np.testing.assert_array_equal(image.array[2:5, 3, 1:], array[2:5, 3, 1:])
    np.testing.assert_array_equal(image.array, array)
    content = path.read_bytes()
    del image
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"^cannot read .*v\.tif: .+"):
        read_image(path)


@pytest.mark.parametrize("whole", [0, 2**20])
def test_the_axes_of_imagej_are_reordered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int) -> None:
    pytest.importorskip("zarr")
    monkeypatch.setattr(io_tiff, "READ_WHOLE", whole)
    array = ramp((3, 4, 2, 5, 6))
    table = np.zeros((3, 256), np.uint8)
    luts = [table + np.array(color, np.uint8)[:, None] for color in ((255, 0, 0), (0, 255, 128))]
    for compression in (None, "zlib"):
        metadata = {"axes": "TZCYX", "mode": "composite", "LUTs": luts}
        tifffile.imwrite(tmp_path / "v.tif", array, imagej=True, metadata=metadata, compression=compression)
        image = read_image(tmp_path / "v.tif")
        assert (image.axes, image.array.shape) == ("TCZYX", (3, 2, 4, 5, 6))
        assert image.channels == [{"color": "#ff0000"}, {"color": "#00ff80"}]
        np.testing.assert_array_equal(image.array, array.transpose(0, 2, 1, 3, 4))
        np.testing.assert_array_equal(image.array[2, 1, 1:3, :, 4], array[2, 1:3, 1, :, 4])


def test_ome_channels(tmp_path: Path) -> None:
    metadata = {"axes": "CZYX", "Channel": {"Name": ["DAPI", " GFP\n2"], "Color": [0x0000FFFF, -256]}}
    options: dict[str, Any] = {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "v.ome.tif", ramp((2, *SHAPE)), metadata=metadata, **options)
    names = [{"name": "DAPI", "color": "#0000ff"}, {"name": "GFP 2", "color": "#ffffff"}]
    assert read_image(tmp_path / "v.ome.tif").channels == names
    tifffile.imwrite(tmp_path / "w.ome.tif", ramp((2, *SHAPE)), metadata={"axes": "TZYX"}, **options)
    assert read_image(tmp_path / "w.ome.tif").channels == []
