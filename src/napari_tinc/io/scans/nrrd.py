"""Read and write NRRD files, as 3D Slicer and ITK make them."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...format.details import Details
from ...format.placement import Placement
from ..arrays import slabs_of, sparing
from ..described import FACTS, USUAL_CHANGES, Described, written_dtype
from ..image import Content, library
from ..own_facts import KEY, PLACE, own_text, with_own_facts
from ..read_options import ReadOptions, say

# Letters of NRRD's spaces, as a factor from x to the right and y forward.
_SPACES = {
    "right-anterior-superior": "RAS", "ras": "RAS", "left-posterior-superior": "LPS", "lps": "LPS",
    "right-anterior-superior-time": "RAS", "rast": "RAS", "left-posterior-superior-time": "LPS", "lpst": "LPS",
}  # fmt: skip
_FLIPPED = {"left-anterior-superior": (-1, 1, 1), "las": (-1, 1, 1)}  # To RAS.
_OF_CHANNELS = ("vector", "list", "color", "point", "matrix", "covariant", "normal", "complex", "quaternion")
_TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


def read_nrrd(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read a .nrrd or .nhdr file; one that is not compressed as a memory map.

    ValueError if it is damaged.
    """
    nrrd = library("nrrd", "scans")
    with file.open("rb") as stream:
        header = nrrd.read_header(stream)
        array = _memory_map(header, stream, file)
        if array is None:
            array = nrrd.read_data(header, stream, str(file), index_order="C")
    kinds = [str(kind).lower() for kind in header.get("kinds", ())] or [""] * array.ndim
    spatial = _spatial_axes(header, kinds, array.ndim)
    letters = _letters(kinds, spatial)
    placement, units = _placement(header, spatial)
    sizes = _sizes(header, spatial, units, placement)
    segments = _segments(header)
    step = _time_step(header, letters)
    content = Content(
        array, letters[::-1], sizes, labels=bool(segments) and array.dtype.kind in "iu", placement=placement,
        details=Details(objects=segments, time=step),
    )  # fmt: skip
    return with_own_facts(content, header.get(KEY))


def _memory_map(header: Mapping[str, Any], stream: Any, file: Path) -> Any:
    """Return the values as a memory map, axes slowest first; None if they are compressed, text, or hard to find."""
    nrrd = library("nrrd", "scans")
    skips = [header.get(name, 0) for name in ("line skip", "lineskip", "byte skip", "byteskip")]
    if header["encoding"] != "raw" or any(skips):
        return None
    shape = tuple(map(int, header["sizes"][::-1]))
    dtype, name = nrrd.reader._determine_datatype(header), header.get("data file", header.get("datafile"))
    source, offset = (file.parent / name, 0) if name else (file, stream.tell())
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if not source.is_file() or source.stat().st_size - offset < nbytes:
        return None  # pynrrd says what is wrong
    return sparing(np.memmap(source, dtype, "r", offset, shape))


def _spatial_axes(header: Mapping[str, Any], kinds: Sequence[str], ndim: int) -> list[int]:
    """Return the numbers of the axes that run through space, the fastest first."""
    directions = header.get("space directions")
    if directions is not None:
        spatial = [axis for axis, row in enumerate(directions) if row is not None and np.isfinite(row).all()]
        return _without_fourth(directions, spatial)
    named = [axis for axis, kind in enumerate(kinds) if kind in ("domain", "space")]
    return (named or list(range(ndim)))[:3]


def _without_fourth(directions: Any, spatial: list[int]) -> list[int]:
    """Return the axes that run through x, y, z of a space of four dimensions, if one axis is all that runs through the
    fourth; else the axes as they are. What is left out is said.
    """
    if len(spatial) != 4 or any(len(directions[axis]) != 4 for axis in spatial):
        return spatial
    rows = np.array([directions[axis] for axis in spatial], float)
    through = np.flatnonzero(rows[:, 3])
    if len(through) != 1 or rows[through[0], :3].any():
        return spatial
    fourth = int(through[0])
    say(f"its space has four dimensions: the step along the fourth, {rows[fourth, 3]:g}, is not kept")
    return [axis for number, axis in enumerate(spatial) if number != fourth]


def _letters(kinds: Sequence[str], spatial: Sequence[int]) -> str:
    """Return a letter for each axis, the fastest first."""
    letters = ""
    for axis, kind in enumerate(kinds):
        if axis in spatial:
            letters += "XYZQ"[min(spatial.index(axis), 3)]
        else:
            of_channels = any(word in kind for word in _OF_CHANNELS)
            letters += "T" if kind == "time" else "C" if of_channels and "C" not in letters else "Q"
    return letters


def _placement(header: Mapping[str, Any], spatial: Sequence[int]) -> tuple[Placement | None, list[str]]:
    """Return where the voxels lie, and the units of the axes x, y, z of the world."""
    directions, space = header.get("space directions"), str(header.get("space", "")).strip().lower()
    known = space in _SPACES or space in _FLIPPED
    units = list(header.get("space units", ())) or ["mm" if known else ""] * 3
    if directions is None:
        return None, units
    lengths = {len(directions[axis]) for axis in spatial}
    if len(spatial) != 3 or min(lengths) < 3 or any(np.any(directions[axis][3:]) for axis in spatial):
        given = "; ".join(str(np.asarray(directions[axis], float).tolist()) for axis in spatial) or "none"
        say(f"spacing and place are not kept: its space directions are {given}; expected those of three axes")
        return None, units
    matrix = np.eye(4)
    matrix[:3, :3] = np.transpose([np.asarray(directions[axis], float)[:3] for axis in spatial])
    if header.get("space origin") is not None:
        matrix[:3, 3] = np.asarray(header["space origin"], float)[:3]
    if space in _FLIPPED:
        matrix[:3] *= np.array(_FLIPPED[space])[:, None]
    try:
        return Placement.from_xyz(matrix, "RAS" if space in _FLIPPED else _SPACES.get(space, "")), units
    except ValueError as error:
        say(f"the place of the volume in the world is not kept: {error}")
        return None, units


def _sizes(
    header: Mapping[str, Any], spatial: Sequence[int], units: Sequence[str], placement: Placement | None
) -> list[tuple[Any, Any]]:  # fmt: skip
    """Return the edges of a voxel and their units along z, y, x."""
    if len(spatial) != 3:
        return []
    if placement is not None:
        return [(size, unit) for size, unit in zip(placement.spacing, reversed(units[:3]), strict=False)]
    spacings = header.get("spacings")
    own_units = list(header.get("units", ())) or units
    if spacings is None:
        return []
    sizes = [(spacings[axis], own_units[axis] if axis < len(own_units) else "") for axis in reversed(spatial)]
    return [(size if np.isfinite(size) else None, unit) for size, unit in sizes]


def _time_step(header: Mapping[str, Any], letters: str) -> tuple[float, str] | None:
    """Return the time step and its unit; None if the file has none."""
    if "T" not in letters:
        return None
    axis, spacings, units = letters.index("T"), header.get("spacings"), list(header.get("units", ()))
    known = spacings is not None and len(units) > axis and np.isfinite(spacings[axis]) and spacings[axis] > 0
    return (float(spacings[axis]), str(units[axis])) if known else None  # type: ignore[index]


def _segments(header: Mapping[str, Any]) -> tuple[tuple[int, str, str], ...]:
    """Return label, name and color of each segment of 3D Slicer."""
    objects = []
    for key, name in header.items():
        if (match := re.fullmatch(r"(Segment\d+_)Name", str(key))) is None:
            continue
        label = str(header.get(f"{match[1]}LabelValue", ""))
        parts = str(header.get(f"{match[1]}Color", "")).split()
        color = "#" + "".join(f"{round(255 * float(part)):02x}" for part in parts) if len(parts) == 3 else ""
        if label.lstrip("-").isdecimal():
            objects.append((int(label), str(name), color))
    return tuple(objects)


class _Headed(np.ndarray[Any, np.dtype[Any]]):
    """An array of which pynrrd writes the header only: its values are written slab by slab."""

    def tobytes(self, order: Any = "C") -> bytes:
        return b""


def write_nrrd(stream: Any, array: Any, described: Described) -> None:
    """Write a .nrrd file, not compressed. Labels with names are segments of 3D Slicer."""
    nrrd = library("nrrd", "scans")
    dtype = written_dtype(array.dtype, _TYPES, "NRRD", USUAL_CHANGES)
    leading = described.axes[:-3]
    header: dict[str, Any] = {"encoding": "raw"}
    kinds = ["domain"] * 3 + [{"t": "time", "c": "list"}.get(letter, "list") for letter in reversed(leading)]
    header["kinds"] = kinds
    header |= _space(described, len(leading))
    if own := own_text(described, set(FACTS) - set(PLACE)):
        header[KEY] = own
    if described.labels:
        for number, (label, name, color) in enumerate(described.details.objects):
            rgb = " ".join(f"{int(color[at : at + 2], 16) / 255:.6g}" for at in (1, 3, 5)) if color else "1 1 1"
            header |= {f"Segment{number}_ID": f"Segment_{label}", f"Segment{number}_Name": name or str(label),
                       f"Segment{number}_LabelValue": str(label), f"Segment{number}_Layer": "0",
                       f"Segment{number}_Color": rgb}  # fmt: skip
    shell = np.broadcast_to(np.zeros((), dtype), array.shape).view(_Headed)
    text = io.BytesIO()
    with warnings.catch_warnings():  # pynrrd asks for the time in an old way
        warnings.simplefilter("ignore", DeprecationWarning)
        nrrd.write(text, shell, header, index_order="C")
    stream.write(text.getvalue())
    for slab in slabs_of(array):
        stream.write(np.ascontiguousarray(slab.astype(dtype, copy=False)).data)


def _space(described: Described, n_leading: int) -> dict[str, Any]:
    """Return the fields that say where the voxels lie, and the time step."""
    nothing = [np.full(3, np.nan)] * n_leading
    fields: dict[str, Any] = {}
    placement, factor = described.placement, described.factor_to("millimeter")
    if placement is not None:
        body = placement.space and factor is not None
        matrix = placement.xyz(factor=factor if body and factor else 1.0)
        unit = "mm" if body else described.symbol
        fields["space"] = {"RAS": "right-anterior-superior", "LPS": "left-posterior-superior"}.get(placement.space, "")
        if not fields["space"]:
            fields = {"space dimension": 3}
        fields["space directions"] = np.array([*matrix[:3, :3].T, *nothing])
        fields["space origin"] = matrix[:3, 3]
        if unit:
            fields["space units"] = [unit] * 3
    elif described.spacing is not None:
        step, time_unit = described.seconds or (np.nan, "")
        letters = described.axes[:-3][::-1]
        steps = [step if letter == "t" else np.nan for letter in letters]
        fields["spacings"] = np.array([*reversed(described.spacing), *steps])
        fields["units"] = [described.symbol] * 3 + [time_unit if letter == "t" else "" for letter in letters]
    return fields
