"""Boxes of integers to bytes and back, each within a bound: interpolation from coarse to fine, in integers only.

Every second voxel along each axis is a coarser box, coded first, by the same rule down to a single voxel. The seven
other parities follow one by one, each all at once (prediction.py), with weights that the encoder fits, and coded under
one of a few tables (entropy.py), chosen by how well the neighbourhood has been predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..control import Check, never
from .entropy import FLAT, MEDIUM, STEEP, Reader, Tables, Writer, tokens_of
from .fit_weights import FIT_VOXELS, MAX_ACTIVITY, MAX_WEIGHT, fit_weights
from .prediction import ACTIVITY_BITS, ORBITS, Ints, Level, Parity, ParityStage, voxels_of_parity

MAX_HIGH = 2**36  # of the integers; sums of eight, weighted, then stay below 2^63
MAX_EDGE, MAX_VOXELS = 2**12, 2**22  # of a box, of which all is decoded at once; a few bytes may stand for it
ORDER: tuple[Parity, ...] = ((1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1))
MIN_BACKGROUND = 0.01  # of the voxels


def check_shape(shape: tuple[int, ...]) -> None:
    """ValueError where a box has not three axes, is empty, or too large."""
    if len(shape) != 3 or not all(1 <= n <= MAX_EDGE for n in shape) or shape[0] * shape[1] * shape[2] > MAX_VOXELS:
        limits = f"expected three axes of 1 to {MAX_EDGE}, and at most {MAX_VOXELS} voxels"
        raise ValueError(f"shape is {tuple(shape)}, {limits}")


def _run(
    shape: tuple[int, ...], high: int, bounds: Callable[[int], int], first: int, background: int,
    code: Callable[[ParityStage, tuple[slice, ...]], tuple[Ints, Ints]], check: Check, last: int = 0,
) -> Ints:  # fmt: skip
    """The box, level by level; ``code`` gives the values and errors of a stage, whose voxels are at the slices.

    It ends with level ``last``, which has every 2^last-th voxel along each axis.
    """
    dtype = np.int32 if high < 2**24 else np.int64
    values, errors = np.full((1, 1, 1), first, dtype), np.zeros((1, 1, 1), dtype)
    for level in range((max(shape) - 1).bit_length() - 1, last - 1, -1):
        stride = 2**level
        size = tuple(-(-n // stride) for n in shape)
        known = Level(high, 2 * bounds(level) + 1, background=background)
        known.add((0, 0, 0), values, errors)
        finer, finer_errors = np.empty(size, dtype), np.empty(size, dtype)
        voxels_of_parity(finer, (0, 0, 0))[:], voxels_of_parity(finer_errors, (0, 0, 0))[:] = values, errors
        for parity in ORDER:
            part = voxels_of_parity(finer, parity)
            check()
            if part.size:
                stage = ParityStage(known, parity, part.shape)
                where = tuple(slice(p * stride, None, 2 * stride) for p in parity)
                part[:], voxels_of_parity(finer_errors, parity)[:] = code(stage, where)
                if parity != ORDER[-1]:
                    known.add(parity, part, voxels_of_parity(finer_errors, parity))
        values, errors = finer, finer_errors
    return values


def bound_of_level(bound: int, taper: int, level: int) -> int:
    """Coarser levels are finer by 1 + taper / 4 each, at most by 4: others are predicted from them."""
    return max(bound // 4, bound * 4**level // (4 + taper) ** level) if level < 64 else bound // 4


class _WeightsByParity:
    """Weights of the prediction and of the activity, by parity: those of the coarser level until there are others."""

    def __init__(self) -> None:
        self._of: dict[Parity, tuple[list[tuple[str, Parity]], list[int], list[int]]] = {}

    def get(self, stage: ParityStage) -> tuple[list[int], list[int]]:
        terms, weights, activity = self._of.get(stage.parity, ([], [], []))
        if terms == stage.terms:
            return weights, activity
        counts = [sum(len(ORBITS[offset]) for offset in offsets) for _, offsets in stage.shells]
        first = 2**ACTIVITY_BITS // 2 // counts[0]
        return [0] * len(stage.terms), [first] + [0] * (len(counts) - 1)

    def set(self, stage: ParityStage, weights: list[int], activity: list[int]) -> None:
        self._of[stage.parity] = (stage.terms, weights, activity)


def decode_integers(
    data: bytes, shape: tuple[int, ...], high: int, bound: int, taper: int = 0, check: Check = never, last: int = 0
) -> Ints:  # fmt: skip
    """The integers that :func:`encode_integers` returned for the same shape, high, bound and taper.

    With ``last`` above 0 only every 2^last-th voxel along each axis, in a fraction of the time.

    Raises
    ------
    ValueError
        If the data are not exactly those of such a box.
    """
    reader = Reader(data)
    first = reader.number("first voxel", 0, high)
    background = reader.number("background", -1, high)
    tables = Tables.read(reader)
    empty_tables = Tables.read(reader) if background >= 0 else Tables([], [])
    models, empty_models = tables.models(), empty_tables.models()
    known_weights = _WeightsByParity()

    def code(stage: ParityStage, where: tuple[slice, ...]) -> tuple[Ints, Ints]:
        weights, activity_weights = known_weights.get(stage)
        count = stage.base.size
        if count >= FIT_VOXELS and reader.number("whether weights follow", 0, 1, STEEP):
            weights = np.clip(reader.integers(MEDIUM, len(weights)), -MAX_WEIGHT, MAX_WEIGHT).tolist()
            activity_weights = np.clip(reader.integers(MEDIUM, len(activity_weights)), 0, MAX_ACTIVITY).tolist()
            known_weights.set(stage, weights, activity_weights)
        prediction = stage.predict(weights)
        centre = (prediction + 4) >> 3
        classes, flipped = stage.classes(prediction, centre, stage.activity(centre, activity_weights))
        check()
        empty = None
        if background < 0:
            integers = reader.integers_of(reader.tokens(tables, models, classes))
        else:
            emptiness = stage.emptiness()
            near = np.flatnonzero(emptiness)
            empty = np.zeros(count, bool)
            empty[near] = reader.tokens(empty_tables, empty_models, emptiness[near]) > 0
            others = np.flatnonzero(~empty)
            integers = np.zeros(count, np.int64)
            integers[others] = reader.integers_of(reader.tokens(tables, models, classes[others]))
        np.negative(integers, out=integers, where=flipped)
        return _values_and_errors(stage, prediction, centre, integers, empty)

    box = _run(shape, high, lambda level: bound_of_level(bound, taper, level), first, background, code, check, last)
    if not last:
        reader.end()
    return box


def _values_and_errors(
    stage: ParityStage, prediction: Ints, centre: Ints, integers: NDArray[np.int64], empty: NDArray[np.bool_] | None
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


def encode_integers(
    box: Ints, high: int, bound: int, taper: int = 0, dead_zone: float = 0, check: Check = never
) -> tuple[bytes, Ints]:
    """Bytes, and what :func:`decode_integers` makes of them: integers that differ from the box's by ``bound`` or less.

    Parameters
    ----------
    box : (z, y, x) of 0 to ``high`` < 2^36.
    taper : 0 to 4, see :func:`bound_of_level`; above 0 a lower mean squared error for more bytes.
    dead_zone : 0 to 0.5, what errors round towards zero by, of a step; they are then up to 2 dead_zone bounds larger.
    """
    known_weights, background = _WeightsByParity(), _background(box, bound)
    stages: list[_StageTokens] = []

    def code(stage: ParityStage, where: tuple[slice, ...]) -> tuple[Ints, Ints]:
        wanted = box[where].astype(stage.base.dtype)
        emptiness, empty = np.zeros(0, np.int64), None
        if background >= 0:
            emptiness = stage.emptiness()
            empty = (emptiness > 0) & (np.abs(wanted - background).ravel() <= stage.known.step // 2)
        weights, activity_weights = known_weights.get(stage)
        fitted = None
        if wanted.size >= FIT_VOXELS:
            fitted = fit_weights(
                stage, wanted, np.arange(wanted.size) if empty is None else np.flatnonzero(~empty), weights, check
            )
            if fitted is not None:
                weights, activity_weights = fitted
                known_weights.set(stage, weights, activity_weights)
        check()
        prediction = stage.predict(weights)
        centre = (prediction + 4) >> 3
        check()
        classes, flipped = stage.classes(prediction, centre, stage.activity(centre, activity_weights))
        step = stage.known.step
        errors = (wanted.astype(np.int64) - centre).ravel()
        towards_zero = int(2 * dead_zone * (step // 2))
        integers = np.sign(errors) * ((np.abs(errors) + (step // 2 - towards_zero)) // step)
        coded = tokens_of(np.where(flipped, -integers, integers))
        if empty is not None:
            classes, coded = classes[~empty], (coded[0][~empty], coded[1][~empty], coded[2][~empty])
        near = emptiness > 0
        flags = np.zeros(0, np.int64) if empty is None else empty[near].astype(np.int64)
        stages.append(_StageTokens(wanted.size >= FIT_VOXELS, fitted, emptiness[near], flags, classes, *coded))
        return _values_and_errors(stage, prediction, centre, integers, empty)

    first = int(box[0, 0, 0])
    values = _run(box.shape, high, lambda level: bound_of_level(bound, taper, level), first, background, code, check)
    tables = Tables.of(_concatenate(s.classes for s in stages), _concatenate(s.tokens for s in stages))
    empty_tables = Tables.of(_concatenate(s.emptiness for s in stages), _concatenate(s.empty for s in stages))
    models, empty_models = tables.models(), empty_tables.models()
    writer = Writer()
    writer.integers([first], FLAT)
    writer.integers([background], FLAT)
    tables.write(writer)
    if background >= 0:
        empty_tables.write(writer)
    for stage in stages:
        check()
        if stage.may_be_fitted:
            writer.integers([int(stage.fitted is not None)], STEEP)
        for weights in stage.fitted or ():
            writer.integers(weights, MEDIUM)
        writer.tokens(empty_tables, empty_models, stage.emptiness, stage.empty)
        writer.tokens(tables, models, stage.classes, stage.tokens)
        writer.further_bits(stage.n_bits, stage.rest)
    return writer.to_bytes(), values


@dataclass(frozen=True, slots=True, eq=False)
class _StageTokens:
    """What the encoder keeps of a stage until the tables are made."""

    may_be_fitted: bool
    fitted: tuple[list[int], list[int]] | None
    emptiness: NDArray[np.int64]  # of voxels near background, and whether they are it
    empty: NDArray[np.int64]
    classes: NDArray[np.int64]  # of the others
    tokens: NDArray[np.int64]
    n_bits: NDArray[np.int64]
    rest: NDArray[np.int64]


def _concatenate(arrays: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
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
