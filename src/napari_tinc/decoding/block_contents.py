"""The contents of a file of blocks, for channels, points in time and boxes of a volume."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from ..format import blocks_file, chunks, networks_file
from ..format.blocks_file import BlockLayout, BlocksHeader, Payload
from ..format.chunks import Ancillary, Chunk, ChunkEntry, ChunkKind
from ..format.head import read_head
from ..format.networks_file import Calibration
from ..format.quality import unpack_errors
from ..storage.stores import Memory, Store
from .bounded_box import BoundedBox
from .boxes import Part
from .cache import BoxPlanes, LatticePlanes, LeastRecentlyUsed
from .network_box import NetworkBox
from .regions import Regions

if TYPE_CHECKING:
    from ..filtering.filter import Filter

TREE_BYTES = 30_000  # The cache counts so many bytes for a tree of networks, beside its weights.
MOST_LEAVES = 4096  # About the largest number of leaves of all blocks of the predictive coder.


class BlockContents:
    """The contents of a file of blocks, each of which is read, checked and parsed when it is first needed."""

    def __init__(
        self, store: Store, header: BlocksHeader, layout: BlockLayout, cache: LeastRecentlyUsed, head_crc: int, *,
        ancillary: list[Chunk] | None = None, nbytes: int | None = None, calibrated: bool = True,
        planes: LatticePlanes | None = None,
    ) -> None:  # fmt: skip
        self.header = header
        self.leading, self.edge = header.leading, header.edge
        self._store, self._layout, self._cache, self._head_crc = store, layout, cache, head_crc
        self._planes = LatticePlanes(cache.most) if planes is None else planes
        self._ancillary = ancillary  # in place of those of the file
        self._nbytes = store.size if nbytes is None else nbytes
        self.shows_calibration = calibrated
        chunk, keys = self._chunk, [entry.start for entry in layout.regions]
        self.regions = Regions(header.regions, lambda n: chunk(layout.regions[n]).checked(), keys, header.dtype, cache)

    @property
    def has_networks(self) -> bool:
        return any(entry.level != 1 for entry in self._layout.blocks) or self._layout.residuals.size == 0

    @cached_property
    def filter(self) -> Filter | None:
        if not self.header.filter:
            return None
        from ..filtering.filter import Filter  # A file without a filter is opened without its modules.

        return Filter.parse(self.header.filter)

    @cached_property
    def start(self) -> NDArray[np.int64]:
        return self.header.tree.start[self.header.tree.leaves]

    @cached_property
    def stop(self) -> NDArray[np.int64]:
        return self.header.tree.stop[self.header.tree.leaves]

    @property
    def n_missing(self) -> int:
        """Blocks and regions that were cut off; one more if the checksums of the values were."""
        unproved = int(len(self._layout.residuals) > 0 and self._layout.verify is None)
        unproved += len(self.regions) - len(self._layout.regions)
        return self.header.n_volumes * self.header.tree.n_leaves - len(self._layout.blocks) + unproved

    def prepare(self, volume: int, boxes: Sequence[int]) -> None:
        indices = [(box, volume * len(self.start) + box) for box in boxes]
        entries = [(box, self._layout.blocks[index]) for box, index in indices if index < len(self._layout.blocks)]
        wanted = [(box, entry) for box, entry in entries if self._cache.get(entry.start) is None]
        payloads = self._store.read_many([(entry.start, entry.start + entry.length) for _, entry in wanted])
        for (box, entry), payload in zip(wanted, payloads, strict=True):
            with suppress(TincError):
                part = self._parsed(entry, self._box_shape(box), payload)
                if isinstance(part, NetworkBox):
                    _ = part.network

    def part(self, volume: int, box: int) -> Part | None:
        index = volume * len(self.start) + box
        if index >= len(self._layout.blocks):
            return None
        return self._calibrated(self._parsed(self._layout.blocks[index], self._box_shape(box)))

    def _calibrated(self, part: Part) -> Part:
        """A block with gains and offsets, or a filter, or without them."""
        return part if self.shows_calibration else part.uncalibrated

    def _box_shape(self, box: int) -> tuple[int, ...]:
        return tuple((self.stop[box] - self.start[box]).tolist())

    def overview(self, volume: int) -> Part | None:
        entries = self._layout.overviews
        return self._parsed(entries[volume], self.header.overview_shape()) if volume < len(entries) else None

    def at_hand(self, volume: int, box: int) -> Part | None:
        index, blocks = volume * len(self.start) + box, self._layout.blocks
        part = self._cache.get(blocks[index].start) if index < len(blocks) else None
        return None if part is None else self._calibrated(part)

    def overview_at_hand(self, volume: int) -> Part | None:
        entries = self._layout.overviews
        return self._cache.get(entries[volume].start) if volume < len(entries) else None

    def leaves(self, volume: int, box: int, value_range: tuple[float, float]) -> NDArray[Any] | None:
        part = self.part(volume, box)
        if isinstance(part, BoundedBox):
            place = self._layout.blocks[volume * len(self.start) + box].start
            rmse, largest = self._errors.get(place, (np.nan, np.nan))
            bound = self.header.error_bound  # Errors are stored rounded up, and none is above the bound.
            most = MOST_LEAVES // len(self._layout.blocks)
            return part.leaves(value_range, (rmse, largest if bound is None else min(largest, bound)), most)
        return None if part is None else part.leaves(value_range)

    def ancillary(self, role: Ancillary | None = None) -> list[Chunk]:
        if self._ancillary is not None:
            return [chunk for chunk in self._ancillary if role in (None, chunk.role)]
        return [self._chunk(entry) for entry in self._layout.ancillary if role in (None, entry.role)]

    def selected(self, volumes: NDArray[np.int64], ancillary: list[Chunk]) -> BlockContents:
        """Return the contents of some channels or points in time, whose ascending numbers are given in their shape."""
        n = len(self.start)
        overviews = [entry for at in volumes.ravel().tolist() for entry in self._layout.overviews[at : at + 1]]
        blocks = [entry for at in volumes.ravel().tolist() for entry in self._layout.blocks[at * n : (at + 1) * n]]
        facts = self.header.regions
        regions, kept_regions = facts.selected(volumes.ravel().tolist()) if facts else (None, [])
        region_entries = [self._layout.regions[at] for at in kept_regions if at < len(self._layout.regions)]
        layout = replace(self._layout, overviews=overviews, regions=region_entries, blocks=blocks)
        places = [entry.start for entry in self._layout.blocks if entry.level == 1]  # what QUALITY is of
        kept = {entry.start for entry in blocks}
        kept_chunks = [
            Chunk.of(Ancillary.QUALITY, b"".join(
                chunk.checked()[2 * at : 2 * at + 2] for at, place in enumerate(places) if place in kept
            )) if chunk.role is Ancillary.QUALITY else chunk
            for chunk in ancillary
        ]  # fmt: skip
        nbytes = sum(entry.length for entry in (*overviews, *region_entries, *blocks))
        nbytes += sum(chunk.length for chunk in kept_chunks)
        return BlockContents(
            self._store, replace(self.header, leading=volumes.shape, regions=regions), layout, self._cache, 0,
            ancillary=kept_chunks, nbytes=nbytes, calibrated=self.shows_calibration, planes=self._planes,
        )  # fmt: skip

    def uncalibrated(self, ancillary: Sequence[Chunk]) -> BlockContents:
        return BlockContents(
            self._store, self.header, self._layout, self._cache, 0,
            ancillary=[chunk for chunk in ancillary if not (self.header.filter and chunk.role is Ancillary.QUALITY)],
            nbytes=self._nbytes, calibrated=False, planes=self._planes,
        )  # fmt: skip

    def nbytes(self) -> int:
        return self._nbytes

    def check(self) -> None:
        chunks.verify(map(self._chunk, self.entries()))
        chunks.verify(self.ancillary())
        _ = self._errors

    def data(self) -> bytes:
        if self._ancillary is not None:
            return self.rewritten(self._ancillary)
        data = self._store.read(0, self._store.size)
        _, head = read_head(Memory(data).read, len(data))
        if (computed := zlib.crc32(head)) != self._head_crc:
            raise TincError(f"head: CRC-32 is {computed:08x}, expected {self._head_crc:08x}: the file has been changed")
        chunks.verify(entry.chunk(data[entry.start : entry.start + entry.length]) for entry in self.entries())
        return data

    def entries(self) -> Sequence[ChunkEntry]:
        verify = [] if self._layout.verify is None else [self._layout.verify]
        layout = self._layout
        return [*layout.overviews, *layout.ancillary, *layout.regions, *layout.blocks, *verify]

    def levels_above(self) -> NDArray[np.int64]:
        return self.header.tree.level[self.header.tree.leaves].astype(np.int64)

    def overview_payloads(self) -> list[Payload]:
        """Return all overviews, as the file has them."""
        return [self._payload(entry) for entry in self._layout.overviews]

    def rewritten(self, ancillary: Sequence[Chunk], **facts: Any) -> bytes:
        if self.n_missing:
            held, expected = len(self._layout.blocks), self.header.n_volumes * len(self.start)
            raise TincError(f"file holds {held} of {expected} blocks: it was cut off, and cannot be written again")
        blocks = [self._block_payload(index, entry) for index, entry in enumerate(self._layout.blocks)]
        if not self.shows_calibration:
            facts["filter"] = b""
        header = replace(self.header, **facts, regions=self.regions.counted())
        return blocks_file.pack(header, self.overview_payloads(), blocks, ancillary, self.regions.payloads())

    def _block_payload(self, index: int, entry: ChunkEntry) -> Payload:
        """Return a block as the file has it, or encoded anew without its calibration."""
        part = None if self.shows_calibration or entry.level == 1 else self.part(*divmod(index, len(self.start)))
        if not isinstance(part, NetworkBox) or part.header.calibration is Calibration.NONE:
            return self._payload(entry)
        background = b"" if part.background is None else part.background.data
        return Payload(background + part.pack([chunk for chunk in part.chunks if chunk.ancillary]))

    def _payload(self, entry: ChunkEntry) -> Payload:
        return Payload(self._chunk(entry).checked(), self._checksums[entry.start] if entry.level == 1 else None)

    @cached_property
    def _checksums(self) -> dict[int, int]:
        """CRC-32 of the values of every box without networks, by its place in the file; empty if cut off."""
        verify = self._layout.verify
        if verify is None:
            return {}
        checksums = np.frombuffer(self._chunk(verify).checked(), "<u4").tolist()
        return dict(zip(self._layout.residuals.tolist(), checksums, strict=True))

    @cached_property
    def _errors(self) -> dict[int, tuple[float, float]]:
        """RMSE and largest error of every block without networks, by its place; empty if the file has none."""
        places = [entry.start for entry in self._layout.blocks if entry.level == 1]
        for chunk in self.ancillary(Ancillary.QUALITY):
            n_parts = chunk.length // 2 if self.n_missing else len(places)  # those that were cut off among them
            errors = unpack_errors(chunk.checked(), n_parts, self.header.value_range)
            return dict(zip(places, map(tuple, errors.tolist()), strict=False))
        return {}

    def _chunk(self, entry: ChunkEntry) -> Chunk:
        return entry.chunk(self._store.read(entry.start, entry.start + entry.length))

    def _parsed(self, entry: ChunkEntry, shape: tuple[int, ...], payload: bytes | None = None) -> Part:
        part = self._cache.get(entry.start)
        if part is not None:
            return part
        data = (self._chunk(entry) if payload is None else entry.chunk(payload)).checked()
        dtype = self.header.dtype
        if entry.level == 1:
            filter_ = self.filter if entry.role is ChunkKind.BLOCK else None  # Overviews do not pass it.
            finish = None if filter_ is None else filter_.finish(self.header.value_range)
            part = BoundedBox(data, shape, dtype, self._checksums.get(entry.start), finish)
            self._cache.put(entry.start, part, len(data) + math.prod(shape) * dtype.itemsize)
            return part
        planes = self._planes.of(entry.start)
        tree = self._network_box(data, shape, planes) if entry.level else NetworkBox(data, planes=planes)
        if tree.shape != shape or tree.header.dtype != dtype:
            raise TincError(f"a block is {tree.shape} of {tree.header.dtype}, expected {shape} of {dtype}")
        if lacking := networks_file.features_of(tree.header) & ~self.header.of_networks:
            raise TincError(f"a block needs the feature {lacking.name}, expected the file to say so")
        n_weights = int(networks_file.parameter_counts(tree.header).sum())
        n_background = 0 if tree.background is None else math.prod(shape) * (1 + dtype.itemsize)
        n_bytes = TREE_BYTES + entry.length + 24 * n_weights + n_background  # as they were, stacked, and for slices
        self._cache.put(entry.start, tree, n_bytes)
        return tree

    def _network_box(self, data: bytes, shape: tuple[int, ...], planes: BoxPlanes) -> NetworkBox:
        """Parse networks that follow a background."""
        from ..bounded.background import Background  # A file of networks alone is opened without its modules.

        try:
            background = Background.parse(data, shape, self.header.dtype)
        except ValueError as error:
            raise TincError(f"background: {error}") from error
        return NetworkBox(data[len(background.data) :], background=background, planes=planes)
