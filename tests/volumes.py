"""A small compressed volume for tests of what is done with one."""

from __future__ import annotations

from functools import cache

import numpy as np
from short_fits import short_fits

import napari_tinc as tinc
from napari_tinc.storage.stores import open_store


def small_array() -> np.ndarray:
    """uint16 (20, 24, 28), smooth."""
    z, y, x = np.meshgrid(*[np.linspace(0, 4, n) for n in (20, 24, 28)], indexing="ij")
    return (1000 + 900 * np.sin(z + y) * np.cos(x)).astype("uint16")


@cache
def small_volume() -> tinc.TincVolume:
    """The same at ratio 12, spacing 2, 0.5, 0.5 micrometer."""
    with short_fits():
        return tinc.compress(small_array(), ratio=12, preset="fast", spacing=(2, 0.5, 0.5), units="um")


def wide_array() -> np.ndarray:
    """uint8 (8, 40, 50): of more than one level."""
    return np.indices((8, 40, 50)).sum(axis=0).astype("uint8")


@cache
def wide_volume() -> tinc.TincVolume:
    """The same at ratio 10."""
    with short_fits():
        return tinc.compress(wide_array(), ratio=10, preset="fast")


def brighter() -> np.ndarray:
    """What the networks of :func:`small_volume` were not fitted to."""
    return np.rint(0.8 * small_array() + 150).astype("uint16")


def load(path: object) -> bytes:
    store = open_store(path)
    return store.read(0, store.size)
