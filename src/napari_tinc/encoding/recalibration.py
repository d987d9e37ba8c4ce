"""Calibrate a compressed volume anew, against an original, without fitting its networks again.

Weights, rounding steps and scalars stay what they are. Only gains and offsets change, and the errors that the file
states.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import metrics
from ..array_like import computed
from ..decoding.block_contents import BlockContents
from ..decoding.network_box import NetworkBox, pack_weights
from ..decoding.volume import TincVolume
from ..format import blocks_file
from ..format.blocks_file import Payload
from ..format.chunks import Ancillary, Chunk
from ..format.metadata import with_json
from ..format.quality import pack_errors
from ..metrics import part_errors, quality_fields
from ..networks.calibration import fit_corrections
from ..networks.compiled_code import COMPILED_CODE
from ..networks.values import normalise, to_values
from ..octree import box_slices


def recalibrate(volume: TincVolume, original: ArrayLike) -> TincVolume:
    """Find the gain and offset of every leaf anew, so that a volume comes closest to an original.

    The networks are not trained again: this decodes the volume once, and takes seconds. The errors that the file
    states are measured anew. Blocks without networks, and the filter that they pass, stay as they are.

    Parameters
    ----------
    volume : a volume with networks, such as one compressed with ``calibration="none"``.
    original : array of the volume's shape and of any real dtype, all values finite.

    Returns
    -------
    A new volume, of at most a few bytes a leaf more. It is in memory: :meth:`TincVolume.save` keeps it.

    Raises
    ------
    ValueError
        If the volume has no networks or is cut off, the shapes differ, or a value is not finite.
    TypeError
        If the volume is no :class:`TincVolume`.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tinc as tinc
    >>> z, y, x = np.indices((16, 16, 16))
    >>> array = (100 + 50 * np.sin(z / 5) * np.cos(y / 7) * np.sin(x / 6)).astype(np.uint8)
    >>> volume = tinc.compress(array, ratio=8, method="networks", preset="fast")
    >>> brighter = array + np.uint8(40)
    >>> better = tinc.recalibrate(volume, brighter)
    >>> tinc.compare(brighter, better).psnr > tinc.compare(brighter, volume).psnr
    True
    """
    if not isinstance(volume, TincVolume):
        raise TypeError(f"volume is of type {type(volume).__name__}, expected a TincVolume: napari_tinc.open(path)")
    if volume.method != "networks":
        kept = (
            "its filter was fitted to its original when it was compressed, and stays" if volume.parts.filter is not None
            else "there is nothing to calibrate"
        )  # fmt: skip
        raise ValueError(f"volume has no networks: {kept}. To come closer to another original, compress that")
    if volume.regions.bound is not None:
        raise ValueError(
            "volume has a region that is kept exactly, where its networks are not meant to be right; expected one "
            "without. Compress it again to calibrate it"
        )
    original = computed(original)
    if np.ma.is_masked(original):
        raise ValueError("original is a masked array and cannot be calibrated against: every voxel needs a value")
    original = np.asarray(original)
    if original.shape != volume.shape:
        raise ValueError(f"shapes differ: original {original.shape}, compressed volume {volume.shape}")
    if original.dtype.kind not in "iuf" or not np.isfinite(original).all():
        raise ValueError("original holds values that are not finite real numbers and cannot be calibrated against")
    COMPILED_CODE.use()
    flat = original.reshape(-1, *original.shape[-3:])
    decoded = np.empty(flat.shape, volume.dtype)

    def calibrated(tree: NetworkBox, place: tuple[int | slice, ...]) -> bytes:
        """Return the file of a tree with the best calibration."""
        data, decoded[place] = _recalibrate_tree(tree, flat[place])
        return data

    data = _rebuild(volume, calibrated)
    return _with_quality(data, quality_fields(metrics.measure(original, decoded.reshape(volume.shape), 1)))


def _recalibrate_tree(tree: NetworkBox, original: NDArray[Any]) -> tuple[bytes, NDArray[Any]]:
    """Return the file of a tree with the best calibration, and the values that it decodes to."""
    header = tree.header
    stored = tree.stored.uncalibrated()
    outputs = tree.uncalibrated.network.on_grid([np.arange(n, dtype=np.float64) + 0.5 for n in header.shape])
    if header.std_q:
        wanted = normalise(original[tree.core], header)
        if tree.background is not None:
            wanted = np.where(tree.background.hidden[tree.core], outputs, wanted)
        corrections = fit_corrections(outputs, wanted, stored.architecture, header.weights_format, original.nbytes)
        stored = replace(stored, corrections=corrections)
        stored.network().calibrate(outputs)
    values = to_values(outputs, header)
    if tree.background is not None:
        inside, values = values, tree.background.smooth.copy()
        values[tree.core] = np.where(tree.background.hidden[tree.core], values[tree.core], inside)
    errors = pack_errors(part_errors(original[tree.core], values[tree.core], header), header.value_range)
    quality = Chunk.of(Ancillary.QUALITY, errors)
    ancillary = [
        quality if chunk.role is Ancillary.QUALITY else chunk for chunk in tree.chunks if chunk.ancillary
    ]  # fmt: skip
    return pack_weights(header, stored, ancillary), values


def _rebuild(volume: TincVolume, change: Callable[[NetworkBox, tuple[int | slice, ...]], bytes]) -> bytes:
    """Build the volume's file anew, with every tree changed by a function of the tree and its place."""
    parts = volume.parts
    if volume.n_missing:
        raise ValueError(f"{volume.n_missing} parts of the file are missing: it was cut off")
    blocks = []
    for number, box in np.ndindex(math.prod(parts.leading), len(parts.start)):
        part = parts.part(number, box)
        assert part is not None
        place = (number, *box_slices(parts.start[box], parts.stop[box]))
        if isinstance(part, NetworkBox):
            background = b"" if part.background is None else part.background.data
            blocks.append(Payload(background + change(part, place)))
        else:
            blocks.append(Payload(part.data, part.crc))
    if not isinstance(parts, BlockContents):
        return blocks[0].data
    return blocks_file.pack(parts.header, parts.overview_payloads(), blocks, parts.ancillary())


def _with_quality(data: bytes, quality: dict[str, str]) -> TincVolume:
    """Return the volume of a file, with another quality in PROVENANCE if it has any."""
    volume = TincVolume(data)
    if not volume.provenance:
        return volume
    return TincVolume(
        volume.parts.rewritten(with_json(volume.parts.ancillary(), Ancillary.PROVENANCE, volume.provenance | quality))
    )
