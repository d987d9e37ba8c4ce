"""Bytes of each block: more where there is more detail."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import NotWithNetworks
from .survey import Survey

LEAST_BLOCK, LEAST_FLAT = 450, 120  # bytes that hold a network of a few weights, and a constant block


def bytes_of_blocks(survey: Survey, nbytes: float) -> NDArray[np.int64]:
    """Bytes of every block, (n_volumes, n_blocks).

    Where twice the bytes halve the squared error D, D_i = A_i / b_i, the sum of D_i is least for b_i ~ sqrt(A_i) (as
    for any convex D: equal slopes). The root of A_i is taken to be the block's detail.

    Raises
    ------
    ValueError
        If the blocks cannot be made so small.
    """
    flat = survey.low == survey.high
    least = np.where(flat, LEAST_FLAT, LEAST_BLOCK)
    spare = nbytes - least.sum()
    if spare < 0:
        raise NotWithNetworks(
            f"{survey.low.size} blocks cannot become {max(0, round(nbytes))} bytes: about {least.sum()} are needed; "
            "ask for a lower ratio, or for larger blocks"
        )
    weight = np.where(flat, 0.0, survey.detail / max(survey.detail.max(), 1e-300))
    total = weight.sum()
    return np.floor(least + (spare * weight / total if total else 0.0)).astype(np.int64)
