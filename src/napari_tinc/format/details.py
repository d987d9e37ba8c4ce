"""DETAILS chunks: where the voxels lie, and what names and shows them. A reader may ignore them.

A chunk is a row of items {u8 tag, uv length, payload}. Items of unknown tags are skipped.
"""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..errors import ReadWarning, TincError
from .chunks import Chunk
from .cursor import pack_varint
from .head import VolumeFacts
from .limits import MAX_DETAILS
from .metadata import compact
from .numbers import DetailsReader, pack_numbers, unpack_numbers
from .placement import LARGEST, QFORM_NUMBERS, Placement, packed_forms, placement_of_head, unpack_placement

LEAST_BUDGET = 80  # All items together may take this many bytes of any file, with their row in the table of chunks,
SHARE = 100  # and of a larger file one byte in so many.
CHUNK_BYTES = 8  # A chunk's row in the table: kind, nodes, length, CRC-32.

_PLACE, _QFORM, _TIME, _LIMITS, _COLORMAP, _GAMMA, _NAME, _LOOK, _OBJECTS, _OPACITY = range(1, 11)
_MOST_TEXT = 2**20  # Longer JSON, unpacked, is refused.


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What names and shows a volume. Everything is optional.

    Attributes
    ----------
    time : duration between two points in time, and its unit.
    limits : values that are shown black and white.
    colormap : name of a colormap; or colors, "#rrggbb" or "#rrggbbaa", separated by spaces.
    gamma : exponent of the brightness.
    opacity : of the layer, 0 to 1.
    name : of the layer.
    look : other settings of a napari layer, by their names there.
    objects : a label, its name and its color ("#rrggbb", "#rrggbbaa" or "") for each label that has one.
    """

    time: tuple[float, str] | None = None
    limits: tuple[float, float] | None = None
    colormap: str = ""
    gamma: float | None = None
    opacity: float | None = None
    name: str = ""
    look: Mapping[str, Any] = field(default_factory=dict)
    objects: tuple[tuple[int, str, str], ...] = ()

    def __post_init__(self) -> None:
        """Check all fields, and make lists unchangeable. ValueError or TypeError for what cannot be stored."""
        time = None if self.time is None else (float(self.time[0]), str(self.time[1]))
        limits = None if self.limits is None else (float(self.limits[0]), float(self.limits[1]))
        gamma, opacity = (None if value is None else float(value) for value in (self.gamma, self.opacity))
        for number in (*(time or ())[:1], *(limits or ()), gamma, opacity):
            if number is not None and not np.isfinite(number):
                raise ValueError(f"details have the number {number}, expected finite numbers")
        objects = tuple((int(label), str(name), str(color)) for label, name, color in self.objects)
        look = json.loads(json.dumps(dict(self.look)))
        checked = {"time": time, "limits": limits, "gamma": gamma, "opacity": opacity, "objects": objects, "look": look}
        for key, value in checked.items():
            object.__setattr__(self, key, value)

    @classmethod
    def of(cls, value: Details | Mapping[str, Any]) -> Details:
        """Return details as such, or made of their fields."""
        return value if isinstance(value, Details) else cls(**value)

    def __bool__(self) -> bool:
        """Tell whether there is any detail."""
        return self != Details()


def budget_of(nbytes: int) -> int:
    """Return how many bytes the details of a file of about so many bytes may take."""
    return min(max(LEAST_BUDGET, nbytes // SHARE), MAX_DETAILS)


def pack_details(
    placement: Placement | None, details: Details, spacing: Sequence[float] | None, shape: Sequence[int], budget: int
) -> bytes:  # fmt: skip
    """Pack what fits into a budget, the most important first; a warning names the rest.

    Returns
    -------
    The payload of a DETAILS chunk; empty if there is nothing to store.
    """
    rest = _packed_details(details)
    edges = tuple(spacing or (1.0, 1.0, 1.0))
    if placement is not None and placement.qform is not None:
        at = 0 if not placement.sform_code else len(rest)
        rest.insert(at, ("NIfTI's qform", _item(_QFORM, pack_numbers(placement.qform, _expected_qform(edges)))))
    forms = [] if placement is None else [_item(_PLACE, form) for form in packed_forms(placement, edges, shape)]
    room = budget - CHUNK_BYTES
    needed = sum(len(item) for _, item in rest)
    if forms:
        place = next((form for form in forms if len(form) + needed <= room), forms[-1])
        rest.insert(0, ("the place in the world", place))
    payload, left_out = b"", []
    for name, item in rest:
        if len(payload) + len(item) <= room:
            payload += item
        else:
            left_out.append(name)
    if left_out:
        text = f"the file does not keep {' and '.join(left_out)}, which would take more than {budget} bytes of it"
        warnings.warn(text, ReadWarning, stacklevel=2)
    return payload


def read_details(chunks: Iterable[Chunk], head: VolumeFacts) -> tuple[Placement | None, Details]:
    """Read the DETAILS chunk, if there is one. A matrix or an origin in the head of the file is a placement, too."""
    for chunk in chunks:
        if chunk.level == 0:  # others are of later versions
            return unpack_details(chunk.checked(), head.spacing)
    return placement_of_head(head), Details()


def unpack_details(payload: bytes, spacing: Sequence[float] | None) -> tuple[Placement | None, Details]:
    """Read a DETAILS chunk. TincError if it makes no sense."""
    if len(payload) > MAX_DETAILS:
        raise TincError(f"DETAILS chunk is {len(payload)} bytes, expected at most {MAX_DETAILS}")
    edges = tuple(spacing or (1.0, 1.0, 1.0))
    items = _items(payload)
    qform = None if _QFORM not in items else _unpack_qform(items.pop(_QFORM), edges)
    place = items.pop(_PLACE, None)
    placement = None if place is None else unpack_placement(place, edges, qform)
    fields: dict[str, Any] = {}
    try:
        for tag, data in items.items():
            if tag in _UNPACK:
                name, unpack = _UNPACK[tag]
                fields[name] = unpack(data)
        return placement, Details(**fields)
    except (ValueError, TypeError, RecursionError, OverflowError, zlib.error) as error:
        raise TincError(f"DETAILS chunk: {' '.join(str(error).split()):.200}") from None


def as_json(placement: Placement | None, details: Details) -> dict[str, Any]:
    """Return all that is there, for people and programs to read."""
    place = {} if placement is None else {key: value for key, value in asdict(placement).items() if value}
    return place | {key: value for key, value in asdict(details).items() if value not in (None, "", {}, ())}


def _packed_details(details: Details) -> list[tuple[str, bytes]]:
    """Return a name for people and the item of every detail that is there, the most important first."""
    packed: list[tuple[str, bytes]] = []
    if details.time is not None:
        packed.append(("the time step", _item(_TIME, _pack(details.time[0]) + details.time[1].encode())))
    if details.limits is not None:
        packed.append(("contrast limits", _item(_LIMITS, _pack(*details.limits))))
    if details.colormap:
        packed.append(("the colormap", _item(_COLORMAP, details.colormap.encode())))
    if details.gamma is not None:
        packed.append(("gamma", _item(_GAMMA, _pack(details.gamma))))
    if details.opacity is not None:
        packed.append(("opacity", _item(_OPACITY, _pack(details.opacity))))
    if details.name:
        packed.append(("the name of the layer", _item(_NAME, details.name.encode())))
    if details.look:
        packed.append((", ".join(details.look), _item(_LOOK, _pack_json(dict(details.look)))))
    if details.objects:
        objects = {str(label): [name, color] for label, name, color in details.objects}
        packed.append(("names and colors of labels", _item(_OBJECTS, _pack_json(objects))))
    return packed


def _item(tag: int, payload: bytes) -> bytes:
    """Return an item of a chunk."""
    return bytes([tag]) + pack_varint(len(payload)) + payload


def _items(payload: bytes) -> dict[int, bytes]:
    """Return the payload of each tag; of several of one tag, the first."""
    items: dict[int, bytes] = {}
    reader = DetailsReader(payload)
    while reader.position < len(payload):
        (tag,) = reader.take(1)
        items.setdefault(tag, reader.take(reader.varint()))
    return items


def _pack(*numbers: float) -> bytes:
    """Pack numbers of which nothing is expected."""
    return pack_numbers(numbers, [1.0] * len(numbers))


def _unpack(data: bytes, expected: Sequence[float]) -> tuple[list[float], bytes]:
    """Read numbers, and return what is behind them, too."""
    reader = DetailsReader(data)
    return unpack_numbers(reader, expected), reader.rest()


def _expected_qform(spacing: Sequence[float]) -> tuple[float, ...]:
    """Return what the numbers of NIfTI's qform are compared with: its pixdim, float32, are mostly the spacing."""
    z, y, x = (float(np.float32(edge)) for edge in spacing)
    return (1.0,) * (QFORM_NUMBERS - 4) + (x, y, z, 1.0)


def _unpack_qform(data: bytes, spacing: Sequence[float]) -> tuple[float, ...]:
    """Read the numbers of NIfTI's qform."""
    numbers = tuple(_unpack(data, _expected_qform(spacing))[0])
    if max(map(abs, numbers)) >= LARGEST:
        raise TincError(f"DETAILS chunk has the qform {numbers}, expected numbers below {LARGEST:g}")
    return numbers


def _unpack_time(data: bytes) -> tuple[float, str]:
    numbers, unit = _unpack(data, (1.0,))
    return numbers[0], _text(unit)


def _text(data: bytes) -> str:
    """Decode text, without what cannot be printed."""
    return "".join(letter for letter in data.decode(errors="replace") if letter.isprintable())


def _pack_json(value: Mapping[str, Any]) -> bytes:
    """Pack a JSON object as it is, or deflated where that is shorter: then its first byte is no brace."""
    text = compact(dict(value))
    return min(text, zlib.compress(text, 9), key=len)


def _json(data: bytes) -> dict[str, Any]:
    """Unpack a JSON object of at most :data:`_MOST_TEXT` bytes."""
    text = data
    if not data.startswith(b"{"):
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(data, _MOST_TEXT)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise ValueError(f"JSON is longer than {_MOST_TEXT} bytes, or cut short")
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"JSON is a {type(value).__name__}, expected an object")
    return value


def _unpack_objects(data: bytes) -> tuple[tuple[int, str, str], ...]:
    return tuple((int(label), _text(name.encode()), str(color)) for label, (name, color) in _json(data).items())


_UNPACK: dict[int, tuple[str, Callable[[bytes], Any]]] = {
    _TIME: ("time", _unpack_time),
    _LIMITS: ("limits", lambda data: tuple(_unpack(data, (1.0, 1.0))[0])),
    _COLORMAP: ("colormap", _text),
    _GAMMA: ("gamma", lambda data: _unpack(data, (1.0,))[0][0]),
    _OPACITY: ("opacity", lambda data: _unpack(data, (1.0,))[0][0]),
    _NAME: ("name", _text),
    _LOOK: ("look", _json),
    _OBJECTS: ("objects", _unpack_objects),
}
