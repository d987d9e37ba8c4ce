"""Widths of the networks in a head, and what follows from them: who has a network, a head, how many parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from ..octree import Octree
from .cursor import FieldReader, check_range, pack_varint
from .limits import MAX_WIDTH
from .tree import cache_for_small_trees

SCALAR = 0  # In place of a width: a leaf that is one value.
INHERITS = -1  # In place of a width: a node that uses its parent's network.


def network_of_node(tree: Octree, widths: NDArray[Any]) -> NDArray[np.int32]:
    """Return the node whose network serves each node, itself or the nearest above; -1 for scalars. int32 (n_nodes,)."""
    node = np.arange(len(widths), dtype=np.int32)
    node[widths == SCALAR] = -1
    for level in range(1, tree.depth + 1):
        nodes = tree.at_level(level)
        inherits = widths[nodes] == INHERITS
        node[nodes][inherits] = node[tree.parent[nodes][inherits]]
    return node


def has_head(tree: Octree, widths: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether each node has a linear head, since a leaf takes its values from it. bool (n_nodes,)."""
    used = np.zeros(len(widths) + 1, bool)
    used[network_of_node(tree, widths)[tree.leaves]] = True  # scalars mark the last item, which is dropped
    return used[:-1]


def find_heads(tree: Octree, widths: NDArray[Any]) -> NDArray[np.int64]:
    """Return the nodes with a head, ascending."""
    return np.flatnonzero(has_head(tree, widths))


def heads_of_leaves(tree: Octree, widths: NDArray[Any]) -> NDArray[np.int64]:
    """Return the index in :func:`find_heads` of each leaf's head, -1 for a scalar. int64 (n_leaves,)."""
    served = network_of_node(tree, widths)[tree.leaves]
    return np.where(served < 0, -1, np.searchsorted(find_heads(tree, widths), served))


def count_parameters(tree: Octree, widths: NDArray[Any], layers: int) -> NDArray[np.int32]:
    """Count the weights and biases of every node, int32 (n_nodes,).

    A node of width w sees 3 coordinates and the v outputs of its parent: 4w + vw in its first layer, w^2 + w in
    each further one, and w + 1 in the head if it has one. A node without network has none.
    """
    headed = has_head(tree, widths)
    width = np.maximum(widths, 0).astype(np.int32)  # a node has at most 2^20; in place, as trees may be large
    counts = width[tree.parent]
    counts[0] = 0
    counts += 4 + (layers - 1)
    counts += (layers - 1) * width
    counts *= width
    np.add(counts, width, out=counts, where=headed)
    np.add(counts, 1, out=counts, where=headed)
    return counts


def read_widths(cursor: FieldReader, tree: Octree) -> NDArray[np.int16]:
    """Read the width of every node, int16 (n_nodes,).

    TincError unless it is stored exactly as :func:`pack_widths` does.
    """
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
    if cursor.data[start : cursor.position] != _canonical_bytes(tree, widths.tobytes()):
        raise TincError("widths are stored out of order or at length, expected the one canonical form")
    return widths


@cache_for_small_trees
def _canonical_bytes(tree: Octree, widths: bytes) -> bytes:
    """Check the widths, and build the one form in which they may be stored."""
    parsed = np.frombuffer(widths, np.int16)
    _check_networks(tree, parsed)
    return pack_widths(tree, parsed)


def _is_stored(tree: Octree, widths: NDArray[np.int16], level: int) -> NDArray[np.bool_]:
    """Return which nodes of a level have a stored width: the root, and children of networks. (n_nodes_of_level,)."""
    return widths[tree.parent[tree.at_level(level)]] > 0 if level else np.ones(1, bool)


def _check_networks(tree: Octree, widths: NDArray[np.int16]) -> None:
    """Raise TincError unless each network has either networks below it or a head, and each network above it exists."""
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
    """Build the bytes of all widths.

    Form 0 is one varint for each level. If a level mixes widths, form 1 has the sorted widths that occur and the index
    of each node in few bits. Only children of networks are stored, with 0 for "no network". A bit for each leaf without
    a network follows: whether it is a scalar.
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
