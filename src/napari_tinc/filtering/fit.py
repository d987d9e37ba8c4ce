"""Fit a filter by least squares, and decide how many coefficients pay for their bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Check, never
from .filter import CLASSES, Filter
from .terms import ORBITS, padded_slab, slabs, terms

FIT_VOXELS = 2**20  # About so many voxels are looked at: more would not change the coefficients.
UNITS = (1.0, 3.0)  # Terms are clipped at one of these times their mean size.
BITS = (4, 5, 6, 7, 8, 9)  # Coefficients are tried in units of 2^-bits.
LARGEST = 2**12  # A coefficient has at most this magnitude, in its unit.
# What twice the bytes would gain without a filter, in dB, of 0 bits a voxel, and more for each: the price of its bytes.
DB_PER_DOUBLING = 4.0
MORE_DB_PER_BIT = 4.0
WORTH_DB = 0.02  # A filter that gains less, after this price, is left out.
RIDGE = 1e-7  # Added to the normal equations, as a share: terms that are nearly alike get no large coefficients.
N = len(ORBITS)

Pair = tuple[NDArray[Any], NDArray[Any]]  # an original box and the decoded one


def fit_filter(
    pairs: Sequence[Pair],
    value_range: tuple[float, float],
    nbytes: int,
    bits_per_voxel: float,
    most_bytes: int,
    check: Check = never,
) -> Filter | None:
    """Fit the filter that brings decoded boxes closest to their originals, for its bytes; None if none pays.

    Parameters
    ----------
    pairs : originals and decoded boxes, (z, y, x) each.
    value_range : smallest and largest value of the volume.
    nbytes, bits_per_voxel : of all boxes.
    most_bytes : most bytes that the filter may have.
    """
    low, high = map(float, value_range)
    span = high - low
    if not (0 < span < math.inf and pairs):
        return None
    unit = np.float32(_mean_size(pairs, low, span))
    if not 0 < unit < math.inf:
        return None
    units = [float(np.float32(factor) * unit) for factor in UNITS]
    moments = _Moments(units)
    for padded, wanted in _samples(pairs, low, span, FIT_VOXELS):
        check()
        moments.add(padded, wanted)
    best, best_gain = None, WORTH_DB
    for candidate, gain in moments.candidates():
        size = len(candidate.pack())
        net = gain - (DB_PER_DOUBLING + MORE_DB_PER_BIT * bits_per_voxel) * math.log2(1 + size / nbytes)
        if size <= most_bytes and net > best_gain:
            best, best_gain = candidate, net
    return best


def _samples(
    pairs: Sequence[Pair], low: float, span: float, n_voxels: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64]]]:
    """Yield slabs of about so many voxels: padded, and what a filter should add, as shares of the range."""
    places = [(pair, slab) for pair in pairs for slab in slabs(pair[0].shape)]
    voxels = [(slab.stop - slab.start) * pair[0][0].size for pair, slab in places]
    stride = max(1, round(sum(voxels) / n_voxels))
    for (original, decoded), slab in places[stride // 2 :: stride]:
        wanted = np.subtract(original[slab], decoded[slab], dtype=np.float64) / span
        yield padded_slab(decoded, slab, low, span), wanted


def _mean_size(pairs: Sequence[Pair], low: float, span: float) -> float:
    """Return the mean size of the terms of the nearest neighbours."""
    total, count = 0.0, 0
    for padded, _ in _samples(pairs, low, span, FIT_VOXELS // 8):
        for _, term in zip(range(3), terms(padded), strict=False):
            total += float(np.abs(term).sum(dtype=np.float64))
            count += term.size
    return total / max(count, 1)


class _Moments:
    """Sums over voxels that least squares need, for each parity: of the terms, clipped at each unit, and a constant."""

    def __init__(self, units: Sequence[float]) -> None:
        self._units = units
        n = N * (1 + len(units)) + 1
        self._products, self._wanted = np.zeros((8, n, n)), np.zeros((8, n))
        self._squares = 0.0

    def add(self, padded: NDArray[np.float32], wanted: NDArray[np.float64]) -> None:
        """Add the voxels of a slab that begins at an even plane."""
        plain = list(terms(padded))
        clipped = [np.clip(term, -unit, unit) for unit in map(np.float32, self._units) for term in plain]
        columns = [*plain, *clipped, np.full_like(plain[0], self._units[0])]
        self._squares += float(np.square(wanted).sum())
        for parity, (z, y, x) in enumerate(np.ndindex(2, 2, 2)):
            place = slice(z, None, 2), slice(y, None, 2), slice(x, None, 2)
            rows = np.stack([column[place].ravel() for column in columns]).astype(np.float64)
            self._products[parity] += rows @ rows.T
            self._wanted[parity] += rows @ wanted[place].ravel()

    def candidates(self) -> Iterator[tuple[Filter, float]]:
        """Yield filters with different numbers of coefficients, and the dB that each gains."""
        if not self._squares:
            return
        for n_classes, of_parity in CLASSES.items():
            products, wanted = (
                np.stack([sums[[k for k in range(8) if of_parity[k] == c]].sum(axis=0) for c in range(n_classes)])
                for sums in (self._products, self._wanted)
            )
            for clipped in (None, *range(len(self._units))):
                at = 0 if clipped is None else clipped
                chosen = [*range(N), *(range(N * (at + 1), N * (at + 2)) if clipped is not None else ()), -1]
                scale = np.ones(len(chosen))
                scale[-1] = self._units[at] / self._units[0]  # the constant is in units of the filter
                square = products[:, chosen][:, :, chosen] * scale * scale[:, None]
                right = wanted[:, chosen] * scale
                solved = np.stack([_solve(a, b) for a, b in zip(square, right, strict=True)])
                for bits in BITS:
                    integers = np.clip(np.rint(solved * 2.0**bits), -LARGEST, LARGEST).astype(np.int32)
                    rounded = integers * 2.0**-bits
                    gained = float((2 * rounded * right).sum() - np.einsum("ci,cij,cj", rounded, square, rounded))
                    share = max(1 - gained / self._squares, 1e-9)
                    yield Filter(integers, bits, self._units[at]), -10 * math.log10(share)


def _solve(products: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve normal equations, slightly damped."""
    size = np.sqrt(np.maximum(np.diag(products), 1e-300))
    scaled = products / size / size[:, None]
    solved: NDArray[np.float64] = np.linalg.solve(scaled + RIDGE * np.eye(len(size)), wanted / size) / size
    return np.where(np.diag(products) > 0, solved, 0)
