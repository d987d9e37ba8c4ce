"""The choice in the Compress dock what the axes before z, y, x are, if neither labels nor the file say it."""

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
    """Find out what the axes before z, y, x are: from the labels of a layer, from its file, or from the user."""

    def __init__(self, box: ComboBox, on_file_read: Callable[[], None]) -> None:
        """Offer the choice in ``box``. ``on_file_read`` is called when the axes in a file are known."""
        self._box, self._on_file_read = box, on_file_read
        self._axes_in_files: weakref.WeakKeyDictionary[Any, LeadingAxes] = weakref.WeakKeyDictionary()

    def list_choices(self, layer: Image | Labels | None, *, keep_choice: bool) -> None:
        """List what the axes of a layer may be, and read its file for them in a thread.

        ``keep_choice`` keeps what the user has chosen, if it is still listed.
        """
        count = _count_leading_axes(layer)
        known = count < 1 or bool(leading_letters(*layer_data(layer)))
        descriptions = [] if known or holds_labels(layer) else list(CHOICES.get(count, {}))
        if count > 0 and not holds_labels(layer) and layer not in self._axes_in_files and (path := file_path(layer)):
            shape = tuple(finest_level(layer).shape)
            self._axes_in_files[layer] = LeadingAxes()
            run_in_thread(
                lambda: axes_of_file(path, shape), lambda axes: self._on_axes_found(layer, axes), self._on_no_axes
            )  # fmt: skip
        chosen_before = self._box.value
        with self._box.changed.blocked():
            self._box.choices = []
            self._box.choices = descriptions or [""]
            if keep_choice and chosen_before in descriptions:
                self._box.value = chosen_before

    def axes_of(self, layer: Image | Labels | None) -> LeadingAxes:
        """Return the axes of a layer, and the names and colours of its channels, as far as they are known."""
        in_file = LeadingAxes() if layer is None else self._axes_in_files.get(layer, LeadingAxes())
        if in_file.letters or layer is None:
            return in_file
        return LeadingAxes(CHOICES.get(_count_leading_axes(layer), {}).get(self._box.value, ""))

    def asks_user(self, layer: Image | Labels | None) -> bool:
        """Tell whether only the user can say what the axes of a layer are."""
        return layer is not None and bool(self._box.value) and not self._axes_in_files.get(layer, LeadingAxes()).letters

    def _on_axes_found(self, layer: Any, axes: LeadingAxes) -> None:
        self._axes_in_files[layer] = axes
        self._on_file_read()

    def _on_no_axes(self, error: JobError) -> None:
        show_error(f"What the axes of this layer are could not be read from its file: {error}")


def _count_leading_axes(layer: Any) -> int:
    """Return how many axes a layer has before z, y, x; 0 for RGB images and without a layer."""
    return 0 if layer is None or getattr(layer, "rgb", False) else int(finest_level(layer).ndim) - 3
