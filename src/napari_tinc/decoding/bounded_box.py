"""A box of voxels coded without networks: within a bound of the original, or bit for bit.

The bytes are those of bounded/box.py, decoded to the same bits on any machine; their CRC-32 is in the file. In a
file for a ratio or a PSNR, the values may pass a filter (filtering/) after that.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..control import Check, never
from ..errors import TincError
from ..format.quality import span_of
from .leaf_table import LEAF_FIELDS

if TYPE_CHECKING:
    from ..bounded.background import Background
    from ..filtering.filter import Finish

SKETCH_LEVEL = 3  # A sketch has every 8th voxel along each axis: 1 of 512 voxels, decoded in a 50th of the time.


class BoundedBox:
    """A box whose values are decoded at once, when the first is needed.

    Parameters
    ----------
    data : the coded box.
    shape, dtype : of the values.
    crc : CRC-32 of the values before the filter, little-endian, as the encoder decoded them; None if the file was cut
        off before it.
    finish : filters decoded values; None for no filter.

    Attributes
    ----------
    sketch : about every 2^SKETCH_LEVEL-th voxel, after :meth:`make_sketch`; None if it cannot be made.
    """

    n_missing = 0

    def __init__(
        self, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], crc: int | None, finish: Finish | None = None
    ) -> None:  # fmt: skip
        self.data, self.shape, self.dtype, self.crc = data, shape, dtype, crc
        self._finish = finish
        self._array: NDArray[Any] | None = None
        self.sketch: NDArray[Any] | None = None
        self._lock = threading.Lock()  # Two threads that need the same box decode it once.

    @cached_property
    def calibrated(self) -> bool:
        """Whether a filter corrects the values. Boxes that are not rounded are left as they are."""
        from ..bounded import box

        return self._finish is not None and box.is_rounded(self.data)

    @cached_property
    def uncalibrated(self) -> BoundedBox:
        """The same box without the filter; itself if it has none."""
        return BoundedBox(self.data, self.shape, self.dtype, self.crc) if self.calibrated else self

    @property
    def decoded(self) -> bool:
        """Whether the values have been decoded."""
        return self._array is not None

    @property
    def array(self) -> NDArray[Any]:
        """All values, decoded when they are first asked for."""
        return self.decode()

    def decode(self, check: Check = never, threads: int | None = None) -> NDArray[Any]:
        """Return all values, decoded by ``threads``; None for one a core.

        An exception of ``check``, which is called now and then, ends the work.
        """
        from ..bounded.workers import in_threads

        with self._lock:
            if self._array is None:
                with in_threads(threads):
                    self._array = self._decode(check)
            return self._array

    @cached_property
    def background(self) -> Background | None:
        """The polynomial that stands for the smooth part; None if the box has none."""
        from ..bounded.background import Background
        from ..format.blocks_file import BACKGROUND_KIND

        if self.data[:1] != bytes([BACKGROUND_KIND]):
            return None
        try:
            return Background.parse(self.data, self.shape, self.dtype)
        except ValueError as error:
            raise TincError(f"residual: {error}") from error

    def make_sketch(self, check: Check = never) -> None:
        """Decode the coarse levels only. Damage is reported later, when all values are decoded."""
        from ..bounded import box

        if self.sketch is None and not self.decoded:
            with suppress(ValueError):
                self.sketch = box.sketch(self.data, self.shape, self.dtype, SKETCH_LEVEL, check)

    def _decode(self, check: Check) -> NDArray[Any]:
        """Decode all values, compare their CRC-32, and filter them; TincError if the box is damaged."""
        from ..bounded import box  # A file of networks is opened without its modules.
        from ..differences import checksum

        try:
            values = box.decode_box(self.data, self.shape, self.dtype, check)
        except ValueError as error:
            raise TincError(f"residual: {error}") from error
        if self.crc is not None and (computed := checksum(values)) != self.crc:
            raise TincError(f"values decode to the CRC-32 {computed:08x}, expected {self.crc:08x}")
        if self._finish is None or not self.calibrated:
            return values
        filtered = self._finish(values, check)
        return filtered if self.background is None else np.where(self.background.hidden, values, filtered)

    def values(self, axes: Sequence[NDArray[np.float64]], threads: int | None = None) -> NDArray[Any]:
        """Return the values at a grid of coordinates, in voxels from the corner of the box: those of the voxels met."""
        return self.decode(threads=threads)[np.ix_(*(axis.astype(np.int64) for axis in axes))]

    def floats(
        self, axes: Sequence[NDArray[np.float64]], threads: int | None = None, spacing: float = np.inf
    ) -> NDArray[np.float64]:
        """Return the values at a grid of coordinates as float64."""
        with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
            return self.values(axes, threads).astype(np.float64)

    def leaves(self, value_range: tuple[float, float], errors: tuple[float, float], most: int = 1) -> NDArray[Any]:
        """Return the rows of :attr:`TincVolume.leaves`.

        A box with a background has leaves of its own, finer where voxels are coded; without one it is one leaf.

        Parameters
        ----------
        errors : RMSE and largest error of the box, in units of the values.
        most : about the largest number of leaves.
        """
        if self.background is None or self.background.hidden.all():
            rows = np.zeros(1, LEAF_FIELDS)
            rows["stop"], rows["bytes"] = self.shape, len(self.data)
        else:
            rows = self._leaves_around(self.background, most)
        rows["network"], rows["gain"] = -1, 1
        rmse, rows["max_error"] = errors
        rows["rmse"] = rmse
        with np.errstate(divide="ignore", invalid="ignore"):
            rows["psnr"] = np.inf if rmse == 0 else 20 * np.log10(span_of(value_range) / np.float64(rmse))
        return rows

    def _leaves_around(self, background: Background, most: int) -> NDArray[Any]:
        """Return the place, level and bytes of leaves that are finer where voxels are coded."""
        from ..bounded.joining import tree_of_parts

        tree, left = tree_of_parts(~background.hidden, most)
        rows = np.zeros(tree.n_leaves, LEAF_FIELDS)
        rows["start"], rows["stop"] = tree.start[tree.leaves], tree.stop[tree.leaves]
        rows["level"] = tree.level[tree.leaves]
        voxels = (rows["stop"] - rows["start"]).prod(axis=1)
        n_background = len(background.data)
        rows["bytes"] = (len(self.data) - n_background) * left / left.sum() + n_background * voxels / voxels.sum()
        return rows

    def verify(self) -> None:
        """Decode everything; :class:`TincError` if the box is damaged."""
        _ = self.array
