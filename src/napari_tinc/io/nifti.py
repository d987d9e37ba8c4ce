"""Read NIfTI files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .arrays import sparing
from .chosen import as_labels
from .image import Content, library
from .read_options import ReadOptions, say
from .scaled import scaled
from .scans.nifti_forms import place_and_details, spacing_of_nifti

LABELS = 1002  # NIFTI_INTENT_LABEL: the values are labels.
_COLORS = {"R": ("red", "ff0000"), "G": ("green", "00ff00"), "B": ("blue", "0000ff"), "A": ("alpha", "ffffff")}


def read_nifti(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read a NIfTI file; one that is not compressed as a memory map. Colours become channels.

    ValueError if it is no image of voxels, such as a CIFTI file.
    """
    nibabel = library("nibabel")
    _check_compression(file)
    image = nibabel.load(file)
    if isinstance(image, nibabel.Cifti2Image):
        raise ValueError("it is a CIFTI file: its values lie on surfaces of a brain, not in a volume")
    stored = image.dataobj
    raw = stored.get_unscaled()  # a memory map, unless the file is compressed
    axes, channels = "XYZTCQQ"[: raw.ndim][::-1], []
    if raw.dtype.names:
        array: Any = raw.T[..., np.newaxis].view(np.uint8)
        axes += "C" if "C" not in axes else "S"
        channels = [_COLORS[name] for name in raw.dtype.names]
    else:
        array = scaled(sparing(raw.T), stored.slope, stored.inter, single=not options.precise)
    # nibabel's own reading of this byte fails on a code it does not know.
    unit = {1: "m", 2: "mm", 3: "um"}.get(int(image.header["xyzt_units"]) & 7)
    # Zooms are float32; the shortest decimals are the numbers that were meant.
    zooms = _edges(image)
    placement, details = place_and_details(image.header, raw.shape, zooms)
    zooms = spacing_of_nifti(placement, zooms)
    sizes = [(zoom, unit) for zoom in reversed(zooms)]
    content = Content(array, axes, sizes, channels, placement=placement, details=details)
    if int(image.header.get("intent_code", 0)) != LABELS or raw.dtype.names:
        return content
    try:
        return as_labels(content)
    except ValueError as error:
        say(f"the file says that its values are labels, which they are not: {error}")
        return content


def _edges(image: Any) -> list[float]:
    """Return the edges of a voxel along x, y, z: those of the header, or of the affine if that says others."""
    zooms = [float(str(zoom)) for zoom in image.header.get_zooms()[:3]]
    edges = library("nibabel").affines.voxel_sizes(image.affine)[: len(zooms)]
    if np.isfinite(edges).all() and (edges > 0).all() and not np.allclose(zooms, edges, rtol=1e-3, atol=0):
        said, taken = (", ".join(f"{edge:.6g}" for edge in ends) for ends in (zooms, edges))
        say(f"the header has voxel sizes x, y, z of {said}, but its affine of {taken}, which are taken")
        return [float(f"{edge:.7g}") for edge in edges]
    return zooms


def _check_compression(file: Path) -> None:
    """Raise ValueError for a compressed file whose name does not say so, which nibabel would call unknown."""
    with file.open("rb") as stream:
        start = stream.read(2)
    if start == b"\x1f\x8b" and not file.name.lower().endswith(".gz"):
        raise ValueError("it is compressed: call it .nii.gz")
