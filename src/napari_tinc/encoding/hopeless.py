"""Whether a fit of networks will reach what another coder has reached."""

from __future__ import annotations

from ..events import Mark

LEAST_DONE = 0.3  # Networks are not given up before this share of their work is done.
# Networks are given up if even this much improvement over the rest of their schedule would not be enough:
# sim_turbulence at ratio 64 gained 8.6 dB.
LARGEST_LATE_GAIN_DB = 9.0


def is_hopeless(mark: Mark, wanted: float) -> bool:
    """Return whether a fit will not reach a PSNR, even if the rest of its schedule gains as much as any has."""
    return mark.done >= LEAST_DONE and mark.psnr + LARGEST_LATE_GAIN_DB * (1 - mark.done) + 1 < wanted
