"""Weigh squared errors by how much each voxel matters to the user: shares of bytes, and the quality to compare by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...decoding.volume import TincVolume
from ...metrics import psnr
from ...octree import Octree, box_slices
from ..sources import VolumeSource
from .fields import Field, slabs

LEAST_SHARE = 2.0**-8  # A voxel whose importance is a smaller share of the mean counts as if it had this one,
MOST_SHARE = 2.0**8  # and one of a larger share as if it had this, where a bound is scaled.
MOST_STEPS = 4  # Bounds of the voxels of a box have at most so many values: each takes another encoding.


@dataclass(frozen=True, slots=True, eq=False)
class Importance:
    """The weights of the squared errors of a volume.

    Attributes
    ----------
    field : the weights as they were given.
    source : the volume.
    mean : mean of all weights.
    """

    field: Field
    source: VolumeSource
    mean: float

    @classmethod
    def of(cls, array: Any, source: VolumeSource) -> Importance:
        """Check an array of weights.

        Raises
        ------
        ValueError, TypeError
            If its shape is not that of the volume, a weight is below 0 or not finite, or all are 0.
        """
        field, total = Field.of("importance", array, source), 0.0
        for volume in range(source.n_volumes):
            for slab in slabs(source.shape):
                values = field.read(source, volume, slab)
                if not (good := np.isfinite(values) & (values >= 0)).all():
                    raise ValueError(
                        f"importance has {int((~good).sum())} values such as {values[~good].flat[0]:g}, expected "
                        "finite numbers of 0 or more"
                    )
                total += float(values.sum(dtype=np.float64))
        if not 0 < total < math.inf:
            raise ValueError(f"importance adds up to {total:g}, expected a finite number above 0")
        return cls(field, source, total / source.size)

    def read(self, volume: int, box: Sequence[slice]) -> NDArray[np.float32]:
        """Read the weights of a box, in units of the mean of all."""
        return (self.field.read(self.source, volume, box) / self.mean).astype(np.float32)

    def within(self, volume: int, box: Sequence[slice]) -> NDArray[np.float32]:
        """Read the weights of a box, in units of their own mean; ones if all are 0."""
        weights = self.read(volume, box)
        mean = float(weights.mean(dtype=np.float64))
        return weights / np.float32(mean) if mean > 0 else np.ones_like(weights)

    def of_blocks(self, tree: Octree) -> NDArray[np.float64]:
        """Return the mean weight of every block, (n_volumes, n_blocks), in units of the mean of all."""
        means = np.empty((self.source.n_volumes, len(tree.leaves)))
        for volume, index in np.ndindex(*means.shape):
            leaf = tree.leaves[index]
            means[volume, index] = self.read(volume, box_slices(tree.start[leaf], tree.stop[leaf])).mean(dtype=float)
        return means

    def bound_steps(self, volume: int, box: Sequence[slice]) -> NDArray[np.int8]:
        """Return how many times the bound of a file each voxel of a box may have, in steps of a factor of sqrt(2).

        If the squared error is that of the bound, d = bound^2 / 3, and each halving of the bound costs a bit a voxel,
        the weighted error is least for bound ~ 1 / sqrt(weight). Steps are so coarse that there are few of them.
        """
        steps = -np.log2(np.clip(self.read(volume, box), LEAST_SHARE, MOST_SHARE))
        for unit in (1, 2, 4, 8):
            rounded = (unit * np.rint(steps / unit)).astype(np.int8)
            if unit == 8 or len(np.unique(rounded)) <= MOST_STEPS:
                break
        return rounded

    def psnr(self, source: VolumeSource, volume: TincVolume) -> float:
        """Return the PSNR of a compressed volume against its source in dB, with squared errors weighed."""
        total, low, high = 0.0, math.inf, -math.inf
        for number in range(source.n_volumes):
            for slab in slabs(source.shape):
                original = source.read(number, slab).astype(np.float64)
                low, high = min(low, float(original.min())), max(high, float(original.max()))
                errors = np.asarray(volume[source.index(number, slab)]) - original
                total += float((errors**2 * self.read(number, slab)).sum())
        return psnr(math.sqrt(total / source.size), high - low)
