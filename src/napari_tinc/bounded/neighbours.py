"""The neighbours that voxels are predicted from, by the parity of the voxels and what is known before them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Parity = tuple[int, int, int]

# Parities in the order in which they are coded: each is predicted from those before it too.
ORDER: tuple[Parity, ...] = ((1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1))
# Offsets of the neighbours that a prediction begins with, and that tell how well it will be.
NEAR = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1))
# Offsets of the neighbours whose differences from these are terms of a prediction.
FAR = ((3, 0, 0), (0, 3, 0), (0, 0, 3), (1, 2, 0), (1, 0, 2), (2, 1, 0), (0, 1, 2), (2, 0, 1), (0, 2, 1))
SHELLS = (NEAR[:3], NEAR[3:6], NEAR[6:])  # Faces, edges and corners, which are weighted one by one.
SHELL_VOTES = (4, 2, 1)  # A neighbour of a shell counts so much where background is counted.


def _orbit(offset: Parity) -> list[Parity]:
    """Return an offset and its mirror images."""
    return [(z, y, x) for z, y, x in itertools.product(*(((d, -d) if d else (0,)) for d in offset))]


# Every offset with its mirror images.
ORBITS = {offset: _orbit(offset) for offset in itertools.product(range(4), range(4), range(4))}


def index_of(parity: Sequence[int]) -> int:
    """Return the number of a parity, 0 to 7, by which arrays have it."""
    return parity[0] << 2 | parity[1] << 1 | parity[2]


class Neighbours(NamedTuple):
    """The neighbours of the voxels of a parity, each as its parity's number and its steps along z, y, x.

    Attributes
    ----------
    terms : kinds and offsets of the terms that a prediction adds, weighted, to the mean of the nearest neighbours.
    n_values : how many of these are of values: the first ones. Then come those of errors, and the mean along lines.
    sizes_of_terms : by how much the weight of each term counts in the largest sum.
    values, values_of, scales : neighbours whose values count, the number of the term of each (-1 for the mean), and
        its weight in that term, in eighths.
    errors, errors_of : neighbours whose errors count, and the number of the term of each.
    pairs, norms : opposite neighbours, (n, 2, 4), and their squared distances.
    shells : kinds and offsets of the terms of the activity.
    sizes_of_shells : how many neighbours each has.
    spread, spread_of, sizes, sizes_of : neighbours of these, and the number of the term of each.
    votes : weight of each neighbour of ``spread`` where background is counted.
    """

    terms: list[tuple[str, Parity]]
    n_values: int
    sizes_of_terms: list[int]
    values: NDArray[np.int64]
    values_of: NDArray[np.int64]
    scales: NDArray[np.int64]
    errors: NDArray[np.int64]
    errors_of: NDArray[np.int64]
    pairs: NDArray[np.int64]
    norms: NDArray[np.float64]
    shells: list[tuple[str, list[Parity]]]
    sizes_of_shells: list[int]
    spread: NDArray[np.int64]
    spread_of: NDArray[np.int64]
    sizes: NDArray[np.int64]
    sizes_of: NDArray[np.int64]
    votes: NDArray[np.int64]


def neighbour(parity: Parity, offset: Parity) -> list[int]:
    """Return the number of the parity of a neighbour, and its steps along z, y, x within that."""
    z, y, x = (p + d for p, d in zip(parity, offset, strict=True))
    return [index_of((z & 1, y & 1, x & 1)), z >> 1, y >> 1, x >> 1]


@lru_cache(maxsize=256)
def neighbours_of(parity: Parity, known: tuple[bool, ...]) -> Neighbours:
    """Find the neighbours of the voxels of a parity, given which parities are known."""

    def is_known(offset: Parity) -> bool:
        """Return whether the neighbours at an offset are known."""
        return known[neighbour(parity, offset)[0]]

    def all_at(offset: Parity) -> list[list[int]]:
        """Return the neighbours at an offset and at its mirror images."""
        return [neighbour(parity, mirror) for mirror in ORBITS[offset]]

    near = [offset for offset in NEAR if is_known(offset)]
    terms = [("values", offset) for offset in near[1:] + [offset for offset in FAR if is_known(offset)]]
    terms += [("errors", offset) for offset in near] + [("lines", near[0])]
    of = [(-1, near[0])] + [(number, offset) for number, (kind, offset) in enumerate(terms) if kind == "values"]
    values = [(tap, number, 8 // len(ORBITS[offset])) for number, offset in of for tap in all_at(offset)]
    errors = [
        (tap, number) for number, (kind, offset) in enumerate(terms) if kind == "errors" for tap in all_at(offset)
    ]
    pairs, norms = [], []
    for offset in near:
        taps = all_at(offset)
        half = len(taps) // 2
        pairs += [[one, other] for one, other in zip(taps[:half], taps[: half - 1 : -1], strict=True)]
        norms += [float(sum(d * d for d in offset))] * half
    around = [[offset for offset in shell if is_known(offset)] for shell in SHELLS]
    shells = [(name, shell) for shell in around for name in ("spread", "sizes") if shell]
    spread, sizes = (
        [
            (tap, number)
            for number, (name, shell) in enumerate(shells)
            if name == kind
            for o in shell
            for tap in all_at(o)
        ]
        for kind in ("spread", "sizes")
    )
    votes = [vote for shell, vote in zip(around, SHELL_VOTES, strict=True) for offset in shell for _ in ORBITS[offset]]
    value_taps, values_of, scales = map(np.array, zip(*values, strict=True))
    error_taps, errors_of = map(np.array, zip(*errors, strict=True))
    (spread_taps, spread_of), (size_taps, sizes_of) = (
        map(np.array, zip(*taps, strict=True)) for taps in (spread, sizes)
    )
    return Neighbours(
        terms, sum(kind == "values" for kind, _ in terms),
        [len(ORBITS[offset]) if kind == "errors" else 1 for kind, offset in terms],
        value_taps, values_of, scales, error_taps, errors_of, np.array(pairs), np.array(norms),
        shells, [sum(len(ORBITS[offset]) for offset in shell) for _, shell in shells],
        spread_taps, spread_of, size_taps, sizes_of, np.array(votes),
    )  # fmt: skip


Places = NDArray[np.int64]
# The neighbours of a prediction, as compiled code takes them: values, values_of, scales, errors, errors_of, pairs and
# norms of Neighbours, by how many places they are away.
Taps = tuple[Places, Places, Places, Places, Places, Places, NDArray[np.float64]]
Shells = tuple[Places, Places, Places, Places]  # Likewise those of the activity: spread, spread_of, sizes, sizes_of.


class Offsets(NamedTuple):
    """By how many places neighbours are away from a voxel in the flat arrays of a level: see :class:`Neighbours`.

    Attributes
    ----------
    taps : those of a prediction.
    spread : those whose spread is a term of the activity, or which may be background.
    shells : those of the activity.
    """

    taps: Taps
    spread: Places
    shells: Shells


@lru_cache(maxsize=1024)
def offsets_of(parity: Parity, known: tuple[bool, ...], strides: tuple[int, ...]) -> Offsets:
    """Find the neighbours of the voxels of a parity in arrays of which ``strides`` are those of :class:`.Level`."""
    near, steps = neighbours_of(parity, known), np.array(strides, np.int64)
    values, errors, pairs, spread, sizes = (
        taps @ steps for taps in (near.values, near.errors, near.pairs, near.spread, near.sizes)
    )
    return Offsets(
        (values, near.values_of, near.scales, errors, near.errors_of, pairs, near.norms),
        spread, (spread, near.spread_of, sizes, near.sizes_of),
    )  # fmt: skip
