"""The streams of entropy-coded integers in a WEIGHTS payload, and their laws in the MODEL chunk.

A tensor is one stream, in its order. Where columns are sorted and it has their keys, it is several: gaps between the
keys of all nodes, in stretches that share a law, then the other rows.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..format.cursor import FieldReader, pack_varint
from ..format.networks_file import WeightsFormat
from . import entropy
from .architecture import Architecture, Tensor
from .entropy import Geometric
from .rounding import quantize
from .scalars import read_distribution
from .sorted_columns import has_keys

Stream = tuple[NDArray[np.int32], Geometric]


def pack_law(law: Geometric, weights_format: WeightsFormat) -> bytes:
    """Build the bytes that :func:`read_law` reads."""
    if weights_format is WeightsFormat.SORTED:
        return bytes([law.mean_code]) + pack_varint(law.largest)
    return struct.pack("<HH", law.decay, law.largest)


def read_law(cursor: FieldReader, weights_format: WeightsFormat) -> Geometric:
    """Read the law of a tensor, or of gains or offsets. TincError if there is none."""
    if weights_format is not WeightsFormat.SORTED:
        return read_distribution(cursor.unsigned("decay", 2, 65535), cursor.unsigned("largest magnitude", 2, 65535))
    code = cursor.unsigned("code of a mean", 1, entropy.MAX_MEAN_CODE)
    return Geometric.from_mean_code(code, cursor.varint("largest magnitude", 0, entropy.MAX_MAGNITUDE))


def count_table_items(tensor: Tensor, law: Geometric, weights_format: WeightsFormat) -> int:
    """Return the items of all tables that the streams of a tensor need."""
    n_gap_tables = len(_stretches(tensor.shape[2])) if _is_split(tensor, weights_format) else 0
    return 2 * law.largest + 1 + n_gap_tables * (law.largest + 1)


def streams_of(
    tensor: Tensor, integers: NDArray[np.int32], law: Geometric, weights_format: WeightsFormat
) -> list[Stream]:  # fmt: skip
    """Return the streams, (n, m) each, that stand in a file for the integers of n nodes of a tensor."""
    _, rows, width = tensor.shape
    if not _is_split(tensor, weights_format):
        return [(integers.reshape(-1, rows * width), law)]
    integers = integers.reshape(-1, rows, width)
    gaps = np.diff(integers[:, 0], axis=1, prepend=0)
    streams = [(gaps[:, first:stop], law.gaps[power]) for first, stop, power in _stretches(width)]
    return [*streams, (integers[:, 1:].reshape(len(integers), -1), law)]


def read_streams(
    payload: bytes, tensors: Sequence[tuple[Tensor, Geometric]], sizes: Sequence[int],
    corrections: Sequence[tuple[int, Geometric]], weights_format: WeightsFormat,
) -> list[NDArray[np.int32]]:  # fmt: skip
    """Decode ``sizes`` integers of every tensor, then those of gains and of offsets.

    Raises
    ------
    ValueError
        If the payload holds other streams, or a key that is too large.
    """
    layouts = [_layout(tensor, size, law, weights_format) for (tensor, law), size in zip(tensors, sizes, strict=True)]
    streams = iter(entropy.decode(payload, [*(stream for layout in layouts for stream in layout), *corrections]))
    values = []
    for (tensor, law), layout in zip(tensors, layouts, strict=True):
        own = list(islice(streams, len(layout)))
        values.append(own[0] if not _is_split(tensor, weights_format) else _join(tensor, own, law))
    return [*values, *streams]


def saved_bits(architecture: Architecture, vector: NDArray[np.float32], steps: NDArray[np.float32]) -> float:
    """Return the bits by which a file is smaller than if all integers of a tensor were coded under its law.

    What sorting of columns saves, less the second and third bytes of the largest magnitudes in laws.

    Parameters
    ----------
    vector : rounded parameters, whose columns need not be sorted.
    steps : of every tensor of the architecture.
    """
    saved = 0.0
    for tensor, step in zip(architecture.tensors, steps, strict=True):
        integers = quantize(vector[tensor.offset : tensor.offset + tensor.size], step, entropy.MAX_MAGNITUDE)
        law = Geometric.of_mean(integers)
        saved -= 8 * (len(pack_varint(law.largest)) - 1)
        if has_keys(tensor.kind):
            keys = integers.reshape(tensor.shape)[:, :1]
            *gaps, _ = streams_of(
                replace(tensor, shape=keys.shape), np.sort(np.abs(keys), axis=2), law, WeightsFormat.SORTED
            )
            saved += law.bits(keys).sum() - sum(of_gaps.bits(some).sum() for some, of_gaps in gaps)
    return float(saved)


def _is_split(tensor: Tensor, weights_format: WeightsFormat) -> bool:
    """Tell whether a tensor is stored as gaps between its keys and the rows below them."""
    return weights_format is WeightsFormat.SORTED and has_keys(tensor.kind)


def _layout(tensor: Tensor, size: int, law: Geometric, weights_format: WeightsFormat) -> list[tuple[int, Geometric]]:
    """Return the number of integers and the law of each of the streams of ``size`` integers of a tensor."""
    if not _is_split(tensor, weights_format):
        return [(size, law)]
    _, rows, width = tensor.shape
    n = size // (rows * width)
    gaps = [(n * (stop - first), law.gaps[power]) for first, stop, power in _stretches(width)]
    return [*gaps, (n * (rows - 1) * width, law)]


def _join(tensor: Tensor, streams: Sequence[NDArray[np.int32]], law: Geometric) -> NDArray[np.int32]:
    """Return the integers that :func:`streams_of` split. ValueError if a key is beyond the largest of the law."""
    _, rows, width = tensor.shape
    n = sum(len(gaps) for gaps in streams[:-1]) // width
    keys = np.cumsum(np.concatenate([gaps.reshape(n, -1) for gaps in streams[:-1]], axis=1), axis=1, dtype=np.int32)
    if keys.max() > law.largest:
        raise ValueError(f"a key is {keys.max()}, expected at most {law.largest}")
    return np.concatenate([keys[:, None], streams[-1].reshape(n, rows - 1, width)], axis=1).ravel()


@cache
def _stretches(width: int) -> tuple[tuple[int, int, int], ...]:
    """Return the stretches of keys that share a law: first, one past the last, and which of :attr:`.Geometric.gaps`.

    A gap is the least of the r keys from it on; the law is that of the power of two from 2/3 r to 4/3 r.
    """
    powers = [(4 * (width - key) // 3).bit_length() - 1 for key in range(width)]
    return tuple(
        (powers.index(power), width - powers[::-1].index(power), power) for power in sorted(set(powers), reverse=True)
    )
