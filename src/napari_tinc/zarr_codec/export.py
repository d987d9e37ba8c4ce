"""Write a `.tinc` file as an OME-Zarr that stays compressed, for ``napari-tinc decompress --codec tinc``.

The finest level has exactly the values that the file decodes to. Where the blocks of the file are a grid as Zarr has
them (all of one size, smaller ones at the far ends only), each becomes a chunk as it is. Where they are not, as of an
axis of 301 voxels in four blocks, or where only a part is written, the decoded values are coded anew, bit for bit.
After the predictive coder this takes about a third more bytes, after networks many times as many. Coarser levels are
means, of which no file promises anything: they are stored within the bound of the file, or the RMSE of its networks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..decoding.bounded_box import BoundedBox
from ..decoding.boxes import Part
from ..decoding.network_box import NetworkBox
from ..decoding.volume import TincVolume
from ..format import blocks_file
from ..format.blocks_file import BlocksHeader, Payload
from ..format.chunks import Ancillary, Chunk
from ..format.metadata import compact
from ..octree import Octree
from .codec import TincCodec

EDGE = 128  # Voxels along an edge of a chunk that is coded anew.


class TincChunks:
    """How an OME-Zarr is written with the codec: see :class:`napari_tinc.io.ome_zarr.ChunkCoding`.

    Parameters
    ----------
    volume : the file.
    whole : whether the finest level that is written is all of the volume at full resolution.
    """

    def __init__(self, volume: TincVolume, whole: bool) -> None:
        self._volume = volume
        as_blocks = whole and not volume.n_missing and volume.regions.bound is None
        self._block = _grid_of_blocks(volume) if as_blocks else None

    def array_options(self, level: int, shape: Sequence[int]) -> dict[str, Any]:
        """Return the shape of the chunks of a level, and its codec, as keywords of Zarr's ``create_array``."""
        block = self._block if level == 0 and self._block else [min(EDGE, n) for n in shape[-3:]]
        codec = self._codec_of_coarse() if level else self._codec_of_finest()
        return {"chunks": (*(1 for _ in shape[:-3]), *block), "serializer": codec, "compressors": None}

    def stored_chunks(self, level: int, order: Sequence[int]) -> Iterator[tuple[tuple[int, ...], bytes]] | None:
        """Return the place and the bytes of every chunk of a level, if they need not be coded anew; else None.

        Parameters
        ----------
        order : the axes of the file in the order of the array.
        """
        n_leading = self._volume.ndim - 3
        if level or self._block is None or list(order[-3:]) != list(range(n_leading, n_leading + 3)):
            return None
        return self._blocks(order[:-3])

    def _blocks(self, order: Sequence[int]) -> Iterator[tuple[tuple[int, ...], bytes]]:
        """Yield the place of every block in the grid of chunks, and its bytes as a file."""
        volume = self._volume
        leading = volume.shape[:-3]
        for number, box, part in volume.boxes():
            assert part is not None and self._block is not None  # the file is whole
            indices = np.unravel_index(number, leading) if leading else ()
            corner = volume.parts.start[box] // np.array(self._block)
            yield (*(int(indices[axis]) for axis in order), *corner.tolist()), _file_of_box(part, volume)

    def _codec_of_finest(self) -> TincCodec:
        """Return the codec that says what the file promises; for values coded anew it is bit for bit."""
        volume = self._volume
        if self._block is None or volume.error_bound is not None:
            return TincCodec(max_error=volume.error_bound if self._block else 0)
        return TincCodec(ratio=max(1.0, float(f"{volume.ratio:.3g}")), method=volume.method)

    def _codec_of_coarse(self) -> TincCodec:
        """Return the codec of coarser levels."""
        volume = self._volume
        if volume.labels or volume.dtype.kind == "b":
            return TincCodec(max_error=0)
        if volume.error_bound is not None:
            return TincCodec(max_error=volume.error_bound)
        low, high = map(float, volume.value_range)
        try:
            rmse = (high - low) * 10 ** (-float(volume.provenance.get("psnr", "nan")) / 20)
        except (TypeError, ValueError):
            rmse = math.nan
        return TincCodec(max_error=rmse if math.isfinite(rmse) else 0)


def _grid_of_blocks(volume: TincVolume) -> list[int] | None:
    """Return the size of the blocks, if chunks of one size lie as they do; else None."""
    start, stop = volume.parts.start, volume.parts.stop
    size = (stop - start).max(axis=0)
    shape = np.array(volume.header.shape)
    is_grid = not (start % size).any() and (stop == np.minimum(start + size, shape)).all()
    return [int(n) for n in size] if is_grid else None


def _file_of_box(box: Part, volume: TincVolume) -> bytes:
    """Return a block as a file of its own: of one tree of networks, or of one block if it needs more than that."""
    payload, is_filtered = None, isinstance(box, BoundedBox) and box.calibrated
    if isinstance(box, NetworkBox):
        tree = box.pack([], spacing=None, unit="", origin=None, affine=None)
        if box.background is None:
            return tree
        payload = Payload(box.background.data + tree)
    z, y, x = box.shape
    header = BlocksHeader(
        tree=Octree.full((z, y, x), 0), dtype=volume.header.dtype, value_range=volume.header.value_range,
        error_bound=volume.error_bound,
        filter=volume.header.filter if isinstance(volume.header, BlocksHeader) and is_filtered else b"",
    )  # fmt: skip
    meta = [Chunk.of(Ancillary.META, compact({"bool": True}))] if volume.dtype.kind == "b" else []
    if isinstance(box, BoundedBox):
        assert box.crc is not None  # the file is whole
        payload = Payload(box.data, box.crc)
    assert payload is not None
    return blocks_file.pack(header, [], [payload], meta)
