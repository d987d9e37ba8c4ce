"""How far one rate-distortion curve lies above another, in dB: BD-PSNR (Bjontegaard, VCEG-M33, 2001).

PSNR is interpolated over log2(bytes) by PCHIP and the difference averaged over an interval. Two curves, of which one
lies 1 dB higher:

>>> curve = [(1000, 30.0), (2000, 33.5), (4000, 35.0), (8000, 39.0)]
>>> bd_psnr([(nbytes, psnr + 1) for nbytes, psnr in curve], curve, 1500, 6000)
Gain(psnr=1.0, covered=1.0)

Where a curve spans only a part of the interval, here one octave of two, the mean is over that part:

>>> line = [(1000, 30.0), (2000, 33.0), (4000, 36.0)]
>>> bd_psnr([(nbytes, psnr + 1) for nbytes, psnr in line[:2]], line, 1000, 4000)
Gain(psnr=1.0, covered=0.5)
>>> bd_psnr(line[:1], line, 1000, 4000) is bd_psnr(line[:2], line, 2000, 8000) is None
True
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy.interpolate import PchipInterpolator

Curve = Sequence[tuple[float, float]]  # bytes, PSNR in dB
LEAST = 0.05  # a smaller part of the interval says nothing


class Gain(NamedTuple):
    """Mean difference in dB, and the part of the interval that it is over, up to 1."""

    psnr: float
    covered: float


def bd_psnr(ours: Curve, theirs: Curve, low: float, high: float) -> Gain | None:
    """Ours minus theirs from ``low`` to ``high`` bytes, as far as both curves go; None where they do not."""
    pieces = []
    for curve in (ours, theirs):
        best: dict[float, float] = {}  # PSNR by log2(bytes): two rates may have got the same bytes
        for nbytes, psnr in sorted(curve):
            best[math.log2(nbytes)] = psnr
        if len(best) < 2:
            return None
        pieces.append(PchipInterpolator(list(best), list(best.values())))
    start = max(math.log2(low), *(float(piece.x[0]) for piece in pieces))
    stop = min(math.log2(high), *(float(piece.x[-1]) for piece in pieces))
    covered = (stop - start) / math.log2(high / low)
    if covered < LEAST:
        return None
    areas = [float(piece.integrate(start, stop)) for piece in pieces]
    return Gain(round((areas[0] - areas[1]) / (stop - start), 9), round(covered, 9))
