"""Search for the boxes of a file without networks, and fit the filter that they pass, if one pays.

A filter takes bytes from the boxes. So these are searched for in a little less, and again in all if no filter pays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bounded import box as bounded_box
from ..bounded import search as bounded_search
from ..bounded.background import is_left_by_background
from ..bounded.search import EncodedBox, EncodedBoxes, Encoder
from ..bounded.workers import side_by_side
from ..control import Check
from ..format.limits import MAX_FILTER
from ..storage.checkpoint import Pieces
from .filter import Filter
from .fit import FIT_VOXELS, fit_filter

RESERVED_SHARE = 0.05  # At most this share of the bytes is for a filter,
MOST_RESERVED = 256  # and at most so many.
UNUSED_SHARE = 0.01  # If a filter leaves more than this share of the bytes, boxes are searched for in these too.
SURE_SHARE = 0.005  # A filter of a larger share of the bytes is compared with what these give the boxes.
HEAD_BYTES = 20  # The length of a filter, and what PROVENANCE has of it.
# A search for a PSNR counts on this share of what a filter gains, as another one is fitted to the larger errors.
TARGET_SHARE = 0.95

Encoded = tuple[EncodedBoxes, Filter | None]


class FilteredSearch:
    """A search for boxes and their filter.

    Parameters
    ----------
    boxes : originals, (z, y, x) each.
    value_range : of the volume.
    encode : encodes a box.
    pieces : keeps the filter, so that a job that goes on has the same.
    check : ends the work.
    fits : False for no filter.
    """

    def __init__(
        self, boxes: Sequence[NDArray[Any]], value_range: tuple[float, float], encode: Encoder, pieces: Pieces,
        check: Check, *, fits: bool = True,
    ) -> None:  # fmt: skip
        self._fits = fits
        self._boxes, self._value_range, self._check = boxes, value_range, check
        self._span = float(value_range[1]) - float(value_range[0])
        self._pieces, self._encode_new = pieces, encode
        self._known: dict[tuple[int, float, int, float], EncodedBox] = {}

    def to_size(self, nbytes: int) -> Encoded:
        """Find boxes and a filter of at most ``nbytes``. OutOfReach as :func:`bounded_search.encode_to_size`."""
        with_filter = self._with_filter(nbytes)
        if with_filter is not None:
            fitted = with_filter[1]
            if fitted is None or len(fitted.pack()) < SURE_SHARE * nbytes:
                return with_filter
        plain = bounded_search.encode_to_size(self._boxes, nbytes, self._encode)
        if with_filter is None or plain.mse <= self._filtered_mse(*with_filter):
            return plain, None
        return with_filter

    def _with_filter(self, nbytes: int) -> Encoded | None:
        """Find boxes, and a filter in the bytes that they leave; None if no filter pays."""
        reserved = min(MOST_RESERVED, int(RESERVED_SHARE * nbytes))
        while self._fits and reserved > HEAD_BYTES:
            try:
                encoded = bounded_search.encode_to_size(self._boxes, nbytes - reserved, self._encode)
            except bounded_search.OutOfReach:
                return None
            fitted = self._fit(encoded, reserved - HEAD_BYTES)
            if fitted is None and encoded.bound:
                return None
            needed = HEAD_BYTES + (0 if fitted is None else len(fitted.pack()))
            if fitted is None or reserved - needed <= UNUSED_SHARE * nbytes:
                return encoded, fitted
            reserved = needed
        return None

    def to_psnr(self, wanted: float) -> Encoded:
        """Find boxes and a filter in the fewest bytes that reach a PSNR in dB."""
        plain = bounded_search.encode_to_psnr(self._boxes, wanted, self._span, self._encode)
        fitted = self._fit(plain, MAX_FILTER)
        if fitted is None:
            return plain, None
        gain = 10 * math.log10(plain.mse / max(self._filtered_mse(plain, fitted), 1e-300))
        coarser = bounded_search.encode_to_psnr(self._boxes, wanted - TARGET_SHARE * gain, self._span, self._encode)
        fitted = self._fit(coarser, MAX_FILTER)
        if fitted is None or coarser.nbytes + len(fitted.pack()) + HEAD_BYTES >= plain.nbytes:
            return plain, None
        reached = 20 * math.log10(self._span) - 10 * math.log10(max(self._filtered_mse(coarser, fitted), 1e-300))
        return (coarser, fitted) if reached >= wanted else (plain, None)

    def _encode(self, index: int, bound: float, taper: int, dead_zone: float) -> EncodedBox:
        """Encode a box, or return it from an earlier search of this one."""
        key = index, bound, taper, dead_zone
        if key not in self._known:
            self._known[key] = self._encode_new(*key)
        return self._known[key]

    def _fit(self, encoded: EncodedBoxes, most_bytes: int) -> Filter | None:
        """Fit a filter to encoded boxes, or return that of an earlier run; None if none pays."""
        if not (self._fits and encoded.bound):
            return None
        name = f"filter {encoded.bound.hex()} {encoded.taper} {encoded.dead_zone} {most_bytes}"
        if (kept := self._pieces.get(name)) is not None:
            return Filter.parse(kept["data"]) if kept["data"] else None
        rounded = [index for index, data in enumerate(encoded.parts) if bounded_box.is_rounded(data)]
        stride = max(1, sum(self._boxes[index].size for index in rounded) // (4 * FIT_VOXELS))
        pairs = [self._pair(encoded, index) for index in rounded[stride // 2 :: stride]]
        bits_per_voxel = 8 * encoded.nbytes / sum(box.size for box in self._boxes)
        fitted = fit_filter(pairs, self._value_range, encoded.nbytes, bits_per_voxel, most_bytes, self._check)
        self._pieces.put(name, {"data": fitted.pack() if fitted is not None else b""})
        return fitted

    def _pair(self, encoded: EncodedBoxes, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return a box to fit to, and what it decodes to. What a background hides counts as right."""
        box, decoded = self._boxes[index], self._decoded(encoded, index)
        is_left = is_left_by_background(encoded.parts[index], box.shape, box.dtype)
        return box if is_left is None else np.where(is_left, box, decoded), decoded

    def _decoded(self, encoded: EncodedBoxes, index: int) -> NDArray[Any]:
        """Decode a box."""
        box = self._boxes[index]
        return bounded_box.decode_box(encoded.parts[index], box.shape, box.dtype, self._check)

    def _filtered_mse(self, encoded: EncodedBoxes, fitted: Filter | None) -> float:
        """Measure the mean squared error of all boxes once they are filtered."""
        if fitted is None:
            return encoded.mse

        def squares(index: int) -> float:
            """Sum the squared errors of a box."""
            box, values = self._boxes[index], self._decoded(encoded, index)
            if bounded_box.is_rounded(encoded.parts[index]):
                filtered = fitted.apply(values, self._value_range, self._check)
                is_left = is_left_by_background(encoded.parts[index], box.shape, box.dtype)
                values = filtered if is_left is None else np.where(is_left, filtered, values)
            errors = np.subtract(values, box, dtype=np.float64)
            return float(np.square(errors, out=errors).sum())

        return sum(side_by_side(len(self._boxes), squares)) / sum(box.size for box in self._boxes)
