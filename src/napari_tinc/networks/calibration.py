"""Affine calibration: gains and offsets that bring decoded leaves closest to the original, if worth their bytes.

For a leaf's outputs x and wanted values y, least squares gives gain = cov(x, y) / var(x) and
offset = mean(y) - gain * mean(x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..format.networks_file import Calibration, WeightsFormat
from ..format.widths import heads_of_leaves
from ..octree import box_slices
from .architecture import Architecture

CALIBRATION_STEP = 2.0**-8  # Gains and offsets of heads are stored in this unit, of the normalised volume.

WORTH_DB = 0.005  # A calibration that gains less is left out.


def fit_corrections(
    outputs: NDArray[np.float32],
    wanted: NDArray[Any],
    architecture: Architecture,
    weights_format: WeightsFormat,
    spare: int,
    importance: NDArray[np.float32] | None = None,
) -> Corrections:
    """Fit the best calibration that ``spare`` bytes can hold: none, one for all, or one for each head.

    Parameters
    ----------
    outputs, wanted : the network's values and the normalised volume, both of the octree's shape. Outputs beyond an end
        of the volume's range are right where that end is wanted, since a decoder clips them; these are left out.
    importance : weights of the squared errors, of the same shape; None for equal ones.
    """
    octree, heads = architecture.octree, architecture.heads
    low, high = wanted.min(), wanted.max()
    moments = np.zeros((len(heads), 6))
    head_of = heads_of_leaves(octree, architecture.widths)
    for leaf, head in zip(octree.leaves[head_of >= 0].tolist(), head_of[head_of >= 0].tolist(), strict=True):
        box = box_slices(octree.start[leaf], octree.stop[leaf])
        x, y = outputs[box], wanted[box]
        clipped = ((y <= low) & (x < low)) | ((y >= high) & (x > high))
        x, y = x[~clipped].astype(np.float64), y[~clipped].astype(np.float64)
        if importance is None:
            moments[head] += x.size, x.sum(), y.sum(), x @ x, x @ y, y @ y
        else:
            w = importance[box][~clipped].astype(np.float64)
            moments[head] += w.sum(), w @ x, w @ y, w @ (x * x), w @ (x * y), w @ (y * y)
    none = Corrections.none(len(heads))
    everything = np.broadcast_to(_least_squares(moments.sum(axis=0)), (len(heads), 2))
    candidates = [
        (none, 0),
        (Corrections(Calibration.GLOBAL, everything[:, 0].copy(), everything[:, 1].copy()), 8),
        (
            Corrections(Calibration.PER_LEAF, *_least_squares(moments.T)),
            8 + (1 if weights_format.is_entropy_coded else 4) * len(heads),
        ),
    ]
    before = max(_squared_error(moments, none), 1e-30)

    def gain(corrections: Corrections) -> float:
        """Return the gain in PSNR over no calibration, in dB."""
        return 10 * math.log10(before / max(_squared_error(moments, corrections.stored()), 1e-30))

    best = max((corrections for corrections, cost in candidates if cost <= spare), key=gain)
    return best.stored() if gain(best) >= WORTH_DB else none


def _least_squares(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return gain and offset from moments: count, sum x, sum y, sum xx, sum xy, sum yy."""
    n, x, y, xx, xy, _ = moments
    n = np.maximum(n, 1)
    variance = xx - x * x / n
    usable = variance > 1e-9 * n
    gain = np.where(usable, (xy - x * y / n) / np.where(usable, variance, 1), 1.0)
    return np.stack([gain, (y - gain * x) / n], axis=-1 if moments.ndim == 1 else 0)


def _squared_error(moments: NDArray[np.float64], corrections: Corrections) -> float:
    """Return the sum of squared errors of calibrated outputs, from moments."""
    n, x, y, xx, xy, yy = moments.T
    a, b = corrections.gain, corrections.offset
    return float((a * a * xx + 2 * a * b * x + b * b * n - 2 * a * xy - 2 * b * y + yy).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Corrections:
    """Calibration of the heads: y = gain * x + offset.

    Attributes
    ----------
    kind : how a file stores it.
    gain, offset : float64 (n_heads,), in the order of ``architecture.heads``.
    """

    kind: Calibration
    gain: NDArray[np.float64]
    offset: NDArray[np.float64]

    @classmethod
    def none(cls, n_heads: int) -> Corrections:
        """Return no calibration, for so many heads."""
        return cls(Calibration.NONE, np.ones(n_heads), np.zeros(n_heads))

    def stored(self) -> Corrections:
        """Return the same calibration, rounded as a file stores it."""
        if self.kind is Calibration.PER_LEAF:
            gain, offset = (
                quantize_correction(values) * np.float64(CALIBRATION_STEP) for values in (self.gain - 1, self.offset)
            )
            return Corrections(self.kind, 1 + gain, offset)
        gain, offset = (values.astype(np.float32).astype(np.float64) for values in (self.gain, self.offset))
        return Corrections(self.kind, gain, offset)


def quantize_correction(values: NDArray[np.float64]) -> NDArray[np.int32]:
    """Round gains less 1, or offsets, to integers of CALIBRATION_STEP, -1024 to 1024."""
    return np.clip(np.rint(values / CALIBRATION_STEP), -1024, 1024).astype(np.int32)
