"""A compressed image layer beside its original: errors, differences, and the same networks calibrated otherwise.

What takes seconds is a function of arrays and volumes, for a thread. No viewers, no Qt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import ArrayLike, NDArray

from ...decoding.volume import TincVolume, quality_of
from ...encoding.recalibration import recalibrated, uncalibrated
from ...metrics import Quality, box_errors, psnr
from ...octree import box_slices
from ..layers.compressed import OVERLAY
from ..layers.from_volume import promise_of_volume, to_layer
from ..layers.origin import CHECKSUM, VOLUME, base_name, finest_level, source_of
from .lazy_pairs import FLOAT32, Difference

OTHER_CALIBRATION = "tinc_other"  # in a layer's metadata: Shown, the other of its volume with and without calibration
NO_NETWORKS = "This file has no networks, so there is nothing to calibrate."
PERCENTS = (50, 95, 99)  # per cent of the voxels
BINS = 41
LAZY_VOXELS = 2**25  # The difference of a larger volume is decoded where it is looked at: 128 MiB are kept at most.
SAMPLES = 8  # Blocks, or planes of a file of a single tree, that say how far off the voxels of a large volume are.


@dataclass(frozen=True, slots=True, eq=False)
class ShownVolume:
    """A volume, and the data and metadata with which an image layer shows it."""

    volume: TincVolume
    data: Any
    metadata: dict[str, Any]

    @classmethod
    def of(cls, volume: TincVolume, image: Image | Labels) -> ShownVolume:
        """In the form that a layer shows its volume in now: decoded, or lazy levels; it can't change to the other."""
        data, arguments = to_layer(volume, "", 0 if image.multiscale else volume.size)
        return cls(volume, data, {key: arguments["metadata"].get(key) for key in (VOLUME, CHECKSUM)})


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """A volume against its original.

    Attributes
    ----------
    rows, before : of the leaves, with and without calibration; ``before`` is None for a volume that has none.
    quality, quality_before : in all.
    promise : what the file promises, in words, or "".
    broken : whether an error is larger than that.
    shares : for each of :data:`SHARES`, how far off that share of the voxels is at most, in units of the data.
    edges, counts : histogram of reconstruction minus original, over 99.9 % of the voxels, as shares of all.
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


def measure(volume: TincVolume, original: ArrayLike) -> Measurement:
    """Errors of every leaf and in all. ValueError where the shapes differ, or NaN or infinite values do."""
    original = np.asarray(original)
    values = np.asarray(volume)
    quality = quality_of(original, values, volume)
    errors = subtract(original, values)
    limit = error_limit(errors)
    known = np.isfinite(original)
    if known.any() and not known.all():
        errors = errors[known]
    percentile_errors = tuple(float(share) for share in np.percentile(np.abs(errors), PERCENTS, overwrite_input=True))
    counts, edges = np.histogram(errors, BINS, (-limit, limit))
    uncalibrated_volume = uncalibrated(volume)
    uncalibrated_rows = uncalibrated_quality = None
    if uncalibrated_volume is not volume:
        uncalibrated_values = np.asarray(uncalibrated_volume)
        uncalibrated_rows, uncalibrated_quality = (
            measure_leaves(uncalibrated_volume, uncalibrated_values, original),
            quality_of(original, uncalibrated_values, uncalibrated_volume),
        )
    return Measurement(
        measure_leaves(volume, values, original),
        uncalibrated_rows,
        quality,
        uncalibrated_quality,
        promise_of_volume(volume),
        volume.error_bound is not None and quality.max_error > volume.error_bound,
        percentile_errors,
        edges,
        counts / errors.size,
    )


def difference(
    original: ArrayLike, reconstruction: ArrayLike
) -> tuple[NDArray[np.float32] | Difference, float]:  # fmt: skip
    """Reconstruction minus original, in units of the data; and how far off 99.9 % of the voxels are at most.

    Of a compressed volume of more than :data:`LAZY_VOXELS` the difference is lazy, and a sample says how far off it is.

    Raises
    ------
    ValueError
        If the shapes differ, or a difference is not finite. There is none where NaN or infinite values are the same.
    """
    if isinstance(reconstruction, TincVolume) and reconstruction.size > LAZY_VOXELS:
        _check_shapes(original, reconstruction)
        return Difference(original, reconstruction), _sampled_error_limit(original, reconstruction)
    errors = subtract(original, reconstruction)
    return errors, error_limit(errors)


def subtract(original: ArrayLike, reconstruction: ArrayLike) -> NDArray[np.float32]:
    """Reconstruction minus original, see :func:`difference`, of all voxels."""
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
    """How far off 99.9 % of the voxels are at most; 1 where none is."""
    return float(np.percentile(np.abs(errors), 99.9, overwrite_input=True)) or 1.0


def _sampled_error_limit(original: Any, volume: TincVolume) -> float:
    """The same, from some blocks; from some planes where there is one block only."""
    start, stop = volume.parts.start, volume.parts.stop
    boxes: list[tuple[slice, ...]]
    if len(start) == 1:
        planes = np.linspace(0, volume.shape[0] - 1, SAMPLES).astype(int).tolist()
        boxes = [(slice(z, z + 1), slice(None), slice(None)) for z in planes]
    else:
        boxes = [box_slices(start[at], stop[at]) for at in np.linspace(0, len(start) - 1, SAMPLES).astype(int)]
    return max(error_limit(subtract(original[box], volume[box])) for box in boxes)


def _check_shapes(original: Any, reconstruction: Any) -> None:
    shapes = tuple(original.shape), tuple(reconstruction.shape)
    if shapes[0] != shapes[1]:
        raise ValueError(f"shapes differ: original {shapes[0]}, compressed volume {shapes[1]}")


def is_calibrated(image: Image | Labels) -> bool:
    return image.metadata[VOLUME].calibrated


def other_calibration(image: Image | Labels) -> ShownVolume:
    """The volume of a layer without its calibration; or with it again, where that was taken away.

    Raises
    ------
    ValueError
        If it has no calibration.
    """
    if OTHER_CALIBRATION in image.metadata:
        return image.metadata[OTHER_CALIBRATION]
    volume = image.metadata[VOLUME]
    if volume.error_bound is not None:
        raise ValueError(f"{image.name}: {NO_NETWORKS}")
    uncalibrated_volume = uncalibrated(volume)
    if uncalibrated_volume is volume:
        raise ValueError(
            f"{image.name} has no calibration; it can be calibrated against its original: "
            "open Plugins > TINC > Leaves and press Recalibrate"
        )
    return ShownVolume.of(uncalibrated_volume, image)


def why_not_toggled(image: Image | Labels) -> str:
    """Why a layer's calibration can be neither taken away nor given back, or "" where it can."""
    if image.metadata[VOLUME].error_bound is not None:
        return NO_NETWORKS
    return (
        "" if is_calibrated(image) or OTHER_CALIBRATION in image.metadata else "Not calibrated. Use Recalibrate first."
    )


def recalibrate(image: Image, original: ArrayLike) -> ShownVolume:
    """The same networks, calibrated against an original."""
    return ShownVolume.of(recalibrated(image.metadata[VOLUME], original), image)


def show_volume(image: Image | Labels, shown: ShownVolume, keep_other: bool) -> None:
    """Let a layer show another form of its volume; ``other`` keeps what it showed, for :func:`toggled`."""
    shown_before = ShownVolume(
        image.metadata[VOLUME], image.data, {key: image.metadata.get(key) for key in (VOLUME, CHECKSUM)}
    )
    image.metadata.update(shown.metadata)
    image.metadata.pop(OTHER_CALIBRATION, None)
    if keep_other:
        image.metadata[OTHER_CALIBRATION] = shown_before
    image.data = shown.data  # last: who listens to it looks at the metadata


def possible_originals(layers: Sequence[Layer], image: Image | Labels) -> list[Image]:
    """Image layers of the same shape that are not compressed, the likely one first; none for labels."""
    if not isinstance(image, Image):
        return []  # nothing differs
    shape = image.metadata[VOLUME].shape
    candidates = [
        layer for layer in layers
        if isinstance(layer, Image) and VOLUME not in layer.metadata and not layer.rgb
        and tuple(finest_level(layer).shape) == shape and not layer.metadata.get(OVERLAY)
    ]  # fmt: skip
    return sorted(candidates, key=lambda layer: not _is_likely(layer, image))


def likely_original(layers: Sequence[Layer], image: Image | Labels) -> Image | None:
    """The layer that a compressed one was made from, or else one of its name; None where nothing speaks for any."""
    choices = possible_originals(layers, image)
    return choices[0] if choices and _is_likely(choices[0], image) else None


def _is_likely(layer: Image, image: Image | Labels) -> bool:
    source = source_of(image)
    return source is layer if source is not None else _original_name(layer.name) == _original_name(image.name)


def _original_name(name: str) -> str:
    """Strip what tells layers of one image apart: "brain" of "brain (tinc 64x)", and of napari's "brain [1]"."""
    return base_name(re.sub(r"( \[\d+\])+$", "", base_name(name)))


def describe_measurement(measurement: Measurement) -> str:
    """A volume's quality in a few lines."""
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
    """``volume.leaves`` with the errors of every single leaf of decoded ``values`` against an original."""
    rows = volume.leaves.copy()
    errors = box_errors(original, values, rows["start"], rows["stop"])
    known = original[np.isfinite(original)]
    span = float(known.max()) - float(known.min()) if known.size else 0.0
    rows["rmse"], rows["max_error"] = errors.T
    rows["psnr"] = [psnr(rmse, span) for rmse in errors[:, 0]]
    return rows
