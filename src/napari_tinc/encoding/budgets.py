"""Share the bytes of a file among its blocks: more bytes for more detail."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import NotWithNetworks
from .survey import Survey

LEAST_BLOCK = 450  # A block gets at least this many bytes: a network of a few weights takes them.
LEAST_FLAT = 120  # A constant block gets this many bytes.


def bytes_of_blocks(survey: Survey, nbytes: float) -> NDArray[np.int64]:
    """Return the bytes of every block, int64 (n_volumes, n_blocks).

    If twice the bytes halve the squared error D, then D_i = A_i / b_i, and the sum of D_i is least for b_i ~ sqrt(A_i),
    as for any convex D: equal slopes. The root of A_i is assumed to be the block's detail.

    Raises
    ------
    NotWithNetworks
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
