"""Boxes of integers to bytes and back, each within a bound: interpolation from coarse to fine, in integers only.

Every second voxel along each axis is a coarser box, coded first, by the same rule down to a single voxel. The seven
other parities follow one by one, each all at once: predicted from known voxels on both sides with weights that the
encoder fits, and coded under one of a few tables, chosen by how well the neighbourhood has been predicted.
All arithmetic that a decoder repeats is exact, so that every machine decodes the same integers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tokens import FLAT, MAX_CLASSES, MEDIUM, STEEP, Reader, Tables, Writer, tokens_of

Ints = NDArray[Any]  # int32, or int64 where sums need it
Parity = tuple[int, int, int]

MAX_HIGH = 2**36  # of the integers; sums of eight, weighted, then stay below 2^63
ORDER: tuple[Parity, ...] = ((1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1))
NEAR = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1))
FAR = ((3, 0, 0), (0, 3, 0), (0, 0, 3), (1, 2, 0), (1, 0, 2), (2, 1, 0), (0, 1, 2), (2, 0, 1), (0, 2, 1))
SHELLS = (NEAR[:3], NEAR[3:6], NEAR[6:])  # faces, edges, corners
PAD = 2  # voxels of the same parity that neighbours reach beyond a box
WEIGHT_BITS, ACTIVITY_BITS = 8, 10
MAX_WEIGHT, MAX_ACTIVITY = 2**15 - 1, 65535
MIN_BACKGROUND = 0.01  # of the voxels
FIT_VOXELS, FIT_SAMPLES, FIT_ROUNDS = 300, 40000, 3


def _orbit(offset: Parity) -> list[Parity]:
    """An offset and its mirror images."""
    return [(z, y, x) for z, y, x in itertools.product(*(((d, -d) if d else (0,)) for d in offset))]


ORBITS = {offset: _orbit(offset) for offset in NEAR + FAR}


def _part(array: Any, parity: Parity) -> Any:
    z, y, x = parity
    return array[z::2, y::2, x::2]


def _pad(array: Ints) -> Ints:
    return np.pad(array, PAD, mode="edge")


@dataclass(slots=True, eq=False)
class _Level:
    """What is known of one level while it is coded: by parity, padded. Errors are in eighths."""

    high: int
    step: int
    values: dict[Parity, Ints] = field(default_factory=dict)
    errors: dict[Parity, Ints] = field(default_factory=dict)
    sizes: dict[Parity, Ints] = field(default_factory=dict)  # of the errors
    guide: dict[Parity, Ints] = field(default_factory=dict)
    background: int = -1
    empty: dict[Parity, NDArray[np.int8]] = field(default_factory=dict)  # 1 where the value is the background

    def add(self, parity: Parity, values: Ints, errors: Ints) -> None:
        self.values[parity], self.errors[parity] = _pad(values), _pad(errors)
        self.sizes[parity] = np.abs(self.errors[parity])
        if self.background >= 0:
            self.empty[parity] = (self.values[parity] == self.background).astype(np.int8)


@dataclass(frozen=True, eq=False)
class _Stage:
    """All voxels of one parity of a level, about to be predicted. Predictions are in eighths of the integers."""

    known: _Level
    parity: Parity
    shape: tuple[int, ...]

    def _views(self, arrays: dict[Parity, Ints], offset: Parity) -> Iterator[Ints]:
        for mirror in ORBITS.get(offset, [offset]):
            parity, where = [], []
            for p, d, n in zip(self.parity, mirror, self.shape, strict=True):
                parity.append((p + d) & 1)
                where.append(slice(PAD + ((p + d) >> 1), PAD + ((p + d) >> 1) + n))
            yield arrays[parity[0], parity[1], parity[2]][tuple(where)]

    def _sum(self, arrays: dict[Parity, Ints], offset: Parity) -> Ints:
        first, *others = self._views(arrays, offset)
        total = first.copy()
        for other in others:
            total += other
        return total

    def _mean(self, arrays: dict[Parity, Ints], offset: Parity) -> Ints:
        return self._sum(arrays, offset) * (8 // len(ORBITS[offset]))

    def _is_known(self, offset: Parity) -> bool:
        z, y, x = ((p + d) & 1 for p, d in zip(self.parity, offset, strict=True))
        return (z, y, x) in self.known.values

    @cached_property
    def terms(self) -> list[tuple[str, Parity]]:
        """What the prediction adds to the mean of its nearest neighbours."""
        near = [offset for offset in NEAR if self._is_known(offset)]
        terms = [("values", offset) for offset in near[1:] + [offset for offset in FAR if self._is_known(offset)]]
        terms += [("errors", offset) for offset in near] + [("lines", near[0])]
        return terms + ([("detail", near[0]), ("guide", near[0])] if self.known.guide else [])

    @cached_property
    def shells(self) -> list[tuple[str, list[Parity]]]:
        """What the activity is a sum of."""
        shells = [[offset for offset in shell if self._is_known(offset)] for shell in SHELLS]
        both = [(name, shell) for shell in shells for name in ("spread", "sizes") if shell]
        return both + ([("guide", [])] if self.known.guide else [])

    @cached_property
    def base(self) -> Ints:
        return self._mean(self.known.values, next(offset for offset in NEAR if self._is_known(offset)))

    @cached_property
    def _guide(self) -> Ints:
        return next(self._views(self.known.guide, (0, 0, 0))) * 8

    def term(self, name: str, offset: Parity) -> Ints:
        if name == "values":
            return self._mean(self.known.values, offset) - self.base
        if name == "errors":
            return self._sum(self.known.errors, offset)
        if name == "lines":
            return self._along_lines() - self.base
        return self._guide - (self._mean(self.known.guide, offset) if name == "detail" else self.base)

    def _along_lines(self) -> Ints:
        """Mean of opposite neighbours, those that agree before others: along an edge, not across it.

        Correctly rounded operations in this order, the same everywhere.
        """
        above, below = np.zeros(self.shape), np.zeros(self.shape)
        noise = 2.0 * self.known.step * self.known.step
        for offset in NEAR:
            if not self._is_known(offset):
                continue
            views = list(self._views(self.known.values, offset))
            for one, other in zip(views[: len(views) // 2], views[: len(views) // 2 - 1 : -1], strict=True):
                difference = np.subtract(one, other, dtype=np.float64)
                weight = 1.0 / ((difference * difference + noise) * sum(d * d for d in offset))
                above += weight * np.add(one, other, dtype=np.float64)
                below += weight
        return np.clip(np.rint(4.0 * above / below), 0, 8 * self.known.high).astype(self.base.dtype)

    def predict(self, weights: Sequence[int]) -> Ints:
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
        if name == "guide":
            return np.abs(self._guide - (centre << 3))
        total = np.zeros_like(centre)
        for offset in offsets:
            for view in self._views(self.known.sizes if name == "sizes" else self.known.values, offset):
                total += view if name == "sizes" else np.abs(view - centre)
        return total if name == "sizes" else total << 3

    def activity(self, centre: Ints, weights: Sequence[int]) -> Ints:
        """How large an error to expect, in eighths and 2^-ACTIVITY_BITS of it."""
        sizes = [sum(len(ORBITS[offset]) for offset in offsets) or 1 for _, offsets in self.shells]
        most = 8 * self.known.high * sum(w * n for w, n in zip(weights, sizes, strict=True))
        dtype = np.int32 if most < 2**30 else np.int64
        total = np.zeros(self.shape, dtype)
        for weight, shell in zip(weights, self.shells, strict=True):
            if weight:
                total += np.multiply(self.shell(*shell, centre), weight, dtype=dtype)
        return total

    def emptiness(self) -> NDArray[np.int64]:
        """How many of the known neighbours are background: 0 is none, 15 all."""
        total, most = np.zeros(self.shape, np.int8), 0
        for shell, weight in zip(SHELLS, (4, 2, 1), strict=True):
            for offset in shell:
                if self._is_known(offset):
                    total += self._sum(self.known.empty, offset) * np.int8(weight)
                    most += weight * len(ORBITS[offset])
        return (total.ravel().astype(np.int64) * 15 + most - 1) // most

    def classes(self, prediction: Ints, centre: Ints, activity: Ints) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Class of every voxel, and whether its error counts with the other sign, so that more are above zero."""
        unit = self.known.step << (3 + ACTIVITY_BITS)
        edges = [max(1, unit * (181 if i % 2 else 128) >> 7 + 6 - i // 2) for i in range(12)]
        edges += [unit * (181 if i % 2 else 128) >> 7 << i // 2 for i in range(MAX_CLASSES // 2 - 13)]
        edges = [edge for edge in edges if edge <= np.iinfo(activity.dtype).max]
        classes = 2 * np.searchsorted(np.array(edges, activity.dtype), activity.ravel(), side="right")
        fraction = (prediction - (centre << 3)).ravel()
        if self.known.step == 1:
            classes += np.abs(fraction) >= 2
        return classes, fraction < 0


def _run(
    shape: tuple[int, ...], high: int, bounds: Callable[[int], int], guide: Ints | None, first: int, background: int,
    code: Callable[[_Stage, tuple[slice, ...]], tuple[Ints, Ints]],
) -> Ints:  # fmt: skip
    """The box, level by level; ``code`` gives the values and errors of a stage, whose voxels are at the slices."""
    dtype = np.int32 if high < 2**24 else np.int64
    values, errors = np.full((1, 1, 1), first, dtype), np.zeros((1, 1, 1), dtype)
    for level in range((max(shape) - 1).bit_length() - 1, -1, -1):
        stride = 2**level
        size = tuple(-(-n // stride) for n in shape)
        known = _Level(high, 2 * bounds(level) + 1, background=background)
        known.add((0, 0, 0), values, errors)
        finer, finer_errors = np.empty(size, dtype), np.empty(size, dtype)
        _part(finer, (0, 0, 0))[:], _part(finer_errors, (0, 0, 0))[:] = values, errors
        if guide is not None:
            coarse = guide[::stride, ::stride, ::stride].astype(dtype)
            parts = {parity: _part(coarse, parity) for parity in ((0, 0, 0), *ORDER)}
            known.guide = {parity: _pad(part) for parity, part in parts.items() if part.size}
        for parity in ORDER:
            part = _part(finer, parity)
            if part.size:
                stage = _Stage(known, parity, part.shape)
                where = tuple(slice(p * stride, None, 2 * stride) for p in parity)
                part[:], _part(finer_errors, parity)[:] = code(stage, where)
                if parity != ORDER[-1]:
                    known.add(parity, part, _part(finer_errors, parity))
        values, errors = finer, finer_errors
    return values


def bound_of_level(bound: int, taper: int, level: int) -> int:
    """Coarser levels are finer by 1 + taper / 4 each, at most by 4: others are predicted from them."""
    return max(bound // 4, bound * 4**level // (4 + taper) ** level) if level < 64 else bound // 4


class _Weights:
    """Weights of the prediction and of the activity, by parity: those of the coarser level until there are others."""

    def __init__(self) -> None:
        self._of: dict[Parity, tuple[list[tuple[str, Parity]], list[int], list[int]]] = {}

    def get(self, stage: _Stage) -> tuple[list[int], list[int]]:
        terms, weights, activity = self._of.get(stage.parity, ([], [], []))
        if terms == stage.terms:
            return weights, activity
        counts = [sum(len(ORBITS[offset]) for offset in offsets) for _, offsets in stage.shells]
        first = 2**ACTIVITY_BITS // 2 // counts[0]
        return [0] * len(stage.terms), [first] + [0] * (len(counts) - 1)

    def set(self, stage: _Stage, weights: list[int], activity: list[int]) -> None:
        self._of[stage.parity] = (stage.terms, weights, activity)


def decode(
    data: bytes, shape: tuple[int, ...], high: int, bound: int, taper: int = 0, guide: Ints | None = None
) -> Ints:
    """The integers that :func:`encode` returned for the same shape, high, bound, taper and guide.

    Raises
    ------
    ValueError
        If the data are not exactly those of such a box.
    """
    reader = Reader(data)
    first = reader.number("first voxel", 0, high)
    background = reader.number("background", -1, high)
    tables = Tables.get(reader)
    empty_tables = Tables.get(reader) if background >= 0 else Tables([], [])
    models, empty_models = tables.models(), empty_tables.models()
    known_weights = _Weights()

    def code(stage: _Stage, where: tuple[slice, ...]) -> tuple[Ints, Ints]:
        weights, activity_weights = known_weights.get(stage)
        count = stage.base.size
        if count >= FIT_VOXELS and reader.number("whether weights follow", 0, 1, STEEP):
            weights = np.clip(reader.integers(MEDIUM, len(weights)), -MAX_WEIGHT, MAX_WEIGHT).tolist()
            activity_weights = np.clip(reader.integers(MEDIUM, len(activity_weights)), 0, MAX_ACTIVITY).tolist()
            known_weights.set(stage, weights, activity_weights)
        prediction = stage.predict(weights)
        centre = (prediction + 4) >> 3
        classes, flipped = stage.classes(prediction, centre, stage.activity(centre, activity_weights))
        empty = None
        if background < 0:
            integers = reader.rest(reader.tokens(tables, models, classes))
        else:
            emptiness = stage.emptiness()
            near = np.flatnonzero(emptiness)
            empty = np.zeros(count, bool)
            empty[near] = reader.tokens(empty_tables, empty_models, emptiness[near]) > 0
            others = np.flatnonzero(~empty)
            integers = np.zeros(count, np.int64)
            integers[others] = reader.rest(reader.tokens(tables, models, classes[others]))
        np.negative(integers, out=integers, where=flipped)
        return _apply(stage, prediction, centre, integers, empty)

    box = _run(shape, high, lambda level: bound_of_level(bound, taper, level), guide, first, background, code)
    reader.end()
    return box


def _apply(
    stage: _Stage, prediction: Ints, centre: Ints, integers: NDArray[np.int64], empty: NDArray[np.bool_] | None
) -> tuple[Ints, Ints]:
    """Values and errors of a stage. Those of background are as if well predicted."""
    steps = integers.reshape(stage.shape) * stage.known.step
    steps += centre
    values = np.clip(steps, 0, stage.known.high).astype(centre.dtype)
    errors = (values << 3) - prediction
    if empty is not None:
        values.reshape(-1)[empty] = stage.known.background
        errors.reshape(-1)[empty] = 0
    return values, errors


def encode(box: Ints, high: int, bound: int, taper: int = 0, guide: Ints | None = None) -> tuple[bytes, Ints]:
    """Bytes, and what :func:`decode` makes of them: integers that differ from the box's by at most ``bound``.

    Parameters
    ----------
    box : (z, y, x) of 0 to ``high`` < 2^36.
    taper : 0 to 4, see :func:`bound_of_level`; above 0 a lower mean squared error for more bytes.
    guide : (z, y, x) of 0 to ``high``, a prediction that the decoder will have too.
    """
    known_weights, background = _Weights(), _background(box, bound)
    stages: list[_Coded] = []

    def code(stage: _Stage, where: tuple[slice, ...]) -> tuple[Ints, Ints]:
        wanted = box[where].astype(stage.base.dtype)
        emptiness, empty = np.zeros(0, np.int64), None
        if background >= 0:
            emptiness = stage.emptiness()
            empty = (emptiness > 0) & (np.abs(wanted - background).ravel() <= stage.known.step // 2)
        weights, activity_weights = known_weights.get(stage)
        fitted = None
        if wanted.size >= FIT_VOXELS:
            fitted = _fit(stage, wanted, np.arange(wanted.size) if empty is None else np.flatnonzero(~empty), weights)
            if fitted is not None:
                weights, activity_weights = fitted
                known_weights.set(stage, weights, activity_weights)
        prediction = stage.predict(weights)
        centre = (prediction + 4) >> 3
        classes, flipped = stage.classes(prediction, centre, stage.activity(centre, activity_weights))
        step = stage.known.step
        integers = ((wanted.astype(np.int64) - centre + step // 2) // step).ravel()
        coded = tokens_of(np.where(flipped, -integers, integers))
        if empty is not None:
            classes, coded = classes[~empty], (coded[0][~empty], coded[1][~empty], coded[2][~empty])
        near = emptiness > 0
        flags = np.zeros(0, np.int64) if empty is None else empty[near].astype(np.int64)
        stages.append(_Coded(wanted.size >= FIT_VOXELS, fitted, emptiness[near], flags, classes, *coded))
        return _apply(stage, prediction, centre, integers, empty)

    first = int(box[0, 0, 0])
    values = _run(box.shape, high, lambda level: bound_of_level(bound, taper, level), guide, first, background, code)
    tables = Tables.of(_joined(s.classes for s in stages), _joined(s.tokens for s in stages))
    empty_tables = Tables.of(_joined(s.emptiness for s in stages), _joined(s.empty for s in stages))
    models, empty_models = tables.models(), empty_tables.models()
    writer = Writer()
    writer.integers([first], FLAT)
    writer.integers([background], FLAT)
    tables.put(writer)
    if background >= 0:
        empty_tables.put(writer)
    for stage in stages:
        if stage.may_be_fitted:
            writer.integers([int(stage.fitted is not None)], STEEP)
        for weights in stage.fitted or ():
            writer.integers(weights, MEDIUM)
        writer.tokens(empty_tables, empty_models, stage.emptiness, stage.empty)
        writer.tokens(tables, models, stage.classes, stage.tokens)
        writer.rest(stage.n_bits, stage.rest)
    return writer.to_bytes(), values


@dataclass(frozen=True, slots=True, eq=False)
class _Coded:
    """What the encoder keeps of a stage until the tables are made."""

    may_be_fitted: bool
    fitted: tuple[list[int], list[int]] | None
    emptiness: NDArray[np.int64]  # of voxels near background, and whether they are it
    empty: NDArray[np.int64]
    classes: NDArray[np.int64]  # of the others
    tokens: NDArray[np.int64]
    n_bits: NDArray[np.int64]
    rest: NDArray[np.int64]


def _joined(arrays: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, np.int64), *arrays])


def _background(box: Ints, bound: int) -> int:
    """A value that fills regions exactly, as behind a mask, or -1."""
    part = box[::2, ::2, ::2]
    values, counts = np.unique(part, return_counts=True)
    value = int(values[np.argmax(counts)])
    same = part == value
    n_same, pairs = int(same.sum()), int((same[..., 1:] & same[..., :-1]).sum())
    n_near = int((np.abs(part - value) <= bound).sum())
    return value if n_same >= MIN_BACKGROUND * part.size and 2 * pairs >= n_same and n_near <= 1.2 * n_same else -1


def _fit(
    stage: _Stage, wanted: Ints, voxels: NDArray[np.int64], before: list[int]
) -> tuple[list[int], list[int]] | None:
    """Weights that make the errors of a stage small, and weights that foresee these; None if that hardly pays."""
    count = len(voxels)
    if count < len(stage.terms):
        return None
    if count > FIT_SAMPLES:
        voxels = voxels[np.sort(np.random.default_rng(0).choice(count, FIT_SAMPLES, replace=False))]
    terms = np.stack([stage.term(*term).ravel()[voxels] for term in stage.terms], axis=1).astype(np.float64)
    target = ((wanted.astype(np.int64) << 3) - stage.base).ravel()[voxels].astype(np.float64)
    unit = 8.0 * stage.known.step

    def bits(weights: NDArray[np.float64]) -> float:
        return float(np.log2(1 + 2 * np.abs(target - terms @ weights) / unit).sum()) * count / len(voxels)

    old = np.array(before) / 2**WEIGHT_BITS
    weights = old
    for _ in range(FIT_ROUNDS):  # the sum of absolute errors, nearly, by weighted squares
        sizes = np.abs(target - terms @ weights)
        weighted = terms / (sizes + sizes.mean() + 0.3 * unit)[:, None]
        weights = _solve(weighted.T @ terms, weighted.T @ target)
    stored = np.clip(np.rint(weights * 2**WEIGHT_BITS), -MAX_WEIGHT, MAX_WEIGHT).astype(np.int64)
    if bits(old) < 20 * len(stored):
        return None
    prediction = stage.predict(stored.tolist())
    centre = (prediction + 4) >> 3
    shells = np.stack([stage.shell(*shell, centre).ravel()[voxels] for shell in stage.shells], axis=1)
    step = stage.known.step  # what is coded counts: errors of less than half a step are none
    steps = (np.abs(wanted.astype(np.int64) - centre) + step // 2) // step
    sizes = 8.0 * step * steps.ravel()[voxels]
    activity = np.maximum(_solve(shells.T.astype(np.float64) @ shells, shells.T @ sizes), 0)
    for _ in range(FIT_ROUNDS):  # relative errors count
        weighted = shells / ((shells @ activity + 0.05 * unit) ** 2)[:, None]
        activity = np.maximum(_solve(weighted.T @ shells, weighted.T @ sizes), 0)
    quantized = np.clip(np.rint(activity * 2**ACTIVITY_BITS), 0, MAX_ACTIVITY).astype(np.int64)
    return stored.tolist(), quantized.tolist()


def _solve(matrix: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares, drawn towards zero a little, so that equal terms share."""
    scale = float(np.trace(matrix)) / len(right)
    return np.asarray(np.linalg.solve(matrix + np.eye(len(right)) * (1e-7 * scale + 1e-9), right), np.float64)
