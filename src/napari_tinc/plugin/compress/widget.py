"""The dock widget that compresses an image or labels layer."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error
from qtpy.QtCore import QTimer

from ...devices import find_devices
from ...events import Progress
from ...isolation.caller import find_devices_isolated
from ..door import unproxied
from ..forms import allow, watch_end
from ..jobs.background import DRAW_SECONDS, main_window, outcomes_of, queue_of
from ..jobs.job import JobError
from ..jobs.queue import LayerJob
from ..jobs.worker import start_task
from ..layers.to_volumes import volumes_of
from ..preferences import read_preferences, remember
from . import texts
from .axes_choice import AxesChoice
from .closing import ask_about_job, is_stoppable
from .form import ALL, LOSSLESS, MAX_ERROR, TOGETHER, CompressForm, parse_bound
from .layer_choice import LayerChoice, compressible_layers
from .plan import describe, holds_labels, layer_data, make_jobs
from .save_results import Outcome, SaveResults

LOOK_SECONDS = 15  # Between two previews.
IDLE = "Nothing is being compressed."
CURVE_PEN = "#33bb99"


class CompressWidget(CompressForm):
    """Compress an image or labels layer in the background and add the result beside it.

    One job at a time, others wait. A result lands above the layer its job was started from, whatever is selected by
    then; if that layer is gone it is added on top. Closing the dock asks what becomes of its job; closing the viewer
    cancels it.
    """

    @unproxied
    def __init__(self, napari_viewer: Any) -> None:
        preferences = read_preferences()
        self._viewer: Any = None  # magicgui asks for layers before there is one
        super().__init__(preferences, self._images)
        self._viewer = napari_viewer
        self.queue = queue_of(napari_viewer)
        self._before_labels: tuple[str, str] | None = None  # target and max error, while labels choose their own
        self._asked: Any = None  # the layer whose volumes are listed
        self._memory: dict[str, str] = {}
        self._drawn = 0.0  # when progress was last shown
        self._gone = False
        self._device_problem = ""
        self._preferred_device = preferences.device
        self._outcomes = outcomes_of(napari_viewer)
        self._axes = AxesChoice(self.axes, self._on_axes)
        self._saving = SaveResults(self.root_native_widget, self._tell)
        self._timer = QTimer(self.root_native_widget)
        self._timer.timeout.connect(self._look)
        watch_end(self.root_native_widget, self._on_closed, self._abandon)
        self.choice = LayerChoice(napari_viewer, self.image, self.queue)
        self._connect()
        self._on_target()
        self._on_image()
        if self.queue.running:  # the dock was closed meanwhile
            self._on_started(self.queue.running)
        find = find_devices_isolated if self.isolate.value else find_devices
        start_task(find, self._on_devices, self._on_no_devices)

    def _connect(self) -> None:
        self.image.changed.connect(self._on_image)
        self.target.changed.connect(self._on_target)
        self.method.changed.connect(self._on_target)
        self.device.changed.connect(self._on_device)
        self.widths.changed.connect(self._on_target)
        self.preview.changed.connect(self._on_preview)
        for choice in (
            self.part, self.axes, self.ratio, self.size, self.psnr, self.max_error, self.preset, self.levels,
            self.weights, self.log,
        ):  # fmt: skip
            choice.changed.connect(self._describe)
        self.max_error.native.editingFinished.connect(self.tidy_bound)
        self.queue.started.connect(self._on_started)
        self.queue.progressed.connect(self._on_progress)
        self.queue.ended.connect(self._on_ended)
        self.compress.clicked.connect(self.start)
        self.stop.clicked.connect(self._stop)
        self.cancel.clicked.connect(self._cancel)
        self.save.clicked.connect(self._save)

    def reset_choices(self, *_: Any) -> None:
        """Called by napari when layers come and go. Of all lists only that of layers is another then."""
        self.choice.refresh()

    def start(self) -> None:
        """Compress the chosen layer, after those that were chosen before; says why if that cannot be."""
        layer = self.image.value
        if layer is None:
            self._refuse("Open a 3D image first.")
            return
        try:
            jobs = make_jobs(self, layer, self._axes.told(self.image.value))
        except (ValueError, TypeError) as error:
            self._refuse(str(error))
            return
        self._remember()
        self._outcomes.pop(layer, None)
        self.queue.add(jobs)
        self._show_state()

    def _remember(self) -> None:
        target, bound = self._before_labels or (self.target.value, self.max_error.value)
        try:
            kept = {"max_error": parse_bound(bound)}
        except ValueError:
            kept = {}  # what is typed is no number, and not asked for now
        remember(
            target=target, ratio=self.ratio.value, size=self.size.value, psnr=self.psnr.value,
            preset=self.preset.value, isolate=self.isolate.value, **kept,
        )  # fmt: skip

    def _images(self, _: Any = None) -> list[Image | Labels]:
        return [] if self._viewer is None else compressible_layers(self._viewer)

    # What is shown before a job ---------------------------------------------------------------------------------------

    def _on_target(self) -> None:
        self.show_target(holds_labels(self.image.value))
        self._describe()

    def _on_image(self) -> None:
        """Ask which of several volumes is meant. Labels are kept exactly: nothing else is to be chosen."""
        layer = self.image.value
        labels = holds_labels(layer)
        if labels and self._before_labels is None:
            self._before_labels = self.target.value, self.max_error.value
            self.target.value, self.max_error.value = MAX_ERROR, LOSSLESS
        elif not labels and self._before_labels is not None:
            self.target.value, self.max_error.value = self._before_labels
            self._before_labels = None
        self._list_volumes(layer)
        self._axes.list_for(layer, again=layer is self._asked)
        if self._asked is not layer:
            self._watch(layer)
        self._on_target()

    def _list_volumes(self, layer: Image | Labels | None) -> None:
        try:
            labels = [] if layer is None else [label for label, _ in volumes_of(*layer_data(layer))]
        except ValueError:
            labels = []
        choices, chosen = [TOGETHER, ALL, *labels] if len(labels) > 1 else [ALL], self.part.value
        with self.part.changed.blocked():
            self.part.choices = []  # or those that stay would come first
            self.part.choices = choices
            if layer is self._asked and chosen in choices:  # the list of layers was only filled anew
                self.part.value = chosen
        self._part_row.visible = len(labels) > 1

    def _on_axes(self) -> None:
        if not self._gone:
            self._describe()

    def _watch(self, layer: Any) -> None:
        """Describe a layer anew when its data is replaced."""
        if self._asked is not None:
            self._asked.events.data.disconnect(self._on_data)
        self._asked = layer
        if layer is not None:
            layer.events.data.connect(self._on_data)

    def _on_data(self) -> None:
        if not self._gone:
            self.choice.refresh()
            self._on_image()

    def _describe(self) -> None:
        told = describe(self, self.image.value, self._axes.told(self.image.value), self.queue.pace)
        self.sizes.value, self.how.value, self.networks.value = told.sizes, told.how, told.networks
        self.how.visible = bool(told.how)
        self._axes_row.visible = self.part.value == TOGETHER and self._axes.is_asked(self.image.value)
        self._show_state(told.reason)

    # What is shown of jobs --------------------------------------------------------------------------------------------

    def _outcome(self) -> Outcome | None:
        """Return how the last job of the chosen layer ended, if it was for the chosen target."""
        layer = self.image.value
        outcome = None if layer is None else self._outcomes.get(layer)
        try:
            return outcome if outcome and outcome.target == self.target_options() else None
        except ValueError:
            return None  # no number: nothing was made for it

    def _show_state(self, reason: str | None = None) -> None:
        """Show the buttons, and, while nothing runs, what is known of the chosen layer and target."""
        running, outcome = self.queue.running, self._outcome()
        self._show_buttons(reason)
        self.save.visible = running is None and outcome is not None and bool(outcome.results)
        if running is None:
            self.status.value = outcome.text if outcome else self._device_problem
            self.bar.max, self.bar.value = 1, int(outcome is not None and bool(outcome.results))
            self._draw(outcome.curve if outcome and outcome.results else [])

    def _show_buttons(self, reason: str | None = None) -> None:
        job = self.queue.running
        ending = "It is being cancelled." if job and job.control.cancel.is_set() else ""
        stop = IDLE if job is None else ending
        if job and not stop and not is_stoppable(job):
            stopping = job.control.stop.is_set()
            stop = "It is finishing already." if stopping else "A largest error is kept everywhere or not at all."
        cancel = IDLE if job is None else ending
        self.release_focus(*([self.stop] if stop else []), *([self.cancel] if cancel else []))
        allow(self.stop, stop)
        allow(self.cancel, cancel)
        if reason is not None:
            self.release_focus(*([self.compress] if reason else []))
            allow(self.compress, reason)
        if job and self.compress.enabled:
            self.compress.native.setToolTip(f"{job.request.name} is being compressed; this starts after it.")

    def _on_started(self, job: LayerJob) -> None:
        self._drawn = 0.0
        self._draw([])
        self.bar.max, self.bar.value = 1, 0
        self.status.value = f"Compressing {job.request.name}: starting ..."
        self._timer.start(LOOK_SECONDS * 1000)
        self._show_state()
        self.native.ensureWidgetVisible(self.status.native)

    def _on_progress(self, job: LayerJob, event: Progress) -> None:
        packing = event.phase == "packing"
        now = time.monotonic()
        if now - self._drawn < DRAW_SECONDS and not packing:
            return
        self._drawn = now
        self.status.value = texts.progress(job, event, len(self.queue.waiting))
        assert job.remaining is not None  # it was started
        self._draw(job.curve, event.seconds + job.remaining.left)
        self.bar.max, self.bar.value = 100, round(100 * job.remaining.share)

    def _on_ended(self, job: LayerJob) -> None:
        self._timer.stop()
        self._describe()
        self.native.ensureWidgetVisible(self.save.native if job.result else self.status.native)

    def _draw(self, curve: list[tuple[float, float]], end: float = np.nan) -> None:
        """Draw the PSNR over the seconds, up to the expected end of the job."""
        if self._plot is None:
            return
        self._plot.setVisible(len(curve) > 1)
        if len(curve) > 1:
            self._plot.plot(*zip(*curve, strict=True), clear=True, pen=CURVE_PEN)
            last = curve[-1][0]
            self._plot.setXRange(0, max(last, end) if np.isfinite(end) else last, padding=0.02)

    def _tell(self, text: str) -> None:
        if not self._gone and (outcome := self._outcome()) and not self.queue.running:
            self.status.value = f"{outcome.text}\n\n{text}"

    # What the user does -----------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Ask the job for a preview."""
        if self.preview.value:
            self.queue.look()

    def _on_preview(self, shown: bool) -> None:
        self.queue.look() if shown else self.queue.hide_preview()

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

    def _leave(self) -> None:
        """The widget is gone: touch nothing of it again."""
        self._gone = True
        self._watch(None)
        self.choice.close()
        for signal, slot in (
            (self.queue.started, self._on_started),
            (self.queue.progressed, self._on_progress),
            (self.queue.ended, self._on_ended),
        ):
            signal.disconnect(slot)

    def _on_closed(self) -> None:
        """Ask what becomes of the job; nobody can be asked, or would see it end, without a window."""
        if self._gone:
            return
        self._leave()
        self._timer.stop()
        window = main_window(self._viewer)
        if window is None:
            self.queue.abandon()
        else:
            ask_about_job(self.queue, window)

    def _abandon(self) -> None:
        """Give all jobs up; the viewer goes with the widget."""
        if not self._gone:
            self._leave()
            self.queue.abandon(window_is_gone=main_window(self._viewer) is not None)

    def _on_devices(self, found: dict[str, str]) -> None:
        if self._gone:
            return
        self._memory = found
        chosen = self.device.value
        self.device.choices = list(found)
        if chosen == "auto" and self._preferred_device in found:
            self.device.value = self._preferred_device
        self._on_device()

    def _on_device(self) -> None:
        self.memory.value = self._memory.get(self.device.value, "")
        self._describe()

    def _on_no_devices(self, error: JobError) -> None:
        if not self._gone:
            self._device_problem = str(error)
            self._show_state()

    def _refuse(self, reason: str) -> None:
        self.status.value = reason
        show_error(reason)
