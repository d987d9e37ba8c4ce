"""Encode and decode boxes of integers, each voxel within a bound, by interpolation from coarse to fine.

Every second voxel along each axis makes a coarser box, which is coded first by the same rule, down to a single voxel.
The seven other parities follow one by one (prediction.py). The encoder fits the weights of a prediction. Its errors are
coded under one of a few tables (entropy.py), chosen by how well the neighbourhood was predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Check, never
from . import label_kernels
from .entropy import FLAT, MEDIUM, STEEP, Reader, Tables, TokenCounts, Writer
from .fit_weights import FIT_VOXELS, MAX_ACTIVITY, MAX_WEIGHT, fit_weights
from .neighbours import Parity
from .prediction import ACTIVITY_BITS, Ints, Level, ParityStage, Place, StageCode, stages
from .shaping import Aims, dead_zones, level_of
from .workers import Later, Workers

MAX_HIGH = 2**36  # Larger integers are refused: weighted sums of eight would reach 2^63.
MAX_EDGE = 2**12  # Longer boxes are refused.
MAX_VOXELS = 2**22  # Larger boxes are refused: all of a box is decoded at once, and a few bytes may stand for it.
NO_CLASSES = np.zeros(0, np.uint8)  # Of no voxels.
NO_TOKENS = np.zeros(0, np.int32)  # Of no voxels.
MIN_BACKGROUND = 0.01  # A value at a smaller share of the voxels is no background.


def check_shape(shape: tuple[int, ...], most: int = MAX_VOXELS) -> None:
    """Raise ValueError if a box does not have three axes, is empty, or has more than ``most`` voxels."""
    if len(shape) != 3 or not all(1 <= n <= MAX_EDGE for n in shape) or shape[0] * shape[1] * shape[2] > most:
        limits = f"expected three axes of 1 to {MAX_EDGE}, and at most {most} voxels"
        raise ValueError(f"shape is {tuple(shape)}, {limits}")


def _code_stages(
    shape: tuple[int, ...], high: int, bounds: Callable[[int], int], first: int, background: int,
    code_stage: Callable[[ParityStage, Place, Ints, Ints | None], None], check: Check, last: int = 0,
) -> Ints:  # fmt: skip
    """Encode or decode a box, stage by stage.

    Parameters
    ----------
    high : largest integer that can occur.
    bounds : from the number of a level to its bound.
    first : the integer of the first voxel.
    background : integer of the background, -1 if there is none.
    code_stage : encodes or decodes a stage, whose voxels are at the slices; puts these, and the errors of their
        prediction if there is place for them, into their places.
    last : level to end with. Above 0 only every 2^last-th voxel along each axis is decoded.
    """
    size = tuple(-(-n // 2**last) for n in shape)
    dtype = dtype_of(high)
    box = np.empty(size, dtype)  # Stages fill all of it but the first voxel.
    errors = np.empty([(n + 1) // 2 for n in size], dtype)  # of every second voxel along each axis: no others are used
    box[0, 0, 0], errors[0, 0, 0] = first, 0

    with Workers(box.size) as workers:

        def new_level(level: int, place: Place) -> Level:
            """Begin a level, with the voxels of the coarser levels."""
            step = 2 * bounds(level + last) + 1
            known = Level(high, step, box[place].shape, dtype, background, workers=workers)
            known.add((0, 0, 0), box[place], errors[_halved(place)])
            return known

        for stage, place in stages(size, new_level):
            check()
            code_stage(stage, place, box[place], errors[_halved(place)] if level_of(place) else None)
    return box


def _halved(place: Place) -> Place:
    """Return the place of voxels in an array that has every second one along each axis."""
    return tuple(slice(side.start // 2 if side.start else None, None, side.step // 2) for side in place)


def dtype_of(high: int) -> Any:
    """Return the dtype of integers up to ``high``, in which eighths of their differences can be told."""
    return np.int32 if high < 2**24 else np.int64


def bound_of_level(bound: int, taper: int, level: int) -> int:
    """Return the bound of a level.

    Each coarser level is finer by 1 + taper / 4, at most by 4, since others depend on it.
    """
    return max(bound // 4, bound * 4**level // (4 + taper) ** level) if level < 64 else bound // 4


Activity = Callable[[], list[int]]  # returns weights of the activity, which may be fitted meanwhile


class _WeightsByParity:
    """The weights of prediction and activity for each parity. Those of a coarser level hold until others are stored."""

    def __init__(self) -> None:
        self._of: dict[Parity, tuple[list[tuple[str, Parity]], list[int], Activity]] = {}

    def get(self, stage: ParityStage) -> tuple[list[int], Activity]:
        """Return the weights that hold for a stage; the first ones predict the mean of the nearest neighbours."""
        if stage.parity in self._of:
            terms, weights, activity = self._of[stage.parity]
            if terms == stage.terms:
                return weights, activity
        sizes = stage.near.sizes_of_shells
        first = 2**ACTIVITY_BITS // 2 // sizes[0]
        return [0] * len(stage.terms), lambda: [first] + [0] * (len(sizes) - 1)

    def set(self, stage: ParityStage, weights: list[int], activity: Activity) -> None:
        """Take over other weights, from this stage on."""
        self._of[stage.parity] = (stage.terms, weights, activity)


def decode_integers(
    data: bytes, shape: tuple[int, ...], high: int, bound: int, taper: int = 0, check: Check = never, last: int = 0,
    hidden: NDArray[np.bool_] | None = None,
) -> Ints:  # fmt: skip
    """Decode the integers that :func:`encode_integers` returned, given the same shape, high, bound, taper and hidden.

    With ``last`` above 0 only every 2^last-th voxel along each axis, in a fraction of the time.

    Raises
    ------
    ValueError
        If the data are not exactly those of such a box.
    """
    reader = Reader(data)
    first = reader.number("first voxel", 0, high)
    background = reader.number("background", -1, high)
    models = Tables.read(reader).models()
    empty_models = (Tables.read(reader) if background >= 0 else Tables([], [])).models()
    known_weights = _WeightsByParity()
    if hidden is not None:
        hidden = hidden[(slice(None, None, 2**last),) * 3]

    def code_stage(stage: ParityStage, place: Place, into: Ints, into_errors: Ints | None) -> None:
        """Decode a stage."""
        weights, activity = known_weights.get(stage)
        activity_weights, count = activity(), stage.size
        if count >= FIT_VOXELS and reader.number("whether weights follow", 0, 1, STEEP):
            weights = [max(-MAX_WEIGHT, min(w, MAX_WEIGHT)) for w in reader.integers(MEDIUM, len(weights)).tolist()]
            stored = [max(0, min(w, MAX_ACTIVITY)) for w in reader.integers(MEDIUM, len(activity_weights)).tolist()]
            activity_weights = stored
            known_weights.set(stage, weights, lambda: stored)
        prediction, classes = stage.foresee(weights, activity_weights)
        check()
        empty = None
        if background < 0 and hidden is None:
            integers = reader.integers_of(models, classes)
        else:
            is_coded = np.ones(count, bool) if hidden is None else ~hidden[place].ravel()
            if background >= 0:
                emptiness = stage.emptiness()
                near = np.flatnonzero((emptiness > 0) & is_coded)
                empty = np.zeros(count, bool)
                empty[near] = reader.tokens(empty_models, emptiness[near]) > 0
                is_coded &= ~empty
            others = np.flatnonzero(is_coded)
            integers = np.zeros(count, np.int64)
            integers[others] = reader.integers_of(models, classes[others])
        stage.place(prediction, integers, empty, into, into_errors)

    def bounds(level: int) -> int:
        """Return the bound of a level."""
        return bound_of_level(bound, taper, level)

    box = _code_stages(shape, high, bounds, first, background, code_stage, check, last)
    if not last:
        reader.end()
    return box


def encode_integers(
    box: Ints, high: int, bound: int, taper: int = 0, dead_zone: float = 0, check: Check = never,
    hidden: NDArray[np.bool_] | None = None,
) -> tuple[bytes, Ints]:  # fmt: skip
    """Encode integers within ``bound``; return the bytes, and what :func:`decode_integers` will return.

    Parameters are those of :func:`code_integers`.
    """
    values, payload = code_integers(box, high, bound, taper, dead_zone, check, hidden)
    return payload(), values


def code_integers(
    box: Ints, high: int, bound: int, taper: int = 0, dead_zone: float = 0, check: Check = never,
    hidden: NDArray[np.bool_] | None = None,
) -> tuple[Ints, Callable[[], bytes]]:  # fmt: skip
    """Choose how to encode integers within ``bound``; return what :func:`decode_integers` will return, and what makes
    the bytes.

    Parameters
    ----------
    box : (z, y, x) of 0 to ``high`` < 2^36.
    taper : 0 to 4, see :func:`bound_of_level`; above 0 a lower mean squared error for more bytes.
    dead_zone : 0 to 0.5. Above 0, errors round towards zero by about this share of a step, and coarse voxels are
        smoothed (shaping.py): voxels are then within two bounds, and have a lower mean squared error in as many bytes.
    hidden : voxels that take no bytes and become what is predicted, which the decoder knows as well; None for none.
    """

    def bounds(level: int) -> int:
        """Return the bound of a level."""
        return bound_of_level(bound, taper, level)

    known_weights, background = _WeightsByParity(), _background(box, bound) if hidden is None else -1
    stage_tokens: list[_StageTokens] = []
    counts = TokenCounts()
    box = box.astype(dtype_of(high), copy=False)
    aims = Aims(box, bounds, background, hidden) if dead_zone and bound else None

    def code_stage(stage: ParityStage, place: Place, into: Ints, into_errors: Ints | None) -> None:
        """Choose the weights of a stage, and note its tokens."""
        wanted = box[place] if aims is None else aims.at(place).astype(box.dtype, copy=False)
        emptiness, empty, near, flags = NO_CLASSES, None, NO_CLASSES, NO_TOKENS
        if background >= 0:
            emptiness = stage.emptiness()
            empty = np.empty(stage.size, np.bool_)
            label_kernels.find_empty(emptiness, wanted, background, stage.known.step // 2, empty)
        left_out = empty if hidden is None else hidden[place].ravel()
        weights, activity = known_weights.get(stage)
        fitted = None
        if wanted.size >= FIT_VOXELS:
            fits = fit_weights(stage, wanted, None if left_out is None else ~left_out, weights, check)
            if fits is not None:
                weights, activity = fits[0], Later(fits[1]).result
                fitted = weights, activity
                known_weights.set(stage, weights, activity)
        check()
        zones = None
        if dead_zone:
            shares = dead_zones(level_of(place), stage.parity, dead_zone)
            zones = (2 * shares * (stage.known.step // 2)).astype(np.int64)
        coded = stage.encode(
            weights, activity, wanted, zones, left_out, hidden is None, into, into_errors, counts
        )  # fmt: skip
        if empty is not None:
            near, flags = np.empty(len(emptiness), np.uint8), np.empty(len(emptiness), np.int32)
            n_near = label_kernels.near_empty(emptiness, empty, near, flags)
            near, flags = near[:n_near].copy(), flags[:n_near].copy()
        stage_tokens.append(_StageTokens(wanted.size >= FIT_VOXELS, fitted, near, flags, coded))

    first = int(box[0, 0, 0])
    values = _code_stages(box.shape, high, bounds, first, background, code_stage, check)
    return values, lambda: _pack(first, background, stage_tokens, counts, check)


def _pack(
    first: int, background: int, stage_tokens: Sequence[_StageTokens], counts: TokenCounts, check: Check
) -> bytes:
    """Return the bytes of a box: the first voxel, the background, and what is stored of all stages."""
    coded = [stage.coded.result() for stage in stage_tokens]
    tables = Tables.of_counts(counts)
    empty_tables = Tables.of((s.emptiness, s.empty) for s in stage_tokens if background >= 0)
    models, empty_models = tables.models(), empty_tables.models()
    writer = Writer()
    writer.integers([first], FLAT)
    writer.integers([background], FLAT)
    tables.write(writer)
    if background >= 0:
        empty_tables.write(writer)
    for stage, one in zip(stage_tokens, coded, strict=True):
        check()
        if stage.may_be_fitted:
            writer.integers([int(stage.fitted is not None)], STEEP)
        if stage.fitted is not None:
            writer.integers(stage.fitted[0], MEDIUM)
            writer.integers(stage.fitted[1](), MEDIUM)
        writer.tokens(empty_models, stage.emptiness, stage.empty)
        writer.tokens(models, *one)
    with Workers(sum(len(one.tokens) for one in coded)) as workers:
        return writer.to_bytes(workers)


@dataclass(frozen=True, slots=True, eq=False)
class _StageTokens:
    """What the encoder keeps of a stage until the tables are made, which need the tokens of all stages.

    Attributes
    ----------
    may_be_fitted : whether the stage is large enough for weights of its own to be stored.
    fitted : weights of prediction and activity that are stored; None if those that hold stay.
    emptiness, empty : classes of the voxels near background, and whether each is background.
    coded : what is stored of the other voxels.
    """

    may_be_fitted: bool
    fitted: tuple[list[int], Activity] | None
    emptiness: NDArray[np.uint8]
    empty: NDArray[np.int32]
    coded: Later[StageCode]


def _background(box: Ints, bound: int) -> int:
    """Return a value that exactly fills regions, such as behind a mask; -1 if there is none."""
    part = box[::2, ::2, ::2]
    if 2 * np.count_nonzero(part[..., 1:] == part[..., :-1]) < MIN_BACKGROUND * part.size:
        return -1  # no value has as many pairs
    values, counts = np.unique(part, return_counts=True)
    value = int(values[np.argmax(counts)])
    same = part == value
    n_same, pairs = int(same.sum()), int((same[..., 1:] & same[..., :-1]).sum())
    n_near = int((np.abs(part - value) <= bound).sum())
    return value if n_same >= MIN_BACKGROUND * part.size and 2 * pairs >= n_same and n_near <= 1.2 * n_same else -1
