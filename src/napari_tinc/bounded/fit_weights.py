"""Fit the weights of a prediction stage to the voxels of a box, by least squares.

What is fitted need not be the same bits on every machine, as the weights are stored.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled, compiled_fast
from ..control import Check
from . import fit_kernels
from .fit_kernels import RUN, Floats
from .kernels import WEIGHT_BITS
from .prediction import ACTIVITY_BITS, Ints, ParityStage

MAX_WEIGHT = 2**15 - 1  # Larger weights of a prediction are cut, here and by a decoder.
MAX_ACTIVITY = 2**16 - 1  # Larger weights of the activity are cut, here and by a decoder.

FIT_VOXELS = 300  # Stages of fewer voxels store no weights.
FIT_SAMPLES = 24000  # This many voxels of a stage are fitted to, at most,
FIT_SHARE = 4  # and one of this many,
LEAST_SAMPLES = 8000  # but at least this many if there are as many.
FIT_ROUNDS = 3  # Rounds of weighted least squares for the prediction,
ACTIVITY_ROUNDS = 2  # and for the activity; a third one makes files no smaller.
MOST_SCRATCH = 4  # Arrays that are kept for the next fits of all threads,
LARGEST_SCRATCH = 2**20  # each of so many numbers at most.
_SCRATCH: list[Floats] = []
BLOCK = 512  # Voxels that are worked on at a time.
PRODUCT = 64  # Every fourth of so many factors are multiplied before a logarithm is taken, which takes longer.


def fit_weights(
    stage: ParityStage, wanted: Ints, counted: NDArray[np.bool_] | None, before: list[int], check: Check
) -> tuple[list[int], Callable[[], list[int]]] | None:
    """Fit weights that make the errors of a stage small, and weights of the activity that foresee their size.

    Parameters
    ----------
    wanted : the integers of the stage, (z, y, x).
    counted : which voxels of the flat stage count; None for all.
    before : weights that hold if nothing is stored.

    Returns
    -------
    The weights of the prediction as stored integers, and what fits those of the activity, once all voxels have been
    predicted with these; None if new weights hardly pay.
    """
    known, near, offsets, step = stage.known, stage.near, stage.offsets, stage.known.step
    n_terms, n_shells = len(near.terms), len(near.shells)
    count = stage.size if counted is None else int(np.count_nonzero(counted))
    if count < n_terms:
        return None
    n_samples = min(FIT_SAMPLES, max(LEAST_SAMPLES, count // FIT_SHARE))
    places, of_runs, is_counted = fit_kernels.choose_runs(
        wanted, np.zeros(0, np.bool_) if counted is None else counted, *stage.layout, n_samples, _random()
    )
    values, errors = known.values.reshape(-1), known.errors.reshape(-1)
    n_rows = n_terms + n_shells + 2
    scratch = _take_scratch(n_rows * len(of_runs))
    samples = scratch[: n_rows * len(of_runs)].reshape(n_rows, len(of_runs))
    terms, shells, target, spread = samples[:n_terms], samples[n_terms:-2], samples[-2], samples[-1]

    def sample_terms(some: slice) -> None:
        """Compute the terms of the prediction in some runs."""
        fit_kernels.sample_terms(
            values, errors, places, of_runs, is_counted, offsets.taps, near.n_values, stage.noise,
            offsets.spread[near.spread_of == 0], some.start, some.stop, terms, target, spread,
        )  # fmt: skip

    known.workers.share((len(places), RUN), sample_terms)
    check()
    unit, weights = 8.0 * step, np.array(before) / 2**WEIGHT_BITS
    few_bits = 20 * n_terms / count
    if not fit_prediction(terms, target, spread, is_counted, unit, FIT_ROUNDS, few_bits, weights):
        _give_scratch(scratch)
        return None
    check()
    stored = np.clip(np.rint(weights * 2**WEIGHT_BITS), -MAX_WEIGHT, MAX_WEIGHT).astype(np.int64).tolist()

    def activity_weights() -> list[int]:
        """Fit the weights of the activity."""
        fit_kernels.sample_shells(
            values, errors, stage.prediction, places, of_runs, is_counted, offsets.shells, step, shells, target,
        )  # fmt: skip
        activity = np.empty(n_shells)
        fit_activity(shells, target, unit, ACTIVITY_ROUNDS, activity)
        _give_scratch(scratch)
        return np.clip(np.rint(activity * 2**ACTIVITY_BITS), 0, MAX_ACTIVITY).astype(np.int64).tolist()

    return stored, activity_weights


def _take_scratch(size: int) -> Floats:
    """Return an array of at least so many numbers, one that was used before if there is any: new memory takes time."""
    with suppress(IndexError):
        scratch = _SCRATCH.pop()
        if len(scratch) >= size:
            return scratch
    return np.empty(size, np.float32)


def _give_scratch(scratch: Floats) -> None:
    """Keep an array for the next fit, unless several are kept already, or it is large."""
    if len(_SCRATCH) < MOST_SCRATCH and len(scratch) <= LARGEST_SCRATCH:
        _SCRATCH.append(scratch)


@cache
def _random() -> NDArray[np.float64]:
    """Return the same random numbers from 0 to 1 for all fits: one for each run, which may be of one voxel only."""
    return np.random.default_rng(0).random(FIT_SAMPLES)


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
    weighted : scratch, two rows at least as long as ``wanted``.
    sums : (n_terms + 1, n_terms + 4), of each term with those up to it; what is beyond is not used.
    """
    count, n = len(terms), len(wanted)
    one, other = weighted[0, :n], weighted[1, :n]
    for a in range(0, count, 2):  # two by four at a time
        row, next_row = terms[a, first : first + n], terms[min(a + 1, count - 1), first : first + n]
        total, next_total = np.float32(0.0), np.float32(0.0)
        for i in range(n):
            one[i], other[i] = row[i] * importance[i], next_row[i] * importance[i]
            total += one[i] * wanted[i]
            next_total += other[i] * wanted[i]
        right[a] += total
        if a + 1 < count:
            right[a + 1] += next_total
        for b in range(0, a + 2, 4):
            b0, b1 = terms[b, first : first + n], terms[min(b + 1, count - 1), first : first + n]
            b2 = terms[min(b + 2, count - 1), first : first + n]
            b3 = terms[min(b + 3, count - 1), first : first + n]
            t0, t1, t2, t3 = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
            u0, u1, u2, u3 = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for i in range(n):
                t0 += one[i] * b0[i]
                t1 += one[i] * b1[i]
                t2 += one[i] * b2[i]
                t3 += one[i] * b3[i]
                u0 += other[i] * b0[i]
                u1 += other[i] * b1[i]
                u2 += other[i] * b2[i]
                u3 += other[i] * b3[i]
            sums[a, b] += t0
            sums[a, b + 1] += t1
            sums[a, b + 2] += t2
            sums[a, b + 3] += t3
            sums[a + 1, b] += u0
            sums[a + 1, b + 1] += u1
            sums[a + 1, b + 2] += u2
            sums[a + 1, b + 3] += u3


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
    right, weighted = np.empty(count), np.empty((2, BLOCK), np.float32)
    errors, importance = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    one, two, floor, mean = np.float32(1.0), np.float32(2.0), np.float32(0.0), np.float32(0.0)
    half = (n // RUN + 1) // 2 * RUN
    n_half, around_all, least, bits = 0, np.float32(0.0), np.float32(unit), 0.0
    for i in range(half):
        n_half += is_counted[i]
    n_all = n_half
    for i in range(half, n):
        n_all += is_counted[i]
    for i in range(n):
        around_all += spread[i]
    usual = around_all / n_all
    for round_ in range(rounds + 2):
        sums = np.zeros((count + 1, count + 4))
        right[:] = 0.0
        last, n_counted = (n, n_all) if round_ > rounds else (half, n_half)
        total, n_counted = 0.0, max(1, n_counted)
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
                _add_products(terms, first, weight, wanted, weighted, sums, right)
            else:
                for start in range(0, size, PRODUCT):
                    product = 1.0
                    for i in range(start, min(start + PRODUCT, size), 4):
                        product *= float(one + two * abs(part[i]) / least)
                    bits += np.log2(product)
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
    right, weighted = np.empty(count), np.empty((2, BLOCK), np.float32)
    sums_of, importance = np.empty(BLOCK, np.float32), np.ones(BLOCK, np.float32)
    for round_ in range(rounds + 1):
        sums = np.zeros((count + 1, count + 4))
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
            _add_products(shells, first, weight, foreseen[first : first + size], weighted, sums, right)
        solve(sums, right, weights)
        for k in range(count):
            weights[k] = max(weights[k], 0.0)
