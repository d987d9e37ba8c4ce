"""Save image and labels layers as ``.tinc`` files. Layers that were not opened from one are compressed first."""

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
from .layers.keeping import compressing_geometry, named
from .layers.lost_on_save import lost_on_save
from .layers.origin import VOLUME, base_name, finest_data, unmodified_volume
from .layers.to_volumes import all_volumes, frozen_copy, single_volume, storable_labels, volumes_of
from .preferences import read_preferences
from .proxies import unproxied

LayerData = tuple[Any, dict[str, Any], str]


class SaveError(Exception):
    """Say in one line for the user why a layer was not saved.

    Not a ValueError, which napari takes for "no plugin can write this", without showing its text.
    """


@unproxied
def write_layers(path: str | None = None, layers: Sequence[LayerData] = ()) -> list[str]:
    """Save layers for napari: a single one to ``path``, several to a file each beside it.

    napari's command palette calls this without a path: then ask for one and save the selected layers.

    With several layers, ``x.tinc`` becomes ``x-NAME.tinc`` for each image and labels layer. Other layers and overlays
    are left out and named in a notice. No existing file is replaced then, since the user was not asked about it.

    Raises
    ------
    SaveError
        If nothing was saved.
    """
    if path is None:
        _ask_and_save(napari.current_viewer())
        return []
    savable = [layer for layer in layers if layer[2] in ("image", "labels") and not _is_overlay(layer[1])]
    if len(layers) == 1 and layers[0][2] in ("image", "labels"):
        savable = list(layers)  # Even an overlay, as the user asked for it alone.
    if not savable:
        raise SaveError("Nothing was saved: a .tinc file holds an image or labels. Select such a layer.")
    if len(layers) == 1:
        data, arguments, kind = savable[0]
        return write(path, data, arguments, labels=kind == "labels")
    left_out = [str(layer[1].get("name")) for layer in layers if not any(layer is each for each in savable)]
    return _save_layers(_with_suffix(path), savable, left_out)


def _ask_and_save(viewer: Any) -> None:
    """Ask for a file, and save the selected layers: one into it, each of several into one beside it."""
    from .dialogs import ask_where_to_save

    selected = [layer for layer in viewer.layers if layer in viewer.layers.selection]
    if selected:
        ask_where_to_save(viewer, selected[0].name, lambda path: _save_selected(viewer, path))
    else:
        notifications.show_error("Select the layers to save first.")


def _save_selected(viewer: Any, path: str) -> None:
    """Save the selected layers, or show why that is not possible."""
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
    """Save one image or labels layer, given as its data and arguments. Returns the path, with its suffix.

    Labels are kept bit for bit.

    Raises
    ------
    SaveError
        If the layer was not saved. A file that was there is left as it was.
    """
    return _save_layer(_with_suffix(path), data, arguments, labels=labels)


def _is_overlay(arguments: Mapping[str, Any]) -> bool:
    """Tell whether a layer shows something about another one, such as its leaves."""
    return OVERLAY in (arguments.get("metadata") or {})


def _with_suffix(path: str) -> Path:
    """Return a path that ends with ``.tinc``."""
    target = Path(path)
    return target if target.suffix.lower() == ".tinc" else target.with_name(f"{target.name}.tinc")


def _save_layers(path: Path, layers: Sequence[LayerData], left_out: Sequence[str]) -> list[str]:
    """Save several layers to a file each. Raises SaveError only if none was saved."""
    written: list[str] = []
    failures: list[str] = []
    for data, arguments, kind in layers:
        stem = file_name(f"{path.stem}-{base_name(str(arguments.get('name', kind)))}")
        try:
            written += _save_layer(free_path(path.parent, stem), data, arguments, labels=kind == "labels")
        except SaveError as error:
            failures.append(str(error))
    if not written:
        raise SaveError("; ".join(failures))
    lines = [f"Saved {', '.join(Path(each).name for each in written)}."]
    if left_out:
        lines.append(f"Left out, since only images and labels can be saved: {', '.join(left_out)}.")
    notifications.show_info(" ".join(lines))
    for failure in failures:
        notifications.show_error(failure)
    return written


def _save_layer(target: Path, data: Any, arguments: Mapping[str, Any], *, labels: bool) -> list[str]:
    """Save a layer, after compressing it if it is not as it was opened.

    Raises
    ------
    SaveError
        If the layer was not saved. A file that was there is left as it was.
    """
    result: Result | None = None
    try:
        volume = unmodified_volume(data, arguments)
        if volume is not None and (volume.labels or not labels):
            wanted = named(geometry(arguments), arguments, target.stem)
            volume = with_geometry(volume, wanted, keeps_look=_is_channel(volume))
        else:
            _check_writable(target)
            result = _compress(data, arguments, labels, target.stem)
            volume = result.volume
        volume.save(target)
    except (JobError, TincError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SaveError(f"{target.name} was not saved: {reason}") from error
    _notify_saved(target.name, volume, result, arguments)
    return [str(target)]


def _notify_saved(name: str, volume: TincVolume, result: Result | None, arguments: Mapping[str, Any]) -> None:
    """Show a notice about the compression of a layer, if there was one, and about what the file does not keep."""
    if result is not None:
        notifications.show_info(texts.notice(Path(name).stem, result))
    if lost_text := lost_on_save(arguments):
        notifications.show_warning(f"{name}: {lost_text}")


def _check_writable(target: Path) -> None:
    """Raise OSError for a file that could not be written, before a minute is spent on compressing for it."""
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent}")
    if target.is_dir():
        raise IsADirectoryError("it is a folder")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"the folder {target.parent} is read-only")


def _is_mask(data: Any, arguments: Mapping[str, Any]) -> bool:
    """Tell whether the values of a layer are true or false."""
    return bool(np.dtype(finest_data(data, arguments).dtype) == np.dtype(bool))


def _is_bounded(arguments: Mapping[str, Any]) -> bool:
    """Tell whether a layer came from a file with a largest error."""
    volume = (arguments.get("metadata") or {}).get(VOLUME)
    return isinstance(volume, TincVolume) and volume.error_bound is not None


def _is_channel(volume: TincVolume) -> bool:
    """Tell whether a volume is shown by a layer for each channel, each with its own look."""
    return "c" in volume.axis_labels[:-3] and not volume.labels


def _compress(data: Any, arguments: Mapping[str, Any], labels: bool, stem: str) -> Result:
    """Compress with the options from Preferences, in this thread.

    napari's activity dialog shows a bar and a Cancel button.
    """
    preferences, control = read_preferences(), Control()
    name = str(arguments.get("name", "image"))
    volumes_of(data, arguments)  # Raises ValueError if there are none.
    layer_geometry = named(compressing_geometry(data, arguments), arguments, stem)
    bound: float | None = None
    if labels:  # All volumes in one file, since they were painted on together.
        array, letters, _ = all_volumes(frozen_copy(data), arguments)
        volume, bound = storable_labels(array), 0.0
        layer_geometry = replace(layer_geometry, axis_labels=letters or layer_geometry.axis_labels)
    elif _is_mask(data, arguments) or _is_bounded(arguments):  # A second error would break the promise of the first.
        bound = 0.0
    elif preferences.target == "Max error":
        bound = preferences.max_error
    if not labels:
        volume = single_volume(data, arguments)
    options = Options(
        ratio=preferences.ratio if bound is None else None, max_error=bound, preset=preferences.preset,
        device=preferences.device, labels=labels,
    )  # fmt: skip
    request = Request(name=name, data=volume, geometry=layer_geometry, options=options, isolate=preferences.isolate)
    options_text = (
        promise_of(bound) if bound is not None else f"ratio {preferences.ratio:g}, preset {preferences.preset}"
    )
    notifications.show_info(f"Compressing {name}: {options_text}. Progress and Cancel: activity, at the bottom right.")
    with activity_bar(name) as bar:
        for event in compress_layer(request, control, OVERVIEW_VOXELS):
            if isinstance(event, Result):
                return event
            if isinstance(event, Progress):
                advance(bar, event)
            if bar.is_canceled:
                control.cancel.set()
    raise JobError("cancelled")
