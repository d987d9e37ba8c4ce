"""Verify that a file keeps its bounds: voxels are compared with the original, box by box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..decoding.regions import whole_axes
from ..decoding.volume import TincVolume
from ..differences import largest_difference, violations
from ..format.quality import span_of
from ..octree import box_slices
from .regions.exact import Tally
from .regions.fill_search import unmasked
from .sources import VolumeSource, fitting_array


@dataclass(frozen=True, slots=True)
class Proof:
    """What a comparison with the original has found.

    Attributes
    ----------
    violations : voxels that are further from the original than the file promises.
    max_error : largest finite difference of the voxels that something is promised of.
    n_voxels : number of these voxels: all, or those of the regions that are kept.
    """

    violations: int
    max_error: float
    n_voxels: int


def verify_against(volume: TincVolume, original: Any) -> Proof:
    """Compare every voxel of which a file promises something with the original.

    Raises
    ------
    ValueError
        If the file promises no bound, or the shapes differ. Dtypes may: values are compared as float64, which holds
        those of every dtype that a file has.
    """
    bound, regions = volume.error_bound, volume.regions
    if bound is None and regions.bound is None:
        raise ValueError("the file promises no bound: it was written for a size or a PSNR, without max_error or exact")
    original, _ = unmasked(original, (), quiet=True)
    source = VolumeSource.of(fitting_array(original), exact=True)
    shape = (*source.leading, *source.shape)
    if shape != volume.shape:
        raise ValueError(f"original is {shape} of {source.dtype}, expected {volume.shape} of {volume.dtype}")
    wrong, largest = 0, 0.0
    for number, index, part in volume.boxes() if bound is not None else ():
        assert part is not None and bound is not None  # the file was opened whole
        place = box_slices(volume.parts.start[index], volume.parts.stop[index])
        truth = source.read(number, place, finite=False)
        values = part.values([np.arange(n, dtype=np.float64) + 0.5 for n in truth.shape])
        regions.put(number, whole_axes(place), values)
        if truth.dtype != values.dtype:
            truth, values = truth.astype(np.float64), values.astype(np.float64)
        wrong += violations(truth, values, bound)
        largest = max(largest, largest_difference(truth, values))
    if regions.bound is not None:
        of_regions = violations_in_regions(volume, source)
        wrong, largest = wrong + of_regions[0], max(largest, of_regions[1])
    return Proof(wrong, largest, volume.size if bound is not None else regions.n_voxels)


def violations_in_regions(volume: TincVolume, source: VolumeSource) -> tuple[int, float]:
    """Return how many voxels of the regions of a file are beyond their bound, and their largest finite difference."""
    wrong, largest, regions = 0, 0.0, volume.regions
    for number in range(len(regions)):
        region, (inside, values) = regions.place(number), regions.decoded(number)
        truth, values = source.read(region.volume, region.box, finite=False)[inside][None], values[inside][None]
        if truth.dtype != values.dtype:
            truth, values = truth.astype(np.float64), values.astype(np.float64)
        wrong += violations(truth, values, regions.bound or 0.0)
        largest = max(largest, largest_difference(truth, values))
    return wrong, largest


def psnr_of_regions(original: NDArray[Any], values: NDArray[Any], volume: TincVolume) -> dict[str, float]:
    """Return the PSNR in dB inside and outside the regions of a file, by the range of the whole original.

    Parameters
    ----------
    original, values : all voxels, of the shape of the volume.

    Returns
    -------
    ``psnr_inside`` and ``psnr_outside``; nothing for a file without regions.
    """
    if not volume.n_exact:
        return {}
    original, values = metrics.without_fill(original, values, volume.fill.values)
    known = original[np.isfinite(original)]
    tally = Tally(span_of((known.min(), known.max())) if known.size else 0.0)
    shape = volume.shape[-3:]
    pairs = zip(original.reshape(-1, *shape), values.reshape(-1, *shape), strict=True)
    axes = whole_axes([slice(0, n) for n in shape])
    for number, (one, other) in enumerate(pairs):
        tally.add_errors(one, other, volume.regions.mask(number, axes))
    return tally.psnr_of_regions()
