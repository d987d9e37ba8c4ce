"""A cache of the values used last, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

FINEST_SHARE = 1.25  # Planes of the finest lattices take at most so many times the bytes of a volume's cache beside it,
COARSER_SHARE = 1.25  # and those of coarser lattices, which have more features, so many times.


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
    """Planes of the lattices of a volume's boxes, for the next slices.

    Those of the finest lattices are apart from the coarser. In one cache that is too small for both, none would be left
    when the next slice needs them.
    """

    def __init__(self, cache_bytes: int) -> None:
        self._finest, self._coarser = (
            LeastRecentlyUsed(int(share * cache_bytes)) for share in (FINEST_SHARE, COARSER_SHARE)
        )

    def of(self, box: Hashable) -> BoxPlanes:
        """Return the planes of a box."""
        return BoxPlanes(self._finest, self._coarser, box)


class BoxPlanes:
    """Planes of the lattices of a box, in caches for all boxes of a volume."""

    def __init__(self, finest: LeastRecentlyUsed, coarser: LeastRecentlyUsed, box: Hashable) -> None:
        self._finest, self._coarser, self._box = finest, coarser, box

    def get(self, finest: bool, key: Hashable) -> Any:
        """Return a plane, None if it is not kept."""
        return (self._finest if finest else self._coarser).get((self._box, key))

    def put(self, finest: bool, key: Hashable, plane: Any, nbytes: int) -> None:
        """Keep a plane of ``nbytes``."""
        (self._finest if finest else self._coarser).put((self._box, key), plane, nbytes)
