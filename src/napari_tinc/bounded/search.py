"""Find the bound at which boxes take a number of bytes, or reach a PSNR. One bound for all boxes uses every byte best.

Bytes and errors change steadily with the logarithm of the bound. A search starts from an estimate and encodes all boxes
a few times, each time between a bound that was too small and one that was too large. Bounds of integers are integers.
Between two of these, other dead zones meet the goal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Check, never
from . import box as bounded_box
from .shaping import reach
from .workers import side_by_side

TAPER = 3  # Gives the best PSNR on average, at ratios 32 to 128.
DEAD_ZONE = 0.1  # Share of a step; gives the best PSNR on average, with that taper.
WIDE_DEAD_ZONE = 0.2  # Share of a step; is tried for fewer bytes at the same bound.
NARROW_DEAD_ZONE = 0.02  # Share of a step; is tried for more bytes at the same bound.
MAX_ENCODES = 6  # A search ends after this many rounds.
# Unless results on both sides of the goal differ by more, in log2(bytes) or dB: then after twice as many.
FAR_APART = 0.5
LEAST_SHARE = 0.985  # A search for a size ends with this share of the bytes that are allowed,
USUAL_ENCODES = 3  # and after so many rounds
ENOUGH_SHARE = 0.97  # with this share.
NEAR_DB = 0.1  # A search for a PSNR ends at most this much above it.
UNIFORM_ERROR_DB = 4.8  # PSNR over that of errors as large as the bound: small errors are spread evenly up to it.
SAMPLES_PER_LEVEL = 30_000  # The estimate looks at about this many voxels of a level.
ESTIMATE_SHARE = 0.57  # Boxes take about this share of the bytes that a linear interpolation would.
BYTES_PER_BOX = 100  # The estimate adds this many bytes for the head and the tables of a box.


@dataclass(frozen=True, slots=True)
class EncodedBox:
    """An encoded box.

    Attributes
    ----------
    data : its bytes.
    squares : sum of the squared errors of its finite voxels.
    count : number of these.
    """

    data: bytes
    squares: float
    count: int


class OutOfReach(ValueError):
    """Boxes take more bytes than they may, even at the largest bound.

    Attributes
    ----------
    nbytes : bytes that they take at least.
    """

    def __init__(self, message: str, nbytes: int) -> None:
        super().__init__(message)
        self.nbytes = nbytes


Encoder = Callable[[int, float, int, float], EncodedBox]  # from the number of a box, bound, taper and dead zone


@dataclass(frozen=True, slots=True, eq=False)
class EncodedBoxes:
    """Boxes encoded under one bound, taper and dead zone.

    Attributes
    ----------
    parts : bytes of every box.
    bound : in units of the values. Without a dead zone every voxel is within it; boxes are exact if it is 0.
    mse : mean squared error of all finite voxels.
    """

    parts: list[bytes]
    bound: float
    taper: int
    dead_zone: float
    mse: float

    @property
    def largest_error(self) -> float:
        """Error that no voxel is beyond."""
        return reach(self.bound, self.dead_zone)

    @property
    def nbytes(self) -> int:
        """Bytes of all boxes."""
        return sum(map(len, self.parts))


def encode_to_size(boxes: Sequence[NDArray[Any]], nbytes: int, encode: Encoder | None = None) -> EncodedBoxes:
    """Encode boxes into at most ``nbytes``, and at least 97 % of these if such a bound is found; lossless if that fits.

    Parameters
    ----------
    boxes : (z, y, x) each, of one dtype that :func:`residual.encode` takes.
    encode : instead of :func:`encode_box`, and with what it returns; what it raises ends the search.

    Raises
    ------
    OutOfReach
        If they take more bytes even at the largest bound.
    """
    encode = encode or _encoder(boxes)
    estimate = _size_estimator(boxes)
    if estimate(0) <= 2 * nbytes:
        encoded = encode_lossless(boxes, encode)
        if encoded.nbytes <= nbytes:
            return encoded
    goal = float(np.log2(nbytes * (1 + LEAST_SHARE) / 2))
    search = _Search(
        boxes,
        lambda bound: float(np.log2(ESTIMATE_SHARE * estimate(bound))),
        lambda encoded: float(np.log2(encoded.nbytes)),
        encode,
    )

    def is_met(encoded: EncodedBoxes) -> bool:
        """Return whether enough of the bytes are used: nearly all at once, a little less after a few rounds."""
        if len(search.tried) < USUAL_ENCODES:
            return LEAST_SHARE * nbytes <= encoded.nbytes <= nbytes
        return any(ENOUGH_SHARE * nbytes <= tried.nbytes <= nbytes for tried in search.tried)

    search.run(goal, is_met, lambda encoded: encoded.nbytes > nbytes)
    while not search.reach_further(lambda encoded: encoded.nbytes <= nbytes):
        pass
    within = [encoded for encoded in search.tried if encoded.nbytes <= nbytes]
    if not within:
        smallest = min(search.tried, key=lambda encoded: encoded.nbytes)
        message = f"boxes take {smallest.nbytes} bytes at bound {smallest.bound:g}, expected at most {nbytes}"
        raise OutOfReach(message, smallest.nbytes)
    return min(within, key=lambda encoded: encoded.mse)


def estimate_bound(boxes: Sequence[NDArray[Any]], nbytes: int) -> float:
    """Estimate the bound at which boxes take ``nbytes``, without encoding them."""
    estimate = _size_estimator(boxes)
    search = _Search(boxes, lambda bound: float(np.log2(estimate(bound))), lambda encoded: 0.0, _encoder(boxes))
    return search._bound_for(float(np.log2(nbytes)))


def encode_lossless(boxes: Sequence[NDArray[Any]], encode: Encoder | None = None) -> EncodedBoxes:
    """Encode boxes bit for bit."""
    return _encode_all(boxes, encode or _encoder(boxes), 0, 0)


def encode_to_psnr(
    boxes: Sequence[NDArray[Any]], psnr: float, span: float, encode: Encoder | None = None
) -> EncodedBoxes:
    """Encode boxes into the fewest bytes found that reach a PSNR, at most 0.1 dB above it if such a bound is found.

    Parameters
    ----------
    boxes : (z, y, x) each, of one dtype that :func:`residual.encode` takes.
    psnr : in dB, of the mean squared error over all boxes.
    span : the peak of the PSNR, in units of the values.

    Raises
    ------
    ValueError
        If the PSNR is not finite or the span not above 0.
    """

    if not (np.isfinite(psnr) and 0 < span < np.inf):
        raise ValueError(f"PSNR is {psnr} and span {span}, expected a number and one above 0")

    encode = encode or _encoder(boxes)

    def reached(encoded: EncodedBoxes) -> float:
        """Return the PSNR of encoded boxes."""
        return 20 * float(np.log10(span)) - 10 * float(np.log10(max(encoded.mse, 1e-300)))

    def expected(bound: float) -> float:
        """Estimate the PSNR at a bound."""
        return 20 * float(np.log10(span / bound)) + UNIFORM_ERROR_DB

    search = _Search(boxes, expected, reached, encode)
    search.run(
        psnr + NEAR_DB / 2,
        lambda encoded: psnr <= reached(encoded) <= psnr + NEAR_DB,
        lambda encoded: reached(encoded) >= psnr,
    )
    enough = [encoded for encoded in search.tried if reached(encoded) >= psnr] or [encode_lossless(boxes, encode)]
    return min(enough, key=lambda encoded: encoded.nbytes)


def encode_box(box: NDArray[Any], bound: float, taper: int, dead_zone: float, check: Check = never) -> EncodedBox:
    """Encode one box, and measure its errors."""
    data, decoded = bounded_box.encode_and_decode(box, bound, taper, dead_zone, check)
    finite = np.isfinite(box)
    with np.errstate(over="ignore"):
        differences = np.subtract(decoded[finite], box[finite], dtype=np.float64)
        return EncodedBox(data, float(differences @ differences), differences.size)


def _encoder(boxes: Sequence[NDArray[Any]]) -> Encoder:
    """Return the encoder that a search uses if it is given none."""
    return lambda index, bound, taper, dead_zone: encode_box(boxes[index], bound, taper, dead_zone)


def _encode_all(
    boxes: Sequence[NDArray[Any]], encode: Encoder, bound: float, taper: int, dead_zone: float = 0
) -> EncodedBoxes:
    """Encode all boxes under one setting, one a core."""
    coded = side_by_side(len(boxes), lambda index: encode(index, bound, taper, dead_zone))
    squares, count = sum(one.squares for one in coded), sum(one.count for one in coded)
    return EncodedBoxes([one.data for one in coded], bound, taper, dead_zone, squares / max(count, 1))


class _Search:
    """A search for the bound at which a size or a PSNR meets a goal. Both fall as the bound grows."""

    def __init__(
        self,
        boxes: Sequence[NDArray[Any]],
        expected: Callable[[float], float],
        measured: Callable[[EncodedBoxes], float],
        encode: Encoder,
    ) -> None:
        self.boxes, self.expected, self.measured = boxes, expected, measured
        self.tried: list[EncodedBoxes] = []
        self._encode = encode
        self._integers = boxes[0].dtype.kind in "iu"
        finite = [box[np.isfinite(box)] for box in boxes]
        with np.errstate(over="ignore"):
            extents = [float(np.ptp(values.astype(np.float64))) for values in finite if values.size]
        self._largest = min(max(*extents, 0.0, 1.0 if self._integers else 1e-300), 1e308)
        self._smallest = 1.0 if self._integers else self._largest * 2.0**-30

    def run(self, goal: float, is_met: Callable[[EncodedBoxes], bool], is_high: Callable[[EncodedBoxes], bool]) -> None:
        """Try bounds until the goal is met, at most MAX_ENCODES of them; more where the last two are far apart."""
        lows: list[tuple[float, float]] = []  # log2 of bounds that were too small, and their result
        highs: list[tuple[float, float]] = []
        bound: float | None = self._bound_for(goal)
        while bound is not None and (len(self.tried) < MAX_ENCODES or self._is_far_apart(lows, highs)):
            encoded = self._encode_at(bound, TAPER)
            if is_met(encoded):
                return
            (lows if is_high(encoded) else highs).append((float(np.log2(bound)), self.measured(encoded)))
            bound = self._next_bound(goal, lows, highs, self.measured(encoded) - self.expected(bound))
            if bound is not None and len(self.tried) >= MAX_ENCODES and lows and highs:
                middle = self._rounded((max(lows)[0] + min(highs)[0]) / 2)  # where results jump, no slope helps
                bound = middle if max(lows)[0] < np.log2(middle) < min(highs)[0] else None
        if bound is None and lows and highs:  # no integer is between them
            for (logarithm, result), other in ((max(lows), WIDE_DEAD_ZONE), (min(highs), NARROW_DEAD_ZONE)):
                if self._vary_dead_zone(float(np.rint(2.0**logarithm)), result, other, goal, is_met):
                    return

    def _is_far_apart(self, lows: list[tuple[float, float]], highs: list[tuple[float, float]]) -> bool:
        """Return whether the nearest results on both sides of the goal leave much to be found."""
        return bool(lows and highs and len(self.tried) < 2 * MAX_ENCODES and max(lows)[1] - min(highs)[1] > FAR_APART)

    def _vary_dead_zone(
        self, bound: float, result: float, other: float, goal: float, is_met: Callable[[EncodedBoxes], bool]
    ) -> bool:
        """Try dead zones between the usual one, of which the result is known, and another.

        Return True if the search is over, False if the goal is beyond the other.
        """
        zone, points = other, [(DEAD_ZONE, result)]
        while len(self.tried) < MAX_ENCODES:
            encoded = self._encode_at(bound, TAPER, zone)
            if is_met(encoded):
                return True
            points.append((zone, self.measured(encoded)))
            wider = [point for point in points if point[1] <= goal]
            narrower = [point for point in points if point[1] > goal]
            if not (wider and narrower):
                return False
            (one, first), (two, second) = max(narrower), min(wider)
            zone = one + (two - one) * (first - goal) / (first - second)
            if any(abs(zone - tried) < 1e-3 for tried, _ in points):
                return True
        return True

    def reach_further(self, is_enough: Callable[[EncodedBoxes], bool]) -> bool:
        """Try a larger bound. Return True without doing so if one was enough, or there is no larger one."""
        largest = max(encoded.bound for encoded in self.tried)
        if largest >= self._largest or any(map(is_enough, self.tried)):
            return True
        larger = self._rounded(float(np.log2(largest)) + 0.5)
        if larger <= largest:  # The next integer: half a step from 1 is rounded to 1 again.
            larger = min(largest + 1, self._largest)
        self._encode_at(larger, TAPER)
        return False

    def _encode_at(self, bound: float, taper: int, dead_zone: float = DEAD_ZONE) -> EncodedBoxes:
        """Encode all boxes at a bound, and remember the result."""
        self.tried.append(_encode_all(self.boxes, self._encode, bound, taper, dead_zone))
        return self.tried[-1]

    def _bound_for(self, goal: float) -> float:
        """Return the bound at which the estimate meets a goal."""
        low, high = np.log2(self._smallest), np.log2(self._largest)
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (middle, high) if self.expected(2.0**middle) > goal else (low, middle)
        return self._rounded(float(low + high) / 2)

    def _rounded(self, logarithm: float) -> float:
        """Return the bound of a logarithm, cut to its range, and rounded for integers."""
        bound = min(max(2.0**logarithm, self._smallest), self._largest)
        return float(np.rint(bound)) if self._integers else bound

    def _next_bound(
        self, goal: float, lows: list[tuple[float, float]], highs: list[tuple[float, float]], offset: float
    ) -> float | None:
        """Return the next bound to try: between the nearest ones on either side, or by the estimate.

        None if nothing is between.
        """
        if not (lows and highs):
            points = sorted(lows + highs, key=lambda point: abs(point[1] - goal))
            bound = self._bound_for(goal - offset)
            if len(points) > 1 and points[0][1] != points[1][1]:
                (one, first), (other, second) = points[:2]
                step = (goal - first) * (other - one) / (second - first)
                bound = self._rounded(one + float(np.clip(step, -2, 2)))
            tried = [float(np.rint(2.0**b)) if self._integers else 2.0**b for b, _ in points]
            if any(abs(bound / b - 1) < 1e-3 for b in tried):
                direction = 1 if lows else -1
                bound = self._rounded(points[0][0] + 0.3 * direction)
                if self._integers and bound in tried:
                    bound = min(max(bound + direction, self._smallest), self._largest)
            return None if any(abs(bound / b - 1) < 1e-6 for b in tried) else bound
        (small, above), (large, below) = max(lows), min(highs)
        part = np.clip((above - goal) / max(above - below, 1e-9), 0.03, 0.97)
        bound = self._rounded(small + float(part) * (large - small))
        if not self._integers:
            return bound
        first, last = round(2.0**small) + 1, round(2.0**large) - 1
        return float(min(max(bound, first), last)) if first <= last else None


def _size_estimator(boxes: Sequence[NDArray[Any]]) -> Callable[[float], float]:
    """Return a function from a bound to about the bytes of all boxes.

    It has the entropy of the errors of a linear interpolation, level by level.
    """
    details: list[list[NDArray[np.float64]]] = []
    counts: list[float] = []
    for box in boxes:
        level, known = 0, box
        while max(known.shape) > 2 and level < 6:
            if len(details) == level:
                details.append([])
                counts.append(0)
            counts[level] += known.size * 7 / 8
            wanted = max(1, 3 * len(boxes) * known.size // (2 * SAMPLES_PER_LEVEL))
            for axis in range(3):
                line = np.moveaxis(known, axis, 0)
                n = (len(line) - 1) // 2
                ends = line[: 2 * n + 1 : 2].astype(np.float64)
                with np.errstate(all="ignore"):
                    residuals = (line[1 : 2 * n : 2] - (ends[:-1] + ends[1:]) / 2).ravel()[::wanted]
                details[level].append(residuals[np.isfinite(residuals)])
            level, known = level + 1, known[::2, ::2, ::2]
    joined = [np.concatenate(parts) for parts in details]
    smallest = 0.5 if boxes[0].dtype.kind in "iu" else 1e-300

    def estimate(bound: float) -> float:
        """Estimate the bytes at a bound."""
        bits = 0.0
        for level, (residuals, count) in enumerate(zip(joined, counts, strict=True)):
            if not residuals.size:
                continue
            step = 2 * max(bound / 4, bound * (4 / (4 + TAPER)) ** level, smallest)
            with np.errstate(all="ignore"):
                steps = np.rint(residuals / step)
            frequencies = np.unique(steps, return_counts=True)[1] / residuals.size
            bits += count * float(-(frequencies * np.log2(frequencies)).sum())
        return bits / 8 + BYTES_PER_BOX * len(boxes)

    return estimate
