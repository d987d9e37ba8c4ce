"""A box of voxels as a file holds it without networks: within a bound of the original, or bit for bit.

The bytes are those of bounded/box.py, decoded to the same bits on any machine; their CRC-32 is in the file.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Check, never
from ..errors import TincError
from ..format.quality import span_of
from .leaf_table import LEAF_FIELDS

SKETCH_LEVEL = 3  # A sketch has every 8th voxel along each axis: a 512th of the voxels, in a 50th of the time.


class BoundedBox:
    """A box whose values are decoded at once, when the first is needed.

    Parameters
    ----------
    crc : CRC-32 of the values, little-endian, as the encoder decoded them; None where that was cut off.

    Attributes
    ----------
    sketch : every 2^SKETCH_LEVEL-th voxel, about, once :meth:`make_sketch` was called; None where it cannot be made.
    """

    calibrated = False
    n_missing = 0

    def __init__(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], crc: int | None) -> None:
        self.data, self.shape, self.dtype, self.crc = data, shape, dtype, crc
        self._array: NDArray[Any] | None = None
        self.sketch: NDArray[Any] | None = None
        self._lock = threading.Lock()  # Two threads that need the same box decode it once.

    @property
    def decoded(self) -> bool:
        """Whether :attr:`array` is there already and costs nothing."""
        return self._array is not None

    @property
    def array(self) -> NDArray[Any]:
        """All values."""
        return self.decode()

    def decode(self, check: Check = never) -> NDArray[Any]:
        """All values. What ``check`` raises ends the work."""
        with self._lock:
            if self._array is None:
                self._array = self._decode(check)
            return self._array

    def make_sketch(self, check: Check = never) -> None:
        """Decode the coarse levels only. What is damaged shows when all is decoded."""
        from ..bounded import box

        if self.sketch is None and not self.decoded:
            with suppress(ValueError):
                self.sketch = box.sketch(self.data, self.shape, self.dtype, SKETCH_LEVEL, check)

    def _decode(self, check: Check) -> NDArray[Any]:
        from ..bounded import box  # A file of networks is opened without its modules.
        from ..bounded.check import checksum

        try:
            values = box.decode_box(self.data, self.shape, self.dtype, check)
        except ValueError as error:
            raise TincError(f"residual: {error}") from error
        if self.crc is not None and (computed := checksum(values)) != self.crc:
            raise TincError(f"values decode to the CRC-32 {computed:08x}, expected {self.crc:08x}")
        return values

    def values(self, axes: Sequence[NDArray[np.float64]], threads: int | None = None) -> NDArray[Any]:
        """Values of the voxels that a grid of coordinates lies in, in voxels from the corner of the box."""
        return self.array[np.ix_(*(axis.astype(np.int64) for axis in axes))]

    def floats(self, axes: Sequence[NDArray[np.float64]], threads: int | None = None) -> NDArray[np.float64]:
        """The same as float64."""
        with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
            return self.values(axes).astype(np.float64)

    def leaves(self, value_range: tuple[float, float], errors: tuple[float, float]) -> NDArray[Any]:
        """One row, see :attr:`TincVolume.leaves`; ``errors`` are its root mean squared and its largest one."""
        rows = np.zeros(1, LEAF_FIELDS)
        rows["stop"], rows["network"], rows["bytes"], rows["gain"] = self.shape, -1, len(self.data), 1
        rmse, rows["max_error"] = errors
        rows["rmse"] = rmse
        with np.errstate(divide="ignore", invalid="ignore"):
            rows["psnr"] = np.inf if rmse == 0 else 20 * np.log10(span_of(value_range) / np.float64(rmse))
        return rows

    def verify(self) -> None:
        """Decode everything; :class:`TincError` if anything is wrong."""
        _ = self.array
