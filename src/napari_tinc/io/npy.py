"""NumPy files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .arrays import _slabs
from .image import _Content, _default_axes


def _read_npy(file: Path, inside: str) -> _Content:
    array = np.lib.format.open_memmap(file, mode="r")  # np.load would also open archives of several arrays
    return _Content(array, _default_axes(array.ndim))


def _write_npy(stream: Any, array: Any) -> None:
    dtype = np.dtype(array.dtype)
    if dtype.hasobject:
        raise ValueError(f"arrays of {dtype} are not written")
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(array.shape)}
    np.lib.format.write_array_header_1_0(stream, header)
    for slab in _slabs(array):
        stream.write(slab.astype(dtype, copy=False).data)
