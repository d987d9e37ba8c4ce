"""The smallest and the largest of different values, compiled: they are found without sorting the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...compiled import compiled

Floats = NDArray[np.float64]


@compiled
def _insert(value: float, kept: Floats, n: int) -> int:
    """Insert a value into the ``n`` first of an ascending array, unless it is there, and drop the last if it is full.

    Return how many there are.
    """
    at = 0
    while at < n and kept[at] < value:
        at += 1
    if at == len(kept) or (at < n and kept[at] == value):
        return n
    n = min(n + 1, len(kept))
    for later in range(n - 1, at, -1):
        kept[later] = kept[later - 1]
    kept[at] = value
    return n


@compiled
def smallest_and_largest(values: Floats, ends: Floats) -> int:
    """Find different values: the smallest and the largest, half of ``ends`` each, or all if there are fewer.

    Return how many there are; ``ends`` begins with them, ascending.

    Parameters
    ----------
    values : no NaN.
    """
    most = len(ends) // 2
    smallest, largest = np.empty(most), np.empty(most)  # the largest with the other sign
    n_smallest, n_largest = 0, 0
    for value in values:
        if n_smallest < most or value < smallest[most - 1]:
            n_smallest = _insert(value, smallest, n_smallest)
        if n_largest < most or -value < largest[most - 1]:
            n_largest = _insert(-value, largest, n_largest)
    ends[:n_smallest] = smallest[:n_smallest]
    n = n_smallest
    for i in range(n_largest - 1, -1, -1):
        if -largest[i] > smallest[n_smallest - 1]:
            ends[n] = -largest[i]
            n += 1
    return n
