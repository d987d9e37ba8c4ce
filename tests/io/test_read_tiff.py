"""Reading TIFF files. Every file is made here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from images import SHAPE, check_volume, cut_tiff, ramp

from napari_tinc.errors import ReadWarning
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
        ({"spacing": 3.0}, (3, 0.5, 0.25), None),
        ({"unit": "um", "zunit": "nm", "spacing": 300.0}, (0.3, 0.5, 0.25), "micrometer"),
    ],
)
def test_imagej_metadata(tmp_path: Path, metadata: dict[str, Any], spacing: Any, units: str | None) -> None:
    metadata = {"axes": "ZYX", **metadata}
    tifffile.imwrite(tmp_path / "v.tif", ramp(), imagej=True, resolution=(4, 2), metadata=metadata)
    check_volume(read_image(tmp_path / "v.tif"), spacing, units)


def test_an_imagej_stack_without_a_step_is_said_to_have_none(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "unit": "mm"}
    tifffile.imwrite(tmp_path / "v.tif", ramp(), imagej=True, resolution=(4, 2), metadata=metadata)
    with pytest.warns(ReadWarning, match="no voxel size along z, 1 is taken"):
        image = read_image(tmp_path / "v.tif")
    check_volume(image, (1, 0.5, 0.25), "millimeter")


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


# --- several series --------------------------------------------------------------------------------------------------


def save_pages(path: Path, pages: Any, options: Any) -> None:
    """Each page written alone, with options of its own."""
    with tifffile.TiffWriter(path) as writer:
        for number, page in enumerate(pages):
            writer.write(page, metadata=None, contiguous=False, **options(number))


@pytest.mark.parametrize("whole", [2**28, 100])
@pytest.mark.parametrize(
    "options",
    [
        lambda number: {"compression": "zlib" if number < 9 else None},
        lambda number: {"rowsperstrip": 2 if number < 3 else 5},
        lambda number: {"rowsperstrip": 2 if number % 2 else 5},  # series by series, slices would be out of order
    ],
)
def test_all_pages_of_one_kind_are_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int, options: Any
) -> None:
    monkeypatch.setattr(io_tiff, "READ_WHOLE", whole)
    array = ramp((12, 5, 6))
    save_pages(tmp_path / "v.tif", array, options)
    image = read_image(tmp_path / "v.tif")
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.array, array)
    np.testing.assert_array_equal(image.array[7:10, 2:, 3], array[7:10, 2:, 3])
    np.testing.assert_array_equal(image.array[7], array[7])
    with tifffile.TiffFile(tmp_path / "v.tif") as tiff:
        assert len(tiff.series) == 2
        first = tiff.series[0].asarray()
    np.testing.assert_array_equal(read_image(tmp_path / "v.tif", series=0).array, first)


def test_appended_stacks_are_one_and_this_is_said(tmp_path: Path) -> None:
    array = ramp((12, 5, 6))
    for part in (array[:5], array[5:]):
        tifffile.imwrite(tmp_path / "v.tif", part, append=True, photometric="minisblack")
    with pytest.warns(ReadWarning, match=r"2 series are read as one stack.*0 QYX 5 x 5 x 6 uint16; 1 QYX 7 x 5 x 6"):
        check_volume(read_image(tmp_path / "v.tif"), None, None, array)


def test_series_that_differ_are_said(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "v.ome.tif") as writer:
        for number in range(2):
            metadata = {"axes": "ZYX", "PhysicalSizeX": 1, "PhysicalSizeY": 2, "PhysicalSizeZ": 3 + number}
            writer.write(ramp() + number, metadata=metadata, photometric="minisblack")
    with pytest.warns(ReadWarning, match=r"series 0 of 2 is read, --series N reads another: 0 ZYX 4 x 5 x 6 uint16; 1"):
        check_volume(read_image(tmp_path / "v.ome.tif"), (3, 2, 1), "micrometer")
    check_volume(read_image(tmp_path / "v.ome.tif", series=1), (4, 2, 1), "micrometer", ramp() + 1)
    with pytest.raises(ValueError, match=r"--series 2 given, but it has 2 series: 0 ZYX"):
        read_image(tmp_path / "v.ome.tif", series=2)


def test_a_thumbnail_is_no_series_and_a_first_page_of_another_kind_is_said(tmp_path: Path) -> None:
    array = ramp((12, 5, 6))
    with tifffile.TiffWriter(tmp_path / "v.tif") as writer:
        for page in array:
            writer.write(page, metadata=None, contiguous=False)
        writer.write(array[0, ::2, ::2], metadata=None, subfiletype=1)
    check_volume(read_image(tmp_path / "v.tif"), None, None, array)
    with tifffile.TiffWriter(tmp_path / "w.tif") as writer:
        writer.write(np.zeros((3, 4), "u1"), metadata=None)
        for page in array:
            writer.write(page, metadata=None, contiguous=False)
    with pytest.warns(ReadWarning, match="series 1 of 2 is read"):
        check_volume(read_image(tmp_path / "w.tif"), None, None, array)


# --- values and codecs -----------------------------------------------------------------------------------------------

CALIBRATED = "ImageJ=1.54f\nimages=4\nslices=4\nunit=mm\ncf={}\nc0={}\nc1={}\n{}vunit=HU\nspacing=1.5\nloop=false\n"


@pytest.mark.parametrize(
    ("dtype", "c0", "c1", "more", "expected"),
    [
        ("uint16", -32768.0, 1.0, "", "int16"),
        ("uint8", -1000.0, 10.0, "", "int16"),
        ("uint16", -1000.0, 0.5, "", "float32"),
        ("uint16", 0.1, 0.0123, "", "float32"),
        ("uint16", -50.0, 1.0, "zeroclip=true\n", "int16"),
    ],
)
def test_imagej_calibrations_are_applied(
    tmp_path: Path, dtype: str, c0: float, c1: float, more: str, expected: str
) -> None:
    """ImageJ computes the line in float64 and shows float32."""
    stored = ramp(dtype=dtype)
    text = CALIBRATED.format(0, c0, c1, more)
    tifffile.imwrite(
        tmp_path / "v.tif", stored, description=text, metadata=None, resolution=(2, 2), photometric="minisblack"
    )
    image = read_image(tmp_path / "v.tif")
    shown = (stored * c1 + c0).astype(np.float32)
    shown = np.maximum(shown, 0) if more else shown
    assert image.array.dtype == expected
    np.testing.assert_array_equal(np.asarray(image.array), shown)
    assert image.spacing == (1.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("dtype", "kind", "told"),
    [
        ("uint16", 7, r"a curve \(cf=7\)"),
        ("float32", 0, "a straight line, of float32"),
        ("uint16", 21, r"a curve \(cf=21\)"),
    ],
)
def test_imagej_calibrations_that_are_no_lines_are_said(tmp_path: Path, dtype: str, kind: int, told: str) -> None:
    text = CALIBRATED.format(kind, 1.0, 2.0, "")
    tifffile.imwrite(tmp_path / "v.tif", ramp(dtype=dtype), description=text, metadata=None, photometric="minisblack")
    with pytest.warns(ReadWarning, match=f"ImageJ's calibration is left out: it is {told}"):
        np.testing.assert_array_equal(read_image(tmp_path / "v.tif").array, ramp(dtype=dtype))


def test_damaged_ome_xml_leaves_the_pages(tmp_path: Path) -> None:
    path, array = tmp_path / "v.ome.tif", ramp((7, 5, 6))
    tifffile.imwrite(path, array, metadata={"axes": "ZYX", "Name": "A and B stained"}, photometric="minisblack")
    path.write_bytes(path.read_bytes().replace(b"A and B stained", b"A & B, stained!"))
    with pytest.warns(ReadWarning, match="the OME-XML is damaged"):
        check_volume(read_image(path), None, None, array)


@pytest.mark.parametrize("compression", ["tiff_lzw", "zstd", "packbits", "tiff_adobe_deflate"])
def test_compressions_of_pillow(tmp_path: Path, compression: str) -> None:
    if compression in ("tiff_lzw", "zstd"):
        pytest.importorskip("imagecodecs")
    pillow = pytest.importorskip("PIL.Image")
    first, *rest = (pillow.fromarray(plane) for plane in ramp((7, 15, 16), "u1"))
    try:
        first.save(tmp_path / "v.tif", save_all=True, append_images=rest, compression=compression)
    except (OSError, KeyError, ValueError):
        pytest.skip(f"this Pillow writes no {compression}")
    check_volume(read_image(tmp_path / "v.tif"), None, None, ramp((7, 15, 16), "u1"))


def test_a_codec_that_is_missing_is_named(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    pillow.fromarray(ramp((15, 16), "u1")).save(tmp_path / "v.tif", compression="tiff_lzw")
    code = "import sys; sys.modules['imagecodecs'] = None; from napari_tinc.cli.main import main; sys.exit(main())"
    arguments = ["compress", str(tmp_path / "v.tif"), str(tmp_path / "v.tinc"), "--max-error", "0"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert 'needs imagecodecs, for its compression LZW: pip install "napari-tinc[io]"' in done.stderr


def test_parts_that_were_never_written_are_said(tmp_path: Path) -> None:
    path = tmp_path / "v.tif"
    tifffile.imwrite(path, ramp((2, 32, 32)), tile=(16, 16), photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = list(tiff.pages.first.databytecounts)
        tiff.pages.first.tags["TileByteCounts"].overwrite([0, *counts[1:]])
    with pytest.warns(ReadWarning, match="1 of 8 strips or tiles have no data; they are read as 0"):
        assert (read_image(path).array[0, :16, :16] == 0).all()


@pytest.mark.parametrize("suffix", [".btf", ".tf8", ".stk", ".lsm"])
def test_other_names_of_tiffs(tmp_path: Path, suffix: str) -> None:
    tifffile.imwrite(tmp_path / f"v{suffix}", ramp((7, 5, 6)), photometric="minisblack", bigtiff=suffix != ".lsm")
    check_volume(read_image(tmp_path / f"v{suffix}"), None, None, ramp((7, 5, 6)))


def test_pages_that_the_metadata_leave_out_are_said(tmp_path: Path) -> None:
    array = ramp((12, 5, 6))
    xml = tifffile.OmeXml()
    xml.addimage("uint16", (5, 5, 6), (5, 1, 1, 5, 6, 1), axes="ZYX")
    for name, text in (
        ("v.ome.tif", xml.tostring(declaration=True)),
        ("v.tif", "ImageJ=1.54f\nimages=5\nslices=5\n"),
    ):
        with tifffile.TiffWriter(tmp_path / name, ome=False) as writer:
            for number, page in enumerate(array):
                first = text.encode() if number == 0 else None
                writer.write(page, description=first, metadata=None, contiguous=False)
    with pytest.warns(ReadWarning, match="7 of 12 pages are left out"):
        check_volume(read_image(tmp_path / "v.ome.tif"), None, None, array[:5])
    with pytest.warns(ReadWarning, match="a stack of 5 planes, but there are 12: all are read"):
        check_volume(read_image(tmp_path / "v.tif"), None, None, array)


def test_colours_that_change_the_meaning_of_values_are_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "v.tif", ramp((7, 5, 6)) > 9, photometric="miniswhite")
    with pytest.warns(ReadWarning, match="0 is white: values are those that are stored"):
        check_volume(read_image(tmp_path / "v.tif"), None, None, ramp((7, 5, 6)) > 9)


def test_decimal_commas_of_imagej(tmp_path: Path) -> None:
    text = CALIBRATED.format(0, "-32768,0", "1,0", "").replace("spacing=1.5", "spacing=0,5")
    options = {"photometric": "minisblack", "metadata": None, "resolution": (2, 2)}
    tifffile.imwrite(tmp_path / "v.tif", ramp() + 32768, description=text, **options)
    check_volume(read_image(tmp_path / "v.tif"), (0.5, 0.5, 0.5), "millimeter", ramp(dtype="int16"))


@pytest.mark.parametrize("name", ["v.tif", "scan/s1.tif"])
def test_images_whose_zero_is_white_keep_their_look(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    tifffile.imwrite(file, ramp() if name == "v.tif" else ramp()[0], photometric="miniswhite", metadata=None)
    with pytest.warns(ReadWarning, match="0 is white.*gray_r"):
        image = read_image(file if name == "v.tif" else file.parent)
    assert image.details is not None and image.details.colormap == "gray_r"
    np.testing.assert_array_equal(image.array[0], ramp()[0])
