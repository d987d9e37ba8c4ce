"""A volume that is cut into blocks, and the options that cut it."""

from __future__ import annotations

from typing import Any

import numpy as np

SHAPE = (20, 22, 44)  # two blocks, cut along x
OPTIONS: dict[str, Any] = {"ratio": 8, "preset": "fast", "block": 24}


def smooth(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    z, y, x = np.meshgrid(*[np.linspace(0, 7, n) for n in shape], indexing="ij")
    noise = np.random.default_rng(seed).normal(0, 10, shape)
    return (1000 + 800 * np.sin(z + 0.3 * y + seed) * np.cos(x) + noise).astype("uint16")
