"""What golden.json has of a golden file."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

import napari_tinc as tinc
from napari_tinc.decoding.block_contents import BlockContents
from napari_tinc.decoding.bounded_box import BoundedBox
from napari_tinc.decoding.boxes import Part
from napari_tinc.differences import checksum

N_PROBES = 32


def record(data: bytes) -> dict[str, Any]:
    volume = tinc.TincVolume(data)
    volume.verify()
    parts = volume.parts
    facts: dict[str, Any] = {
        "file_crc32": zlib.crc32(data), "shape": list(volume.shape), "dtype": f"{volume.header.dtype.str[1:]}",
        "value_range": list(volume.value_range), "axes": volume.axis_labels, "bool": volume.dtype.kind == "b",
        "labels": volume.labels, "channels": volume.channels, "spacing": list(volume.spacing), "unit": volume.units,
        "error_bound": volume.error_bound,
    }  # fmt: skip
    n_volumes = int(np.prod(parts.leading, dtype=int))
    if all(isinstance(part, BoundedBox) for _, _, part in volume.boxes()):
        facts["crc32"] = checksum(np.asarray(volume).astype(volume.header.dtype))
    else:
        axes = [np.arange(n) + 0.5 for n in volume.header.shape]
        facts["probes"] = probes(np.stack([volume._decoder.floats(at, 1, axes, 1) for at in range(n_volumes)]))
    if isinstance(parts, BlockContents) and parts.edge:
        facts["overviews"] = [of_part(parts.overview(at)) for at in range(n_volumes)]
    return facts


def of_part(part: Part | None) -> dict[str, Any]:
    assert part is not None
    if isinstance(part, BoundedBox):
        return {"shape": list(part.shape), "crc32": checksum(part.array)}
    return {
        "shape": list(part.shape),
        "probes": probes(part.floats([np.arange(n) + 0.5 for n in part.shape], spacing=1)),
    }


def probes(values: np.ndarray) -> list[list[float]]:
    flat = values.ravel()
    places = np.unique(np.linspace(0, flat.size - 1, N_PROBES).astype(int))
    return [[int(at), float(flat[at])] for at in places]
