"""Sines of matrices and their slopes, compiled.

All arrays are flat float32; a matrix is the place of its first number and the distance of rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiled import LANES, compiled
from ..networks.vector_code import scale_and_transpose, sine_and_slope

Numbers = NDArray[np.float32]


@compiled
def fill(x: Numbers, at: int, count: int, value: float) -> None:
    """Set ``count`` floats from a place on to a value."""
    for i in range(at, at + count):
        x[i] = value


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
