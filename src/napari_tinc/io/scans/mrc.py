"""Read and write MRC files (.mrc, .map, .rec, .st), as cryo-electron microscopy has them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ...format.placement import Placement
from ..arrays import slabs_of, sparing
from ..described import Described, written_dtype
from ..image import Content, library
from ..read_options import ReadOptions, say

_NAMES = (".mrc", ".mrcs", ".map", ".rec", ".st", ".ali", ".ccp4")
MRC_SUFFIXES = tuple(name + packed for name in _NAMES for packed in ("", ".gz", ".bz2"))
_DTYPES = ("int8", "int16", "uint16", "float16", "float32")
CHANGES = {"uint8": "uint16", "bool": "int8"}  # What values become that MRC has no dtype for.
LABELS = "The values are labels (napari-tinc)"  # One of the lines of text that a header has.
_IMOD_STAMP = 1146047817  # IMOD's mark in a header; then a flag says whether bytes are signed.
_SIGNED = 1


def read_mrc(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read an MRC file; one that is not compressed as a memory map. ValueError if it is damaged."""
    mrcfile = library("mrcfile", "scans")
    compressed = file.name.lower().endswith((".gz", ".bz2"))
    opened = (mrcfile.open if compressed else mrcfile.mmap)(file, mode="r", permissive=False)
    with opened as mrc:
        header, array = mrc.header, mrc.data
        if array is None:
            raise ValueError("it has no values")
        order = [int(header[name]) for name in ("maps", "mapr", "mapc")]
        if sorted(order) != [1, 2, 3]:
            order = [3, 2, 1]
        if array.dtype == np.int8 and _has_unsigned_bytes(header):
            array = array.view(np.uint8)
        letters = "".join("XYZ"[number - 1] for number in order)
        axes = ("Q" if array.ndim == 4 else "") + letters[-array.ndim :]
        labels = LABELS in mrc.get_labels() and array.dtype.kind in "iu"
        sizes = [float(str(mrc.voxel_size[name])) for name in "zyx"]
        if not all(size > 0 and math.isfinite(size) for size in sizes):
            return Content(sparing(array), axes, labels=labels)
        angles = [float(header.cellb[name]) for name in ("alpha", "beta", "gamma")]
        if any(angles) and not np.allclose(angles, 90, rtol=0, atol=0.01):
            say(f"its cell has angles of {', '.join(f'{angle:g}' for angle in angles)} degrees, which are left out")
        origin = [float(header.origin[name]) for name in "zyx"]
        if not any(origin):  # then the first voxel counts, in the order of columns, rows and sections
            starts = dict(zip(reversed(letters), (int(header[f"n{name}start"]) for name in "xyz"), strict=True))
            origin = [starts[letter] * size for letter, size in zip("ZYX", sizes, strict=True)]
        matrix = np.diag([*sizes, 1.0])
        matrix[:3, 3] = origin
        placement = Placement(affine=matrix.tolist()) if any(origin) else None
        return Content(sparing(array), axes, [(size, "Å") for size in sizes], labels=labels, placement=placement)


def _has_unsigned_bytes(header: Any) -> bool:
    """Tell whether IMOD wrote the file, with bytes of 0 to 255, which mrcfile takes for -128 to 127."""
    stamp, flags = np.frombuffer(header["extra2"].tobytes()[40:48], header.mode.dtype)
    if stamp != _IMOD_STAMP or flags & _SIGNED:
        return False
    say("its bytes are taken as 0 to 255, as IMOD wrote them")
    return True


def write_mrc(path: Path, array: Any, described: Described) -> None:
    """Write an MRC file by a memory map. One axis before z, y, x makes a stack of volumes.

    ValueError if it has no such values.
    """
    mrcfile = library("mrcfile", "scans")
    dtype = written_dtype(array.dtype, _DTYPES, "MRC", CHANGES)
    if len(array.shape) > 4:
        raise ValueError(f"MRC has at most four axes, not {len(array.shape)}")
    mode = mrcfile.utils.mode_from_dtype(dtype)
    with mrcfile.new_mmap(path, array.shape, mrc_mode=mode, overwrite=True) as mrc:
        if described.labels:
            mrc.add_label(LABELS)
        factor = described.factor_to("angstrom")
        edges = described.edges_in("angstrom")
        if edges is not None and factor is not None:
            mrc.voxel_size = tuple(reversed(edges))
            if described.placement is not None and described.placement.is_upright:
                origin = described.placement.xyz(factor=factor)[:3, 3]
                mrc.header.origin.x, mrc.header.origin.y, mrc.header.origin.z = origin
        _fill(mrc, array)


def _fill(mrc: Any, array: Any) -> None:
    """Write the values, and what the header says of them: smallest, largest, mean, and root mean square from it.

    NaN and infinite values do not count. Without others the header says that nothing is known.
    """
    planes = mrc.data.reshape(-1, *array.shape[-2:])
    row, count, total, squares, low, high = 0, 0, 0.0, 0.0, math.inf, -math.inf
    for slab in slabs_of(array):
        planes[row : row + len(slab)] = slab
        row += len(slab)
        values = slab[np.isfinite(slab)].astype(np.float64)
        if not values.size:
            continue
        count += values.size
        total, squares = total + float(values.sum()), squares + float((values * values).sum())
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    if not count:  # as the format says it: the largest below the smallest, the mean below both, no root mean square
        mrc.header.dmin, mrc.header.dmax, mrc.header.dmean, mrc.header.rms = 0, -1, -2, -1
        return
    mean = total / count
    mrc.header.dmin, mrc.header.dmax, mrc.header.dmean = low, high, mean
    mrc.header.rms = math.sqrt(max(0.0, squares / count - mean * mean))
