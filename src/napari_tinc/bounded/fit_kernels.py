"""What weights are fitted to (fit_weights.py), compiled: terms of some voxels of a stage.

*Places* are those of voxels in the padded arrays of kernels.py. The voxels that are fitted to stand in *runs* of RUN
places, as one beside another takes little time. What a run has of the padding, or of voxels that do not count, is
computed and given no weight. What is fitted need not be the same bits on every machine, as the weights are stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled, compiled_fast
from .neighbours import Shells, Taps

RUN = 64  # Places of a run.

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
        begin, end = i * RUN, i * RUN + RUN
        while begin < end:
            voxels = min(nx - x, end - begin) if y < ny and z < nz else 0
            for k in range(voxels):
                values[begin + k] = wanted[z, y, x + k]
            for k in range(voxels):
                is_counted[begin + k] = len(counted) == 0 or counted[(z * ny + y) * nx + x + k]
            begin += row - x
            x, y = 0, y + 1
            if y * row == plane:
                z, y = z + 1, 0
    return places, values, is_counted


@compiled_fast
def _sum_neighbours(flat: Ints, at: int, taps: NDArray[np.int64], first: int, last: int, out: Ints) -> None:
    """Sum the neighbours of the places from ``at`` that some taps name, an even number of them."""
    a, b = np.uint64(at + taps[first]), np.uint64(at + taps[first + 1])
    for i in range(np.uint64(len(out))):
        out[i] = flat[a + i] + flat[b + i]
    for tap in range(first + 2, last, 2):
        a, b = np.uint64(at + taps[tap]), np.uint64(at + taps[tap + 1])
        for i in range(np.uint64(len(out))):
            out[i] += flat[a + i] + flat[b + i]


@compiled_fast
def _sum_distances(
    flat: Ints, at: int, centres: Ints, taps: NDArray[np.int64], first: int, last: int, out: Ints
) -> None:  # fmt: skip
    """Sum how far the neighbours of the places from ``at`` that some taps name are from ``centres``."""
    out[:] = 0
    for tap in range(first, last, 2):
        a, b = np.uint64(at + taps[tap]), np.uint64(at + taps[tap + 1])
        for i in range(np.uint64(len(out))):
            centre, one, other = centres[i], flat[a + i], flat[b + i]
            out[i] += max(one, centre) - min(one, centre) + (max(other, centre) - min(other, centre))


@compiled
def _end_of_row(rows: NDArray[np.int64], first: int) -> int:
    """Return the first tap beyond those of the same row."""
    last = first
    while last < len(rows) and rows[last] == rows[first]:
        last += 1
    return last


@compiled_fast
def _means_along_lines(
    values: Ints, at: int, pairs: NDArray[np.int64], norms: NDArray[np.float64], noise: float, above: Floats,
    below: Floats,
) -> None:  # fmt: skip
    """Compute about the means along lines of the places from ``at``, of which :func:`.kernels.predict` has the exact
    ones.

    ``above`` has the means in the end, ``below`` is scratch.
    """
    above[:] = 0
    below[:] = 0
    one, little = np.float32(1.0), np.float32(noise)
    for pair in range(len(norms)):
        norm, first, second = np.float32(norms[pair]), np.uint64(at + pairs[pair, 0]), np.uint64(at + pairs[pair, 1])
        for i in range(np.uint64(len(above))):
            a, b = np.float32(values[first + i]), np.float32(values[second + i])
            difference = a - b
            weight = one / ((difference * difference + little) * norm)
            above[i] += weight * (a + b)
            below[i] += weight
    for i in range(len(above)):
        above[i] *= np.float32(4.0) / below[i]


@compiled
def _set_rest_to_zero(values: Floats, is_counted: NDArray[np.bool_]) -> None:
    """Set the places that do not count to 0, whatever was computed of the padding: even of no number."""
    for i in range(len(values)):
        values[i] = values[i] if is_counted[i] else np.float32(0.0)


@compiled_fast
def _put_counted(sums: Ints, is_counted: NDArray[np.bool_], into: Floats) -> None:
    """Put sums into the places that count, and 0 into the others."""
    for i in range(len(into)):
        into[i] = sums[i]
    _set_rest_to_zero(into, is_counted)


@compiled
def _first_of_run(number: int, n_runs: int, run: int) -> int:
    """Return where the samples of a run begin, of runs that are numbered by their places.

    These ascend through both halves of the samples at once: neighbours of one run are often those of the next.
    """
    return (number // 2 if number % 2 == 0 else (n_runs + number) // 2) * run


@compiled_fast
def sample_terms(
    values: Ints, errors: Ints, places: NDArray[np.int64], wanted: Ints, is_counted: NDArray[np.bool_],
    neighbours: Taps, n_values: int, noise: float, nearest: NDArray[np.int64], begin: int, end: int, terms: Floats,
    target: Floats, spread: Floats,
) -> None:  # fmt: skip
    """Compute the terms of a prediction at the places of runs, in eighths, less the mean of the nearest neighbours.

    They are 0 where no voxel counts.

    Parameters
    ----------
    values, errors : see :func:`.kernels.predict`.
    neighbours, noise : see :data:`.kernels.Terms`. The neighbours of the mean are the first ones.
    places, wanted, is_counted : see :func:`choose_runs`.
    n_values : terms that values count in; then come those of errors, and the mean along lines.
    nearest : offsets of the nearest kind of neighbours.
    begin, end : runs that are computed, counted in the order of their places.
    terms : (n_terms, voxels); overwritten.
    target : what is wanted, in eighths, less the mean; overwritten.
    spread : how far the nearest neighbours are from their mean, on average, in eighths; overwritten.
    """
    taps, rows, scales, error_taps, error_rows, pairs, norms = neighbours
    n_terms, run = len(terms), len(wanted) // len(places)  # A length that is not known yet is not unrolled.
    sums, base, scale = np.empty(run, values.dtype), np.empty(run, values.dtype), np.empty(1, values.dtype)
    above, below, of_each = np.empty(run, np.float32), np.empty(run, np.float32), np.float32(8.0 / len(nearest))
    for number in range(begin, end):
        first = _first_of_run(number, len(places), run)
        at, counts = places[first // run], is_counted[first : first + run]
        tap = _end_of_row(rows, 0)
        _sum_neighbours(values, at, taps, 0, tap, base)
        scale[0] = scales[0]
        for i in range(run):
            base[i] *= scale[0]
        for term in range(n_values):
            into, last = terms[term, first : first + run], _end_of_row(rows, tap)
            _sum_neighbours(values, at, taps, tap, last, sums)
            scale[0] = scales[tap]
            for i in range(run):
                sums[i] = scale[0] * sums[i] - base[i]  # in the dtype of values: others take twice the time
            _put_counted(sums, counts, into)
            tap = last
        tap = 0
        for term in range(n_values, n_terms - 1):
            into, last = terms[term, first : first + run], _end_of_row(error_rows, tap)
            _sum_neighbours(errors, at, error_taps, tap, last, sums)
            _put_counted(sums, counts, into)
            tap = last
        _means_along_lines(values, at, pairs, norms, noise, above, below)
        into, goal = terms[n_terms - 1, first : first + run], target[first : first + run]
        for i in range(run):
            into[i] = above[i] - np.float32(base[i])
            sums[i] = (wanted[first + i] << 3) - base[i]
            base[i] = (base[i] + 4) >> 3
        _put_counted(sums, counts, goal)
        _sum_distances(values, at, base, nearest, 0, len(nearest), sums)
        around = spread[first : first + run]
        for i in range(run):
            around[i] = of_each * np.float32(sums[i])
        _set_rest_to_zero(into, counts)
        _set_rest_to_zero(around, counts)


@compiled_fast
def sample_shells(
    values: Ints, errors: Ints, prediction: Ints, places: NDArray[np.int64], wanted: Ints,
    is_counted: NDArray[np.bool_], neighbours: Shells, step: int, shells: Floats, sizes: Floats,
) -> None:  # fmt: skip
    """Compute the terms of the activity at the places of runs, and the sizes of errors in whole steps.

    They are 0 where no voxel counts.

    Parameters
    ----------
    places, wanted, is_counted : see :func:`choose_runs`.
    values to prediction, neighbours : see :func:`.kernels.activity`.
    shells : (n_shells, voxels), in eighths; overwritten.
    sizes : in eighths; overwritten.
    """
    taps, rows, error_taps, error_rows = neighbours
    run = len(wanted) // len(places)
    sums, centres, none = np.empty(run, values.dtype), np.empty(run, values.dtype), np.zeros(run, values.dtype)
    unit = np.float32(8.0 * step)
    for number in range(len(places)):
        first = _first_of_run(number, len(places), run)
        at, counts = places[first // run], is_counted[first : first + run]
        for i in range(run):
            centres[i] = (prediction[at + i] + 4) >> 3
        tap = 0
        while tap < len(taps):
            into, last = shells[rows[tap], first : first + run], _end_of_row(rows, tap)
            _sum_distances(values, at, centres, taps, tap, last, sums)
            for i in range(run):
                into[i] = np.float32(8.0) * np.float32(sums[i])
            _set_rest_to_zero(into, counts)
            tap = last
        tap = 0
        while tap < len(error_taps):
            into, last = shells[error_rows[tap], first : first + run], _end_of_row(error_rows, tap)
            _sum_distances(errors, at, none, error_taps, tap, last, sums)
            _put_counted(sums, counts, into)
            tap = last
        into = sizes[first : first + run]
        for i in range(run):
            off = np.float32(abs(wanted[first + i] - centres[i])) + np.float32(step // 2)
            into[i] = unit * np.floor(off / np.float32(step))
        _set_rest_to_zero(into, counts)
