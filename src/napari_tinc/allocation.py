"""A byte budget to a width for every node.

The measured rule (docs/benchmarks.md): about 5.2 bits a weight; nodes of the last three levels in the proportion
4 : 2 : 1; a level more when the leaves would get wider than they need to be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .container import WeightsFormat
from .octree import Octree

LAYERS = 2
BITS_PER_WEIGHT = {WeightsFormat.ENTROPY: 5.2, WeightsFormat.INT8: 8.0, WeightsFormat.FLOAT16: 16.0}
WIDEST_LEAF = 32.0
MAX_LEVELS = 6


def count_parameters(octree: Octree, widths: NDArray[np.int64]) -> int:
    """Parameters of two-layer nodes of these widths."""
    above = np.where(octree.parent >= 0, widths[octree.parent], 0)
    heads = np.where(octree.split, 0, widths + 1)
    return int(((4 + above) * widths + (LAYERS - 1) * (widths * widths + widths) + heads).sum())


def allocate(shape: tuple[int, int, int], nbytes: float, form: WeightsFormat) -> tuple[Octree, NDArray[np.int64]]:
    """The octree and its widths that ``nbytes`` of weights pay for. At least the smallest network there is."""
    budget = 8 * nbytes / BITS_PER_WEIGHT[form]
    for levels in range(2, MAX_LEVELS + 1):
        octree = Octree.full(shape, levels - 1)
        leaf_width = _widest(octree, budget)
        if leaf_width <= WIDEST_LEAF or octree.depth < levels - 1:
            break
    return octree, _widths(octree, leaf_width)


def _widths(octree: Octree, leaf_width: float) -> NDArray[np.int64]:
    above = np.minimum(octree.depth - octree.level, 2)
    return np.clip(np.rint(leaf_width * 2.0**above), 1, 256).astype(np.int64)


def _widest(octree: Octree, budget: float) -> float:
    low, high = 0.5, 256.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if count_parameters(octree, _widths(octree, middle)) <= budget else (low, middle)
    return low
