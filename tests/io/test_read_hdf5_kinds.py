"""Reading Imaris, MATLAB, netCDF, NeXus and EMD files, made as their own programs make them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from images import SHAPE, check_volume, ramp

from napari_tinc.errors import ReadWarning
from napari_tinc.io.read import read_image, read_volumes

h5py = pytest.importorskip("h5py")
SAID = "MATLAB's rows, columns and pages"

# --- Imaris -----------------------------------------------------------------------------------------------------------


def characters(text: str) -> Any:
    """As Imaris stores all its attributes."""
    return np.array(list(text), "S1")


def save_imaris(path: Path, array: np.ndarray[Any, Any], image: dict[str, str]) -> None:
    with h5py.File(path, "w") as file:
        for t, c in np.ndindex(*array.shape[:2]):
            group = file.create_group(f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}")
            padded = np.zeros((8, 16, 16), array.dtype)
            padded[tuple(map(slice, array.shape[2:]))] = array[t, c]
            group.create_dataset("Data", data=padded, chunks=(8, 8, 8), compression="gzip")
            for axis, n in zip("ZYX", array.shape[2:], strict=True):
                group.attrs[f"ImageSize{axis}"] = characters(str(n))
            file.require_group(f"DataSet/ResolutionLevel 1/TimePoint {t}/Channel {c}")["Data"] = padded[::2, ::2, ::2]
        info = file.create_group("DataSetInfo/Image")
        for name, text in image.items():
            info.attrs[name] = characters(text)
        for c, (name, color) in enumerate([("DAPI", "0.000 0.000 1.000"), ("GFP", "0.000 1.000 0.200")]):
            channel = file.create_group(f"DataSetInfo/Channel {c}")
            channel.attrs["Name"], channel.attrs["Color"] = characters(name), characters(color)


ENDS = {
    "Unit": "um",
    "ExtMin0": "10",
    "ExtMax0": "13",
    "ExtMin1": "-1.5",
    "ExtMax1": "0",
    "ExtMin2": "0",
    "ExtMax2": "8",
}


def test_imaris(tmp_path: Path) -> None:
    """As HDF5 it was read with the filling, 8 x 16 x 16, and without spacing."""
    array = ramp((3, 2, *SHAPE))
    save_imaris(tmp_path / "v.ims", array, ENDS)
    image = read_volumes(tmp_path / "v.ims")
    assert image.axes == "TCZYX" and image.array.shape == array.shape
    np.testing.assert_array_equal(image.array, array)
    np.testing.assert_array_equal(image.array[1:, 1, -2, ::2], array[1:, 1, -2, ::2])
    np.testing.assert_array_equal(image.array[2, :, 1:3, 2], array[2, :, 1:3, 2])
    assert (image.spacing, image.units) == ((2.0, 0.3, 0.5), "micrometer")
    assert image.channels == [{"name": "DAPI", "color": "#0000ff"}, {"name": "GFP", "color": "#00ff33"}]


def test_imaris_that_lacks_a_part_is_refused(tmp_path: Path) -> None:
    save_imaris(tmp_path / "v.ims", ramp((3, 2, *SHAPE)), ENDS)
    with h5py.File(tmp_path / "v.ims", "a") as file:
        del file["DataSet/ResolutionLevel 0/TimePoint 1"]
    with pytest.raises(ValueError, match="it has TimePoint 0, 2, expected all from 0"):
        read_image(tmp_path / "v.ims")


# --- MATLAB -----------------------------------------------------------------------------------------------------------


def test_matlab_before_7_3(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    rows_columns_pages = ramp().transpose(1, 2, 0)
    scipy_io.savemat(tmp_path / "v.mat", {"volume": rows_columns_pages, "table": ramp((5, 6)), "note": "text"})
    with pytest.warns(ReadWarning, match=SAID):
        check_volume(read_image(tmp_path / "v.mat"), None, None)
    np.testing.assert_array_equal(read_image(f"{tmp_path}/v.mat:volume", axes="ZYX").array, rows_columns_pages)
    scipy_io.savemat(tmp_path / "two.mat", {"a": ramp(), "b": ramp()})
    with pytest.raises(ValueError, match=r"it has 2 variables .*: .*two\.mat:a \(4x5x6\), .*two\.mat:b"):
        read_image(tmp_path / "two.mat")


def test_matlab_7_3(tmp_path: Path) -> None:
    """MATLAB writes its arrays with axes reversed, and a line of text before the HDF5."""
    with h5py.File(tmp_path / "v.mat", "w", userblock_size=512) as file:
        file["volume"] = ramp().transpose(0, 2, 1)  # pages, columns, rows
        file["volume"].attrs["MATLAB_class"] = np.bytes_("uint16")
        file["mask"] = (ramp((4, 5, 6, 3)) % 2).astype("u1")
        file["mask"].attrs["MATLAB_class"] = np.bytes_("logical")
    with (tmp_path / "v.mat").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512))
    with pytest.warns(ReadWarning, match=SAID):
        check_volume(read_image(f"{tmp_path}/v.mat:volume"), None, None)
    with pytest.warns(ReadWarning, match=SAID):
        mask = read_image(f"{tmp_path}/v.mat:/mask")
    assert mask.axes == "QZYX" and mask.array.dtype == bool
    np.testing.assert_array_equal(mask.array, (ramp((4, 5, 6, 3)) % 2).transpose(0, 1, 3, 2).astype(bool))


# --- netCDF -----------------------------------------------------------------------------------------------------------


def save_netcdf(path: Path, kind: str, names: tuple[str, ...] = ("z", "y", "x"), **attributes: Any) -> None:
    netcdf = pytest.importorskip("netCDF4")
    with netcdf.Dataset(path, "w", format=kind) as file:
        for name, n in zip(names, SHAPE, strict=True):
            file.createDimension(name, n)
            axis = file.createVariable(name, "f8", (name,))
            axis[:] = np.arange(n) * {"z": 2.0, "y": 0.5}.get(name, -0.25) + 3
            axis.units = "um" if name in "zyx" else "degrees_north"
        fill = attributes.pop("_FillValue", None)
        variable = file.createVariable("density", "i2", names, fill_value=fill)
        variable.set_auto_maskandscale(False)
        variable[:] = ramp(dtype="i2")
        variable.setncatts(attributes)
        file.createVariable("table", "f4", names[:2])[:] = 0


@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET"])
@pytest.mark.parametrize("names", [("z", "y", "x"), ("x", "y", "z")])
def test_netcdf(tmp_path: Path, kind: str, names: tuple[str, ...]) -> None:
    save_netcdf(tmp_path / "v.nc", kind, names)
    expected = ramp(dtype="i2") if names[0] == "z" else ramp(dtype="i2").T
    image = read_image(tmp_path / "v.nc")
    np.testing.assert_array_equal(image.array, expected)
    assert (image.axes, image.spacing, image.units) == ("ZYX", (2.0, 0.5, 0.25), "micrometer")


@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_CLASSIC"])
def test_netcdf_values_are_those_that_netcdf4_shows(tmp_path: Path, kind: str) -> None:
    netcdf = pytest.importorskip("netCDF4")
    save_netcdf(tmp_path / "v.nc", kind, scale_factor=0.1, add_offset=-7.0, _FillValue=50)
    with pytest.warns(ReadWarning, match=r"voxels that hold 50 \(_FillValue\) have no value, and become NaN"):
        values = np.asarray(read_image(f"{tmp_path}/v.nc:density", precise=True).array)
    with netcdf.Dataset(tmp_path / "v.nc") as file:
        shown = file["density"][:]
    np.testing.assert_array_equal(np.isnan(values), shown.mask)
    np.testing.assert_allclose(values[~shown.mask], shown.compressed(), rtol=1e-12)


@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_CLASSIC"])
def test_netcdf_of_unsigned_values(tmp_path: Path, kind: str) -> None:
    save_netcdf(tmp_path / "v.nc", kind, _Unsigned="true")
    image = read_image(tmp_path / "v.nc")
    assert image.array.dtype == np.uint16
    np.testing.assert_array_equal(image.array, ramp())
    save_netcdf(tmp_path / "w.nc", kind, _Unsigned="true", scale_factor=2.5)
    with pytest.raises(ValueError, match="scaled and said to be _Unsigned"):
        read_image(tmp_path / "w.nc")


def test_netcdf_of_places_on_earth(tmp_path: Path) -> None:
    save_netcdf(tmp_path / "v.nc", "NETCDF4", ("time", "lat", "lon"))
    assert read_image(tmp_path / "v.nc").axes == "TYX"
    with pytest.raises(ValueError, match=r"has axes TYX.*--axes"):
        read_volumes(tmp_path / "v.nc")


# --- NeXus and EMD ----------------------------------------------------------------------------------------------------


def test_nexus_names_its_image(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.nxs", "w") as file:
        file.attrs["default"] = "entry"
        file.create_group("entry").attrs["default"] = "reconstruction"
        file["entry/dark"] = ramp() * 0
        group = file.create_group("entry/reconstruction")
        group.attrs.update({"NX_class": "NXdata", "signal": "data", "axes": ["x", "y", "z"]})
        group["data"] = ramp().T
        for name, step in {"x": 0.5, "y": 1.0, "z": 2.0}.items():
            group[name] = np.arange(group["data"].shape["xyz".index(name)]) * step
            group[name].attrs["units"] = "mm"
    check_volume(read_image(tmp_path / "scan.nxs"), (2.0, 1.0, 0.5), "millimeter")
    check_volume(read_image(f"{tmp_path}/scan.nxs:/entry/dark"), None, None, ramp() * 0)
    with h5py.File(tmp_path / "scan.nxs", "a") as file:
        del file.attrs["default"]
    with pytest.raises(ValueError, match=r"2 3D datasets.*:/entry/dark \(4x5x6\), .*:/entry/reconstruction/data"):
        read_image(tmp_path / "scan.nxs")


def test_emd(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "tomo.emd", "w") as file:
        group = file.create_group("data/tomogram")
        group.attrs["emd_group_type"] = 1
        group["data"] = ramp()
        for number, (name, n) in enumerate(zip("zyx", SHAPE, strict=True), 1):
            group[f"dim{number}"] = np.arange(n) * 0.5
            group[f"dim{number}"].attrs.update({"name": name, "units": "[n_m]"})
    check_volume(read_image(tmp_path / "tomo.emd"), (0.5, 0.5, 0.5), "nanometer")


def test_frames_of_velox_are_not_taken_for_columns(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "frames.emd", "w") as file:
        file["Data/Image/0a1b/Data"] = ramp()
    with pytest.raises(ValueError, match=r"has axes YXQ.*--axes"):
        read_volumes(tmp_path / "frames.emd")
