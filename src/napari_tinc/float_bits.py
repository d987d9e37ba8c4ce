"""Floats as integers and back, compiled: whole steps from the lowest value, or ranks. All arrays are flat.

Products, sums and roundings are those of IEEE 754, in the order of the text, so that every machine has the same floats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled

Ints = NDArray[Any]  # int16, int32 or int64


@compiled
def steps_of(values: NDArray[Any], lowest: float, step: float, out: Ints) -> None:
    """Turn values into whole steps from the lowest."""
    for i in range(len(values)):
        out[i] = np.int64(np.rint((np.float64(values[i]) - lowest) / step))


@compiled
def values_of_steps(integers: Ints, lowest: float, step: float, largest: float, out: NDArray[Any]) -> None:
    """Turn steps into values, of which none is beyond the largest."""
    for i in range(len(integers)):
        out[i] = min(max(integers[i] * step + lowest, -largest), largest)


@compiled
def ranks_of(bits: Ints, magnitude: int, shift: int, ranks: NDArray[np.int64]) -> None:
    """Turn the bits of floats into integers in the order of the floats; -0 is just below 0.

    Parameters
    ----------
    magnitude : the bits of a float without its sign.
    shift : bits that are shifted out.
    """
    for i in range(len(bits)):
        size = (np.int64(bits[i]) & magnitude) >> shift
        ranks[i] = -1 - size if bits[i] < 0 else size


@compiled
def bits_of_ranks(integers: Ints, lowest: int, shift: int, sign: int, bits: Ints) -> None:
    """Turn integers which ``lowest`` is added to, into the bits of floats, as :func:`ranks_of` had them."""
    for i in range(len(integers)):
        rank = np.int64(integers[i]) + lowest
        bits[i] = ((-1 - rank) << shift) | sign if rank < 0 else rank << shift
