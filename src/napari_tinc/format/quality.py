"""QUALITY chunks: the measured errors of the parts of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from .limits import MAX_FLOAT
from .networks_file import NetworksHeader
from .widths import heads_of_leaves


def pack_errors(errors: NDArray[np.float64], value_range: tuple[float, float]) -> bytes:
    """Pack RMSE and largest error of every part in a byte each: 0, or range * 2^((code - 255) / 12), rounded up."""
    span = max(span_of(value_range), np.finfo(float).tiny)
    with np.errstate(divide="ignore"):
        codes = np.ceil(255 + 12 * np.log2(errors / span))
    return bytes(np.where(errors > 0, np.clip(codes, 1, 255), 0).astype(np.uint8).tobytes())


def unpack_errors(data: bytes, n_parts: int, value_range: tuple[float, float]) -> NDArray[np.float64]:
    """Read the errors that :func:`pack_errors` packed, 6 % too large at most. float64 (n_parts, 2)."""
    if len(data) != 2 * n_parts:
        raise TincError(f"QUALITY chunk is {len(data)} bytes, expected {2 * n_parts}: 2 a head, and 2 for scalars")
    codes = np.frombuffer(data, np.uint8).reshape(n_parts, 2)
    span = span_of(value_range)
    return np.where(codes > 0, span * 2.0 ** ((codes - 255.0) / 12), 0.0)


def span_of(value_range: tuple[Any, Any]) -> float:
    """Return the width of a range of values, the unit of errors. It is cut to the largest float64."""
    return min(float(value_range[1]) - float(value_range[0]), MAX_FLOAT)


def parts_of_leaves(header: NetworksHeader) -> NDArray[np.int64]:
    """Return the part of QUALITY that each leaf belongs to, int64 (n_leaves,).

    Every head has a part, in ascending order of nodes. The last part is that of all scalars.
    """
    head = heads_of_leaves(header.tree, header.widths)
    return np.where(head < 0, head.max() + 1, head)
