"""Random files of simulations, microscopes and MATLAB, each with what its own library says of it."""

from __future__ import annotations

import itertools
import json
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from fuzz_files import UNITS, Expected, numbers, sizes

SYMBOLS = {"micrometer": "um", "millimeter": "mm", "nanometer": "nm"}


def long_unit(rng: np.random.Generator) -> str:
    """A unit of length, as OME-Zarr spells it."""
    return str(rng.choice(list(UNITS.values())))


def netcdf(rng: np.random.Generator, path: Path) -> Expected:
    """A netCDF file of SciPy's or of netCDF4's, with coordinates, a scale and a fill value."""
    from scipy.io import netcdf_file

    is_classic = bool(rng.random() < 0.5)
    array = numbers(rng, ("i1", "i2", "i4", "f4", "f8") if is_classic else ("u1", "i2", "u2", "i4", "f4", "f8"), 3, "<")
    attributes, shown, said = _netcdf_scale(rng, array)
    names = ("z", "y", "x") if rng.random() < 0.6 else ("time", "lat", "lon")
    spacing, unit = sizes(rng), long_unit(rng)
    has_steps = names[0] == "z" and bool(rng.random() < 0.6)
    if is_classic:
        file: Any = netcdf_file(path / "v.nc", "w", version=int(rng.integers(1, 3)))
    else:
        file = pytest.importorskip("netCDF4").Dataset(path / "v.nc", "w")
        file.set_auto_maskandscale(False)
    for name, length, step in zip(names, array.shape, spacing, strict=True):
        file.createDimension(name, length)
        if has_steps:
            axis = file.createVariable(name, "f8", (name,))
            axis[:], axis.units = np.arange(length) * step - 3, SYMBOLS[unit]
    fill = {} if is_classic or "_FillValue" not in attributes else {"fill_value": attributes.pop("_FillValue")}
    options = {} if is_classic else {"zlib": bool(rng.random() < 0.5)}
    dtype = array.dtype
    if not is_classic and dtype.itemsize > 1 and rng.random() < 0.5:
        dtype, options["endian"] = dtype.newbyteorder(">"), "big"
    with warnings.catch_warnings():  # netCDF4 warns of any byte order
        warnings.simplefilter("ignore")
        variable = file.createVariable("v", dtype, names, **options, **fill)
    if not is_classic:
        variable.set_auto_maskandscale(False)
    variable[:] = array
    for name, value in attributes.items():
        setattr(variable, name, value)
    file.close()
    axes = "ZYX" if names[0] == "z" else "TYX"
    return Expected(shown, spacing if has_steps else None, unit if has_steps else None, axes=axes, said=said)


def _netcdf_scale(rng: np.random.Generator, array: np.ndarray) -> tuple[dict[str, Any], np.ndarray, str]:
    """Attributes of a variable, its values as netCDF programs show them, and what is to be said."""
    attributes: dict[str, Any] = {}
    shown, said = array, ""
    if array.dtype.kind in "iu" and rng.random() < 0.5:
        scale, offset = float(rng.choice([0.5, 0.01, 0.25])), float(rng.choice([0, -5, 0.25]))
        attributes = {"scale_factor": np.float64(scale), "add_offset": np.float64(offset)}
        shown = array * np.float64(scale) + offset
    if rng.random() < 0.4:
        fill = array.flat[int(rng.integers(array.size))]
        attributes[str(rng.choice(["_FillValue", "missing_value"]))] = fill
        said = "have no value, and become NaN|stands for voxels without a value"
        if array.dtype.kind == "f" or "scale_factor" in attributes:
            shown = np.where(array == fill, np.nan, shown)
    return attributes, shown, said


def matlab(rng: np.random.Generator, path: Path) -> Expected:
    """A variable of MATLAB: of SciPy's version 5, or of version 7.3 in the layout that MATLAB writes."""
    array = numbers(rng, ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "?"), int(rng.integers(3, 5)), "<")
    array = array.transpose(2, 1, 0) if array.ndim == 3 else array.transpose(3, 2, 1, 0)  # rows, columns, pages
    if rng.random() < 0.5:
        from scipy.io import savemat

        savemat(path / "v.mat", {"v": array, "note": "text"}, do_compression=bool(rng.random() < 0.5))
    else:
        with pytest.importorskip("h5py").File(path / "v.mat", "w", userblock_size=512) as file:
            kind = {"float32": "single", "float64": "double", "bool": "logical"}.get(array.dtype.name, array.dtype.name)
            stored = array.astype("u1") if kind == "logical" else array
            dataset = file.create_dataset("v", data=stored.T, compression=[None, "gzip"][int(rng.integers(2))])
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
            if kind == "logical":
                dataset.attrs["MATLAB_int_decode"] = np.int32(1)
    order = (2, 0, 1) if array.ndim == 3 else (3, 2, 0, 1)  # rows are y, columns x, pages z
    return Expected(array.transpose(order), None, None, said="MATLAB's rows, columns and pages")


def imaris(rng: np.random.Generator, path: Path) -> Expected:
    """An Imaris file: several channels and points in time, filled up to whole chunks, smaller copies."""
    h5py = pytest.importorskip("h5py")
    one, spacing = numbers(rng, ("u1", "u2", "f4"), 3, "<"), sizes(rng)
    times, channels = (int(n) for n in rng.integers(1, 3, 2))
    array = np.stack([np.roll(one, number) for number in range(times * channels)])
    array = array.reshape(times, channels, *one.shape)
    names = tuple(f"stain {number}" for number in range(channels))

    def text(words: object) -> Any:
        return np.array(list(str(words)), "S1")

    with h5py.File(path / "v.ims", "w") as file:
        for t, c in np.ndindex(times, channels):
            group = file.create_group(f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}")
            padded = np.zeros([-(-n // 8) * 8 for n in one.shape], one.dtype)
            padded[tuple(map(slice, one.shape))] = array[t, c]
            group.create_dataset("Data", data=padded, chunks=(8, 8, 8), compression="gzip")
            file.require_group(f"DataSet/ResolutionLevel 1/TimePoint {t}/Channel {c}")["Data"] = padded[::2, ::2, ::2]
            for axis, n in zip("ZYX", one.shape, strict=True):
                group.attrs[f"ImageSize{axis}"] = text(n)
        info = file.create_group("DataSetInfo/Image")
        for number, (axis, n, step) in enumerate(zip("XYZ", one.shape[::-1], spacing[::-1], strict=True)):
            info.attrs[axis], info.attrs[f"ExtMin{number}"] = text(n), text(-1.5)
            info.attrs[f"ExtMax{number}"] = text(repr(n * step - 1.5))
        info.attrs["Unit"] = text("um")
        for c, name in enumerate(names):
            group = file.create_group(f"DataSetInfo/Channel {c}")
            group.attrs["Name"], group.attrs["Color"] = text(name), text("0.000 1.000 0.200")
    return Expected(array, spacing, "micrometer", names=names if channels > 1 else None)


def n5(rng: np.random.Generator, path: Path) -> Expected:
    """An N5 dataset of TensorStore's, with what BigDataViewer, or COSEM, says of its voxels."""
    tensorstore = pytest.importorskip("tensorstore")
    array, spacing = numbers(rng, ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"), 3, "<"), sizes(rng)
    chunks = [int(rng.integers(1, n + 1)) for n in array.shape[::-1]]
    packing = {"type": str(rng.choice(["raw", "gzip", "bzip2", "xz"]))}
    metadata = {"dimensions": array.shape[::-1], "blockSize": chunks, "dataType": array.dtype.name}
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": str(path / "v.n5" / "a")}}
    store = tensorstore.open({**spec, "metadata": {**metadata, "compression": packing}}, create=True).result()
    store[...] = array.T
    attributes, unit = path / "v.n5" / "a" / "attributes.json", long_unit(rng)
    facts = json.loads(attributes.read_text())
    kind = int(rng.integers(3))
    if kind == 0:
        facts["pixelResolution"] = {"dimensions": spacing[::-1], "unit": SYMBOLS[unit]}
    elif kind == 1:
        facts["transform"] = {"axes": ["z", "y", "x"], "scale": spacing, "units": [SYMBOLS[unit]] * 3,
                              "translate": [0.0] * 3}  # fmt: skip
    attributes.write_text(json.dumps(facts))
    return Expected(array, spacing if kind < 2 else None, unit if kind < 2 else None)


def ome_zarr(rng: np.random.Generator, path: Path) -> Expected:
    """An OME-Zarr image of version 0.4 or 0.5 with some of the axes t, c, z, y, x, in a folder or a zip file."""
    zarr = pytest.importorskip("zarr")
    version, axes = str(rng.choice(["0.4", "0.5"])), str(rng.choice(["zyx", "czyx", "tzyx", "tczyx", "zcyx", "xyz"]))
    array, spacing = numbers(rng, ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"), len(axes), "<"), sizes(rng)
    if axes == "zcyx":
        axes, array = "czyx", np.ascontiguousarray(array)
    unit, scale = long_unit(rng), dict(zip("zyx", spacing, strict=True))
    entries = [{"name": axis, "type": {"t": "time", "c": "channel"}.get(axis, "space")} for axis in axes]
    for entry in entries:
        if entry["type"] == "space":
            entry["unit"] = unit
    steps: list[dict[str, Any]] = [{"type": "scale", "scale": [scale.get(axis, 1.0) for axis in axes]}]
    matrix = None
    if rng.random() < 0.5:
        shift = {axis: round(float(rng.uniform(1, 50)), 2) for axis in "zyx"}
        steps.append({"type": "translation", "translation": [shift.get(axis, 0.0) for axis in axes]})
        matrix = np.diag([*spacing[::-1], 1.0])
        matrix[:3, 3] = [shift[axis] for axis in "xyz"]
    image = {"name": "v", "axes": entries, "datasets": [{"path": "s0", "coordinateTransformations": steps}]}
    names = tuple(f"stain {number}" for number in range(array.shape[axes.index("c")])) if "c" in axes else None
    attributes: dict[str, Any] = {"multiscales": [image if version == "0.5" else {**image, "version": "0.4"}]}
    if names:
        attributes["omero"] = {"channels": [{"label": name, "color": "00FF00"} for name in names]}
    chunks = tuple(int(rng.integers(1, n + 1)) for n in array.shape)
    is_sharded = version == "0.5" and bool(rng.random() < 0.4)
    group = zarr.create_group(path / "v.zarr", zarr_format=3 if version == "0.5" else 2)
    group.attrs.update({"ome": {"version": "0.5", **attributes}} if version == "0.5" else attributes)
    made = group.create_array(
        "s0", shape=array.shape, dtype=array.dtype, chunks=chunks,
        shards=tuple(2 * n for n in chunks) if is_sharded else None,
        compressors="auto" if rng.random() < 0.7 else None,
        order=str(rng.choice(["C", "F"])) if version == "0.4" else None,
    )  # fmt: skip
    made[...] = array
    if rng.random() < 0.3:
        _zip(path / "v.zarr", path / str(rng.choice(["v.ozx", "v.zarr.zip"])))
    order = [axes.index(axis) for axis in axes if axis not in "zyx"] + [axes.index(axis) for axis in "zyx"]
    return Expected(array.transpose(order), spacing, unit, matrix, "", names if names and len(names) > 1 else None)


def _zip(folder: Path, file: Path) -> None:
    """Put a folder into a zip file, as it stands, and remove it."""
    with zipfile.ZipFile(file, "w") as archive:
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                archive.write(one, one.relative_to(folder))
    shutil.rmtree(folder)


def hyperstack(rng: np.random.Generator, path: Path) -> Expected:
    """A TIFF of ImageJ's kind, or OME-TIFF, with channels and points in time; tifffile's reading tells the values."""
    is_ome = bool(rng.random() < 0.5)
    axes = str(rng.choice(["TZCYX", "ZCYX", "TZYX"]) if not is_ome else rng.choice(["TCZYX", "CZYX", "ZCYX", "TZYX"]))
    array, spacing = numbers(rng, ("u1", "u2", "f4"), len(axes), "<"), sizes(rng)
    metadata: dict[str, Any] = {"axes": axes}
    options: dict[str, Any] = {}
    names = None
    if is_ome:
        for axis, edge in zip("ZYX", spacing, strict=True):
            metadata |= {f"PhysicalSize{axis}": edge, f"PhysicalSize{axis}Unit": "nm"}
        if "C" in axes:
            names = tuple(f"stain {number}" for number in range(array.shape[axes.index("C")]))
            metadata["Channel"] = {"Name": list(names)}
        options["compression"] = [None, "zlib"][int(rng.integers(2))]
    else:
        metadata |= {"spacing": spacing[0], "unit": "nm"}
        options["resolution"] = (1 / spacing[2], 1 / spacing[1])
    tifffile.imwrite(
        path / "v.tif", array, imagej=not is_ome, ome=is_ome, metadata=metadata, photometric="minisblack", **options
    )
    with tifffile.TiffFile(path / "v.tif") as tiff:
        stored, values = tiff.series[0].axes, tiff.series[0].asarray()
    order = [stored.index(axis) for axis in stored if axis not in "ZYX"] + [stored.index(axis) for axis in "ZYX"]
    others = "".join(axis for axis in stored if axis not in "ZYX")
    return Expected(values.transpose(order), spacing, "nanometer", names=names, axes=f"{others}ZYX")


def named_axes(rng: np.random.Generator, path: Path) -> Expected:
    """An array whose axes the caller names."""
    axes = "".join(rng.permutation(list("ZYX"))) if rng.random() < 0.5 else "".join(rng.permutation(list("CZYX")))
    array = numbers(rng, ("u1", "i2", "f4", "f8"), len(axes))
    np.save(path / "v.npy", array)
    order = [
        axes.index(axis) for axis in itertools.chain(axes.replace("Z", "").replace("Y", "").replace("X", ""), "ZYX")
    ]
    return Expected(array.transpose(order), None, None, choices={"axes": axes.lower()})


WRITERS: tuple[Callable[[np.random.Generator, Path], Expected], ...] = (
    netcdf, matlab, imaris, n5, ome_zarr, hyperstack, named_axes,
)  # fmt: skip
NAMES = ("v.nc", "v.mat", "v.ims", "v.n5", "v.ozx", "v.zarr.zip")
