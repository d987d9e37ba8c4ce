"""What jobs of the Compress dock have made, and its Save... button, which writes that in a thread."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari.utils.history import update_save_history
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QFileDialog, QWidget

from ...decoding.volume import TincVolume
from ..dialogs import folder_dialog, save_dialog
from ..jobs.job import JobError
from ..jobs.worker import run_in_thread
from ..layers.file_names import file_name, free_path
from ..layers.geometry import geometry, with_geometry
from ..layers.lost_on_save import lost_on_save
from ..layers.origin import unmodified_volume
from . import texts


@dataclass(frozen=True, slots=True, eq=False)
class Saveable:
    """A result that can be saved.

    Attributes
    ----------
    name : that of the original, which becomes the name of the file.
    volume : as it was made.
    layers : weak references to the layers that show it: one, or one a channel.
    """

    name: str
    volume: TincVolume
    layers: Sequence[weakref.ref[Any]]

    def present(self) -> tuple[TincVolume, str]:
        """Return the volume with the geometry that its layers have now, and what of them a file does not keep.

        Raises
        ------
        ValueError
            If the data of a layer was changed: it would have to be compressed anew.
        """
        layers = [layer for reference in self.layers if (layer := reference()) is not None]
        if not layers:
            return self.volume, ""
        given = [layer.as_layer_data_tuple()[:2] for layer in layers]
        volumes = [unmodified_volume(data, arguments) for data, arguments in given]
        if None in volumes:
            changed = layers[volumes.index(None)].name
            raise ValueError(f"{changed} was changed since it was made. Save it with File > Save Selected Layers.")
        one = len(self.layers) == 1
        volume = volumes[0] if one and volumes[0] is not None else self.volume  # it may be calibrated by now
        arguments = given[0][1]
        return with_geometry(volume, geometry(arguments)), lost_on_save(arguments, volume, with_appearance=one)


@dataclass(slots=True, eq=False)
class Outcome:
    """How the last job of a layer ended; what the dock shows while that layer and that target are chosen.

    Attributes
    ----------
    target : what was to be met.
    click : number of the click that started it; one click can start several jobs.
    text : result, failure, or that it was cancelled.
    curve : (seconds, PSNR).
    results : what can be saved.
    """

    target: dict[str, Any]
    click_number: int
    text: str
    curve: list[tuple[float, float]]
    results: list[Saveable] = field(default_factory=list)


class SaveResults:
    """Asks where to save results, and saves them."""

    def __init__(self, parent: QWidget, tell: Callable[[str], None]) -> None:
        """``tell`` is called with a line for the dock's status."""
        self._parent, self._tell = parent, tell
        self.dialog: QFileDialog | None = None

    def ask(self, results: Sequence[Saveable]) -> None:
        """Ask for a file for one result, or for a folder for several."""
        if len(results) == 1:
            dialog = save_dialog(self._parent, results[0].name)
            dialog.fileSelected.connect(lambda path: self._start(results, [Path(path)]))
        else:
            dialog = folder_dialog(self._parent, len(results))
            dialog.fileSelected.connect(lambda path: self._start(results, _paths(Path(path), results)))
        self.dialog = dialog
        dialog.open()

    def _start(self, results: Sequence[Saveable], paths: Sequence[Path]) -> None:
        try:
            present = [result.present() for result in results]
        except ValueError as error:
            show_error(str(error))
            return
        update_save_history(str(paths[0]))
        self._tell(f"Saving {_named(paths)} ...")

        def work() -> str:
            lines = []
            for (volume, _), path in zip(present, paths, strict=True):
                volume.save(path)
                lines.append(f"{path.name}: {texts.saved_size(volume)}")
            return "Saved " + ", ".join(lines)

        def on_saved(text: str) -> None:
            self._tell(f"{text}.")
            show_info(f"{text}.")
            if lost := next((lost for _, lost in present if lost), ""):
                show_warning(lost)

        def on_error(error: JobError) -> None:
            self._tell(f"Not saved: {error}")
            show_error(f"{_named(paths)} was not saved: {error}")

        run_in_thread(work, on_saved, on_error)


def _paths(folder: Path, results: Sequence[Saveable]) -> list[Path]:
    paths: list[Path] = []
    for result in results:
        paths.append(free_path(folder, file_name(result.name), paths))
    return paths


def _named(paths: Sequence[Path]) -> str:
    return paths[0].name if len(paths) == 1 else f"{len(paths)} files"
