"""The Compress dock, which compresses an image or labels layer."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Shapes
from napari.utils.notifications import show_error
from qtpy.QtCore import QTimer

from ...devices import find_devices
from ...events import Progress
from ...isolation.caller import find_devices_isolated
from ..forms import enable_unless, watch_closing
from ..jobs.background import DRAW_SECONDS, main_window, outcomes_of, queue_of
from ..jobs.job import JobError
from ..jobs.queue import LayerJob
from ..jobs.worker import run_in_thread
from ..layers.to_volumes import volumes_of
from ..preferences import read_preferences, save_preferences
from ..proxies import unproxied
from . import texts
from .axes_choice import AxesChoice
from .closing import ask_about_job, is_stoppable
from .form import LOSSLESS, MAX_ERROR, ONE_FILE, ONE_FILE_EACH, CompressForm, parse_max_error
from .layer_choice import LayerChoice, compressible_layers
from .plan import describe, holds_labels, layer_data, make_jobs
from .region_layers import region_layers
from .save_results import Outcome, SaveResults

PREVIEW_SECONDS = 15  # A preview is made this often while a job runs.
NO_JOB = "Nothing is being compressed."
CURVE_PEN = "#33bb99"  # The colour of the curve of the PSNR: visible in the dark and in the light theme.


class CompressWidget(CompressForm):
    """Compress an image or labels layer in the background, and add the result as a layer.

    One job runs at a time, others wait. A result is added above the layer that its job was started from; on top of all
    layers if that one was removed. Closing the dock asks whether the job goes on. Closing the viewer cancels it.
    """

    @unproxied
    def __init__(self, napari_viewer: Any) -> None:
        preferences = read_preferences()
        self._viewer: Any = None  # magicgui lists layers before the viewer is known.
        super().__init__(preferences, self._list_layers, self._list_regions)
        self._viewer = napari_viewer
        self.queue = queue_of(napari_viewer)
        self._target_before_labels: tuple[str, str] | None = None  # Target and max error to go back to after labels.
        self._listed_layer: Any = None  # The layer whose volumes are listed.
        self._memory_of_devices: dict[str, str] = {}
        self._shown_at = 0.0  # When progress was shown last.
        self._closed = False
        self._device_problem = ""
        self._preferred_device = preferences.device
        self._outcomes = outcomes_of(napari_viewer)
        self._axes = AxesChoice(self.axes, self._on_axes)
        self._saving = SaveResults(self.root_native_widget, self._append_status)
        self._timer = QTimer(self.root_native_widget)
        self._timer.timeout.connect(self._request_preview)
        watch_closing(self.root_native_widget, self._on_closed, self._abandon)
        self.choice = LayerChoice(napari_viewer, self.image, self.queue)
        self.reset_choices()
        self._connect()
        self._on_target()
        self._on_image()
        if self.queue.running:  # The job was started before the dock was closed.
            self._on_started(self.queue.running)
        find = find_devices_isolated if self.isolate.value else find_devices
        run_in_thread(find, self._on_devices, self._on_no_devices)

    def _connect(self) -> None:
        """Connect controls and queue to what they do."""
        self.image.changed.connect(self._on_image)
        self.target.changed.connect(self._on_target)
        self.method.changed.connect(self._on_target)
        self.device.changed.connect(self._on_device)
        self.widths.changed.connect(self._on_target)
        self.preview.changed.connect(self._on_preview)
        for choice in (
            self.volumes, self.axes, self.ratio, self.size, self.psnr, self.max_error, self.preset, self.levels,
            self.weights, self.log, self.exact, self.exact_max_error, self.importance, self.weight,
        ):  # fmt: skip
            choice.changed.connect(self._describe)
        self.max_error.native.editingFinished.connect(self.tidy_max_error)
        self.queue.started.connect(self._on_started)
        self.queue.progressed.connect(self._on_progress)
        self.queue.ended.connect(self._on_ended)
        self.compress.clicked.connect(self.start)
        self.stop.clicked.connect(self._stop)
        self.cancel.clicked.connect(self._cancel)
        self.save.clicked.connect(self._save)

    def reset_choices(self, *_: Any) -> None:
        """List the layers anew. napari calls this when layers come and go."""
        self.choice.refresh()
        for box in (self.exact, self.importance):
            box.reset_choices()
        self.show_regions(any_layer=len(self.exact.choices) > 1)

    def start(self) -> None:
        """Compress the chosen layer after those that wait already, or show why it cannot be compressed."""
        layer = self.image.value
        if layer is None:
            self._refuse("Open a 3D image first.")
            return
        try:
            jobs = make_jobs(self, layer, self._axes.axes_of(self.image.value))
        except (ValueError, TypeError) as error:
            self._refuse(str(error))
            return
        self._remember_choices()
        self._outcomes.pop(layer, None)
        self.queue.add(jobs)
        self._show_state()

    def _remember_choices(self) -> None:
        """Save what is chosen as preferences, for the next session."""
        target, bound = self._target_before_labels or (self.target.value, self.max_error.value)
        try:
            valid_error = {"max_error": parse_max_error(bound)}
        except ValueError:
            valid_error = {}  # The text is no number, but another target is chosen.
        save_preferences(
            target=target, ratio=self.ratio.value, size=self.size.value, psnr=self.psnr.value,
            preset=self.preset.value, isolate=self.isolate.value, **valid_error,
        )  # fmt: skip

    def _list_layers(self, _: Any = None) -> list[Image | Labels]:
        return [] if self._viewer is None else compressible_layers(self._viewer)

    def _list_regions(self, _: Any = None) -> list[Labels | Shapes]:
        return [] if self._viewer is None else region_layers(self._viewer)

    # What is shown before a job ---------------------------------------------------------------------------------------

    def _on_target(self) -> None:
        self.update_for_target(holds_labels(self.image.value))
        self._describe()

    def _on_image(self) -> None:
        """Show the choices that the chosen layer has. Labels and masks can only be lossless."""
        layer = self.image.value
        labels = holds_labels(layer)
        if labels and self._target_before_labels is None:
            self._target_before_labels = self.target.value, self.max_error.value
            self.target.value, self.max_error.value = MAX_ERROR, LOSSLESS
        elif not labels and self._target_before_labels is not None:
            self.target.value, self.max_error.value = self._target_before_labels
            self._target_before_labels = None
        self._list_volumes(layer)
        self._axes.list_choices(layer, keep_choice=layer is self._listed_layer)
        if self._listed_layer is not layer:
            self._follow_data(layer)
        self._on_target()

    def _list_volumes(self, layer: Image | Labels | None) -> None:
        """List the volumes of a layer, and keep the chosen one if the layer is still the same."""
        try:
            labels = [] if layer is None else [label for label, _ in volumes_of(*layer_data(layer))]
        except ValueError:
            labels = []
        choices, chosen = [ONE_FILE, ONE_FILE_EACH, *labels] if len(labels) > 1 else [ONE_FILE_EACH], self.volumes.value
        with self.volumes.changed.blocked():
            self.volumes.choices = []  # Cleared, or those that stay would come first.
            self.volumes.choices = choices
            if layer is self._listed_layer and chosen in choices:  # Only the list of layers was filled anew.
                self.volumes.value = chosen
        self._volumes_row.visible = len(labels) > 1

    def _on_axes(self) -> None:
        if not self._closed:
            self._describe()

    def _follow_data(self, layer: Any) -> None:
        """Describe a layer anew when its data is replaced."""
        if self._listed_layer is not None:
            self._listed_layer.events.data.disconnect(self._on_data)
        self._listed_layer = layer
        if layer is not None:
            layer.events.data.connect(self._on_data)

    def _on_data(self) -> None:
        if not self._closed:
            self.choice.refresh()
            self._on_image()

    def _describe(self) -> None:
        """Describe the job that would be started."""
        description = describe(self, self.image.value, self._axes.axes_of(self.image.value), self.queue.pace)
        self.plan_text.value, self.method_text.value = description.plan, description.method
        self.networks_text.value = description.networks
        self._axes_row.visible = self.volumes.value == ONE_FILE and self._axes.asks_user(self.image.value)
        self._show_state(description.reason)

    # What is shown of jobs --------------------------------------------------------------------------------------------

    def _outcome(self) -> Outcome | None:
        """Return how the last job of the chosen layer ended; None if that had another target."""
        layer = self.image.value
        outcome = None if layer is None else self._outcomes.get(layer)
        try:
            return outcome if outcome and outcome.target == self.target_options() else None
        except ValueError:
            return None  # The target is no number, so there is no result for it.

    def _show_state(self, reason: str | None = None) -> None:
        """Show which buttons can be used, and the last result of the chosen layer while no job runs.

        ``reason`` says why Compress cannot be used; "" if it can, None to leave it as it is.
        """
        running, outcome = self.queue.running, self._outcome()
        self._show_buttons(reason)
        self.save.visible = running is None and outcome is not None and bool(outcome.results)
        if running is None:
            self.status.value = outcome.text if outcome else self._device_problem
            self.bar.max, self.bar.value = 1, int(outcome is not None and bool(outcome.results))
            self._draw_curve(outcome.curve if outcome and outcome.results else [])

    def _show_buttons(self, reason: str | None = None) -> None:
        """Show which buttons can be used; tooltips say why not. See :meth:`_show_state` for ``reason``."""
        job = self.queue.running
        ending = "It is being cancelled." if job and job.control.cancel.is_set() else ""
        stop = NO_JOB if job is None else ending
        if job and not stop and not is_stoppable(job):
            stopping = job.control.stop.is_set()
            stop = "It is finishing already." if stopping else "A largest error is kept everywhere or not at all."
        cancel = NO_JOB if job is None else ending
        self.release_focus(*([self.stop] if stop else []), *([self.cancel] if cancel else []))
        enable_unless(self.stop, stop)
        enable_unless(self.cancel, cancel)
        if reason is not None:
            self.release_focus(*([self.compress] if reason else []))
            enable_unless(self.compress, reason)
        if job and self.compress.enabled:
            self.compress.native.setToolTip(f"{job.request.name} is being compressed; this starts after it.")

    def _on_started(self, job: LayerJob) -> None:
        """Show that a job has started."""
        self._shown_at = 0.0
        self._draw_curve([])
        self.bar.max, self.bar.value = 1, 0
        self.status.value = f"Compressing {job.request.name}: starting ..."
        self._timer.start(PREVIEW_SECONDS * 1000)
        self._show_state()
        self.native.ensureWidgetVisible(self.status.native)

    def _on_progress(self, job: LayerJob, event: Progress) -> None:
        """Show the progress of the running job, at most once in :data:`DRAW_SECONDS`."""
        packing = event.phase == "packing"
        now = time.monotonic()
        if now - self._shown_at < DRAW_SECONDS and not packing:
            return
        self._shown_at = now
        self.status.value = texts.progress(job, event, len(self.queue.waiting))
        assert job.remaining is not None  # It was started.
        self._draw_curve(job.curve, event.seconds + job.remaining.seconds_left)
        self.bar.max, self.bar.value = 100, round(100 * job.remaining.share_done)

    def _on_ended(self, job: LayerJob) -> None:
        self._timer.stop()
        self._describe()
        self.native.ensureWidgetVisible(self.save.native if job.result else self.status.native)

    def _draw_curve(self, curve: list[tuple[float, float]], end: float = np.nan) -> None:
        """Draw the PSNR over the seconds. ``end`` is the expected end of the job in seconds, for the axis."""
        if self._plot is None:
            return
        self._plot.setVisible(len(curve) > 1)
        if len(curve) > 1:
            self._plot.plot(*zip(*curve, strict=True), clear=True, pen=CURVE_PEN)
            last = curve[-1][0]
            self._plot.setXRange(0, max(last, end) if np.isfinite(end) else last, padding=0.02)

    def _append_status(self, text: str) -> None:
        """Show a text below the last result."""
        if not self._closed and (outcome := self._outcome()) and not self.queue.running:
            self.status.value = f"{outcome.text}\n\n{text}"

    # What the user does -----------------------------------------------------------------------------------------------

    def _request_preview(self) -> None:
        """Ask the job for a preview."""
        if self.preview.value:
            self.queue.request_preview()

    def _on_preview(self, shown: bool) -> None:
        self.queue.request_preview() if shown else self.queue.hide_preview()

    def _stop(self) -> None:
        self.queue.stop()
        self.status.value = "Stopping: finishing what has been learnt ..."
        self._show_buttons()

    def _cancel(self) -> None:
        self.queue.cancel()
        self.status.value = "Cancelling ..."
        self._show_buttons()

    def _save(self) -> None:
        if outcome := self._outcome():
            self._saving.ask(outcome.results)

    def _disconnect(self) -> None:
        """Disconnect from viewer and queue, so that nothing touches the closed dock again."""
        self._closed = True
        self._follow_data(None)
        self.choice.stop_following()
        for signal, slot in (
            (self.queue.started, self._on_started),
            (self.queue.progressed, self._on_progress),
            (self.queue.ended, self._on_ended),
        ):
            signal.disconnect(slot)

    def _on_closed(self) -> None:
        """Ask whether the job goes on. Without a window nobody can be asked, and the job is given up."""
        if self._closed:
            return
        self._disconnect()
        self._timer.stop()
        window = main_window(self._viewer)
        if window is None:
            self.queue.abandon()
        else:
            ask_about_job(self.queue, window)

    def _abandon(self) -> None:
        """Give all jobs up, as the viewer is closed."""
        if not self._closed:
            self._disconnect()
            self.queue.abandon(window_is_gone=main_window(self._viewer) is not None)

    def _on_devices(self, devices: dict[str, str]) -> None:
        """List the devices, and choose the one of the preferences if it is there."""
        if self._closed:
            return
        self._memory_of_devices = devices
        chosen = self.device.value
        self.device.choices = list(devices)
        if chosen == "auto" and self._preferred_device in devices:
            self.device.value = self._preferred_device
        self._on_device()

    def _on_device(self) -> None:
        self.memory_text.value = self._memory_of_devices.get(self.device.value, "")
        self._describe()

    def _on_no_devices(self, error: JobError) -> None:
        if not self._closed:
            self._device_problem = str(error)
            self._show_state()

    def _refuse(self, reason: str) -> None:
        """Show why nothing can be started."""
        self.status.value = reason
        show_error(reason)
