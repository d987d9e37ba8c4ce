"""Compressions of a viewer's layers, one at a time; what they make lands beside the layers they were started from.

Works on a viewer and its layers; a ``ViewerModel`` without a window will do. No Qt: how a job is started is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from napari.layers import Image, Labels
from napari.utils.notifications import Notification, notification_manager, show_error
from psygnal import Signal

from ..cancel import ChildError
from ..pipeline import Preview
from ..training import Control, Progress
from .jobs import JobError, Request, Result
from .looks import preview_layer


@dataclass(slots=True, eq=False)
class Job:
    """A compression, waiting, under way or over.

    Attributes
    ----------
    source : the layer it was started from.
    look : what its copy takes over from that.
    expected : seconds, at a pace of 1; 0 where they are not known.
    curve : (seconds, PSNR) so far.
    result, failure : at the end, one of them unless it was cancelled.
    """

    request: Request
    source: Image | Labels
    look: dict[str, Any]
    expected: float
    control: Control = field(default_factory=Control)
    preview: Image | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)
    result: Result | None = None
    failure: str = ""


class Queue:
    """Jobs of one viewer.

    Attributes
    ----------
    running : the job under way.
    waiting : those after it, in the order in which they were asked for.
    pace : seconds that the last job took / seconds expected.
    started, progressed, ended : emitted with the job, and with its progress; ``ended`` before the next is started.
    """

    started, progressed, ended = Signal(Job), Signal(Job, Progress), Signal(Job)

    def __init__(self, viewer: Any, start: Callable[..., None]) -> None:
        """``start`` is :func:`~.worker.start_job` without its ``viewer`` and ``eager_voxels``."""
        self._viewer, self._start = viewer, start
        self.running: Job | None = None
        self.waiting: list[Job] = []
        self.pace = 1.0

    def add(self, jobs: Iterable[Job]) -> None:
        self.waiting += jobs
        self._next()

    def look(self) -> None:
        """Ask for a preview."""
        if self.running:
            self.running.control.look.set()

    def stop(self) -> None:
        """Bring what is under way to a good end."""
        if self.running:
            self.running.control.stop.set()

    def cancel(self) -> None:
        """Give up what is under way."""
        if self.running:
            self.running.control.cancel.set()

    def abandon(self) -> None:
        """Give up everything; nothing is emitted any more."""
        job, self.running = self.running, None
        self.waiting.clear()
        if job:
            job.control.cancel.set()
            self._drop_preview(job)

    def _next(self) -> None:
        if self.running or not self.waiting:
            return
        job = self.running = self.waiting.pop(0)
        self.started.emit(job)
        self._start(
            job.request, job.control,
            on_event=lambda event: self._on_event(job, event),
            on_error=lambda error: self._on_error(job, error),
            on_end=lambda: self._on_end(job),
        )  # fmt: skip

    def _on_event(self, job: Job, event: Progress | Preview | Result) -> None:
        if job is not self.running or job.control.cancel.is_set():
            return
        if isinstance(event, Preview):
            self._show_preview(job, event)
        elif isinstance(event, Result):
            self._drop_preview(job)
            self._land(job, event)
            job.result = event
            if job.expected and not job.control.stop.is_set():
                self.pace = event.seconds / job.expected
        else:
            if math.isfinite(event.psnr):  # blocks say nothing before the first is done
                job.curve.append((event.seconds, event.psnr))
            self.progressed.emit(job, event)

    def _on_error(self, job: Job, error: JobError) -> None:
        job.failure = f"Failed: {error}"
        cause = error.__cause__
        died = isinstance(cause, ChildError) and not hasattr(cause, "__notes__")
        if died or isinstance(cause, ValueError | TypeError):  # the user's to mend: a traceback would not help
            show_error(str(error))
        else:
            notification_manager.dispatch(Notification.from_exception(error))

    def _on_end(self, job: Job) -> None:
        self._drop_preview(job)
        if job is self.running:
            self.running = None
            self.ended.emit(job)
            self._next()

    def _land(self, job: Job, result: Result) -> None:
        """Add the result above its original, or on top if that is gone."""
        layers = self._viewer.layers
        at = layers.index(job.source) + 1 if job.source in layers else len(layers)
        for data, arguments in reversed(result.layers):
            make = Labels if job.request.labels else Image  # of a mask that was an image, an image
            layers.insert(at, make(data, multiscale=isinstance(data, list), **arguments | job.look))

    def _show_preview(self, job: Job, preview: Preview) -> None:
        layers = self._viewer.layers
        if job.preview is not None and job.preview in layers:
            job.preview.data = preview.values
        elif job.preview is None and job.source in layers:
            job.preview = preview_layer(f"{job.request.name} preview", job.look, preview)
            selected = set(layers.selection)
            layers.insert(layers.index(job.source) + 1, job.preview)
            layers.selection = selected

    def _drop_preview(self, job: Job) -> None:
        if job.preview is not None and job.preview in self._viewer.layers:
            self._viewer.layers.remove(job.preview)
