"""Values of a volume and outputs of its networks: one from the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..format.networks_file import NetworksHeader

BLOCK = 2**13  # values turned into the dtype at a time


def to_floats(outputs: NDArray[np.float32], header: NetworksHeader) -> NDArray[np.float64]:
    """Network outputs to values of the data: mean + std * output, clipped to the stored range."""
    lo, hi = header.value_range
    values = outputs.astype(np.float64)
    with np.errstate(over="ignore"):  # infinite values are clipped too
        values *= header.std
        values += header.mean
    return np.clip(values, lo, hi, out=values)


def to_values(outputs: NDArray[np.float32], header: NetworksHeader) -> NDArray[Any]:
    """:func:`to_floats`, rounded to the dtype."""
    values = np.empty(outputs.shape, header.dtype)
    flat, into = outputs.reshape(-1), values.reshape(-1)
    for first in range(0, flat.size, BLOCK):
        part = to_floats(flat[first : first + BLOCK], header)
        into[first : first + BLOCK] = np.rint(part, out=part) if header.dtype.kind in "iub" else part
    return values


def rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """To the nearest that the dtype has, half to even."""
    return (np.rint(values) if dtype.kind in "iub" else values).astype(dtype)


def normalise(volume: NDArray[Any], header: NetworksHeader) -> NDArray[np.float32]:
    out = np.empty(volume.shape, np.float32)
    for plane, into in zip(volume, out, strict=True):
        into[:] = (plane.astype(np.float64) - header.mean) / header.std
    return out
