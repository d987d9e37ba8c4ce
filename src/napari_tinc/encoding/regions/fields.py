"""What is given voxel by voxel beside a volume: a mask of what is kept exactly, or an importance."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...array_like import computed
from ..sources import VolumeSource

SLAB = 32  # Planes that are looked at at a time.


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """An array beside a volume, of its shape, or of its z, y, x for all channels and points in time.

    Attributes
    ----------
    name : what it is called in error messages.
    array : with axes (z, y, x), or those of the volume.
    """

    name: str
    array: Any

    @classmethod
    def of(cls, name: str, array: Any, source: VolumeSource) -> Field:
        """Check the shape and the dtype of an array.

        Raises
        ------
        ValueError, TypeError
            If the shape is not that of the volume, or values are not real numbers.
        """
        if not all(hasattr(array, attribute) for attribute in ("shape", "dtype", "__getitem__")):
            array = np.asarray(array)
        if np.dtype(array.dtype).kind not in "biuf":
            raise TypeError(f"{name} is of {array.dtype}, expected numbers: an array of the volume's shape")
        whole, shape = (*source.leading, *source.shape), tuple(map(int, array.shape))
        if shape not in (whole, source.shape):
            raise ValueError(f"{name} has the shape {shape}, expected {whole}, that of the volume" + (
                f", or {source.shape} for all its channels and points in time" if source.leading else ""
            ))  # fmt: skip
        return cls(name, array)

    def read(self, source: VolumeSource, volume: int, box: Sequence[slice]) -> NDArray[Any]:
        """Read a box of one channel or point in time."""
        index = tuple(box) if len(self.array.shape) == 3 else source.index(volume, box)
        values = computed(self.array[index])
        if np.ma.is_masked(values):
            count = int(np.count_nonzero(np.ma.getmaskarray(values)))
            raise ValueError(f"{self.name} is a masked array with {count} masked voxels: give array.filled(NUMBER)")
        return np.asarray(values)

    def digest(self, source: VolumeSource) -> str:
        """Return a hash of all values."""
        digest = hashlib.blake2b(str(np.dtype(self.array.dtype)).encode(), digest_size=8)
        for volume in range(source.n_volumes if len(self.array.shape) > 3 else 1):
            for slab in slabs(source.shape):
                values = np.ascontiguousarray(self.read(source, volume, slab))
                digest.update(values.reshape(-1).view(np.uint8).data)
        return digest.hexdigest()


def slabs(shape: Sequence[int]) -> list[tuple[slice, ...]]:
    """Cut a volume into slabs of :data:`SLAB` planes."""
    z, y, x = shape
    return [(slice(at, min(at + SLAB, z)), slice(0, y), slice(0, x)) for at in range(0, z, SLAB)]
