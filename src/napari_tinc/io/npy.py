"""Read NumPy files, and write .npy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .arrays import slabs_of
from .image import Content, default_axes
from .read_options import ReadOptions


def read_npy(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read an .npy file as a memory map."""
    array = np.lib.format.open_memmap(file, mode="r")  # np.load would also open archives of several arrays
    return Content(array, default_axes(array.shape))


def read_npz(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read the array of a name in an .npz file into memory, or the only one of three axes or more.

    ValueError if there is no such array, or more than one.
    """
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        names = archive.files
        if inside and inside not in names:
            raise ValueError(f"it has no array {inside}; its arrays: {', '.join(names) or 'none'}")
        if not inside:
            shapes = {name: archive[name].shape for name in names}
            volumes = [name for name in names if len(shapes[name]) >= 3]
            if len(volumes) != 1:
                listed = ", ".join(f"{file}:{name} ({'x'.join(map(str, shape))})" for name, shape in shapes.items())
                raise ValueError(f"it has {len(volumes)} arrays of 3 axes or more, not one: {listed or 'no arrays'}")
            inside = volumes[0]
        array = archive[inside]
    return Content(array, default_axes(array.shape))


def write_npy(stream: Any, array: Any) -> None:
    """Write an .npy file, slab by slab."""
    dtype = np.dtype(array.dtype)
    if dtype.hasobject:
        raise ValueError(f"arrays of {dtype} are not written")
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(array.shape)}
    np.lib.format.write_array_header_1_0(stream, header)
    for slab in slabs_of(array):
        stream.write(slab.astype(dtype, copy=False).data)
