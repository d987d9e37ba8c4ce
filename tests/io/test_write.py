"""Writing images of other formats, and reading them back. Every file is made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from images import DTYPES, SHAPE, SPACING, check_volume, ramp

from napari_tinc.io import arrays, ome_zarr
from napari_tinc.io.read import read_image
from napari_tinc.io.write import OUTPUT_SUFFIXES, write_image


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


@pytest.mark.parametrize("name", ["v.tif", "v.ome.tif"])
@pytest.mark.parametrize("axes", ["xyz", "zxy", "abc", "qyx", "tzxy"])
def test_any_letters_of_axes(tmp_path: Path, name: str, axes: str) -> None:
    """napari's layers have them; ImageJ and OME do not."""
    array = np.arange(2 * 3 * 4 * 5, dtype="u2").reshape((2, 3, 4, 5)[4 - len(axes) :] if len(axes) == 4 else (6, 4, 5))
    write_image(tmp_path / name, array, None, None, axes=axes)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / name), array)
