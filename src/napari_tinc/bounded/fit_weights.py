"""Fit the weights of a prediction stage to the voxels of a box, by least squares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..control import Check
from . import kernels
from .kernels import WEIGHT_BITS
from .prediction import ACTIVITY_BITS, Ints, ParityStage

MAX_WEIGHT = 2**15 - 1  # Larger weights of a prediction are cut, here and by a decoder.
MAX_ACTIVITY = 2**16 - 1  # Larger weights of the activity are cut, here and by a decoder.

FIT_VOXELS = 300  # Stages of fewer voxels store no weights.
FIT_SAMPLES = 24000  # This many voxels of a stage are fitted to, at most.
FIT_ROUNDS = 3  # Rounds of weighted least squares, on every second of these; one more on all follows.


def fit_weights(
    stage: ParityStage, wanted: Ints, voxels: NDArray[np.int64], before: list[int], check: Check
) -> tuple[list[int], list[int]] | None:
    """Fit weights that make the errors of a stage small, and weights of the activity that foresee their size.

    Parameters
    ----------
    wanted : the integers of the stage.
    voxels : indices of the voxels that count, into the flat stage.
    before : weights that hold if nothing is stored.

    Returns
    -------
    Both lists of weights as stored integers; None if new weights hardly pay.
    """
    count = len(voxels)
    if count < len(stage.terms):
        return None
    if count > FIT_SAMPLES:  # one at random in each of as many equal parts
        within = np.random.default_rng(0).random(FIT_SAMPLES)
        voxels = voxels[((np.arange(FIT_SAMPLES) + within) * (count / FIT_SAMPLES)).astype(np.int64)]
    sampled = stage.sampled(voxels)
    terms = sampled.terms()
    check()
    wanted_here = wanted[np.unravel_index(voxels, wanted.shape)].astype(np.int64)
    target = ((wanted_here << 3) - sampled.base).astype(np.float64)
    unit = 8.0 * stage.known.step
    weights = np.array(before) / 2**WEIGHT_BITS
    sizes = _sizes_of_errors(terms, target, weights)
    if float(np.log2(1 + 2 * sizes[::4] / unit).mean()) * count < 20 * len(weights):  # bits of all errors
        return None
    spread = sampled.spread()
    half = np.ascontiguousarray(terms[:, ::2]), np.ascontiguousarray(target[::2])
    sizes = sizes[::2]
    for _ in range(FIT_ROUNDS):
        weights = _solve(*half, _importance(sizes, spread[::2], unit))
        sizes = _sizes_of_errors(*half, weights)
    weights = _solve(terms, target, _importance(_sizes_of_errors(terms, target, weights), spread, unit))
    check()
    stored = np.clip(np.rint(weights * 2**WEIGHT_BITS), -MAX_WEIGHT, MAX_WEIGHT).astype(np.int64).tolist()
    centres = (sampled.at(stage.predict(stored)) + 4) >> 3
    shells = sampled.shells(centres)
    check()
    step = stage.known.step  # only whole steps are coded
    foreseen = 8.0 * step * ((np.abs(wanted_here - centres) + step // 2) // step)
    activity = np.maximum(_solve(shells, foreseen, np.ones(len(foreseen))), 0)
    for _ in range(FIT_ROUNDS):  # weighted squares approach relative errors
        activity = np.maximum(_solve(shells, foreseen, 1 / (activity @ shells + 0.05 * unit) ** 2), 0)
    quantized = np.clip(np.rint(activity * 2**ACTIVITY_BITS), 0, MAX_ACTIVITY).astype(np.int64)
    return stored, quantized.tolist()


def _sizes_of_errors(
    terms: NDArray[np.float64], target: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the sizes of the errors of a weighted sum of terms."""
    out = np.empty(len(target))
    kernels.residuals(terms, target, weights, out)
    return np.abs(out)


def _importance(sizes: NDArray[np.float64], spread: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    """Return by how much the squares of errors count, given their sizes and how far neighbours are from each other.

    Squares over their sizes approach the sum of absolute errors. Over the spread, errors count less where the voxels
    around differ anyway: their tables (entropy.py) spend fewer bits on the same error.
    """
    mean = float(sizes.mean())
    expected = spread * (mean / max(float(spread.mean()), 1e-300))
    return np.asarray(1 / ((sizes + 0.25 * mean + 0.3 * unit) * (expected + mean + 2 * unit)))


def _solve(
    terms: NDArray[np.float64], target: NDArray[np.float64], sample_weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Solve for weighted least squares, slightly drawn towards zero so that equal terms share their weight."""
    n = len(terms)
    matrix, right = np.empty((n, n)), np.empty(n)
    kernels.normal_equations(terms, target, sample_weights, matrix, right)
    scale = float(np.trace(matrix)) / n
    return np.asarray(np.linalg.solve(matrix + np.eye(n) * (1e-7 * scale + 1e-9), right), np.float64)
