"""Store a trained network in the chunks of a file, and read it back.

MODEL holds what all chunks share, for every tensor its rounding step and the distribution of its integers; and the
values of scalar leaves. Each WEIGHTS chunk holds a run of a level's networks, tensor by tensor, so that it decodes
without the others of its level.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from ..format.chunks import Chunk, ChunkKind
from ..format.cursor import FieldReader
from ..format.networks_file import Calibration, NetworksHeader, WeightsFormat
from ..format.tree import cache_for_small_trees
from ..format.widths import SCALAR
from ..octree import Octree
from . import entropy
from .architecture import Architecture
from .calibration import CALIBRATION_STEP, Corrections, quantize_correction
from .entropy import Geometric
from .evaluate import Network
from .rounding import quantize, to_bfloat16
from .scalars import Scalars, read_steps
from .sorted_columns import sort_columns
from .streams import count_table_items, pack_law, read_law, read_streams, streams_of

CHUNK_BYTES = 4096  # A WEIGHTS chunk has at least this many bytes, if its level has them.
MAX_PIECES = 2**18  # Files that cut tensors into more pieces are refused, since each is searched for by itself.
TABLE_ITEMS = 2**22  # All tables of tensors may have this many items together, since making them is most of the work,
TABLE_ITEMS_PER_BYTE = 64  # and this many more for each byte of the file.
MAX_WEIGHT = 2.0**20  # Larger weights are refused: sums in a decoder stay finite.
GLOBAL_ITEM = np.dtype([("gain", "<f4"), ("offset", "<f4")])  # Gain and offset of all heads.


def architecture_of(header: NetworksHeader) -> Architecture:
    """Return the architecture that a header describes."""
    architecture: Architecture = _architecture_of(
        header.tree, header.widths.tobytes(), header.layers, header.omega0, header.lattice
    )
    return architecture


@cache_for_small_trees
def _architecture_of(tree: Octree, widths: bytes, layers: int, omega0: float, lattice: tuple[int, ...]) -> Architecture:
    """Build an architecture, or return it again: the blocks of a file mostly have the same few."""
    return Architecture(tree, np.frombuffer(widths, np.int16).astype(np.int64), layers, omega0, lattice)


def round_trip(
    architecture: Architecture, vector: NDArray[np.float32], steps: NDArray[np.float64], weights_format: WeightsFormat
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Round parameters as a file stores them, and sort the columns if the format does.

    Returns
    -------
    The parameters as a reader will have them, and the stored steps (ones if the format has none).
    """
    stored = np.ones(len(architecture.tensors), np.float32)
    out = vector.astype(np.float16).astype(np.float32)
    if weights_format is WeightsFormat.FLOAT16:
        return out, stored
    for index, tensor in enumerate(architecture.tensors):
        part = slice(tensor.offset, tensor.offset + tensor.size)
        largest = 127 if weights_format is WeightsFormat.INT8 else entropy.MAX_MAGNITUDE
        # One per cent more, because storing may round the step down and the largest value must still fit.
        coarse_enough = 1.01 * np.abs(vector[part]).max() / largest
        step = coarse_enough if weights_format is WeightsFormat.INT8 else max(coarse_enough, steps[index])
        stored[index] = to_bfloat16(np.array(step))
        out[part] = quantize(vector[part], stored[index], largest) * stored[index]
    return sort_columns(architecture, out) if weights_format is WeightsFormat.SORTED else out, stored


def to_chunks(
    architecture: Architecture, vector: NDArray[np.float32], steps: NDArray[np.float32], weights_format: WeightsFormat,
    corrections: Corrections, scalars: Scalars,
) -> list[Chunk]:  # fmt: skip
    """Build MODEL and WEIGHTS chunks from the parameters and steps that :func:`round_trip` returned."""
    integers = [
        quantize(vector[tensor.offset : tensor.offset + tensor.size], step, entropy.MAX_MAGNITUDE)
        for tensor, step in zip(architecture.tensors, steps, strict=True)
    ]
    law_of = Geometric.of_mean if weights_format is WeightsFormat.SORTED else Geometric.of
    laws = [law_of(values) for values in integers]
    numbers: NDArray[Any] = vector if weights_format is WeightsFormat.FLOAT16 else np.concatenate(integers)
    stored_steps = (steps.view(np.uint32) >> 16).astype("<u2")
    model = b""
    if weights_format.is_entropy_coded:
        model = b"".join(
            step.tobytes() + pack_law(law, weights_format) for step, law in zip(stored_steps, laws, strict=True)
        )
    elif weights_format is WeightsFormat.INT8:
        model = stored_steps.tobytes()
    head_values = [quantize_correction(values) for values in (corrections.gain - 1, corrections.offset)]
    head_laws = [law_of(values) for values in head_values]
    if corrections.kind is Calibration.GLOBAL:
        model += np.array((corrections.gain[0], corrections.offset[0]), GLOBAL_ITEM).tobytes()
    elif corrections.kind is Calibration.PER_LEAF:
        model += b"".join(pack_law(law, weights_format) for law in head_laws)
    chunks = [Chunk.of(ChunkKind.MODEL, model + scalars.pack())]
    for level, first, count in _cut_into_chunks(architecture, weights_format):
        parts, heads = _places_of_networks(architecture, level, first, count)
        if weights_format.is_entropy_coded:
            streams = [
                stream
                for index, place in parts
                for stream in streams_of(architecture.tensors[index], numbers[place], laws[index], weights_format)
            ]
            if corrections.kind is Calibration.PER_LEAF:
                streams += [(values[heads], law) for values, law in zip(head_values, head_laws, strict=True)]
            payload = entropy.encode(streams)
        else:
            dtype = "<f2" if weights_format is WeightsFormat.FLOAT16 else "i1"
            payload = b"".join(numbers[place].astype(dtype).tobytes() for _, place in parts)
            if corrections.kind is Calibration.PER_LEAF:
                payload += b"".join(values[heads].astype("<i2").tobytes() for values in head_values)
        chunks.append(Chunk.of(ChunkKind.WEIGHTS, payload, level, count))
    return chunks


@dataclass(frozen=True, slots=True, eq=False)
class StoredNetwork:
    """The network that the chunks of a file hold.

    Attributes
    ----------
    architecture : from the header.
    vector : float32 parameters.
    steps : float32 (n_tensors,), rounding steps; ones if the format has none.
    corrections : calibration of the heads.
    scalars : values of the scalar leaves.
    """

    architecture: Architecture
    vector: NDArray[np.float32]
    steps: NDArray[np.float32]
    corrections: Corrections
    scalars: Scalars

    def network(self, missing: NDArray[np.bool_] | None = None) -> Network:
        """Return the network to evaluate. Leaves without data are 0, the mean of the volume.

        Parameters
        ----------
        missing : bool (n_nodes,), networks that a file which is cut off lacks.
        """
        return Network(self.architecture, self.vector, *self.leaf_corrections(missing))

    def leaf_corrections(
        self, missing: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return gain and offset of every leaf of :meth:`network`, float64 (n_leaves,) each."""
        gain, offset = leaf_corrections(self.architecture, self.corrections, self.scalars)
        if missing is None or not missing.any():
            return gain, offset
        tree = self.architecture.octree
        is_missing = missing.copy()
        for node in range(1, len(is_missing)):  # parents come first
            is_missing[node] |= is_missing[tree.parent[node]]
        kept = ~is_missing[tree.leaves] | (self.architecture.widths[tree.leaves] == SCALAR)
        return gain * kept, offset * kept

    def uncalibrated(self) -> StoredNetwork:
        """Return the same network without calibration."""
        return replace(self, corrections=Corrections.none(len(self.architecture.heads)))

    def to_chunks(self, weights_format: WeightsFormat) -> list[Chunk]:
        """Build MODEL and WEIGHTS chunks again."""
        return to_chunks(self.architecture, self.vector, self.steps, weights_format, self.corrections, self.scalars)


@dataclass(frozen=True, slots=True, eq=False)
class ModelChunk:
    """The contents of a MODEL chunk.

    Attributes
    ----------
    n_common : bytes before the scalars.
    steps : float32 (n_tensors,), rounding steps; ones if the format has none.
    laws : for every tensor, of its integers; empty if the format has none.
    head_laws : of gains and of offsets; empty if they are not stored for each head.
    overall : gain and offset of all heads.
    scalars : values of the scalar leaves.
    """

    n_common: int
    steps: NDArray[np.float32]
    laws: list[Geometric]
    head_laws: list[Geometric]
    overall: tuple[float, float]
    scalars: Scalars


@dataclass(frozen=True, slots=True, eq=False)
class WeightsChunk:
    """The contents of a WEIGHTS chunk: numbers of some tensors, as stored, for a run of a level's networks.

    Attributes
    ----------
    chunk : the chunk itself.
    parts : for every tensor, its index and the place of its numbers in the vector.
    heads : which of the architecture's heads are among the networks.
    values : an array for each part; then gains and offsets of ``heads``, if these are stored for each head.
    """

    chunk: Chunk
    parts: list[tuple[int, slice]]
    heads: slice
    values: Sequence[NDArray[Any]]


def read_model_chunk(header: NetworksHeader, architecture: Architecture, chunks: Sequence[Chunk]) -> ModelChunk:
    """Read the MODEL chunk, which is the first.

    TincError if it is damaged, or has other contents than the header says.
    """
    weights_format, kind, n_tensors = header.weights_format, header.calibration, len(architecture.tensors)
    if len(chunks) * n_tensors > MAX_PIECES:
        raise TincError(f"{len(chunks)} chunks of {n_tensors} tensors, expected a product of at most {MAX_PIECES}")
    cursor = FieldReader(chunks[0].checked(), "MODEL chunk")
    steps, laws = np.ones(n_tensors, np.float32), []
    if weights_format is WeightsFormat.INT8:
        steps = read_steps(np.frombuffer(cursor.take("steps", 2 * n_tensors), "<u2"))
    elif weights_format.is_entropy_coded:
        stored = np.empty(n_tensors, np.uint16)
        for index in range(n_tensors):
            stored[index] = cursor.unsigned("step", 2, 65535)
            laws.append(read_law(cursor, weights_format))
        steps = read_steps(stored)
        n_items = sum(
            count_table_items(tensor, law, weights_format)
            for tensor, law in zip(architecture.tensors, laws, strict=True)
        )
        most = TABLE_ITEMS + TABLE_ITEMS_PER_BYTE * sum(chunk.length for chunk in chunks)
        if n_items > most:
            raise TincError(f"tables of the tensors have {n_items} items, expected at most {most}")
    overall, head_laws = (1.0, 0.0), []
    if kind is Calibration.GLOBAL:
        overall = struct.unpack("<2f", cursor.take("gain and offset", GLOBAL_ITEM.itemsize))
    elif kind is Calibration.PER_LEAF:
        head_laws = [read_law(cursor, weights_format) for _ in range(2)]
    n_common = cursor.position
    scalars = Scalars.parse(chunks[0].payload[n_common:], int((header.widths == SCALAR).sum()))
    return ModelChunk(n_common, steps, laws, head_laws, overall, scalars)


def read_weights_chunks(
    header: NetworksHeader, architecture: Architecture, model: ModelChunk, chunks: Sequence[Chunk]
) -> Iterator[WeightsChunk]:
    """Read the WEIGHTS chunks. TincError if one is damaged."""
    weights_format, is_calibrated = header.weights_format, header.calibration is Calibration.PER_LEAF
    first = dict.fromkeys(range(architecture.octree.depth + 1), 0)
    for chunk in chunks:
        if chunk.role is not ChunkKind.WEIGHTS:
            continue
        parts, heads = _places_of_networks(architecture, chunk.level, first[chunk.level], chunk.n_nodes)
        first[chunk.level] += chunk.n_nodes
        sizes = [place.stop - place.start for _, place in parts]
        n_heads = [heads.stop - heads.start] * (2 * is_calibrated)
        payload = chunk.checked()
        values: Sequence[NDArray[Any]]
        try:
            if weights_format.is_entropy_coded:
                tensors = [(architecture.tensors[index], model.laws[index]) for index, _ in parts]
                of_heads = list(zip(n_heads, model.head_laws, strict=True))
                values = read_streams(payload, tensors, sizes, of_heads, weights_format)
            else:
                values = _read_fixed_size(
                    payload, "<f2" if weights_format is WeightsFormat.FLOAT16 else "i1", sizes, n_heads
                )
        except ValueError as error:
            raise TincError(f"WEIGHTS chunk of level {chunk.level}: {error}") from error
        yield WeightsChunk(chunk, parts, heads, values)


def readable_architecture(header: NetworksHeader) -> Architecture:
    """Return the architecture that the header of a file describes. TincError if there is none."""
    try:
        return architecture_of(header)
    except ValueError as error:
        raise TincError(str(error)) from error


def from_chunks(header: NetworksHeader, chunks: Sequence[Chunk]) -> StoredNetwork:
    """Read the network of a file.

    Raises
    ------
    TincError
        If a payload is damaged, or does not hold exactly what the header says it does.
    """
    architecture = readable_architecture(header)
    model = read_model_chunk(header, architecture, chunks)
    gain, offset = (np.full(len(architecture.heads), value, np.float64) for value in model.overall)
    vector = np.zeros(architecture.n_parameters, np.float32)
    for weights_chunk in read_weights_chunks(header, architecture, model, chunks):
        for (_, place), values in zip(weights_chunk.parts, weights_chunk.values, strict=False):
            vector[place] = values
        for base, correction, values in zip(
            (1.0, 0.0), (gain, offset), weights_chunk.values[len(weights_chunk.parts) :], strict=False
        ):
            correction[weights_chunk.heads] = base + values * CALIBRATION_STEP
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        vector *= np.repeat(model.steps, [tensor.size for tensor in architecture.tensors])
    for numbers in (vector, gain, offset, model.scalars.values):
        worst = float(np.abs(numbers).max(initial=0))
        if not worst <= MAX_WEIGHT:  # also refuses NaN
            raise TincError(f"a weight, gain, offset or scalar is {worst}, expected at most {MAX_WEIGHT:.0f}")
    return StoredNetwork(
        architecture, vector, model.steps, Corrections(header.calibration, gain, offset), model.scalars
    )


def to_network(
    architecture: Architecture, vector: NDArray[np.float32], corrections: Corrections, scalars: Scalars
) -> Network:
    """Return the network as a reader of these parameters will have it."""
    return Network(architecture, vector, *leaf_corrections(architecture, corrections, scalars))


def leaf_corrections(
    architecture: Architecture, corrections: Corrections, scalars: Scalars
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return gain and offset of every leaf, float64 (n_leaves,) each; 0 and its value for a scalar."""
    head = architecture.heads_of_leaves
    gain, offset = corrections.gain[head], corrections.offset[head]  # replaced below for scalars
    gain[head < 0], offset[head < 0] = 0, scalars.values
    return gain, offset


def _read_fixed_size(
    payload: bytes, dtype: str, sizes: Sequence[int], n_heads: Sequence[int]
) -> list[NDArray[np.float32]]:
    """Read streams of numbers of fixed size; those of corrections are 16-bit integers behind the others."""
    streams = [(size, np.dtype(dtype)) for size in sizes] + [(count, np.dtype("<i2")) for count in n_heads]
    expected = sum(count * kind.itemsize for count, kind in streams)
    if len(payload) != expected:
        raise ValueError(f"payload is {len(payload)} bytes, expected {expected}")
    out, at = [], 0
    for count, kind in streams:
        out.append(np.frombuffer(payload, kind, count, at).astype(np.float32))
        at += count * kind.itemsize
    return out


def _cut_into_chunks(architecture: Architecture, weights_format: WeightsFormat) -> Iterator[tuple[int, int, int]]:
    """Cut every level into chunks. Yield its level, its first network in that level, and the number of networks."""
    bits = {WeightsFormat.INT8: 8, WeightsFormat.FLOAT16: 16}.get(weights_format, 5)
    sizes = np.zeros(architecture.octree.depth + 1)
    for tensor in architecture.tensors:
        sizes[architecture.groups[tensor.group].level] += tensor.size * bits / 8
    networks = np.bincount(architecture.octree.level[architecture.widths > 0])
    for level, n_nodes in enumerate(networks.tolist()):
        size = sizes[level]
        n_chunks = int(np.clip(size // CHUNK_BYTES, 1, n_nodes))
        edges = np.arange(n_chunks + 1) * n_nodes // n_chunks
        for first, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            yield level, first, stop - first


@cache_for_small_trees
def _places_of_networks(
    architecture: Architecture, level: int, first: int, count: int
) -> tuple[list[tuple[int, slice]], slice]:
    """Return the places in the vector of ``count`` networks of a level, from its ``first``; and their heads."""
    networks = np.flatnonzero((architecture.octree.level == level) & (architecture.widths > 0))
    ends = networks[first], networks[first + count - 1] + 1
    parts = []
    for index, tensor in enumerate(architecture.tensors):
        group = architecture.groups[tensor.group]
        if group.level != level:
            continue
        nodes = group.nodes[group.head_rows] if tensor.kind.startswith("head") else group.nodes
        start, stop = np.searchsorted(nodes, ends).tolist()
        if stop > start:
            size = tensor.shape[1] * tensor.shape[2]
            parts.append((index, slice(tensor.offset + start * size, tensor.offset + stop * size)))
    return parts, slice(*np.searchsorted(architecture.heads, ends).tolist())
