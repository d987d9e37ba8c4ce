"""Values of the scalar leaves, and what they share with networks in a MODEL chunk: steps and laws of integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from . import entropy
from .rounding import storable

SCALAR_ITEM = np.dtype([("step", "<u2"), ("decay", "<u2"), ("largest", "<u2"), ("base", "<i2")])
MAX_BASE = 2**15 - 1


@dataclass(frozen=True, slots=True, eq=False)
class Scalars:
    """Values of the scalar leaves, in node order, as a file holds them: (base + integers) * step, normalised units."""

    step: np.float32
    base: int
    integers: NDArray[np.int32]

    @classmethod
    def of(cls, values: NDArray[np.float64], step: float) -> Scalars:
        """Values to the nearest multiple of a step, which is rounded to bfloat16; coarser where they are too large."""
        largest = float(np.abs(values).max()) if values.size else 0.0
        stored = np.float32(storable(np.array(max(step, 1.01 * largest / MAX_BASE))))
        levels = np.rint(values / np.float64(stored)).astype(np.int64)
        base = int(np.median(levels)) if values.size else 0
        return cls(stored, base, np.clip(levels - base, -entropy.MAX_MAGNITUDE, entropy.MAX_MAGNITUDE).astype(np.int32))

    @classmethod
    def none(cls) -> Scalars:
        return cls(np.float32(1), 0, np.zeros(0, np.int32))

    @property
    def values(self) -> NDArray[np.float64]:
        return (self.base + self.integers.astype(np.float64)) * np.float64(self.step)

    def pack(self) -> bytes:
        if not self.integers.size:
            return b""
        distribution = entropy.Geometric.of(self.integers)
        item = np.array(
            (self.step.view(np.uint32) >> 16, distribution.decay, distribution.largest, self.base), SCALAR_ITEM
        )
        return item.tobytes() + entropy.encode([(self.integers, distribution)])

    @classmethod
    def parse(cls, data: bytes, count: int) -> Scalars:
        """Of ``count`` leaves; :class:`TincError` where the bytes are not exactly theirs."""
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
    """Rounding steps of 16 bits as numbers; :class:`TincError` if one is none above 0."""
    steps = (stored.astype(np.uint32) << 16).view(np.float32)
    if not (np.isfinite(steps) & (steps > 0)).all():
        raise TincError("MODEL chunk has a rounding step that is not a positive finite number")
    return steps


def read_distribution(decay: int, largest: int) -> entropy.Geometric:
    """A law of integers; :class:`TincError` if its largest magnitude is too large."""
    if largest > entropy.MAX_MAGNITUDE:
        raise TincError(f"largest magnitude is {largest}, expected at most {entropy.MAX_MAGNITUDE}")
    return entropy.Geometric(decay, largest)
