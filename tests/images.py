"""Images of other formats, made for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_tinc.io import image as io_image

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64", "int64", "bool")

SHAPE = (4, 5, 6)
SPACING = (0.29, 0.26, 0.13)


def ramp(shape: tuple[int, ...] = SHAPE, dtype: Any = "uint16") -> np.ndarray[Any, Any]:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def check_volume(image: io_image.Image, spacing: Any, units: str | None, expected: Any = None) -> None:
    expected = ramp() if expected is None else expected
    np.testing.assert_array_equal(image.array, expected)
    assert image.array.dtype == expected.dtype
    assert (image.axes, image.units) == ("ZYX", units)
    assert image.spacing == (None if spacing is None else pytest.approx(spacing, rel=1e-12))


def cut_tiff(path: Path) -> None:
    """A TIFF of pages, each followed by its tags, that ends inside the third of four."""
    size = 20 * 20 * 2
    tags = [(256, 20), (257, 20), (258, 16), (259, 1), (262, 1), (273, None), (277, 1), (278, 20), (279, size)]
    content = bytearray(b"II*\0" + (8 + size).to_bytes(4, "little"))
    for _ in range(3):
        start = len(content)
        content += bytes(size) + len(tags).to_bytes(2, "little")
        for tag, value in tags:
            content += (
                np.array([tag, 4], "<u2").tobytes() + np.array([1, start if value is None else value], "<u4").tobytes()
            )
        content += (len(content) + 4 + size).to_bytes(4, "little")
    path.write_bytes(content[: -size // 2])


def save_nifti(path: Path, xyz: Any, slope: float | None = None, inter: float = 0, unit: str = "mm") -> None:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(xyz, np.diag([0.13, 0.26, 0.29, 1]), dtype=xyz.dtype)
    image.header.set_xyzt_units(unit)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    image.to_filename(path)


def save_ome_zarr(path: Path, version: str, axes: str, array: Any, scale: list[float], **image: Any) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    for level in ("0", "1"):
        group.create_array(level, data=array if level == "0" else array[..., ::2])
    units = {"z": "nanometer", "y": "micrometer", "x": "micrometer"}
    multiscales = {
        "axes": [{"name": axis, "unit": units[axis]} if axis in units else {"name": axis} for axis in axes],
        "datasets": [{"path": p, "coordinateTransformations": [{"type": "scale", "scale": scale}]} for p in "01"],
        **image,
    }
    attributes = {"multiscales": [multiscales]}
    group.attrs.update(attributes if version == "0.4" else {"ome": {"version": version, **attributes}})


def save_hdf5(path: Path, **datasets: Any) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file.create_group("g").create_dataset(name, data=data) if name == "nested" else file.create_dataset(
                name, data=data
            )
