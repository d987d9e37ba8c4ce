"""The beginning of every ``.tinc`` file: prefix, facts about the volume, table of chunks; and their checks.

A file holds either one tree of networks (networks_file.py) or blocks that are such files (blocks_file.py). NumPy and
the standard library only; docs/reference/format.md is the authority. All numbers are little-endian. "uv" is a number in
the fewest bytes of LEB128, at most 7. Bits are packed least significant first, padding bits are 0::

    PREFIX  16 B  magic 89 54 4E 43 | u8 major<<4 + minor | u8 required features | u32 head length
                  | u16 CRC-16/CCITT of the ten bytes so far | u32 CRC-32 of HEAD
    HEAD          [uv further features] facts, description of the content, table of chunks
    BODY          the chunks back to back

Places follow from the lengths, so that no head can describe overlaps, holes or trailing bytes. Every head has exactly
one encoding.
"""

from __future__ import annotations

import binascii
import math
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

import numpy as np

from ..errors import TincError
from ..octree import Octree
from .cursor import MAX_VARINT, FieldReader, check_range, pack_varint
from .limits import (
    DTYPES,
    MAX_AXIS,
    MAX_FILE,
    MAX_HEAD,
    MAX_SPACING,
    MAX_UNIT,
    MAX_VOXELS,
    MIN_FILE,
    MIN_SPACING,
)

MAGIC = b"\x89TNC"  # Other first bytes are no .tinc file.
MAJOR = 1  # Files of another major version are refused.
MINOR = 0  # Files of other minor versions are read all the same.
PREFIX = struct.Struct("<4sBBIHI")  # Magic, version, features, length of HEAD, CRC-16 of these, CRC-32 of HEAD.

_SPACING = 1  # Bit of the flags: a spacing and a unit are stored.
_ORIGIN = 2  # Bit of the flags: an origin is stored.
_ERROR_BOUND = 4  # Bit of the flags: a largest error is stored.
_AFFINE = 8  # Bit of the flags: an affine matrix is stored.


class Feature(IntFlag):
    """Abilities that a reader needs to decode a file: those of the prefix, then those with which HEAD begins."""

    RESIDUAL, LATTICE, LEADING_AXES = 1, 2, 4
    BLOCKS, FILTER, REGIONS, BACKGROUND = 16, 32, 64, 128
    SORTED = 256


NO_FEATURE = Feature(0)  # Every reader can decode the file.
OF_NETWORKS = Feature.LATTICE | Feature.SORTED  # Features that a tree of networks may need.
_FURTHER = 8  # Bit of the prefix: HEAD begins with the features from bit 8 on.


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class VolumeFacts:
    """The facts that a file stores about its volume.

    Attributes
    ----------
    tree : an octree over its voxels z, y, x: of networks, or of blocks.
    dtype : of the volume, one of :data:`DTYPES`.
    value_range : smallest and largest value of the volume, exact in ``dtype``.
    spacing, origin : of the voxels along z, y, x, in ``unit``, which is stored only with a spacing.
    error_bound : largest absolute error the writer promised.
    affine : 12 numbers kept as float32, a 3 x 4 matrix row by row.
    """

    tree: Octree
    dtype: np.dtype[Any]
    value_range: tuple[float, float]
    spacing: tuple[float, ...] | None = None
    unit: str = ""
    origin: tuple[float, ...] | None = None
    error_bound: float | None = None
    affine: tuple[float, ...] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        return self.tree.shape


def check_size(size: int) -> None:
    """Raise TincError if no ``.tinc`` file can have this size."""
    why = "" if size >= MIN_FILE else "not a .tinc file: " if size else "is empty: "
    if not MIN_FILE <= size <= MAX_FILE:
        raise TincError(f"{why}file size is {size}, expected {MIN_FILE} to {MAX_FILE}")


def read_head(read: Callable[[int, int], bytes], size: int) -> tuple[Feature, bytes]:
    """Read and check the prefix and HEAD (checks 1 and 2 of docs/reference/format.md).

    Parameters
    ----------
    read : returns the bytes of the file from a first one to one past the last.
    size : bytes of the whole file.

    Returns
    -------
    The features that the file needs, and the bytes of HEAD.
    """
    check_size(size)
    prefix = read(0, PREFIX.size)
    magic, version, features, length, crc16, crc32 = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise TincError("this is not a .tinc file")
    computed = binascii.crc_hqx(prefix[:10], 0xFFFF)
    if computed != crc16:
        raise TincError(f"prefix: CRC-16 is {computed:04x}, expected {crc16:04x}")
    if version >> 4 != MAJOR:
        raise TincError(f"needs a reader of format {version >> 4}; this version of napari-tinc reads format {MAJOR}")
    check_range("head length", length, 1, min(MAX_HEAD, size - PREFIX.size))
    head = read(PREFIX.size, PREFIX.size + length)
    if zlib.crc32(head) != crc32:
        raise TincError(f"head: CRC-32 is {zlib.crc32(head):08x}, expected {crc32:08x}")
    if features & _FURTHER:
        features = features & ~_FURTHER | _read_further(FieldReader(head)) << 8
        if unknown := features & ~sum(Feature):
            number = unknown.bit_length() - 1
            raise TincError(f"needs the feature of number {number}; this version of napari-tinc cannot read it")
    return Feature(features), head


def _read_further(cursor: FieldReader) -> int:
    """Read the features from bit 8 on."""
    return cursor.varint("further features", 1, MAX_VARINT)


def assemble(features: Feature, head: bytes, payloads: Iterable[bytes]) -> bytes:
    """Build the bytes of a file from HEAD, without further features, and the payloads of its chunks."""
    if further := features >> 8:
        features, head = features & 255 | _FURTHER, pack_varint(further) + head
    start = struct.pack("<4sBBI", MAGIC, MAJOR << 4 | MINOR, features, len(head))
    prefix = start + struct.pack("<HI", binascii.crc_hqx(start, 0xFFFF), zlib.crc32(head))
    return b"".join([prefix, head, *payloads])


def read_start(
    cursor: FieldReader, features: Feature
) -> tuple[int, np.dtype[Any], tuple[int, int, int], tuple[float, float]]:
    """Read flags, dtype, shape and value range, behind further features if there are any (checks 3 and 4)."""
    if features >> 8:
        _read_further(cursor)
    flags = cursor.unsigned("flags", 1, _SPACING | _ORIGIN | _ERROR_BOUND | _AFFINE)
    dtype = np.dtype(DTYPES[cursor.unsigned("dtype", 1, len(DTYPES) - 1)])
    z, y, x = (cursor.varint("axis", 1, MAX_AXIS) for _ in range(3))
    check_range("number of voxels", z * y * x, 1, MAX_VOXELS)
    stored = cursor.take("value range", 2 * dtype.itemsize)
    lo, hi = np.frombuffer(stored, dtype.newbyteorder("<")).tolist()
    if not -math.inf < lo <= hi < math.inf:
        raise TincError(f"value range is {lo} to {hi}, expected it finite and ascending")
    return flags, dtype, (z, y, x), (lo, hi)


def read_optional(cursor: FieldReader, flags: int) -> dict[str, Any]:
    """Read the facts that the flags name (check 4), as arguments of :class:`VolumeFacts`."""
    facts: dict[str, Any] = {}
    if flags & _SPACING:
        facts["spacing"] = cursor.floats("spacing", "3d", MIN_SPACING, MAX_SPACING)
        unit_bytes = cursor.take("unit", cursor.varint("unit length", 0, MAX_UNIT))
        facts["unit"] = unit = unit_bytes.decode(errors="replace")
        if unit.encode() != unit_bytes or not unit.isprintable():
            raise TincError(f"unit is {unit_bytes!r}, expected printable UTF-8")
    if flags & _ORIGIN:
        facts["origin"] = cursor.floats("origin", "3d")
    if flags & _ERROR_BOUND:
        facts["error_bound"] = cursor.floats("error bound", "d", 0)[0]
    if flags & _AFFINE:
        facts["affine"] = cursor.floats("affine", "12f")
    return facts


def pack_start(facts: VolumeFacts) -> bytes:
    """Build the bytes that :func:`read_start` reads."""
    code = f"{facts.dtype.kind}{facts.dtype.itemsize}"
    if code not in DTYPES:
        raise TincError(f"dtype is {facts.dtype}, expected one of {', '.join(DTYPES)}")
    with np.errstate(all="ignore"):
        value_range = np.array(facts.value_range).astype("<" + code)
    if value_range.tolist() != list(facts.value_range):
        raise TincError(f"value range is {facts.value_range}, expected numbers exact in {facts.dtype}")
    flags = sum(1 << bit for bit, part in enumerate(_optional(facts)) if part)
    return bytes([flags, DTYPES.index(code)]) + b"".join(map(pack_varint, facts.shape)) + value_range.tobytes()


def pack_optional(facts: VolumeFacts) -> bytes:
    """Build the bytes that :func:`read_optional` reads."""
    return b"".join(_optional(facts))


def _optional(facts: VolumeFacts) -> list[bytes]:
    """Build the bytes of each optional fact, in the order of the flags; empty if there is none."""
    unit = facts.unit.encode()
    return [
        b"" if facts.spacing is None else struct.pack("<3d", *facts.spacing) + pack_varint(len(unit)) + unit,
        b"" if facts.origin is None else struct.pack("<3d", *facts.origin),
        b"" if facts.error_bound is None else struct.pack("<d", facts.error_bound),
        b"" if facts.affine is None else struct.pack("<12f", *facts.affine),
    ]
