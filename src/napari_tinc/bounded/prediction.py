"""Predict voxels, and the size of the errors, from known voxels on both sides: all voxels of a parity at once.

All arithmetic is on integers, or correctly rounded sums, products and quotients in a fixed order, so that every machine
predicts the same. Predictions and errors are in eighths of the integers that are coded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .entropy import MAX_CLASSES
from .kernels import WEIGHT_BITS

Ints = NDArray[Any]  # int32, or int64 where sums need it
Parity = tuple[int, int, int]

# Parities in the order in which they are coded: each is predicted from those before it too.
ORDER: tuple[Parity, ...] = ((1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1))
# Offsets of the neighbours that a prediction begins with, and that tell how well it will be.
NEAR = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1))
# Offsets of the neighbours whose differences from these are terms of a prediction.
FAR = ((3, 0, 0), (0, 3, 0), (0, 0, 3), (1, 2, 0), (1, 0, 2), (2, 1, 0), (0, 1, 2), (2, 0, 1), (0, 2, 1))
SHELLS = (NEAR[:3], NEAR[3:6], NEAR[6:])  # Faces, edges and corners, which are weighted one by one.
SHELL_VOTES = (4, 2, 1)  # A neighbour of a shell counts so much where background is counted.
PAD = 2  # This many voxels of the same parity are repeated beyond a box, since neighbours reach as far.
ACTIVITY_BITS = 10  # A stored weight of the activity is in units of 2^-10.


def _orbit(offset: Parity) -> list[Parity]:
    """Return an offset and its mirror images."""
    return [(z, y, x) for z, y, x in itertools.product(*(((d, -d) if d else (0,)) for d in offset))]


# Every offset with its mirror images.
ORBITS = {offset: _orbit(offset) for offset in itertools.product(range(4), range(4), range(4))}


def index_of(parity: Sequence[int]) -> int:
    """Return the number of a parity, 0 to 7, by which arrays have it."""
    return parity[0] << 2 | parity[1] << 1 | parity[2]


class Level:
    """What is known of a level while it is coded: padded arrays, one for each parity. Errors are in eighths.

    Parameters
    ----------
    high : largest integer that can occur.
    step : distance of the integers that can be coded: 2 bound + 1.
    shape : voxels of the first parity along z, y, x. No parity has more.
    dtype : of the values and errors.
    background : integer of the background, -1 if there is none.
    has_errors : whether errors are kept too.

    Attributes
    ----------
    values, errors : integers and the errors of their prediction, (8, z, y, x).
    known : which parities have been added.
    strides : places from a voxel to the same one of the next parity, and to the next along z, y, x.
    """

    def __init__(
        self, high: int, step: int, shape: Sequence[int], dtype: Any, background: int = -1, has_errors: bool = True
    ) -> None:  # fmt: skip
        self.high, self.step, self.background = high, step, background
        padded = [n + 2 * PAD for n in shape]
        self.values: Ints = np.empty((8, *padded), dtype)
        self.errors: Ints = np.empty((8, *padded) if has_errors else (8, 0, 0, 0), dtype)
        self.known = [False] * 8
        self.strides = np.array([math.prod(padded[axis:]) for axis in range(4)], np.int64)

    def add(self, parity: Parity, values: Ints, errors: Ints | None = None) -> None:
        """Add the voxels of a parity, (z, y, x)."""
        number = index_of(parity)
        kernels.fill(values, self.values[number], PAD)
        if errors is not None:
            kernels.fill(errors, self.errors[number], PAD)
        self.known[number] = True


class _Neighbours(NamedTuple):
    """The neighbours of the voxels of a parity, each as its parity's number and its steps along z, y, x.

    Attributes
    ----------
    terms : kinds and offsets of the terms that a prediction adds, weighted, to the mean of the nearest neighbours.
    values, values_of, scales : neighbours whose values count, the number of the term of each (-1 for the mean), and
        its weight in that term, in eighths.
    errors, errors_of : neighbours whose errors count, and the number of the term of each.
    pairs, norms : opposite neighbours, (n, 2, 4), and their squared distances.
    shells : kinds and offsets of the terms of the activity.
    spread, spread_of, sizes, sizes_of : neighbours of these, and the number of the term of each.
    votes : weight of each neighbour of ``spread`` where background is counted.
    """

    terms: list[tuple[str, Parity]]
    values: NDArray[np.int64]
    values_of: NDArray[np.int64]
    scales: NDArray[np.int64]
    errors: NDArray[np.int64]
    errors_of: NDArray[np.int64]
    pairs: NDArray[np.int64]
    norms: NDArray[np.float64]
    shells: list[tuple[str, list[Parity]]]
    spread: NDArray[np.int64]
    spread_of: NDArray[np.int64]
    sizes: NDArray[np.int64]
    sizes_of: NDArray[np.int64]
    votes: NDArray[np.int64]

    @property
    def n_errors(self) -> int:
        """How many terms are sums of errors; these stand before the last one, which is along lines."""
        return sum(kind == "errors" for kind, _ in self.terms)


def _neighbour(parity: Parity, offset: Parity) -> list[int]:
    """Return the number of the parity of a neighbour, and its steps along z, y, x within that."""
    z, y, x = (p + d for p, d in zip(parity, offset, strict=True))
    return [index_of((z & 1, y & 1, x & 1)), z >> 1, y >> 1, x >> 1]


@lru_cache(maxsize=256)
def _neighbours(parity: Parity, known: tuple[bool, ...]) -> _Neighbours:
    """Find the neighbours of the voxels of a parity, given which parities are known."""

    def is_known(offset: Parity) -> bool:
        """Return whether the neighbours at an offset are known."""
        return known[_neighbour(parity, offset)[0]]

    def all_at(offset: Parity) -> list[list[int]]:
        """Return the neighbours at an offset and at its mirror images."""
        return [_neighbour(parity, mirror) for mirror in ORBITS[offset]]

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
    return _Neighbours(
        terms, value_taps, values_of, scales, error_taps, errors_of, np.array(pairs), np.array(norms),
        shells, spread_taps, spread_of, size_taps, sizes_of, np.array(votes),
    )  # fmt: skip


def _filled_up(taps: NDArray[np.int64], weights: NDArray[np.int64], dtype: Any) -> tuple[NDArray[np.int64], Ints]:
    """Leave out taps without a weight, and fill up the rest with such, to a multiple of what kernels add at a time."""
    used = np.flatnonzero(weights)
    size = -(-len(used) // kernels.TAPS) * kernels.TAPS
    out, out_weights = np.zeros(size, np.int64), np.zeros(size, dtype)
    out[: len(used)], out_weights[: len(used)] = taps[used], weights[used]
    return out, out_weights


class ParityStage:
    """All voxels of one parity of a level, about to be predicted. Predictions are in eighths of the integers.

    Arrays of predictions and activities have a number for every place of a padded array (kernels.py: *span*).
    """

    def __init__(self, known: Level, parity: Parity, shape: tuple[int, int, int]) -> None:
        self.known, self.parity, self.shape = known, parity, shape
        self.size = math.prod(shape)
        self._near = _neighbours(parity, tuple(known.known))
        self._predicted: tuple[list[int], Ints] | None = None  # weights, and the prediction with these
        _, self._plane, self._row, _ = known.strides.tolist()
        self._origin = PAD * (self._plane + self._row + 1)
        last = [n - 1 + PAD for n in shape]
        self._span = self._origin, last[0] * self._plane + last[1] * self._row + last[2] + 1

    @property
    def terms(self) -> list[tuple[str, Parity]]:
        """Terms that the prediction adds, weighted, to the mean of the nearest neighbours: kind and offset of each."""
        return self._near.terms

    @property
    def shells(self) -> list[tuple[str, list[Parity]]]:
        """Terms whose weighted sum is the activity: kind and offsets of each."""
        return self._near.shells

    def is_known(self, offset: Parity) -> bool:
        """Return whether the neighbours at an offset are known."""
        return self.known.known[_neighbour(self.parity, offset)[0]]

    def views(self, offset: Parity) -> Iterator[Ints]:
        """Yield the values of the neighbours of all voxels at an offset and at its mirror images."""
        for mirror in ORBITS[offset]:
            number, *steps = _neighbour(self.parity, mirror)
            yield self.known.values[number][
                tuple(slice(PAD + d, PAD + d + n) for d, n in zip(steps, self.shape, strict=True))
            ]

    def _offsets(self, taps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return by how many places neighbours are away from a voxel, if arrays begin with the first parity."""
        return taps @ self.known.strides

    def predict(self, weights: Sequence[int]) -> Ints:
        """Predict all voxels, in eighths, with weights in units of 2^-WEIGHT_BITS. Over the span."""
        near, known = self._near, self.known
        if self._predicted is not None and self._predicted[0] == weights:
            return self._predicted[1]
        sizes = [len(ORBITS[offset]) if name == "errors" else 1 for name, offset in near.terms]
        most = 8 * known.high * (2**WEIGHT_BITS + sum(abs(w) * n for w, n in zip(weights, sizes, strict=True)))
        dtype = np.int32 if most < 2**30 and known.values.dtype == np.int32 else np.int64
        of_mean = 2**WEIGHT_BITS - sum(w for w, (name, _) in zip(weights, near.terms, strict=True) if name != "errors")
        of_terms = np.array([*weights, of_mean], np.int64)  # the mean has the number -1
        taps = _filled_up(self._offsets(near.values), near.scales * of_terms[near.values_of], dtype)
        error_taps = _filled_up(self._offsets(near.errors), of_terms[near.errors_of], dtype)
        prediction = np.empty(math.prod(known.values.shape[1:]), known.values.dtype)
        kernels.predict(
            known.values.reshape(-1), known.errors.reshape(-1), *self._span, *taps, *error_taps,
            self._offsets(near.pairs), near.norms, weights[-1], self.noise, 8 * known.high,
            np.empty(kernels.CHUNK, dtype), prediction,
        )  # fmt: skip
        self._predicted = list(weights), prediction
        return prediction

    @property
    def noise(self) -> float:
        """The squared difference of neighbours that says nothing."""
        return 2.0 * self.known.step * self.known.step

    def activity(self, prediction: Ints, weights: Sequence[int]) -> Ints:
        """Compute how large an error to expect, in eighths and units of 2^-ACTIVITY_BITS. Over the span."""
        near, known = self._near, self.known
        sizes = [sum(len(ORBITS[offset]) for offset in offsets) for _, offsets in near.shells]
        most = 8 * known.high * sum(w * n for w, n in zip(weights, sizes, strict=True))
        dtype = np.int32 if most < 2**30 and known.values.dtype == np.int32 else np.int64
        of_terms = np.array(weights, np.int64)
        taps = _filled_up(self._offsets(near.spread), of_terms[near.spread_of] << 3, dtype)
        error_taps = _filled_up(self._offsets(near.sizes), of_terms[near.sizes_of], dtype)
        out = np.empty(len(prediction), dtype)
        kernels.activity(
            known.values.reshape(-1), known.errors.reshape(-1), prediction, *self._span, *taps, *error_taps, out
        )
        return out

    def emptiness(self) -> NDArray[np.uint8]:
        """Compute how many of the known neighbours are background, from 0 for none to 15 for all, (n,)."""
        out = np.empty(self.size, np.uint8)
        kernels.emptiness(
            self.known.values.reshape(-1), self.known.background, self._origin, self._plane, self._row, self.shape,
            self._offsets(self._near.spread), self._near.votes, out,
        )  # fmt: skip
        return out

    def classes(self, prediction: Ints, activity: Ints) -> NDArray[np.uint8]:
        """Return the class of every voxel, (n,)."""
        unit = self.known.step << (3 + ACTIVITY_BITS)
        edges = [max(1, unit * (181 if i % 2 else 128) >> 7 + 6 - i // 2) for i in range(12)]
        edges += [unit * (181 if i % 2 else 128) >> 7 << i // 2 for i in range(MAX_CLASSES // 2 - 13)]
        most = np.iinfo(activity.dtype).max
        out = np.empty(self.size, np.uint8)
        kernels.classify(
            prediction, activity, self._origin, self._plane, self._row, self.shape,
            np.array([edge for edge in edges if edge <= most], activity.dtype), self.known.step == 1, out,
        )  # fmt: skip
        return out

    def quantize(
        self, prediction: Ints, wanted: Ints, classes: NDArray[np.uint8], zones: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Turn what is wanted, (z, y, x), into the steps that are coded, (n,); see :func:`.kernels.quantize`."""
        coded = np.empty(self.size, np.int64)
        kernels.quantize(
            prediction, wanted, self._origin, self._plane, self._row, classes, zones, self.known.step, coded
        )
        return coded

    def place(
        self, prediction: Ints, coded: NDArray[np.int64], is_background: NDArray[np.bool_] | None, box: Ints,
        errors: Ints,
    ) -> None:  # fmt: skip
        """Add the voxels to what is known, and put them and their errors into their places, (z, y, x)."""
        known, number = self.known, index_of(self.parity)
        kernels.place(
            prediction, coded, np.zeros(0, np.bool_) if is_background is None else is_background, known.background,
            self._origin, self._plane, self._row, known.step, known.high, box, errors,
            known.values[number].reshape(-1), known.errors[number].reshape(-1),
        )  # fmt: skip
        if self.parity != ORDER[-1]:  # the last parity predicts no other of the level
            kernels.repeat_faces(known.values[number], *self.shape, PAD)
            kernels.repeat_faces(known.errors[number], *self.shape, PAD)
            known.known[number] = True

    def sampled(self, voxels: NDArray[np.int64]) -> SampledStage:
        """Return the terms of some voxels, which are numbers of the flat stage."""
        z, y, x = np.unravel_index(voxels, self.shape)
        return SampledStage(self, self._near, self._origin + z * self._plane + y * self._row + x)


class SampledStage:
    """Some voxels of a stage, of which all terms of the prediction and the activity are wanted one by one."""

    def __init__(self, stage: ParityStage, near: _Neighbours, places: NDArray[np.int64]) -> None:
        self._stage, self._near, self._places = stage, near, places
        self._values, self._errors = stage.known.values.reshape(-1), stage.known.errors.reshape(-1)
        self._known, self._offsets = stage.known, stage._offsets
        self._sums = np.zeros((len(near.terms) + 1, len(places)))
        # The mean of the nearest neighbours, which has the number -1, is in the last row.
        kernels.sample_sums(
            self._values, places, self._offsets(near.values), near.values_of % len(self._sums), near.scales, self._sums
        )
        self.base = self._sums[-1].astype(np.int64)

    def terms(self) -> NDArray[np.float64]:
        """Compute all terms of the prediction, (n_terms, n)."""
        near, out = self._near, self._sums[:-1]
        out[: len(out) - 1 - near.n_errors] -= self._sums[-1]
        ones = np.ones(len(near.errors), np.int64)
        kernels.sample_sums(self._errors, self._places, self._offsets(near.errors), near.errors_of, ones, out)
        kernels.sample_lines(
            self._values, self._places, self._offsets(near.pairs), near.norms, self._stage.noise,
            8 * self._known.high, out[-1],
        )  # fmt: skip
        out[-1] -= self._sums[-1]
        return out

    def shells(self, centres: NDArray[np.int64]) -> NDArray[np.float64]:
        """Compute all terms of the activity around predictions, in whole integers, (n_shells, n)."""
        near, out = self._near, np.zeros((len(self._near.shells), len(self._places)))
        self._add_distances(self._values, centres, near.spread, near.spread_of, out)
        out *= 8.0
        self._add_distances(self._errors, np.zeros_like(centres), near.sizes, near.sizes_of, out)
        return out

    def spread(self) -> NDArray[np.float64]:
        """Return how far neighbours are from the mean of the nearest, on average, in eighths, (n,)."""
        near, out = self._near, np.zeros((1, len(self._places)))
        rows = np.zeros(len(near.spread), np.int64)
        self._add_distances(self._values, (self.base + 4) >> 3, near.spread, rows, out)
        return out[0] * np.float64(8 / len(near.spread))

    def _add_distances(
        self, flat: Ints, centres: NDArray[np.int64], taps: NDArray[np.int64], rows: NDArray[np.int64],
        out: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """Add how far neighbours are from ``centres`` to their rows."""
        kernels.sample_distances(flat, self._places, centres, self._offsets(taps), rows, out)

    def at(self, prediction: Ints) -> NDArray[np.int64]:
        """Return what a prediction over the span has for the voxels."""
        return prediction[self._places].astype(np.int64)


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
                yield (
                    ParityStage(known, parity, (size[0], size[1], size[2])),
                    tuple(slice(p * stride, None, 2 * stride) for p in parity),
                )
