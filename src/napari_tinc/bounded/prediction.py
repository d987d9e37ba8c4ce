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

from . import kernels, label_kernels, stage_kernels
from .entropy import MAX_CLASSES, TokenCounts
from .kernels import WEIGHT_BITS
from .neighbours import ORBITS, ORDER, Parity, Shells, index_of, neighbour, neighbours_of, offsets_of
from .workers import Later, Workers

Ints = NDArray[Any]  # int32, or int64 where sums need it
Work = Callable[[slice], None]  # fills some planes of an array
PAD = 2  # This many voxels of the same parity are repeated beyond a box, since neighbours reach as far.
LARGEST = {np.int32: 2**31 - 1, np.int64: 2**63 - 1}  # Activities are at most these.
NO_FLAGS, NO_ZONES = np.zeros(0, np.bool_), np.zeros(0, np.int64)  # Of no voxels, and of no classes.
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
    if not edges:  # of steps so large that there is one class
        return Edges(0, np.zeros(1, np.uint8), np.full(1, np.iinfo(np.int64).max))
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

    Attributes
    ----------
    prediction : of all voxels, over the span, once they are being encoded.
    """

    prediction: Ints

    def __init__(self, known: Level, parity: Parity, shape: tuple[int, int, int]) -> None:
        self.known, self.parity, self.shape = known, parity, shape
        self.size = math.prod(shape)
        self.near = neighbours_of(parity, tuple(known.known))
        self.offsets = offsets_of(parity, tuple(known.known), known.strides)
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

    def foresee(self, weights: Sequence[int], activity_weights: Sequence[int]) -> tuple[Ints, NDArray[np.uint8]]:
        """Predict all voxels, in eighths, and how well: return the class of every voxel too, (n,).

        The prediction, over the span, is valid until that of the next stage. Its weights are in units of
        2^-WEIGHT_BITS, those of the activity in units of 2^-ACTIVITY_BITS.
        """
        prediction, classes, terms = self.known.spare, np.empty(self.size, np.uint8), self._terms(weights)
        self.known.workers.share(self.shape, self._foreseeing(terms, activity_weights, prediction, False, classes))
        return prediction, classes

    def _foreseeing(
        self, terms: kernels.Terms, activity_weights: Sequence[int], prediction: Ints, is_predicted: bool,
        classes: NDArray[np.uint8],
    ) -> Work:  # fmt: skip
        """Return what predicts some planes unless they are, and classifies their voxels."""
        known = self.known
        shells, of_shells, activities, edges = self._activity(activity_weights)

        def work(planes: slice) -> None:
            """Work on some planes."""
            flat, layout, shape = self._part(planes)
            stage_kernels.foresee(
                known.values, known.errors, self._span(planes), terms, prediction, is_predicted, shells, of_shells,
                activities, layout, shape, edges, known.step == 1, classes[flat],
            )  # fmt: skip

        return work

    def _terms(self, weights: Sequence[int]) -> kernels.Terms:
        """Return how voxels are predicted with weights."""
        near, known = self.near, self.known
        most = 8 * known.high * (2**WEIGHT_BITS + sum(map(mul, map(abs, weights), near.sizes_of_terms)))
        dtype = np.int32 if most < 2**30 and known.is_narrow else np.int64
        of_mean = 2**WEIGHT_BITS - sum(weights[: near.n_values]) - weights[-1]
        all_weights = np.array([*weights, of_mean], np.int64)  # the mean has the number -1
        return self.offsets.taps, self.noise, all_weights, 8 * known.high, np.empty(0, dtype)

    def _activity(self, weights: Sequence[int]) -> tuple[Shells, NDArray[np.int64], Ints, kernels.EdgeTable]:
        """Return what compiled code classifies with: neighbours and weights, an array over the span, and edges."""
        known = self.known
        most = 8 * known.high * sum(map(mul, weights, self.near.sizes_of_shells))
        dtype = np.int32 if most < 2**30 and known.is_narrow else np.int64
        activities: Ints = np.empty(known.strides[0], dtype)
        return self.offsets.shells, np.array(weights, np.int64), activities, edges_of(known.step, LARGEST[dtype])[:]

    def _span(self, planes: slice) -> tuple[int, int]:
        """Return the span of some planes along z: the place of the first voxel, and that behind the last."""
        first, last = self._origin + planes.start * self._plane, self._origin + (planes.stop - 1) * self._plane
        return first, last + (self.shape[1] - 1) * self._row + self.shape[2]

    def _part(self, planes: slice) -> tuple[slice, kernels.Layout, tuple[int, int, int]]:
        """Return the flat slice of some planes of the stage, their layout, and their shape."""
        in_plane = self.shape[1] * self.shape[2]
        flat = slice(planes.start * in_plane, planes.stop * in_plane)
        layout = (self._span(planes)[0], self._plane, self._row)
        return flat, layout, (planes.stop - planes.start, self.shape[1], self.shape[2])

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
            flat, layout, shape = self._part(planes)
            label_kernels.emptiness(
                self.known.flat_values, self.known.background, *layout, shape, taps, self.near.votes, out[flat],
            )  # fmt: skip

        self.known.workers.share(self.shape, work)
        return out

    def encode(
        self, weights: Sequence[int], activity_weights: Callable[[], Sequence[int]], wanted: Ints,
        zones: NDArray[np.int64] | None, left_out: NDArray[np.bool_] | None, is_background: bool, box: Ints,
        errors: Ints | None, counts: TokenCounts,
    ) -> Later[StageCode]:  # fmt: skip
        """Predict all voxels, turn what is wanted, (z, y, x), into steps from that, and add the voxels; see
        :meth:`place`.

        Parameters
        ----------
        activity_weights : returns the weights of the activity, once all voxels are predicted and the classes are
            computed: while the next stage is encoded, but for zones, which depend on them.
        zones : see :func:`.kernels.quantize`; None if there are none.
        left_out : voxels that are not coded, (n,); None for none.
        is_background : whether these are background; else they become what is predicted.
        counts : the tokens are added to these.
        """
        workers, known, terms = self.known.workers, self.known, self._terms(weights)
        prediction = self.prediction = np.empty(known.strides[0], known.values.dtype)
        coded, classes = np.empty(self.size, known.values.dtype), np.empty(self.size, np.uint8)
        out = NO_FLAGS if left_out is None else left_out
        hidden, masked = (NO_FLAGS, out) if is_background else (out, NO_FLAGS)

        def predict(planes: slice) -> None:
            """Predict some planes."""
            kernels.predict(known.flat_values, known.flat_errors, self._span(planes), terms, prediction)

        if zones is not None:
            workers.share(self.shape, predict)
            workers.share(self.shape, self._foreseeing(terms, activity_weights(), prediction, True, classes))
        all_zones = NO_ZONES if zones is None else zones
        all_errors = box if errors is None else errors

        def work(planes: slice) -> None:
            """Work on some planes."""
            flat, layout, _ = self._part(planes)
            stage_kernels.encode(
                known.values, known.errors, self._span(planes), terms, prediction, zones is not None, wanted[planes],
                classes[flat], all_zones, hidden[flat], coded[flat], masked[flat], known.background, layout, known.step,
                known.high, errors is not None, box[planes], all_errors[planes], index_of(self.parity),
            )  # fmt: skip

        def code() -> StageCode:
            """Return what is stored."""
            (shells, of_shells, activities, edges), n = self._activity(activity_weights()), self.size
            tokens, n_bits, rest = np.empty(n, np.int32), np.empty(n, np.uint8), np.empty(n, np.int64)
            n, n_large = stage_kernels.code(
                known.values, known.errors, self._span(slice(0, self.shape[0])), prediction, zones is not None, shells,
                of_shells, activities, self.layout, self.shape, edges, known.step == 1, classes, out, coded, tokens,
                n_bits, rest, counts.of_thread(),
            )  # fmt: skip
            if n < self.size:
                return StageCode(classes[:n].copy(), tokens[:n].copy(), n_bits[:n_large].copy(), rest[:n_large].copy())
            return StageCode(classes, tokens, n_bits[:n_large].copy(), rest[:n_large].copy())

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
        known, masked = self.known, NO_FLAGS if is_background is None else is_background
        all_errors, number = box if errors is None else errors, index_of(self.parity)

        def work(planes: slice) -> None:
            """Place some planes."""
            flat, layout, _ = self._part(planes)
            kernels.place(
                prediction, coded[flat], masked[flat], known.background, *layout, known.step, known.high,
                errors is not None, box[planes], all_errors[planes], known.values[number], known.errors[number],
            )  # fmt: skip

        known.workers.share(self.shape, work)
        self._add_placed()

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
