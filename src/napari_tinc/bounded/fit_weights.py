"""Fit the weights of a prediction stage to the voxels of a box, by least squares."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..control import Check
from .prediction import ACTIVITY_BITS, WEIGHT_BITS, Ints, ParityStage

MAX_WEIGHT = 2**15 - 1  # Larger weights of a prediction are cut, here and by a decoder.
MAX_ACTIVITY = 2**16 - 1  # Larger weights of the activity are cut, here and by a decoder.

FIT_VOXELS = 300  # Stages of fewer voxels store no weights.
FIT_SAMPLES = 40000  # This many voxels of a stage are fitted to, at most.
FIT_ROUNDS = 3  # Rounds of weighted least squares.
BLOCK_PRODUCTS = 2**18  # Larger products run on threads of BLAS, which wait longer than they work.


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
    if count > FIT_SAMPLES:
        voxels = voxels[np.sort(np.random.default_rng(0).choice(count, FIT_SAMPLES, replace=False))]
    terms = _sampled((stage.term(*term) for term in stage.terms), voxels, check)
    target = ((wanted.astype(np.int64) << 3) - stage.base).ravel()[voxels].astype(np.float64)
    unit = 8.0 * stage.known.step

    def bits(weights: NDArray[np.float64]) -> float:
        """Estimate the bits of all errors under some weights."""
        return float(np.log2(1 + 2 * np.abs(target - terms @ weights) / unit).sum()) * count / len(voxels)

    old = np.array(before) / 2**WEIGHT_BITS
    weights = old
    for _ in range(FIT_ROUNDS):  # weighted squares approach the sum of absolute errors
        sizes = np.abs(target - terms @ weights)
        weighted = terms / (sizes + sizes.mean() + 0.3 * unit)[:, None]
        weights = _solve(_product(weighted, terms), weighted.T @ target)
    stored = np.clip(np.rint(weights * 2**WEIGHT_BITS), -MAX_WEIGHT, MAX_WEIGHT).astype(np.int64)
    if bits(old) < 20 * len(stored):
        return None
    prediction = stage.predict(stored.tolist())
    centre = (prediction + 4) >> 3
    shells = _sampled((stage.shell(*shell, centre) for shell in stage.shells), voxels, check)
    step = stage.known.step  # only whole steps are coded
    steps = (np.abs(wanted.astype(np.int64) - centre) + step // 2) // step
    sizes = 8.0 * step * steps.ravel()[voxels]
    activity = np.maximum(_solve(_product(shells, shells), shells.T @ sizes), 0)
    for _ in range(FIT_ROUNDS):  # weighted squares approach relative errors
        weighted = shells / ((shells @ activity + 0.05 * unit) ** 2)[:, None]
        activity = np.maximum(_solve(_product(weighted, shells), weighted.T @ sizes), 0)
    quantized = np.clip(np.rint(activity * 2**ACTIVITY_BITS), 0, MAX_ACTIVITY).astype(np.int64)
    return stored.tolist(), quantized.tolist()


def _sampled(arrays: Iterable[Ints], voxels: NDArray[np.int64], check: Check) -> NDArray[np.float64]:
    """Return some voxels of each array, (n_voxels, n_arrays)."""
    columns = []
    for array in arrays:
        check()
        columns.append(array.ravel()[voxels])
    return np.stack(columns, axis=1).astype(np.float64)


def _product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute ``a.T @ b``, a few rows at a time.

    BLAS runs larger products on threads, which wait longer than they work.
    """
    rows = max(1, BLOCK_PRODUCTS // (a.shape[1] * b.shape[1]))
    total = np.zeros((a.shape[1], b.shape[1]))
    for first in range(0, len(a), rows):
        total += a[first : first + rows].T @ b[first : first + rows]
    return total


def _solve(matrix: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve for least squares, slightly drawn towards zero so that equal terms share their weight."""
    scale = float(np.trace(matrix)) / len(right)
    return np.asarray(np.linalg.solve(matrix + np.eye(len(right)) * (1e-7 * scale + 1e-9), right), np.float64)
