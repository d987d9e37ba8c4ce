"""Put the frames of a DICOM series in order, and say where the volume that they make lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...format.placement import Placement
from ..read_options import say
from ..units import shortest
from .dicom_frames import APART, Frame

_SAME_PLACE = 1e-3  # Slices that are nearer than this, in mm, are at the same place.
_SAME_STEP = 1e-7  # Positions have digits enough to tell a step to this share of it.
_EVEN = 0.01  # Slices count as even if none is further from its place than this share of their distance,
_NEARLY_EVEN = 0.1  # and are refused if one is further than this share: there a slice may be missing.
_TILTED = 1e-3  # Slices are shifted against each other by more than this share of their distance: a tilted gantry.


class Stack(NamedTuple):
    """The frames of a volume.

    Attributes
    ----------
    frames : one for each slice, after another axis if there is one.
    axis : the letter of that axis; "" for none.
    spacing : z, y, x in mm; None where it is not known.
    placement : in mm; None where it is not known.
    """

    frames: list[list[Frame]]
    axis: str
    spacing: tuple[float | None, float | None, float | None]
    placement: Placement | None


def stack_of(frames: Sequence[Frame]) -> Stack:
    """Put frames in order. ValueError if slices are missing or doubled."""
    first = frames[0]
    y, x = first.spacing or (None, None)
    if any(frame.position is None or frame.orientation is None for frame in frames):
        if len(frames) > 1:
            say(f"{first.file.name}: its {len(frames)} images say not where they lie; they are taken in their order")
        depth = first.header.get("SpacingBetweenSlices")
        return Stack(
            [sorted(frames, key=lambda frame: frame.number)], "", (abs(float(depth)) if depth else None, y, x), None
        )
    normal = first.normal / np.linalg.norm(first.normal)
    frames = sorted(frames, key=lambda frame: (float(frame.position @ normal), frame.number))
    places = [[frames[0]]]
    for frame in frames[1:]:
        near = abs(float((frame.position - places[-1][0].position) @ normal)) < _SAME_PLACE
        places[-1].append(frame) if near else places.append([frame])
    axis, rows = _rows(places)
    slices = rows[0]
    step = _step(slices, normal)
    if not axis:
        _tell_of_gaps(slices)
    matrix = np.eye(4)
    if y is None or x is None:
        return Stack(rows, axis, (float(np.linalg.norm(step)), None, None), None)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = first.orientation[0] * x, first.orientation[1] * y, step
    matrix[:3, 3] = slices[0].position
    placement = Placement.from_xyz(matrix, "LPS")
    return Stack(rows, axis, (shortest(float(np.linalg.norm(step)), _SAME_STEP), y, x), placement)


def _rows(places: list[list[Frame]]) -> tuple[str, list[list[Frame]]]:
    """Return a row of slices for each of several volumes at the same place, and the letter of that axis."""
    counts = {len(place) for place in places}
    count = max(counts)
    if counts == {1}:
        return "", [[place[0] for place in places]]
    if len(counts) == 1:
        for name, letter in APART.items():
            keys = [sorted({frame.apart[name] for frame in place if name in frame.apart}) for place in places]
            alike = name == "TriggerTime" or all(key == keys[0] for key in keys)
            if alike and all(len(key) == count for key in keys):
                ordered = [sorted(place, key=lambda frame, name=name: frame.apart[name]) for place in places]  # type: ignore[misc]
                return letter, [list(row) for row in zip(*ordered, strict=True)]
        inside = sorted((frame for place in places for frame in place), key=lambda frame: frame.number)
        number_of = {id(frame): at // len(places) for at, frame in enumerate(inside)}
        ordered = [sorted(place, key=lambda frame: number_of[id(frame)]) for place in places]
        if all([number_of[id(frame)] for frame in place] == list(range(count)) for place in ordered):
            say(f"{count} images lie at each place, and only their numbers tell them apart: they become an axis")
            return "Q", [list(row) for row in zip(*ordered, strict=True)]
    doubled = next(place for place in places if len(place) > 1)
    names = ", ".join(sorted({frame.file.name for frame in doubled})[:4])
    raise ValueError(
        f"{sum(len(place) > 1 for place in places)} of its {len(places)} slices are there more than once: {names} lie "
        f"at {_text(doubled[0].position)}; expected one image for each place: move the others elsewhere"
    )


def _step(slices: Sequence[Frame], normal: Any) -> Any:
    """Return the step from a slice to the next, x, y, z in mm. ValueError if the slices are not even."""
    header = slices[0].header
    if len(slices) == 1:
        thickness = abs(float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 0))
        if not thickness:
            say("it is a single slice of unknown thickness: 1 mm is taken")
        return normal * (thickness or 1.0)
    positions = np.array([frame.position for frame in slices])
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    distance = float(step @ normal)
    away = (positions - positions[0]) @ normal / distance - np.arange(len(slices))
    worst = float(np.abs(away).max())
    if worst > _NEARLY_EVEN:
        gaps = np.diff(positions @ normal)
        usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
        at = int(np.argmax(gaps))
        raise ValueError(
            f"its slices are not evenly spaced: {gaps[at]:.6g} mm between {slices[at].file.name} and "
            f"{slices[at + 1].file.name}, but {usual:.6g} mm between most; slices are missing, or "
            "belong to another series"
        )
    if worst > _EVEN:
        say(
            f"its slices are uneven by up to {worst * distance:.3g} mm; they are taken as even, {distance:.6g} mm apart"
        )
    stated = header.get("SpacingBetweenSlices")
    if stated and abs(abs(float(stated)) - distance) > 0.05 * distance:
        say(f"its slices are {distance:.6g} mm apart by their places, {float(stated):.6g} mm by SpacingBetweenSlices")
    shift = float(np.linalg.norm(step - distance * normal))
    if shift > _TILTED * distance:
        angle = math.degrees(math.atan2(shift, distance))
        say(
            f"its slices are shifted against each other (a gantry tilted by {angle:.3g} degrees): the matrix keeps that"
        )
    return np.round(step, 9)


def _tell_of_gaps(frames: list[Frame]) -> None:
    """Say it if the numbers of the images tell that some are not here: at the ends, their places would not."""
    numbers = sorted({int(frame.header.get("InstanceNumber") or 0) for frame in frames})
    files = {frame.file for frame in frames}
    if len(numbers) == len(files) > 1 and (numbers[0] > 1 or numbers[-1] - numbers[0] >= len(numbers)):
        say(f"its {len(numbers)} images have numbers {numbers[0]} to {numbers[-1]}: images may be missing")
    stated = frames[0].header.get("ImagesInAcquisition")
    if stated and int(stated) > len(frames):
        say(f"it has {len(frames)} images of the {int(stated)} of its acquisition")


def _text(position: Any) -> str:
    """Return a position in words."""
    return ", ".join(f"{value:g}" for value in position) + " mm"
