"""Round numbers to what a file can hold: steps to bfloat16, parameters to integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_bfloat16(steps: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round steps as a file stores them: to the nearest bfloat16, which is a float32 with the lower 16 bits zero."""
    bits = np.asarray(steps, np.float32).view(np.uint32)
    bits = (bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)
    return np.asarray(np.maximum(bits, np.uint32(0x00800000)).view(np.float32))


def quantize(values: NDArray[np.float32], step: np.float32, largest: int) -> NDArray[np.int32]:
    """Compute round(values / step), kept within +-largest; halves are rounded to even."""
    return np.clip(np.rint(values.astype(np.float64) / step), -largest, largest).astype(np.int32)
