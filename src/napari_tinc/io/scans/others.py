"""Read the other formats of MRI that nibabel knows: MGH, MGZ, Analyze, MINC, PAR/REC and AFNI's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...format.details import Details
from ...format.placement import Placement
from ..arrays import ArrayOfFile
from ..image import Content, library
from ..nifti import read_nifti
from ..read_options import ReadOptions, say

NIBABEL_SUFFIXES = (".mgh", ".mgz", ".img", ".hdr", ".img.gz", ".mnc", ".par", ".brik", ".head", ".brik.gz")

_TIME_UNITS = {"MGHImage": "millisecond", "PARRECImage": "second"}


def read_with_nibabel(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read a file, piece by piece if it is not compressed. ValueError if it is damaged.

    A pair of .hdr and .img may be NIfTI, which is read as such. Beside a .rec is the .par that describes it.
    """
    if file.suffix.lower() == ".rec":
        file = par_beside(file) or file
    nibabel = library("nibabel")
    try:
        image = nibabel.load(file)
    except FileNotFoundError:
        raise
    except Exception as error:
        reason = "" if isinstance(error, KeyError | IndexError) else f": {' '.join(str(error).split())}"
        text = f"nibabel finds no image in it, though {file.suffix} files have one; it may be damaged{reason}"
        raise ValueError(text) from error
    if isinstance(image, nibabel.Nifti1Pair):
        return read_nifti(file, inside, options)
    stored = ArrayOfFile(_Proxy(image.dataobj), file, portable=False)
    axes = ("XYZQ" if isinstance(image, nibabel.MGHImage) else "XYZTCQQ")[: stored.ndim]
    affine, zooms = image.affine, [float(str(zoom)) for zoom in np.abs(image.header.get_zooms())]
    if isinstance(image, nibabel.Minc1Image):  # also those of MINC 2; time, z, y, x
        axes, affine, zooms = "QTZYX"[-stored.ndim :], affine[:, [2, 1, 0, 3]], zooms[::-1]
    placement = None
    try:
        placement = Placement.from_xyz(affine, "RAS")
    except ValueError as error:
        say(f"the place of the volume in the world is not kept: {error}")
    if isinstance(image, nibabel.AnalyzeImage) and not _has_matrix(file):
        placement = None  # An Analyze file says nothing about it.
    sizes = tuple(zooms[2::-1])
    if placement is not None and not np.allclose(sizes, placement.spacing, rtol=1e-5, atol=0):
        sizes = placement.spacing
    step = _time_step(image)
    if step is not None:
        axes = axes.replace("XYZQ", "XYZT")
    return Content(
        stored, axes, [(float(size), "mm") for size in sizes], placement=placement, details=Details(time=step)
    )


def _time_step(image: Any) -> tuple[float, str] | None:
    """Return the time step and its unit of a file of four axes; None if its format does not say both."""
    zooms, kind = image.header.get_zooms(), type(image).__name__
    if len(zooms) != 4:
        return None
    codes = image.header.info.get("TAXIS_NUMS", [0] * 3) if kind == "AFNIImage" else [0] * 3
    unit = {77001: "millisecond", 77002: "second"}.get(codes[2]) or _TIME_UNITS.get(kind)
    step = float(str(zooms[3]))
    return (step, unit) if unit and 0 < step < np.inf else None


def par_beside(file: Path) -> Path | None:
    """Return the header of Philips's scanners that lies beside a .rec file; None for an MRC file of this suffix."""
    names = [file.with_suffix(suffix) for suffix in (".PAR", ".par")] if file.suffix.lower() == ".rec" else []
    return next((name for name in names if name.is_file()), None)


class _Proxy:
    """Values with their slope and intercept, of the dtype in which nibabel shows them."""

    def __init__(self, proxy: Any) -> None:
        self.proxy, self.shape = proxy, tuple(proxy.shape)
        self.dtype = np.asanyarray(proxy[(slice(0, 1),) * len(self.shape)]).dtype

    def __getitem__(self, index: Any) -> Any:
        return np.asanyarray(self.proxy[index])


def _has_matrix(file: Path) -> bool:
    """Tell whether SPM's file beside an Analyze file says where it lies."""
    return file.with_name(file.name.partition(".")[0] + ".mat").exists()
