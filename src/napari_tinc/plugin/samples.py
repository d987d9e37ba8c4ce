"""The bundled MRI of a brain as sample data."""

from __future__ import annotations

from ..decoding.volume import CACHE_BYTES
from ..samples import mri as mri_image
from ..samples import mri_tinc_path
from .layers.display import OVERVIEW_VOXELS
from .proxies import unproxied
from .reader import LayerData, read_one


@unproxied
def mri() -> list[LayerData]:
    """Return the layer of the original volume."""
    image = mri_image()
    arguments = {"name": "brain", "scale": image.spacing, "units": (image.units,) * 3, "axis_labels": tuple("zyx")}
    return [(image.array, arguments, "image")]


@unproxied
def mri_tinc() -> list[LayerData]:
    """Return the layer of the same volume, opened from its compressed file."""
    ((data, arguments, kind),) = read_one(str(mri_tinc_path()), OVERVIEW_VOXELS, CACHE_BYTES)
    return [(data, arguments | {"name": "brain (tinc 64x)"}, kind)]
