"""A byte budget to an octree and a width for every node.

The measured rules (docs/benchmarks.md): about 5.2 bits a weight; over the last three levels a node is wider than its
children by the cube root of their number, 4 : 2 : 1 in an octree proper; a level more when the leaves would get wider
than they need to be, later where that makes more leaves than a batch feeds well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .container import WeightsFormat
from .octree import Octree

LAYERS = 2
BITS_PER_WEIGHT = {WeightsFormat.ENTROPY: 5.2, WeightsFormat.INT8: 8.0, WeightsFormat.FLOAT16: 16.0}
WIDEST_LEAF, WIDEST_OF_MANY = 32.0, 56.0  # the latter where a level more has over MANY_LEAVES
MANY_LEAVES = 64
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
        deeper = Octree.full(shape, levels)
        widest = WIDEST_LEAF if len(deeper.leaves) <= MANY_LEAVES else WIDEST_OF_MANY
        if leaf_width <= widest or deeper.depth == octree.depth:
            break
    return octree, _widths(octree, leaf_width)


def _widths(octree: Octree, leaf_width: float) -> NDArray[np.int64]:
    factors = [1.0]  # from the leaves up
    for level in range(octree.depth - 1, -1, -1):
        grown = octree.children_per_node(level) ** (1 / 3) if len(factors) < 3 else 1.0
        factors.append(factors[-1] * grown)
    per_level = np.clip(np.rint(leaf_width * np.array(factors[::-1])), 1, 256).astype(np.int64)
    return per_level[octree.level]


def _widest(octree: Octree, budget: float) -> float:
    low, high = 0.5, 256.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if count_parameters(octree, _widths(octree, middle)) <= budget else (low, middle)
    return low
