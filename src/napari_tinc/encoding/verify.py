"""Verify that a file keeps its bound: every voxel is compared with the original, box by box."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..bounded.check import largest_difference, violations
from ..decoding.volume import TincVolume
from ..octree import box_slices
from .sources import VolumeSource, fitting_array


def verify_against(volume: TincVolume, original: Any) -> tuple[int, float]:
    """Return how many voxels are further from the original than the file promises, and the largest finite difference.

    Raises
    ------
    ValueError
        If the file promises no bound, or the shapes differ. Dtypes may: values are compared as float64, which holds
        those of every dtype that a file has.
    """
    bound = volume.error_bound
    if bound is None:
        raise ValueError("the file promises no bound: it was written for a size or a PSNR, without max_error")
    source = VolumeSource.of(fitting_array(original), exact=True)
    shape = (*source.leading, *source.shape)
    if shape != volume.shape:
        raise ValueError(f"original is {shape} of {source.dtype}, expected {volume.shape} of {volume.dtype}")
    wrong, largest = 0, 0.0
    for number, index, part in volume.boxes():
        assert part is not None  # the file was opened whole
        place = box_slices(volume.parts.start[index], volume.parts.stop[index])
        truth = source.read(number, place, finite=False)
        values = part.values([np.arange(n, dtype=np.float64) + 0.5 for n in truth.shape])
        if truth.dtype != values.dtype:
            truth, values = truth.astype(np.float64), values.astype(np.float64)
        wrong += violations(truth, values, bound)
        largest = max(largest, largest_difference(truth, values))
    return wrong, largest
