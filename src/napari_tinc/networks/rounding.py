"""Numbers that a file can hold: step sizes rounded to bfloat16, integers rounded to even."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def storable(steps: NDArray[np.float64]) -> NDArray[np.float32]:
    """Steps as a file stores them: float32 with the lower 16 bits zero (bfloat16), rounded to nearest."""
    bits = np.asarray(steps, np.float32).view(np.uint32)
    bits = (bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)
    return np.asarray(np.maximum(bits, np.uint32(0x00800000)).view(np.float32))


def quantize(values: NDArray[np.float32], step: np.float32, largest: int) -> NDArray[np.int32]:
    """round(values / step), kept within +-largest."""
    return np.clip(np.rint(values.astype(np.float64) / step), -largest, largest).astype(np.int32)
