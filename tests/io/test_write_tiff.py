"""Writing TIFF files, and reading them back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from images import DTYPES, SPACING, check_volume, ramp

from napari_tinc.io import tiff as io_tiff
from napari_tinc.io.read import read_image
from napari_tinc.io.write import write_image


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


def test_names_that_xml_cannot_hold(tmp_path: Path) -> None:
    channels = [{"name": "DAPI\0"}, {"name": "a & b\x01"}]
    write_image(tmp_path / "v.tif", np.zeros((2, 3, 4, 5), "u2"), None, None, axes="czyx", channels=channels)
    assert [item["name"] for item in read_image(tmp_path / "v.tif").channels] == ["DAPI", "a & b"]
