"""Read NumPy files, and write .npy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .arrays import slabs_of, sparing
from .image import Content, default_axes
from .read_options import ReadOptions


def read_npy(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read an .npy file as a memory map."""
    try:
        array = np.lib.format.open_memmap(file, mode="r")  # np.load would also open archives of several arrays
    except ValueError as error:
        raise _objects(error) from error
    return Content(sparing(array), default_axes(array.shape))


def read_npz(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read the array of a name in an .npz file into memory, or the only one of three axes or more.

    ValueError if there is no such array, or more than one.
    """
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        names = archive.files
        if inside and inside not in names:
            raise ValueError(f"it has no array {inside}; its arrays: {', '.join(names) or 'none'}")
        if not inside:
            shapes = {name: shape for name in names if (shape := _shape_of(archive, name)) is not None}
            volumes = [name for name, shape in shapes.items() if len(shape) >= 3]
            if len(volumes) != 1:
                listed = ", ".join(f"{file}:{name} ({'x'.join(map(str, shape))})" for name, shape in shapes.items())
                raise ValueError(f"it has {len(volumes)} arrays of 3 axes or more, not one: {listed or 'no arrays'}")
            inside = volumes[0]
        try:
            array = archive[inside]
        except ValueError as error:
            raise _objects(error) from error
    return Content(array, default_axes(array.shape))


def _shape_of(archive: Any, name: str) -> tuple[int, ...] | None:
    """Return the shape of an array in an archive; None if it holds Python objects."""
    try:
        return tuple(archive[name].shape)
    except ValueError as error:
        if "bject" not in str(error):
            raise
        return None


def _objects(error: ValueError) -> ValueError:
    """Return the error for arrays of Python objects in plain words; another error as it is."""
    return ValueError("it holds Python objects, expected numbers") if "bject" in str(error) else error


def write_npy(stream: Any, array: Any) -> None:
    """Write an .npy file, slab by slab."""
    dtype = np.dtype(array.dtype)
    if dtype.hasobject:
        raise ValueError(f"arrays of {dtype} are not written")
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(array.shape)}
    np.lib.format.write_array_header_1_0(stream, header)
    for slab in slabs_of(array):
        stream.write(slab.astype(dtype, copy=False).data)
