"""Lazy views of a layer's array: one of its volumes, its colours first, its labels in a smaller dtype."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Narrowed:
    """Integers in a smaller dtype; ValueError where one is read that does not fit."""

    def __init__(self, array: Any, dtype: np.dtype[Any]) -> None:
        self._array, self.dtype = array, dtype
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.ndim, self.size = len(self.shape), math.prod(self.shape)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        values = np.asarray(self._array[index])
        found = values.astype(self.dtype)
        if (found != values).any():
            far = values[found != values].flat[0]
            raise ValueError(f"label {far} does not fit into {self.dtype}, the largest kind that a file holds: relabel")
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[()], dtype)


class Part:
    """One volume of an array of several, which is not read before it is looked at, whatever kind it is of."""

    def __init__(self, array: Any, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        self._array, self._before, self._after = array, before, after
        self.shape: tuple[int, ...] = tuple(array.shape[len(before) : len(array.shape) - len(after)])
        self.dtype = np.dtype(array.dtype)
        self.ndim, self.size = len(self.shape), math.prod(self.shape)

    def __getitem__(self, index: Any) -> Any:
        items = index if isinstance(index, tuple) else (index,)
        whole = (slice(None),) * (self.ndim - len(items))
        return self._array[(*self._before, *items, *whole, *self._after)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[()], dtype)


class ColorsFirst:
    """An RGB volume (z, y, x, c) with the axes c, z, y, x."""

    def __init__(self, array: Any) -> None:
        self._array = array
        *space, count = array.shape
        self.shape = (count, *space)
        self.dtype = np.dtype(array.dtype)
        self.ndim, self.size = len(self.shape), math.prod(self.shape)

    def __getitem__(self, index: tuple[Any, ...]) -> Any:
        color, *space = index
        return self._array[(*space, *[slice(None)] * (4 - len(index)), color)]
