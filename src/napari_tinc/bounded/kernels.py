"""The arithmetic of a stage of the predictive coder, compiled.

Voxels of each of the eight parities of a level stand in a padded array (prediction.py: Level), all alike, one after
another in one flat array. So a neighbour is a constant offset away from every voxel, and rows of them are slices.
Arrays over a *span* have a number for every place of a padded array between the first and the last voxel of a stage;
at the padding between these it means nothing. Arrays over a stage have voxels only, z first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled
from .neighbours import Shells, Taps

CHUNK = 1024  # Places that are worked on at a time, so that sums stay in the cache.
TAPS = 4  # Neighbours that are added at a time; lists of them are filled up with weights of 0.
EDGE_SHIFT = (
    50  # Without these low bits a float64 tells its power of two, and the quarter of it: at most one edge each.
)
WEIGHT_BITS = 8  # A stored weight of a prediction is in units of 2^-8.

Ints = NDArray[Any]  # int32 or int64
# How voxels are predicted. The neighbours; the squared difference of two of them that says nothing; the weights of all
# terms, in units of 2^-WEIGHT_BITS eighths, the last but one being that of the mean along lines, and the last that of
# the mean of the nearest neighbours; the largest prediction, in eighths; and no numbers, in the dtype of all sums.
Terms = tuple[Taps, float, NDArray[np.int64], int, Ints]
Layout = tuple[int, int, int]  # The place of the first voxel, and how far the next plane and the next row are.
EdgeTable = tuple[int, NDArray[np.uint8], NDArray[np.int64]]  # See prediction.Edges.


@compiled
def _with_weights(
    taps: NDArray[np.int64], rows: NDArray[np.int64], scales: NDArray[np.int64], weights: NDArray[np.int64], like: Ints
) -> tuple[NDArray[np.int64], Ints]:
    """Return the taps that have a weight, that of their row times their scale, and the weights, in the dtype of sums.

    Both are filled up with weights of 0 to a multiple of what is added at a time.
    """
    offsets, factors, n = np.zeros(len(taps) + TAPS, np.int64), np.zeros(len(taps) + TAPS, like.dtype), 0
    for tap in range(len(taps)):
        factor = scales[tap] * weights[rows[tap]]
        if factor:
            offsets[n], factors[n] = taps[tap], factor
            n += 1
    n = (n + TAPS - 1) // TAPS * TAPS
    return offsets[:n], factors[:n]


@compiled
def _add_weighted(total: Ints, flat: Ints, start: int, taps: NDArray[np.int64], weights: Ints) -> None:
    """Add weighted neighbours of the places from ``start``."""
    n = len(total)
    for tap in range(0, len(taps), TAPS):
        a = flat[start + taps[tap] :][:n]
        b = flat[start + taps[tap + 1] :][:n]
        c = flat[start + taps[tap + 2] :][:n]
        d = flat[start + taps[tap + 3] :][:n]
        wa, wb, wc, wd = weights[tap], weights[tap + 1], weights[tap + 2], weights[tap + 3]
        for i in range(n):
            total[i] += wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i]


@compiled
def weight_of_pair(one: float, other: float, norm: float, noise: float) -> float:
    """Return the weight of two opposite neighbours: they count more if they agree, and if they are near."""
    difference = one - other
    return 1.0 / ((difference * difference + noise) * norm)


@compiled
def mean_along_lines(above: float, below: float, most: int) -> float:
    """Return the mean of pairs of neighbours, in eighths and rounded, from their weighted sum and that of weights."""
    return min(max(np.rint(4.0 * above / below), 0.0), np.float64(most))


@compiled
def predict(values: Ints, errors: Ints, span: tuple[int, int], terms: Terms, prediction: Ints) -> None:
    """Predict voxels, in eighths, from 0 to the largest prediction.

    Parameters
    ----------
    values, errors : of all parities, flat.
    span : the places of the first voxel, and behind the last.
    terms : of the prediction.
    prediction : over the span; overwritten.
    """
    taps, noise, weights, most, like = terms
    value_taps, rows, scales, error_taps, error_rows, pairs, norms = taps
    offsets, factors = _with_weights(value_taps, rows, scales, weights, like)
    error_offsets, error_factors = _with_weights(error_taps, error_rows, np.ones_like(error_taps), weights, like)
    line_weight = weights[-2]
    above, below, total = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK, like.dtype)
    for start in range(span[0], span[1], CHUNK):
        n = min(CHUNK, span[1] - start)
        part = total[:n]
        part[:] = 1 << (WEIGHT_BITS - 1)
        _add_weighted(part, values, start, offsets, factors)
        _add_weighted(part, errors, start, error_offsets, error_factors)
        if line_weight:
            _sum_lines(values, start, pairs, norms, noise, above[:n], below[:n])
            for i in range(n):
                part[i] += line_weight * np.int64(mean_along_lines(above[i], below[i], most))
        out = prediction[start : start + n]
        for i in range(n):
            out[i] = min(max(part[i] >> WEIGHT_BITS, 0), most)


@compiled
def _sum_lines(
    values: Ints, start: int, pairs: NDArray[np.int64], norms: NDArray[np.float64], noise: float,
    above: NDArray[np.float64], below: NDArray[np.float64],
) -> None:  # fmt: skip
    """Sum pairs of opposite neighbours, those that agree with more weight; and the weights."""
    n = len(above)
    above[:] = 0.0
    below[:] = 0.0
    for pair in range(len(norms)):
        one = values[start + pairs[pair, 0] :][:n]
        other = values[start + pairs[pair, 1] :][:n]
        norm = norms[pair]
        for i in range(n):
            a, b = np.float64(one[i]), np.float64(other[i])
            weight = weight_of_pair(a, b, norm, noise)
            above[i] += weight * (a + b)
            below[i] += weight


@compiled
def activity(
    values: Ints, errors: Ints, prediction: Ints, span: tuple[int, int], shells: Shells, weights: NDArray[np.int64],
    out: Ints,
) -> None:  # fmt: skip
    """Sum how far neighbours are from the prediction, and the sizes of their errors, in eighths, both weighted.

    ``shells`` are the offsets of these neighbours and the numbers of their terms, then those whose errors count.
    """
    taps, rows, error_taps, error_rows = shells
    offsets, factors = _with_weights(taps, rows, np.full_like(taps, 8), weights, out)
    error_offsets, error_factors = _with_weights(error_taps, error_rows, np.ones_like(error_taps), weights, out)
    centres, none = np.empty(CHUNK, values.dtype), np.zeros(CHUNK, values.dtype)
    for start in range(span[0], span[1], CHUNK):
        n = min(CHUNK, span[1] - start)
        total, predicted = out[start : start + n], prediction[start : start + n]
        for i in range(n):
            centres[i] = (predicted[i] + 4) >> 3
        total[:] = 0
        _add_distances(total, values, start, centres, offsets, factors)
        _add_distances(total, errors, start, none, error_offsets, error_factors)


@compiled
def _add_distances(
    total: Ints, flat: Ints, start: int, centres: Ints, taps: NDArray[np.int64], weights: Ints
) -> None:  # fmt: skip
    """Add how far neighbours of the places from ``start`` are from ``centres``, weighted."""
    n = len(total)
    for tap in range(0, len(taps), 2):
        a, b = flat[start + taps[tap] :][:n], flat[start + taps[tap + 1] :][:n]
        wa, wb = weights[tap], weights[tap + 1]
        for i in range(n):
            centre = centres[i]  # maximum and minimum, as an absolute value is of 64 bits
            total[i] += wa * (max(a[i], centre) - min(a[i], centre)) + wb * (max(b[i], centre) - min(b[i], centre))


@compiled
def classify(
    prediction: Ints, activities: Ints, layout: Layout, shape: tuple[int, int, int], edges: EdgeTable, is_fine: bool,
    classes: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Put the class of every voxel of a stage into ``classes``: twice the number of edges up to its activity.

    One more if ``is_fine`` and the prediction is a quarter or more from the nearest integer.
    """
    origin, plane, row = layout
    first, before, edge_in = edges
    n, last = shape[2], len(before) - 1
    numbers = np.empty(n)
    bits = numbers.view(np.int64)
    for z in range(shape[0]):
        for y in range(shape[1]):
            at = origin + z * plane + y * row
            out = classes[(z * shape[1] + y) * n :][:n]
            values, predicted = activities[at : at + n], prediction[at : at + n]
            for i in range(n):
                value = np.int64(values[i])
                numbers[i] = np.float64(value & ~2047 if value >= 2**53 else value)  # exact
            for i in range(n):
                step = min(max((bits[i] >> EDGE_SHIFT) - first, 0), last)
                out[i] = 2 * (before[step] + np.uint8(values[i] >= edge_in[step]))
            if is_fine:
                for i in range(n):
                    out[i] += np.uint8(abs(predicted[i] - (((predicted[i] + 4) >> 3) << 3)) >= 2)


@compiled
def quantize(
    prediction: Ints, wanted: Ints, origin: int, plane: int, row: int, classes: NDArray[np.uint8],
    zones: NDArray[np.int64], step: int, hidden: NDArray[np.bool_], coded: Ints,
) -> None:  # fmt: skip
    """Turn what is wanted of a stage, (z, y, x), into the steps from the prediction that are coded.

    Parameters
    ----------
    hidden : voxels that become what is predicted; empty for none.
    zones : for every class, by how much an error counts as smaller; empty if it does not.
    coded : over the stage; overwritten. With the other sign where the prediction is above the nearest integer.
    """
    n = wanted.shape[2]
    errors, sizes = np.empty(n, np.int64), np.empty(n, np.int64)
    for z in range(wanted.shape[0]):
        for y in range(wanted.shape[1]):
            at = origin + z * plane + y * row
            first = (z * wanted.shape[1] + y) * n
            out, kinds, predicted = coded[first : first + n], classes[first : first + n], prediction[at : at + n]
            for i in range(n):
                errors[i] = np.int64(wanted[z, y, i]) - ((np.int64(predicted[i]) + 4) >> 3)
            for i in range(n):
                sizes[i] = abs(errors[i]) + step // 2
            if len(zones):
                for i in range(n):
                    sizes[i] -= zones[kinds[i]]
            if step > 1:  # exact: the quotient of integers below 2^38 is never rounded up to the next one
                for i in range(n):
                    sizes[i] = np.int64(np.float64(sizes[i]) / np.float64(step))
            for i in range(n):
                is_above = predicted[i] - (((np.int64(predicted[i]) + 4) >> 3) << 3) < 0
                out[i] = -sizes[i] if (errors[i] < 0) != is_above else sizes[i]
    for i in range(len(hidden)):
        if hidden[i]:
            coded[i] = 0


@compiled
def place(
    prediction: Ints, coded: Ints, is_background: NDArray[np.bool_], background: int, origin: int,
    plane: int, row: int, step: int, high: int, keeps_errors: bool, box: Ints, box_errors: Ints, values: Ints,
    errors: Ints,
) -> None:  # fmt: skip
    """Put the values of a stage, and the errors of their prediction in eighths, where they belong.

    Parameters
    ----------
    coded : steps from the prediction, see :func:`quantize`.
    is_background : which voxels are background, which counts as predicted without an error; empty if none is.
    box, box_errors : the places of the voxels in the box, (z, y, x); errors are put there if ``keeps_errors``.
    values, errors : the padded arrays of the parity.
    """
    flat_values, flat_errors = values.reshape(-1), errors.reshape(-1)
    nz, ny, nx = box.shape
    masked = len(is_background) > 0
    for z in range(nz):
        for y in range(ny):
            at = origin + z * plane + y * row
            first = (z * ny + y) * nx
            predicted, integers = prediction[at : at + nx], coded[first : first + nx]
            into, into_errors = flat_values[at : at + nx], flat_errors[at : at + nx]
            for i in range(nx):
                p = np.int64(predicted[i])
                centre = (p + 4) >> 3
                steps = -integers[i] if p - (centre << 3) < 0 else integers[i]
                value = min(max(steps * step + centre, 0), high)
                error = (value << 3) - p
                if masked and is_background[first + i]:
                    value, error = background, 0
                into[i] = value
                into_errors[i] = error
            for i in range(nx):
                box[z, y, i] = into[i]
            if keeps_errors:
                for i in range(nx):
                    box_errors[z, y, i] = into_errors[i]


@compiled
def fill(inner: Ints, padded: Ints, pad: int) -> None:
    """Copy (z, y, x) into the middle of a padded array, which may be larger than needed, and repeat its faces."""
    nz, ny, nx = inner.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                padded[z + pad, y + pad, x + pad] = inner[z, y, x]
    repeat_faces(padded, nz, ny, nx, pad)


@compiled
def repeat_faces(padded: Ints, nz: int, ny: int, nx: int, pad: int) -> None:
    """Repeat the voxels at the faces of a padded array, ``pad`` of them."""
    for z in range(pad, nz + pad):
        for y in range(pad, ny + pad):
            for x in range(pad):
                padded[z, y, x] = padded[z, y, pad]
                padded[z, y, nx + pad + x] = padded[z, y, nx + pad - 1]
        for y in range(pad):
            for x in range(nx + 2 * pad):
                padded[z, y, x] = padded[z, pad, x]
                padded[z, ny + pad + y, x] = padded[z, ny + pad - 1, x]
    for z in range(pad):
        for y in range(ny + 2 * pad):
            for x in range(nx + 2 * pad):
                padded[z, y, x] = padded[pad, y, x]
                padded[nz + pad + z, y, x] = padded[nz + pad - 1, y, x]


@compiled
def repeat_faces_of_both(values: Ints, errors: Ints, nz: int, ny: int, nx: int, pad: int) -> None:
    """Repeat the voxels at the faces of two padded arrays: one call from Python takes Python's lock once."""
    for padded in (values, errors):
        repeat_faces(padded, nz, ny, nx, pad)


@compiled
def steps_of(values: NDArray[Any], lowest: float, step: float, out: Ints) -> None:
    """Turn values into whole steps from the lowest."""
    for i in range(len(values)):
        out[i] = np.int64(np.rint((np.float64(values[i]) - lowest) / step))


@compiled
def mark(integers: Ints, occurs: NDArray[np.bool_]) -> None:
    """Set the places of all integers that occur."""
    for i in range(len(integers)):
        occurs[integers[i]] = True


@compiled
def values_of_steps(integers: Ints, lowest: float, step: float, largest: float, out: NDArray[Any]) -> None:
    """Turn steps into values, of which none is beyond the largest."""
    for i in range(len(integers)):
        out[i] = min(max(integers[i] * step + lowest, -largest), largest)


@compiled
def ranks_of(bits: Ints, magnitude: int, shift: int, ranks: NDArray[np.int64]) -> None:
    """Turn the bits of floats into integers in the order of the floats; -0 is just below 0.

    Parameters
    ----------
    magnitude : the bits of a float without its sign.
    shift : bits that are shifted out.
    """
    for i in range(len(bits)):
        size = (np.int64(bits[i]) & magnitude) >> shift
        ranks[i] = -1 - size if bits[i] < 0 else size


@compiled
def bits_of_ranks(integers: Ints, lowest: int, shift: int, sign: int, bits: Ints) -> None:
    """Turn integers which ``lowest`` is added to, into the bits of floats, as :func:`ranks_of` had them."""
    for i in range(len(integers)):
        rank = np.int64(integers[i]) + lowest
        bits[i] = ((-1 - rank) << shift) | sign if rank < 0 else rank << shift
