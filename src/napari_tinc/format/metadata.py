"""JSON in META and PROVENANCE chunks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .chunks import Ancillary, Chunk


def usual_labels(n_leading: int) -> str:
    """Return the labels of the axes of a file that stores none, such as "czyx" for one leading axis."""
    return "qtc"[3 - n_leading :] + "zyx"


def with_meta(ancillary: Sequence[Chunk], meta: dict[str, Any]) -> list[Chunk]:
    """Replace META among ancillary chunks. It is left out if ``meta`` is empty."""
    kept = [chunk for chunk in ancillary if chunk.role is not Ancillary.META]
    return [*kept, Chunk.of(Ancillary.META, json.dumps(meta, separators=(",", ":")).encode())] if meta else kept


def compact(value: dict[str, Any]) -> bytes:
    """Encode JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()
