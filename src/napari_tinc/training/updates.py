"""The arithmetic on all parameters in a step, compiled: rounding and its price, Adam, Muon."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiled import LANES, compiled, compiled_fast
from ..networks.vector_code import multiply
from .products import Numbers, fill

Doubles = NDArray[np.float64]
Table = NDArray[np.int64]


@compiled
def collect_weights(vector: Numbers, tensors: Table, weights: Numbers) -> None:
    """Copy the vector of parameters to weights as a layout has them; ``tensors`` is its table."""
    for part in range(len(tensors)):
        source, to, _, rows, columns, _ = tensors[part]
        for i in range(rows * columns):
            weights[to + i] = vector[source + i]


@compiled
def add_gradient(gradient: Numbers, tensors: Table, factor: float, vector: Numbers) -> None:
    """Add a gradient of weights as a layout has them, times a factor, to one of the vector of parameters."""
    for part in range(len(tensors)):
        to, _, source, rows, columns, step = tensors[part]
        for r in range(rows):
            for c in range(columns):
                vector[to + r * columns + c] += np.float32(factor) * gradient[source + r * step + c]


@compiled_fast
def round_parameters(
    vector: Numbers, ends: Table, steps: Numbers, scaled: Numbers, rounded: Numbers, magnitude: Doubles
) -> None:
    """Round every tensor to whole multiples of its step.

    Parameters
    ----------
    ends : of each tensor, the place after its last parameter.
    scaled, rounded : overwritten; the parameters in units of their step, and what a decoder will have.
    magnitude : overwritten; the mean magnitude of the integers of each tensor.
    """
    begin = 0
    for t in range(len(ends)):
        total = 0.0
        for i in range(begin, ends[t]):
            scaled[i] = vector[i] / steps[t]
            integer = np.rint(scaled[i])
            rounded[i] = integer * steps[t]
            total += abs(integer)
        magnitude[t] = total / (ends[t] - begin)
        begin = ends[t]


@compiled_fast
def price_rounding(
    gradient: Numbers, ends: Table, steps: Numbers, scaled: Numbers, price: Doubles, toward: Doubles
) -> None:
    """Add to a gradient that of the price of the integers.

    Parameters
    ----------
    price : of each tensor, what a magnitude that grows by 1 costs.
    toward : overwritten; of each tensor, the derivative of the distortion by the logarithm of its step.
    """
    begin = 0
    for t in range(len(ends)):
        total, push = 0.0, np.float32(price[t]) / steps[t]
        for i in range(begin, ends[t]):
            integer = np.rint(scaled[i])
            total += gradient[i] * (integer - scaled[i])
            gradient[i] += push * np.sign(integer)
        toward[t] = total * steps[t]
        begin = ends[t]


@compiled
def update_parameters(
    vector: Numbers, gradient: Numbers, momentum: Numbers, square: Numbers, tensors: Table, muon_keep: float,
    adam_keep: float, square_keep: float, steps: int, muon_rate: float, adam_rate: float, iterations: int,
    coefficients: tuple[float, float, float], work: Numbers,
) -> None:  # fmt: skip
    """Make one step of Muon or Adam on every tensor, in place.

    Parameters
    ----------
    momentum, square : running means of the gradient and of its square.
    tensors : of each, its place in the vector, its three sides, and whether Muon updates it.
    muon_keep, adam_keep, square_keep : share of the running means that is kept.
    steps : steps so far, with this one.
    iterations, coefficients : of :func:`orthogonalize`.
    work : float32, as many as :func:`work_of_muon` says for the largest matrix.
    """
    adam = np.float32(adam_rate / (1 - adam_keep**steps))
    grown = np.float32(1 / (1 - square_keep**steps))
    old, new = np.float32(square_keep), np.float32(1 - square_keep)
    for t in range(len(tensors)):
        begin, count, rows, columns, is_matrix = tensors[t]
        end, keep = begin + count * rows * columns, muon_keep if is_matrix else adam_keep
        for i in range(begin, end):
            momentum[i] += np.float32(1 - keep) * (gradient[i] - momentum[i])
            square[i] = old * square[i] + new * gradient[i] * gradient[i]
        if is_matrix:
            for at in range(begin, end, rows * columns):
                _update_by_muon(
                    vector, gradient, momentum, at, rows, columns, keep, muon_rate, iterations,
                    coefficients, work,
                )  # fmt: skip
        else:
            for i in range(begin, end):
                vector[i] -= adam * momentum[i] / (np.sqrt(square[i] * grown) + np.float32(1e-12))


@compiled
def _update_by_muon(
    vector: Numbers, gradient: Numbers, momentum: Numbers, at: int, rows: int, columns: int, keep: float, rate: float,
    iterations: int, coefficients: tuple[float, float, float], work: Numbers,
) -> None:  # fmt: skip
    """Move a matrix along the nearest orthogonal one of its gradient with Nesterov momentum."""
    m, n = min(rows, columns), max(rows, columns)
    step = -(-n // LANES) * LANES
    across, along = (step, 1) if rows <= columns else (1, step)
    fill(work, 0, m * step, 0.0)
    for r in range(rows):
        for c in range(columns):
            i = at + r * columns + c
            work[r * across + c * along] = gradient[i] + np.float32(keep) * (momentum[i] - gradient[i])
    orthogonalize(m, n, work, iterations, coefficients)
    for r in range(rows):
        for c in range(columns):
            vector[at + r * columns + c] -= np.float32(rate) * work[r * across + c * along]


@compiled_fast
def orthogonalize(m: int, n: int, work: Numbers, iterations: int, coefficients: tuple[float, float, float]) -> None:
    """Replace a matrix by roughly the nearest (semi-)orthogonal one, by Newton-Schulz steps.

    Parameters
    ----------
    m, n : rows and columns, m <= n.
    work : the matrix, rows filled up to whole vectors by zeros; then room for what :func:`work_of_muon` says.
    """
    wide, narrow = -(-n // LANES) * LANES, -(-m // LANES) * LANES
    turned, gram = m * wide, m * wide + n * narrow
    powers, grown = gram + m * narrow, gram + 2 * m * narrow
    a, b, c = np.float32(coefficients[0]), np.float32(coefficients[1]), np.float32(coefficients[2])
    total = np.float32(0)
    for i in range(m * wide):
        total += work[i] * work[i]
    factor = np.float32(1) / (np.sqrt(total) + np.float32(1e-20))
    for i in range(m * wide):
        work[i] *= factor
    for _ in range(iterations):
        for j in range(n):
            for i in range(m):
                work[turned + j * narrow + i] = work[i * wide + j]
            for i in range(m, narrow):
                work[turned + j * narrow + i] = 0
        multiply(m, narrow, n, work, gram, narrow, work, 0, wide, 1, work, turned, narrow)
        multiply(m, narrow, m, work, powers, narrow, work, gram, narrow, 1, work, gram, narrow)
        for i in range(m * narrow):
            work[powers + i] = b * work[gram + i] + c * work[powers + i]
        multiply(m, wide, m, work, grown, wide, work, powers, narrow, 1, work, 0, wide)
        for i in range(m * wide):
            work[i] = a * work[i] + work[grown + i]


def work_of_muon(rows: int, columns: int) -> int:
    """Return the floats of work that a matrix needs."""
    m, n = min(rows, columns), max(rows, columns)
    wide, narrow = -(-n // LANES) * LANES, -(-m // LANES) * LANES
    return 2 * m * wide + n * narrow + 2 * m * narrow
