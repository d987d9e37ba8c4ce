"""Turn outputs of networks into values of the data, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..format.networks_file import NetworksHeader

BLOCK = 2**14  # Values that are turned into the dtype at a time.


def to_floats(outputs: NDArray[np.float32], header: NetworksHeader) -> NDArray[np.float64]:
    """Turn outputs into values: mean + std * output, clipped to the value range of the file."""
    lo, hi = header.value_range
    values = outputs.astype(np.float64)
    with np.errstate(over="ignore"):  # infinite values are clipped too
        values *= header.std
        values += header.mean
    return np.clip(values, lo, hi, out=values)


def to_values(outputs: NDArray[np.float32], header: NetworksHeader) -> NDArray[Any]:
    """Turn outputs into values, rounded to the dtype."""
    values = np.empty(outputs.shape, header.dtype)
    flat, into = outputs.reshape(-1), values.reshape(-1)
    for first in range(0, flat.size, BLOCK):
        part = to_floats(flat[first : first + BLOCK], header)
        into[first : first + BLOCK] = np.rint(part, out=part) if header.dtype.kind in "iub" else part
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
