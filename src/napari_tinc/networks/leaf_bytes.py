"""The bytes of a file that each leaf takes: the code length of its numbers, and its share of what is common.

A network's bytes are those of its numbers in its WEIGHTS chunk. They are exact if numbers have a fixed size. Otherwise
they are code lengths, -log2 of the probabilities, scaled to the length of the chunk, since no chunk ends amid a word.
All leaves that a network serves, itself or through networks below it, share its bytes by their voxels. The tables of
the MODEL chunk are shared like the root's weights, by all leaves but scalars. A scalar has its own code length, and an
equal share of the table of scalars.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..format.chunks import Chunk
from ..format.networks_file import NetworksHeader, WeightsFormat
from ..format.widths import network_of_node
from .architecture import Architecture
from .entropy import Geometric
from .scalars import SCALAR_ITEM
from .streams import streams_of
from .weights import ModelChunk, WeightsChunk, read_model_chunk, read_weights_chunks, readable_architecture

NUMBER_BYTES = {WeightsFormat.FLOAT16: 2, WeightsFormat.INT8: 1}  # Bytes of a weight in the formats of fixed size.
HEAD_NUMBER_BYTES = 2  # Bytes of a gain or an offset of a head in these formats.


def bytes_of_leaves(header: NetworksHeader, chunks: Sequence[Chunk]) -> NDArray[np.float64]:
    """Return the bytes of every leaf, float64 (n_leaves,). Their sum is that of all MODEL and WEIGHTS payloads.

    Raises
    ------
    TincError
        If a payload is damaged.
    """
    architecture = readable_architecture(header)
    model = read_model_chunk(header, architecture, chunks)
    per_node = np.zeros(len(header.widths))
    per_node[0] = model.n_common
    for weights_chunk in read_weights_chunks(header, architecture, model, chunks):
        lengths = np.zeros(len(header.widths))
        for nodes, of_nodes in _lengths_of_streams(header, architecture, model, weights_chunk):
            lengths[nodes] += of_nodes
        per_node += _scale_to_bytes(lengths, len(weights_chunk.chunk.payload))
    per_leaf = _share_among_leaves(header, per_node)
    is_scalar = architecture.network_of_node[header.tree.leaves] < 0
    per_leaf[is_scalar] = _bytes_of_scalars(model, len(chunks[0].payload) - model.n_common)
    return per_leaf


def _lengths_of_streams(
    header: NetworksHeader, architecture: Architecture, model: ModelChunk, weights_chunk: WeightsChunk
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield, for every stream of a chunk, the nodes whose numbers it has, and the code length of each, in any unit."""
    weights_format = header.weights_format
    for (index, place), values in zip(weights_chunk.parts, weights_chunk.values, strict=False):
        tensor = architecture.tensors[index]
        group = architecture.groups[tensor.group]
        nodes = group.nodes[group.head_rows] if tensor.kind.startswith("head") else group.nodes
        size = tensor.shape[1] * tensor.shape[2]
        first, stop = (place.start - tensor.offset) // size, (place.stop - tensor.offset) // size
        lengths = np.full(stop - first, float(size * NUMBER_BYTES.get(weights_format, 0)))
        if weights_format.is_entropy_coded:
            for integers, law in streams_of(tensor, values, model.laws[index], weights_format):
                lengths += law.bits(integers).sum(axis=1)
        yield nodes[first:stop], lengths
    heads = architecture.heads[weights_chunk.heads]
    for number, values in enumerate(weights_chunk.values[len(weights_chunk.parts) :]):
        is_coded = weights_format.is_entropy_coded
        yield heads, model.head_laws[number].bits(values) if is_coded else np.full(len(values), HEAD_NUMBER_BYTES, "f8")


def _scale_to_bytes(lengths: NDArray[np.float64], nbytes: int) -> NDArray[np.float64]:
    """Scale lengths so that their sum is ``nbytes``; all zeros stay zeros, since no bytes are stored then."""
    total = lengths.sum()
    return lengths * (nbytes / total) if total else lengths


def _share_among_leaves(header: NetworksHeader, per_node: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share the bytes of networks among the leaves that they serve, by voxels; 0 for scalars. float64 (n_leaves,)."""
    tree = header.tree
    voxels = (tree.stop - tree.start)[tree.leaves].prod(axis=1).astype(np.float64)
    node = network_of_node(tree, header.widths)[tree.leaves]
    is_served = node >= 0
    total = np.zeros(len(per_node))  # voxels that a network serves
    np.add.at(total, node[is_served], voxels[is_served])
    for level in range(tree.depth, 0, -1):
        nodes = tree.at_level(level)
        np.add.at(total, tree.parent[nodes], np.where(header.widths[nodes] > 0, total[nodes], 0))
    a_voxel = np.divide(per_node, total, out=np.zeros(len(per_node)), where=total > 0)
    for level in range(1, tree.depth + 1):
        nodes = tree.at_level(level)
        a_voxel[nodes] += a_voxel[tree.parent[nodes]]
    return np.where(is_served, a_voxel[node] * voxels, 0.0)


def _bytes_of_scalars(model: ModelChunk, nbytes: int) -> NDArray[np.float64]:
    """Return the bytes of every scalar, which are ``nbytes`` in all."""
    integers = model.scalars.integers
    if not integers.size:
        return np.zeros(0)
    lengths = Geometric.of(integers).bits(integers)
    return SCALAR_ITEM.itemsize / integers.size + _scale_to_bytes(lengths, nbytes - SCALAR_ITEM.itemsize)
