"""The base class of lazy arrays, and what was read of one as a NumPy array that has its mask still."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def computed(values: Any) -> NDArray[Any]:
    """Return an array, or what was read of one, as a NumPy array; as a masked array if that is behind its wrapper.

    ``np.asarray`` reads dask arrays and those of xarray, but drops their masks.
    """
    if not isinstance(values, np.ndarray) and callable(compute := getattr(values, "compute", None)):
        values = compute()
    inner = values if isinstance(values, np.ndarray) else getattr(values, "data", None)
    return inner if isinstance(inner, np.ma.MaskedArray) else np.asarray(values)


class LazyBase(ABC):
    """A lazy array: it reads nothing before it is indexed or converted to a NumPy array.

    A subclass gives ``shape``, ``dtype`` and ``__getitem__``; the rest follows from these.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]: ...

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]: ...

    @abstractmethod
    def __getitem__(self, index: Any) -> Any: ...

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that all elements take in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        """Return the length of the first axis. TypeError if there is none."""
        if not self.shape:
            raise TypeError("a single value has no length")
        return self.shape[0]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all of the array."""
        return np.asarray(self[()], dtype)
