"""Write HDF5 files, slab by slab."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from .. import arrays
from ..described import FACTS, Described
from ..image import library
from ..own_facts import KEY, PLACE, own_text

DATASET = "data"  # Name of the dataset in the file.
_CHUNK = 64  # Voxels along an edge of a chunk.


def write_hdf5(path: Path, array: Any, described: Described) -> None:
    """Write a compressed dataset, with the letters of its axes and, as Fiji has it, the size of a voxel.

    A size without a unit is in the attribute "element_size".

    The attributes "affine" (4 x 4, z, y, x) and "space" say where the voxels lie, in "unit". All else is in one more.
    """
    h5py = library("h5py")
    shape = tuple(map(int, array.shape))
    planes = max(1, arrays.SLAB // max(1, shape[-1] * shape[-2]))  # read at a time
    thickness = min(_CHUNK, planes, shape[-3])
    chunks = (*(1 for _ in shape[:-3]), thickness, *(min(_CHUNK, size) for size in shape[-2:]))
    with h5py.File(path, "w-") as file:
        dataset = file.create_dataset(DATASET, shape, array.dtype, chunks=chunks, compression="gzip", shuffle=True)
        for axis, letter in enumerate(described.axes):
            dataset.dims[axis].label = letter
        if (edges := described.edges_in("micrometer")) is not None:
            dataset.attrs["element_size_um"] = np.array(edges)
        elif described.spacing is not None:
            dataset.attrs["element_size"] = np.array(described.spacing)  # in no known unit
        if described.placement is not None:
            dataset.attrs["affine"] = described.placement.matrix
            dataset.attrs["space"] = described.placement.space
            dataset.attrs["unit"] = described.units or ""
        if own := own_text(described, set(FACTS) - set(PLACE)):
            dataset.attrs[KEY] = own
        depth = planes // thickness * thickness  # whole chunks
        for place in itertools.product(*map(range, shape[:-3])):
            for z in range(0, shape[-3], depth):
                dataset[(*place, slice(z, z + depth))] = array[(*place, slice(z, z + depth))]
