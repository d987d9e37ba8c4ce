"""Read MATLAB files: version 7.3, which is HDF5, and older ones, by SciPy.

MATLAB's first axis goes down an image, its second to the right, its third through the pages. HDF5 has them in reverse.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..arrays import AxesView
from ..hdf5 import read_hdf5
from ..image import Content, library
from ..read_options import ReadOptions, say


def read_matlab(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read a numeric or logical variable: the one that is named, or the only one of three axes."""
    h5py = library("h5py")
    if not h5py.is_hdf5(file):
        content = _read_old(file, inside)
    else:
        content = read_hdf5(file, inside, options)
        stored = getattr(content.array, "array", None)
        kind = getattr(stored, "attrs", {}).get("MATLAB_class", b"")
        array = AxesView(content.array, dtype=bool) if kind == b"logical" else content.array
        content = content._replace(array=array, axes=("Q" * len(array.shape) + "ZXY")[3:], sizes=())
    if options.axes is None and len(content.axes) >= 3:
        say(
            "MATLAB's rows, columns and pages are taken for y, x and z; --axes says otherwise, "
            f"for {content.axes} of {' x '.join(map(str, content.array.shape))}"
        )
    return content


def _read_old(file: Path, inside: str) -> Content:
    """Read a variable of a file before version 7.3, into memory."""
    from scipy import io

    try:
        known = [(name, shape) for name, shape, _ in io.whosmat(file)]
    except Exception as error:  # a text file of FSL has this suffix, too
        raise ValueError(f"it is no file of MATLAB, or damaged: {' '.join(str(error).split())}") from error
    wanted = [name for name, shape in known if (name == inside if inside else sum(n != 1 for n in shape) >= 3)]
    if len(wanted) != 1:
        listed = ", ".join(f"{file}:{name} ({'x'.join(map(str, shape))})" for name, shape in known) or "none"
        problem = f"it has no variable {inside}" if inside else f"it has {len(wanted)} variables of three axes, not one"
        raise ValueError(f"{problem}; variables: {listed}")
    array = io.loadmat(file, variable_names=wanted)[wanted[0]]
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufc" or not math.prod(array.shape):
        raise ValueError(f"variable {wanted[0]} is no array of numbers")
    return Content(array, ("YXZ" + "Q" * array.ndim)[: array.ndim])
