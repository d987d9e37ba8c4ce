"""Bounded volumes of several blocks, for views that decode them one by one."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc.encoding import plan

SHAPE, BLOCK = (64, 32, 32), 16
ROW = 4  # blocks


@cache
def array() -> np.ndarray:
    grid = np.meshgrid(*(np.linspace(0, 5, n) for n in SHAPE), indexing="ij")
    noise = np.random.default_rng(0).normal(scale=30, size=SHAPE)
    return (8000 + 3000 * np.sin(grid[0] + grid[1] * grid[2]) + noise).astype(np.uint16)


@cache
def blocks() -> tinc.TincVolume:
    """16 blocks, four a row, and an overview."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "OVERVIEW_BLOCKS", 16)
        patch.setattr(plan, "OVERVIEW_CELLS", 16)
        volume = tinc.compress(array(), max_error=40, block=BLOCK)
    assert volume.parts.edge == 4 and len(volume.parts.start) == 4 * ROW
    return volume


@cache
def few() -> tinc.TincVolume:
    """Two blocks without an overview."""
    return tinc.compress(array(), max_error=40, block=2 * BLOCK)


@cache
def labels() -> tinc.TincVolume:
    return tinc.compress(array() // 1000, max_error=0, labels=True, block=2 * BLOCK)
