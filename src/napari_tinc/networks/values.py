"""Turn outputs of networks into values of the data, and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..format.networks_file import NetworksHeader

BLOCK = 2**14  # Values that are turned into the dtype at a time.


class Scale(NamedTuple):
    """How outputs become values: mean + std * output, clipped to a range, and rounded if all values are whole numbers.

    Halves are rounded to even. NaN, as the sine of a huge angle may be, becomes the lowest value.
    """

    mean: float
    std: float
    low: float
    high: float
    is_whole: bool

    @classmethod
    def of(cls, header: NetworksHeader) -> Scale:
        """Return that of a file."""
        low, high = header.value_range
        return cls(float(header.mean), float(header.std), float(low), float(high), header.dtype.kind in "iub")

    def __call__(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the values of outputs."""
        values = outputs.astype(np.float64)
        with np.errstate(over="ignore"):  # infinite values are clipped too
            values *= self.std
            values += self.mean
        np.fmin(np.fmax(values, self.low, out=values), self.high, out=values)
        return np.rint(values, out=values) if self.is_whole else values


def to_values(outputs: NDArray[np.float32], header: NetworksHeader) -> NDArray[Any]:
    """Turn outputs into values, rounded to the dtype."""
    values = np.empty(outputs.shape, header.dtype)
    flat, into, scale = outputs.reshape(-1), values.reshape(-1), Scale.of(header)
    for first in range(0, flat.size, BLOCK):
        into[first : first + BLOCK] = scale(flat[first : first + BLOCK])
    return values


def rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round values to the nearest that the dtype has, halves to even."""
    return (np.rint(values) if dtype.kind in "iub" else values).astype(dtype)


def normalise(volume: NDArray[Any], header: NetworksHeader) -> NDArray[np.float32]:
    """Return the volume less its mean, divided by its standard deviation, as the header has them."""
    out = np.empty(volume.shape, np.float32)
    for plane, into in zip(volume, out, strict=True):
        into[:] = (plane.astype(np.float64) - header.mean) / header.std
    return out
