"""Compare a compressed layer with its original: errors, differences, calibration, and which layer the original is.

Work that takes seconds is a function of arrays and volumes, so that it can run in a thread. No viewers, no Qt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import ArrayLike, NDArray

from ...control import Check, never
from ...correlation import ShellCorrelation
from ...decoding.volume import TincVolume
from ...encoding.sources import VolumeSource
from ...encoding.verify import violations_in_regions
from ...metrics import Quality, box_errors, psnr, without_fill
from ...metrics import measure as measure_quality
from ...octree import box_slices
from ...region_quality import RegionQuality
from ..layers.compressed import OVERLAY
from ..layers.from_volume import promise_of_volume, to_layer
from ..layers.origin import CHECKSUM, VOLUME, base_name, finest_level, source_of
from .lazy_pairs import FLOAT32, Difference

OTHER_CALIBRATION = "tinc_other"  # Key in a layer's metadata: what it shows when calibration is toggled.
NO_NETWORKS = "This file has no networks, so there is nothing to calibrate."  # and no filter either
# What is said where a recalibration is asked for of a file whose blocks pass a filter.
FILTER_STAYS = "This file has no networks. Its filter was fitted to its original when it was compressed, and stays."
PERCENTS = (50, 95, 99)  # For these shares of the voxels, the largest error is told.
BINS = 41  # The histogram of errors has so many bars; as the number is odd, one is around 0.
LAZY_VOXELS = 2**25  # The difference of a larger volume is lazy, as it would take more than 128 MiB.
SAMPLES = 8  # The errors of a large volume are estimated from so many blocks, or planes of a single tree.


@dataclass(frozen=True, slots=True, eq=False)
class ShownVolume:
    """Hold a volume, and the data and metadata with which a layer shows it."""

    volume: TincVolume
    data: Any
    metadata: dict[str, Any]

    @classmethod
    def of(cls, volume: TincVolume, image: Image | Labels) -> ShownVolume:
        """Make the data for a layer, decoded or as lazy levels as it has it now: napari cannot change between them."""
        data, arguments = to_layer(volume, "", 0 if image.multiscale else volume.size)
        return cls(volume, data, {key: arguments["metadata"].get(key) for key in (VOLUME, CHECKSUM)})


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """Hold the errors of a volume against its original.

    Attributes
    ----------
    rows : of the leaves.
    uncalibrated_rows : the same without calibration; None for a volume that is not calibrated.
    quality, uncalibrated_quality : of the whole volume, with and without calibration.
    promise : what the file promises, in words; "" if it promises nothing.
    broken : whether an error is larger than the promise.
    percentile_errors : largest error of each of :data:`PERCENTS` of the voxels, in units of the data.
    edges, counts : histogram of reconstruction minus original for 99.9 % of the voxels, counted as shares of all.
    correlation, regions : see :func:`~.detail.measure_detail`; None and empty if they were not measured.
    """

    rows: NDArray[Any]
    uncalibrated_rows: NDArray[Any] | None
    quality: Quality
    uncalibrated_quality: Quality | None
    promise: str
    broken: bool
    percentile_errors: tuple[float, ...]
    edges: NDArray[np.float64]
    counts: NDArray[np.float64]
    correlation: ShellCorrelation | None = None
    regions: Sequence[RegionQuality] = ()


def measure(
    volume: TincVolume, original: ArrayLike, values: NDArray[Any] | None = None, check: Check = never
) -> Measurement:  # fmt: skip
    """Measure the errors of a volume and of every leaf.

    ``values`` are those of the volume, if it was decoded already.

    Raises
    ------
    ValueError
        If the shapes differ, or NaN or infinite values do.
    """
    original = np.asarray(original)
    values = np.asarray(volume) if values is None else values
    quality = _quality(volume, original, values, check)
    broken = _is_broken(volume, original, quality)
    fill, truth = volume.fill.values, original
    original, values = without_fill(truth, values, fill)
    errors = subtract(original, values)
    limit = error_limit(errors)
    finite = np.isfinite(original)
    if finite.any() and not finite.all():
        errors = errors[finite]
    percentile_errors = tuple(float(share) for share in np.percentile(np.abs(errors), PERCENTS, overwrite_input=True))
    counts, edges = np.histogram(errors, BINS, (-limit, limit))
    uncalibrated_volume = volume.uncalibrated()
    uncalibrated_rows = uncalibrated_quality = None
    if uncalibrated_volume is not volume:
        uncalibrated_values = np.asarray(uncalibrated_volume)
        uncalibrated_rows, uncalibrated_quality = (
            measure_leaves(uncalibrated_volume, *without_fill(uncalibrated_values, truth, fill)),
            _quality(uncalibrated_volume, truth, uncalibrated_values, check),
        )
    return Measurement(
        measure_leaves(volume, values, original),
        uncalibrated_rows,
        quality,
        uncalibrated_quality,
        promise_of_volume(volume),
        broken,
        percentile_errors,
        edges,
        counts / errors.size,
    )


def _is_broken(volume: TincVolume, original: NDArray[Any], quality: Quality) -> bool:
    """Return whether a voxel is further from an original than the file promises, of all or of its regions."""
    if volume.error_bound is not None and quality.max_error > volume.error_bound:
        return True
    if volume.regions.bound is None or original.dtype != volume.header.dtype:
        return False  # in another dtype nothing has the same bits
    return violations_in_regions(volume, VolumeSource.of(original, exact=True))[0] > 0


def _quality(volume: TincVolume, original: NDArray[Any], values: NDArray[Any], check: Check) -> Quality:
    """Return what :func:`napari_tinc.compare` does. The work can be cancelled."""
    fill = volume.fill.values
    return replace(
        measure_quality(original, values, volume.nbytes_compressed, check=check, fill=fill), ratio=volume.ratio
    )


def difference(
    original: ArrayLike, reconstruction: ArrayLike
) -> tuple[NDArray[np.float32] | Difference, float]:  # fmt: skip
    """Return reconstruction minus original in units of the data, and the largest error of 99.9 % of the voxels.

    For a compressed volume of more than :data:`LAZY_VOXELS` the difference is lazy, and the error is of a sample.

    Raises
    ------
    ValueError
        If the shapes differ, or a difference is not finite. Equal NaN or infinite values have the difference 0.
    """
    if isinstance(reconstruction, TincVolume) and reconstruction.size > LAZY_VOXELS:
        _check_shapes(original, reconstruction)
        return Difference(original, reconstruction), _sampled_error_limit(original, reconstruction)
    errors = subtract(original, reconstruction)
    return errors, error_limit(errors)


def subtract(original: ArrayLike, reconstruction: ArrayLike) -> NDArray[np.float32]:
    """Return reconstruction minus original for all voxels, see :func:`difference`."""
    original, reconstruction = np.asarray(original), np.asarray(reconstruction)
    _check_shapes(original, reconstruction)
    out = np.empty(original.shape, np.float32)
    for plane, other, into in zip(original, reconstruction, out, strict=True):
        with np.errstate(invalid="ignore"):  # of infinite values
            into[:] = np.clip(other.astype(np.float64) - plane, *FLOAT32)
        into[~np.isfinite(plane) & ((plane == other) | (np.isnan(plane) & np.isnan(other)))] = 0
    if not np.isfinite(out).all():
        raise ValueError("original has NaN or infinite values that are others in the volume: no difference to show")
    return out


def error_limit(errors: NDArray[np.float32]) -> float:
    """Return the largest error of 99.9 % of the voxels; 1 if they have no error."""
    return float(np.percentile(np.abs(errors), 99.9, overwrite_input=True)) or 1.0


def _sampled_error_limit(original: Any, volume: TincVolume) -> float:
    """Estimate :func:`error_limit` from some blocks, or from some planes if there is only one block."""
    start, stop = volume.parts.start, volume.parts.stop
    boxes: list[tuple[slice, ...]]
    if len(start) == 1:
        planes = np.linspace(0, volume.shape[0] - 1, SAMPLES).astype(int).tolist()
        boxes = [(slice(z, z + 1), slice(None), slice(None)) for z in planes]
    else:
        boxes = [box_slices(start[at], stop[at]) for at in np.linspace(0, len(start) - 1, SAMPLES).astype(int)]
    return max(error_limit(subtract(original[box], volume[box])) for box in boxes)


def _check_shapes(original: Any, reconstruction: Any) -> None:
    """Raise ValueError if the shapes of an original and a volume differ."""
    shapes = tuple(original.shape), tuple(reconstruction.shape)
    if shapes[0] != shapes[1]:
        raise ValueError(f"shapes differ: original {shapes[0]}, compressed volume {shapes[1]}")


def is_calibrated(image: Image | Labels) -> bool:
    """Tell whether a layer shows its volume with calibration."""
    return image.metadata[VOLUME].calibrated


def other_calibration(image: Image | Labels) -> ShownVolume:
    """Return the volume of a layer without its calibration, or with it again if it was turned off.

    Raises
    ------
    ValueError
        If the volume has no calibration.
    """
    if OTHER_CALIBRATION in image.metadata:
        return image.metadata[OTHER_CALIBRATION]
    volume = image.metadata[VOLUME]
    uncalibrated_volume = volume.uncalibrated()
    if uncalibrated_volume is volume and volume.error_bound is not None:
        raise ValueError(f"{image.name}: {NO_NETWORKS}")
    if uncalibrated_volume is volume:
        raise ValueError(
            f"{image.name} has no calibration; it can be calibrated against its original: "
            "open Plugins > TINC > Leaves and press Recalibrate"
        )
    return ShownVolume.of(uncalibrated_volume, image)


def why_not_toggled(image: Image | Labels) -> str:
    """Return why a layer's calibration can be turned neither off nor on; "" if it can."""
    if is_calibrated(image) or OTHER_CALIBRATION in image.metadata:
        return ""
    return NO_NETWORKS if image.metadata[VOLUME].error_bound is not None else "Not calibrated. Use Recalibrate first."


def show_volume(image: Image | Labels, shown: ShownVolume, keep_other: bool) -> None:
    """Let a layer show another volume.

    ``keep_other`` keeps what it showed before, which :func:`other_calibration` returns then.
    """
    shown_before = ShownVolume(
        image.metadata[VOLUME], image.data, {key: image.metadata.get(key) for key in (VOLUME, CHECKSUM)}
    )
    image.metadata.update(shown.metadata)
    image.metadata.pop(OTHER_CALIBRATION, None)
    if keep_other:
        image.metadata[OTHER_CALIBRATION] = shown_before
    image.data = shown.data  # Last, as listeners read the metadata.


def possible_originals(layers: Sequence[Layer], image: Image | Labels) -> list[Image]:
    """Return the image layers of the same shape that are not compressed, the likely original first; none for labels."""
    if not isinstance(image, Image):
        return []  # Labels are kept bit for bit.
    shape = image.metadata[VOLUME].shape
    candidates = [
        layer for layer in layers
        if isinstance(layer, Image) and VOLUME not in layer.metadata and not layer.rgb
        and tuple(finest_level(layer).shape) == shape and not layer.metadata.get(OVERLAY)
    ]  # fmt: skip
    return sorted(candidates, key=lambda layer: not _is_likely(layer, image))


def likely_original(layers: Sequence[Layer], image: Image | Labels) -> Image | None:
    """Return the layer that a compressed one was made from, or else one of the same name; None if there is none."""
    choices = possible_originals(layers, image)
    return choices[0] if choices and _is_likely(choices[0], image) else None


def _is_likely(layer: Image, image: Image | Labels) -> bool:
    """Tell whether a compressed layer was made from a layer, or else has the same name."""
    source = source_of(image)
    return source is layer if source is not None else _original_name(layer.name) == _original_name(image.name)


def _original_name(name: str) -> str:
    """Strip what tells layers of one image apart: "brain" of "brain (tinc 64x)", and of napari's "brain [1]"."""
    return base_name(re.sub(r"( \[\d+\])+$", "", base_name(name)))


def describe_measurement(measurement: Measurement) -> str:
    """Describe a measurement in a few lines."""
    quality, uncalibrated = measurement.quality, measurement.uncalibrated_quality
    lines = [
        f"PSNR {quality.psnr:.2f} dB, SSIM {quality.ssim:.4f}, largest error {quality.max_error:.4g}",
        f"Ratio {quality.ratio:.1f}, {quality.bits_per_voxel:.3f} bits a voxel",
        "Voxels: " + ", ".join(
            f"{percent} % within {error:.3g}"
            for percent, error in zip(PERCENTS, measurement.percentile_errors, strict=True)
        ),
    ]  # fmt: skip
    if measurement.promise:
        lines.append(f"Promised: {measurement.promise}" + (": not of this original" if measurement.broken else ""))
    if uncalibrated is not None:
        lines.append(f"Calibration gives {quality.psnr - uncalibrated.psnr:+.3f} dB")
    return "\n".join(lines)


def measure_leaves(volume: TincVolume, values: NDArray[Any], original: NDArray[Any]) -> NDArray[Any]:
    """Return ``volume.leaves`` with the errors of each leaf of decoded ``values`` against an original."""
    rows = volume.leaves.copy()
    errors = box_errors(original, values, rows["start"], rows["stop"])
    finite = original[np.isfinite(original)]
    span = float(finite.max()) - float(finite.min()) if finite.size else 0.0
    rows["rmse"], rows["max_error"] = errors.T
    rows["psnr"] = [psnr(rmse, span) for rmse in errors[:, 0]]
    return rows
