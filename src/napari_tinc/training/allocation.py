"""Choose an octree, the widths of its networks and their layers for a number of bytes.

The rules were measured (docs/benchmarks/). A weight takes about 5.2 bits. A wide root over few small leaves is best:
six times as wide, or four times in larger files and over fewer than eight leaves, with three layers in each node.
Another level, with two layers in each node, pays only if the root would get wider than a step can afford. Widths are
multiples of what the processor's vectors hold: a product of 64 x 64 takes less time than one of 63 x 63.
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

# Bits that a weight takes in a file.
BITS_PER_WEIGHT = {
    WeightsFormat.FLOAT16: 16.0,
    WeightsFormat.INT8: 8.0,
    WeightsFormat.ENTROPY: 5.2,
    WeightsFormat.SORTED: 5.2,
}
LEAST_BITS = 1.0  # Chosen widths with fewer bits for each entropy-coded weight are refused: the picture would be poor.
GROWTH = 4.0  # The width grows by this factor from level to level above the leaves, at most by its power of 1.5 in all,
SMALL_GROWTH = 6.0  # and by this one for a root of at most SMALL_ROOT features over eight leaves or more.
SMALL_ROOT = 64  # Up to this width, a root that grows faster costs little time.
WIDEST_ROOT = 160  # The tree gets another level if its root would be wider.
MAX_LEVELS = 6  # Trees have no more levels.


def allocate(
    shape: tuple[int, int, int], nbytes: float, weights_format: WeightsFormat, levels: int | None = None,
    chosen: Sequence[int] | None = None, favour_decoding_speed: bool = False,
) -> tuple[Octree, NDArray[np.int64], int]:  # fmt: skip
    """Choose a full octree, widths and layers that ``nbytes`` pay for, or the smallest network there is.

    Parameters
    ----------
    shape : voxels along z, y, x.
    nbytes : bytes for the weights.
    weights_format : how weights are stored.
    levels : of the octree, 1 to :data:`MAX_LEVELS`; None for what suits the size.
    chosen : width of the nodes of each level from the root; None for what the bytes pay for.
    favour_decoding_speed : whether the root shall be narrow, as it is evaluated for every voxel.

    Returns
    -------
    The octree, the width of every node, and the sine layers of each node.

    Raises
    ------
    ValueError
        If the volume has no room for the levels of the chosen widths, or ``nbytes`` none for their weights.
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
    """Return the widths of the levels, from the root on, as a tuple.

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
    """Write widths for an error message."""
    return ", ".join(map(str, widths)) or "none"


def _with_chosen_widths(
    shape: tuple[int, int, int], nbytes: float, weights_format: WeightsFormat, chosen: Sequence[int]
) -> tuple[Octree, NDArray[np.int64], int]:
    """Build the octree and the widths that the user chose. ValueError if they do not fit."""
    octree = Octree.full(shape, len(chosen) - 1)
    if octree.depth < len(chosen) - 1:
        raise ValueError(
            f"widths are {_comma_separated(chosen)}, {len(chosen)} levels; a volume of shape {shape} has room for "
            f"{octree.depth + 1}"
        )
    layers, widths = _layers_per_node(octree), np.array(chosen, np.int64)[octree.level]
    count = int(count_parameters(octree, widths, layers).sum())
    least = count * (LEAST_BITS if weights_format.is_entropy_coded else BITS_PER_WEIGHT[weights_format]) / 8
    if least > nbytes:
        raise ValueError(
            f"widths are {_comma_separated(chosen)}: {count} weights take at least {round(least)} bytes, of "
            f"{max(0, round(nbytes))} that there are for them"
        )
    return octree, widths, layers


def _layers_per_node(octree: Octree) -> int:
    """Return the sine layers of each node: fewer in deep trees."""
    return 3 if octree.depth <= 1 else 2


def _widths_for_budget(octree: Octree, layers: int, budget: float, favour_decoding_speed: bool) -> NDArray[np.int64]:
    """Return the width of every node: levels above the leaves as suits the processor, leaves as the budget allows."""

    def spent(per_level: list[int]) -> int:
        """Return the number of weights of these widths."""
        return int(count_parameters(octree, np.array(per_level)[octree.level], layers).sum())

    def widest(fits: Callable[[float], bool], most: float) -> float:
        """Return the largest width that fits, by bisection."""
        low, high = 0.0, most
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def above_leaves(rate: float) -> list[int]:
        """Return the widths of all levels above the leaves, if widths grow by a rate from level to level."""
        growth = np.minimum(rate ** np.arange(octree.depth, -1, -1.0), rate**1.5)
        leaf = widest(lambda leaf: spent([max(1, round(w)) for w in leaf * growth]) <= budget, 256 / growth[0])
        return [_round_to_vectors(width) for width in leaf * growth[:-1]]

    above = above_leaves(SMALL_GROWTH)
    if favour_decoding_speed or (above and above[0] > SMALL_ROOT) or len(octree.leaves) < 8:
        above = above_leaves(GROWTH)
    below = int(max(1, widest(lambda leaf: spent([*above, int(leaf)]) <= budget, 256)))
    return np.array([*above, below - below % (4 if below >= 16 else 2 if below >= 8 else 1)])[octree.level]


def _round_to_vectors(width: float) -> int:
    """Round to the nearest multiple of 8, or of 4 or 2 if that would change a small width by much."""
    unit = next((unit for unit in (8, 4, 2) if width >= 5 * unit), 1)
    return max(1, round(width / unit) * unit)
