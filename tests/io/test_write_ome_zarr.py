"""Writing Zarr folders, and reading them back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from images import SHAPE, SPACING, ramp

from napari_tinc.io import ome_zarr
from napari_tinc.io.read import read_image
from napari_tinc.io.write import write_image


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
