"""Values that stand for no measurement, such as a padding of -32768: what META says about them.

``"fill": {"values": [-32768], "voxels": 4711}``: the values, and how many voxels have one, or are NaN or infinite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError

KEY = "fill"  # The name in META.
LARGEST = float(np.finfo(np.float64).max)
MOST_VALUES = 8  # A file names at most so many values.


@dataclass(frozen=True, slots=True)
class Fill:
    """The voxels of a file that are no measurements.

    Attributes
    ----------
    values : what they hold, besides NaN and infinities.
    n_voxels : how many there are; None if that is not known, as of one channel of a file.
    """

    values: tuple[float, ...] = ()
    n_voxels: int | None = 0

    @classmethod
    def of_meta(cls, meta: Mapping[str, Any], dtype: np.dtype[Any]) -> Fill:
        """Read META. TincError if it says something else, or a value that the dtype cannot have."""
        stated = meta.get(KEY)
        if stated is None:
            return cls()
        values = stated.get("values") if isinstance(stated, dict) else None
        n_voxels = stated.get("voxels") if isinstance(stated, dict) else None
        is_count = n_voxels is None or (type(n_voxels) is int and n_voxels >= 0)
        are_few = isinstance(values, list) and len(values) <= MOST_VALUES
        if isinstance(values, list) and are_few and is_count and all(fits(one, dtype) for one in values):
            return cls(tuple(values), n_voxels)
        raise TincError(f"META chunk has the fill {stated!r:.80}, expected values of {dtype} and a number of voxels")

    def as_meta(self) -> dict[str, Any]:
        """Return what :meth:`of_meta` reads; nothing if there are no such voxels."""
        if not self.values and self.n_voxels == 0:
            return {}
        count = {} if self.n_voxels is None else {"voxels": self.n_voxels}
        return {KEY: {"values": list(self.values), **count}}

    def describe(self, dtype: np.dtype[Any], size: int) -> str:
        """Describe in a line which of the voxels of a volume are no measurements; "" if all are measurements."""
        if not self.values and self.n_voxels == 0:
            return ""
        texts = [str(np.array(value).astype(dtype)) for value in self.values]
        what = f"have the value {' or '.join(texts)}" if texts else "are NaN or infinite"
        share = 0.0 if self.n_voxels is None else self.n_voxels / size
        percent = f"{100 * share:.3g} %" if share >= 1e-4 else "less than 0.01 %"
        count = "some" if self.n_voxels is None else f"{self.n_voxels:,} ({percent})"
        how = ", no measurement: kept exactly, and left out of range, PSNR and SSIM"
        return f"{count} of the voxels {what}{how}"


def fits(value: Any, dtype: np.dtype[Any]) -> bool:
    """Return whether a number is finite, and one that a dtype can have."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        return False
    if dtype.kind in "iu":
        return value == int(value) and int(np.iinfo(dtype).min) <= value <= int(np.iinfo(dtype).max)
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.array(value, np.float64).astype(dtype)))


def is_fill(values: NDArray[Any], fill: tuple[float, ...]) -> NDArray[np.bool_]:
    """Return which values are one of a few; a float is compared in the precision of the values."""
    found = np.zeros(values.shape, bool)
    for value in fill:
        if fits(value, values.dtype):
            found |= values == np.array(value).astype(values.dtype)
    return found


def is_no_measurement(values: NDArray[Any], fill: tuple[float, ...]) -> NDArray[np.bool_]:
    """Return which values are one of a few, NaN or infinite."""
    found = is_fill(values, fill)
    return found | ~np.isfinite(values) if values.dtype.kind == "f" else found
