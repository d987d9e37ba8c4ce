"""Save image and labels layers as ``.tinc`` files: at once if they were decoded from one, else by compressing them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.utils import notifications
from napari.utils.history import update_save_history

from ..control import Control
from ..decoding.volume import TincVolume
from ..encoding.options import Options
from ..errors import TincError
from ..events import Progress
from ..texts import promise_of
from .compress import texts
from .jobs.activity import activity_bar, advance
from .jobs.job import JobError, Request, Result, compress_layer
from .layers.compressed import OVERLAY
from .layers.display import OVERVIEW_VOXELS
from .layers.file_names import file_name, free_path
from .layers.geometry import geometry, with_geometry
from .layers.lost_on_save import lost_on_save
from .layers.origin import VOLUME, base_name, finest_data, unmodified_volume
from .layers.to_volumes import all_volumes, frozen_copy, single_volume, storable_labels, volumes_of
from .preferences import read_preferences
from .proxies import unproxied

LayerData = tuple[Any, dict[str, Any], str]


class SaveError(Exception):
    """A layer was not saved; the text is one line for the user.

    Never a ValueError: napari takes that for "no plugin can write this" and does not show its text.
    """


@unproxied
def write_layers(path: str | None = None, layers: Sequence[LayerData] = ()) -> list[str]:
    """Write layers as napari hands them over: one into this file, each of several into a file of its own beside it.

    Without a path, which is how napari's command palette calls it, ask for one and save the selected layers.

    Of several, ``x.tinc`` becomes ``x-NAME.tinc`` for each image and labels layer. Other layers, and those that only
    lie over another, are named in a notice and left out. No file that is there already is replaced then, since nobody
    was asked about it.

    Raises
    ------
    SaveError
        If nothing was written.
    """
    if path is None:
        _ask_and_save(napari.current_viewer())
        return []
    kept = [layer for layer in layers if layer[2] in ("image", "labels") and not _is_overlay(layer[1])]
    if len(layers) == 1 and layers[0][2] in ("image", "labels"):
        kept = list(layers)  # nothing else can be meant
    if not kept:
        raise SaveError("Nothing was saved: a .tinc file holds an image or labels. Select such a layer.")
    if len(layers) == 1:
        data, arguments, kind = kept[0]
        return write(path, data, arguments, labels=kind == "labels")
    left_out = [str(layer[1].get("name")) for layer in layers if not any(layer is each for each in kept)]
    return _write_several(_with_suffix(path), kept, left_out)


def _ask_and_save(viewer: Any) -> None:
    """Ask for a file, and save the selected layers: one into it, each of several into one beside it."""
    from .dialogs import ask_where_to_save

    selected = [layer for layer in viewer.layers if layer in viewer.layers.selection]
    if selected:
        ask_where_to_save(viewer, selected[0].name, lambda path: _save_selected(viewer, path))
    else:
        notifications.show_error("Select the layers to save first.")


def _save_selected(viewer: Any, path: str) -> None:
    try:
        written = viewer.layers.save(path, selected=True, plugin="napari-tinc")
    except SaveError as error:
        notifications.show_error(str(error))
        return
    if written:
        update_save_history(written[0])
    else:
        notifications.show_error("Nothing was saved: a .tinc file holds an image or labels. Select such a layer.")


def write(path: str, data: Any, arguments: Mapping[str, Any], *, labels: bool = False) -> list[str]:
    """Write one image layer, or one of labels, given as its data and arguments; returns the path, with its suffix.

    Labels are kept bit for bit.

    Raises
    ------
    SaveError
        If it was not written; a file that was there is left as it was.
    """
    return _write(_with_suffix(path), data, arguments, labels=labels)


def _is_overlay(arguments: Mapping[str, Any]) -> bool:
    return OVERLAY in (arguments.get("metadata") or {})


def _with_suffix(path: str) -> Path:
    target = Path(path)
    return target if target.suffix.lower() == ".tinc" else target.with_name(f"{target.name}.tinc")


def _write_several(path: Path, layers: Sequence[LayerData], left_out: Sequence[str]) -> list[str]:
    written: list[str] = []
    failures: list[str] = []
    for data, arguments, kind in layers:
        stem = file_name(f"{path.stem}-{base_name(str(arguments.get('name', kind)))}")
        try:
            written += _write(free_path(path.parent, stem), data, arguments, labels=kind == "labels")
        except SaveError as error:
            failures.append(str(error))
    if not written:
        raise SaveError("; ".join(failures))
    lines = [f"Saved {', '.join(Path(each).name for each in written)}."]
    if left_out:
        lines.append(f"Left out, since they are no image or labels of their own: {', '.join(left_out)}.")
    notifications.show_info(" ".join(lines))
    for failure in failures:
        notifications.show_error(failure)
    return written


def _write(target: Path, data: Any, arguments: Mapping[str, Any], *, labels: bool) -> list[str]:
    """Write a layer, of labels or not.

    Raises
    ------
    SaveError
        If it was not written; a file that was there is left as it was.
    """
    made: Result | None = None
    try:
        volume = unmodified_volume(data, arguments)
        if volume is not None and (volume.labels or not labels):
            volume = with_geometry(volume, geometry(arguments))
        else:
            _check_writable(target)
            made = _compressed(data, arguments, labels)
            volume = made.volume
        volume.save(target)
    except (JobError, TincError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SaveError(f"{target.name} was not saved: {reason}") from error
    _tell(target.name, volume, made, arguments)
    return [str(target)]


def _tell(name: str, volume: TincVolume, made: Result | None, arguments: Mapping[str, Any]) -> None:
    """Tell how a layer was compressed, if it was, and what of it the file does not keep."""
    if made is not None:
        notifications.show_info(texts.notice(Path(name).stem, made))
    if lost := lost_on_save(arguments, volume):
        notifications.show_warning(f"{name}: {lost}")


def _check_writable(target: Path) -> None:
    """Fail before a minute is spent on a volume that has nowhere to go."""
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent}")
    if target.is_dir():
        raise IsADirectoryError("it is a folder")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"the folder {target.parent} is read-only")


def _is_mask(data: Any, arguments: Mapping[str, Any]) -> bool:
    return bool(np.dtype(finest_data(data, arguments).dtype) == np.dtype(bool))


def _is_bounded(arguments: Mapping[str, Any]) -> bool:
    """Whether a layer came from a file with a largest error."""
    volume = (arguments.get("metadata") or {}).get(VOLUME)
    return isinstance(volume, TincVolume) and volume.error_bound is not None


def _compressed(data: Any, arguments: Mapping[str, Any], labels: bool) -> Result:
    """Compress with the options from Preferences, in this thread; napari's activity shows a bar and a Cancel button."""
    preferences, control = read_preferences(), Control()
    name = str(arguments.get("name", "image"))
    volumes_of(data, arguments)  # or says why there are none
    place = geometry(arguments)
    bound: float | None = None
    if labels:  # all of several volumes: they were painted on together, and no time is lost to a fit
        whole, letters, _ = all_volumes(frozen_copy(data), arguments)
        volume, bound = storable_labels(whole), 0.0
        place = replace(place, axis_labels=letters or place.axis_labels)
    elif _is_mask(data, arguments) or _is_bounded(arguments):  # a second error on top would break a promise
        bound = 0.0
    elif preferences.target == "Max error":
        bound = preferences.max_error
    if not labels:
        volume = single_volume(data, arguments)
    options = Options(
        ratio=preferences.ratio if bound is None else None, max_error=bound, preset=preferences.preset,
        device=preferences.device, labels=labels,
    )  # fmt: skip
    request = Request(name=name, data=volume, geometry=place, options=options, isolate=preferences.isolate)
    how = promise_of(bound) if bound is not None else f"ratio {preferences.ratio:g}, preset {preferences.preset}"
    notifications.show_info(f"Compressing {name}: {how}. Progress and Cancel: activity, at the bottom right.")
    with activity_bar(name) as bar:
        for event in compress_layer(request, control, OVERVIEW_VOXELS):
            if isinstance(event, Result):
                return event
            if isinstance(event, Progress):
                advance(bar, event)
            if bar.is_canceled:
                control.cancel.set()
    raise JobError("cancelled")
