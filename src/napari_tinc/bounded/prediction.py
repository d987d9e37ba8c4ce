"""Predict voxels, and the size of the errors, from known voxels on both sides: all voxels of a parity at once.

All arithmetic is on integers, or correctly rounded sums, products and quotients in a fixed order, so that every machine
predicts the same. Predictions and errors are in eighths of the integers that are coded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .entropy import MAX_CLASSES

Ints = NDArray[Any]  # int32, or int64 where sums need it
Parity = tuple[int, int, int]

# Parities in the order in which they are coded: each is predicted from those before it too.
ORDER: tuple[Parity, ...] = ((1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1))
# Offsets of the neighbours that a prediction begins with, and that tell how well it will be.
NEAR = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1))
# Offsets of the neighbours whose differences from these are terms of a prediction.
FAR = ((3, 0, 0), (0, 3, 0), (0, 0, 3), (1, 2, 0), (1, 0, 2), (2, 1, 0), (0, 1, 2), (2, 0, 1), (0, 2, 1))
SHELLS = (NEAR[:3], NEAR[3:6], NEAR[6:])  # Faces, edges and corners, which are weighted one by one.
PAD = 2  # This many voxels of the same parity are repeated beyond a box, since neighbours reach as far.
WEIGHT_BITS = 8  # A stored weight of a prediction is in units of 2^-8.
ACTIVITY_BITS = 10  # A stored weight of the activity is in units of 2^-10.


def _orbit(offset: Parity) -> list[Parity]:
    """Return an offset and its mirror images."""
    return [(z, y, x) for z, y, x in itertools.product(*(((d, -d) if d else (0,)) for d in offset))]


# Every offset with its mirror images.
ORBITS = {offset: _orbit(offset) for offset in itertools.product(range(4), range(4), range(4))}


def pad(array: Ints) -> Ints:
    """Repeat the voxels at the faces, for neighbours beyond the box."""
    return np.pad(array, PAD, mode="edge")


@dataclass(slots=True, eq=False)
class Level:
    """What is known of a level while it is coded. All arrays are padded, one for each parity; errors are in eighths.

    Attributes
    ----------
    high : largest integer that can occur.
    step : distance of the integers that can be coded: 2 bound + 1.
    values, errors, sizes : integers, errors of their prediction, and the sizes of these.
    background : integer of the background, -1 if there is none.
    empty : 1 where a value is the background.
    """

    high: int
    step: int
    values: dict[Parity, Ints] = field(default_factory=dict)
    errors: dict[Parity, Ints] = field(default_factory=dict)
    sizes: dict[Parity, Ints] = field(default_factory=dict)  # of the errors
    background: int = -1
    empty: dict[Parity, NDArray[np.int8]] = field(default_factory=dict)  # 1 where the value is the background

    def add(self, parity: Parity, values: Ints, errors: Ints) -> None:
        """Add the voxels of a parity."""
        self.values[parity], self.errors[parity] = pad(values), pad(errors)
        self.sizes[parity] = np.abs(self.errors[parity])
        if self.background >= 0:
            self.empty[parity] = (self.values[parity] == self.background).astype(np.int8)


@dataclass(frozen=True, eq=False)
class ParityStage:
    """All voxels of one parity of a level, about to be predicted. Predictions are in eighths of the integers."""

    known: Level
    parity: Parity
    shape: tuple[int, ...]

    def views(self, arrays: dict[Parity, Ints], offset: Parity) -> Iterator[Ints]:
        """Yield the neighbours of all voxels at an offset and at its mirror images."""
        for mirror in ORBITS[offset]:
            parity, where = [], []
            for p, d, n in zip(self.parity, mirror, self.shape, strict=True):
                parity.append((p + d) & 1)
                where.append(slice(PAD + ((p + d) >> 1), PAD + ((p + d) >> 1) + n))
            yield arrays[parity[0], parity[1], parity[2]][tuple(where)]

    def _sum_at(self, arrays: dict[Parity, Ints], offset: Parity) -> Ints:
        """Sum the neighbours at an offset and its mirror images."""
        first, *others = self.views(arrays, offset)
        total = first.copy()
        for other in others:
            total += other
        return total

    def _mean_at(self, arrays: dict[Parity, Ints], offset: Parity) -> Ints:
        """Return the mean of the neighbours at an offset and its mirror images, in eighths."""
        return self._sum_at(arrays, offset) * (8 // len(ORBITS[offset]))

    def is_known(self, offset: Parity) -> bool:
        """Return whether the neighbours at an offset are known."""
        z, y, x = ((p + d) & 1 for p, d in zip(self.parity, offset, strict=True))
        return (z, y, x) in self.known.values

    @cached_property
    def terms(self) -> list[tuple[str, Parity]]:
        """Terms that the prediction adds, weighted, to the mean of the nearest neighbours: kind and offset of each."""
        near = [offset for offset in NEAR if self.is_known(offset)]
        terms = [("values", offset) for offset in near[1:] + [offset for offset in FAR if self.is_known(offset)]]
        return terms + [("errors", offset) for offset in near] + [("lines", near[0])]

    @cached_property
    def shells(self) -> list[tuple[str, list[Parity]]]:
        """Terms whose weighted sum is the activity: kind and offsets of each."""
        shells = [[offset for offset in shell if self.is_known(offset)] for shell in SHELLS]
        return [(name, shell) for shell in shells for name in ("spread", "sizes") if shell]

    @cached_property
    def base(self) -> Ints:
        """Mean of the nearest neighbours, in eighths."""
        return self._mean_at(self.known.values, next(offset for offset in NEAR if self.is_known(offset)))

    def term(self, name: str, offset: Parity) -> Ints:
        """Compute a term of the prediction."""
        if name == "values":
            return self._mean_at(self.known.values, offset) - self.base
        if name == "errors":
            return self._sum_at(self.known.errors, offset)
        return self._along_lines() - self.base

    def _along_lines(self) -> Ints:
        """Compute the mean of opposite neighbours. Pairs that agree count more: it follows edges and does not cross
        them.

        Correctly rounded operations in this order, the same everywhere.
        """
        above, below = np.zeros(self.shape), np.zeros(self.shape)
        noise = 2.0 * self.known.step * self.known.step
        for offset in NEAR:
            if not self.is_known(offset):
                continue
            views = list(self.views(self.known.values, offset))
            for one, other in zip(views[: len(views) // 2], views[: len(views) // 2 - 1 : -1], strict=True):
                difference = np.subtract(one, other, dtype=np.float64)
                weight = 1.0 / ((difference * difference + noise) * sum(d * d for d in offset))
                above += weight * np.add(one, other, dtype=np.float64)
                below += weight
        return np.clip(np.rint(4.0 * above / below), 0, 8 * self.known.high).astype(self.base.dtype)

    def predict(self, weights: Sequence[int]) -> Ints:
        """Predict all voxels, in eighths, with weights in units of 2^-WEIGHT_BITS."""
        sizes = [len(ORBITS[offset]) if name == "errors" else 1 for name, offset in self.terms]
        most = 8 * self.known.high * (2**WEIGHT_BITS + sum(abs(w) * n for w, n in zip(weights, sizes, strict=True)))
        dtype = np.int32 if most < 2**30 else np.int64
        total = np.multiply(self.base, 2**WEIGHT_BITS, dtype=dtype)
        for weight, term in zip(weights, self.terms, strict=True):
            if weight:
                total += np.multiply(self.term(*term), weight, dtype=dtype)
        total += 2 ** (WEIGHT_BITS - 1)
        total >>= WEIGHT_BITS
        return np.clip(total, 0, 8 * self.known.high).astype(self.base.dtype)

    def shell(self, name: str, offsets: Sequence[Parity], centre: Ints) -> Ints:
        """Compute a term of the activity: differences of neighbours from the prediction, or sizes of their errors."""
        total = np.zeros_like(centre)
        for offset in offsets:
            for view in self.views(self.known.sizes if name == "sizes" else self.known.values, offset):
                total += view if name == "sizes" else np.abs(view - centre)
        return total if name == "sizes" else total << 3

    def activity(self, centre: Ints, weights: Sequence[int]) -> Ints:
        """Compute how large an error to expect, in eighths and units of 2^-ACTIVITY_BITS."""
        sizes = [sum(len(ORBITS[offset]) for offset in offsets) for _, offsets in self.shells]
        most = 8 * self.known.high * sum(w * n for w, n in zip(weights, sizes, strict=True))
        dtype = np.int32 if most < 2**30 else np.int64
        total = np.zeros(self.shape, dtype)
        for weight, shell in zip(weights, self.shells, strict=True):
            if weight:
                total += np.multiply(self.shell(*shell, centre), weight, dtype=dtype)
        return total

    def emptiness(self) -> NDArray[np.int64]:
        """Compute how many of the known neighbours are background, from 0 for none to 15 for all. int64 (n,)."""
        total, most = np.zeros(self.shape, np.int8), 0
        for shell, weight in zip(SHELLS, (4, 2, 1), strict=True):
            for offset in shell:
                if self.is_known(offset):
                    total += self._sum_at(self.known.empty, offset) * np.int8(weight)
                    most += weight * len(ORBITS[offset])
        return (total.ravel().astype(np.int64) * 15 + most - 1) // most

    def classes(self, prediction: Ints, centre: Ints, activity: Ints) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the class of every voxel, and whether its error is coded with the other sign.

        With that sign, more errors are above 0.
        """
        unit = self.known.step << (3 + ACTIVITY_BITS)
        edges = [max(1, unit * (181 if i % 2 else 128) >> 7 + 6 - i // 2) for i in range(12)]
        edges += [unit * (181 if i % 2 else 128) >> 7 << i // 2 for i in range(MAX_CLASSES // 2 - 13)]
        edges = [edge for edge in edges if edge <= np.iinfo(activity.dtype).max]
        classes = 2 * np.searchsorted(np.array(edges, activity.dtype), activity.ravel(), side="right")
        fraction = (prediction - (centre << 3)).ravel()
        if self.known.step == 1:
            classes += np.abs(fraction) >= 2
        return classes, fraction < 0


Place = tuple[slice, ...]


def stages(shape: tuple[int, ...], new_level: Callable[[int, Place], Level]) -> Iterator[tuple[ParityStage, Place]]:
    """Walk a box from coarse to fine; yield every stage and the place of its voxels in the box.

    The caller adds the voxels of a stage to ``stage.known`` before it asks for the next one.

    Parameters
    ----------
    shape : voxels along z, y, x.
    new_level : makes the :class:`Level` of a number, 0 for the finest, with the voxels that are known when the level
        begins; these are at the slices.
    """
    for level in range((max(shape) - 1).bit_length() - 1, -1, -1):
        stride = 2**level
        known = new_level(level, (slice(None, None, 2 * stride),) * 3)
        for parity in ORDER:
            size = tuple(len(range(p * stride, n, 2 * stride)) for p, n in zip(parity, shape, strict=True))
            if all(size):
                yield ParityStage(known, parity, size), tuple(slice(p * stride, None, 2 * stride) for p in parity)
