"""The votes of neighbours for a label, compiled: see labels.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled

OTHER_LABEL = 3  # Place of a label that is none of the three candidates.
NO_VOTES = -(2**30)  # Votes of a candidate that is missing.

Labels = NDArray[Any]  # uint8 to uint64: numbers of labels


@compiled
def vote(
    values: Labels, origin: int, plane: int, row: int, shape: tuple[int, int, int], taps: NDArray[np.int64],
    votes: NDArray[np.int64], first_class: int, class_step: int, margin_step: int, most_margins: int,
    candidates: Labels, classes: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Rank the labels around every voxel of a stage by their votes; the earlier one wins a tie.

    Parameters
    ----------
    values : of all parities, flat.
    origin, plane, row, shape : place of the first voxel, distances of the next plane and row, and voxels of the stage.
    taps, votes : offsets of the neighbours, those with votes above 0 first among equals, and their votes.
    first_class : class of voxels around which all labels are equal. Others have one that is ``class_step`` higher,
        and once more for every ``margin_step`` votes by which the first candidate leads, up to ``most_margins``.
    candidates : (3, voxels); overwritten. Missing ones repeat the one before.
    classes : (voxels,); overwritten.
    """
    at = -1
    for z in range(shape[0]):
        for y in range(shape[1]):
            for x in range(shape[2]):
                at += 1
                place = origin + z * plane + y * row + x
                first = values[np.uint64(place + taps[0])]
                differs = False
                for tap in range(1, len(taps)):
                    differs |= votes[tap] > 0 and values[np.uint64(place + taps[tap])] != first
                if not differs:
                    candidates[0, at] = candidates[1, at] = candidates[2, at] = first
                    classes[at] = first_class
                    continue
                second = third = first
                a, b, c = votes[0], np.int64(0), np.int64(0)
                for tap in range(1, len(taps)):
                    label = values[np.uint64(place + taps[tap])]
                    if label == first:
                        a += votes[tap]
                        continue
                    if second == first:
                        second = label
                    if label == second:
                        b += votes[tap]
                        continue
                    if third == first:
                        third = label
                    if label == third:
                        c += votes[tap]
                if third == first:
                    c = np.int64(NO_VOTES)
                if b > a:  # a stable sort of three
                    first, second, a, b = second, first, b, a
                if c > b:
                    second, third, b, c = third, second, c, b
                    if b > a:
                        first, second, a, b = second, first, b, a
                candidates[0, at] = first
                candidates[1, at] = second
                candidates[2, at] = second if c == NO_VOTES else third
                classes[at] = first_class + class_step * (1 + min((a - b) // margin_step, most_margins))


@compiled
def places_of(labels: Labels, candidates: Labels, places: NDArray[np.int32]) -> None:
    """Put the place of each label among its candidates into ``places``: OTHER_LABEL if it is none."""
    for i in range(len(labels)):
        place = OTHER_LABEL
        if labels[i] == candidates[0, i]:
            place = 0
        elif labels[i] == candidates[1, i]:
            place = 1
        elif labels[i] == candidates[2, i]:
            place = 2
        places[i] = place


@compiled
def labels_at(places: NDArray[np.int32], candidates: Labels, labels: Labels) -> int:
    """Put the labels at places among their candidates into ``labels``; others are to be filled in.

    Return the first voxel with a place where there is no candidate, -1 if there is none.
    """
    for i in range(len(labels)):
        place = places[i]
        if place > OTHER_LABEL:
            return i
        if place == OTHER_LABEL:
            place = 0
        if place and candidates[place, i] == candidates[place - 1, i]:
            return i
        labels[i] = candidates[place, i]
    return -1
