"""The regions that a file of blocks keeps exactly, or within a bound of their own: their boxes, and their payloads.

In HEAD, behind the edge of the overview's cells::

    f64 bound | uv voxels in all regions | uv regions, for each: uv volume, 3 uv first voxel, 3 uv size (z, y, x)

A REGION payload is a mask of the box and its values, both as bounded/box.py codes them::

    u32 CRC-32 of the values where the mask is 1 | u32 length of the mask | mask | values
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .cursor import HeadReader, check_range, pack_varint
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


@dataclass(frozen=True, slots=True)
class RegionFacts:
    """What the head of a file says about its regions.

    Attributes
    ----------
    bound : largest absolute error inside; 0 for bit for bit.
    n_voxels : voxels inside all of them.
    places : their boxes.
    """

    bound: float
    n_voxels: int
    places: tuple[RegionPlace, ...]


def read_regions(cursor: HeadReader, shape: tuple[int, int, int], n_volumes: int) -> RegionFacts:
    """Read the facts from HEAD. TincError if a box is not inside the volume, or boxes are larger than it together."""
    bound = cursor.floats("bound of the regions", "d", 0)[0]
    n_voxels = cursor.varint("voxels of the regions", 1, MAX_VOXELS)
    places = [_read_place(cursor, shape, n_volumes) for _ in range(cursor.varint("number of regions", 1, MAX_CHUNKS))]
    total = sum(math.prod(place.shape) for place in places)
    check_range("voxels in the boxes of regions", total, n_voxels, n_volumes * math.prod(shape))
    return RegionFacts(bound, n_voxels, tuple(places))


def _read_place(cursor: HeadReader, shape: tuple[int, int, int], n_volumes: int) -> RegionPlace:
    volume = cursor.varint("volume of a region", 0, n_volumes - 1)
    z, y, x = (cursor.varint("first voxel of a region", 0, n - 1) for n in shape)
    depth, height, width = (
        cursor.varint("size of a region", 1, n - first) for n, first in zip(shape, (z, y, x), strict=True)
    )
    check_range("voxels in the box of a region", depth * height * width, 1, MAX_REGION)
    return RegionPlace(volume, (z, y, x), (depth, height, width))


def pack_regions(facts: RegionFacts | None) -> bytes:
    """Build the bytes that :func:`read_regions` reads; none for no regions."""
    if facts is None:
        return b""
    numbers = [len(facts.places)]
    for place in facts.places:
        numbers += [place.volume, *place.start, *place.shape]
    return struct.pack("<d", facts.bound) + pack_varint(facts.n_voxels) + b"".join(map(pack_varint, numbers))


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


def selected(facts: RegionFacts | None, volumes: Sequence[int]) -> tuple[RegionFacts | None, list[int]]:
    """Return the regions of some volumes, numbered anew, and which of the file's they are. ``n_voxels`` becomes 0."""
    if facts is None:
        return None, []
    number = {volume: new for new, volume in enumerate(volumes)}
    kept = [at for at, place in enumerate(facts.places) if place.volume in number]
    places = [facts.places[at] for at in kept]
    renumbered = tuple(RegionPlace(number[place.volume], place.start, place.shape) for place in places)
    return (RegionFacts(facts.bound, 0, renumbered) if kept else None), kept
