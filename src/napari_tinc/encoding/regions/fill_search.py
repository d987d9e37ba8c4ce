"""Find the values that stand for no measurement: those that the caller names, and those that are far from all others.

The volume is read once, slab by slab, and once more for each value that seems to be one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...format.fill import MOST_VALUES, Fill, fits, is_fill
from ...io.read_options import say
from ..sources import VolumeSource, masked_numbers
from .fields import slabs
from .value_ends import smallest_and_largest

AUTO = "auto"  # Look for such values.
DECLARED = "declared"  # Look for others, too, and take the values beside it, a file's, only if they are as far apart.
LEAST_SHARE = 1e-3  # A value that is found by itself is that of at least this share of the voxels.
MOST_FOUND = 3  # At most so many values are found, such as those of gaps and of dead pixels.
NEAR = 8.0  # A rare value so near to a frequent one is of the same kind, as 2^32 - 2 and 2^32 - 1.
LEAST_OTHERS = 16  # With fewer different values besides, none is found: they may be labels.
ZERO_FACTOR = 4  # 0 is often a measurement; it must be so many times as far from the others.
DECLARED_SHARE = 1 / 16  # A value that a file declares must be apart by this share of the range of the others.
N_SAMPLES = 2**18  # About so many voxels tell which values there are.
N_ENDS = LEAST_OTHERS + MOST_FOUND  # So many different values at either end are kept: enough to see what is apart.


def parse_fill(fill: Any) -> tuple[Any, ...]:
    """Return the values that an option names as no measurements: numbers, "auto", or what :data:`DECLARED` is before.

    Raises
    ------
    ValueError, TypeError
        If they are no finite numbers, or too many, or "auto" is beside others.
    """
    if fill is None or (isinstance(fill, str) and fill == "none"):
        return ()
    given = (fill,) if isinstance(fill, str | Real) else tuple(fill)
    if len(given) > 1 and any(isinstance(value, str) and value == AUTO for value in given):
        raise ValueError("fill has 'auto' and other values, expected either: values that are named are not looked for")
    for value in given:
        if isinstance(value, str) and value in (AUTO, DECLARED):
            continue
        if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
            raise TypeError(f"fill is {fill!r}, expected a number, several, None or 'auto'")
        if not math.isfinite(value):
            raise ValueError(f"fill has {value}, expected finite numbers; NaN and infinities need not be named")
    if len(given) > MOST_VALUES:
        raise ValueError(f"fill has {len(given)} values, expected at most {MOST_VALUES}")
    return tuple(value if isinstance(value, str) else _plain(value) for value in given)


def unmasked(array: Any, fill: tuple[Any, ...], *, quiet: bool = False) -> tuple[Any, tuple[Any, ...]]:
    """Return a masked array of integers with one value wherever it is masked, and that value with those of ``fill``.

    It is the array's fill value if that was chosen, else an end of the dtype; in either case no voxel has it. Any other
    array is returned as it is. A line says what was done, unless ``quiet`` is set.

    Raises
    ------
    ValueError
        If no value is free.
    """
    if not isinstance(array, np.ma.MaskedArray) or array.dtype.kind not in "iu" or not np.ma.is_masked(array):
        return array, fill
    known, limits = array.compressed(), np.iinfo(array.dtype if array.dtype.itemsize < 8 else f"{array.dtype.kind}4")
    chosen, usual = int(array.fill_value), np.ma.default_fill_value(array.dtype)
    is_usual = chosen in (int(usual), int(np.array(usual).astype(array.dtype)))
    ends = [limits.min, limits.max] if array.dtype.kind == "i" else [limits.max, limits.min]
    for value in ([] if is_usual else [chosen]) + ends:
        if -(2**31) <= value < 2**32 and not (known == value).any():
            if not quiet:
                say(f"{array.size - known.size:,} masked voxels get the value {value}, which is no measurement")
            return array.filled(value), (value, *(one for one in fill if one not in (AUTO, DECLARED, value)))
    raise masked_numbers(array)


def _plain(value: Real) -> float:
    """Return a number as Python's int if it is whole, else as its float."""
    number = float(value)
    return int(value) if number.is_integer() else number  # type: ignore[call-overload]


@dataclass(frozen=True, slots=True, eq=False)
class NoMeasurements:
    """The voxels of a volume that are no measurements.

    Attributes
    ----------
    values : what they hold, besides NaN and infinities.
    n_voxels : how many there are, with NaN and infinities.
    n_not_finite : how many are NaN or infinite.
    size : voxels of the volume.
    low, high : smallest and largest measurement; 0 if there is none.
    named : whether the caller named the values.
    """

    values: tuple[float, ...]
    n_voxels: int
    n_not_finite: int
    size: int
    low: float
    high: float
    named: bool = False

    @property
    def lost_db(self) -> float:
        """By how many dB the PSNR of the measurements may be below that of all voxels, if the others have no errors."""
        return 10 * math.log10(self.size / (self.size - self.n_voxels)) if self.n_voxels < self.size else 0.0

    @property
    def fill(self) -> Fill:
        """What the file says about them."""
        return Fill(self.values, self.n_voxels)

    def describe(self, dtype: np.dtype[Any]) -> str:
        """Describe in a line what they are, and what is done with them."""
        text = self.fill.describe(dtype, self.size)
        if not self.named and self.values:
            text += "; --fill none (fill=None): treat them as measurements"
        return text


@dataclass(slots=True)
class _Look:
    """What one pass over all voxels has found.

    Attributes
    ----------
    low, high : smallest and largest finite value that is not in ``without``; low > high if there is none.
    counts : voxels that have one of the values of ``without``, for each.
    n_not_finite : voxels that are NaN or infinite.
    sample : different values of some voxels, ascending, without those of ``without``: the smallest, and the largest.
    """

    low: float
    high: float
    counts: list[int]
    n_not_finite: int
    sample: NDArray[Any]


def _look(source: VolumeSource, without: Sequence[float]) -> _Look:
    """Read all voxels once."""
    low, high, n_not_finite = math.inf, -math.inf, 0
    counts = [0] * len(without)
    samples: list[NDArray[Any]] = []
    stride = max(1, source.size // N_SAMPLES)
    while math.gcd(stride, source.shape[2] * source.shape[1]) > 1:  # else a few columns would be seen only
        stride += 1
    for volume in range(source.n_volumes):
        for slab in slabs(source.shape):
            values = source.read(volume, slab, finite=False).reshape(-1)
            if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
                n_not_finite += int((~finite).sum())
                values = values[finite]
            for number, value in enumerate(without):
                here = is_fill(values, (value,))
                counts[number] += (n := int(here.sum()))
                values = values[~here] if n else values
            if values.size:
                low, high = min(low, values.min().item()), max(high, values.max().item())
                samples.append(_ends_of(values[::stride]))
    sample = _ends_of(np.concatenate(samples)) if samples else np.zeros(0, source.dtype)
    return _Look(low, high, counts, n_not_finite, sample)


def _ends_of(values: NDArray[Any]) -> NDArray[Any]:
    """Return the smallest and the largest of different values, ascending; those between tell nothing here."""
    ends = np.empty(2 * N_ENDS)
    n = smallest_and_largest(np.ascontiguousarray(values, np.float64), ends)  # float64 has all values exactly
    return ends[:n].astype(values.dtype)


def find_no_measurements(source: VolumeSource, fill: Sequence[Any], *, not_finite: bool) -> NoMeasurements | None:
    """Find the voxels that are no measurements; None if all are measurements.

    Parameters
    ----------
    fill : values that stand for none; "auto" or "declared" among them looks for others.
    not_finite : whether NaN and infinite values alone are a reason, as they are without a bound.

    Raises
    ------
    ValueError
        If a value is named that the dtype cannot have.
    """
    named, is_auto = tuple(value for value in fill if not isinstance(value, str)), not {AUTO, DECLARED}.isdisjoint(fill)
    for value in named:
        if not fits(value, source.dtype) and not is_auto:
            raise ValueError(f"fill is {value:g}, which {source.dtype} cannot have; expected a value of some voxels")
    named = tuple(_exact(value, source.dtype) for value in named if fits(value, source.dtype))
    if not named and not is_auto and not (not_finite and source.dtype.kind == "f"):
        return None
    look = _look(source, named)
    values = [value for value, count in zip(named, look.counts, strict=True) if count]
    if not is_auto:
        for value in set(named) - set(values):
            say(f"no voxel has the value {value:g} of --fill (fill=)")
    else:
        values = [value for value in values if _is_apart(value, look.low, look.high, DECLARED_SHARE)]
        if len(values) < len(named):
            look = _look(source, values)
        found, look = _found_apart(source, values, look)
        values += found
    if not values and not (look.n_not_finite and not_finite):
        return None
    is_empty = look.low > look.high
    return NoMeasurements(
        tuple(values), sum(look.counts) + look.n_not_finite, look.n_not_finite, source.size,
        0.0 if is_empty else look.low, 0.0 if is_empty else look.high, named=bool(named) and not is_auto,
    )  # fmt: skip


def _exact(value: float, dtype: np.dtype[Any]) -> float:
    """Return a number as the dtype has it."""
    exact: float = np.array(value).astype(dtype).item()
    return exact


def _is_apart(value: float, low: float, high: float, share: float) -> bool:
    """Return whether a value is further from a range than a share of it."""
    if not low <= high:
        return False
    distance = max(low - value, value - high)
    return distance > 0 and distance > share * (high - low)


def _found_apart(source: VolumeSource, known: list[float], look: _Look) -> tuple[list[float], _Look]:
    """Find values that are far from all others, and look at the volume without them.

    Every one is further from the others than these span. It is proved by all voxels, not by the sample. Measurements
    over many powers of ten are like that one after the other: where a file could not name them all, none is found.
    """
    found, without = _found_in_turn(source, known, look)
    return (found, without) if len(known) + len(found) <= MOST_VALUES else ([], look)


def _found_in_turn(source: VolumeSource, known: list[float], look: _Look) -> tuple[list[float], _Look]:
    """Find values that are far from all others, at one end and then at the other, until there are too many."""
    found = _candidates(look)
    while 0 < len(found) <= MOST_FOUND:
        without = _look(source, [*known, *found])
        counts = without.counts[len(known) :]
        frequent = [value for value, count in zip(found, counts, strict=True) if count >= LEAST_SHARE * source.size]
        if not without.low <= without.high or not all(_is_near(value, frequent) for value in found):
            break
        if all(_is_apart(value, without.low, without.high, _factor(value)) for value in found):
            if len(known) + len(found) > MOST_VALUES:
                return found, without
            more, without = _found_in_turn(source, [*known, *found], without)  # at the other end
            return found + more, without
        # A rare value may be beside it, such as that of dead pixels beside that of gaps.
        beside = [end for end in (without.low, without.high) if _is_near(end, found)]
        if not beside:
            break
        found += beside[:1]
    return [], look


def _is_near(value: float, others: Sequence[float]) -> bool:
    """Return whether a value is one of others, or nearly."""
    return any(abs(value - other) <= NEAR for other in others)


def _factor(value: float) -> float:
    """Return by how many times the range of the others a value must be apart."""
    return ZERO_FACTOR if value == 0 else 1.0


def _candidates(look: _Look) -> list[float]:
    """Return the fewest values at the ends of the sample that are far from all others in it."""
    values = look.sample.astype(np.float64)
    if len(values) < LEAST_OTHERS:
        return []
    for n in range(1, MOST_FOUND + 1):
        for n_low in range(n, -1, -1):
            others = values[n_low : len(values) - (n - n_low)]
            if len(others) < LEAST_OTHERS:
                continue
            chosen = np.concatenate([look.sample[:n_low], look.sample[len(values) - (n - n_low) :]]).tolist()
            if all(_is_apart(value, float(others[0]), float(others[-1]), _factor(value)) for value in chosen):
                return chosen
    return []
