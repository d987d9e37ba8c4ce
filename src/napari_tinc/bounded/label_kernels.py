"""The votes of neighbours for a label (labels.py), and voxels that are background (interpolation.py), compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled

OTHER_LABEL = 3  # Place of a label that is none of the three candidates.
NO_VOTES = -(2**30)  # Votes of a candidate that is missing.

Ints = NDArray[Any]  # int32 or int64
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


@compiled
def emptiness(
    values: Ints, background: int, origin: int, plane: int, row: int, shape: tuple[int, int, int],
    taps: NDArray[np.int64], weights: NDArray[np.int64], out: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Compute for every voxel of a stage which share of its weighted neighbours is background: 0 for none, 15 for all,
    rounded up."""
    most, n = weights.sum(), shape[2]
    shares = ((np.arange(most + 1) * 15 + most - 1) // most).astype(np.uint8)
    in_plane = (shape[1] - 1) * row + n
    total = np.empty(in_plane, np.int32)
    for z in range(shape[0]):
        at = origin + z * plane
        total[:] = 0
        for tap in range(0, len(taps), 2):  # neighbours have a mirror image each
            one, other = values[at + taps[tap] :][:in_plane], values[at + taps[tap + 1] :][:in_plane]
            weight, other_weight = np.int32(weights[tap]), np.int32(weights[tap + 1])
            for i in range(in_plane):
                total[i] += weight * np.int32(one[i] == background) + other_weight * np.int32(other[i] == background)
        for y in range(shape[1]):
            into, sums = out[(z * shape[1] + y) * n :][:n], total[y * row :][:n]
            for i in range(n):
                into[i] = shares[sums[i]]


@compiled
def find_empty(around: NDArray[np.uint8], wanted: Ints, background: int, most: int, empty: NDArray[np.bool_]) -> None:
    """Find the voxels of a stage that are background: within ``most`` of it, and some neighbour is background."""
    at = 0
    for z in range(wanted.shape[0]):
        for y in range(wanted.shape[1]):
            for x in range(wanted.shape[2]):
                empty[at] = (around[at] > 0) & (abs(wanted[z, y, x] - background) <= most)
                at += 1


@compiled
def without(left_out: NDArray[np.bool_], classes: NDArray[np.uint8], coded: Ints) -> int:
    """Move classes and integers of voxels that are not left out to the front; return how many there are."""
    n = 0
    for i in range(len(left_out)):
        classes[n], coded[n] = classes[i], coded[i]
        n += not left_out[i]
    return n


@compiled
def near_empty(
    around: NDArray[np.uint8], empty: NDArray[np.bool_], near: NDArray[np.uint8], flags: NDArray[np.int32]
) -> int:
    """Put what voxels with some background around have around, and whether they are background, at the front; return
    how many there are."""
    n = 0
    for i in range(len(around)):
        near[n], flags[n] = around[i], empty[i]
        n += around[i] > 0
    return n


@compiled
def good_cells(
    errors: NDArray[np.float64], edge: int, mean_square: float, largest: float, good: NDArray[np.bool_],
    squares: NDArray[np.float64],
) -> None:  # fmt: skip
    """Find the cells of a box, (z, y, x) of ``edge`` voxels, in which errors are small, and sum the squares of each.

    Parameters
    ----------
    mean_square : largest mean square of the errors of a good cell.
    largest : largest error of one.
    """
    nz, ny, nx = errors.shape
    for cz in range(good.shape[0]):
        for cy in range(good.shape[1]):
            for cx in range(good.shape[2]):
                total, worst, count = 0.0, 0.0, 0
                for z in range(cz * edge, min(cz * edge + edge, nz)):
                    for y in range(cy * edge, min(cy * edge + edge, ny)):
                        for x in range(cx * edge, min(cx * edge + edge, nx)):
                            error = errors[z, y, x]
                            total += error * error
                            worst = max(worst, abs(error))
                            count += 1
                squares[cz, cy, cx] = total
                good[cz, cy, cx] = total <= count * mean_square and worst <= largest
