"""Read and write NumPy files."""

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
    return Content(array, default_axes(array.ndim))


def write_npy(stream: Any, array: Any) -> None:
    """Write an .npy file, slab by slab."""
    dtype = np.dtype(array.dtype)
    if dtype.hasobject:
        raise ValueError(f"arrays of {dtype} are not written")
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(array.shape)}
    np.lib.format.write_array_header_1_0(stream, header)
    for slab in slabs_of(array):
        stream.write(slab.astype(dtype, copy=False).data)
