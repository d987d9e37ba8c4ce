"""Widths of the networks in a head, and what follows from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from ..octree import Octree
from .cursor import HeadReader, check_range, pack_varint
from .limits import MAX_WIDTH
from .tree import cache_for_small_trees

SCALAR, INHERITS = 0, -1  # in place of a width: a leaf that is one value, a node that uses its parent's network


def network_of_node(tree: Octree, widths: NDArray[Any]) -> NDArray[np.int32]:
    """The node whose network a node uses, its own or the nearest above; -1 for a scalar. int32 (n_nodes,)."""
    node = np.arange(len(widths), dtype=np.int32)
    node[widths == SCALAR] = -1
    for level in range(1, tree.depth + 1):
        nodes = tree.at_level(level)
        inherits = widths[nodes] == INHERITS
        node[nodes][inherits] = node[tree.parent[nodes][inherits]]
    return node


def has_head(tree: Octree, widths: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether a leaf's values come from a node: it has a linear head then. (n_nodes,)."""
    used = np.zeros(len(widths) + 1, bool)
    used[network_of_node(tree, widths)[tree.leaves]] = True  # of a scalar the last
    return used[:-1]


def find_heads(tree: Octree, widths: NDArray[Any]) -> NDArray[np.int64]:
    """The nodes with a head, ascending."""
    return np.flatnonzero(has_head(tree, widths))


def heads_of_leaves(tree: Octree, widths: NDArray[Any]) -> NDArray[np.int64]:
    """Which of :func:`find_heads` each leaf's values come from, -1 for a scalar. int64 (n_leaves,)."""
    served = network_of_node(tree, widths)[tree.leaves]
    return np.where(served < 0, -1, np.searchsorted(find_heads(tree, widths), served))


def count_parameters(tree: Octree, widths: NDArray[Any], layers: int) -> NDArray[np.int32]:
    """Weights and biases of every node, int32 (n_nodes,).

    A node of width w sees 3 coordinates and the v outputs of its parent: 4w + vw in its first layer, w^2 + w in
    each further one, and w + 1 in the head if it has one. A node without network has none.
    """
    headed = has_head(tree, widths)
    width = np.maximum(widths, 0).astype(np.int32)  # no node has more than 2^20; in place, as trees may be large
    counts = width[tree.parent]
    counts[0] = 0
    counts += 4 + (layers - 1)
    counts += (layers - 1) * width
    counts *= width
    np.add(counts, width, out=counts, where=headed)
    np.add(counts, 1, out=counts, where=headed)
    return counts


def read_widths(cursor: HeadReader, tree: Octree) -> NDArray[np.int16]:
    """The width of every node, refused unless stored exactly as :func:`pack_widths` does."""
    start = cursor.position
    classes: list[int] = []
    if cursor.unsigned("width form", 1, 1):
        classes = [
            cursor.varint("width", 0, MAX_WIDTH) for _ in range(cursor.varint("width classes", 2, MAX_WIDTH + 1))
        ]
    n_bits = (len(classes) - 1).bit_length()
    width_of = np.array(classes, np.int16)
    widths = np.full(len(tree.split), INHERITS, np.int16)
    for level in range(tree.depth + 1):
        is_stored = _is_stored(tree, widths, level)
        n_stored = int(np.count_nonzero(is_stored))
        if not n_stored:
            break
        stored: Any
        if classes:
            bits = cursor.bits("width indices", n_stored * n_bits).reshape(-1, n_bits)
            index = np.zeros(n_stored, np.int16)
            for bit in range(n_bits):
                index |= bits[:, bit].astype(np.int16) << np.int16(bit)
            check_range("width index", int(index.max()), 0, len(classes) - 1)
            stored = width_of[index]
        else:
            stored = np.int16(cursor.varint("width", 0, MAX_WIDTH))
        widths[tree.at_level(level)][is_stored] = np.where(stored > 0, stored, np.int16(INHERITS))
    without_network = tree.leaves[widths[tree.leaves] == INHERITS]
    widths[without_network[cursor.bits("scalar flags", len(without_network)) > 0]] = SCALAR
    if cursor.head[start : cursor.position] != _canonical_bytes(tree, widths.tobytes()):
        raise TincError("widths are stored out of order or at length, expected the one canonical form")
    return widths


@cache_for_small_trees
def _canonical_bytes(tree: Octree, widths: bytes) -> bytes:
    """The one form in which widths are stored, after they were checked."""
    parsed = np.frombuffer(widths, np.int16)
    _check_networks(tree, parsed)
    return pack_widths(tree, parsed)


def _is_stored(tree: Octree, widths: NDArray[np.int16], level: int) -> NDArray[np.bool_]:
    """The nodes of a level whose width is stored, of all of that level: the root, and children of networks."""
    return widths[tree.parent[tree.at_level(level)]] > 0 if level else np.ones(1, bool)


def _check_networks(tree: Octree, widths: NDArray[np.int16]) -> None:
    """Each network has children with networks, or else a head; and each above it is one too."""
    if widths[0] <= 0:
        raise TincError(f"width of the root is {max(0, widths[0])}, expected 1 to {MAX_WIDTH}")
    networks = widths > 0
    has_networks_below = np.zeros(len(widths), bool)
    has_networks_below[tree.parent[1:][networks[1:]]] = True
    headed = has_head(tree, widths)
    wrong = np.flatnonzero(networks & (has_networks_below == headed))
    if wrong.size:
        state = "both networks below it and leaves of its own" if has_networks_below[wrong[0]] else "no leaf"
        raise TincError(f"network of node {wrong[0]} has {state}, expected one of networks below and leaves")
    if (tree.split & (widths == SCALAR)).any() or not networks[tree.parent[1:][networks[1:]]].all():
        raise TincError("a scalar is split or a network is below a node without one, expected neither")


def pack_widths(tree: Octree, widths: NDArray[np.int16]) -> bytes:
    """Form 0, a uv a level; where a level mixes widths form 1, the sorted classes and each node's index of few bits.

    Only children of networks are spoken of; 0 is no network. Then a bit a leaf without one: whether it is a scalar.
    """
    scalars = widths[tree.leaves[widths[tree.leaves] <= 0]] == SCALAR
    flags = np.packbits(scalars, bitorder="little").tobytes()
    per_level = [
        np.maximum(widths[tree.at_level(level)][_is_stored(tree, widths, level)], 0) for level in range(tree.depth + 1)
    ]
    per_level = [level for level in per_level if level.size]
    if all((level == level[0]).all() for level in per_level):
        return b"\0" + b"".join(pack_varint(int(level[0])) for level in per_level) + flags
    occurs = np.zeros(MAX_WIDTH + 1, bool)
    for level in per_level:
        occurs[level] = True
    classes = np.flatnonzero(occurs)
    index_of = (np.cumsum(occurs) - 1).astype(np.int16)
    n_bits = (len(classes) - 1).bit_length()
    packed = b""
    for level in per_level:
        bits = np.empty((len(level), n_bits), np.uint8)
        for bit in range(n_bits):
            bits[:, bit] = index_of[level] >> np.int16(bit) & 1
        packed += np.packbits(bits, axis=None, bitorder="little").tobytes()
    return b"\1" + b"".join(map(pack_varint, [len(classes), *classes.tolist()])) + packed + flags
