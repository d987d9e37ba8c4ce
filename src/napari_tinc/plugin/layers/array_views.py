"""Lazy views of a layer's array: one of its volumes, its colours as the first axis, its labels in 32 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...array_like import LazyBase, computed
from ...encoding.sources import plain_values


class As32Bit(LazyBase):
    """View integers in a dtype of 32 bits. Reading one that does not fit raises ValueError."""

    def __init__(self, array: Any, dtype: np.dtype[Any]) -> None:
        self._array, self._dtype = array, dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    def __getitem__(self, index: Any) -> NDArray[Any]:
        values = plain_values(self._array[index], np.dtype(self._array.dtype))
        converted = values.astype(self.dtype)
        if (converted != values).any():
            misfit = values[converted != values].flat[0]
            raise ValueError(
                f"label {misfit} does not fit into {self.dtype}, the largest type in a file: relabel the layer"
            )
        return converted


class OneVolume(LazyBase):
    """View one volume of an array of several. Only what is indexed is read."""

    def __init__(self, array: Any, leading: tuple[int, ...], trailing: tuple[int, ...]) -> None:
        self._array, self._leading, self._trailing = array, leading, trailing

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._array.shape[len(self._leading) : len(self._array.shape) - len(self._trailing)])

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self._array.dtype)

    def __getitem__(self, index: Any) -> Any:
        items = index if isinstance(index, tuple) else (index,)
        rest = (slice(None),) * (self.ndim - len(items))
        return self._array[(*self._leading, *items, *rest, *self._trailing)]


class ColorsFirst(LazyBase):
    """View an RGB volume (z, y, x, c) with the axes (c, z, y, x)."""

    def __init__(self, array: Any) -> None:
        self._array = array

    @property
    def shape(self) -> tuple[int, ...]:
        *space, count = self._array.shape
        return (count, *space)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self._array.dtype)

    def __getitem__(self, index: Any) -> Any:
        items = index if isinstance(index, tuple) else (index,)
        color, space = (items or (slice(None),))[0], items[1:]
        values = self._array[(*space, *[slice(None)] * (3 - len(space)), color)]
        return np.moveaxis(computed(values), -1, 0) if isinstance(color, slice) else values
