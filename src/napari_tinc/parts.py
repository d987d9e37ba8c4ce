"""What a file consists of, whatever its kind: boxes of voxels, each with a tree of networks, read when asked for.

bytes or a Store -> read_parts -> OneTree, or Blocks of channels, points in time and boxes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from . import container, framing, mosaic
from .framing import Chunk, Entry, Facts, Feature, TincError, read_head
from .lru import LeastRecentlyUsed
from .mosaic import Layout, Mosaic
from .storage import Store
from .tree import Tree

TREE_BYTES = 30_000  # of a tree in memory, beside its weights


class Parts(Protocol):
    """The boxes of a file, which tile z, y, x alike for every channel and point in time ("volume")."""

    @property
    def header(self) -> Facts: ...

    @property
    def leading(self) -> tuple[int, ...]:
        """Sizes of the axes before z, y, x."""

    @property
    def edge(self) -> int:
        """Voxels along a cell of the overviews, 0 where there are none."""

    @property
    def start(self) -> NDArray[np.int64]:
        """First voxel of every box, (n, 3)."""

    @property
    def stop(self) -> NDArray[np.int64]:
        """One past the last voxel of every box, (n, 3)."""

    def tree(self, volume: int, box: int) -> Tree | None:
        """The networks of a box; None where the file ends before."""

    def overview(self, volume: int) -> Tree | None:
        """The networks of the whole volume at a coarser sampling."""

    def ancillary(self) -> list[Chunk]:
        """What a reader may skip."""

    def entries(self) -> Sequence[Chunk | Entry]:
        """What the table of chunks says."""

    def levels_above(self) -> NDArray[np.int64]:
        """Levels of the octree above every box, (n,)."""

    def nbytes(self) -> int:
        """Of the whole file."""

    def check(self) -> None:
        """Compare the CRC-32 of every chunk; :class:`TincError` names the first that differs."""

    def data(self) -> bytes:
        """The whole file."""

    def rewritten(self, ancillary: Sequence[Chunk], **facts: Any) -> bytes:
        """The file with other facts and ancillary chunks."""


class OneTree:
    """A file of a single tree: one box, the whole volume."""

    leading: tuple[int, ...] = ()
    edge = 0

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.header = tree.header
        self.start, self.stop = np.zeros((1, 3), np.int64), np.array([tree.shape])

    def tree(self, volume: int, box: int) -> Tree:
        return self._tree

    def overview(self, volume: int) -> None:
        return None

    def ancillary(self) -> list[Chunk]:
        return [chunk for chunk in self._tree.chunks if chunk.ancillary]

    def entries(self) -> Sequence[Chunk]:
        return self._tree.chunks

    def levels_above(self) -> NDArray[np.int64]:
        return np.zeros(1, np.int64)

    def nbytes(self) -> int:
        return len(self._tree.data)

    def check(self) -> None:
        framing.verify(self._tree.chunks)

    def data(self) -> bytes:
        return self._tree.data

    def rewritten(self, ancillary: Sequence[Chunk], **facts: Any) -> bytes:
        critical = [chunk for chunk in self._tree.chunks if not chunk.ancillary]
        return container.pack(replace(self._tree.header, **facts), [*critical, *ancillary])


class Blocks:
    """A file of blocks, each of which is read, checked and parsed when it is first needed."""

    def __init__(
        self, store: Store, header: Mosaic, layout: Layout, cache: LeastRecentlyUsed,
        ancillary: list[Chunk] | None = None,
    ) -> None:  # fmt: skip
        self.header = header
        self.leading, self.edge = header.leading, header.edge
        self.start, self.stop = header.tree.start[header.tree.leaves], header.tree.stop[header.tree.leaves]
        self._store, self._layout, self._cache = store, layout, cache
        self._ancillary = ancillary  # of a part of a file; else those of the file

    @property
    def n_missing(self) -> int:
        """Blocks that were cut off."""
        return self.header.n_volumes * len(self.start) - len(self._layout.blocks)

    def tree(self, volume: int, box: int) -> Tree | None:
        index = volume * len(self.start) + box
        if index >= len(self._layout.blocks):
            return None
        return self._parsed(self._layout.blocks[index], tuple((self.stop[box] - self.start[box]).tolist()))

    def overview(self, volume: int) -> Tree | None:
        entries = self._layout.overviews
        return self._parsed(entries[volume], self.header.overview_shape()) if volume < len(entries) else None

    def ancillary(self) -> list[Chunk]:
        return self._ancillary or [self._chunk(entry) for entry in self._layout.ancillary]

    def selected(self, volumes: NDArray[np.int64], ancillary: list[Chunk]) -> Blocks:
        """Channels or points in time, of ascending numbers, read from the same file; the array's shape is theirs."""
        n = len(self.start)
        overviews = [entry for at in volumes.flat for entry in self._layout.overviews[at : at + 1]]
        blocks = [entry for at in volumes.flat for entry in self._layout.blocks[at * n : (at + 1) * n]]
        header = replace(self.header, leading=volumes.shape)
        return Blocks(self._store, header, Layout(overviews, blocks, []), self._cache, ancillary)

    def nbytes(self) -> int:
        return self._store.size if self._ancillary is None else len(self.data())

    def check(self) -> None:
        framing.verify(map(self._chunk, self.entries()))
        framing.verify(self.ancillary())

    def data(self) -> bytes:
        if self._ancillary is None:
            return self._store.read(0, self._store.size)
        return self.rewritten(self._ancillary)

    def entries(self) -> Sequence[Entry]:
        return [*self._layout.overviews, *self._layout.blocks, *self._layout.ancillary]

    def levels_above(self) -> NDArray[np.int64]:
        return self.header.tree.level[self.header.tree.leaves]

    def payloads(self, volume: int) -> tuple[list[bytes], list[bytes]]:
        """Overviews and blocks of a channel or point in time, as the file has them."""
        n = len(self.start)
        overviews = self._layout.overviews[volume : volume + 1]
        blocks = self._layout.blocks[volume * n : (volume + 1) * n]
        if len(blocks) < n:
            raise TincError(f"file holds {len(blocks)} of {n} blocks: it was cut off, and cannot be written again")
        return [self._chunk(entry).checked() for entry in overviews], [self._chunk(e).checked() for e in blocks]

    def rewritten(self, ancillary: Sequence[Chunk], **facts: Any) -> bytes:
        volumes = [self.payloads(volume) for volume in range(self.header.n_volumes)]
        overviews, blocks = ([data for pair in volumes for data in pair[i]] for i in (0, 1))
        return mosaic.pack(replace(self.header, **facts), overviews, blocks, ancillary)

    def _chunk(self, entry: Entry) -> Chunk:
        return entry.chunk(self._store.read(entry.start, entry.start + entry.length))

    def _parsed(self, entry: Entry, shape: Sequence[int]) -> Tree:
        tree = self._cache.get(entry.start)
        if tree is None:
            tree = Tree(self._chunk(entry).checked())
            if tree.shape != tuple(shape) or tree.header.dtype != self.header.dtype:
                raise TincError(
                    f"a block is {tree.shape} of {tree.header.dtype}, expected {tuple(shape)} of {self.header.dtype}"
                )
            n_weights = int(container.parameter_counts(tree.header).sum())
            self._cache.put(entry.start, tree, TREE_BYTES + entry.length + 4 * n_weights)
        return tree


def read_parts(store: Store, cache: LeastRecentlyUsed, *, partial: bool) -> Parts:
    """The parts of a file; all of it is read only where it is a single tree.

    Raises
    ------
    TincError
        If it is not a good file, or cut off and ``partial`` is not set.
    """
    features, head = read_head(store.read, store.size)
    if features & Feature.BLOCKS:
        return Blocks(store, *mosaic.parse(features, head, store.size, partial=partial), cache)
    return OneTree(Tree(store.read(0, store.size), partial=partial))
