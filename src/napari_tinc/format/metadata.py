"""JSON in META and PROVENANCE chunks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..errors import TincError
from .chunks import Ancillary, Chunk

QUALITY_KEYS = ("psnr", "ssim", "psnr_inside", "psnr_outside", "filter")  # what PROVENANCE has of a measured quality


def usual_labels(n_leading: int) -> str:
    """Return the labels of the axes of a file that stores none, such as "czyx" for one leading axis."""
    return "qtc"[3 - n_leading :] + "zyx"


def read_json(chunks: Sequence[Chunk]) -> dict[str, Any]:
    """Parse the JSON of the first of some chunks of one role; empty if there is none, TincError if it is no object."""
    for chunk in chunks:
        name = "" if chunk.role is None else chunk.role.name
        try:
            value = json.loads(chunk.checked())
        except (ValueError, RecursionError) as error:
            raise TincError(f"{name} chunk is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise TincError(f"{name} chunk holds a JSON {type(value).__name__}, expected an object")
        return value
    return {}


def with_chunk(ancillary: Sequence[Chunk], role: Ancillary, payload: bytes) -> list[Chunk]:
    """Replace the chunk of a role, of level 0, or leave it out where the new payload is empty."""
    others = [chunk for chunk in ancillary if chunk.role is not role or (chunk.level and role is Ancillary.DETAILS)]
    return [*others, Chunk.of(role, payload)] if payload else others


def with_json(ancillary: Sequence[Chunk], role: Ancillary, value: dict[str, Any]) -> list[Chunk]:
    """Replace the chunk of a role, META or PROVENANCE, or leave it out where the new value is empty."""
    return with_chunk(ancillary, role, compact(value) if value else b"")


def compact(value: dict[str, Any]) -> bytes:
    """Encode JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()
