"""Names and colors of labels, as OME-Zarr has them in "image-label"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Object = tuple[int, str, str]


def image_label(objects: Sequence[Object]) -> dict[str, Any]:
    """Return what marks an image as one of labels: its version, colors and names."""
    entry: dict[str, Any] = {"version": "0.5"}
    colors = [
        {"label-value": label, "rgba": [*bytes.fromhex(f"{color[1:]}ff")][:4]}
        for label, _, color in objects
        if re.fullmatch("#[0-9a-f]{6}([0-9a-f]{2})?", color)
    ]
    names = [{"label-value": label, "name": name} for label, name, _ in objects if name]
    return entry | ({"colors": colors} if colors else {}) | ({"properties": names} if names else {})


def objects_of(attributes: Mapping[str, Any]) -> tuple[Object, ...]:
    """Return the number, name and color of every label that an image names or colors; an opaque color without FF."""
    entry = attributes.get("image-label")
    if not isinstance(entry, dict):
        return ()
    found: dict[int, tuple[str, str]] = {}
    for item in _entries(entry, "properties"):
        name = item.get("name")
        if isinstance(name, str) and name:
            found[item["label-value"]] = (name, "")
    for item in _entries(entry, "colors"):
        rgba = item.get("rgba")
        if isinstance(rgba, list) and len(rgba) == 4 and all(type(part) is int and 0 <= part < 256 for part in rgba):
            name, _ = found.get(item["label-value"], ("", ""))
            found[item["label-value"]] = (name, "#" + bytes(rgba).hex().removesuffix("ff" * (rgba[3] == 255)))
    return tuple((label, *found[label]) for label in sorted(found))


def _entries(entry: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the objects of a list that are of a label."""
    items = entry.get(key)
    if not isinstance(items, list):
        return []
    return [item for item in items if isinstance(item, dict) and type(item.get("label-value")) is int]
