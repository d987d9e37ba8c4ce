"""The choice of a compressed layer and its original, and work on both: what the leaves and compare widgets share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from magicgui.widgets import ComboBox
from napari.layers import Image, Labels
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QApplication, QSizePolicy

from ..volume import TincVolume
from .comparison import add_difference
from .layers import VOLUME, edited, finest
from .leaf_view import compressed_image
from .originals import Measured, difference, measure, possible_originals
from .worker import start_task

T = TypeVar("T")


class Pair:
    """Two lists of layers, of which that of compressed ones follows the active layer; tells of every change.

    Attributes
    ----------
    busy : what is being done in a thread, "" for nothing; ``on_busy`` is called when it changes.
    failure : why the last of it was not done, or "".
    """

    def __init__(self, viewer: Any, on_change: Callable[[], None], on_busy: Callable[[], None]) -> None:
        self._viewer, self._on_change, self._on_busy = viewer, on_change, on_busy
        self.busy = self.failure = ""
        self._gone = False
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
        """The widget is gone: nothing of it may be touched again."""
        self._gone = True
        self._viewer.layers.selection.events.active.disconnect(self._on_active)

    @property
    def layers(self) -> tuple[Image, Image] | None:
        """Original and compressed, if both are chosen and in the viewer."""
        original, image = self.original.value, self.image.value
        found = original in self._viewer.layers and image in self._viewer.layers
        return (original, image) if found else None

    def measure(self, on_result: Callable[[Image, Measured], None]) -> None:
        """The compressed layer against its original, unless another of them is chosen meanwhile."""
        pair = self.layers
        self.work(
            "Measuring ...", measure, lambda image, found: on_result(image, found) if self.layers == pair else None
        )

    def subtract(self, absolute: bool) -> None:
        """Add a layer of the difference."""
        self.work(
            "Subtracting ...",
            lambda volume, original: difference(original, volume),
            lambda image, found: add_difference(self._viewer, image, *found, absolute),
        )

    def work(
        self, text: str, work: Callable[[TincVolume, Any], T], on_result: Callable[[Image, T], Any]
    ) -> None:  # fmt: skip
        """Do work on the volume and its original in a thread, and hand over the layer and what came of it.

        That is dropped if the layer is gone by then, or shows another volume.
        """
        if self.layers is None or self.busy:
            return
        original, image = self.layers
        volume = image.metadata[VOLUME]
        if reason := edited(image):
            show_error(reason)
            return

        def end(action: Callable[[], Any], failure: str = "") -> None:
            if self._gone:
                return
            self.busy, self.failure = "", failure
            try:
                action()
            finally:
                self._on_busy()
            if focused is not None and QApplication.focusWidget() is handed_on:  # nobody has gone elsewhere
                focused.setFocus()

        def land(found: T) -> None:
            if image in self._viewer.layers and image.metadata[VOLUME] is volume:
                on_result(image, found)

        self.busy, focused = text, QApplication.focusWidget()
        self._on_busy()
        handed_on = QApplication.focusWidget()  # Qt takes the keyboard from a button that is disabled
        start_task(
            lambda: work(volume, finest(original)),
            lambda found: end(lambda: land(found)),
            lambda error: end(lambda: show_error(str(error)), str(error)),
        )

    def _images(self, _: Any = None) -> list[Image | Labels]:
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
