"""Volumes that the golden files are made of."""

from __future__ import annotations

import numpy as np


def smooth(shape: tuple[int, ...], seed: int = 0, noise: float = 0.02) -> np.ndarray:
    """Waves of -1 to 1, and noise."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*[np.linspace(0, 4, n) for n in shape], indexing="ij")
    return np.sin(z + 0.4 * y + seed) * np.cos(1.3 * x - seed) + rng.normal(0, noise, shape)


def balls(shape: tuple[int, ...], n: int, seed: int = 0) -> np.ndarray:
    """Numbers of the nearest of n points, 0 far from all."""
    rng = np.random.default_rng(seed)
    at = np.indices(shape).reshape(3, -1).T
    distances = np.linalg.norm(at[:, None] - rng.uniform(0, shape, (n, 3)), axis=2)
    return np.where(distances.min(axis=1) < max(shape) / 5, distances.argmin(axis=1) + 1, 0).reshape(shape)


def unlike_floats(dtype: str) -> np.ndarray:
    """Floats with NaN, infinities, zeros of both signs and denormal numbers among them."""
    array = smooth((9, 10, 11), 6).astype(dtype)
    flat = array.reshape(-1)
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max]
    with np.errstate(over="ignore"):
        flat[::71][: len(special)] = special
    return array


def waves(dtype: str, shape: tuple[int, ...] = (9, 12, 13), scale: float = 1.0, seed: int = 1) -> np.ndarray:
    values = scale * smooth(shape, seed)
    return (np.rint(values) if np.dtype(dtype).kind in "iu" else values).astype(dtype)


def with_background() -> np.ndarray:
    array = (smooth((14, 16, 18), 1, 0.3) * 4000 + 9000).astype("u2")
    array[smooth(array.shape, 3, 0) < -0.2] = 0
    return array


def far_apart() -> np.ndarray:
    levels = np.random.default_rng(7).integers(-(2**30), 2**30, 12)
    return levels[np.clip((6 + 6 * smooth((12, 13, 14), 7)).astype(int), 0, 11)].astype("i4")


def repeated() -> np.ndarray:
    block = np.random.default_rng(9).normal(size=(4, 5, 6)).astype("f4")
    return np.tile(block, (3, 2, 2))
