"""Reading images of other formats. Every file is made here."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_tinc.encoding.sources import Source
from napari_tinc.io import image as io_image
from napari_tinc.io import tiff as io_tiff
from napari_tinc.io import units as io_units
from napari_tinc.io.arrays import AxesView
from napari_tinc.io.read import read_image
from napari_tinc.io.write import write_image

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


# --- TIFF ------------------------------------------------------------------------------------------------------------


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
        ({"unit": "parrots", "spacing": 3.0}, (3, 0.5, 0.25), None),
        ({"unit": "mm", "zunit": "pixel"}, None, None),
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
        ({"PhysicalSizeX": 1, "PhysicalSizeY": 2}, None, None),
        ({"PhysicalSizeX": 1, "PhysicalSizeY": 2, "PhysicalSizeZ": 3}, (3, 2, 1), "micrometer"),
        (
            {"PhysicalSizeX": 1, "PhysicalSizeY": 2, "PhysicalSizeZ": 300, "PhysicalSizeZUnit": "nm"},
            (0.3, 2, 1),
            "micrometer",
        ),
        ({"PhysicalSizeX": 0, "PhysicalSizeY": 2, "PhysicalSizeZ": 3}, None, None),
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


# --- .npy ------------------------------------------------------------------------------------------------------------


def test_npy_is_not_copied_into_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.asfortranarray(ramp((1, 1, *SHAPE))))
    image = read_image(tmp_path / "v.npy")
    check_volume(image, None, None)
    assert isinstance(image.array, np.memmap)


def test_an_array_larger_than_memory_is_opened_unread(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    header = np.lib.format.open_memmap(tmp_path / "v.npy", "w+", np.uint16, (2, 1024, 4096, 2048))  # 32 GB of holes
    del header
    assert (tmp_path / "v.npy").stat().st_blocks * 512 < 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    image = read_image(tmp_path / "v.npy")
    source = Source.of(image.array)
    assert image.axes == "QZYX" and source.nbytes == 2**35
    assert source.read(1, (slice(500, 564), slice(2000, 2064), slice(9, 73))).shape == (64, 64, 64)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize(
    ("shape", "axes", "kept"),
    [
        ((2, *SHAPE), "QZYX", (2, *SHAPE)),
        ((1, 2, *SHAPE), "QZYX", (2, *SHAPE)),
        ((3, 2, *SHAPE), "QQZYX", (3, 2, *SHAPE)),
        ((1, 5, 6), "ZYX", (1, 5, 6)),
        ((5, 6), "YX", (5, 6)),
        ((6,), "X", (6,)),
    ],
)
def test_npy_axes(tmp_path: Path, shape: tuple[int, ...], axes: str, kept: tuple[int, ...]) -> None:
    np.save(tmp_path / "v.npy", ramp(shape))
    image = read_image(tmp_path / "v.npy")
    assert (image.axes, image.array.shape) == (axes, kept)


# --- NIfTI -----------------------------------------------------------------------------------------------------------


def save_nifti(path: Path, xyz: Any, slope: float | None = None, inter: float = 0, unit: str = "mm") -> None:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(xyz, np.diag([0.13, 0.26, 0.29, 1]))
    image.header.set_xyzt_units(unit)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    image.to_filename(path)


@pytest.mark.parametrize("name", ["brain.nii", "brain.nii.gz"])
@pytest.mark.parametrize(
    ("unit", "units"), [("mm", "millimeter"), ("micron", "micrometer"), ("meter", "meter"), ("unknown", None)]
)
def test_nifti(tmp_path: Path, name: str, unit: str, units: str | None) -> None:
    save_nifti(tmp_path / name, ramp(dtype="int16").T, unit=unit)
    image = read_image(tmp_path / name)
    check_volume(image, SPACING, units, ramp(dtype="int16"))
    assert image.spacing == SPACING  # not 0.28999999165534973
    assert image.name == "brain"


@pytest.mark.parametrize(("slope", "inter", "dtype"), [(1, 0, "int16"), (2, -1024, "float32"), (1, 5, "float32")])
def test_nifti_scaling(tmp_path: Path, slope: float, inter: float, dtype: str) -> None:
    scaled = (ramp(dtype="int16") * slope + inter).astype(dtype)  # nibabel stores what its scaling maps back to this
    save_nifti(tmp_path / "v.nii", scaled.T.astype("int16"), slope, inter)
    stored = np.fromfile(tmp_path / "v.nii", "<i2", offset=352).reshape(SHAPE)
    check_volume(read_image(tmp_path / "v.nii"), SPACING, "millimeter", (stored * slope + inter).astype(dtype))


def test_nifti_is_not_read(tmp_path: Path) -> None:
    save_nifti(tmp_path / "v.nii", ramp(dtype="int16").T)
    array = read_image(tmp_path / "v.nii").array
    assert isinstance(array, np.memmap)
    del array
    save_nifti(tmp_path / "w.nii", ramp((2, *SHAPE), "int16").T, 2, 5)
    scaled = np.fromfile(tmp_path / "w.nii", "<i2", offset=352).reshape(2, *SHAPE) * 2.0 + 5
    view = read_image(tmp_path / "w.nii").array
    assert isinstance(view, AxesView) and isinstance(view.array, np.memmap)
    assert (view.dtype, view.shape) == (np.float32, (2, *SHAPE))
    np.testing.assert_array_equal(view[1, 2:, 3], scaled[1, 2:, 3])


def test_nifti_time_series_and_unknown_unit_code(tmp_path: Path) -> None:
    save_nifti(tmp_path / "t.nii", ramp((6, 5, 4, 2), "int16"))
    assert read_image(tmp_path / "t.nii").axes == "TZYX"
    save_nifti(tmp_path / "one.nii", ramp((6, 5, 4, 1), "int16"))
    content = bytearray((tmp_path / "one.nii").read_bytes())
    content[123] = 99
    (tmp_path / "one.nii").write_bytes(content)
    check_volume(read_image(tmp_path / "one.nii"), SPACING, "micrometer", ramp((6, 5, 4), "int16").T)


# --- Zarr ------------------------------------------------------------------------------------------------------------


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
    assert (level.array.shape, level.name, level.spacing) == ((4, 5, 3), "v 1", None)


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
    with pytest.raises(ValueError, match="give an array in it: none"):
        read_image(tmp_path / "v.zarr")
    group.create_array("raw", data=ramp())
    with pytest.raises(ValueError, match=r"not an OME-Zarr image; give an array in it: .*v\.zarr/raw"):
        read_image(tmp_path / "v.zarr")
    check_volume(read_image(tmp_path / "v.zarr" / "raw"), None, None)


# --- HDF5 ------------------------------------------------------------------------------------------------------------


def save_hdf5(path: Path, **datasets: Any) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file.create_group("g").create_dataset(name, data=data) if name == "nested" else file.create_dataset(
                name, data=data
            )


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".hdf", ".H5"])
def test_hdf5(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    save_hdf5(path, nested=ramp((1, *SHAPE)), table=ramp((5, 6)), other=ramp(dtype="uint8"))
    for key in ("/g/nested", "g/nested"):
        image = read_image(f"{path}:{key}")
        check_volume(image, None, None)
        assert image.name == "v nested"
    path.unlink()


def test_hdf5_takes_the_only_volume(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    save_hdf5(tmp_path / "v.h5", nested=ramp(), table=ramp((5, 6)), nothing=h5py.Empty("f4"))
    with h5py.File(tmp_path / "v.h5", "a") as file:
        file["g/nested"].attrs["element_size_um"] = SPACING
    image = read_image(tmp_path / "v.h5")
    check_volume(image, SPACING, "micrometer")
    assert image.name == "v"


def test_hdf5_channels_are_left_unread(tmp_path: Path) -> None:
    save_hdf5(tmp_path / "v.h5", raw=ramp((2, *SHAPE)))
    image = read_image(f"{tmp_path}/v.h5:/raw")
    assert image.axes == "QZYX"
    np.testing.assert_array_equal(image.array[1], ramp((2, *SHAPE))[1])  # its file is still open


def test_hdf5_errors_list_the_volumes(tmp_path: Path) -> None:
    save_hdf5(tmp_path / "v.h5", raw=ramp(), nested=ramp((2, 3, 4)), table=ramp((5, 6)))
    listed = r"3D datasets: .*v\.h5:/g/nested \(2x3x4\), .*v\.h5:/raw \(4x5x6\)$"
    for path, problem in [("v.h5", "it has 2 3D datasets, not one"), ("v.h5:/lost", "it has no dataset /lost")]:
        with pytest.raises(ValueError, match=f"{problem}; {listed}"):
            read_image(tmp_path / path)
    save_hdf5(tmp_path / "none.h5", table=ramp((5, 6)))
    with pytest.raises(ValueError, match="it has 0 3D datasets, not one; 3D datasets: none"):
        read_image(tmp_path / "none.h5")
    save_hdf5(tmp_path / "many.h5", **{f"t{i}": ramp((2, 2, 2)) for i in range(20)})
    with pytest.raises(ValueError, match=r"it has 20 3D datasets.*:/t17 \(2x2x2\), \.\.\.$"):
        read_image(tmp_path / "many.h5")


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v.tif", "v.npy", "v.nii.gz", "v.zarr", "v.zarr/0", "v.h5", "v.h5:/raw"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=name.partition(":")[0]):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "problem"), [("v.png", "the suffix .png is not supported"), ("v", "it has no suffix")]
)
def test_unsupported_suffix(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{problem}; supported are \.tif, \.tiff, \.npy, \.nii, \.nii\.gz, \.zarr, \.h5"
    ):
        read_image(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"not an image of any kind\n" * 20])
@pytest.mark.parametrize("name", ["v.tif", "v.npy", "v.nii", "v.nii.gz", "v.zarr", "v.h5"])
def test_unreadable_file(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"^cannot read .*{name}: .+") as caught:
        read_image(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("name", ["v.tif", "v.npy", "v.nii", "v.nii.gz", "v.h5"])
def test_file_cut_in_half(tmp_path: Path, name: str) -> None:
    array = np.random.default_rng(0).integers(0, 2**15, (8, 16, 16), np.int16)
    if name.startswith("v.nii"):
        save_nifti(tmp_path / name, array)
    elif name == "v.h5":
        save_hdf5(tmp_path / name, raw=array)
    else:
        write_image(tmp_path / name, array, None, None)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"^cannot read .*{name}: .+"):
        read_image(tmp_path / name)


def test_folders_and_archives_and_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "folder.zarr").mkdir()
    with (tmp_path / "archive.npy").open("wb") as stream:
        np.savez(stream, a=ramp(), b=ramp())
    np.save(tmp_path / "pickle.npy", np.array([{}, {}], object))
    for name in ("folder.tif", "folder.zarr", "archive.npy", "pickle.npy"):
        with pytest.raises(ValueError, match=f"cannot read .*{name}: .+"):
            read_image(tmp_path / name)


@pytest.mark.parametrize(("name", "library"), [("v.nii", "nibabel"), ("v.zarr", "zarr"), ("v.h5", "h5py")])
def test_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str) -> None:
    (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf'needs {library}: pip install "napari-tinc\[io\]"'):
        read_image(tmp_path / name)


# --- units and imports -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(io_units.UNITS))
def test_units_are_those_of_napari(name: str) -> None:
    pint = pytest.importorskip("pint")
    unit = pint.get_application_registry().parse_expression(name).units
    symbol, metres = io_units.UNITS[name]
    if name != "pixel":
        assert (1 * unit).to("meter").magnitude == pytest.approx(metres)
    assert {io_units.unit_name(text) for text in (name, symbol, f"{name}s", name.title())} == {name}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("μm", "micrometer"),
        ("µm", "micrometer"),
        ("\u212b", "angstrom"),
        ("Micrometre", "micrometer"),
        (" mm ", "millimeter"),
    ]
    + [(text, None) for text in (None, "", "Mm", "reference frame", "second", 3)],
)
def test_unit_spellings(text: object, name: str | None) -> None:
    assert io_units.unit_name(text) == name


def test_importing_the_module_imports_no_library() -> None:
    heavy = ["tifffile", "nibabel", "h5py", "zarr", "torch", "napari", "qtpy"]
    code = f"import sys, napari_tinc.io.image; sys.exit(', '.join(set({heavy}) & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
