"""NaN, infinities and large values under a bound: a mask of labels, and smooth values in their place."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Check
from . import labels
from .quantization import BoxKind, encode_numbers

VOXELS_PER_LABEL = 16  # With fewer voxels for each label, an image of labels is not tried.
MASK = struct.Struct("<BI")  # Kind of the box; bytes of the labels.
SWEEPS = 4  # Rounds of a relaxation on each level.


def mask_special(
    original: NDArray[Any], bound: float, taper: int, dead_zone: float, check: Check
) -> tuple[bytes, NDArray[Any]] | None:
    """Encode special values as labels, and the others as numbers. None if no value is special, or labels would not pay.

    Special are the values that a bound has no meaning for: NaN, infinities, and floats whose neighbours are further
    away than the bound, such as a fill value of 1e20. Label 0 stands for a value that is not special, others for the
    bits of one.

    Returns
    -------
    The bytes, and what they decode to.
    """
    dtype = original.dtype
    with np.errstate(all="ignore"):
        if np.spacing(np.maximum(original.max(), -original.min())).astype(np.float64) < bound / 4:  # not if it is NaN
            return None
        special = ~(np.spacing(np.abs(original)).astype(np.float64) < bound / 4)
    if not special.any() or special.all() or (special & (original == 0)).any():
        return None
    label_values, indices = np.unique(np.where(special, original.view(f"u{original.itemsize}"), 0), return_inverse=True)
    if len(label_values) > special.size / VOXELS_PER_LABEL:
        return None
    check()
    mask = labels.encode_labels(label_values, indices.reshape(special.shape), check)
    unit = float(np.abs(original[~special]).max()) or 1.0  # so that no sum is infinite
    with np.errstate(over="ignore"):  # special values, which are not used
        scaled = original / np.float64(unit)
    filled = np.where(special, _interpolate(scaled, ~special) * unit, original).astype(dtype)
    if (filled == filled[0, 0, 0]).all():
        rest, decoded = bytes([BoxKind.CONSTANT]) + filled[:1, :1, :1].tobytes(), filled
    else:
        rest, decoded = encode_numbers(filled, bound, taper, dead_zone, check)
    return MASK.pack(BoxKind.MASKED, len(mask)) + mask + rest, np.where(special, original, decoded)


def _interpolate(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fill in what is not known smoothly: means of the nearest known values, relaxed from coarse to fine."""
    sums, counts = np.where(known, values, 0), known.astype(np.float64)
    if counts.all() or sums.size == 1:
        return values
    for axis, n in enumerate(values.shape):
        starts = np.arange(0, n, 2)
        sums, counts = np.add.reduceat(sums, starts, axis), np.add.reduceat(counts, starts, axis)
    coarse = _interpolate(sums / np.maximum(counts, 1), counts > 0)
    filled = np.where(known, values, coarse[np.ix_(*(np.arange(n) // 2 for n in values.shape))])
    for _ in range(SWEEPS):
        z, y, x = (np.pad(filled, [(int(axis == a),) * 2 for a in range(3)], mode="edge") for axis in range(3))
        means = (z[2:] + z[:-2] + y[:, 2:] + y[:, :-2] + x[..., 2:] + x[..., :-2]) / 6
        filled = np.where(known, filled, means)
    return filled
