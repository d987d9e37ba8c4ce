"""A smooth background: a polynomial in place of all voxels of the cells where it is as good as coding them.

A box is often busy in a part and smooth in the rest: a specimen in air, a crop in padding. There a polynomial of few
coefficients stands for the smooth cells, a label image says which these are, and interpolation.py codes the other
voxels only. The values of the polynomial are products and sums of float64 in a fixed order, the same on every machine::

    u8 kind | u8 degree | u16 bytes of coefficients | u32 bytes of the mask | f64 step | coefficients | mask | numbers

Without a mask the polynomial is the whole box, and no numbers follow. With 128 added to the degree, the numbers are
those of the smallest box around the voxels that are left, from a multiple of 32 voxels along each axis. Networks behind
a background are then of the smallest such box itself.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Check, never
from . import interpolation, label_kernels, labels
from .entropy import MEDIUM, Reader, Writer
from .quantization import BoxKind, decode_numbers, encode_numbers
from .shaping import reach

HEAD = struct.Struct("<BBHId")  # Kind, degree, bytes of the coefficients and of the mask, step of the coefficients.
CELL = 2  # Voxels along the cells of the mask.
CROPPED = 128  # Added to the degree where the numbers are of a part of the box only.
ALIGNMENT_LEVEL = 5  # That part begins at a multiple of 2 to this along each axis, as the voxels of sketches do.
MAX_VOXELS = 2**23  # Larger boxes are refused. Its numbers are of at most interpolation.MAX_VOXELS.
MAX_DEGREE = 8  # Polynomials of a higher degree are refused.
DEGREES = (0, 1, 2, 4, 6)  # The encoder tries polynomials of these total degrees.
FINENESS = 64  # Coefficients are rounded to this fraction of the bound.
LARGEST = 1e100  # Boxes with larger values, whose squares would be infinite, have no background.
LEAST_SHARE = 0.1  # A background that fills less of a box is not tried.
MEAN_EDGE = 4  # The polynomial is fitted to the means of cells of this many voxels along an edge.
MOST_MEANS = 4000  # At most this many means are fitted to.
FIT_ROUNDS = 12  # Rounds of a robust fit, each of which gives outliers less weight.
GOOD_SHARE = 0.5  # A cell is background if its root mean squared error is at most this share of the bound.
# If a background hides this share of a box, its mask taking at most this share of the bytes, others are not tried.
MOSTLY_HIDDEN = 0.75
LARGEST_MASK = 0.05
PRICE = 0.8  # Squared error that a bit is worth, in squares of the bound.


class NoBackground(ValueError):
    """A box is too large to be encoded without a background, and has none that leaves few enough voxels."""


def encode_background(
    original: NDArray[Any], bound: float, taper: int, dead_zone: float, check: Check
) -> tuple[bytes, NDArray[Any], bool] | None:
    """Encode a box as a background and the other voxels. None if there is no background, or it leaves too many voxels.

    Every voxel is within the :func:`~.shaping.reach` of the bound.

    Returns
    -------
    The bytes, what they decode to, and whether nothing better is to be expected without a background.
    """
    if not bound or original.size < MEAN_EDGE**3 or min(original.shape) < MEAN_EDGE:
        return None
    values = original.astype(np.float64)
    if not np.abs(values).max() < LARGEST:  # or NaN
        return None
    best: tuple[float, bytes, NDArray[Any], NDArray[np.bool_]] | None = None
    step = bound / FINENESS
    positions, means = _means_of_cells(values)
    for degree in DEGREES:
        check()
        coefficients, share = _fit_polynomial(positions, means, degree, bound)
        if share < LEAST_SHARE:
            continue
        with np.errstate(all="ignore"):
            stored = np.rint(coefficients / step)
        if not (np.abs(stored) < 2**31).all():
            continue
        stored = stored.astype(np.int64)
        smooth = _to_dtype(polynomial(stored, degree, step, original.shape), original.dtype)
        cells, squares = _background_cells(values - smooth, bound, reach(bound, dead_zone))
        share = float(_voxels_of(cells, original.shape).mean())
        if share < LEAST_SHARE:
            continue
        # The price of what the background leaves out is not known yet: a typical bit and half a bound for each voxel.
        rest = (1 - share) * original.size * bound * bound * (PRICE + 0.25)
        cost = squares + rest + PRICE * bound * bound * 10 * len(stored)
        if best is None or cost < best[0]:
            writer = Writer()
            writer.integers(stored, MEDIUM)
            coded = writer.to_bytes()
            head = HEAD.pack(BoxKind.BACKGROUND, degree, len(coded), 0, step)
            best = cost, head + coded, smooth, cells
    if best is None:
        return None
    _, start, smooth, cells = best
    if cells.all():
        return start, smooth, True
    check()
    mask = labels.encode_labels(np.arange(2, dtype=np.uint8), cells.astype(np.intp), check)
    kind, degree, n_coefficients, _, step = HEAD.unpack_from(start)
    hidden = _voxels_of(cells, original.shape)
    filled = np.where(hidden, original[~hidden][0], original)
    if (filled == filled[0, 0, 0]).all():
        return None  # a box of one more constant: as rare as cheap to code without a background
    part = part_around(~hidden)
    cropped = CROPPED * (hidden[part].size < hidden.size)
    start = HEAD.pack(kind, degree | cropped, n_coefficients, len(mask), step) + start[HEAD.size :] + mask
    filled = np.ascontiguousarray(filled[part])
    if filled.size > interpolation.MAX_VOXELS:
        return None
    rest_bytes, decoded = encode_numbers(filled, bound, taper, dead_zone, check, hidden[part])
    smooth[part] = np.where(hidden[part], smooth[part], decoded)
    data = start + rest_bytes
    return data, smooth, bool(hidden.mean() >= MOSTLY_HIDDEN and len(mask) <= LARGEST_MASK * len(data))


def background_cells(values: NDArray[Any], bound: float) -> NDArray[np.bool_]:
    """Return about which cells of a box a background would hide at a bound, (z, y, x) in cells of 2 voxels."""
    most = np.zeros([-(-n // CELL) for n in values.shape], bool)
    if min(values.shape) < MEAN_EDGE or not bound or not np.abs(values.astype(np.float64)).max() < LARGEST:
        return most
    positions, means = _means_of_cells(values.astype(np.float64))
    for degree in (0, 2):
        coefficients, _ = _fit_polynomial(positions, means, degree, bound)
        smooth = polynomial(np.rint(coefficients * FINENESS / bound), degree, bound / FINENESS, values.shape)
        cells, _ = _background_cells(values - smooth, bound, bound)
        most = max(most, cells, key=np.count_nonzero)
    return most


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """The background of a box, as its bytes have it.

    Attributes
    ----------
    data : its bytes, with which the box begins.
    smooth : the values of the polynomial, (z, y, x), in the dtype of the box.
    hidden : which voxels have these values.
    part : the part of the box that the numbers behind it are of.
    core : the part of the box that networks behind it are of.
    """

    data: bytes
    smooth: NDArray[Any]
    hidden: NDArray[np.bool_]
    part: tuple[slice, ...]
    core: tuple[slice, ...]

    @classmethod
    def parse(cls, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], check: Check = never) -> Background:
        """Read the background with which a box begins. ValueError if it is damaged."""
        if len(data) < HEAD.size:
            raise ValueError(f"box with a background is {len(data)} bytes, expected {HEAD.size} or more")
        kind, form, n_coefficients, n_mask, step = HEAD.unpack_from(data)
        degree, cropped = form & ~CROPPED, form & CROPPED
        ends = [HEAD.size, HEAD.size + n_coefficients, HEAD.size + n_coefficients + n_mask]
        if cropped and not n_mask:
            raise ValueError("background has no mask, and yet a part that it leaves")
        if kind != BoxKind.BACKGROUND or ends[2] > len(data) or degree > MAX_DEGREE or not 0 < step < np.inf:
            raise ValueError(
                f"background of kind {kind} ends at byte {ends[2]}, has degree {degree} and step {step}; expected kind "
                f"{BoxKind.BACKGROUND:d}, at most {len(data)}, at most {MAX_DEGREE}, and a finite step above 0"
            )
        reader = Reader(data[ends[0] : ends[1]])
        coefficients = reader.integers(MEDIUM, len(_exponents(degree)))
        reader.end()
        smooth = _to_dtype(polynomial(coefficients, degree, step, shape), dtype)
        whole = tuple(slice(0, n) for n in shape)
        if not n_mask:
            return cls(data[: ends[2]], smooth, np.ones(shape, bool), whole, whole)
        lattice = tuple(-(-n // CELL) for n in shape)
        cells = labels.decode_labels(data[ends[1] : ends[2]], lattice, np.uint8, check)
        if cells.max() > 1 or cells.min() == cells.max():
            raise ValueError("mask of the background has other labels than 0 and 1, or one only")
        hidden = _voxels_of(cells > 0, shape)
        if not cropped:
            return cls(data[: ends[2]], smooth, hidden, whole, whole)
        return cls(data[: ends[2]], smooth, hidden, part_around(~hidden), part_around(~hidden, 0))

    def cropped(self) -> Background:
        """Return the same background before networks of the smallest box around the voxels that are left."""
        if self.hidden.all():
            return self
        data = self.data[:1] + bytes([self.data[1] | CROPPED]) + self.data[2:]
        return replace(self, data=data, part=part_around(~self.hidden), core=part_around(~self.hidden, 0))

    def in_core(self) -> Background:
        """Return what a background is in the part of the box that networks are of."""
        whole = tuple(slice(0, side.stop - side.start) for side in self.core)
        return Background(b"", self.smooth[self.core], self.hidden[self.core], whole, whole)


def part_around(left: NDArray[np.bool_], level: int = ALIGNMENT_LEVEL) -> tuple[slice, ...]:
    """Return the smallest box around voxels, (z, y, x), that begins at a multiple of 2^level along each axis."""
    part = []
    for axis in range(3):
        met = np.flatnonzero(left.any(axis=tuple(other for other in range(3) if other != axis)))
        part.append(slice(int(met[0]) >> level << level, int(met[-1]) + 1))
    return tuple(part)


def behind_background(data: bytes) -> bytes:
    """Return the bytes behind the background with which a box begins: its numbers, or nothing."""
    if len(data) < HEAD.size:
        return b""
    _, _, n_coefficients, n_mask, _ = HEAD.unpack_from(data)
    return data[HEAD.size + n_coefficients + n_mask :]


def is_left_by_background(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[np.bool_] | None:
    """Return which voxels of a box no background hides, (z, y, x); None if it has no background."""
    if data[:1] != bytes([BoxKind.BACKGROUND]):
        return None
    return ~Background.parse(data, shape, dtype).hidden


def decode_background(
    data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], check: Check, last: int = 0
) -> NDArray[Any]:
    """Decode a box that :func:`encode_background` made. ValueError if it is damaged.

    With ``last`` above 0 only every 2^last-th voxel along each axis, approximately.
    """
    background = Background.parse(data, shape, dtype, check)
    hidden, part, rest = background.hidden, background.part, data[len(background.data) :]
    level = min(last, ALIGNMENT_LEVEL)
    step, further = (slice(None, None, 2**level),) * 3, (slice(None, None, 2 ** (last - level)),) * 3
    values = background.smooth[step].copy()
    if hidden.all():
        if rest:
            raise ValueError(f"background of a whole box is {len(data)} bytes, expected {len(background.data)}")
        return values[further]
    size = tuple(side.stop - side.start for side in part)
    interpolation.check_shape(size)
    numbers = decode_numbers(rest, size, dtype, check, hidden[part], level)
    inside = tuple(
        slice(side.start >> level, (side.start >> level) + n) for side, n in zip(part, numbers.shape, strict=True)
    )
    values[inside] = np.where(hidden[part][step], values[inside], numbers)
    return values[further]


def polynomial(
    coefficients: NDArray[np.int64], degree: int, step: float, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Compute a sum of products of Chebyshev polynomials of z, y, x, each from -1 to 1 over the box.

    Elementwise operations in this order round the same on every machine.

    Parameters
    ----------
    coefficients : in units of ``step``, in the order of the exponents.
    degree : largest sum of the exponents.
    """
    scaled = dict(zip(_exponents(degree), (coefficients * np.float64(step)).tolist(), strict=True))
    z, y, x = (_chebyshev((2.0 * np.arange(n) + 1.0 - n) / n, degree) for n in shape)
    total = np.zeros(shape)
    for i in range(degree + 1):
        plane = np.zeros(shape[1:])
        for j in range(degree + 1 - i):
            line = np.zeros(shape[2])
            for k in range(degree + 1 - i - j):
                line += x[k] * scaled[i, j, k]
            plane += y[j][:, None] * line
        total += z[i][:, None, None] * plane
    return total


def _exponents(degree: int) -> list[tuple[int, int, int]]:
    """Return the exponents of z, y, x of every coefficient, low degrees first."""
    powers = range(degree + 1)
    exponents = [(z, y, x) for z, y, x in itertools.product(powers, powers, powers) if z + y + x <= degree]
    return sorted(exponents, key=lambda e: (sum(e), e))


def _chebyshev(x: NDArray[np.float64], degree: int) -> list[NDArray[np.float64]]:
    """Return the Chebyshev polynomials up to a degree at some points from -1 to 1."""
    out = [np.ones_like(x), x]
    for _ in range(2, degree + 1):
        out.append(2.0 * x * out[-1] - out[-2])
    return out[: degree + 1]


def _to_dtype(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round to the nearest value of a dtype."""
    if dtype.kind == "f":
        largest = float(np.finfo(dtype).max)
        return np.clip(values, -largest, largest).astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def _voxels_of(cells: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return for every voxel whether its cell is background."""
    for axis in range(3):
        cells = np.repeat(cells, CELL, axis=axis)
    return cells[tuple(slice(n) for n in shape)]


def _means_of_cells(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positions, each from -1 to 1 along z, y, x, and means of whole cells; a random part of them if many."""
    edge = MEAN_EDGE
    n = [size // edge for size in values.shape]
    parts = values[tuple(slice(count * edge) for count in n)].reshape(n[0], edge, n[1], edge, n[2], edge)
    means = parts.mean(axis=(1, 3, 5)).ravel()
    axes = [
        (2.0 * (np.arange(count) * edge + (edge - 1) / 2) + 1 - size) / size
        for count, size in zip(n, values.shape, strict=True)
    ]
    positions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    if len(means) > MOST_MEANS:
        chosen = np.sort(np.random.default_rng(0).choice(len(means), MOST_MEANS, replace=False))
        positions, means = positions[chosen], means[chosen]
    return positions, means


def _fit_polynomial(
    positions: NDArray[np.float64], means: NDArray[np.float64], degree: int, bound: float
) -> tuple[NDArray[np.float64], float]:
    """Fit a polynomial to most of the means; what is far from it hardly counts.

    Return its coefficients, and the share of the means that are within the bound.
    """
    powers = [np.stack(_chebyshev(positions[:, axis], degree)) for axis in range(3)]
    terms = np.stack([powers[0][i] * powers[1][j] * powers[2][k] for i, j, k in _exponents(degree)], axis=1)
    centre = float(np.median(means))
    coefficients = np.zeros(terms.shape[1])
    coefficients[0] = centre
    if degree == 0:  # the most frequent mean, within a bound
        ordered = np.sort(means)
        counts = np.searchsorted(ordered, ordered + bound, side="right") - np.arange(len(ordered))
        first = int(np.argmax(counts))
        coefficients[0] = float(np.median(ordered[first : first + int(counts[first])]))
    for round_ in range(FIT_ROUNDS):
        errors = np.abs(means - terms @ coefficients)
        scale = max(bound / 4, float(np.median(errors)) * 0.7**round_)
        weights = 1 / (1 + (errors / scale) ** 2) ** (1 if round_ < FIT_ROUNDS // 2 else 2)
        weighted = terms * weights[:, None]
        gram = weighted.T @ terms
        ridge = 1e-9 * float(np.trace(gram)) * np.eye(len(gram))
        coefficients = np.linalg.solve(gram + ridge, weighted.T @ means)
    return coefficients, float((np.abs(means - terms @ coefficients) <= bound).mean())


def _background_cells(errors: NDArray[np.float64], bound: float, largest: float) -> tuple[NDArray[np.bool_], float]:
    """Return which cells are background, and the sum of their squared errors.

    A cell is if its errors are small, none is larger than ``largest``, and most of the cells around it are.
    """
    good = np.empty([-(-n // CELL) for n in errors.shape], np.bool_)
    squares = np.empty(good.shape)
    label_kernels.good_cells(errors, CELL, (GOOD_SHARE * bound) ** 2, largest, good, squares)
    cells = good
    for _ in range(2):
        around, present = cells.astype(np.int64), np.ones(cells.shape, np.int64)
        for axis in range(3):
            around, present = _sum_of_three(around, axis), _sum_of_three(present, axis)
        cells = good & (2 * around > present)
    return cells, float(squares[cells].sum())


def _sum_of_three(values: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
    """Sum every value and its two neighbours along an axis."""
    width = [(1, 1) if a == axis else (0, 0) for a in range(3)]
    padded = np.moveaxis(np.pad(values, width), axis, 0)
    return np.moveaxis(padded[:-2] + padded[1:-1] + padded[2:], 0, axis)
