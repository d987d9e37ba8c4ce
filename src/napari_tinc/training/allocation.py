"""A byte budget to an octree, a width for every node and a number of layers.

The measured rules (docs/benchmarks/): about 5.2 bits a weight; a wide root over few small leaves, six to one, or
four to one in larger files and over fewer than eight, of three layers a node; another level, and two layers a node,
only where the root would get wider than a step can afford.
Widths are multiples of what the processor's vectors hold, as a product of 64 x 64 takes less time than one of 63 x 63.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..format.limits import MAX_WIDTH
from ..format.networks_file import WeightsFormat
from ..format.widths import count_parameters
from ..octree import Octree

BITS_PER_WEIGHT = {WeightsFormat.ENTROPY: 5.2, WeightsFormat.INT8: 8.0, WeightsFormat.FLOAT16: 16.0}
LEAST_BITS = 1.0  # a weight, of entropy-coded ones: fewer leave hardly a picture
GROWTH, SMALL_GROWTH = 4.0, 6.0  # of the width from a leaf to the root of two levels, and to the second level of more
SMALL_ROOT, WIDEST_ROOT = 64, 160  # up to the first, a root that grows faster costs little time
MAX_LEVELS = 6


def allocate(
    shape: tuple[int, int, int], nbytes: float, weights_format: WeightsFormat, levels: int | None = None,
    chosen: Sequence[int] | None = None, favour_decoding_speed: bool = False,
) -> tuple[Octree, NDArray[np.int64], int]:  # fmt: skip
    """Full octree, widths and layers of a node that ``nbytes`` pay for. At least the smallest network there is.

    ``levels`` of the octree, 1 to :data:`MAX_LEVELS`, instead of what suits the size; ``chosen`` widths a level from
    the root, instead of what the bytes pay for. ``quick`` networks have narrow roots, which are evaluated sooner.

    Raises
    ------
    ValueError
        If the volume has no room for the levels of ``chosen`` widths, or ``nbytes`` none for their weights.
    """
    if chosen is not None:
        return _with_chosen_widths(shape, nbytes, weights_format, chosen)
    budget = 8 * nbytes / BITS_PER_WEIGHT[weights_format]
    for count in range(2, MAX_LEVELS + 1) if levels is None else [levels]:
        octree = Octree.full(shape, count - 1)
        layers = _layers_per_node(octree)
        widths = _widths_for_budget(octree, layers, budget, favour_decoding_speed)
        if widths[0] < WIDEST_ROOT or Octree.full(shape, count).depth == octree.depth:
            break
    return octree, widths, layers


def parse_widths(widths: Sequence[int], levels: int | None = None) -> tuple[int, ...]:
    """Widths a level from the root, as a tuple.

    Raises
    ------
    ValueError, TypeError
        If they are not 1 to :data:`MAX_LEVELS` whole numbers, or not ``levels``, each 1 to 256.
    """
    try:
        parsed = tuple(operator.index(width) for width in widths)
    except TypeError:
        raise TypeError(f"widths are {widths!r}, expected whole numbers from the root on, such as (48, 16)") from None
    if not 1 <= len(parsed) <= MAX_LEVELS or levels not in (None, len(parsed)):
        expected = f"1 to {MAX_LEVELS}" if levels is None else levels
        raise ValueError(f"widths are {_comma_separated(parsed)}, {len(parsed)} levels, expected {expected}")
    if not all(1 <= width <= MAX_WIDTH for width in parsed):
        raise ValueError(f"widths are {_comma_separated(parsed)}, expected each 1 to {MAX_WIDTH}")
    return parsed


def _comma_separated(widths: Sequence[int]) -> str:
    return ", ".join(map(str, widths)) or "none"


def _with_chosen_widths(
    shape: tuple[int, int, int], nbytes: float, weights_format: WeightsFormat, chosen: Sequence[int]
) -> tuple[Octree, NDArray[np.int64], int]:
    octree = Octree.full(shape, len(chosen) - 1)
    if octree.depth < len(chosen) - 1:
        raise ValueError(
            f"widths are {_comma_separated(chosen)}, {len(chosen)} levels; a volume of shape {shape} has room for "
            f"{octree.depth + 1}"
        )
    layers, widths = _layers_per_node(octree), np.array(chosen, np.int64)[octree.level]
    count = int(count_parameters(octree, widths, layers).sum())
    least = count * (LEAST_BITS if weights_format is WeightsFormat.ENTROPY else BITS_PER_WEIGHT[weights_format]) / 8
    if least > nbytes:
        raise ValueError(
            f"widths are {_comma_separated(chosen)}: {count} weights take at least {round(least)} bytes, of "
            f"{max(0, round(nbytes))} that there are for them"
        )
    return octree, widths, layers


def _layers_per_node(octree: Octree) -> int:
    return 3 if octree.depth <= 1 else 2


def _widths_for_budget(octree: Octree, layers: int, budget: float, favour_decoding_speed: bool) -> NDArray[np.int64]:
    """The levels above as wide as suits the processor, and the widest leaves that the rest of the budget pays for."""

    def spent(per_level: list[int]) -> int:
        return int(count_parameters(octree, np.array(per_level)[octree.level], layers).sum())

    def widest(fits: Callable[[float], bool], most: float) -> float:
        low, high = 0.0, most
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def above_leaves(rate: float) -> list[int]:
        growth = np.minimum(rate ** np.arange(octree.depth, -1, -1.0), rate**1.5)
        leaf = widest(lambda leaf: spent([max(1, round(w)) for w in leaf * growth]) <= budget, 256 / growth[0])
        return [_round_to_vectors(width) for width in leaf * growth[:-1]]

    above = above_leaves(SMALL_GROWTH)
    if favour_decoding_speed or (above and above[0] > SMALL_ROOT) or len(octree.leaves) < 8:
        above = above_leaves(GROWTH)
    below = int(max(1, widest(lambda leaf: spent([*above, int(leaf)]) <= budget, 256)))
    return np.array([*above, below - below % (4 if below >= 16 else 2 if below >= 8 else 1)])[octree.level]


def _round_to_vectors(width: float) -> int:
    """To the nearest multiple of 8, or 4 or 2 where that would change a small width by much."""
    unit = next((unit for unit in (8, 4, 2) if width >= 5 * unit), 1)
    return max(1, round(width / unit) * unit)
