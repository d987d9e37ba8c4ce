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
    _, my, mx = out.shape
    count = wz * wy * wx
    unbiased = count / (count - 1)
    # Both, their squares and their product: of the voxels of a row, and summed over windows of a row and of a plane.
    terms, rows, planes = np.empty((5, nx)), np.empty((5, ny, mx)), np.empty((wz, 5, my, mx))
    sums = np.empty((5, mx))
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                a, b = original[z, y, x], other[z, y, x]
                terms[0, x] = a
                terms[1, x] = b
                terms[2, x] = a * a
                terms[3, x] = b * b
                terms[4, x] = a * b
            for k in range(5):
                into = rows[k, y]
                into[:] = terms[k, :mx]
                for d in range(1, wx):
                    term = terms[k, d : d + mx]
                    for x in range(mx):
                        into[x] += term[x]
        for k in range(5):
            for y in range(my):
                total = planes[z % wz, k, y]
                total[:] = rows[k, y]
                for d in range(1, wy):
                    row = rows[k, y + d]
                    for x in range(mx):
                        total[x] += row[x]
        if z < wz - 1:
            continue
        for y in range(my):
            for k in range(5):
                total = sums[k]
                total[:] = planes[0, k, y]
                for plane in range(1, wz):
                    row = planes[plane, k, y]
                    for x in range(mx):
                        total[x] += row[x]
            into = out[z - wz + 1, y]
            for x in range(mx):
                a, b = sums[0, x] / count, sums[1, x] / count
                of_a, of_b = unbiased * (sums[2, x] / count - a * a), unbiased * (sums[3, x] / count - b * b)
                of_both = unbiased * (sums[4, x] / count - a * b)
                above = (2 * a * b + LUMINANCE) * (2 * of_both + CONTRAST)
                into[x] = above / ((a * a + b * b + LUMINANCE) * (of_a + of_b + CONTRAST))
