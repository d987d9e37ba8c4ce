"""The regions that a file of blocks keeps exactly, or within a bound of their own: their boxes, and their payloads.

In HEAD, behind the edge of the overview's cells::

    f64 bound | uv voxels in all regions | uv regions, for each: uv volume, 3 uv first voxel, 3 uv size (z, y, x)

A REGION payload is a mask of the box and its values, both as bounded/box.py codes them::

    u32 CRC-32 of the values where the mask is 1 | u32 length of the mask | mask | values
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cursor import FieldReader, check_range, pack_varint
from .limits import MAX_CHUNKS, MAX_REGION, MAX_VOXELS

_PAYLOAD = struct.Struct("<II")  # CRC-32 of the values inside the mask, length of the mask.


@dataclass(frozen=True, slots=True)
class RegionPlace:
    """The box of a region.

    Attributes
    ----------
    volume : number of the channel or point in time.
    start, shape : first voxel, and number of voxels, along z, y, x.
    """

    volume: int
    start: tuple[int, int, int]
    shape: tuple[int, int, int]

    @property
    def box(self) -> tuple[slice, ...]:
        """The voxels of the box along z, y, x."""
        return tuple(slice(first, first + n) for first, n in zip(self.start, self.shape, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class RegionFacts:
    """What the head of a file says about its regions.

    Attributes
    ----------
    bound : largest absolute error inside; 0 for bit for bit.
    n_voxels : voxels inside all of them; 0 if that is not known.
    table : for each region the number of its volume, its first voxel and its size along z, y, x; uint32 (n, 7).
    """

    bound: float
    n_voxels: int
    table: NDArray[np.uint32]

    @classmethod
    def of(cls, bound: float, n_voxels: int, places: Sequence[RegionPlace]) -> RegionFacts:
        """Make the facts of regions with these boxes."""
        rows = [(place.volume, *place.start, *place.shape) for place in places]
        return cls(bound, n_voxels, np.array(rows, np.uint32).reshape(-1, 7))

    def place(self, number: int) -> RegionPlace:
        """Return the box of a region."""
        volume, z, y, x, depth, height, width = self.table[number].tolist()
        return RegionPlace(volume, (z, y, x), (depth, height, width))

    def selected(self, volumes: Sequence[int]) -> tuple[RegionFacts | None, list[int]]:
        """Return the regions of some ascending volumes, numbered anew, and which of these regions they are.

        None if there are none. How many voxels are inside is not known of them.
        """
        kept = np.flatnonzero(np.isin(self.table[:, 0], volumes))
        table = self.table[kept].copy()
        table[:, 0] = np.searchsorted(volumes, table[:, 0])
        return (RegionFacts(self.bound, 0, table) if len(kept) else None), kept.tolist()


def read_regions(cursor: FieldReader, shape: tuple[int, int, int], n_volumes: int) -> RegionFacts:
    """Read the facts from HEAD. TincError if a box is not inside the volume, or boxes are larger than it together."""
    bound = cursor.floats("bound of the regions", "d", 0)[0]
    n_voxels = cursor.varint("voxels of the regions", 1, MAX_VOXELS)
    numbers, total = array("I"), 0
    for _ in range(cursor.varint("number of regions", 1, MAX_CHUNKS)):
        numbers.append(cursor.varint("volume of a region", 0, min(n_volumes, MAX_CHUNKS) - 1))
        start = [cursor.varint("first voxel of a region", 0, n - 1) for n in shape]
        size = [cursor.varint("size of a region", 1, n - at) for n, at in zip(shape, start, strict=True)]
        check_range("voxels in the box of a region", math.prod(size), 1, MAX_REGION)
        numbers.extend(start + size)
        total += math.prod(size)
    check_range("voxels in the boxes of regions", total, n_voxels, n_volumes * math.prod(shape))
    return RegionFacts(bound, n_voxels, np.frombuffer(numbers, np.uint32).reshape(-1, 7))


def pack_regions(facts: RegionFacts | None) -> bytes:
    """Build the bytes that :func:`read_regions` reads; none for no regions."""
    if facts is None:
        return b""
    numbers = [facts.n_voxels, len(facts.table), *facts.table.ravel().tolist()]
    return struct.pack("<d", facts.bound) + b"".join(map(pack_varint, numbers))


def pack_payload(crc: int, mask: bytes, values: bytes) -> bytes:
    """Build the payload of a REGION chunk."""
    return _PAYLOAD.pack(crc, len(mask)) + mask + values


def parse_payload(payload: bytes) -> tuple[int, bytes, bytes]:
    """Return the CRC-32, the coded mask and the coded values of a REGION chunk. TincError if it is too short."""
    check_range("length of a REGION chunk", len(payload), _PAYLOAD.size + 2, math.inf)
    crc, length = _PAYLOAD.unpack_from(payload)
    check_range("length of the mask of a region", length, 1, len(payload) - _PAYLOAD.size - 1)
    end = _PAYLOAD.size + length
    return crc, payload[_PAYLOAD.size : end], payload[end:]
