"""The base class of lazy arrays: what follows from the shape, the dtype and the indexing of an array."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


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
