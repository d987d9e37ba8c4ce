"""Products of matrices and sines, compiled. All arrays are flat float32; a matrix is a place and a distance of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled
from .vector_code import LANES, MOST_ROWS, block_product, scale_and_transpose, sine_and_slope

Numbers = NDArray[np.float32]

_set_two, _set_one = block_product(2, False), block_product(1, False)
_add_two, _add_one = block_product(2, True), block_product(1, True)


@compiled
def multiply(
    rows: int, columns: int, n: int, out: Numbers, out_at: int, out_row: int, a: Numbers, a_at: int, a_row: int,
    a_next: int, b: Numbers, b_at: int, b_row: int,
) -> None:  # fmt: skip
    """Compute ``out[r, c] = sum over k < n of a[r, k] b[k, c]``; columns are a multiple of :data:`LANES`.

    Of each matrix come its array, the place of its first number, and the distances of rows, and of ``a`` also of k.
    """
    for c in range(0, columns, 2 * LANES):
        for r in range(0, rows, MOST_ROWS):
            at, of = out_at + r * out_row + c, a_at + r * a_row
            count = min(MOST_ROWS, rows - r)
            if columns - c > LANES:
                _set_two(count, out, at, out_row, a, of, a_row, a_next, b, b_at + c, b_row, n)
            else:
                _set_one(count, out, at, out_row, a, of, a_row, a_next, b, b_at + c, b_row, n)


@compiled
def add_product(
    rows: int, columns: int, n: int, out: Numbers, out_at: int, out_row: int, a: Numbers, a_at: int, a_row: int,
    a_next: int, b: Numbers, b_at: int, b_row: int,
) -> None:  # fmt: skip
    """Add to ``out`` what :func:`multiply` would set it to."""
    for c in range(0, columns, 2 * LANES):
        for r in range(0, rows, MOST_ROWS):
            at, of = out_at + r * out_row + c, a_at + r * a_row
            count = min(MOST_ROWS, rows - r)
            if columns - c > LANES:
                _add_two(count, out, at, out_row, a, of, a_row, a_next, b, b_at + c, b_row, n)
            else:
                _add_one(count, out, at, out_row, a, of, a_row, a_next, b, b_at + c, b_row, n)


@compiled
def sines(rows: int, columns: int, x: Numbers, x_at: int, slope: Numbers, slope_at: int, row: int) -> None:
    """Compute ``slope = cos(x)`` and ``x = sin(x)`` in place; columns are a multiple of :data:`LANES`."""
    for r in range(rows):
        for c in range(r * row, r * row + columns, LANES):
            sine_and_slope(x, x_at + c, slope, slope_at + c)


@compiled
def apply_slopes(
    rows: int, columns: int, d: Numbers, d_at: int, slope: Numbers, slope_at: int, row: int, turned: Numbers,
    turned_at: int, turned_row: int,
) -> None:  # fmt: skip
    """Multiply ``d`` with ``slope`` in place, and store it also with rows and columns exchanged.

    Works on squares of :data:`LANES`: some more rows are read and written than there are.
    """
    for r in range(0, rows, LANES):
        for c in range(0, columns, LANES):
            scale_and_transpose(
                d, d_at + r * row + c, row, slope, slope_at + r * row + c, row,
                turned, turned_at + c * turned_row + r, turned_row,
            )  # fmt: skip
