"""Run compressions of a viewer's layers one at a time, and add each result above the layer that it was made from.

Works on a viewer and its layers; a ``ViewerModel`` without a window will do. No Qt: the function that starts a job is
an argument.
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
    """Hold a compression that waits, runs or is over.

    Attributes
    ----------
    source : the layer that the job was started from.
    appearance : arguments of the layer of the result, which it takes over from ``source``.
    expected_seconds : at a pace of 1; 0 if they are not known.
    click_number : of the click that started the job. One click can start several jobs.
    remaining : how long the job still takes; None before it is started.
    curve : (seconds, PSNR in dB) so far.
    result, failure : one of them is set at the end, unless the job was cancelled.
    layers : those that show the result.
    """

    request: Request
    source: Image | Labels
    appearance: dict[str, Any]
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
    """Run the jobs of one viewer. It outlives the dock, so that a job can go on when that is closed.

    Attributes
    ----------
    running : the running job; None if there is none.
    waiting : the jobs after it, in the order in which they were added.
    pace : time of the last job / time expected for it.
    adding_results : True while layers are added, which napari makes active though the user did not choose them.
    started, progressed, ended : emitted with the job, and with its progress. ``ended`` comes before the next start.
    """

    started, progressed, ended = Signal(LayerJob), Signal(LayerJob, Progress), Signal(LayerJob)

    def __init__(self, viewer: Any, start: Callable[..., None]) -> None:
        """Make an empty queue. ``start`` is :func:`~.worker.start_job` without its ``viewer`` and ``eager_voxels``."""
        self._viewer, self._start = weakref.ref(viewer), start
        self.running: LayerJob | None = None
        self.waiting: list[LayerJob] = []
        self.pace = 1.0
        self.adding_results = False

    @property
    def _layers(self) -> Any:
        """Return the layers of the viewer; an empty list once it is closed."""
        viewer = self._viewer()
        return [] if viewer is None else viewer.layers

    def add(self, jobs: Iterable[LayerJob]) -> None:
        """Append jobs, and start the first if none runs."""
        self.waiting += jobs
        self._next()

    def request_preview(self) -> None:
        """Ask the running job for a preview, which is shown as a layer."""
        if self.running:
            self.running.control.look.set()

    def stop(self) -> None:
        """End the running job early, with a result."""
        if self.running:
            self.running.control.stop.set()

    def cancel(self) -> None:
        """End the running job without a result."""
        if self.running:
            self.running.control.cancel.set()

    def cancel_all(self) -> None:
        """End the running job and all that wait, without a result."""
        self.waiting.clear()
        self.cancel()

    def abandon(self, *, window_is_gone: bool = False) -> None:
        """Cancel all jobs without emitting anything.

        ``window_is_gone`` leaves the layers alone, which cannot be changed any more.
        """
        job, self.running = self.running, None
        self.waiting.clear()
        if job:
            job.control.cancel.set()
            if not window_is_gone:
                self._drop_preview(job)

    def _next(self) -> None:
        """Start the next job unless one runs."""
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
        """Show a preview, add a result, or pass progress on."""
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
            if math.isfinite(event.psnr):  # There is no PSNR before the first block is done.
                job.curve.append((event.seconds, event.psnr))
            self.progressed.emit(job, event)

    def _on_error(self, job: LayerJob, error: JobError) -> None:
        """Show why a job failed: what the user can mend in one line, anything else with a traceback."""
        job.failure = f"Failed: {error}"
        cause = error.__cause__
        child_died = isinstance(cause, ChildError) and not hasattr(cause, "__notes__")
        if child_died or isinstance(cause, ValueError | TypeError):  # The user can mend it: no traceback.
            show_error(str(error))
        else:
            notification_manager.dispatch(Notification.from_exception(error))

    def _on_end(self, job: LayerJob) -> None:
        """Emit that a job has ended, and start the next."""
        self._drop_preview(job)
        if job is self.running:
            self.running = None
            self.ended.emit(job)
            self._next()

    def _add_result(self, job: LayerJob, result: Result) -> None:
        """Add the result above its original and older copies of that, which are hidden."""
        layers = self._layers
        layer_class = Labels if job.request.options.labels else Image  # A mask that was an image stays one.
        for data, arguments in result.layers:
            metadata = {**arguments.get("metadata", {}), SOURCE: weakref.ref(job.source)}
            layer = layer_class(
                data, multiscale=isinstance(data, list), **arguments | {"metadata": metadata} | job.appearance
            )
            job.layers.append(layer)
        index = self._index_above_copies(job)
        bases = {base_name(layer.name) for layer in job.layers}
        for layer in layers:
            if is_copy(layer, job.source) and base_name(layer.name) in bases:  # Not the copy of another channel.
                layer.visible = False
        self.adding_results = True
        try:
            for layer in reversed(job.layers):
                layers.insert(index, layer)
        finally:
            self.adding_results = False

    def _index_above_copies(self, job: LayerJob) -> int:
        """Return the index just above the original of a job and all copies of it; on top if it was removed."""
        layers = self._layers
        if job.source not in layers:
            return len(layers)
        return 1 + max(i for i, layer in enumerate(layers) if layer is job.source or is_copy(layer, job.source))

    def _show_preview(self, job: LayerJob, preview: Preview) -> None:
        """Add the layer of a preview above the original, or give it new values."""
        layers = self._layers
        if job.preview is not None and job.preview in layers:
            job.preview.data = preview.values
        elif job.preview is None and job.source in layers:
            job.preview = preview_layer(f"{job.request.name} preview", job.appearance, preview)
            job.preview.metadata = {OVERLAY: weakref.ref(job.source)}
            selected = set(layers.selection)
            layers.insert(self._index_above_copies(job), job.preview)
            layers.selection = selected

    def _drop_preview(self, job: LayerJob) -> None:
        """Remove the preview of a job, if it has one."""
        if job.preview is not None and job.preview in self._layers:
            self._layers.remove(job.preview)

    def hide_preview(self) -> None:
        """Remove the preview of the running job. The next request shows a new one."""
        if self.running:
            self._drop_preview(self.running)
            self.running.preview = None
