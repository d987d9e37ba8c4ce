"""The frames of DICOM files: the place and the scale of each, from the old kind of header or that of many frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# What tells frames at the same place apart, and the axis that it makes.
APART = {
    "TemporalPositionIdentifier": "T", "TemporalPositionIndex": "T", "TriggerTime": "T", "AcquisitionNumber": "T",
    "EchoTime": "Q", "EffectiveEchoTime": "Q", "DiffusionBValue": "Q", "ImageType": "Q", "StackID": "Q",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """An image of two axes.

    Attributes
    ----------
    file, index : where it is: the file, and its number there.
    header : of the file.
    position : of the centre of its first pixel, x, y, z in mm; None if it is not known.
    orientation : directions of its rows and its columns, (2, 3); None if it is not known.
    spacing : between its rows and between its columns, in mm; None if it is not known.
    scale : slope and intercept of its values.
    apart : what may tell it from others at the same place.
    """

    file: Path
    index: int
    header: Any
    position: Any
    orientation: Any
    spacing: tuple[float, float] | None
    scale: tuple[float, float]
    apart: dict[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> tuple[int, int]:
        """Number of the image in its series, and of the frame in the image."""
        return int(self.header.get("InstanceNumber") or 0), self.index

    @property
    def normal(self) -> Any:
        """Direction across the image, (3,)."""
        return np.cross(*self.orientation)


def frames_of(file: Path, header: Any) -> Iterator[Frame]:
    """Yield the frames of a file."""
    count = int(str(header.get("NumberOfFrames") or 1).strip() or 1)
    groups = header.get("PerFrameFunctionalGroupsSequence") or ()
    shared = (header.get("SharedFunctionalGroupsSequence") or (None,))[0]
    if groups and len(groups) != count:
        raise ValueError(f"{file.name} describes {len(groups)} frames, expected {count}")
    offsets = _offsets(header, count)
    for index in range(count):
        own = groups[index] if groups else None
        look = _Looker(header, own, shared)
        orientation = _numbers(look("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
        orientation = None if orientation is None else orientation.reshape(2, 3)
        position = _numbers(look("PlanePositionSequence", "ImagePositionPatient"), 3)
        if offsets is not None and position is not None and orientation is not None:
            position = position + np.cross(*orientation) * offsets[index]
        elif count > 1 and not groups:
            position = None  # that of the first frame
        spacing = _numbers(look("PixelMeasuresSequence", "PixelSpacing"), 2)
        if spacing is None:
            spacing = _numbers(header.get("ImagerPixelSpacing"), 2)
        yield Frame(
            file, index, header, position, orientation, None if spacing is None else (spacing[0], spacing[1]),
            _scale(header, look), _apart(header, own),
        )  # fmt: skip


class _Looker:
    """Looks a field up: for a frame, for all frames, in the header."""

    def __init__(self, header: Any, own: Any, shared: Any) -> None:
        self.header, self.groups = header, [group for group in (own, shared) if group is not None]

    def __call__(self, sequence: str, name: str) -> Any:
        for group in self.groups:
            items = group.get(sequence)
            if items and items[0].get(name) is not None:
                return items[0].get(name)
        return self.header.get(name)


def _offsets(header: Any, count: int) -> Any:
    """Return how far each frame of a dose lies behind the first, in mm; None if the file does not say it."""
    offsets = _numbers(header.get("GridFrameOffsetVector"), count)
    return None if offsets is None else offsets - offsets[0]


def _scale(header: Any, look: _Looker) -> tuple[float, float]:
    """Return slope and intercept."""
    slope = look("PixelValueTransformationSequence", "RescaleSlope")
    intercept = look("PixelValueTransformationSequence", "RescaleIntercept")
    if slope is None and header.get("DoseGridScaling") is not None:
        slope = header.DoseGridScaling
    return float(1 if slope is None else slope), float(0 if intercept is None else intercept)


def _apart(header: Any, own: Any) -> dict[str, Any]:
    """Return what may tell a frame from others at the same place."""
    found = {name: header.get(name) for name in APART}
    for sequence in ("FrameContentSequence", "MREchoSequence", "MRDiffusionSequence"):
        items = own.get(sequence) if own is not None else None
        found |= {name: items[0].get(name) for name in APART if items and items[0].get(name) is not None}
    return {name: str(value) if name in ("ImageType", "StackID") else float(value)
            for name, value in found.items() if value not in (None, "")}  # fmt: skip


def _numbers(value: Any, count: int) -> Any:
    """Return so many finite numbers as an array; None if there are others, or none."""
    try:
        numbers = np.array([float(item) for item in value])
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None
