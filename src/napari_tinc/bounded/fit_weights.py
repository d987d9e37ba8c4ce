"""Fit the weights of a prediction stage to the voxels of a box, by least squares."""

from __future__ import annotations

from functools import lru_cache

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
FIT_ROUNDS = 3  # Rounds of weighted least squares.


def fit_weights(
    stage: ParityStage, wanted: Ints, voxels: NDArray[np.int64] | None, before: list[int], check: Check
) -> tuple[list[int], list[int]] | None:
    """Fit weights that make the errors of a stage small, and weights of the activity that foresee their size.

    Parameters
    ----------
    wanted : the integers of the stage, (z, y, x).
    voxels : indices of the voxels that count, into the flat stage; None for all.
    before : weights that hold if nothing is stored.

    Returns
    -------
    Both lists of weights as stored integers; None if new weights hardly pay.
    """
    count = stage.size if voxels is None else len(voxels)
    if count < len(stage.terms):
        return None
    sampled = stage.sampled(_sample(count) if voxels is None else voxels[_sample(count)], wanted)
    terms = sampled.terms()
    check()
    target = ((sampled.wanted << 3) - sampled.base).astype(np.float64)
    unit = 8.0 * stage.known.step
    weights = np.array(before) / 2**WEIGHT_BITS
    few = np.abs(target[::8] - weights @ terms[:, ::8])
    if float(np.log2(1 + 2 * few / unit).mean()) * count < 20 * len(weights):  # bits of all errors
        return None
    fit_kernels.fit_prediction(terms, target, sampled.spread(), unit, FIT_ROUNDS, weights)
    check()
    stored = np.clip(np.rint(weights * 2**WEIGHT_BITS), -MAX_WEIGHT, MAX_WEIGHT).astype(np.int64).tolist()
    centres = (sampled.at(stage.predict(stored)) + 4) >> 3
    shells = sampled.shells(centres)
    check()
    step = stage.known.step  # only whole steps are coded
    foreseen = 8.0 * step * ((np.abs(sampled.wanted - centres) + step // 2) // step)
    activity = np.empty(len(shells))
    fit_kernels.fit_activity(shells, foreseen, unit, FIT_ROUNDS, activity)
    quantized = np.clip(np.rint(activity * 2**ACTIVITY_BITS), 0, MAX_ACTIVITY).astype(np.int64)
    return stored, quantized.tolist()


@lru_cache(maxsize=64)
def _sample(count: int) -> NDArray[np.int64]:
    """Return the numbers of the voxels that are fitted to, of so many: one at random in each of as many equal parts.

    Every second one is in the first half.
    """
    n_samples = min(FIT_SAMPLES, max(LEAST_SAMPLES, count // FIT_SHARE), count)
    chosen = np.arange(count)
    if n_samples < count:
        within = np.random.default_rng(0).random(n_samples)
        chosen = ((np.arange(n_samples) + within) * (count / n_samples)).astype(np.int64)
    chosen = np.concatenate([chosen[::2], chosen[1::2]])
    chosen.flags.writeable = False
    return chosen
