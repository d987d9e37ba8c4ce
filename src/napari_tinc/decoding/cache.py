"""A cache of the values used last, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

LATTICE_SHARE = 1.25  # Planes of lattices take at most so many times the bytes of a volume's cache, beside it.


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


class BoxPlanes:
    """Planes of the lattices of a box, in a cache for all boxes of a volume."""

    def __init__(self, cache: LeastRecentlyUsed, box: Hashable) -> None:
        self._cache, self._box = cache, box

    def get(self, key: Hashable) -> Any:
        """Return a plane, None if it is not kept."""
        return self._cache.get((self._box, key))

    def put(self, key: Hashable, plane: Any, nbytes: int) -> None:
        """Keep a plane of ``nbytes``."""
        self._cache.put((self._box, key), plane, nbytes)
