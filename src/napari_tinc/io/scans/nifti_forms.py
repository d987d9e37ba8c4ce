"""Where a NIfTI file says that its voxels lie: its sform and its qform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...format.details import Details
from ...format.placement import NIFTI_CODES, Placement, matrix_of_qform
from ..read_options import say

_SAME = 1e-4  # Two forms that differ by less than this, in the unit of the file, at every corner say the same.
_SAME_SPACING = 1e-3  # Edges of a voxel that differ by a smaller share count as the same.


def place_and_details(
    header: Any, shape: Sequence[int], zooms: Sequence[float]
) -> tuple[Placement | None, Details]:  # fmt: skip
    """Return where the voxels lie, time step and contrast limits.

    Parameters
    ----------
    header : nibabel's header of a NIfTI file.
    shape : of the array.
    zooms : edges of a voxel along x, y, z.
    """
    limits = float(header["cal_min"]), float(header["cal_max"])
    has_limits = limits[0] < limits[1] and np.isfinite(limits).all()
    unit = {8: "second", 16: "millisecond", 24: "microsecond"}.get(int(header["xyzt_units"]) & 0x38)
    step = float(str(header["pixdim"][4]))
    has_time = len(shape) > 3 and shape[3] > 1 and unit and 0 < step < np.inf
    details = Details(limits=limits if has_limits else None, time=(step, str(unit)) if has_time else None)
    return (placement_of_nifti(header, shape[:3], zooms) if len(zooms) == 3 else None), details


def placement_of_nifti(header: Any, shape: Sequence[int], zooms: Sequence[float]) -> Placement | None:
    """Return where the voxels lie. None if neither form is there: then a file has a spacing only.

    Parameters
    ----------
    header : nibabel's header of a NIfTI file.
    shape : voxels along x, y, z.
    zooms : edges of a voxel along x, y, z.
    """
    sform_code, qform_code = (min(max(int(header[f"{form}_code"]), 0), NIFTI_CODES) for form in ("sform", "qform"))
    numbers = _qform_numbers(header, zooms)
    try:
        if not sform_code:
            if not qform_code:
                return None
            matrix = matrix_of_qform(numbers)
            return Placement.from_xyz(matrix, "RAS", qform_code=qform_code, qform=numbers)
        matrix = header.get_sform()
        differs = qform_code and not _agree(matrix, matrix_of_qform(numbers), shape)
        return Placement.from_xyz(
            matrix, "RAS", sform_code=sform_code, qform_code=qform_code, qform=numbers if differs else None
        )
    except ValueError as error:
        say(f"the place of the volume in the world is not kept: {error}")
        return None


def spacing_of_nifti(placement: Placement | None, zooms: list[float]) -> list[float]:
    """Return the edges of a voxel along x, y, z: as the header has them, or as its matrix, which counts, does."""
    if placement is None:
        return zooms
    of_matrix = list(placement.spacing[::-1])
    if np.allclose(of_matrix, zooms, rtol=_SAME_SPACING, atol=0):
        return zooms
    texts = [" x ".join(f"{edge:.6g}" for edge in edges) for edges in (zooms, of_matrix)]
    say(f"its voxels are {texts[0]} by pixdim and {texts[1]} by the matrix of its sform, which is taken")
    return of_matrix


def set_forms(header: Any, placement: Placement | None, factor: float) -> None:
    """Write the placement into a header of nibabel, whose shape and zooms are set.

    Parameters
    ----------
    factor : from the unit of the placement to that of the header.
    """
    if placement is None:
        header["sform_code"] = header["qform_code"] = 0
        return
    matrix = placement.xyz("RAS", factor)
    sform, qform = placement.sform_code, placement.qform_code
    if not (sform or qform):  # no NIfTI file: DICOM's coordinates are those of the scanner
        sform = 1 if placement.space else 2
    header.set_sform(matrix if sform else None, code=sform)
    numbers = placement.qform
    if numbers is None:
        if qform:
            zooms = header.get_zooms()
            header.set_qform(matrix, code=qform, strip_shears=True)
            header.set_zooms(zooms)
        return
    header["qform_code"] = qform
    for name, value in zip(("quatern_b", "quatern_c", "quatern_d"), numbers[:3], strict=True):
        header[name] = value
    for name, value in zip(("qoffset_x", "qoffset_y", "qoffset_z"), numbers[3:6], strict=True):
        header[name] = value * factor
    header["pixdim"][1:4] = np.array(numbers[6:9]) * factor
    header["pixdim"][0] = numbers[9]


def _qform_numbers(header: Any, zooms: Sequence[float]) -> tuple[float, ...]:
    """Return the numbers of the qform as the header has them."""
    names = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    qfac = -1.0 if float(header["pixdim"][0]) < 0 else 1.0
    return (*(float(header[name]) for name in names), *(abs(float(np.float32(zoom))) for zoom in zooms), qfac)


def _agree(matrix: Any, other: Any, shape: Sequence[int]) -> bool:
    """Tell whether two matrices put every corner of the volume at the same place."""
    corners = np.array(np.meshgrid(*((0, n) for n in shape), [1], indexing="ij")).reshape(4, -1)
    return bool(np.abs((matrix - other) @ corners).max() <= _SAME)
