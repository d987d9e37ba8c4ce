"""Predict voxels, and the size of the errors, from known voxels on both sides: all voxels of a parity at once.

All arithmetic is on integers, or correctly rounded sums, products and quotients in a fixed order, so that every machine
predicts the same. Predictions and errors are in eighths of the integers that are coded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from operator import mul
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import kernels, label_kernels
from .entropy import MAX_CLASSES, tokens_of
from .kernels import WEIGHT_BITS
from .neighbours import ORBITS, ORDER, Parity, index_of, neighbour, neighbours_of, offsets_of
from .workers import Later, Workers

Ints = NDArray[Any]  # int32, or int64 where sums need it
Work = Callable[[slice], None]  # fills some planes of an array
PAD = 2  # This many voxels of the same parity are repeated beyond a box, since neighbours reach as far.
LARGEST = {np.int32: 2**31 - 1, np.int64: 2**63 - 1}  # Activities are at most these.
ACTIVITY_BITS = 10  # A stored weight of the activity is in units of 2^-10.


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
    workers : threads that share the work; None for none but the caller's.

    Attributes
    ----------
    values, errors : integers and the errors of their prediction, (8, z, y, x).
    flat_values, flat_errors : the same numbers, (n,).
    spare : an array over a span, for one prediction after the other.
    known : which parities have been added.
    strides : places from a voxel to the same one of the next parity, and to the next along z, y, x.
    is_narrow : whether the dtype is int32.
    """

    def __init__(
        self, high: int, step: int, shape: Sequence[int], dtype: Any, background: int = -1, has_errors: bool = True,
        workers: Workers | None = None,
    ) -> None:  # fmt: skip
        self.workers = workers or Workers()
        self.high, self.step, self.background = high, step, background
        padded = [n + 2 * PAD for n in shape]
        both = np.empty((1 + has_errors, 8, *padded), dtype)
        self.values: Ints = both[0]
        self.errors: Ints = both[1] if has_errors else np.empty((8, 0, 0, 0), dtype)
        self.flat_values, self.flat_errors = self.values.reshape(-1), self.errors.reshape(-1)
        self.spare: Ints = np.empty(math.prod(padded), dtype)
        self.known = [False] * 8
        self.strides = (math.prod(padded), padded[1] * padded[2], padded[2], 1)
        self.is_narrow = dtype == np.int32

    def add(self, parity: Parity, values: Ints, errors: Ints | None = None) -> None:
        """Add the voxels of a parity, (z, y, x)."""
        number = index_of(parity)
        kernels.fill(values, self.values[number], PAD)
        if errors is not None:
            kernels.fill(errors, self.errors[number], PAD)
        self.known[number] = True


class Edges(NamedTuple):
    """The activities at which a class ends, in a table of the steps in which a float64 without its low bits grows.

    Attributes
    ----------
    first : the number of the first step. The first and the last one have what is below and above, too.
    before : uint8 (n,), how many edges are in steps before each one.
    edge_in : int64 (n,), the edge in each step; an unreachable one if there is none.
    """

    first: int
    before: NDArray[np.uint8]
    edge_in: NDArray[np.int64]


@lru_cache(maxsize=64)
def edges_of(step: int, most: int) -> Edges:
    """Return the edges up to ``most`` for a distance of the integers that can be coded."""
    unit = step << (3 + ACTIVITY_BITS)
    edges = [unit * (181 if i % 2 else 128) >> 7 + 6 - i // 2 for i in range(12)]
    edges += [unit * (181 if i % 2 else 128) >> 7 << i // 2 for i in range(MAX_CLASSES // 2 - 13)]
    edges = [edge for edge in edges if edge <= most]
    steps = np.array([int(np.float64(edge & ~2047 if edge >= 2**53 else edge).view(np.int64)) for edge in edges])
    steps >>= kernels.EDGE_SHIFT
    first = int(steps[0]) - 1
    numbers = np.arange(first, int(steps[-1]) + 2)
    edge_in = np.full(len(numbers), np.iinfo(np.int64).max)
    edge_in[steps - first] = edges
    return Edges(first, np.searchsorted(steps, numbers).astype(np.uint8), edge_in)


class StageCode(NamedTuple):
    """What is stored of the voxels of a stage: their classes and tokens, and the further bits of large integers."""

    classes: NDArray[np.uint8]
    tokens: NDArray[np.int32]
    n_bits: NDArray[np.uint8]
    rest: NDArray[np.int64]


class ParityStage:
    """All voxels of one parity of a level, about to be predicted. Predictions are in eighths of the integers.

    Arrays of predictions and activities have a number for every place of a padded array (kernels.py: *span*).
    """

    def __init__(self, known: Level, parity: Parity, shape: tuple[int, int, int]) -> None:
        self.known, self.parity, self.shape = known, parity, shape
        self.size = math.prod(shape)
        self.near = neighbours_of(parity, tuple(known.known))
        self.offsets = offsets_of(parity, tuple(known.known), known.strides)
        self._predicted: tuple[list[int], Ints] | None = None  # weights, and the prediction with these
        _, self._plane, self._row, _ = known.strides
        self._origin = PAD * (self._plane + self._row + 1)

    @property
    def terms(self) -> list[tuple[str, Parity]]:
        """Terms that the prediction adds, weighted, to the mean of the nearest neighbours: kind and offset of each."""
        return self.near.terms

    def is_known(self, offset: Parity) -> bool:
        """Return whether the neighbours at an offset are known."""
        return self.known.known[neighbour(self.parity, offset)[0]]

    @property
    def layout(self) -> tuple[int, int, int]:
        """The place of the first voxel in a padded array, and how far the next plane and the next row are."""
        return self._origin, self._plane, self._row

    def offsets_at(self, offsets: Sequence[Parity]) -> NDArray[np.int64]:
        """Return by how many places neighbours are away from a voxel: those at offsets and at their mirror images."""
        around = np.array([neighbour(self.parity, o) for offset in offsets for o in ORBITS[offset]])
        return around @ np.array(self.known.strides)

    def predict(self, weights: Sequence[int]) -> Ints:
        """Predict all voxels, in eighths, with weights in units of 2^-WEIGHT_BITS. Over the span."""
        if self._predicted is None or self._predicted[0] != weights:
            prediction, work = self._prediction(weights)
            self.known.workers.share(self.shape, work)
            self._predicted = list(weights), prediction
        return self._predicted[1]

    def foresee(self, weights: Sequence[int], activity_weights: Sequence[int]) -> tuple[Ints, NDArray[np.uint8]]:
        """Predict all voxels as :meth:`predict` does, and how well: return the class of every voxel too, (n,)."""
        prediction, predict = self._prediction(weights, self.known.spare)
        classes, classify = self._classes(prediction, activity_weights)

        def work(planes: slice) -> None:
            """Work on some planes."""
            predict(planes)
            classify(planes)

        self.known.workers.share(self.shape, work)
        return prediction, classes

    def _prediction(self, weights: Sequence[int], into: Ints | None = None) -> tuple[Ints, Work]:
        """Return the array of a prediction, which may be given, and what fills some planes of it."""
        near, known, offsets = self.near, self.known, self.offsets
        most = 8 * known.high * (2**WEIGHT_BITS + sum(map(mul, map(abs, weights), near.sizes_of_terms)))
        dtype = np.int32 if most < 2**30 and known.is_narrow else np.int64
        of_mean = 2**WEIGHT_BITS - sum(weights[: near.n_values]) - weights[-1]
        all_weights = np.array([*weights, of_mean], np.int64)  # the mean has the number -1
        prediction = np.empty(known.strides[0], known.values.dtype) if into is None else into

        def work(planes: slice) -> None:
            """Predict some planes."""
            kernels.predict(
                known.flat_values, known.flat_errors, *self._span(planes), offsets.values, near.values_of,
                near.scales, offsets.errors, near.errors_of, offsets.pairs, near.norms, self.noise, all_weights,
                8 * known.high, np.empty(kernels.CHUNK, dtype), prediction,
            )  # fmt: skip

        return prediction, work

    def _classes(self, prediction: Ints, weights: Sequence[int]) -> tuple[NDArray[np.uint8], Work]:
        """Return the array of the classes of all voxels, (n,), and what fills some planes of it.

        They tell how large errors are to be expected. Activities are in eighths and units of 2^-ACTIVITY_BITS.
        """
        near, known, offsets = self.near, self.known, self.offsets
        most = 8 * known.high * sum(map(mul, weights, near.sizes_of_shells))
        dtype = np.int32 if most < 2**30 and known.is_narrow else np.int64
        activities, all_weights = np.empty(len(prediction), dtype), np.array(weights, np.int64)
        edges = edges_of(known.step, LARGEST[dtype])
        out, is_fine = np.empty(self.size, np.uint8), known.step == 1

        def work(planes: slice) -> None:
            """Classify some planes."""
            flat, origin, shape = self._part(planes)
            kernels.foresee(
                known.flat_values, known.flat_errors, prediction, *self._span(planes), offsets.spread,
                near.spread_of, offsets.sizes, near.sizes_of, all_weights, activities, origin, self._plane, self._row,
                shape, edges.first, edges.before, edges.edge_in, is_fine, out[flat],
            )  # fmt: skip

        return out, work

    def _span(self, planes: slice) -> tuple[int, int]:
        """Return the span of some planes along z: the place of the first voxel, and that behind the last."""
        first, last = self._origin + planes.start * self._plane, self._origin + (planes.stop - 1) * self._plane
        return first, last + (self.shape[1] - 1) * self._row + self.shape[2]

    def _part(self, planes: slice) -> tuple[slice, int, tuple[int, int, int]]:
        """Return the flat slice of some planes of the stage, the place of their first voxel, and their shape."""
        in_plane = self.shape[1] * self.shape[2]
        flat = slice(planes.start * in_plane, planes.stop * in_plane)
        return flat, self._span(planes)[0], (planes.stop - planes.start, self.shape[1], self.shape[2])

    @property
    def noise(self) -> float:
        """The squared difference of neighbours that says nothing."""
        return 2.0 * self.known.step * self.known.step

    def emptiness(self) -> NDArray[np.uint8]:
        """Compute how many of the known neighbours are background, from 0 for none to 15 for all, (n,)."""
        out = np.empty(self.size, np.uint8)
        taps = self.offsets.spread

        def work(planes: slice) -> None:
            """Compute some planes."""
            flat, origin, shape = self._part(planes)
            label_kernels.emptiness(
                self.known.flat_values, self.known.background, origin, self._plane, self._row, shape, taps,
                self.near.votes, out[flat],
            )  # fmt: skip

        self.known.workers.share(self.shape, work)
        return out

    def encode(
        self, weights: Sequence[int], activity_weights: Callable[[], Sequence[int]], wanted: Ints,
        zones: NDArray[np.int64] | None, left_out: NDArray[np.bool_] | None, is_background: bool, box: Ints,
        errors: Ints | None,
    ) -> Later[StageCode]:  # fmt: skip
        """Predict all voxels, turn what is wanted, (z, y, x), into steps from that, and add the voxels; see
        :meth:`place`.

        Parameters
        ----------
        activity_weights : returns the weights of the activity, when the classes of voxels are computed: while the next
            stage is encoded, but for zones, which depend on them.
        zones : see :func:`.kernels.quantize`; None if there are none.
        left_out : voxels that are not coded, (n,); None for none.
        is_background : whether these are background; else they become what is predicted.
        """
        workers, prediction = self.known.workers, self.predict(weights)
        coded = np.empty(self.size, self.known.values.dtype)
        put = self._placing(prediction, coded, left_out if is_background else None, box, errors)

        def classify() -> NDArray[np.uint8]:
            """Compute the classes of all voxels."""
            classes, classify_planes = self._classes(prediction, activity_weights())
            classify_planes(slice(0, self.shape[0]))
            return classes

        def code() -> StageCode:
            """Return what is stored."""
            classes, integers = classify() if zones is None else classes_before, coded
            if left_out is not None:
                n = label_kernels.without(left_out, classes, integers)
                classes, integers = classes[:n].copy(), integers[:n]
            return StageCode(classes, *tokens_of(integers))

        all_zones = np.zeros(0, np.int64) if zones is None else zones
        classes_before = np.zeros(self.size, np.uint8) if zones is None else classify()

        def work(planes: slice) -> None:
            """Work on some planes."""
            flat, origin, _ = self._part(planes)
            kernels.quantize(
                prediction, wanted[planes], origin, self._plane, self._row, classes_before[flat], all_zones,
                self.known.step, coded[flat],
            )  # fmt: skip
            if left_out is not None and not is_background:
                coded[flat][left_out[flat]] = 0
            put(planes)

        workers.share(self.shape, work)
        self._add_placed()
        return workers.later(self.size, code)

    def place(
        self, prediction: Ints, coded: Ints, is_background: NDArray[np.bool_] | None, box: Ints,
        errors: Ints | None,
    ) -> None:  # fmt: skip
        """Add the voxels to what is known, and put them and their errors into their places, (z, y, x).

        No errors are kept if there are no places for them.
        """
        self.known.workers.share(self.shape, self._placing(prediction, coded, is_background, box, errors))
        self._add_placed()

    def _placing(
        self, prediction: Ints, coded: Ints, is_background: NDArray[np.bool_] | None, box: Ints,
        errors: Ints | None,
    ) -> Work:  # fmt: skip
        """Return what puts some planes into their places."""
        known, number = self.known, index_of(self.parity)
        masked = np.zeros(0, np.bool_) if is_background is None else is_background

        def work(planes: slice) -> None:
            """Place some planes."""
            flat, origin, _ = self._part(planes)
            kernels.place(
                prediction, coded[flat], masked[flat] if len(masked) else masked, known.background, origin, self._plane,
                self._row, known.step, known.high, errors is not None, box[planes],
                (box if errors is None else errors)[planes], known.values[number].reshape(-1),
                known.errors[number].reshape(-1),
            )  # fmt: skip

        return work

    def _add_placed(self) -> None:
        """Count the voxels, which are in their places, among those that are known."""
        known, number = self.known, index_of(self.parity)
        if self.parity != ORDER[-1]:  # the last parity predicts no other of the level
            kernels.repeat_faces_of_both(known.values[number], known.errors[number], *self.shape, PAD)
            known.known[number] = True


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
            z, y, x = (max(0, (n - p * stride - 1) // (2 * stride) + 1) for p, n in zip(parity, shape, strict=True))
            if z and y and x:
                place = tuple(slice(p * stride, None, 2 * stride) for p in parity)
                yield ParityStage(known, parity, (z, y, x)), place
