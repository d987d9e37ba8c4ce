"""The list of layers in the Compress dock. It follows the active layer, and greys out what cannot be compressed."""

from __future__ import annotations

import weakref
from typing import Any

from magicgui.widgets import ComboBox
from napari.layers import Image, Labels
from qtpy.QtCore import Qt

from ...encoding.sources import VolumeSource
from ..jobs.queue import Queue
from ..layers.appearance import is_mask
from ..layers.compressed import OVERLAY
from ..layers.origin import VOLUME, source_of
from ..layers.to_volumes import storable_labels, volumes_of


def compressible_layers(viewer: Any) -> list[Image | Labels]:
    """Return the image and labels layers, without overlays of others."""
    return [layer for layer in viewer.layers if isinstance(layer, Image | Labels) and OVERLAY not in layer.metadata]


def why_not_compressible(layer: Image | Labels) -> str:
    """Say why a layer cannot be compressed, whatever the target is; "" if it can."""
    try:
        arguments = {"name": layer.name, "rgb": getattr(layer, "rgb", False), "multiscale": layer.multiscale}
        volume = volumes_of(layer.data, arguments)[0][1]
        exact = isinstance(layer, Labels)
        VolumeSource.of(storable_labels(volume) if exact else volume, exact=exact or is_mask(layer))
    except (ValueError, TypeError) as error:
        return str(error)
    return ""


class LayerChoice:
    """Choose the layer that the dock is about.

    The choice follows the active layer of the viewer until the user picks another from the list. That stays chosen
    until it is removed, or until the user picks the active layer. In place of a compressed copy, the layer is chosen
    that the copy was made from. Other compressed layers are chosen only if there is nothing else.
    """

    def __init__(self, viewer: Any, box: ComboBox, queue: Queue) -> None:
        self._viewer, self._box, self._queue = weakref.ref(viewer), box, queue
        self._picked: weakref.ref[Any] | None = None  # What the user has picked from the list.
        self._shown_layer: weakref.ref[Any] | None = None
        box.native.activated.connect(self._on_picked)
        box.changed.connect(self._on_changed)
        viewer.layers.selection.events.active.connect(self.follow)
        self.refresh()

    def stop_following(self) -> None:
        """Disconnect from the viewer."""
        if (viewer := self._viewer()) is not None:
            viewer.layers.selection.events.active.disconnect(self.follow)

    def refresh(self) -> None:
        """List the layers anew. The chosen one stays chosen, even if its name or place has changed."""
        before, shown = self._box.value, self._shown_layer() if self._shown_layer else None
        with self._box.changed.blocked():
            self._box.reset_choices()
            if self._picked is not None and self._picked() not in self._box.choices:
                self._picked = None
            if shown is not None and shown in self._box.choices:
                self._box.value = shown
            else:
                self._prefer_original()
                self.follow()
        self._grey_out()
        if self._box.value is not before:
            self._box.changed.emit(self._box.value)

    def follow(self) -> None:
        """Choose the active layer, unless the user has picked another from the list."""
        viewer = self._viewer()
        if viewer is None or self._picked is not None or self._queue.adding_results:
            return
        layer: Any = viewer.layers.selection.active
        source = source_of(layer) if layer is not None else None
        if source is not None and source in viewer.layers:
            layer = source
        if layer is not None and layer in (self._originals() or self._box.choices):
            self._box.value = layer

    def _originals(self) -> list[Any]:
        """Return the listed layers that are not compressed."""
        listed: tuple[Any, ...] = self._box.choices
        return [layer for layer in listed if VOLUME not in layer.metadata]

    def _prefer_original(self) -> None:
        """Choose the first layer that is not compressed."""
        if originals := self._originals():
            self._box.value = originals[0]

    def _on_picked(self) -> None:
        """Remember what the user has picked, unless it is the active layer."""
        viewer, layer = self._viewer(), self._box.value
        picked = viewer is not None and layer is not None and layer is not viewer.layers.selection.active
        self._picked = weakref.ref(layer) if picked else None

    def _on_changed(self, layer: Any) -> None:
        self._shown_layer = None if layer is None else weakref.ref(layer)

    def _grey_out(self) -> None:
        """Grey out the layers that cannot be compressed. Their tooltips say why."""
        native = self._box.native
        for index in range(native.count()):
            item, reason = native.model().item(index), why_not_compressible(native.itemData(index))
            item.setEnabled(not reason)
            native.setItemData(index, reason or None, Qt.ItemDataRole.ToolTipRole)
