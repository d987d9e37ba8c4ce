"""Fit the weights of a prediction stage to the voxels of a box, by least squares."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..control import Check
from . import fit_kernels
from .kernels import WEIGHT_BITS
from .prediction import ACTIVITY_BITS, Ints, ParityStage

MAX_WEIGHT = 2**15 - 1  # Larger weights of a prediction are cut, here and by a decoder.
MAX_ACTIVITY = 2**16 - 1  # Larger weights of the activity are cut, here and by a decoder.

FIT_VOXELS = 300  # Stages of fewer voxels store no weights.
FIT_SAMPLES = 24000  # This many voxels of a stage are fitted to, at most,
FIT_SHARE = 3  # and one of this many,
LEAST_SAMPLES = 8000  # but at least this many if there are as many.
FIT_ROUNDS = 3  # Rounds of weighted least squares for the prediction,
ACTIVITY_ROUNDS = 2  # and for the activity; a third one makes files no smaller.


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
    The weights of the prediction as stored integers, and what fits those of the activity, whenever it is called; None
    if new weights hardly pay.
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
    samples = np.empty((n_terms + n_shells, len(of_runs)), np.float32)
    target, spread = np.empty((2, len(of_runs)), np.float32)
    terms, shells = samples[:n_terms], samples[n_terms:]
    blocks = -(-len(of_runs) // fit_kernels.BLOCK), fit_kernels.BLOCK

    def sample_terms(some: slice) -> None:
        """Compute the terms of the prediction in some blocks of runs."""
        fit_kernels.sample_terms(
            values, errors, places, of_runs, is_counted, offsets.values, near.values_of % (n_terms + 1), near.scales,
            near.n_values, offsets.errors, near.errors_of, offsets.pairs, near.norms, stage.noise,
            offsets.spread[near.spread_of == 0], *_voxels_of(some, len(of_runs)), terms, target, spread,
        )  # fmt: skip

    known.workers.share(blocks, sample_terms)
    check()
    unit, weights = 8.0 * step, np.array(before) / 2**WEIGHT_BITS
    few_bits = 20 * n_terms / count
    if not fit_kernels.fit_prediction(terms, target, spread, is_counted, unit, FIT_ROUNDS, few_bits, weights):
        return None
    check()
    stored = np.clip(np.rint(weights * 2**WEIGHT_BITS), -MAX_WEIGHT, MAX_WEIGHT).astype(np.int64).tolist()
    prediction = stage.predict(stored)

    def fit_activity() -> list[int]:
        """Fit the weights of the activity."""
        fit_kernels.sample_shells(
            values, errors, prediction, places, of_runs, is_counted, offsets.spread, near.spread_of, offsets.sizes,
            near.sizes_of, step, shells, target,
        )  # fmt: skip
        activity = np.empty(n_shells)
        fit_kernels.fit_activity(shells, target, unit, ACTIVITY_ROUNDS, activity)
        return np.clip(np.rint(activity * 2**ACTIVITY_BITS), 0, MAX_ACTIVITY).astype(np.int64).tolist()

    return stored, fit_activity


def _voxels_of(blocks: slice, count: int) -> tuple[int, int]:
    """Return the first voxel of some blocks, and the first one beyond them."""
    return blocks.start * fit_kernels.BLOCK, min(count, blocks.stop * fit_kernels.BLOCK)


@cache
def _random() -> NDArray[np.float64]:
    """Return the same random numbers from 0 to 1 for all fits: one for each run, which may be of one voxel only."""
    return np.random.default_rng(0).random(FIT_SAMPLES)
