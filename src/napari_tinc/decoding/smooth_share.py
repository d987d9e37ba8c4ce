"""How much of a volume is a smooth background."""

from __future__ import annotations

import math

from .volume import TincVolume


def smooth_share(volume: TincVolume) -> float:
    """Return the share of a volume's voxels that are background, 0 to 1."""
    hidden = total = 0
    for _, _, part in volume.boxes():
        if part is not None:
            total += math.prod(part.shape)
            hidden += 0 if part.background is None else int(part.background.hidden.sum())
    return hidden / max(1, total)
