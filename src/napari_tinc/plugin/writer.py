"""Save an image or labels layer as a ``.tinc`` file: at once if it was decoded from one, else by compressing it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..framing import TincError
from ..training import Control, Progress
from ..volume import TincVolume
from .activity import activity_bar, advance
from .door import unproxied
from .jobs import JobError, Request, Result, compress_layer
from .layers import (
    VOLUME,
    as_it_is,
    finest_of,
    geometry,
    intensities,
    names_of,
    promise_of,
    together,
    unchanged,
    volumes_of,
    with_geometry,
)
from .preferences import read_preferences
from .viewing import OVERVIEW_VOXELS


class SaveError(Exception):
    """A layer was not saved; the text is one line for the user.

    Never a ValueError: napari takes that for "no plugin can write this" and does not show its text.
    """


@unproxied
def write(path: str, data: Any, arguments: Mapping[str, Any]) -> list[str]:
    """Write one image layer, given as its data and arguments; returns the path written, with its suffix.

    Raises
    ------
    SaveError
        If it was not written; a file that was there is left as it was.
    """
    return _write(path, data, arguments, labels=False)


@unproxied
def write_labels(path: str, data: Any, arguments: Mapping[str, Any]) -> list[str]:
    """The same for a labels layer, which is kept bit for bit."""
    return _write(path, data, arguments, labels=True)


def _write(path: str, data: Any, arguments: Mapping[str, Any], *, labels: bool) -> list[str]:
    """Write a layer, of labels or not.

    Raises
    ------
    SaveError
        If it was not written; a file that was there is left as it was.
    """
    target = Path(path)
    if target.suffix.lower() != ".tinc":
        target = target.with_name(f"{target.name}.tinc")
    try:
        volume = unchanged(data, arguments)
        if volume is not None and (volume.labels or not labels):
            volume = with_geometry(volume, geometry(arguments))
        else:
            _check_writable(target)
            volume = _compressed(data, arguments, labels)
        volume.save(target)
    except (JobError, TincError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SaveError(f"{target.name} was not saved: {reason}") from error
    return [str(target)]


def _check_writable(target: Path) -> None:
    """Fail before a minute is spent on a volume that has nowhere to go."""
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent}")
    if target.is_dir():
        raise IsADirectoryError("it is a folder")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"the folder {target.parent} is read-only")


def _is_mask(data: Any, arguments: Mapping[str, Any]) -> bool:
    return bool(np.dtype(finest_of(data, arguments).dtype) == np.dtype(bool))


def _is_bounded(arguments: Mapping[str, Any]) -> bool:
    """Whether a layer came from a file with a largest error."""
    volume = (arguments.get("metadata") or {}).get(VOLUME)
    return isinstance(volume, TincVolume) and volume.error_bound is not None


def _compressed(data: Any, arguments: Mapping[str, Any], labels: bool) -> TincVolume:
    """Compress with the options from Preferences, in this thread; napari's activity shows a bar and a Cancel button."""
    from napari.utils.notifications import show_info

    preferences, control = read_preferences(), Control()
    name = str(arguments.get("name", "image"))
    volumes_of(data, arguments)  # or says why there are none
    place = geometry(arguments)
    if labels:  # all of several volumes: they were painted on together, and no time is lost to a fit
        whole, letters, _ = together(as_it_is(data), arguments)
        volume, target = names_of(whole), {"max_error": 0.0}
        place = replace(place, axis_labels=letters or place.axis_labels)
    elif _is_mask(data, arguments) or _is_bounded(arguments):  # a second error on top would break a promise
        target = {"max_error": 0.0}
    elif preferences.target == "Max error":
        target = {"max_error": preferences.max_error}
    else:
        target = {"ratio": preferences.ratio}
    if not labels:
        volume = intensities(data, arguments)
    request = Request(
        name,
        volume,
        place,
        target,
        preferences.preset,
        preferences.device,
        labels=labels,
        isolate=preferences.isolate,
    )
    bounded = "max_error" in target
    how = promise_of(target["max_error"]) if bounded else f"ratio {preferences.ratio:g}, preset {preferences.preset}"
    show_info(f"Compressing {name}: {how}. Progress and Cancel: activity, at the bottom right.")
    with activity_bar(name) as bar:
        for event in compress_layer(request, control, OVERVIEW_VOXELS):
            if isinstance(event, Result):
                return event.volume
            if isinstance(event, Progress):
                advance(bar, event)
            if bar.is_canceled:
                control.cancel.set()
    raise JobError("cancelled")
