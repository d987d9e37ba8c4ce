"""Random image files of many kinds, each with the values, spacing and unit that its own library reads from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import tifffile

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "i8", "u8", "?")
UNITS = {"mm": "millimeter", "µm": "micrometer", "nm": "nanometer"}


class Expected(NamedTuple):
    """What a file has, as the library that wrote it reads it.

    Attributes
    ----------
    values : (..., z, y, x).
    spacing : of z, y, x in ``units``.
    matrix : from voxels x, y, z to the world in ``units``, or to ``space``; None if that is not compared.
    names : of the channels; None if these are not compared.
    axes : letters of the axes; None if they are not compared.
    said : a pattern of the warnings that must come, and the only ones that may.
    choices : how the file is to be read, as for ``read_image``.
    """

    values: Any
    spacing: tuple[float, float, float] | None
    units: str | None
    matrix: Any = None
    space: str = "RAS"
    names: tuple[str, ...] | None = None
    axes: str | None = None
    said: str = ""
    choices: Mapping[str, Any] = MappingProxyType({})


def numbers(rng: np.random.Generator, dtypes: tuple[str, ...], ndim: int, orders: str = "<>") -> np.ndarray:
    """Random numbers over a part of a random dtype's range, in a random byte order."""
    shape = tuple(int(n) for n in rng.integers(2, 9, ndim - 2)) + tuple(int(n) for n in rng.integers(5, 12, 2))
    dtype = np.dtype(str(rng.choice(dtypes))).newbyteorder(str(rng.choice(list(orders))))
    if dtype.kind == "b":
        return rng.random(shape) < 0.3
    if dtype.kind == "f":
        return rng.normal(0, 10.0 ** rng.integers(-2, 4), shape).astype(dtype)
    limits = np.iinfo(dtype) if dtype.itemsize < 8 else np.iinfo(f"{dtype.kind}4")
    return rng.integers(limits.min >> int(rng.integers(0, 7)), limits.max >> int(rng.integers(0, 7)), shape).astype(
        dtype
    )


def sizes(rng: np.random.Generator) -> tuple[float, float, float]:
    """Three random edges of a voxel."""
    return tuple(round(float(edge), 3) for edge in rng.uniform(0.1, 5, 3))  # type: ignore[return-value]


def nifti(rng: np.random.Generator, path: Path) -> Expected:
    """A NIfTI-1 or 2 of nibabel's, of either byte order, plain or with gzip, with slope and intercept."""
    nibabel = pytest.importorskip("nibabel")
    array = numbers(rng, ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "i8"), int(rng.integers(3, 5)), "<")
    spacing, unit = sizes(rng), str(rng.choice(list(UNITS)))
    kind = nibabel.Nifti1Image if rng.random() < 0.7 else nibabel.Nifti2Image
    header = kind.header_class(endianness=str(rng.choice(["<", ">"])))
    header.set_data_dtype(array.dtype)
    image = kind(array.T, np.diag([*spacing[::-1], 1]), header)
    image.header.set_xyzt_units({"mm": "mm", "µm": "micron"}.get(unit, "unknown"))
    if array.dtype.kind in "iu" and rng.random() < 0.6:
        slope = float(rng.choice([1, 2, 3, 0.5, 0.25, 0.01, 1.7]))
        image.header.set_slope_inter(slope, float(rng.choice([0, 1, -5, -1024, 0.5, 1e5])))
        if array.dtype.itemsize == 8:
            image.header.set_slope_inter(1, 0)
    file = path / ("v.nii.gz" if rng.random() < 0.4 else "v.nii")
    # nibabel divides by the slope when it saves; what counts is what it reads again.
    image.to_filename(file)
    shown = np.asarray(nibabel.load(file).get_fdata()).T
    return Expected(shown, spacing, UNITS[unit] if unit != "nm" else None)


def npy(rng: np.random.Generator, path: Path) -> Expected:
    """An .npy of NumPy's, of either byte order and order of axes."""
    array = numbers(rng, DTYPES, int(rng.integers(3, 6)))
    np.save(path / "v.npy", np.asfortranarray(array) if rng.random() < 0.5 else array)
    return Expected(array, None, None)


def npz(rng: np.random.Generator, path: Path) -> Expected:
    """An .npz of NumPy's, with other things in it."""
    array = numbers(rng, DTYPES, 3)
    save = np.savez if rng.random() < 0.5 else np.savez_compressed
    save(path / "v.npz", data=array, affine=np.eye(4))
    return Expected(array, None, None)


def raw(rng: np.random.Generator, path: Path) -> Expected:
    """Numbers without a header; the layout is in a file beside it, for whoever reads it."""
    array = numbers(rng, ("u1", "u2", "i2", "f4"), 3)
    offset = int(rng.integers(0, 50))
    (path / "v.vol").write_bytes(bytes(offset) + array.tobytes())
    order = "big" if array.dtype.newbyteorder("=") != array.dtype else "little"
    shape = "x".join(map(str, array.shape))
    (path / "layout").write_text(f"{shape},{array.dtype.newbyteorder('=')},{order},offset={offset}")
    return Expected(array, None, None)


def hdf5(rng: np.random.Generator, path: Path) -> Expected:
    """A dataset of h5py's, with its filters, chunks and netCDF's scale."""
    h5py = pytest.importorskip("h5py")
    array = numbers(rng, DTYPES, 3)
    options: dict[str, Any] = {}
    if rng.random() < 0.6:
        options = {"chunks": tuple(int(rng.integers(1, n + 1)) for n in array.shape)}
        options |= {"compression": [None, "gzip", "lzf"][int(rng.integers(3))], "shuffle": bool(rng.random() < 0.5)}
    shown, spacing = array, None
    with h5py.File(path / "v.h5", "w") as file:
        dataset = file.create_dataset("a/b", data=array, **options)
        if rng.random() < 0.4:
            spacing = sizes(rng)
            dataset.attrs["element_size_um"] = spacing
        if array.dtype.kind in "iu" and array.dtype.itemsize < 8 and rng.random() < 0.5:
            scale, offset = float(rng.choice([1, 2, 0.5, 0.01])), float(rng.choice([0, -5, 0.25]))
            dataset.attrs.update({"scale_factor": scale, "add_offset": offset})
            shown = array * np.float64(scale) + offset
    return Expected(shown, spacing, "micrometer" if spacing else None)


def tiff(rng: np.random.Generator, path: Path) -> Expected:
    """A TIFF of tifffile's: plain, of ImageJ's kind or OME, in either byte order, tiled or in strips, compressed."""
    kind = str(rng.choice(["plain", "imagej", "ome", "pages"]))
    dtypes = {"imagej": ("u1", "u2", "f4"), "ome": ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8")}
    array = numbers(rng, dtypes.get(kind, ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "i8", "u8")), 3, "<")
    options: dict[str, Any] = {"photometric": "minisblack"}
    compressions = [None, "zlib", "lzma", "packbits", "lzw", "zstd"]
    compression = compressions[int(rng.integers(len(compressions)))]
    if compression in ("lzw", "zstd", "packbits"):
        pytest.importorskip("imagecodecs")
    if kind != "imagej" or compression in (None, "zlib", "lzw"):
        options["compression"] = compression
    if compression in ("zlib", "lzw") and array.dtype.kind in "iu" and array.dtype.itemsize < 8 and rng.random() < 0.5:
        options["predictor"] = True
    if kind != "imagej" and rng.random() < 0.3:
        options["tile"] = (16, 16)
    order = ">" if kind == "imagej" or rng.random() < 0.5 else "<"
    spacing: tuple[float, float, float] | None = sizes(rng) if rng.random() < 0.7 else None
    unit = str(rng.choice(list(UNITS)))
    file, bigtiff = path / "v.tif", bool(kind != "imagej" and rng.random() < 0.3)
    if kind == "pages":
        with tifffile.TiffWriter(file, byteorder=order, bigtiff=bigtiff) as writer:
            for page in array:
                writer.write(page, metadata=None, contiguous=False, **options)
        return Expected(array, None, None)
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if spacing is not None and kind == "imagej":
        metadata |= {"spacing": spacing[0], "unit": {"µm": "um"}.get(unit, unit)}
        options["resolution"] = (1 / spacing[2], 1 / spacing[1])
    elif spacing is not None:
        for axis, edge in zip("ZYX", spacing, strict=True):
            metadata |= {f"PhysicalSize{axis}": edge, f"PhysicalSize{axis}Unit": unit}
    which = {"imagej": kind == "imagej", "ome": kind == "ome", "bigtiff": bigtiff}
    tifffile.imwrite(file, array, byteorder=order, metadata=metadata, **which, **options)
    return Expected(tifffile.imread(file), spacing, UNITS[unit] if spacing else None)


def slices(rng: np.random.Generator, path: Path) -> Expected:
    """A folder of slices of tifffile's or Pillow's."""
    suffix = str(rng.choice(["tif", "png"]))
    array = numbers(rng, ("u1", "u2", "i2", "f4") if suffix == "tif" else ("u1", "u2"), 3, "<")
    start, digits = int(rng.integers(0, 100)), int(rng.integers(1, 5))
    (path / "scan").mkdir()
    for number, plane in enumerate(array, start):
        file = path / "scan" / f"s3_{number:0{digits}}.{suffix}"
        if suffix == "tif":
            tifffile.imwrite(file, plane, compression=["zlib", None][number % 2])
        else:
            pytest.importorskip("PIL.Image").fromarray(plane).save(file)
    return Expected(array, None, None)


def zarr_array(rng: np.random.Generator, path: Path) -> Expected:
    """A Zarr array of either version."""
    zarr = pytest.importorskip("zarr")
    array = numbers(rng, DTYPES, 3, "<")
    chunks = tuple(int(rng.integers(1, n + 1)) for n in array.shape)
    made = zarr.create_array(
        path / "v.zarr", shape=array.shape, dtype=array.dtype, chunks=chunks, zarr_format=int(rng.integers(2, 4))
    )
    made[:] = array
    return Expected(array, None, None)


WRITERS: tuple[Callable[[np.random.Generator, Path], Expected], ...] = (
    nifti, npy, npz, raw, hdf5, tiff, tiff, slices, zarr_array,
)  # fmt: skip
NAMES = ("v.nii", "v.nii.gz", "v.npy", "v.npz", "v.vol", "v.h5", "v.tif", "scan", "v.zarr")


def file_in(folder: Path, names: Sequence[str]) -> Path:
    """The image file that a writer has made, of these names."""
    return next(folder / name for name in names if (folder / name).exists())


def same_spacing(found: Any, expected: Any) -> bool:
    """Whether spacings are equal, up to ImageJ's ratios of 32-bit integers and NIfTI's float32."""
    if found is None or expected is None:
        return found is expected
    return all(math.isclose(a, b, rel_tol=1e-5) for a, b in zip(found, expected, strict=True))
