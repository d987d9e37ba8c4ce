"""The values of the scalar leaves, as integers in a MODEL chunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from . import entropy
from .rounding import to_bfloat16

# Step, distribution and base of the scalars, before their integers.
SCALAR_ITEM = np.dtype([("step", "<u2"), ("decay", "<u2"), ("largest", "<u2"), ("base", "<i2")])
MAX_BASE = 2**15 - 1  # Coarser steps are chosen if values would be a larger multiple of the step.


@dataclass(frozen=True, slots=True, eq=False)
class Scalars:
    """Values of the scalar leaves, in node order: (base + integers) * step, in units of the normalised volume.

    Attributes
    ----------
    step : a bfloat16.
    base : middle of the integers, which is stored once.
    integers : int32 (n_scalars,).
    """

    step: np.float32
    base: int
    integers: NDArray[np.int32]

    @classmethod
    def of(cls, values: NDArray[np.float64], step: float) -> Scalars:
        """Round values to multiples of a step, which is rounded to bfloat16.

        It is made coarser if values are too large.
        """
        largest = float(np.abs(values).max()) if values.size else 0.0
        stored = np.float32(to_bfloat16(np.array(max(step, 1.01 * largest / MAX_BASE))))
        levels = np.rint(values / np.float64(stored)).astype(np.int64)
        base = int(np.median(levels)) if values.size else 0
        return cls(stored, base, np.clip(levels - base, -entropy.MAX_MAGNITUDE, entropy.MAX_MAGNITUDE).astype(np.int32))

    @classmethod
    def none(cls) -> Scalars:
        """Return no scalars."""
        return cls(np.float32(1), 0, np.zeros(0, np.int32))

    @property
    def values(self) -> NDArray[np.float64]:
        """Values of the scalars, float64 (n_scalars,)."""
        return (self.base + self.integers.astype(np.float64)) * np.float64(self.step)

    def pack(self) -> bytes:
        """Build the bytes of the scalars; none if there are no scalars."""
        if not self.integers.size:
            return b""
        distribution = entropy.Geometric.of(self.integers)
        item = np.array(
            (self.step.view(np.uint32) >> 16, distribution.decay, distribution.largest, self.base), SCALAR_ITEM
        )
        return item.tobytes() + entropy.encode([(self.integers, distribution)])

    @classmethod
    def parse(cls, data: bytes, count: int) -> Scalars:
        """Read ``count`` scalars. TincError if the bytes are not exactly theirs."""
        if not count:
            if data:
                raise TincError(f"MODEL chunk has {len(data)} bytes of scalars, expected none")
            return cls.none()
        if len(data) < SCALAR_ITEM.itemsize:
            raise TincError(f"MODEL chunk has {len(data)} bytes of scalars, expected {SCALAR_ITEM.itemsize} or more")
        item = np.frombuffer(data[: SCALAR_ITEM.itemsize], SCALAR_ITEM)[0]
        (step,) = read_steps(item["step"][None])
        try:
            distribution = read_distribution(int(item["decay"]), int(item["largest"]))
            (integers,) = entropy.decode(data[SCALAR_ITEM.itemsize :], [(count, distribution)])
        except ValueError as error:
            raise TincError(f"scalars of the MODEL chunk: {error}") from error
        return cls(step, int(item["base"]), integers)


def read_steps(stored: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return rounding steps from their 16 bits. TincError if one is not a positive finite number."""
    steps = (stored.astype(np.uint32) << 16).view(np.float32)
    if not (np.isfinite(steps) & (steps > 0)).all():
        raise TincError("MODEL chunk has a rounding step that is not a positive finite number")
    return steps


def read_distribution(decay: int, largest: int) -> entropy.Geometric:
    """Return a distribution of integers. TincError if its largest magnitude is too large."""
    if largest > entropy.MAX_MAGNITUDE:
        raise TincError(f"largest magnitude is {largest}, expected at most {entropy.MAX_MAGNITUDE}")
    return entropy.Geometric.from_decay(decay, largest)
