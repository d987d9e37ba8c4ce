"""Another calibration for a compressed volume, without fitting its networks anew: none, or the best for an original.

Weights, rounding steps and scalars stay what they are; only gains and offsets, and what the file says of its quality,
change. Takes seconds, as the volume is decoded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import metrics
from ..decoding.contents import BlockContents
from ..decoding.network_box import NetworkBox
from ..decoding.volume import TincVolume
from ..format import blocks_file, networks_file
from ..format.blocks_file import Payload
from ..format.chunks import Ancillary, Chunk
from ..format.metadata import compact
from ..format.quality import pack_errors
from ..metrics import part_errors, quality_fields
from ..networks.calibration import fit_corrections
from ..networks.values import normalise, to_values
from ..networks.weights import StoredNetwork, from_chunks
from ..octree import box_slices


def uncalibrated(volume: TincVolume) -> TincVolume:
    """The same networks without gains and offsets; itself if it has none. It says nothing of its errors."""
    if not volume.calibrated:
        return volume

    def without_calibration(tree: NetworkBox, place: tuple[int | slice, ...]) -> bytes:
        if not tree.calibrated:
            return tree.data
        return _assemble(tree, from_chunks(tree.header, tree.chunks).uncalibrated(), None)

    return _with_quality(_rebuild(volume, without_calibration), {})


def recalibrated(volume: TincVolume, original: ArrayLike) -> TincVolume:
    """The same networks with the gains and offsets that bring them closest to an original, and its errors anew.

    Parameters
    ----------
    original : of the volume's shape, all values finite; any real dtype.

    Raises
    ------
    ValueError
        If it has no networks, the shapes differ, or a value is not finite.
    """
    if volume.error_bound is not None:
        raise ValueError("volume has no networks, and nothing to calibrate")
    original = np.asarray(original)
    if original.shape != volume.shape:
        raise ValueError(f"shapes differ: original {original.shape}, compressed volume {volume.shape}")
    if original.dtype.kind not in "iuf" or not np.isfinite(original).all():
        raise ValueError("original holds values that are not finite real numbers and cannot be calibrated against")
    flat = original.reshape(-1, *original.shape[-3:])
    decoded = np.empty(flat.shape, volume.dtype)

    def calibrated(tree: NetworkBox, place: tuple[int | slice, ...]) -> bytes:
        data, decoded[place] = _recalibrate_tree(tree, flat[place])
        return data

    data = _rebuild(volume, calibrated)
    return _with_quality(data, quality_fields(metrics.measure(original, decoded.reshape(volume.shape), 1)))


def _recalibrate_tree(tree: NetworkBox, original: NDArray[Any]) -> tuple[bytes, NDArray[Any]]:
    """The tree's file, and the values that it decodes to."""
    header = tree.header
    stored = from_chunks(header, tree.chunks).uncalibrated()
    outputs = stored.network().on_grid([np.arange(n, dtype=np.float64) + 0.5 for n in header.shape])
    if header.std_q:
        wanted = normalise(original, header)
        corrections = fit_corrections(outputs, wanted, stored.architecture, header.weights_format, original.nbytes)
        stored = replace(stored, corrections=corrections)
        stored.network().calibrate(outputs)
    values = to_values(outputs, header)
    errors = pack_errors(part_errors(original, values, header), header.value_range)
    return _assemble(tree, stored, Chunk.of(Ancillary.QUALITY, errors)), values


def _assemble(tree: NetworkBox, stored: StoredNetwork, quality: Chunk | None) -> bytes:
    """The tree's file around other weights; QUALITY replaced where it has any."""
    header = replace(tree.header, calibration=stored.corrections.kind)
    chunks = stored.to_chunks(header.weights_format)
    for chunk in tree.chunks:
        if chunk.role is Ancillary.QUALITY:
            chunks += [quality] if quality else []
        elif chunk.ancillary:
            chunks.append(chunk)
    return networks_file.pack(header, chunks)


def _rebuild(volume: TincVolume, change: Callable[[NetworkBox, tuple[int | slice, ...]], bytes]) -> bytes:
    """The volume's file with every tree changed, given its place."""
    parts = volume.parts
    if volume.n_missing:
        raise ValueError(f"{volume.n_missing} parts of the file are missing: it was cut off")
    blocks = []
    for number, box in np.ndindex(math.prod(parts.leading), len(parts.start)):
        part = parts.part(number, box)
        assert part is not None
        place = (number, *box_slices(parts.start[box], parts.stop[box]))
        if isinstance(part, NetworkBox):
            blocks.append(Payload(change(part, place)))
        else:
            blocks.append(Payload(part.data, part.crc))
    if not isinstance(parts, BlockContents):
        return blocks[0].data
    overviews = [payload for number in range(parts.header.n_volumes) for payload in parts.payloads(number)[0]]
    return blocks_file.pack(parts.header, overviews, blocks, parts.ancillary())


def _with_quality(data: bytes, quality: dict[str, str]) -> TincVolume:
    """A file, with this in place of what PROVENANCE said of its quality, where it has any."""
    volume = TincVolume(data)
    kept = {key: value for key, value in volume.provenance.items() if key not in quality_fields(None)}
    if not volume.provenance:
        return volume
    ancillary = [chunk for chunk in volume.parts.ancillary() if chunk.role is not Ancillary.PROVENANCE]
    provenance = Chunk.of(Ancillary.PROVENANCE, compact(kept | quality))
    return TincVolume(volume.parts.rewritten([*ancillary, provenance]))
