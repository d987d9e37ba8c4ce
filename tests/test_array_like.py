"""What lazy arrays have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_tinc.array_like import LazyBase
from napari_tinc.plugin.layers.array_views import ColorsFirst


class Counted(LazyBase):
    """An array that counts how often it is read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.reads = array, 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        self.reads += 1
        return self.array[index]


def test_size_and_bytes_are_known_before_it_is_read() -> None:
    lazy = Counted(np.arange(24, dtype="i2").reshape(2, 3, 4))
    assert (lazy.ndim, lazy.size, lazy.nbytes, len(lazy), lazy.reads) == (3, 24, 48, 2, 0)


def test_it_becomes_an_array_in_one_read() -> None:
    lazy = Counted(np.arange(24, dtype="i2").reshape(2, 3, 4))
    np.testing.assert_array_equal(lazy, lazy.array)
    lazy.reads = 0
    floats = np.asarray(lazy, np.float32)
    assert floats.dtype == np.float32 and (floats == lazy.array).all() and lazy.reads == 1


def test_a_single_value_has_no_length() -> None:
    with pytest.raises(TypeError, match="no length"):
        len(Counted(np.zeros(())))


def test_a_volume_of_colours_becomes_an_array_too() -> None:
    colours = np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3)
    right, lazy = np.moveaxis(colours, -1, 0), ColorsFirst(colours)
    np.testing.assert_array_equal(lazy, right)
    for index in (1, (1, 0), (slice(1, 3), 0, slice(2)), (2, 1, 2, 3)):
        np.testing.assert_array_equal(lazy[index], right[index])
