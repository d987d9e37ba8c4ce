"""The structural similarity of two volumes at every voxel, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled_fast

LUMINANCE = 0.01**2  # Keeps the similarity of dark windows finite, in squares of the range (Wang et al. 2004, K1),
CONTRAST = 0.03**2  # and this one that of smooth ones (K2).

Floats = NDArray[np.float64]


@compiled_fast
def structural_similarity(original: Floats, other: Floats, window: tuple[int, int, int], out: Floats) -> None:
    """Compute the structural similarity in windows that are uniform and lie inside (Wang et al. 2004, eq. 13).

    Variances are those of samples, as in scikit-image.

    Parameters
    ----------
    original, other : (z, y, x), in units of the range.
    window : voxels along z, y, x.
    out : (z, y, x), smaller than the volumes by a window less 1 along each axis; overwritten.
    """
    wz, wy, wx = window
    nz, ny, nx = original.shape
    mx = out.shape[2]
    count = wz * wy * wx
    unbiased = count / (count - 1)
    # Of both, of the sum of their squares and of their product: sums over windows along z, then y, then x.
    along_z, along_y, sums = np.zeros((4, ny, nx)), np.empty((4, nx)), np.empty((4, mx))
    for z in range(nz):
        for y in range(ny):
            _add_terms(original[z, y], other[z, y], 1.0, along_z[:, y])
            if z >= wz:
                _add_terms(original[z - wz, y], other[z - wz, y], -1.0, along_z[:, y])
        if z < wz - 1:
            continue
        along_y[:] = 0.0
        for y in range(ny):
            for k in range(4):
                total, row = along_y[k], along_z[k, y]
                for x in range(nx):
                    total[x] += row[x]
                if y >= wy:
                    row = along_z[k, y - wy]
                    for x in range(nx):
                        total[x] -= row[x]
            if y < wy - 1:
                continue
            for k in range(4):
                total = sums[k]
                total[:] = along_y[k, :mx]
                for d in range(1, wx - 1, 2):
                    one, two = along_y[k, d : d + mx], along_y[k, d + 1 : d + 1 + mx]
                    for x in range(mx):
                        total[x] += one[x] + two[x]
            into = out[z - wz + 1, y - wy + 1]
            for x in range(mx):
                a, b = sums[0, x] / count, sums[1, x] / count
                squares, product = a * a + b * b, a * b
                of_each = unbiased * (sums[2, x] / count - squares)
                of_both = unbiased * (sums[3, x] / count - product)
                above = (2 * product + LUMINANCE) * (2 * of_both + CONTRAST)
                into[x] = above / ((squares + LUMINANCE) * (of_each + CONTRAST))


@compiled_fast
def _add_terms(one: Floats, other: Floats, sign: float, sums: Floats) -> None:
    """Add a row of both, of the sum of their squares and of their product to ``sums``, (4, n); or subtract them."""
    first, second, squares, products = sums[0], sums[1], sums[2], sums[3]
    for x in range(len(one)):
        a, b = one[x], other[x]
        first[x] += sign * a
        second[x] += sign * b
        squares[x] += sign * (a * a + b * b)
        products[x] += sign * (a * b)
