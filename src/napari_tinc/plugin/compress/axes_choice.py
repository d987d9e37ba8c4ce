"""The question of the Compress dock what the axes before z, y, x are, where neither labels nor the file say it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from magicgui.widgets import ComboBox
from napari.layers import Image, Labels
from napari.utils.notifications import show_error

from ..jobs.job import JobError
from ..jobs.worker import run_in_thread
from ..layers.leading_axes import CHOICES, LeadingAxes, axes_of_file, file_path
from ..layers.origin import finest_level
from ..layers.to_volumes import leading_letters
from .plan import holds_labels, layer_data


class AxesChoice:
    """What the axes before z, y, x are: told by the labels of a layer, by its file, or by the user."""

    def __init__(self, box: ComboBox, on_told: Callable[[], None]) -> None:
        """``on_told`` is called when a file has been looked into."""
        self._box, self._on_told = box, on_told
        self._files: weakref.WeakKeyDictionary[Any, LeadingAxes] = weakref.WeakKeyDictionary()

    def list_for(self, layer: Image | Labels | None, *, again: bool) -> None:
        """List what the axes of a layer may be, and look into its file; ``again`` keeps what the user has chosen."""
        count = _leading_axes(layer)
        named = count < 1 or bool(leading_letters(*layer_data(layer)))
        names = [] if named or holds_labels(layer) else list(CHOICES.get(count, {}))
        if count > 0 and not holds_labels(layer) and layer not in self._files and (path := file_path(layer)):
            shape = tuple(finest_level(layer).shape)
            self._files[layer] = LeadingAxes()
            run_in_thread(
                lambda: axes_of_file(path, shape), lambda axes: self._on_file(layer, axes), self._on_no_file
            )  # fmt: skip
        chosen = self._box.value
        with self._box.changed.blocked():
            self._box.choices = []
            self._box.choices = names or [""]
            if again and chosen in names:
                self._box.value = chosen

    def told(self, layer: Image | Labels | None) -> LeadingAxes:
        """Return what the axes of a layer are, and the names and colours of its channels."""
        file = LeadingAxes() if layer is None else self._files.get(layer, LeadingAxes())
        if file.letters or layer is None:
            return file
        return LeadingAxes(CHOICES.get(_leading_axes(layer), {}).get(self._box.value, ""))

    def is_asked(self, layer: Image | Labels | None) -> bool:
        """Tell whether the user has to say it."""
        return layer is not None and bool(self._box.value) and not self._files.get(layer, LeadingAxes()).letters

    def _on_file(self, layer: Any, axes: LeadingAxes) -> None:
        self._files[layer] = axes
        self._on_told()

    def _on_no_file(self, error: JobError) -> None:
        show_error(f"What the axes of this layer are could not be read from its file: {error}")


def _leading_axes(layer: Any) -> int:
    return 0 if layer is None or getattr(layer, "rgb", False) else int(finest_level(layer).ndim) - 3
