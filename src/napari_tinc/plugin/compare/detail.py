"""What a measurement tells besides errors: which detail is kept, and how good each region of a label image is.

Functions of arrays and volumes, which run in a thread. No viewers, no Qt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import ArrayLike, NDArray

from ...correlation import ShellCorrelation, fourier_shell_correlation, unit_of
from ...decoding.volume import TincVolume
from ...metrics import without_fill
from ...region_quality import RegionQuality, check_labels, measure_regions
from ..layers.origin import VOLUME, finest_level
from .original import Measurement, measure
from .work import Work

# How much of a measurement is done after decoding, errors and SSIM, and the correlation; the regions are the rest.
DECODED, MEASURED, CORRELATED = 0.2, 0.6, 0.85
MOST_LABELS = 5  # So many labels are told, the worst ones first.


def measure_detail(
    volume: TincVolume, original: ArrayLike, labels: Any = None, work: Work | None = None
) -> Measurement:  # fmt: skip
    """Measure errors, the Fourier shell correlation, and the regions of a label image if there is one.

    Raises
    ------
    ValueError
        If the shapes differ, NaN or infinite values do, or ``labels`` is no label image of the volume.
    """
    work = work or Work()
    original = np.asarray(original)
    if labels is not None:
        labels = check_labels(np.asarray(labels), original.shape)
    values = np.asarray(volume)
    work.reach(DECODED)
    measurement = measure(volume, original, values, work.check)
    work.reach(MEASURED)
    original, values = without_fill(original, values, volume.fill.values)
    unit = unit_of(volume.header.spacing, volume.units)
    correlation = fourier_shell_correlation(original, values, volume.spacing, unit, work.check)
    work.reach(CORRELATED)
    regions = [] if labels is None else measure_regions(original, values, labels, work.check)
    work.reach(1)
    return replace(measurement, correlation=correlation, regions=regions)


def possible_regions(layers: Sequence[Layer], image: Image | Labels | None) -> list[Labels]:
    """Return the labels layers of the shape of a compressed layer."""
    if not isinstance(image, Image):
        return []
    shape = image.metadata[VOLUME].shape
    return [layer for layer in layers if isinstance(layer, Labels) and tuple(finest_level(layer).shape) == shape]


def describe_detail(measurement: Measurement) -> str:
    """Describe which detail is kept, and the regions, in a few lines; "" if neither was measured."""
    correlation = measurement.correlation
    lines = [] if correlation is None else [correlation.describe(), correlation.describe_boxes()]
    groups = [row for row in measurement.regions if isinstance(row.region, str)]
    if groups:
        lines.append("PSNR " + ", ".join(f"{row.region} {row.psnr:.2f} dB" for row in groups))
        lines.append("SSIM " + ", ".join(f"{row.region} {row.ssim:.4f}" for row in groups))
    labels = sorted((row for row in measurement.regions if isinstance(row.region, int)), key=lambda row: row.psnr)
    if labels:
        lines.append(_describe_labels(labels))
    return "\n".join(filter(None, lines))


def _describe_labels(rows: list[RegionQuality]) -> str:
    """Describe the PSNR of labels, which are sorted from the worst on."""
    text = ", ".join(f"{row.region}: {row.psnr:.2f} dB" for row in rows[:MOST_LABELS])
    if (more := len(rows) - MOST_LABELS) > 0:
        return f"Worst labels {text}, and {more} more, up to {rows[-1].psnr:.2f} dB"
    return f"Labels {text}"


def frequency_title(correlation: ShellCorrelation) -> str:
    """Return the title of an axis of frequencies: "frequency (1/millimeter)"."""
    unit = {"voxels": "voxel", "units of the spacing": "unit of the spacing"}.get(correlation.unit, correlation.unit)
    return f"frequency (1/{unit})"


def crossings(correlation: ShellCorrelation, thresholds: Sequence[float]) -> NDArray[np.float64]:
    """Return frequency and threshold wherever the curve first falls below one; (n, 2)."""
    resolutions = [(correlation.resolution(each), each) for each in thresholds if not correlation.keeps_all(each)]
    return np.array([(1 / resolution, each) for resolution, each in resolutions if np.isfinite(resolution)])
