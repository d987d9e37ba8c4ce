"""Another calibration for a compressed volume, without fitting its networks anew: none, or the best for an original.

Weights, rounding steps and scalars stay what they are; only gains and offsets, and what the file says of its quality,
change. Takes seconds, as the volume is decoded once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from . import container, metrics
from .calibration import fit_corrections
from .container import Ancillary, Calibration, Chunk
from .pipeline import compact, figures, normalise, part_errors
from .volume import TincVolume, pack_errors, to_values
from .weights import Stored, from_chunks


def uncalibrated(volume: TincVolume) -> TincVolume:
    """The same networks without gains and offsets; itself if it has none. It says nothing of its errors."""
    if volume.header.calibration is Calibration.NONE:
        return volume
    stored = from_chunks(volume.header, volume.chunks).uncalibrated()
    return _assemble(volume, stored, None, {})


def recalibrated(volume: TincVolume, original: ArrayLike) -> TincVolume:
    """The same networks with the gains and offsets that bring them closest to an original, and its errors anew.

    Parameters
    ----------
    original : of the volume's shape, all values finite; any real dtype.

    Raises
    ------
    ValueError
        If the shapes differ, or a value is not finite.
    """
    original = np.asarray(original)
    if original.shape != volume.shape:
        raise ValueError(f"shapes differ: original {original.shape}, compressed volume {volume.shape}")
    if original.dtype.kind not in "iuf" or not np.isfinite(original).all():
        raise ValueError("original holds values that are not finite real numbers and cannot be calibrated against")
    header = volume.header
    stored = from_chunks(header, volume.chunks).uncalibrated()
    outputs = stored.network().on_grid([np.arange(n, dtype=np.float64) + 0.5 for n in header.shape])
    if header.std_q:
        wanted = normalise(original, header)
        found = fit_corrections(outputs, wanted, stored.architecture, header.weights_format, volume.nbytes)
        stored = replace(stored, corrections=found)
        stored.network().calibrate(outputs)
    values = to_values(outputs, header)
    quality = Chunk.of(Ancillary.QUALITY, pack_errors(part_errors(original, values, header), header.value_range))
    return _assemble(volume, stored, quality, figures(metrics.measure(original, values, 1)))


def _assemble(volume: TincVolume, stored: Stored, quality: Chunk | None, said: dict[str, str]) -> TincVolume:
    """The volume's file around other weights; QUALITY, and what PROVENANCE said of it, replaced where it has any."""
    header = replace(volume.header, calibration=stored.corrections.kind)
    chunks = stored.to_chunks(header.weights_format)
    for chunk in volume.chunks:
        if chunk.role is Ancillary.QUALITY:
            chunks += [quality] if quality else []
        elif chunk.role is Ancillary.PROVENANCE:
            kept = {key: value for key, value in volume.provenance.items() if key not in figures(None)}
            chunks.append(Chunk.of(Ancillary.PROVENANCE, compact(kept | said)))
        elif chunk.ancillary:
            chunks.append(chunk)
    return TincVolume(container.pack(header, chunks))
