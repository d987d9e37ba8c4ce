"""Octrees in a head: a split flag for every node."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

import numpy as np

from ..errors import TincError
from ..octree import MAX_NODES, Octree
from .cursor import FieldReader, pack_varint

SMALL_TREE = 1000  # Results for trees of at most this many nodes are remembered.


def read_tree(cursor: FieldReader, shape: tuple[int, int, int], max_nodes: int = MAX_NODES) -> Octree:
    """Read an octree (check 6)."""
    split = cursor.bits("split flags", cursor.varint("number of nodes", 1, max_nodes))
    try:
        small = len(split) <= SMALL_TREE
        return _cached_small_tree(shape, split.tobytes()) if small else Octree.from_splits(shape, split.view(bool))
    except ValueError as error:
        raise TincError(str(error)) from error


@lru_cache(maxsize=64)
def _cached_small_tree(shape: tuple[int, int, int], split: bytes) -> Octree:
    """Build a small octree, or return it again.

    The blocks of a file mostly have the same few trees, which cannot change.
    """
    return Octree.from_splits(shape, np.frombuffer(split, np.uint8) > 0)


def cache_for_small_trees(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function of a tree, or of an object with an ``octree``, to remember its results for small trees.

    The blocks of a file mostly have the same few trees. Results for large trees would fill the memory.
    """
    remembered = lru_cache(maxsize=256)(function)

    @wraps(function)
    def cached(first: Any, *rest: Any) -> Any:
        """Call the function, or return the remembered result."""
        small = len(getattr(first, "octree", first).split) <= SMALL_TREE
        return (remembered if small else function)(first, *rest)

    return cached


def pack_tree(tree: Octree) -> bytes:
    """Build the bytes of an octree: the number of nodes, and a bit for each."""
    return pack_varint(len(tree.split)) + np.packbits(tree.split, bitorder="little").tobytes()
