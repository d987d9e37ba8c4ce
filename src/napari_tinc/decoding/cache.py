"""A cache of the values used last, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

FINEST_SHARE = 1.25  # Planes of the finest lattices take at most so many times the bytes of a volume's cache,
COARSER_SHARE = 1.75  # and those of coarser ones, which have more features, so many times.


class LeastRecentlyUsed:
    """Keeps values by key, at most ``most`` bytes; the least recently used go first. Any thread may use it."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.nbytes = 0
        self._items: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """Return a value, None if it is not kept."""
        with self._lock:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key][0]

    def clear(self) -> None:
        """Forget all values."""
        with self._lock:
            self._items.clear()
            self.nbytes = 0

    def put(self, key: Hashable, value: Any, nbytes: int) -> None:
        """Keep a value of ``nbytes``, unless it alone is larger than the cache."""
        with self._lock:
            if nbytes > self.most:
                return
            if key in self._items:
                self.nbytes -= self._items.pop(key)[1]
            self._items[key] = value, nbytes
            self.nbytes += nbytes
            while self.nbytes > self.most:
                self.nbytes -= self._items.popitem(last=False)[1][1]


class LatticePlanes:
    """Planes of the lattices of a volume's boxes, for the next slices: the finest apart from the coarser.

    Those that the next slice needs are looked for in turn, so that a cache that is too small for all holds none of use.
    """

    def __init__(self, cache_bytes: int) -> None:
        self._caches = [LeastRecentlyUsed(int(share * cache_bytes)) for share in (COARSER_SHARE, FINEST_SHARE)]

    @property
    def nbytes(self) -> int:
        """Bytes of all planes."""
        return sum(cache.nbytes for cache in self._caches)

    def clear(self) -> None:
        """Forget all planes."""
        for cache in self._caches:
            cache.clear()

    def of(self, box: Hashable) -> BoxPlanes:
        """Return the planes of a box."""
        return BoxPlanes(self._caches, box)


class BoxPlanes:
    """Planes of the lattices of a box. A key begins with whether the lattice is the finest of its leaf."""

    def __init__(self, caches: Sequence[LeastRecentlyUsed], box: Hashable) -> None:
        self._caches, self._box = caches, box

    def get(self, key: tuple[Any, ...]) -> Any:
        """Return a plane, None if it is not kept."""
        return self._caches[key[0]].get((self._box, key))

    def put(self, key: tuple[Any, ...], plane: Any, nbytes: int) -> None:
        """Keep a plane of ``nbytes``."""
        self._caches[key[0]].put((self._box, key), plane, nbytes)
