"""The Compare dock, which compares a compressed layer with its original."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import ComboBox, Container, FloatSlider, Label, PushButton, RadioButtons
from napari.layers import Image, Labels
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QSizePolicy

from ..forms import (
    enable_unless,
    help_button,
    labelled_row,
    make_plot,
    prepare_dock,
    row,
    show_focus,
    watch_closing,
    wrap_long_lines,
)
from ..layers.compressed import why_not_comparable
from ..layers.origin import edited_message, finest_level
from ..proxies import unproxied
from .detail import describe_detail, measure_detail, possible_regions
from .modes import Comparison, Mode
from .original import Measurement, describe_measurement
from .pair import Pair
from .plots import draw_correlation, draw_histogram
from .work import Work

BLINK_MS = 600  # Milliseconds that each of the two is shown while they blink.
HINT = "Contrast, colours and cameras are shared while two layers are compared."


class CompareWidget(Container):
    """Compare two layers side by side, blinking, under a curtain, as a difference, and in figures."""

    @unproxied
    def __init__(self, napari_viewer: Any) -> None:
        self._viewer = napari_viewer
        self._comparison: Comparison | None = None
        self._status_before_work = ""  # What the status shows again after some work.
        self._work_text = ""  # What it shows during the work.
        self._mode_text = ""  # What it shows about the current mode.
        self._followed: Any = None
        self.pair = Pair(self._viewer, self._on_pair, self._on_busy)
        self.mode = RadioButtons(choices=[str(mode) for mode in Mode])
        self.place = FloatSlider(value=0.5, min=0, max=1, step=0.01, tooltip="Where the curtain hangs.")
        self.signed, self.absolute = self.pair.signed, self.pair.absolute
        self.measure = PushButton(
            text="Measure", tooltip="PSNR, SSIM, largest error; how errors are distributed; which detail is kept."
        )
        self.regions = ComboBox(
            choices=self._possible_regions, nullable=True,
            tooltip="A labels layer of the same shape: Measure gives PSNR and SSIM of its labels, inside and outside.",
        )  # fmt: skip
        self.regions.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._last_regions: Any = None
        self.status = Label(value="")
        super().__init__(
            scrollable=True, labels=False,
            widgets=[
                row(labelled_row("Volume", self.pair.image), help_button("compare")),
                labelled_row("Original", self.pair.original),
                labelled_row("Regions", self.regions),
                self.mode, labelled_row("Curtain", self.place), row(self.measure, self.signed, self.absolute),
                self.pair.progress, self.status,
            ],
        )  # fmt: skip
        show_focus(self.root_native_widget)
        watch = prepare_dock(self.root_native_widget)
        watch.hidden.connect(self._stop_comparing)
        watch.visibility_changed.connect(self._on_visible)
        wrap_long_lines(self.status)
        self._plot = make_plot("error", "% of voxels")
        self._curve = make_plot("frequency", "correlation")
        layout = self.root_native_widget.widget().layout()
        if self._plot is not None:
            layout.addWidget(self._plot)
            layout.addWidget(self._curve)
        layout.addStretch()
        self._timer = QTimer(self.root_native_widget)
        self._timer.timeout.connect(self._on_blink)
        self.mode.changed.connect(self._on_mode)
        self.place.changed.connect(self._on_place)
        self.measure.clicked.connect(self._on_measure)
        self.regions.changed.connect(self._on_regions)
        self._viewer.layers.events.removed.connect(self._on_removed)
        self._viewer.layers.events.inserted.connect(self._on_inserted)
        watch_closing(self.root_native_widget, self._stop_comparing, self._on_destroyed)
        self.pair.start()

    @property
    def native(self) -> Any:
        """Return the scroll area; magicgui would give napari only what is inside of it."""
        return self.root_native_widget

    def reset_choices(self, *_: Any) -> None:
        """List the layers anew, when napari calls this. The modes stay, as filling them anew would choose the first."""
        self.pair.reset_choices()
        self.regions.reset_choices()

    def _possible_regions(self, _: Any = None) -> list[Labels]:
        """Return the layers whose labels may be regions of the chosen volume."""
        return possible_regions(self._viewer.layers, self.pair.image.value)

    def _on_regions(self) -> None:
        """Clear the figures, which are of other regions. The list also emits this when it was only filled anew."""
        if self.regions.value is not self._last_regions:
            self._last_regions = self.regions.value
            self._clear_figures()

    def _on_measure(self) -> None:
        """Measure in a thread: errors, correlation, and the chosen regions."""
        labels, work = self.regions.value, Work()
        values = None if labels is None else finest_level(labels)

        def show_result(_: Image, measurement: Measurement) -> None:
            if self.regions.value is labels:
                self._on_measured(measurement)

        self.pair.measure(show_result, lambda volume, original: measure_detail(volume, original, values, work), work)

    def _on_pair(self) -> None:
        """End the comparison of the pair before, and clear its figures."""
        self._stop_comparing()
        self.regions.reset_choices()
        both_chosen = self.pair.layers is not None
        self._update_enabled()
        if self._followed is not None:
            self._followed.events.data.disconnect(self._clear_figures)
        self._followed = self.pair.image.value
        if self._followed is not None:
            self._followed.events.data.connect(self._clear_figures)
        self._clear_figures()
        if not both_chosen:
            why = why_not_comparable(self._viewer.layers.selection.active)
            if self.pair.image.value is not None:
                why = self.pair.why_not_ready
            self.status.value = why or "Open a .tinc file and the volume that it was made from, of the same shape."

    def _clear_figures(self) -> None:
        """Remove the figures, which are of another pair or another calibration."""
        if self._plot is not None:
            self._plot.hide()
            self._curve.hide()
        self.status.value = HINT

    def _on_mode(self, chosen: str) -> None:
        """Show the chosen mode, or refuse a layer whose data was changed."""
        pair, mode = self.pair.layers, Mode(chosen)
        self._timer.stop()
        self._show_mode_text("")
        if pair is None:
            return
        if reason := edited_message(pair[1]):
            self._stop_comparing()
            self.status.value = reason
            return
        if self._comparison is None:
            self._comparison = Comparison(self._viewer, *pair)
            self._comparison.moved.connect(self._on_dragged)
        self._comparison.show(mode)
        self._update_enabled()
        if mode is Mode.CURTAIN:
            self._show_mode_text(
                f"Left of the line: {pair[0].name}. Right of it: {pair[1].name}. Drag the line, or the slider."
            )
            self._comparison.move_curtain(self.place.value)
        elif mode is Mode.BLINK:
            self._timer.start(BLINK_MS)
            self._on_blink()

    def _on_place(self, share: float) -> None:
        if self._comparison is not None:
            self._comparison.move_curtain(share)

    def _on_dragged(self, share: float) -> None:
        with self.place.changed.blocked():
            self.place.value = share

    def _on_visible(self, is_visible: bool) -> None:
        """Pause blinking while the dock is behind another tab, where nothing could stop it. A still picture stays."""
        blinks = self._comparison is not None and self._comparison.mode is Mode.BLINK
        if blinks and is_visible:
            self._timer.start(BLINK_MS)
        else:
            self._timer.stop()

    def _on_blink(self) -> None:
        if self._comparison is not None and self._comparison.mode is Mode.BLINK:
            self._show_mode_text(f"Now: {self._comparison.blink()}")

    def _on_removed(self, event: Any) -> None:
        comparison = self._comparison
        if comparison is not None and event.value in (comparison.original, comparison.image, comparison.curtain):
            self._stop_comparing()

    def _on_inserted(self, event: Any) -> None:
        """End the comparison when a layer is added, which would hide one of the two or take a pane of the grid."""
        if self._comparison is not None and event.value is not self._comparison.curtain:
            self._stop_comparing()

    def _show_mode_text(self, text: str) -> None:
        """Show a status text for the current mode. An empty text restores the hint."""
        if text or self.status.value == self._mode_text:
            self.status.value = text or HINT
        if self._status_before_work == self._mode_text:  # The text after the work changes, too.
            self._status_before_work = text or HINT
        self._mode_text = text

    def _stop_comparing(self) -> None:
        """Restore the viewer, and choose no mode."""
        self._timer.stop()
        self._show_mode_text("")
        comparison, self._comparison = self._comparison, None
        if comparison is not None:
            comparison.restore()
        with self.mode.changed.blocked():
            self.mode.value = str(Mode.OFF)
        self._update_enabled()

    def _on_destroyed(self) -> None:
        """Let go of the viewer. The Qt widgets no longer exist, so nothing may touch them again."""
        self._comparison = None
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self.pair.stop()

    def _on_busy(self) -> None:
        """Show the work that is being done, and afterwards the status from before."""
        self._update_enabled()
        if self.pair.busy:
            self._status_before_work, self._work_text = self.status.value, self.pair.busy
            self.status.value = self._work_text
        elif self.status.value == self._work_text:
            self.status.value = self.pair.failure or self._status_before_work

    def _update_enabled(self) -> None:
        """Enable the controls that can be used now. The tooltips of the others say why not."""
        self.pair.update_buttons(self.measure)
        enable_unless(self.mode, "" if self.pair.layers is not None else self.pair.why_not_ready)
        curtain_shown = self._comparison is not None and self._comparison.mode is Mode.CURTAIN
        enable_unless(self.place, "" if curtain_shown else "Choose the curtain first.")

    def _on_measured(self, measurement: Measurement) -> None:
        """Show figures, histogram and curve of a measurement."""
        self.status.value = "\n".join(filter(None, (describe_measurement(measurement), describe_detail(measurement))))
        if self._plot is not None:
            draw_histogram(self._plot, measurement)
            draw_correlation(self._curve, measurement)
