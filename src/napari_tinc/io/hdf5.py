"""Read HDF5 files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .arrays import ArrayOfFile
from .image import Content, default_axes, library
from .read_options import ReadOptions


def read_hdf5(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read the dataset at a path in the file, or the only 3D dataset."""
    h5py = library("h5py")
    source = h5py.File(file, "r")  # closes when the last dataset taken from it is gone
    dataset = source.get(inside) if inside else None
    if not isinstance(dataset, h5py.Dataset):
        items: list[Any] = []
        source.visititems(lambda _, item: items.append(item))
        shapes = [(item, item.shape or ()) for item in items if isinstance(item, h5py.Dataset)]
        volumes = [item for item, shape in shapes if 3 in (len(shape), sum(length != 1 for length in shape))]
        if inside or len(volumes) != 1:
            problem = f"it has no dataset /{inside}" if inside else f"it has {len(volumes)} 3D datasets, not one"
            names = [f"{file}:{volume.name} ({'x'.join(map(str, volume.shape))})" for volume in volumes]
            more = ", ..." if len(names) > 10 else ""
            raise ValueError(f"{problem}; 3D datasets: {', '.join(names[:10]) or 'none'}{more}")
        dataset = volumes[0]
    if dataset.shape is None:
        raise ValueError(f"dataset /{inside} is empty")
    sizes = np.ravel(dataset.attrs.get("element_size_um", ()))  # z, y, x: what Fiji's HDF5 plugin writes
    array = ArrayOfFile(dataset, file, portable=False)
    return Content(array, default_axes(dataset.ndim), [(size, "um") for size in sizes])
