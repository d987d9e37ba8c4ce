"""A compressed image layer beside its original: errors, differences, and the same networks calibrated otherwise.

What takes seconds is a function of arrays and volumes, for a thread. No viewers, no Qt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import ArrayLike, NDArray

from ..metrics import Quality
from ..recalibration import recalibrated, uncalibrated
from ..volume import TincVolume, quality_of
from .layers import CHECKSUM, VOLUME, base_name, finest, promise, source_of, to_layer
from .leaf_maps import measured
from .leaf_view import OVERLAY

OTHER = "tinc_other"  # in a layer's metadata: Shown, the other of its volume with and without calibration
NO_NETWORKS = "This file has no networks, so there is nothing to calibrate."
SHARES = (50, 95, 99)  # per cent of the voxels
BINS = 41
FLOAT32 = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A volume, and the data and metadata with which an image layer shows it."""

    volume: TincVolume
    data: Any
    metadata: dict[str, Any]

    @classmethod
    def of(cls, volume: TincVolume, image: Image | Labels) -> Shown:
        """In the form that a layer shows its volume in now: decoded, or lazy levels; it can't change to the other."""
        data, arguments = to_layer(volume, "", 0 if image.multiscale else volume.size)
        return cls(volume, data, {key: arguments["metadata"].get(key) for key in (VOLUME, CHECKSUM)})


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
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
    before: NDArray[Any] | None
    quality: Quality
    quality_before: Quality | None
    promise: str
    broken: bool
    shares: tuple[float, ...]
    edges: NDArray[np.float64]
    counts: NDArray[np.float64]


def measure(volume: TincVolume, original: ArrayLike) -> Measured:
    """Errors of every leaf and in all. ValueError where the shapes differ, or NaN or infinite values do."""
    original = np.asarray(original)
    values = np.asarray(volume)
    quality = quality_of(original, values, volume)
    off, far = difference(original, values)
    known = np.isfinite(original)
    if known.any() and not known.all():
        off = off[known]
    shares = tuple(float(share) for share in np.percentile(np.abs(off), SHARES))
    counts, edges = np.histogram(off, BINS, (-far, far))
    plain = uncalibrated(volume)
    before = quality_before = None
    if plain is not volume:
        values_before = np.asarray(plain)
        before, quality_before = measured(plain, values_before, original), quality_of(original, values_before, plain)
    return Measured(
        measured(volume, values, original),
        before,
        quality,
        quality_before,
        promise(volume),
        volume.error_bound is not None and quality.max_error > volume.error_bound,
        shares,
        edges,
        counts / off.size,
    )


def difference(original: ArrayLike, reconstruction: ArrayLike) -> tuple[NDArray[np.float32], float]:
    """Reconstruction minus original, in units of the data; and how far off 99.9 % of the voxels are at most.

    Raises
    ------
    ValueError
        If the shapes differ, or a difference is not finite. There is none where NaN or infinite values are the same.
    """
    original, reconstruction = np.asarray(original), np.asarray(reconstruction)
    if original.shape != reconstruction.shape:
        raise ValueError(f"shapes differ: original {original.shape}, compressed volume {reconstruction.shape}")
    out = np.empty(original.shape, np.float32)
    for plane, other, into in zip(original, reconstruction, out, strict=True):
        with np.errstate(invalid="ignore"):  # of infinite values
            into[:] = np.clip(other.astype(np.float64) - plane, *FLOAT32)
        into[~np.isfinite(plane) & ((plane == other) | (np.isnan(plane) & np.isnan(other)))] = 0
    if not np.isfinite(out).all():
        raise ValueError("original has NaN or infinite values that are others in the volume: no difference to show")
    return out, float(np.percentile(np.abs(out), 99.9)) or 1.0


def is_calibrated(image: Image | Labels) -> bool:
    return image.metadata[VOLUME].calibrated


def toggled(image: Image | Labels) -> Shown:
    """The volume of a layer without its calibration; or with it again, where that was taken away.

    Raises
    ------
    ValueError
        If it has no calibration.
    """
    if OTHER in image.metadata:
        return image.metadata[OTHER]
    volume = image.metadata[VOLUME]
    if volume.error_bound is not None:
        raise ValueError(f"{image.name}: {NO_NETWORKS}")
    plain = uncalibrated(volume)
    if plain is volume:
        raise ValueError(
            f"{image.name} has no calibration; it can be calibrated against its original: "
            "open Plugins > TINC > Leaves and press Recalibrate"
        )
    return Shown.of(plain, image)


def no_calibration(image: Image | Labels) -> str:
    """Why a layer's calibration can be neither taken away nor given back, or "" where it can."""
    if image.metadata[VOLUME].error_bound is not None:
        return NO_NETWORKS
    return "" if is_calibrated(image) or OTHER in image.metadata else "Not calibrated. Use Recalibrate first."


def recalibrate(image: Image, original: ArrayLike) -> Shown:
    """The same networks, calibrated against an original."""
    return Shown.of(recalibrated(image.metadata[VOLUME], original), image)


def show(image: Image | Labels, shown: Shown, other: bool) -> None:
    """Let a layer show another form of its volume; ``other`` keeps what it showed, for :func:`toggled`."""
    before = Shown(image.metadata[VOLUME], image.data, {key: image.metadata.get(key) for key in (VOLUME, CHECKSUM)})
    image.metadata.update(shown.metadata)
    image.metadata.pop(OTHER, None)
    if other:
        image.metadata[OTHER] = before
    image.data = shown.data  # last: who listens to it looks at the metadata


def possible_originals(layers: Sequence[Layer], image: Image | Labels) -> list[Image]:
    """Image layers of the same shape that are not compressed, the likely one first; none for labels."""
    if not isinstance(image, Image):
        return []  # nothing differs
    shape = image.metadata[VOLUME].shape
    found = [
        layer for layer in layers
        if isinstance(layer, Image) and VOLUME not in layer.metadata and not layer.rgb
        and tuple(finest(layer).shape) == shape and not layer.metadata.get(OVERLAY)
    ]  # fmt: skip
    return sorted(found, key=lambda layer: not _is_likely(layer, image))


def likely_original(layers: Sequence[Layer], image: Image | Labels) -> Image | None:
    """The layer that a compressed one was made from, or else one of its name; None where nothing speaks for any."""
    choices = possible_originals(layers, image)
    return choices[0] if choices and _is_likely(choices[0], image) else None


def _is_likely(layer: Image, image: Image | Labels) -> bool:
    source = source_of(image)
    return source is layer if source is not None else base_name(layer.name) == base_name(image.name)


def summary(found: Measured) -> str:
    """A volume's quality in a few lines."""
    quality, before = found.quality, found.quality_before
    lines = [
        f"PSNR {quality.psnr:.2f} dB, SSIM {quality.ssim:.4f}, largest error {quality.max_error:.4g}",
        f"Ratio {quality.ratio:.1f}, {quality.bits_per_voxel:.3f} bits a voxel",
        "Voxels: " + ", ".join(
            f"{share} % within {off:.3g}" for share, off in zip(SHARES, found.shares, strict=True)
        ),
    ]  # fmt: skip
    if found.promise:
        lines.append(f"Promised: {found.promise}" + (": not of this original" if found.broken else ""))
    if before is not None:
        lines.append(f"Calibration gives {quality.psnr - before.psnr:+.3f} dB")
    return "\n".join(lines)
