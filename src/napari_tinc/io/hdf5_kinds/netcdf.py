"""Read netCDF files: version 4, which is HDF5, and the classic ones, by SciPy. Dimensions give axes and spacing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import ArrayOfFile, sparing
from ..hdf5 import declared_fill, decoded, read_hdf5, unsigned
from ..image import Content, default_axes, library
from ..ngff.metadata import letters_of
from ..read_options import ReadOptions
from ..units import Size, unit_name

EVEN = 1e-3  # Coordinates are even if their steps differ by less than this share.


def read_netcdf(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read the variable at a path in the file, or the only one of three axes."""
    h5py = library("h5py")
    if not h5py.is_hdf5(file):
        return _read_classic(file, inside, options)
    content = read_hdf5(file, inside, options)
    dataset: Any = content.array
    while not isinstance(dataset, h5py.Dataset):
        dataset = dataset.array
    scales = [dimension[0] if len(dimension) else None for dimension in dataset.dims]
    names = ["" if scale is None else scale.name.rpartition("/")[2] for scale in scales]
    steps = [None if scale is None else step_of(scale[...], scale.attrs) for scale in scales]
    return _placed(content, names, steps)


def step_of(coordinates: Any, attributes: Mapping[str, Any]) -> Size | None:
    """Return the step of the coordinates along an axis, and its unit; None if they are not even, or not in space."""
    unit = attributes.get("units", b"")
    unit = unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit)
    if np.size(coordinates) < 2 or np.asarray(coordinates).dtype.kind not in "iuf" or unit_name(unit) is None:
        return None
    steps = np.diff(np.asarray(coordinates, float))
    mean = float(steps.mean())
    return (abs(mean), unit) if np.abs(steps - mean).max() <= EVEN * abs(mean) else None


def _placed(content: Content, names: list[str], steps: list[Size | None]) -> Content:
    """Return the content with the axes that its dimensions name, and the steps of their coordinates as spacing."""
    letters = letters_of(names)
    axes = letters if letters.strip("Q") else default_axes(content.array.shape)
    sizes = dict(zip(axes, steps, strict=True))
    return content._replace(axes=axes, sizes=[sizes.get(axis) or (None, None) for axis in "ZYX"])


def _read_classic(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read a variable of a classic file as a memory map."""
    from scipy.io import netcdf_file

    with netcdf_file(file, mmap=True) as source:
        array, attributes, names, steps = _classic_variable(source, file, inside)
    array = unsigned(ArrayOfFile(array, file, portable=False), attributes)
    fill = declared_fill(array.dtype, attributes)
    return _placed(Content(decoded(array, attributes, options), default_axes(array.shape), fill=fill), names, steps)


def _classic_variable(
    source: Any, file: Path, inside: str
) -> tuple[NDArray[Any], dict[str, Any], list[str], list[Size | None]]:  # fmt: skip
    """Return a memory map of a variable, its attributes, the names of its dimensions and the steps along them.

    The map is our own: SciPy's cannot be used after the file was closed.
    """
    variables = source.variables
    wanted = [name for name, one in variables.items() if (name == inside if inside else len(one.dimensions) >= 3)]
    if len(wanted) != 1:
        shapes = [f"{file}:{name} ({'x'.join(map(str, one.shape))})" for name, one in variables.items() if one.shape]
        problem = f"it has no variable {inside}" if inside else f"it has {len(wanted)} variables of three axes, not one"
        raise ValueError(f"{problem}; variables: {', '.join(shapes) or 'none'}")
    variable = variables[wanted[0]]
    names = list(variable.dimensions)
    coordinates = [variables.get(name) for name in names]
    steps = [None if one is None else step_of(one[:].copy(), one._attributes) for one in coordinates]
    data = variable.data
    offset = data.ctypes.data - source._mm_buf.ctypes.data
    whole = np.memmap(file, np.uint8, "r")
    array: NDArray[Any] = np.ndarray(data.shape, data.dtype, whole, offset, data.strides)
    return sparing(array), dict(variable._attributes), names, steps
