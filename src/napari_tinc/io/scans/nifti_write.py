"""Write NIfTI files, slab by slab."""

from __future__ import annotations

import gzip
from contextlib import ExitStack
from typing import Any

import numpy as np

from ..arrays import AxesView, slabs_of
from ..described import USUAL_CHANGES, Described, written_dtype
from ..image import library
from .nifti_forms import set_forms

_UNITS = {"meter": "meter", "millimeter": "mm", "micrometer": "micron"}  # as nibabel calls those that NIfTI has
_MOST_AXIS = 2**15 - 1  # NIfTI-1 has no longer axes; NIfTI-2 has.
_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
LABELS = 1002  # NIfTI's intent code for labels.


def write_nifti(stream: Any, array: Any, described: Described, *, compressed: bool) -> None:
    """Write a NIfTI file: x, y, z, then time, then channels or another axis.

    Channels are the fifth axis. float16 is written as float32, bool as uint8. Lengths in units that NIfTI has not are
    written in millimetres.
    """
    nibabel = library("nibabel")
    letters = described.axes[:-3]
    order = sorted(range(len(letters)), key=lambda axis: letters[axis] == "t")  # time is the fourth axis of a file
    view = AxesView(array, [*order, *(len(letters) + axis for axis in range(3))])
    lengths = [int(array.shape[axis]) for axis in reversed(order)]
    if letters and "t" not in letters:
        lengths.insert(0, 1)
    dtype = written_dtype(array.dtype, _DTYPES, "NIfTI", USUAL_CHANGES)
    shape = (*reversed(array.shape[-3:]), *lengths)
    header = (nibabel.Nifti1Header if max(shape) <= _MOST_AXIS else nibabel.Nifti2Header)()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    unit, factor = _unit(described)
    step, time_unit = described.seconds or (1.0, "unknown")
    spacing = described.spacing or (1.0, 1.0, 1.0)
    header.set_zooms([*(size * factor for size in reversed(spacing)), *[step, 1, 1, 1][: len(lengths)]])
    header.set_xyzt_units(unit, time_unit)
    set_forms(header, described.placement, factor)
    if described.details.limits:
        header["cal_min"], header["cal_max"] = described.details.limits
    if described.labels:
        header["intent_code"] = LABELS
    with ExitStack() as stack:
        if compressed:
            stream = stack.enter_context(gzip.GzipFile("", "wb", 6, stream, mtime=0))
        header.write_to(stream)
        for slab in slabs_of(view):
            stream.write(np.ascontiguousarray(slab.astype(dtype, copy=False)).data)


def _unit(described: Described) -> tuple[str, float]:
    """Return nibabel's name of the unit that is written, and how many of it the unit of the spacing is."""
    if described.units in _UNITS:
        return _UNITS[described.units], 1.0
    factor = described.factor_to("millimeter")
    return ("unknown", 1.0) if factor is None else ("mm", factor)
