"""Fill the voxels of a mask smoothly from those around it, so that they cost a coder or a network next to nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...format.fill import is_no_measurement
from ...networks.values import rounded
from ..sources import VolumeSource
from .fields import Field


@dataclass(frozen=True, slots=True, eq=False)
class KeptVoxels:
    """The mask of the voxels of a volume that are no measurements, and of those of another mask if there is one."""

    source: VolumeSource
    fill: tuple[float, ...]
    others: Field | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of all axes."""
        return (*self.source.leading, *self.source.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the mask."""
        return np.dtype(bool)

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[np.bool_]:
        volume, box = volume_and_box(self.source, index)
        mask = is_no_measurement(self.source.read(volume, box, finite=False), self.fill)
        return mask if self.others is None else mask | (self.others.read(self.source, volume, box) != 0)


def volume_and_box(source: VolumeSource, index: tuple[Any, ...]) -> tuple[int, tuple[slice, ...]]:
    """Split an index of :meth:`VolumeSource.index` into the number of the volume and the box."""
    *place, z, y, x = index
    return (int(np.ravel_multi_index(place, source.leading)) if place else 0), (z, y, x)


@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    """The array of a volume with the voxels of a mask filled in each box that is read.

    Values depend on the box that is read: what is filled is never kept. A box without a voxel outside gets ``usual``,
    or its mean if that is None.
    """

    source: VolumeSource
    mask: Field
    usual: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of all axes."""
        return (*self.source.leading, *self.source.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.source.dtype

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        volume, box = volume_and_box(self.source, index)
        inside = self.mask.read(self.source, volume, box) != 0
        return filled(self.source.read(volume, box, finite=False), inside, self.usual)


def filled_source(source: VolumeSource, mask: Field, usual: float | None = None) -> VolumeSource:
    """Return a volume with the voxels of a mask filled; with ``usual`` where a box has no others."""
    return replace(source, array=Filled(source, mask, usual))


def filled(values: NDArray[Any], inside: NDArray[np.bool_], usual: float | None = None) -> NDArray[Any]:
    """Return values, (z, y, x), with those inside a mask replaced by a smooth continuation of those outside.

    Means of finite values outside are taken over cells of 2, 4, ... voxels; where a cell has none, the next coarser one
    has to do (the pull-push method). If none is outside, they become ``usual``, or the mean of all if that is None.
    """
    if not inside.any():
        return values
    known = ~inside & np.isfinite(values)
    out = values.copy()
    if not known.any() and usual is not None:
        out[inside] = usual
        return out
    if not known.any():
        known = np.isfinite(values)
        out[inside] = rounded(np.array(values[known].astype(np.float64).mean() if known.any() else 0.0), values.dtype)
        return out
    start = float(values[known][0])
    scale = max(abs(float(values[known].max()) - start), abs(float(values[known].min()) - start)) or 1.0
    with np.errstate(invalid="ignore", over="ignore"):
        smooth = _pull_push(np.where(known, (values.astype(np.float64) - start) / scale, 0.0), known.astype(np.float64))
    out[inside] = rounded(smooth[inside] * scale + start, values.dtype)
    return out


def _pull_push(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace values of weight 0 by means of coarser and coarser cells, interpolated linearly."""
    if weight.all() or max(values.shape) == 1:
        return values
    sums, count = values * weight, weight
    for axis in range(3):
        sums, count = _pairs(sums, axis), _pairs(count, axis)
    coarse = np.where(count > 0, sums / np.maximum(count, 1e-300), 0.0)
    coarser = _pull_push(coarse, (count > 0).astype(np.float64))
    for axis, n in enumerate(values.shape):
        coarser = _doubled(coarser, axis, n)
    return np.where(weight > 0, values, coarser)


def _pairs(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Add up pairs of neighbours along an axis; a last one without a neighbour stays alone."""
    return np.add.reduceat(values, np.arange(0, values.shape[axis], 2), axis=axis)


def _doubled(values: NDArray[np.float64], axis: int, n: int) -> NDArray[np.float64]:
    """Interpolate linearly to ``n`` points, twice as many, along an axis."""
    at = np.clip((np.arange(n) - 0.5) / 2, 0, values.shape[axis] - 1)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    share = (at - low).reshape([-1 if other == axis else 1 for other in range(3)])
    return values.take(low, axis=axis) * (1 - share) + values.take(high, axis=axis) * share
