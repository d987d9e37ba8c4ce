"""The arithmetic of fits of weights, compiled: terms of some voxels of a stage, and weighted least squares.

*Places* are those of voxels in the padded arrays of kernels.py. Terms are exact; what is fitted to them need not be the
same bits on every machine, as the weights are stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled, compiled_fast
from .kernels import mean_along_lines, weight_of_pair

BLOCK = 128  # Samples that are worked on at a time.

Floats = NDArray[np.float64]
Ints = NDArray[Any]  # int32 or int64


@compiled
def places_and_values(
    voxels: NDArray[np.int64], wanted: Ints, origin: int, plane: int, row: int, places: NDArray[np.int64],
    values: NDArray[np.int64],
) -> None:  # fmt: skip
    """Put the places of voxels, which are numbers of the flat stage, and what is wanted of them into arrays."""
    in_plane, nx = np.uint32(wanted.shape[1] * wanted.shape[2]), np.uint32(wanted.shape[2])
    for i in range(len(voxels)):
        voxel = np.uint32(voxels[i])  # which divides faster, and a box has fewer than 2^32
        z = voxel // in_plane
        y = (voxel - z * in_plane) // nx
        x = voxel - z * in_plane - y * nx
        places[i] = origin + np.int64(z) * plane + np.int64(y) * row + np.int64(x)
        values[i] = wanted[np.uint64(z), np.uint64(y), np.uint64(x)]


@compiled
def add_neighbours(
    flat: Ints, places: NDArray[np.int64], taps: NDArray[np.int64], rows: NDArray[np.int64], scales: NDArray[np.int64],
    out: Floats,
) -> None:  # fmt: skip
    """Add the neighbours of some places, multiplied, each to its row of ``out``, (rows, places). Sums are exact."""
    for first in range(0, len(places), BLOCK):
        n = min(BLOCK, len(places) - first)
        here = places[first : first + n]
        for tap in range(len(taps)):
            offset, scale = taps[tap], np.float64(scales[tap])
            total = out[rows[tap], first : first + n]
            for i in range(n):
                total[i] += scale * np.float64(flat[np.uint64(here[i] + offset)])


@compiled
def add_distances(
    flat: Ints, places: NDArray[np.int64], centres: NDArray[np.int64], taps: NDArray[np.int64],
    rows: NDArray[np.int64], scale: float, out: Floats,
) -> None:  # fmt: skip
    """Add how far the neighbours of some places are from ``centres``, multiplied, each to its row of ``out``."""
    for first in range(0, len(places), BLOCK):
        n = min(BLOCK, len(places) - first)
        here, around = places[first : first + n], centres[first : first + n]
        for tap in range(len(taps)):
            offset = taps[tap]
            total = out[rows[tap], first : first + n]
            for i in range(n):
                total[i] += scale * np.float64(abs(flat[np.uint64(here[i] + offset)] - around[i]))


@compiled
def means_along_lines(
    values: Ints, places: NDArray[np.int64], pairs: NDArray[np.int64], norms: Floats, noise: float, most: int,
    out: Floats,
) -> None:  # fmt: skip
    """Compute the means along lines at some places, as :func:`.kernels.predict` does."""
    above, below = np.zeros(len(places)), np.zeros(len(places))
    for pair in range(len(norms)):
        one_at, other_at, norm = pairs[pair, 0], pairs[pair, 1], norms[pair]
        for i in range(len(places)):
            one = np.float64(values[np.uint64(places[i] + one_at)])
            other = np.float64(values[np.uint64(places[i] + other_at)])
            weight = weight_of_pair(one, other, norm, noise)
            above[i] += weight * (one + other)
            below[i] += weight
    for i in range(len(places)):
        out[i] = mean_along_lines(above[i], below[i], most)


@compiled_fast
def add_residuals(terms: Floats, first: int, weights: Floats, out: Floats) -> None:
    """Subtract the weighted sum of terms, (n_terms, n), from ``out``, which has samples from the first on."""
    n = len(out)
    for term in range(len(terms)):
        row, weight = terms[term, first : first + n], weights[term]
        for i in range(n):
            out[i] -= weight * row[i]


@compiled_fast
def add_products(
    terms: Floats, first: int, importance: Floats, wanted: Floats, weighted: Floats, sums: Floats, right: Floats
) -> None:
    """Add the weighted products of terms with each other, and with what is wanted, of samples from the first on.

    Parameters
    ----------
    weighted : scratch, as long as ``wanted``.
    sums : (n_terms, n_terms + 3), of each term with those up to it; what is beyond is not used.
    """
    count, n = len(terms), len(wanted)
    for a in range(count):
        row = terms[a, first : first + n]
        total = 0.0
        for i in range(n):
            weighted[i] = row[i] * importance[i]
            total += weighted[i] * wanted[i]
        right[a] += total
        for b in range(0, a + 1, 4):  # four at a time
            b0, b1 = terms[b, first : first + n], terms[min(b + 1, count - 1), first : first + n]
            b2 = terms[min(b + 2, count - 1), first : first + n]
            b3 = terms[min(b + 3, count - 1), first : first + n]
            t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
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
def solve(sums: Floats, right: Floats, weights: Floats) -> None:
    """Solve the normal equations by Cholesky's method, slightly drawn towards zero so that equal terms share a weight.

    ``sums`` and ``right`` are overwritten.
    """
    n = len(right)
    trace = 0.0
    for a in range(n):
        trace += sums[a, a]
    ridge = 1e-7 * trace / n + 1e-9
    for a in range(n):
        sums[a, a] += ridge
        for b in range(a + 1):
            total = sums[a, b]
            for k in range(b):
                total -= sums[a, k] * sums[b, k]
            sums[a, b] = np.sqrt(max(total, ridge * 1e-3)) if a == b else total / sums[b, b]
    for a in range(n):
        for k in range(a):
            right[a] -= sums[a, k] * right[k]
        right[a] /= sums[a, a]
    for a in range(n - 1, -1, -1):
        for k in range(a + 1, n):
            right[a] -= sums[k, a] * right[k]
        right[a] /= sums[a, a]
    weights[:] = right


@compiled
def fit_prediction(terms: Floats, target: Floats, spread: Floats, unit: float, rounds: int, weights: Floats) -> None:
    """Fit weights of terms, (n_terms, n), to a target: the sum of absolute errors, by reweighted squares.

    Squares over the sizes of errors approach absolute errors. Over the spread, errors count less where the voxels
    around differ anyway: tables of tokens (entropy.py) spend fewer bits on the same error there.

    Parameters
    ----------
    spread : how far neighbours are from each other at every sample.
    unit : of an error that takes bits.
    rounds : on the first half of the samples; one more on all follows.
    weights : begins with these; overwritten.
    """
    count, n = terms.shape
    right, weighted, errors, importance = np.empty(count), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    mean, usual = -1.0, spread.mean()
    for round_ in range(rounds + 2):
        sums = np.zeros((count, count + 3))
        right[:] = 0.0
        total, last = 0.0, n if round_ > rounds else n // 2
        for first in range(0, last, BLOCK):
            size = min(BLOCK, last - first)
            part, weight, wanted = errors[:size], importance[:size], target[first : first + size]
            part[:] = wanted
            add_residuals(terms, first, weights, part)
            for i in range(size):
                total += abs(part[i])
            if mean >= 0:
                scale = mean / usual if usual > 0 else 0.0
                for i in range(size):
                    expected = spread[first + i] * scale
                    weight[i] = 1.0 / ((abs(part[i]) + 0.25 * mean + 0.3 * unit) * (expected + mean + 2.0 * unit))
                add_products(terms, first, weight, wanted, weighted[:size], sums, right)
        if mean >= 0:
            solve(sums, right, weights)
        mean = total / last


@compiled
def fit_activity(shells: Floats, foreseen: Floats, unit: float, rounds: int, weights: Floats) -> None:
    """Fit weights, 0 or above, of terms of the activity, (n_shells, n), to sizes of errors, by relative squares."""
    count, n = shells.shape
    right, weighted, sums_of, importance = np.empty(count), np.empty(BLOCK), np.empty(BLOCK), np.ones(BLOCK)
    for round_ in range(rounds + 1):
        sums = np.zeros((count, count + 3))
        right[:] = 0.0
        for first in range(0, n, BLOCK):
            size = min(BLOCK, n - first)
            part, weight = sums_of[:size], importance[:size]
            if round_:
                part[:] = 0.0
                add_residuals(shells, first, weights, part)
                for i in range(size):
                    off = 0.05 * unit - part[i]
                    weight[i] = 1.0 / (off * off)
            add_products(shells, first, weight, foreseen[first : first + size], weighted[:size], sums, right)
        solve(sums, right, weights)
        for k in range(count):
            weights[k] = max(weights[k], 0.0)
