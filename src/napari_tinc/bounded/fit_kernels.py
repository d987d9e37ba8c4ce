"""The arithmetic of fits of weights, compiled: terms of some voxels of a stage, and weighted least squares.

*Places* are those of voxels in the padded arrays of kernels.py. The voxels that are fitted to stand in *runs* of RUN
places, as one beside another takes little time. What a run has of the padding, or of voxels that do not count, is
computed and given no weight. What is fitted need not be the same bits on every machine, as the weights are stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled, compiled_fast

RUN = 64  # Places of a run.
BLOCK = 2 * RUN  # Places that are worked on at a time.

Floats = NDArray[np.float32]
Ints = NDArray[Any]  # int32 or int64


@compiled
def choose_runs(
    wanted: Ints, counted: NDArray[np.bool_], origin: int, plane: int, row: int, n_voxels: int,
    random: NDArray[np.float64],
) -> tuple[NDArray[np.int64], Ints, NDArray[np.bool_]]:  # fmt: skip
    """Choose runs of a stage that have about ``n_voxels`` voxels: one at random of each of as many equal parts.

    Every second one is in the first half.

    Parameters
    ----------
    wanted : the integers of the stage, (z, y, x).
    counted : which voxels of the flat stage count; empty for all.
    origin, plane, row : the place of the first voxel, and how far the next plane and the next row are.
    random : numbers from 0 to 1, one for each run or more.

    Returns
    -------
    The places at which runs begin, what is wanted at all places of runs, and which of these are voxels that count.
    """
    nz, ny, nx = wanted.shape
    n = ((nz - 1) * plane + (ny - 1) * row + nx + RUN - 1) // RUN
    total, candidates = nz * ny * nx, np.arange(n)
    if len(counted):
        in_run, total = np.zeros(n, np.int64), 0
        for z in range(nz):
            for y in range(ny):
                for x in range(nx):
                    if counted[(z * ny + y) * nx + x]:
                        in_run[(z * plane + y * row + x) // RUN] += 1
                        total += 1
        candidates = np.flatnonzero(in_run)
        n = len(candidates)
    n_runs = min(n, np.int64(np.ceil(n * (n_voxels / max(total, 1)))))
    places = np.empty(n_runs, np.int64)
    values, is_counted = np.zeros(n_runs * RUN, wanted.dtype), np.zeros(n_runs * RUN, np.bool_)
    for i in range(n_runs):
        number = 2 * i if 2 * i < n_runs else 2 * (i - (n_runs + 1) // 2) + 1
        chosen = number if n_runs == n else np.int64((number + random[number]) * (n / n_runs))
        first = candidates[chosen] * RUN
        places[i] = origin + first
        z, y, x = first // plane, first % plane // row, first % plane % row
        for k in range(i * RUN, i * RUN + RUN):
            if x < nx and y < ny and z < nz:
                values[k] = wanted[z, y, x]
                is_counted[k] = len(counted) == 0 or counted[(z * ny + y) * nx + x]
            x += 1
            if x == row:
                y, x = y + 1, 0
            if y * row == plane:
                z, y = z + 1, 0
    return places, values, is_counted


@compiled_fast
def _add_neighbours(
    flat: Ints, places: NDArray[np.int64], run: int, taps: NDArray[np.int64], rows: NDArray[np.int64],
    scales: NDArray[np.int64], out: Ints,
) -> None:  # fmt: skip
    """Add the neighbours of some runs, multiplied, each to its row of ``out``, (rows, BLOCK)."""
    for tap in range(len(taps)):
        row, scale = np.uint64(rows[tap]), scales[tap]
        for number in range(len(places)):
            at, into = np.uint64(places[number] + taps[tap]), np.uint64(number * run)
            for i in range(np.uint64(run)):
                out[row, into + i] += scale * flat[at + i]


@compiled_fast
def _add_distances(
    flat: Ints, places: NDArray[np.int64], run: int, centres: Ints, taps: NDArray[np.int64], rows: NDArray[np.int64],
    out: Ints,
) -> None:  # fmt: skip
    """Add how far the neighbours of some runs are from ``centres``, each to its row of ``out``, (rows, BLOCK)."""
    for tap in range(len(taps)):
        row = np.uint64(rows[tap])
        for number in range(len(places)):
            at, into = np.uint64(places[number] + taps[tap]), np.uint64(number * run)
            for i in range(np.uint64(run)):
                out[row, into + i] += max(flat[at + i], centres[into + i]) - min(flat[at + i], centres[into + i])


@compiled_fast
def _means_along_lines(
    values: Ints, places: NDArray[np.int64], run: int, pairs: NDArray[np.int64], norms: NDArray[np.float64],
    noise: float, above: Floats, below: Floats,
) -> None:  # fmt: skip
    """Compute about the means along lines of some runs, of which :func:`.kernels.predict` has the exact ones.

    ``above`` has the means in the end, ``below`` is scratch; (BLOCK,).
    """
    above[:] = 0
    below[:] = 0
    one, little = np.float32(1.0), np.float32(noise)
    for pair in range(len(norms)):
        norm = np.float32(norms[pair])
        for number in range(len(places)):
            first, into = np.uint64(places[number] + pairs[pair, 0]), np.uint64(number * run)
            second = np.uint64(places[number] + pairs[pair, 1])
            for i in range(np.uint64(run)):
                a, b = np.float32(values[first + i]), np.float32(values[second + i])
                difference = a - b
                weight = one / ((difference * difference + little) * norm)
                above[into + i] += weight * (a + b)
                below[into + i] += weight
    for i in range(len(places) * run):
        above[i] *= np.float32(4.0) / below[i]


@compiled
def _set_rest_to_zero(values: Floats, is_counted: NDArray[np.bool_]) -> None:
    """Set the places that do not count to 0, whatever was computed of the padding: even of no number."""
    for i in range(len(values)):
        if not is_counted[i]:
            values[i] = 0


@compiled_fast
def sample_terms(
    values: Ints, errors: Ints, places: NDArray[np.int64], wanted: Ints, is_counted: NDArray[np.bool_],
    taps: NDArray[np.int64], rows: NDArray[np.int64], scales: NDArray[np.int64], n_values: int,
    error_taps: NDArray[np.int64], error_rows: NDArray[np.int64], pairs: NDArray[np.int64], norms: NDArray[np.float64],
    noise: float, nearest: NDArray[np.int64], begin: int, end: int, terms: Floats, target: Floats, spread: Floats,
) -> None:  # fmt: skip
    """Compute the terms of a prediction at the places of runs, in eighths, less the mean of the nearest neighbours.

    They are 0 where no voxel counts.

    Parameters
    ----------
    values, errors, taps to noise : see :func:`.kernels.predict`. The number of the mean is ``len(terms)``.
    places, wanted, is_counted : see :func:`choose_runs`.
    n_values : terms that values count in; then come those of errors, and the mean along lines.
    nearest : offsets of the nearest kind of neighbours.
    begin, end : voxels that are computed, a multiple of BLOCK from the first but for the last end.
    terms : (n_terms, voxels); overwritten.
    target : what is wanted, in eighths, less the mean; overwritten.
    spread : how far the nearest neighbours are from their mean, on average, in eighths; overwritten.
    """
    n_terms, run = len(terms), len(wanted) // len(places)  # A length that is not known yet is not unrolled.
    sums, centres = np.empty((n_terms + 1, BLOCK), values.dtype), np.empty(BLOCK, values.dtype)
    distances, all_zero = np.empty((1, BLOCK), values.dtype), np.zeros(len(nearest), np.int64)
    above, below, ones = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.ones_like(error_taps)
    base, of_each = sums[n_terms], np.float32(8.0 / len(nearest))
    for first in range(begin, end, BLOCK):
        n = min(BLOCK, end - first)
        here = places[first // run : (first + n) // run]
        sums[:] = 0
        _add_neighbours(values, here, run, taps, rows, scales, sums)
        _add_neighbours(errors, here, run, error_taps, error_rows, ones, sums)
        _means_along_lines(values, here, run, pairs, norms, noise, above, below)
        for i in range(n):
            above[i] -= np.float32(base[i])
            target[first + i] = (wanted[first + i] << 3) - base[i]
            centres[i] = (base[i] + 4) >> 3
        for term in range(n_terms):
            into, row = terms[term, first : first + n], sums[term]
            if term < n_values:
                for i in range(n):
                    into[i] = row[i] - base[i]
            elif term < n_terms - 1:
                for i in range(n):
                    into[i] = row[i]
            else:
                into[:] = above[:n]
            _set_rest_to_zero(into, is_counted[first : first + n])
        distances[:] = 0
        _add_distances(values, here, run, centres, nearest, all_zero, distances)
        for i in range(n):
            spread[first + i] = of_each * np.float32(distances[0, i])
    _set_rest_to_zero(target[begin:end], is_counted[begin:end])
    _set_rest_to_zero(spread[begin:end], is_counted[begin:end])


@compiled_fast
def sample_shells(
    values: Ints, errors: Ints, prediction: Ints, places: NDArray[np.int64], wanted: Ints,
    is_counted: NDArray[np.bool_], taps: NDArray[np.int64], rows: NDArray[np.int64], error_taps: NDArray[np.int64],
    error_rows: NDArray[np.int64], step: int, shells: Floats, sizes: Floats,
) -> None:  # fmt: skip
    """Compute the terms of the activity at the places of runs, and the sizes of errors in whole steps.

    They are 0 where no voxel counts.

    Parameters
    ----------
    places, wanted, is_counted : see :func:`choose_runs`.
    values to prediction, taps to error_rows : see :func:`.kernels.activity`.
    shells : (n_shells, voxels), in eighths; overwritten.
    sizes : in eighths; overwritten.
    """
    n_shells, run = len(shells), len(wanted) // len(places)
    sums, centres = np.empty((n_shells, BLOCK), values.dtype), np.empty(BLOCK, values.dtype)
    error_sums, none = np.empty((n_shells, BLOCK), values.dtype), np.zeros(BLOCK, values.dtype)
    unit = np.float32(8.0 * step)
    for first in range(0, len(wanted), BLOCK):
        n = min(BLOCK, len(wanted) - first)
        here = places[first // run : (first + n) // run]
        for number in range(len(here)):
            for i in range(run):
                centres[number * run + i] = (prediction[here[number] + i] + 4) >> 3
        sums[:] = 0
        error_sums[:] = 0
        _add_distances(values, here, run, centres, taps, rows, sums)
        _add_distances(errors, here, run, none, error_taps, error_rows, error_sums)
        for shell in range(n_shells):
            into, row, error_row = shells[shell, first : first + n], sums[shell], error_sums[shell]
            for i in range(n):
                into[i] = np.float32(8.0) * np.float32(row[i]) + np.float32(error_row[i])
            _set_rest_to_zero(into, is_counted[first : first + n])
        for i in range(n):
            off = np.float32(abs(wanted[first + i] - centres[i])) + np.float32(step // 2)
            sizes[first + i] = unit * np.floor(off / np.float32(step))
    _set_rest_to_zero(sizes, is_counted)


@compiled_fast
def _subtract_weighted(terms: Floats, first: int, weights: NDArray[np.float64], out: Floats) -> None:
    """Subtract the weighted sum of terms, (n_terms, n), from ``out``, which has voxels from the first on."""
    n = len(out)
    for term in range(len(terms)):
        row, weight = terms[term, first : first + n], np.float32(weights[term])
        for i in range(n):
            out[i] -= weight * row[i]


@compiled_fast
def _add_products(
    terms: Floats, first: int, importance: Floats, wanted: Floats, weighted: Floats, sums: NDArray[np.float64],
    right: NDArray[np.float64],
) -> None:  # fmt: skip
    """Add the weighted products of terms with each other, and with what is wanted, of voxels from the first on.

    Parameters
    ----------
    weighted : scratch, as long as ``wanted``.
    sums : (n_terms, n_terms + 3), of each term with those up to it; what is beyond is not used.
    """
    count, n = len(terms), len(wanted)
    for a in range(count):
        row = terms[a, first : first + n]
        total = np.float32(0.0)
        for i in range(n):
            weighted[i] = row[i] * importance[i]
            total += weighted[i] * wanted[i]
        right[a] += total
        for b in range(0, a + 1, 4):  # four at a time
            b0, b1 = terms[b, first : first + n], terms[min(b + 1, count - 1), first : first + n]
            b2 = terms[min(b + 2, count - 1), first : first + n]
            b3 = terms[min(b + 3, count - 1), first : first + n]
            t0, t1, t2, t3 = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for i in range(n):
                t0 += weighted[i] * b0[i]
                t1 += weighted[i] * b1[i]
                t2 += weighted[i] * b2[i]
                t3 += weighted[i] * b3[i]
            sums[a, b] += t0
            sums[a, b + 1] += t1
            sums[a, b + 2] += t2
            sums[a, b + 3] += t3


@compiled
def solve(sums: NDArray[np.float64], right: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
    """Solve the normal equations by Cholesky's method, slightly drawn towards zero so that equal terms share a weight.

    ``sums`` and ``right`` are overwritten.
    """
    n = len(right)
    trace = 0.0
    for a in range(n):
        trace += sums[a, a]
    ridge = 1e-6 * trace / n + 1e-9  # above what rounding of products to float32 adds to them
    for a in range(n):
        sums[a, a] += ridge
        for b in range(a + 1):
            total = sums[a, b]
            for k in range(b):
                total -= sums[a, k] * sums[b, k]
            sums[a, b] = np.sqrt(max(total, ridge)) if a == b else total / sums[b, b]
    for a in range(n):
        for k in range(a):
            right[a] -= sums[a, k] * right[k]
        right[a] /= sums[a, a]
    for a in range(n - 1, -1, -1):
        for k in range(a + 1, n):
            right[a] -= sums[k, a] * right[k]
        right[a] /= sums[a, a]
    weights[:] = right


@compiled_fast
def fit_prediction(
    terms: Floats, target: Floats, spread: Floats, is_counted: NDArray[np.bool_], unit: float, rounds: int,
    least_bits: float, weights: NDArray[np.float64],
) -> bool:  # fmt: skip
    """Fit weights of terms, (n_terms, n), to a target: the sum of absolute errors, by reweighted squares.

    Squares over the sizes of errors approach absolute errors. Over the spread, errors count less where the voxels
    around differ anyway: tables of tokens (entropy.py) spend fewer bits on the same error there.

    Parameters
    ----------
    spread : how far neighbours are from each other at every voxel.
    is_counted : which of the places are voxels that count; terms and target of others are 0.
    unit : of an error that takes bits.
    rounds : on the first half of the voxels; one more on all follows.
    least_bits : nothing is fitted if errors take fewer bits than this on average, as they are.
    weights : begins with these; overwritten.

    Returns
    -------
    Whether weights were fitted.
    """
    count, n = terms.shape
    right, weighted = np.empty(count), np.empty(BLOCK, np.float32)
    errors, importance = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    one, two, floor, mean = np.float32(1.0), np.float32(2.0), np.float32(0.0), np.float32(0.0)
    least, usual, bits = np.float32(unit), spread.sum() / is_counted.sum(), 0.0
    for round_ in range(rounds + 2):
        sums = np.zeros((count, count + 3))
        right[:] = 0.0
        last = n if round_ > rounds else (n // RUN + 1) // 2 * RUN
        total, n_counted = 0.0, max(1, is_counted[:last].sum())
        scale = np.float32(mean / usual if usual > 0 else 0.0)
        for first in range(0, last, BLOCK):
            size = min(BLOCK, last - first)
            part, weight, wanted = errors[:size], importance[:size], target[first : first + size]
            part[:] = wanted
            _subtract_weighted(terms, first, weights, part)
            some = np.float32(0.0)
            for i in range(size):
                some += abs(part[i])
            total += float(some)
            if round_:
                around = spread[first : first + size]
                for i in range(size):
                    weight[i] = one / ((abs(part[i]) + floor) * (around[i] * scale + mean + two * least))
                _add_products(terms, first, weight, wanted, weighted[:size], sums, right)
            else:
                for i in range(0, size, 4):
                    bits += np.log2(one + two * abs(part[i]) / least)
        if round_:
            solve(sums, right, weights)
        elif 4 * bits < least_bits * n_counted:
            return False
        mean = np.float32(total / n_counted)
        floor = np.float32(0.25) * mean + np.float32(0.3) * least
    return True


@compiled_fast
def fit_activity(shells: Floats, foreseen: Floats, unit: float, rounds: int, weights: NDArray[np.float64]) -> None:
    """Fit weights, 0 or above, of terms of the activity, (n_shells, n), to sizes of errors, by relative squares."""
    count, n = shells.shape
    right, weighted = np.empty(count), np.empty(BLOCK, np.float32)
    sums_of, importance = np.empty(BLOCK, np.float32), np.ones(BLOCK, np.float32)
    for round_ in range(rounds + 1):
        sums = np.zeros((count, count + 3))
        right[:] = 0.0
        for first in range(0, n, BLOCK):
            size = min(BLOCK, n - first)
            part, weight = sums_of[:size], importance[:size]
            if round_:
                part[:] = 0
                _subtract_weighted(shells, first, weights, part)
                for i in range(size):
                    off = np.float32(0.05 * unit) - part[i]
                    weight[i] = np.float32(1.0) / (off * off)
            _add_products(shells, first, weight, foreseen[first : first + size], weighted[:size], sums, right)
        solve(sums, right, weights)
        for k in range(count):
            weights[k] = max(weights[k], 0.0)
