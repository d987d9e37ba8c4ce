"""Quality of a reconstruction inside the regions of a label image, and outside of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import metrics
from .control import Check, never
from .format.quality import span_of

OUTSIDE = 0  # The label of voxels that are in no region.


@dataclass(frozen=True, slots=True)
class RegionQuality:
    """Errors inside a region.

    Attributes
    ----------
    region : a label; or "inside" (all labels but 0), "outside" (label 0) or "all" (every voxel).
    voxels : number of voxels.
    psnr : dB, by the range of the whole original, so that it can be put beside that of the whole.
    ssim : mean structural similarity of the region's voxels. A window reaches up to 3 voxels beyond the region. Voxels
        so near to a face of the volume that their window is cut do not count; nan if there are no others.
    rmse, max_error : root mean squared and largest absolute error, in units of the data.
    """

    region: int | str
    voxels: int
    psnr: float
    ssim: float
    rmse: float
    max_error: float


class _Sums:
    """Collect voxels, errors and similarities of every label.

    Squares are in units of ``largest``, the largest error of all voxels, so that none overflows or vanishes.
    """

    def __init__(self, values: NDArray[np.int64], largest: float, value_range: float) -> None:
        self._values, self._largest, self._range = values, largest, value_range
        n = len(values)
        self.voxels, self.known, self.windows = (np.zeros(n, np.int64) for _ in range(3))
        self.squares, self.similarity, self.peaks = (np.zeros(n) for _ in range(3))

    def index(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """Return the place of each voxel's label among all labels."""
        return np.searchsorted(self._values, labels.astype(np.int64)).ravel()

    def add_errors(self, labels: NDArray[Any], original: NDArray[Any], reconstruction: NDArray[Any]) -> None:
        """Count voxels of a plane, and add up their errors. Voxels that are not finite have none."""
        at, n = self.index(labels), len(self._values)
        self.voxels += np.bincount(at, minlength=n)
        known = np.isfinite(original).ravel()
        at = at[known]
        error = np.abs(original.ravel()[known].astype(np.float64) - reconstruction.ravel()[known])
        self.known += np.bincount(at, minlength=n)
        np.maximum.at(self.peaks, at, error)
        if self._largest:
            self.squares += np.bincount(at, np.square(error / self._largest), n)

    def quality(self, region: int | str, chosen: NDArray[np.bool_] | slice) -> RegionQuality:
        """Return the quality of the chosen labels together."""
        known, windows = int(self.known[chosen].sum()), int(self.windows[chosen].sum())
        rmse = self._largest * float(np.sqrt(self.squares[chosen].sum() / max(known, 1)))
        return RegionQuality(
            region,
            int(self.voxels[chosen].sum()),
            metrics.psnr(rmse, self._range),
            float(self.similarity[chosen].sum() / windows) if windows else float("nan"),
            rmse,
            float(self.peaks[chosen].max(initial=0)),
        )


def measure_regions(
    original: ArrayLike, reconstruction: ArrayLike, labels: ArrayLike, check: Check = never
) -> list[RegionQuality]:
    """Measure a reconstruction for each label of a label image, inside all of them, outside, and in all voxels.

    Parameters
    ----------
    original, reconstruction : real numbers, of one shape.
    labels : whole numbers or booleans, one for each voxel of the last axes; 0 is outside. They are repeated along the
        axes before, such as channels.
    check : called now and then; what it raises ends the work.

    Returns
    -------
    A row for each label, ascending, if there are several; then "inside", "outside" and "all". A row without voxels is
    left out.

    Raises
    ------
    ValueError
        If the labels are not whole numbers or not of the volume's shape, or :func:`~.metrics.measure` does.
    """
    original, reconstruction, labels = np.asarray(original), np.asarray(reconstruction), np.asarray(labels)
    labels = np.broadcast_to(check_labels(labels, original.shape), original.shape)
    _, largest = metrics.rmse_and_largest(original, reconstruction)
    finite, other = metrics.replace_special_values(original, reconstruction)
    value_range = span_of((finite.min(), finite.max()))
    values = np.unique(np.concatenate([np.unique(plane) for plane in labels])).astype(np.int64)
    sums = _Sums(values, largest, value_range)
    for plane, one, two in zip(labels, original, reconstruction, strict=True):
        check()
        sums.add_errors(plane, one, two)
    known = np.isfinite(original)
    _add_similarity(sums, finite, other, labels, known, value_range, check)
    return list(_rows(sums, values))


def _rows(sums: _Sums, values: NDArray[np.int64]) -> Iterator[RegionQuality]:
    """Yield the rows of :func:`measure_regions`."""
    inside = values != OUTSIDE
    if inside.sum() > 1:
        for at in np.flatnonzero(inside).tolist():
            yield sums.quality(int(values[at]), slice(at, at + 1))
    for name, chosen in (("inside", inside), ("outside", ~inside), ("all", np.ones_like(inside))):
        if chosen.any():
            yield sums.quality(name, chosen)


def check_labels(labels: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return labels as whole numbers, without axes of length one that the volume has not.

    Raises
    ------
    ValueError
        If they are not whole numbers, or not of the shape of the volume or of its last three axes.
    """
    for wanted in (shape, shape[-3:]):
        # ilastik, for one, writes a last axis of length one.
        if [voxels for voxels in labels.shape if voxels != 1] == [voxels for voxels in wanted if voxels != 1]:
            labels = labels.reshape(wanted)
            break
    else:
        raise ValueError(f"the label image has shape {labels.shape}, expected that of the volume, {shape}")
    if labels.dtype.kind == "b":
        return labels.astype(np.uint8)
    is_float = labels.dtype.kind == "f"
    is_whole = is_float and all(np.isfinite(plane).all() and (plane % 1 == 0).all() for plane in labels)
    if (is_whole or labels.dtype == np.uint64) and np.abs(labels).max(initial=0) >= 2**63:
        largest = labels.flat[np.abs(labels).argmax()]
        raise ValueError(f"the label image has the label {largest:.20g}, expected at most 2^63 - 1")
    if is_whole:  # NIfTI files often hold labels so.
        return labels.astype(np.int64)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"the label image has {labels.dtype} values that are not whole numbers, expected labels")
    return labels


def _add_similarity(
    sums: _Sums, original: NDArray[Any], reconstruction: NDArray[Any], labels: NDArray[Any], known: NDArray[np.bool_],
    value_range: float, check: Check,
) -> None:  # fmt: skip
    """Add up the structural similarity of every label, as :func:`~.metrics.ssim` does for the whole."""
    original, reconstruction, labels, known = map(np.squeeze, (original, reconstruction, labels, known))
    if original.ndim > 3:
        for channel in zip(original, reconstruction, labels, known, strict=True):
            _add_similarity(sums, *channel, value_range, check)
        return
    n = len(sums.voxels)
    if value_range == 0:
        at = sums.index(labels)
        sums.windows += np.bincount(at, minlength=n)
        sums.similarity += np.bincount(at, (original == reconstruction).ravel(), n)
        return
    if (window := metrics.ssim_window(original.shape)) < 3:
        return
    margin = window // 2
    inner, known = (array[(slice(margin, -margin),) * labels.ndim] for array in (labels, known))

    def by_label(first: int, similarity: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Count voxels and sum the similarity of every label in a slab."""
        at = sums.index(inner[first : first + len(similarity)])
        seen = known[first : first + len(similarity)].ravel()
        return np.bincount(at[seen], minlength=n), np.bincount(at[seen], similarity.ravel()[seen], n)

    for windows, similarity in metrics.map_ssim(original, reconstruction, value_range, by_label, check):
        sums.windows += windows
        sums.similarity += similarity


def describe_regions(rows: list[RegionQuality], names: Mapping[int, str] | None = None) -> list[str]:
    """Describe PSNR and SSIM of each region in a line."""
    names = names or {}
    return [
        f"{names.get(row.region, f'label {row.region}') if isinstance(row.region, int) else row.region}: "
        f"PSNR {row.psnr:.2f} dB, SSIM {row.ssim:.4f}"
        for row in rows
    ]
