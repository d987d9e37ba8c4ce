"""The filter of a file: its coefficients, its bytes, and what it makes of decoded values.

The predictive coder decodes a box from coarse to fine, so that voxels differ by the parity of their coordinates: those
of coarse levels are more exact than those between them. So each parity may have its own coefficients. A filter adds to
a value a weighted sum of its terms (terms.py), once as they are and once clipped, which follows edges.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Check, never
from ..errors import TincError
from ..format.limits import MAX_FILTER
from ..networks.entropy import Geometric, decode, encode
from .terms import ORBITS, REACH, padded_slab, slabs, terms

HEAD = struct.Struct("<BBBfHH")  # Classes, whether there are clipped terms, bits, unit, and the law of the integers.
CLASSES = {1: (0,) * 8, 4: (0, 1, 1, 2, 1, 2, 2, 3), 8: tuple(range(8))}  # From the number of classes: of each parity.
MAX_BITS = 15  # A coefficient is an integer times 2^-bits, of at most so many bits.


Finish = Callable[[NDArray[Any], Check], NDArray[Any]]  # from decoded values, and what ends the work, to filtered ones


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """A filter.

    Attributes
    ----------
    integers : coefficients in units of 2^-bits, int32 (classes, terms): a row has one for each orbit, one for each
        orbit's clipped term if there are such, and a constant in ``unit``.
    bits : see there.
    unit : what terms are clipped at, above 0, as a share of the volume's range. Exact in float32.
    """

    integers: NDArray[np.int32]
    bits: int
    unit: float

    @property
    def n_classes(self) -> int:
        """Number of classes of parities: 1 for all alike, 4 by the number of odd coordinates, 8 for each."""
        return len(self.integers)

    @property
    def n_coefficients(self) -> int:
        """Number of coefficients in all classes."""
        return self.integers.size

    @property
    def clips(self) -> bool:
        """Whether there are clipped terms."""
        return self.integers.shape[1] > len(ORBITS) + 1

    def describe(self, gain: object = None) -> str:
        """Say in words what the filter is: "216 coefficients in 8 classes, 199 bytes"; and the dB that it gained."""
        gained = f", gained {gain} dB" if isinstance(gain, str) else ""
        classes = f"{self.n_classes} classes" if self.n_classes > 1 else "one class"
        return f"{self.n_coefficients} coefficients in {classes}, {len(self.pack())} bytes{gained}"

    def pack(self) -> bytes:
        """Return the bytes of the filter, as the head of a file has them."""
        law = Geometric.of(self.integers)
        head = HEAD.pack(self.n_classes, self.clips, self.bits, self.unit, law.decay, law.largest)
        return head + encode([(self.integers.ravel(), law)])

    @classmethod
    def parse(cls, data: bytes) -> Filter:
        """Read the bytes of a filter. TincError if they are not those of one."""
        if not HEAD.size <= len(data) <= MAX_FILTER:
            raise TincError(f"filter is {len(data)} bytes, expected {HEAD.size} to {MAX_FILTER}")
        n_classes, clips, bits, unit, decay, largest = HEAD.unpack_from(data)
        if n_classes not in CLASSES or clips > 1 or bits > MAX_BITS:
            stated = f"{n_classes} classes, clips {clips}, {bits} bits"
            raise TincError(f"filter has {stated}, expected {list(CLASSES)}, 0 or 1, at most {MAX_BITS}")
        if not 0 < unit < math.inf or largest >= 2**15 or bool(decay) != bool(largest):
            raise TincError(f"filter has the unit {unit} and the law {decay}, {largest}, expected others")
        shape = (n_classes, len(ORBITS) * (1 + clips) + 1)
        try:
            (integers,) = decode(data[HEAD.size :], [(shape[0] * shape[1], Geometric.from_decay(decay, largest))])
        except ValueError as error:
            raise TincError(f"filter: {error}") from error
        return cls(integers.reshape(shape), bits, unit)

    def finish(self, value_range: tuple[float, float]) -> Finish:
        """Return :meth:`apply` for boxes of a volume of this range."""
        return lambda values, check: self.apply(values, value_range, check)

    def apply(self, values: NDArray[Any], value_range: tuple[float, float], check: Check = never) -> NDArray[Any]:
        """Return what the filter makes of a box.

        Parameters
        ----------
        values : (z, y, x), as decoded.
        value_range : smallest and largest value of the volume, which no result is beyond.
        """
        low, high = map(float, value_range)
        span = high - low
        out = np.empty_like(values)
        if not 0 < span < math.inf:
            return values.copy()
        for slab in slabs(values.shape):
            check()
            sums = self._sums(padded_slab(values, slab, low, span))
            with np.errstate(invalid="ignore", over="ignore"):
                moved = sums.astype(np.float64)
                moved *= span
                moved += values[slab]
            np.clip(moved, low, high, out=moved)
            if values.dtype.kind in "iu":
                np.rint(moved, out=moved)
            with np.errstate(invalid="ignore"):
                out[slab] = moved
        return out

    def _sums(self, padded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sum the weighted terms of a slab that begins at an even plane, float32 (z, y, x)."""
        shape = tuple(n - 2 * REACH for n in padded.shape)
        unit = np.float32(self.unit)
        rows = _rows(self.integers, self.bits, shape[2])
        sums = np.empty(shape, np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            for place, row in rows:
                sums[place] = row[-1] * unit
            for index, term in enumerate(terms(padded)):
                _add(sums, term, rows, index)
                if self.clips:
                    np.maximum(term, -unit, out=term)
                    np.minimum(term, unit, out=term)
                    _add(sums, term, rows, index + len(ORBITS))
        return sums


def _rows(integers: NDArray[np.int32], bits: int, n_x: int) -> list[tuple[tuple[slice, ...], NDArray[np.float32]]]:
    """Return where the parities of z and y are, and for these the coefficients along x, float32 (terms, x or 1)."""
    coefficients = integers.astype(np.float32) * np.float32(2.0**-bits)
    if len(integers) == 1:
        return [((slice(None), slice(None)), coefficients[0][:, None])]
    of_parity = coefficients[list(CLASSES[len(integers)])]
    return [
        ((slice(z, None, 2), slice(y, None, 2)), of_parity[4 * z + 2 * y + np.arange(n_x) % 2].T.copy())
        for z in (0, 1) for y in (0, 1)
    ]  # fmt: skip


def _add(
    sums: NDArray[np.float32], term: NDArray[np.float32],
    rows: list[tuple[tuple[slice, ...], NDArray[np.float32]]], index: int,
) -> None:  # fmt: skip
    """Add a weighted term to sums."""
    for place, row in rows:
        if row[index].any():
            sums[place] += term[place] * row[index]
