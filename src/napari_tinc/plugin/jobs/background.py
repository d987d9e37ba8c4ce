"""The queue of jobs of each viewer, and its progress in napari's status bar and notices.

Both outlive the Compress dock, which may be closed while a job goes on.
"""

from __future__ import annotations

import time
import weakref
from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtWidgets import QLabel

from ...control import Control
from ...events import Progress
from ..compress import texts
from ..compress.save_results import Outcome, Saveable
from ..preferences import read_preferences
from .job import Request
from .queue import LayerJob, Queue
from .worker import start_job

# Progress is shown this often. Without a GPU each update draws the whole window anew, which takes a core 25 ms. For the
# same reason there is no bar in napari's activity dialog: its animation doubled the time of a fit.
DRAW_SECONDS = 1.0
NAME_LENGTH = 32  # A layer's name of more characters is cut in the status bar.

_status_lines: weakref.WeakKeyDictionary[Any, StatusLine] = weakref.WeakKeyDictionary()


def queue_of(viewer: Any) -> Queue:
    """Return the queue of a viewer. There is one for each."""
    if viewer not in _status_lines:
        _status_lines[viewer] = StatusLine(viewer)
    return _status_lines[viewer].queue


def outcomes_of(viewer: Any) -> weakref.WeakKeyDictionary[Any, Outcome]:
    """Return how the last job of each layer of a viewer ended."""
    queue_of(viewer)
    return _status_lines[viewer].outcomes


def main_window(viewer: Any) -> Any:
    """Return the Qt window of a viewer; None if it has none, or it was closed."""
    return getattr(getattr(viewer, "window", None), "_qt_window", None)


class StatusLine:
    """Show the progress of a viewer's jobs in its status bar, and a notice at the end of each."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = weakref.ref(viewer)
        self.queue = Queue(viewer, self._start)
        self.outcomes: weakref.WeakKeyDictionary[Any, Outcome] = weakref.WeakKeyDictionary()
        self.label: QLabel | None = None
        self._shown_at = 0.0
        if (window := main_window(viewer)) is not None:
            self.label = QLabel()
            self.label.setObjectName("napari-tinc job")
            self.label.hide()
            window.statusBar().insertPermanentWidget(1, self.label)  # Left of the activity button.
            window.destroyed.connect(self._on_window_gone)
        self.queue.started.connect(self._on_started)
        self.queue.progressed.connect(self._on_progress)
        self.queue.ended.connect(self._on_ended)

    def _start(self, request: Request, control: Control, **callbacks: Any) -> None:
        start_job(self._viewer(), request, control, read_preferences().eager_megavoxels * 10**6, **callbacks)

    def _on_window_gone(self) -> None:
        self.label = None
        self.queue.abandon(window_is_gone=True)

    def _on_started(self, job: LayerJob) -> None:
        self._shown_at = 0.0
        self._show(job)

    def _on_progress(self, job: LayerJob, event: Progress) -> None:
        now = time.monotonic()
        if now - self._shown_at >= DRAW_SECONDS:
            self._shown_at = now
            self._show(job)

    def _on_ended(self, job: LayerJob) -> None:
        if self.label is not None:
            self.label.hide()
        self._record(job)
        if job.result:
            show_info(texts.notice(job.request.name, job.result))

    def _record(self, job: LayerJob) -> None:
        """Keep how a job ended, together with the other results of the same click."""
        text = texts.summary(job.result) if job.result else job.failure or "Cancelled."
        # The predictive coder trains nothing.
        if job.result and job.control.stop.is_set() and job.result.volume.method == "networks":
            text = f"Stopped early; a longer training would be better.\n{text}"
        outcome = Outcome(job.request.options.target, job.click_number, text, job.curve)
        earlier = self.outcomes.get(job.source)
        if earlier and earlier.click_number == job.click_number:
            outcome.results = earlier.results
        if job.result:
            layers = [weakref.ref(layer) for layer in job.layers]
            outcome.results.append(Saveable(job.request.name, job.result.volume, layers))
        for layer in (job.source, *job.layers):  # The result can still be saved where the source is gone.
            self.outcomes[layer] = outcome

    def _show(self, job: LayerJob) -> None:
        """Show how far a job is."""
        if self.label is not None:
            self.label.setText(texts.headline(job, NAME_LENGTH))
            self.label.show()
