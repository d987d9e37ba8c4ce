"""Compressions of a viewer's layers, one at a time; what they make lands beside the layers they were started from.

Works on a viewer and its layers; a ``ViewerModel`` without a window will do. No Qt: how a job is started is handed in.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from napari.layers import Image, Labels
from napari.utils.notifications import Notification, notification_manager, show_error
from psygnal import Signal

from ...control import Control
from ...errors import ChildError
from ...events import Preview, Progress
from ..layers.appearance import preview_layer
from ..layers.compressed import OVERLAY
from ..layers.origin import SOURCE, base_name, is_copy
from .job import JobError, Request, Result
from .remaining import Remaining


@dataclass(slots=True, eq=False)
class LayerJob:
    """A compression, waiting, under way or over.

    Attributes
    ----------
    source : the layer it was started from.
    look : what its copy takes over from that.
    expected : seconds, at a pace of 1; 0 where they are not known.
    click : number of the click that started it; one click can start several jobs.
    remaining : the time it takes; None before it is started.
    curve : (seconds, PSNR) so far.
    result, failure : at the end, one of them unless it was cancelled.
    layers : those that show the result.
    """

    request: Request
    source: Image | Labels
    look: dict[str, Any]
    expected_seconds: float
    click_number: int = 0
    control: Control = field(default_factory=Control)
    remaining: Remaining | None = None
    preview: Image | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)
    result: Result | None = None
    failure: str = ""
    layers: list[Image | Labels] = field(default_factory=list)


class Queue:
    """Jobs of one viewer. It outlives the dock: a job whose dock was closed goes on if the user wants that.

    Attributes
    ----------
    running : the job under way.
    waiting : those after it, in the order in which they were asked for.
    pace : seconds that the last job took / seconds expected.
    landing : whether layers are being added, which napari makes active though the user did not choose them.
    started, progressed, ended : emitted with the job, and with its progress; ``ended`` before the next is started.
    """

    started, progressed, ended = Signal(LayerJob), Signal(LayerJob, Progress), Signal(LayerJob)

    def __init__(self, viewer: Any, start: Callable[..., None]) -> None:
        """``start`` is :func:`~.worker.start_job` without its ``viewer`` and ``eager_voxels``."""
        self._viewer, self._start = weakref.ref(viewer), start
        self.running: LayerJob | None = None
        self.waiting: list[LayerJob] = []
        self.pace = 1.0
        self.adding_results = False

    @property
    def _layers(self) -> Any:
        """The layers of the viewer; none once that is gone."""
        viewer = self._viewer()
        return [] if viewer is None else viewer.layers

    def add(self, jobs: Iterable[LayerJob]) -> None:
        """Start these jobs after those that are there."""
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

    def cancel_all(self) -> None:
        """Give up what is under way and all that waits."""
        self.waiting.clear()
        self.cancel()

    def abandon(self, *, window_is_gone: bool = False) -> None:
        """Give up everything; nothing is emitted any more. Layers are not touched once their window is gone."""
        job, self.running = self.running, None
        self.waiting.clear()
        if job:
            job.control.cancel.set()
            if not window_is_gone:
                self._drop_preview(job)

    def _next(self) -> None:
        if self.running or not self.waiting:
            return
        job = self.running = self.waiting.pop(0)
        job.remaining = Remaining(self.pace * job.expected_seconds)
        self.started.emit(job)
        self._start(
            job.request, job.control,
            on_event=lambda event: self._on_event(job, event),
            on_error=lambda error: self._on_error(job, error),
            on_end=lambda: self._on_end(job),
        )  # fmt: skip

    def _on_event(self, job: LayerJob, event: Progress | Preview | Result) -> None:
        if job is not self.running or job.control.cancel.is_set():
            return
        if isinstance(event, Preview):
            self._show_preview(job, event)
        elif isinstance(event, Result):
            self._drop_preview(job)
            self._add_result(job, event)
            job.result = event
            if job.expected_seconds and not job.control.stop.is_set():
                self.pace = event.seconds / job.expected_seconds
        else:
            assert job.remaining is not None  # it was started
            job.remaining.update(event)
            if math.isfinite(event.psnr):  # blocks say nothing before the first is done
                job.curve.append((event.seconds, event.psnr))
            self.progressed.emit(job, event)

    def _on_error(self, job: LayerJob, error: JobError) -> None:
        job.failure = f"Failed: {error}"
        cause = error.__cause__
        died = isinstance(cause, ChildError) and not hasattr(cause, "__notes__")
        if died or isinstance(cause, ValueError | TypeError):  # the user's to mend: a traceback would not help
            show_error(str(error))
        else:
            notification_manager.dispatch(Notification.from_exception(error))

    def _on_end(self, job: LayerJob) -> None:
        self._drop_preview(job)
        if job is self.running:
            self.running = None
            self.ended.emit(job)
            self._next()

    def _add_result(self, job: LayerJob, result: Result) -> None:
        """Add the result above its original and older copies of it, which it hides; on top if the original is gone."""
        layers = self._layers
        make = Labels if job.request.options.labels else Image  # of a mask that was an image, an image
        for data, arguments in result.layers:
            metadata = {**arguments.get("metadata", {}), SOURCE: weakref.ref(job.source)}
            layer = make(data, multiscale=isinstance(data, list), **arguments | {"metadata": metadata} | job.look)
            job.layers.append(layer)
        at = self._index_above_copies(job)
        bases = {base_name(layer.name) for layer in job.layers}
        for layer in layers:
            if is_copy(layer, job.source) and base_name(layer.name) in bases:  # and not the copy of another channel
                layer.visible = False
        self.adding_results = True
        try:
            for layer in reversed(job.layers):
                layers.insert(at, layer)
        finally:
            self.adding_results = False

    def _index_above_copies(self, job: LayerJob) -> int:
        """Return where a layer lies above the original of a job and all copies of it; on top if that is gone."""
        layers = self._layers
        if job.source not in layers:
            return len(layers)
        return 1 + max(i for i, layer in enumerate(layers) if layer is job.source or is_copy(layer, job.source))

    def _show_preview(self, job: LayerJob, preview: Preview) -> None:
        layers = self._layers
        if job.preview is not None and job.preview in layers:
            job.preview.data = preview.values
        elif job.preview is None and job.source in layers:
            job.preview = preview_layer(f"{job.request.name} preview", job.look, preview)
            job.preview.metadata = {OVERLAY: weakref.ref(job.source)}
            selected = set(layers.selection)
            layers.insert(self._index_above_copies(job), job.preview)
            layers.selection = selected

    def _drop_preview(self, job: LayerJob) -> None:
        if job.preview is not None and job.preview in self._layers:
            self._layers.remove(job.preview)

    def hide_preview(self) -> None:
        """Take the preview of the job under way off the screen; the next look shows another."""
        if self.running:
            self._drop_preview(self.running)
            self.running.preview = None
