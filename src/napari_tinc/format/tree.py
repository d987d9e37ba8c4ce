"""Octrees in a head: split flags, a bit a node."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

import numpy as np

from ..errors import TincError
from ..octree import MAX_NODES, Octree
from .cursor import HeadReader, pack_varint

SMALL_TREE = 1000  # nodes


def read_tree(cursor: HeadReader, shape: tuple[int, int, int], max_nodes: int = MAX_NODES) -> Octree:
    """Check 6."""
    split = cursor.bits("split flags", cursor.varint("number of nodes", 1, max_nodes))
    try:
        small = len(split) <= SMALL_TREE
        return _cached_small_tree(shape, split.tobytes()) if small else Octree.from_splits(shape, split.view(bool))
    except ValueError as error:
        raise TincError(str(error)) from error


@lru_cache(maxsize=64)
def _cached_small_tree(shape: tuple[int, int, int], split: bytes) -> Octree:
    """Blocks of a file mostly have the same few trees, which cannot change."""
    return Octree.from_splits(shape, np.frombuffer(split, np.uint8) > 0)


def cache_for_small_trees(function: Callable[..., Any]) -> Callable[..., Any]:
    """Remember what a function of a tree, or of what has an ``octree``, gave last, where that is small.

    Blocks of a file mostly have the same few, which cannot change. Large ones would fill the memory.
    """
    remembered = lru_cache(maxsize=256)(function)

    @wraps(function)
    def cached(first: Any, *rest: Any) -> Any:
        small = len(getattr(first, "octree", first).split) <= SMALL_TREE
        return (remembered if small else function)(first, *rest)

    return cached


def pack_tree(tree: Octree) -> bytes:
    return pack_varint(len(tree.split)) + np.packbits(tree.split, bitorder="little").tobytes()
