"""The results of the Compress dock, and its Save... button, which writes them in a thread."""

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
from ..layers.keeping import named
from ..layers.lost_on_save import lost_on_save
from ..layers.origin import unmodified_volume
from . import texts


@dataclass(frozen=True, slots=True, eq=False)
class Saveable:
    """Hold a result that can be saved.

    Attributes
    ----------
    name : of the original, which the file will have, too.
    volume : as it was compressed.
    layers : weak references to the layers that show it: one, or one for each channel.
    """

    name: str
    volume: TincVolume
    layers: Sequence[weakref.ref[Any]]

    def current_volume(self, stem: str = "") -> tuple[TincVolume, str]:
        """Return the volume with the geometry that its layers have now, and a text about what a file does not keep.

        ``stem`` is the name of the file, without suffix.

        Raises
        ------
        ValueError
            If the data of a layer was changed. It would have to be compressed again.
        """
        layers = [layer for reference in self.layers if (layer := reference()) is not None]
        if not layers:
            return self.volume, ""
        current_data = [layer.as_layer_data_tuple()[:2] for layer in layers]
        volumes = [unmodified_volume(data, arguments) for data, arguments in current_data]
        if None in volumes:
            changed = layers[volumes.index(None)].name
            raise ValueError(f"{changed} was changed since it was made. Save it with File > Save Selected Layers.")
        single = len(self.layers) == 1
        # The layer may have been calibrated since.
        volume = volumes[0] if single and volumes[0] is not None else self.volume
        arguments = current_data[0][1]
        wanted = named(geometry(arguments), arguments, stem)
        kept = with_geometry(volume, wanted, keeps_look=not single)
        return kept, lost_on_save(arguments, with_appearance=single)


@dataclass(slots=True, eq=False)
class Outcome:
    """Hold how the last job of a layer ended. The dock shows it while that layer and that target are chosen.

    Attributes
    ----------
    target : the target as an option of :func:`napari_tinc.fit`.
    click_number : of the click that started it. One click can start several jobs.
    text : describes the result, or the failure, or that the job was cancelled.
    curve : (seconds, PSNR in dB) over the training.
    results : those that can be saved.
    """

    target: dict[str, Any]
    click_number: int
    text: str
    curve: list[tuple[float, float]]
    results: list[Saveable] = field(default_factory=list)


class SaveResults:
    """Ask where to save results, and save them."""

    def __init__(self, parent: QWidget, show_status: Callable[[str], None]) -> None:
        """Open dialogs above ``parent``. ``show_status`` is called with a line for the dock's status."""
        self._parent, self._show_status = parent, show_status
        self.dialog: QFileDialog | None = None

    def ask(self, results: Sequence[Saveable]) -> None:
        """Ask for a file for one result, or for a folder for several."""
        if len(results) == 1:
            dialog = save_dialog(self._parent, results[0].name)
            dialog.fileSelected.connect(lambda path: self._start(results, [Path(path)]))
        else:
            dialog = folder_dialog(self._parent, len(results))
            dialog.fileSelected.connect(lambda path: self._start(results, _free_paths(Path(path), results)))
        self.dialog = dialog
        dialog.open()

    def _start(self, results: Sequence[Saveable], paths: Sequence[Path]) -> None:
        """Save results to paths in a thread, or show why one cannot be saved."""
        try:
            current = [result.current_volume(path.stem) for result, path in zip(results, paths, strict=True)]
        except ValueError as error:
            show_error(str(error))
            return
        update_save_history(str(paths[0]))
        self._show_status(f"Saving {_names(paths)} ...")

        def work() -> str:
            lines = []
            for (volume, _), path in zip(current, paths, strict=True):
                volume.save(path)
                lines.append(f"{path.name}: {texts.saved_size(volume)}")
            return "Saved " + ", ".join(lines)

        def on_saved(text: str) -> None:
            self._show_status(f"{text}.")
            show_info(f"{text}.")
            if lost := next((lost for _, lost in current if lost), ""):
                show_warning(lost)

        def on_error(error: JobError) -> None:
            self._show_status(f"Not saved: {error}")
            show_error(f"{_names(paths)} was not saved: {error}")

        run_in_thread(work, on_saved, on_error)


def _free_paths(folder: Path, results: Sequence[Saveable]) -> list[Path]:
    """Return a path for each result that nothing in the folder has yet."""
    paths: list[Path] = []
    for result in results:
        paths.append(free_path(folder, file_name(result.name), paths))
    return paths


def _names(paths: Sequence[Path]) -> str:
    """Return the name of a single file, or how many files there are."""
    return paths[0].name if len(paths) == 1 else f"{len(paths)} files"
