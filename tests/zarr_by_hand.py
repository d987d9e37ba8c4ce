"""Zarr folders written with json and tobytes alone, so that no library reads what it has written itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def write_array(path: Path, array: np.ndarray[Any, Any], zarr_format: int = 2, **metadata: Any) -> None:
    """Write an array of one chunk, without compression."""
    path.mkdir(parents=True, exist_ok=True)
    array = np.ascontiguousarray(array)
    if zarr_format == 2:
        facts = {"zarr_format": 2, "shape": array.shape, "chunks": array.shape, "dtype": array.dtype.str}
        facts |= {"compressor": None, "fill_value": 0, "order": "C", "filters": None, **metadata}
        (path / ".zarray").write_text(json.dumps(facts))
        (path / ".".join("0" * array.ndim)).write_bytes(array.tobytes())
        return
    facts = {
        "zarr_format": 3, "node_type": "array", "shape": array.shape, "data_type": array.dtype.name, "fill_value": 0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": array.shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}], "attributes": {}, **metadata,
    }  # fmt: skip
    (path / "zarr.json").write_text(json.dumps(facts))
    chunk = path.joinpath("c", *"0" * array.ndim)
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(array.astype(array.dtype.newbyteorder("<")).tobytes())


def write_group(path: Path, attributes: dict[str, Any] | None = None, zarr_format: int = 2) -> None:
    """Write a group with attributes; those of OME-Zarr 0.5 and 0.6 are put into "ome"."""
    path.mkdir(parents=True, exist_ok=True)
    attributes = attributes or {}
    if zarr_format == 2:
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps(attributes))
    else:
        facts = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": attributes} if attributes else {}}
        (path / "zarr.json").write_text(json.dumps(facts))


def write_image(path: Path, array: np.ndarray[Any, Any], image: dict[str, Any], **attributes: Any) -> None:
    """Write an OME-Zarr image of one level, "0", whose entry in multiscales is given; Zarr 3 from version 0.5 on."""
    zarr_format = 3 if str(image.get("version", "0.4")) >= "0.5" else 2
    image = {"datasets": [{"path": "0"}], **image}
    write_group(path, {"multiscales": [image], "version": image.get("version", "0.4"), **attributes}, zarr_format)
    write_array(path / "0", array, zarr_format)


def level(scale: list[float] | None, *more: dict[str, Any], path: str = "0") -> dict[str, Any]:
    """Return the entry of a level with a scale and more transformations."""
    steps = [] if scale is None else [{"type": "scale", "scale": scale}]
    return {"path": path, "coordinateTransformations": [*steps, *more]}


def axes_of(letters: str, unit: str = "micrometer") -> list[dict[str, Any]]:
    """Return axes as version 0.4 has them."""
    kinds = {"t": {"type": "time"}, "c": {"type": "channel"}}
    return [{"name": letter, **kinds.get(letter, {"type": "space", "unit": unit})} for letter in letters]
