"""Boxes of the predictive coder whose voxels have bounds of their own, by what they matter.

The coder has one bound for a box: that of the voxels that matter most. The others are made smooth before: they become
what the box decodes to if it is encoded within their own, larger bound, and then cost few bytes within the smaller one.
A decoder needs to know nothing of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bounded.box import decode_box, encode_and_decode
from ...bounded.search import EncodedBox, encode_box
from ...bounded.shaping import reach
from ...control import Check, never

ROUNDING = 1e-12  # Sums of two bounds are exceeded by less than this share.


@dataclass(frozen=True, slots=True, eq=False)
class WeighedBoxes:
    """How many times the bound of a file each voxel of its boxes may have.

    Attributes
    ----------
    steps : of each box, see :meth:`.Importance.bound_steps`.
    """

    steps: Sequence[NDArray[np.int8]]

    def encode(
        self, index: int, box: NDArray[Any], bound: float, taper: int, dead_zone: float, check: Check = never
    ) -> EncodedBox:
        """Encode a box, for a bound of the file, and measure its errors."""
        steps = self.steps[index]
        finest, *coarser = np.unique(steps).tolist()
        aim = box
        for step in reversed(coarser if bound else ()):
            _, decoded = encode_and_decode(aim, scaled(bound, step, box.dtype), taper, dead_zone, check)
            aim = np.where(steps == step, decoded, aim)
        made = encode_box(aim, scaled(bound, finest, box.dtype), taper, dead_zone, check)
        if aim is box:
            return made
        return measured_again(made, box, check)

    def reach(self, index: int, bound: float, dead_zone: float, dtype: np.dtype[Any]) -> float:
        """Return the largest error of a voxel of a box that is encoded for a bound of the file."""
        finest, *coarser = np.unique(self.steps[index]).tolist()
        steps = [finest, *coarser[-1:]] if bound else [finest]
        total = sum(reach(scaled(bound, step, dtype), dead_zone) for step in steps)
        return total if len(steps) == 1 or dtype.kind in "iu" else total * (1 + ROUNDING)


def scaled(bound: float, step: int, dtype: np.dtype[Any]) -> float:
    """Return the bound of voxels of a step; integers have whole bounds, 0 is bit for bit."""
    if not step:
        return bound
    own = bound * 2.0 ** (step / 2)
    return float(np.rint(own)) if dtype.kind in "iu" else own


def measured_again(made: EncodedBox, box: NDArray[Any], check: Check = never) -> EncodedBox:
    """Return an encoded box with its errors against another one than it was made of."""
    decoded = decode_box(made.data, box.shape, box.dtype, check)
    finite = np.isfinite(box)
    with np.errstate(over="ignore"):
        differences = np.subtract(decoded[finite], box[finite], dtype=np.float64)
    return EncodedBox(made.data, float(differences @ differences), differences.size)
