"""QUALITY chunks: measured errors of the parts of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from .limits import MAX_FLOAT
from .networks_file import NetworksHeader
from .widths import heads_of_leaves


def pack_errors(errors: NDArray[np.float64], value_range: tuple[float, float]) -> bytes:
    """RMSE and largest error of every part in a byte each: 0, or range * 2^((code - 255) / 12) rounded up."""
    span = max(span_of(value_range), np.finfo(float).tiny)
    with np.errstate(divide="ignore"):
        codes = np.ceil(255 + 12 * np.log2(errors / span))
    return bytes(np.where(errors > 0, np.clip(codes, 1, 255), 0).astype(np.uint8).tobytes())


def unpack_errors(data: bytes, n_parts: int, value_range: tuple[float, float]) -> NDArray[np.float64]:
    """The inverse of :func:`pack_errors`, to 6 %; float64 (n_parts, 2)."""
    if len(data) != 2 * n_parts:
        raise TincError(f"QUALITY chunk is {len(data)} bytes, expected {2 * n_parts}: 2 a head, and 2 for scalars")
    codes = np.frombuffer(data, np.uint8).reshape(n_parts, 2)
    span = span_of(value_range)
    return np.where(codes > 0, span * 2.0 ** ((codes - 255.0) / 12), 0.0)


def span_of(value_range: tuple[Any, Any]) -> float:
    """What errors are shares of: hi - lo, or the largest number if that is beyond it."""
    return min(float(value_range[1]) - float(value_range[0]), MAX_FLOAT)


def parts_of_leaves(header: NetworksHeader) -> NDArray[np.int64]:
    """The part that QUALITY counts each leaf to: one a head, ascending, then one for all scalars. (n_leaves,)."""
    head = heads_of_leaves(header.tree, header.widths)
    return np.where(head < 0, head.max() + 1, head)
