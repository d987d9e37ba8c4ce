"""The choice of a compressed layer and its original, which the leaves and compare widgets share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import ComboBox
from napari.layers import Image
from qtpy.QtWidgets import QSizePolicy

from .leaf_view import compressed_image
from .originals import possible_originals


class Pair:
    """Two lists of layers, of which that of compressed ones follows the active layer; tells of every change."""

    def __init__(self, viewer: Any, on_change: Callable[[], None]) -> None:
        self._viewer, self._on_change = viewer, on_change
        self.image = ComboBox(choices=self._images, tooltip="A layer opened from a .tinc file, or made by Compress.")
        self.original = ComboBox(
            choices=self._originals, nullable=True, tooltip="The layer that was compressed, of the same shape."
        )
        for box in (self.image, self.original):
            box.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.image.changed.connect(self._on_image)
        self.original.changed.connect(self._on_either)
        self._last: tuple[Any, Any] | None = None

    def start(self) -> None:
        """Begin to follow the viewer, once all of the widget is there."""
        self._viewer.layers.selection.events.active.connect(self._on_active)
        self.image.reset_choices()
        self._on_active()
        self._on_image()

    def reset_choices(self) -> None:
        """Layers have come or gone."""
        before = len(self.original.choices)
        self.image.reset_choices()
        self.original.reset_choices()
        if len(self.original.choices) > before:
            self._choose()
        self._on_either()

    def stop(self) -> None:
        """The widget is gone."""
        self._viewer.layers.selection.events.active.disconnect(self._on_active)

    @property
    def layers(self) -> tuple[Image, Image] | None:
        """Original and compressed, if both are chosen and in the viewer."""
        original, image = self.original.value, self.image.value
        found = original in self._viewer.layers and image in self._viewer.layers
        return (original, image) if found else None

    def _images(self, _: Any = None) -> list[Image]:
        return [layer for layer in self._viewer.layers if compressed_image(self._viewer, layer) is layer]

    def _originals(self, _: Any = None) -> list[Image]:
        image = self.image.value
        return [] if image is None else possible_originals(self._viewer.layers, image)

    def _on_active(self) -> None:
        image = compressed_image(self._viewer, self._viewer.layers.selection.active)
        if image is not None and image in self.image.choices:
            self.image.value = image

    def _on_image(self) -> None:
        self.original.reset_choices()
        self._choose()
        self._on_either()

    def _choose(self) -> None:
        if self.original.value is None:
            self.original.value = next((choice for choice in self.original.choices if choice is not None), None)

    def _on_either(self) -> None:
        """Lists also tell of a change where they were only filled anew."""
        now = self.image.value, self.original.value
        if self._last is None or now[0] is not self._last[0] or now[1] is not self._last[1]:
            self._last = now
            self._on_change()
