"""What napari-tinc itself adds to files of other programs: facts for which their format has no place, as JSON text.

Other programs ignore it. A fact that the format has a place for is never read from here.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ..format.details import Details
from ..format.placement import Placement
from .described import Described
from .image import Content
from .read_options import say

KEY = "napari-tinc"  # Where the text is: the name of an attribute, a key or a field.
PLACE = ("origin", "orientation", "shear")

# Fields of Details that are kept for each fact.
_DETAILS = {
    "time step": ("time",), "contrast limits": ("limits",), "names of labels": ("objects",),
    "colormap, gamma and layer name": ("colormap", "gamma", "opacity", "name", "look"),
}  # fmt: skip


def own_text(described: Described, facts: Collection[str]) -> str:
    """Return the axes and some of the facts of an image as JSON of plain ASCII, on one line; "" if it has none."""
    kept: dict[str, Any] = {}
    if "labels" in facts and described.labels:
        kept["labels"] = True
    if described.placement is not None and not set(PLACE).isdisjoint(facts):
        kept["placement"] = {name: value for name, value in asdict(described.placement).items() if value}
    names = [name for fact, fields in _DETAILS.items() if fact in facts for name in fields]
    details = {name: getattr(described.details, name) for name in names}
    if details := {name: value for name, value in details.items() if value not in (None, "", (), {})}:
        kept["details"] = details
    if len(described.axes) > 3:
        kept["axes"] = described.axes.upper()
    if "channels" in facts and any(map(len, described.channels)):
        kept["channels"] = [dict(channel) for channel in described.channels]
    return json.dumps(kept, separators=(",", ":")) if kept else ""


def with_own_facts(content: Content, text: object) -> Content:
    """Return the content with the facts of :func:`own_text` that the rest of its file does not state."""
    if not isinstance(text, str | bytes) or not text:
        return content
    try:
        kept = json.loads(text)
        placement = Placement.of(kept["placement"]) if "placement" in kept else None
        details = Details.of(kept.get("details", {}))
        channels = [(channel.get("name"), channel.get("color")) for channel in kept.get("channels", ())]
        windows = [_window(channel.get("window")) for channel in kept.get("channels", ())]
        is_labelled, axes = bool(kept.get("labels")), str(kept.get("axes", content.axes))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        say(f"what napari-tinc added to the file is left out: {error}")
        return content
    same = len(axes) == len(content.axes) == len(set(axes)) and axes[-3:] == content.axes[-3:] == "ZYX"
    known = content.details or Details()
    empty = Details()
    missing = {name: getattr(details, name) for name in asdict(details) if getattr(known, name) == getattr(empty, name)}
    return content._replace(
        axes=axes if same else content.axes,
        labels=content.labels or (is_labelled and np.dtype(content.array.dtype).kind in "iu"),
        placement=content.placement or placement,
        details=replace(known, **missing) or None,
        channels=content.channels or channels,
        windows=content.windows or windows,
    )


def _window(text: str | None) -> tuple[float, float] | None:
    """Return the values of a channel that are shown black and white; None if it has none."""
    if text is None:
        return None
    low, high = map(float, text.split())
    return low, high
