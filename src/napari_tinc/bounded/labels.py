"""Encode and decode label images without loss: which of the labels around it does a voxel have?

Coarse to fine, as in interpolation.py, all voxels of a parity at once. If all known neighbours are equal, nearly every
voxel is equal to them, and costs next to nothing. Elsewhere the labels around a voxel are its candidates, ordered by
the votes of the neighbours: near ones count more. What is coded is the place of its label in that order, under one of a
few tables (entropy.py), chosen by how clear the vote is. A label that is no candidate is stored by its number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Check, never
from . import label_kernels
from .entropy import FLAT, MAX_CLASSES, MEDIUM, STEEP, Reader, Tables, Writer
from .interpolation import check_shape
from .label_kernels import OTHER_LABEL
from .neighbours import NEAR, ORBITS, ORDER, Parity
from .prediction import Ints, Level, ParityStage, Place, stages

# Votes of a neighbour, by its sorted distances; others have none.
VOTES = {(0, 0, 1): 16, (0, 1, 1): 9, (1, 1, 1): 3, (0, 1, 2): 4, (1, 2, 2): 1, (0, 0, 3): -3}
MARGIN_STEP = 8  # A lead of this many votes more makes another class,
N_MARGINS = (MAX_CLASSES - len(ORDER)) // len(ORDER)  # up to this many classes for each parity.


def _votes_at(offset: Parity) -> int:
    """Return the votes of a neighbour at an offset, 0 if it has none."""
    z, y, x = sorted(offset)
    return VOTES.get((z, y, x), 0)


# All offsets with votes.
OFFSETS = [(z, y, x) for z in range(4) for y in range(4) for x in range(4) if _votes_at((z, y, x))]


def encode_labels(label_values: NDArray[Any], indices: NDArray[np.intp], check: Check = never) -> bytes:
    """Encode the labels ``label_values[indices]``.

    Parameters
    ----------
    label_values : every label that occurs, ascending.
    indices : index of each voxel's label, (z, y, x).
    """
    writer = Writer()
    _write_label_values(writer, label_values)
    box = indices.astype(np.min_scalar_type(len(label_values) - 1))
    if len(label_values) > 1:
        _write_places(writer, box, len(label_values), check)
    return writer.to_bytes()


def decode_labels(data: bytes, shape: tuple[int, ...], dtype: Any, check: Check = never) -> NDArray[Any]:
    """Decode labels, (z, y, x), of a shape and dtype that the caller knows.

    Raises
    ------
    ValueError
        If the data are damaged or not those of such a box.
    """
    dtype = _check_labels(shape, dtype)
    reader = Reader(data)
    label_values = _read_label_values(reader, shape[0] * shape[1] * shape[2], dtype)
    indices = (
        _read_places(reader, shape, len(label_values), check) if len(label_values) > 1 else np.zeros(shape, np.uint8)
    )
    reader.end()
    return label_values[indices]


def _check_labels(shape: tuple[int, ...], dtype: Any) -> np.dtype[Any]:
    """Return the dtype in little-endian order. ValueError if it is not of labels, or the shape cannot be encoded."""
    dtype = np.dtype(dtype).newbyteorder("<")
    if dtype.kind not in "iub":
        raise ValueError(f"dtype of labels is {dtype}, expected integers or bool")
    check_shape(shape)
    return dtype


def _write_label_values(writer: Writer, label_values: NDArray[Any]) -> None:
    """Write the number of labels, and the gaps between them in halves of 32 bits.

    A gap is the difference from the label before, less 1. The first is the difference from the dtype's smallest value.
    """
    lowest = np.iinfo(label_values.dtype).min if label_values.dtype.kind == "i" else 0
    offsets = label_values.astype(np.uint64) - np.uint64(lowest % 2**64)
    gaps = np.diff(offsets, prepend=np.uint64(0)) - np.uint64(1)
    gaps[0] = offsets[0]
    writer.integers([len(label_values)], FLAT)
    for shift, model in _halves(label_values.dtype):
        writer.integers((gaps >> np.uint64(shift) & np.uint64(2**32 - 1)).astype(np.int64), model)


def _halves(dtype: np.dtype[Any]) -> list[tuple[int, Any]]:
    """Return the first bit of each half of a gap, and its model."""
    return [(0, MEDIUM), (32, STEEP)][: 2 if dtype.itemsize == 8 else 1]


def _read_label_values(reader: Reader, n_voxels: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read the labels that occur, ascending. ValueError if they do not ascend within the dtype."""
    lowest, highest = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    count = reader.number("number of labels", 1, min(n_voxels, highest - lowest + 1))
    gaps = np.zeros(count, np.uint64)
    for shift, model in _halves(dtype):
        half = reader.integers(model, count)
        if half.min() < 0 or half.max() >= 2**32:
            raise ValueError(f"half of a gap between labels is {half.min()} to {half.max()}, expected 32 bits")
        gaps |= half.astype(np.uint64) << np.uint64(shift)
    gaps[1:] += np.uint64(1)
    offsets = np.cumsum(gaps)
    if offsets[-1] > highest - lowest or (gaps[1:] == 0).any() or (offsets[1:] <= offsets[:-1]).any():
        raise ValueError(f"labels do not ascend within {dtype}")
    return (offsets + np.uint64(lowest % 2**64)).astype(dtype)


def _code_stages(
    shape: tuple[int, ...], first: int, dtype: Any, code_stage: Callable[[_Vote, Place], Ints], check: Check
) -> Ints:
    """Encode or decode a box, stage by stage.

    Parameters
    ----------
    first : the label of the first voxel.
    code_stage : returns the labels of a stage, whose voxels are at the slices.
    """
    labels = np.full(shape, first, dtype)

    def new_level(level: int, place: Place) -> Level:
        """Begin a level, with the labels of the coarser levels."""
        known = Level(0, 1, labels[place].shape, labels.dtype, has_errors=False)
        known.add((0, 0, 0), labels[place])
        return known

    for stage, place in stages(shape, new_level):
        check()
        labels[place] = of_stage = code_stage(_Vote(stage), place).reshape(stage.shape)
        stage.known.add(stage.parity, of_stage)
    return labels


class _Vote:
    """The candidates for the labels of all n voxels of a stage.

    Attributes
    ----------
    candidates : (3, n) the labels around voxels, most votes first. Missing ones repeat the one before.
    classes : (n,) see :class:`~.entropy.Tables`.
    """

    def __init__(self, stage: ParityStage) -> None:
        offsets = _voting_offsets(stage)
        votes = np.array([_votes_at(offset) for offset in offsets for _ in ORBITS[offset]])
        self.candidates = np.empty((3, stage.size), stage.known.values.dtype)
        self.classes = np.empty(stage.size, np.uint8)
        label_kernels.vote(
            stage.known.flat_values, *stage.layout, stage.shape, stage.offsets_at(offsets), votes,
            ORDER.index(stage.parity), len(ORDER), MARGIN_STEP, N_MARGINS - 1, self.candidates, self.classes,
        )  # fmt: skip

    def places(self, labels: Ints) -> NDArray[np.int32]:
        """Return the place of each label among the candidates, (n,)."""
        places = np.empty(len(labels), np.int32)
        label_kernels.places_of(labels, self.candidates, places)
        return places

    def labels(self, places: NDArray[np.int32]) -> Ints:
        """Return the labels at places among the candidates, (n,). Labels that are no candidate are to be filled in.

        Raises
        ------
        ValueError
            If there is no candidate at a place.
        """
        labels = np.empty(len(places), self.candidates.dtype)
        wrong = label_kernels.labels_at(places, self.candidates, labels)
        if wrong >= 0:
            count = len(np.unique(self.candidates[:, wrong]))
            raise ValueError(
                f"place of a label is {places[wrong]}, expected one of {count} candidates from 0 on, or {OTHER_LABEL}"
            )
        return labels


def _voting_offsets(stage: ParityStage) -> list[Parity]:
    """Return the offsets with votes. Two voxels away, only axes count along which no near neighbour is off."""
    near = [offset for offset in NEAR if stage.is_known(offset)]
    reached = np.any(near, axis=0)
    far = [offset for offset in OFFSETS if offset not in NEAR and stage.is_known(offset)]
    return near + [offset for offset in far if not (reached & (np.array(offset) == 2)).any()]


def _write_places(writer: Writer, box: Ints, n_labels: int, check: Check) -> None:
    """Write the places of all labels among their candidates, and the numbers of labels that are no candidate."""
    coded: list[tuple[NDArray[np.uint8], NDArray[np.int32], Ints]] = []

    def code_stage(vote: _Vote, place: Place) -> Ints:
        """Note the places of a stage."""
        check()
        labels = box[place].ravel()
        places = vote.places(labels)
        coded.append((vote.classes, places, labels[places == OTHER_LABEL]))
        return labels

    n_bits = (n_labels - 1).bit_length()
    _code_stages(box.shape, int(box[0, 0, 0]), box.dtype, code_stage, check)
    tables = Tables.of((classes, places) for classes, places, _ in coded)
    models = tables.models()
    writer.bits(box[:1, 0, 0].astype(np.int64), n_bits)
    tables.write(writer)
    for classes, places, others in coded:
        check()
        writer.tokens(models, classes, places)
        writer.bits(others.astype(np.int64), n_bits)


def _read_places(reader: Reader, shape: tuple[int, ...], n_labels: int, check: Check) -> Ints:
    """Read the number of every voxel's label, (z, y, x)."""
    n_bits = (n_labels - 1).bit_length()

    def read_indices(count: int) -> NDArray[np.int64]:
        """Read the numbers of labels, as plain bits."""
        indices = reader.bits(n_bits, count)
        if indices.size and indices.max() >= n_labels:
            raise ValueError(f"number of a label is {indices.max()}, expected one below {n_labels}")
        return indices

    first = int(read_indices(1)[0])
    models = Tables.read(reader).models()

    def code_stage(vote: _Vote, place: Place) -> Ints:
        """Decode a stage."""
        check()
        places = reader.tokens(models, vote.classes)
        labels = vote.labels(places)
        others = np.flatnonzero(places == OTHER_LABEL)
        labels[others] = read_indices(len(others))
        return labels

    return _code_stages(shape, first, np.min_scalar_type(n_labels - 1), code_stage, check)
