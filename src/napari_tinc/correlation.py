"""Fourier shell correlation: up to which detail a copy repeats its original.

FSC(f) = Re sum(F conj(G)) / sqrt(sum |F|^2 sum |G|^2), over the Fourier coefficients of a shell around the frequency f
(Harauz & van Heel, Optik 73 (1986) 146-156; van Heel & Schatz, J. Struct. Biol. 151 (2005) 250-262). F and G are the
transforms of original and copy. Frequencies are physical, so voxels need not be cubes.

Before the transform the mean of each is removed, and both fade to 0 at the faces of the volume. Otherwise the jump from
one face to the opposite one, which the transform sees and which both have, would count as detail that is kept.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .control import Check, never

# A larger volume is cut into boxes of at most so many voxels, whose sums are added up. One box takes about 0.5 GB.
MAX_BOX_VOXELS = 2**24
FADED_SHARE = 8  # One voxel of so many is faded out at either end of an axis.
FLAT = 1e-13  # Differences from the mean below this share of the largest value are rounding: the box is constant.
# 0.5 is usual for a map beside a reference. 0.143 is where two noisy halves of one measurement reach the same
# (Rosenthal & Henderson, J. Mol. Biol. 333 (2003) 721-745).
THRESHOLDS = (0.5, 0.143)


@dataclass(frozen=True, slots=True, eq=False)
class ShellCorrelation:
    """Hold how well a copy correlates with its original in each shell of frequencies.

    Attributes
    ----------
    frequencies : in periods per ``unit``, one for each shell, ascending; empty for a single voxel.
    correlations : FSC of each shell, -1 to 1. It is 1 where both have nothing, and 0 where only one has.
    coefficients : number of Fourier coefficients of each shell, in all boxes together.
    unit : unit of length of the resolutions, such as "millimeter".
    finest : smallest resolution that can be told: two voxels of the coarsest axis.
    n_boxes, box_shape : boxes that the volume was cut into. One box is the whole volume.
    """

    frequencies: NDArray[np.float64]
    correlations: NDArray[np.float64]
    coefficients: NDArray[np.int64]
    unit: str
    finest: float
    n_boxes: int
    box_shape: tuple[int, ...]

    def keeps_all(self, threshold: float) -> bool:
        """Tell whether no shell falls below a threshold."""
        return bool((self.correlations >= threshold).all())

    def resolution(self, threshold: float) -> float:
        """Return the length of the finest wave that is kept, in ``unit``.

        It is where the curve first falls below the threshold, on the straight line between two shells. It is
        ``finest`` if the curve never does, and inf if it does so in its first shell.
        """
        if self.keeps_all(threshold):
            return self.finest
        below = int(np.argmin(self.correlations >= threshold))
        if not below:
            return math.inf
        before, after = self.correlations[below - 1 : below + 1]
        share = (before - threshold) / (before - after)
        return float(
            1 / (self.frequencies[below - 1] + share * (self.frequencies[below] - self.frequencies[below - 1]))
        )

    def describe(self) -> str:
        """Describe in a line which detail is kept."""
        if not len(self.frequencies):
            return "Fourier shell correlation: a single voxel has no detail"
        finest = f"finest possible: {self.finest:.4g} {self.unit}"
        if self.keeps_all(max(THRESHOLDS)):
            return f"Fourier shell correlation: all frequencies kept ({finest})"
        parts = [f"{self._kept(threshold)} kept at {threshold:g}" for threshold in THRESHOLDS]
        return f"Fourier shell correlation: {', '.join(parts)} ({finest})"

    def _kept(self, threshold: float) -> str:
        """Return the resolution at a threshold in words."""
        if self.keeps_all(threshold):
            return "all frequencies"
        resolution = self.resolution(threshold)
        return f"{resolution:.4g} {self.unit}" if math.isfinite(resolution) else "nothing"

    def describe_boxes(self) -> str:
        """Describe the boxes of a volume that was too large for one transform; "" if one was enough."""
        if self.n_boxes == 1:
            return ""
        shape = " x ".join(map(str, self.box_shape))
        return f"The correlation is of {self.n_boxes} boxes of {shape} voxels: waves longer than a box are not seen."

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain lists and numbers, for JSON."""
        kept = [
            {"threshold": threshold, "resolution": self.resolution(threshold), "all": self.keeps_all(threshold)}
            for threshold in THRESHOLDS
        ]
        return {
            "unit": self.unit, "finest": self.finest, "kept": kept, "n_boxes": self.n_boxes,
            "box_shape": list(self.box_shape), "frequencies": self.frequencies.tolist(),
            "correlations": self.correlations.tolist(), "coefficients": self.coefficients.tolist(),
        }  # fmt: skip


def unit_of(spacing: object, units: str | None) -> str:
    """Return the word for the unit of resolutions: that of the spacing, or voxels if there is no spacing."""
    return units or ("voxels" if spacing is None else "units of the spacing")


def fourier_shell_correlation(
    original: Any, copy: Any, spacing: Sequence[float] = (1, 1, 1), unit: str = "voxels", check: Check = never
) -> ShellCorrelation:
    """Correlate a copy with its original, shell by shell of frequencies.

    Parameters
    ----------
    original, copy : arrays of one shape with axes z, y, x, maybe after others; lazy ones are read twice, the second
        time box by box. The curve is the mean over the volumes. Voxels that are not finite count as the mean.
    spacing : size of a voxel along z, y, x.
    unit : unit of the spacing.
    check : called now and then; what it raises ends the work.

    Returns
    -------
    Shells are as wide as the volume's longest edge allows, 1 / (voxels x spacing), and reach up to the Nyquist
    frequency of the coarsest axis. A volume of more than :data:`MAX_BOX_VOXELS` is cut into boxes of one shape, whose
    sums are added up as in Welch's method (IEEE Trans. Audio 15 (1967) 70-73).

    Raises
    ------
    ValueError
        If the shapes differ or have fewer than three axes.
    """
    shape = tuple(original.shape)
    if shape != tuple(copy.shape) or len(shape) < 3:
        raise ValueError(f"shapes are {shape} and {tuple(copy.shape)}, expected two of the same, with axes z, y, x")
    box_shape = _box_shape(shape[-3:])
    shells = _Shells(box_shape, spacing)
    scales = _largest_value(original), _largest_value(copy)
    boxes = list(_boxes(shape[-3:], box_shape))
    curves: list[NDArray[np.float64]] = []
    for place in np.ndindex(shape[:-3]):
        sums = np.zeros((3, shells.count))
        for box in boxes:
            check()
            first = shells.transform(original[place + box], scales[0])
            check()
            second = shells.transform(copy[place + box], scales[1])
            sums += shells.sums(first, second, check)
        curves.append(_correlations(*sums))
    coarsest = max([size for size, voxels in zip(spacing, shape[-3:], strict=True) if voxels > 1], default=0)
    return ShellCorrelation(
        shells.width * np.arange(1, shells.count + 1, dtype=np.float64),
        np.mean(curves, axis=0),
        shells.coefficients() * len(boxes) * len(curves),
        unit,
        2.0 * coarsest,
        len(boxes),
        box_shape,
    )


def _box_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the largest boxes that are equal parts of a volume and small enough."""
    parts = [1] * len(shape)
    while True:
        box = tuple(-(-voxels // count) for voxels, count in zip(shape, parts, strict=True))
        if math.prod(box) <= MAX_BOX_VOXELS:
            return box
        parts[box.index(max(box))] += 1


def _boxes(shape: tuple[int, ...], box_shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Return boxes of one shape that cover a volume. They overlap where it is no multiple of their shape."""
    axes = []
    for voxels, edge in zip(shape, box_shape, strict=True):
        starts = np.linspace(0, voxels - edge, -(-voxels // edge)).astype(int)
        axes.append([slice(start, start + edge) for start in starts.tolist()])
    return itertools.product(*axes)


def _largest_value(array: Any) -> float:
    """Return the largest finite absolute value, or 1 for zeros. Divided by it, no square overflows."""
    largest = 0.0
    for plane in array:
        values = np.abs(np.asarray(plane).astype(np.float64))
        largest = max(largest, float(values.max(initial=0, where=np.isfinite(values))))
    return largest or 1.0


def _correlations(
    products: NDArray[np.float64], original: NDArray[np.float64], copy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the correlation of each shell from its summed products and powers."""
    norm = np.sqrt(original) * np.sqrt(copy)
    nothing_in_both = (original == 0) & (copy == 0)
    return np.where(nothing_in_both, 1.0, np.divide(products, norm, out=np.zeros_like(norm), where=norm > 0))


class _Shells:
    """Transform boxes of one shape, and sum over shells of their frequencies.

    Attributes
    ----------
    width : of a shell, in periods per unit of the spacing.
    count : number of shells. The one around 0 is not among them.
    """

    def __init__(self, shape: tuple[int, ...], spacing: Sequence[float]) -> None:
        self.shape = shape
        sizes = [(voxels, float(size)) for voxels, size in zip(shape, spacing, strict=True) if voxels > 1]
        self.width = 1 / max([voxels * size for voxels, size in sizes], default=1.0)
        coarsest = max([size for _, size in sizes], default=math.inf)
        self.count = int(1 / (2 * coarsest) / self.width + 1e-9)  # A whole number may be rounded down.
        z, y = (np.fft.fftfreq(voxels, size) for voxels, size in zip(shape[:2], spacing[:2], strict=True))
        x = np.fft.rfftfreq(shape[2], spacing[2])
        self._squares_of_planes = z**2
        self._squares_in_plane = y[:, None] ** 2 + x**2
        # Each coefficient stands for itself and its conjugate, which is not stored, but for those that are their own.
        self._weights = np.full(len(x), 2.0)
        self._weights[0] = 1
        if shape[2] % 2 == 0:
            self._weights[-1] = 1

    def transform(self, values: Any, scale: float) -> NDArray[np.complex128]:
        """Return the Fourier transform of a box without its mean, faded to 0 at its faces."""
        values = np.asarray(values).astype(np.float64)
        values /= scale
        known = np.isfinite(values)
        values -= values.mean(where=known) if known.any() else 0
        values[~known] = 0
        if np.abs(values).max() <= FLAT:
            values[:] = 0
        for axis, voxels in enumerate(self.shape):
            values *= np.expand_dims(fade(voxels), [other for other in range(3) if other != axis])
        return np.fft.rfftn(values)

    def _of_plane(self, square: float) -> NDArray[np.int64]:
        """Return the shell of each coefficient of a plane; ``count`` + 1 for those beyond the last."""
        shell = np.floor(np.sqrt(square + self._squares_in_plane) / self.width + 0.5)
        return np.minimum(shell, self.count + 1).astype(np.int64).ravel()

    def sums(self, first: NDArray[np.complex128], second: NDArray[np.complex128], check: Check) -> NDArray[np.float64]:
        """Sum products, and powers of the first and the second, over each shell; (3, count)."""
        sums = np.zeros((3, self.count + 2))
        for square, a, b in zip(self._squares_of_planes, first, second, strict=True):
            check()
            shell = self._of_plane(square)
            products = (a * b.conj()).real, a.real**2 + a.imag**2, b.real**2 + b.imag**2
            for row, terms in zip(sums, products, strict=True):
                row += np.bincount(shell, (terms * self._weights).ravel(), self.count + 2)
        return sums[:, 1:-1]

    def coefficients(self) -> NDArray[np.int64]:
        """Count the coefficients of each shell."""
        weights = np.broadcast_to(self._weights, self._squares_in_plane.shape).ravel()
        counts = sum(np.bincount(self._of_plane(square), weights, self.count + 2) for square in self._squares_of_planes)
        return np.asarray(counts[1:-1]).astype(np.int64)  # type: ignore[index]


def fade(voxels: int) -> NDArray[np.float64]:
    """Return the weights along an axis: raised cosines over its first and last eighth, else ones (Tukey's window)."""
    weights = np.ones(voxels)
    edge = voxels // FADED_SHARE
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / max(edge, 1))
    weights[:edge] = rise
    weights[voxels - edge :] = rise[::-1]
    return weights
