"""The choice of a compressed layer and its original, and work on both, which the docks Leaves and Compare share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from magicgui.widgets import ComboBox, Container, ProgressBar, PushButton
from napari.layers import Image, Labels
from napari.utils.notifications import show_error
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QSizePolicy

from ...decoding.volume import TincVolume
from ..forms import enable_unless, row
from ..jobs.worker import run_in_thread
from ..layers.compressed import compressed_image
from ..layers.origin import VOLUME, edited_message, finest_level
from ..leaves.overlays import leaf_view
from .modes import add_difference
from .original import Measurement, describe_measurement, difference, likely_original, measure, possible_originals
from .work import Work

T = TypeVar("T")
FULL = 100  # Value of the bar at the end.
SHARE_MS = 200  # Milliseconds between two looks at how far the work is.
BAR_HEIGHT = 14  # Pixels of the bar that shows that work is being done.
# Why two layers cannot be compared yet, as tooltips say it.
LABELS = "Labels are kept bit for bit: there is nothing to compare."
NO_VOLUME = "Open a .tinc file, or compress a layer, first."
NO_ORIGINAL = "Open the volume that it was made from first: an image of the same shape."
CHOOSE = "Choose the original."


class Pair:
    """Let the user choose a compressed layer and its original. The compressed one follows the active layer.

    Attributes
    ----------
    image, original : the lists of layers.
    busy : what is being done in a thread; "" for nothing.
    failure : why the last work was not done; "" if it was.
    signed, absolute : the buttons Difference and Absolute difference.
    progress : a bar and a Cancel button, shown while work is done.
    """

    def __init__(self, viewer: Any, on_change: Callable[[], None], on_busy: Callable[[], None]) -> None:
        self._viewer, self._on_change, self._on_busy = viewer, on_change, on_busy
        self.busy = self.failure = ""
        self._closed = False
        self._finish_work: Callable[..., None] | None = None  # Ends the work that is being done; None without any.
        self.image = ComboBox(choices=self._images, tooltip="A layer opened from a .tinc file, or made by Compress.")
        self.original = ComboBox(
            choices=self._originals, nullable=True, tooltip="The layer that was compressed, of the same shape."
        )
        for box in (self.image, self.original):
            box.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.signed = PushButton(text="Difference", tooltip="Compressed minus original, voxel by voxel.")
        self.absolute = PushButton(text="Absolute difference", tooltip="How far off each voxel is, without its sign.")
        self.signed.clicked.connect(lambda: self.subtract(False))
        self.absolute.clicked.connect(lambda: self.subtract(True))
        self._bar = ProgressBar(min=0, max=0)
        self._bar.native.setFixedHeight(BAR_HEIGHT)
        self._bar.native.setTextVisible(False)
        self._work: Work | None = None  # The work that is being done, if it tells how far it is.
        self._timer = QTimer(self._bar.native)
        self._timer.timeout.connect(self._show_share)
        self.cancel = PushButton(text="Cancel", tooltip="Stop the work. What has been computed is dropped.")
        self.cancel.clicked.connect(self._on_cancel)
        self.progress: Container = row(self._bar, self.cancel)
        self.progress.visible = False
        self.image.changed.connect(self._on_image)
        self.original.changed.connect(self._on_pair_changed)
        self._last_pair: tuple[Any, Any] | None = None

    def start(self) -> None:
        """Begin to follow the viewer. To be called when the dock is complete."""
        self._viewer.layers.selection.events.active.connect(self._on_active)
        self.image.reset_choices()
        self._on_active()
        self._on_image()

    def reset_choices(self) -> None:
        """List the layers anew, after some were added or removed."""
        count_before = len(self.original.choices)
        self.image.reset_choices()
        self.original.reset_choices()
        if len(self.original.choices) > count_before:
            self._choose_likely_original()
        self._on_pair_changed()

    def stop(self) -> None:
        """Disconnect from the viewer, so that nothing touches the closed dock again."""
        self._closed = True
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        if self._work is not None:
            self._work.cancel()

    @property
    def layers(self) -> tuple[Image, Image] | None:
        """Return original and compressed layer; None unless both are chosen and in the viewer."""
        original, image = self.original.value, self.image.value
        both_present = original in self._viewer.layers and image in self._viewer.layers
        return (original, image) if both_present else None

    @property
    def why_not_ready(self) -> str:
        """Return what has to be done before the two can be compared, or why they never can; "" if they can."""
        if self.busy:
            return f"Wait for this to end: {self.busy}"
        if self.image.value is None:
            return NO_VOLUME
        if isinstance(self.image.value, Labels):
            return LABELS
        if self.layers is None:
            return CHOOSE if any(choice is not None for choice in self.original.choices) else NO_ORIGINAL
        return ""

    def update_buttons(self, *others: PushButton) -> None:
        """Enable the buttons, and others that need both layers, if both are chosen. Tooltips say why not."""
        for button in (self.signed, self.absolute, *others):
            enable_unless(button, self.why_not_ready)

    def measure(
        self, on_result: Callable[[Image, Measurement], None],
        run: Callable[[TincVolume, Any], Measurement] | None = None, work: Work | None = None,
    ) -> None:  # fmt: skip
        """Measure the compressed layer against its original, and show the errors of its leaves wherever they are shown.

        The result is dropped if another layer is chosen meanwhile. ``run`` may measure more than
        :func:`~.original.measure`; ``work`` is as for :meth:`run`.
        """
        pair = self.layers

        def show_result(image: Image, measurement: Measurement) -> None:
            if pair is None or self.layers != pair:
                return
            if len(measurement.rows):
                leaf_view(self._viewer, image).show_measured(
                    measurement.rows, measurement.uncalibrated_rows, describe_measurement(measurement), pair[0]
                )
            on_result(image, measurement)

        self.run("Measuring ...", run or measure, show_result, work)

    def subtract(self, absolute: bool) -> None:
        """Add the difference as a layer."""
        self.run(
            "Subtracting ...",
            lambda volume, original: difference(original, volume),
            lambda image, measurement: add_difference(self._viewer, image, *measurement, absolute),
        )

    def run(
        self, text: str, run: Callable[[TincVolume, Any], T], on_result: Callable[[Image, T], Any],
        work: Work | None = None,
    ) -> None:  # fmt: skip
        """Do work on the volume and its original in a thread, and call ``on_result`` with the layer and the result.

        ``work`` is where ``run`` reports how far it is, and looks whether it was cancelled; None if it does neither.
        The result is dropped if the work was cancelled, or if the layer was removed or shows another volume by then.
        """
        if self.layers is None or self.busy:
            return
        original, image = self.layers
        volume = image.metadata[VOLUME]
        if reason := edited_message(image):
            show_error(reason)
            return

        def finish(action: Callable[[], Any], failure: str = "") -> None:
            if self._closed or self._finish_work is not finish:
                return
            self._set_busy("", failure)
            try:
                action()
            finally:
                self._on_busy()
            if focused is not None and QApplication.focusWidget() is focused_after:  # The user has not moved on.
                focused.setFocus()

        def show_result(result: T) -> None:
            if image in self._viewer.layers and image.metadata[VOLUME] is volume:
                on_result(image, result)

        focused = QApplication.focusWidget()
        self._finish_work, self._work = finish, work
        self._set_busy(text)
        self._on_busy()
        if QApplication.focusWidget() is self.cancel.native:  # Else a key pressed twice would cancel the work.
            self.image.native.setFocus()
        focused_after = QApplication.focusWidget()  # Where Qt moves the keyboard as the button is disabled.
        run_in_thread(
            lambda: run(volume, finest_level(original)),
            lambda result: finish(lambda: show_result(result)),
            lambda error: finish(lambda: show_error(str(error)), str(error)),
        )

    def _on_cancel(self) -> None:
        """Stop waiting for the work. Its thread ends by itself, soon if the work looks whether it was cancelled."""
        if self._work is not None:
            self._work.cancel()
        if self._finish_work is not None:
            self._finish_work(lambda: None, "Cancelled.")

    def _set_busy(self, text: str, failure: str = "") -> None:
        """Show or hide the progress bar. An empty ``text`` says that the work has ended."""
        self.busy, self.failure = text, failure
        self.progress.visible = bool(text)
        self._bar.max = 0 if self._work is None else FULL
        self._show_share()
        if not text:
            self._finish_work = self._work = None
            self._timer.stop()
        elif self._work is not None:
            self._timer.start(SHARE_MS)

    def _show_share(self) -> None:
        """Show how much of the work is done, if it tells."""
        if self._work is not None:
            self._bar.value = round(FULL * self._work.share)

    def _images(self, _: Any = None) -> list[Image | Labels]:
        """Return the compressed layers."""
        return [layer for layer in self._viewer.layers if compressed_image(self._viewer, layer) is layer]

    def _originals(self, _: Any = None) -> list[Image]:
        """Return the layers that may be the original of the chosen one."""
        image = self.image.value
        return [] if image is None else possible_originals(self._viewer.layers, image)

    def _on_active(self) -> None:
        """Choose the active layer, or the one that it is an overlay of."""
        image = compressed_image(self._viewer, self._viewer.layers.selection.active)
        if image is not None and image in self.image.choices:
            self.image.value = image

    def _on_image(self) -> None:
        """Choose the original of another volume. The list also emits this when it was only filled anew."""
        if self._last_pair is not None and self.image.value is self._last_pair[0]:
            self.original.reset_choices()
            return
        with self.original.changed.blocked():
            self.original.value = None
            self.original.reset_choices()
        self._choose_likely_original()
        self._on_pair_changed()

    def _choose_likely_original(self) -> None:
        """Choose the original if its name, or the layer that the volume was made from, says which it is."""
        if self.original.value is None and self.image.value is not None:
            self.original.value = likely_original(self._viewer.layers, self.image.value)

    def _on_pair_changed(self) -> None:
        """Call ``on_change`` if the pair has changed. The lists also emit this when they were only filled anew."""
        now = self.image.value, self.original.value
        if self._last_pair is None or now[0] is not self._last_pair[0] or now[1] is not self._last_pair[1]:
            self._last_pair = now
            self._on_change()
