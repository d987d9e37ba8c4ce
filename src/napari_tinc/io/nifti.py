"""Read NIfTI files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .arrays import AxesView
from .image import Content, library
from .read_options import ReadOptions
from .scans.nifti_forms import place_and_details, spacing_of_nifti


def read_nifti(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read a NIfTI file; one that is not compressed as a memory map."""
    image = library("nibabel").load(file)
    stored = image.dataobj
    raw = stored.get_unscaled()  # a memory map, unless the file is compressed
    array = raw.T if (stored.slope, stored.inter) == (1, 0) else _Scaled(raw.T, stored.slope, stored.inter)
    # nibabel's own reading of this byte fails on a code it does not know.
    unit = {1: "m", 2: "mm", 3: "um"}.get(int(image.header["xyzt_units"]) & 7)
    # Zooms are float32; the shortest decimals are the numbers that were meant.
    zooms = [float(str(zoom)) for zoom in image.header.get_zooms()[:3]]
    placement, details = place_and_details(image.header, raw.shape, zooms)
    zooms = spacing_of_nifti(placement, zooms)
    sizes = [(zoom, unit) for zoom in reversed(zooms)]
    return Content(array, "XYZTCQQ"[: raw.ndim][::-1], sizes, placement=placement, details=details)


class _Scaled(AxesView):
    """An array times a slope plus an intercept, float32."""

    def __init__(self, array: Any, slope: float, intercept: float) -> None:
        super().__init__(array, dtype=np.float32)
        self.slope, self.intercept = float(slope), float(intercept)

    def __getitem__(self, index: Any) -> Any:
        """Read a part."""
        values = np.asarray(self.array[index], np.float64)
        return (values * self.slope + self.intercept).astype(np.float32)
