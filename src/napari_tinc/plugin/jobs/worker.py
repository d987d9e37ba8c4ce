"""Run jobs in threads of napari's pool. Their events arrive as signals in the window's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from napari.qt.threading import GeneratorWorker
from napari.utils.task_status import Status
from qtpy.compat import isalive

from ...control import Control
from .job import JobError, Request, compress_layer, run_once

T = TypeVar("T")


class JobWorker(GeneratorWorker):
    """Run a job in a thread. napari can quit it at any moment, not only when the job yields its next event.

    It is made without napari's ``create_worker``, which would tie it to the current window instead of its own.
    """

    control: Control | None = None

    def quit(self) -> None:
        """Cancel the job."""
        if self.control:
            self.control.cancel.set()
        super().quit()

    def run(self) -> None:
        """Do the work and emit its signals.

        Unlike superqt's ``run``, this leaves the warning handler of the process alone. With two workers at a time,
        superqt would leave the handler of a deleted one behind. Nothing is emitted any more once napari was closed,
        which deletes the signals.
        """
        try:
            self._emit_result()
        except RuntimeError:
            if isalive(self.signals):
                raise

    def _emit_result(self) -> None:
        """Do the work, and emit its result or its error."""
        self.started.emit()
        self._running = True
        try:
            result = self.work()
            if isinstance(result, Exception):
                raise result
        except Exception as error:
            self.errored.emit(error)
        self._running = False
        self.finished.emit()
        self._finished.emit(self)


def start_job(
    viewer: Any, request: Request, control: Control, eager_voxels: int, *, on_event: Callable[[Any], None],
    on_error: Callable[[JobError], None], on_end: Callable[[], None],
) -> None:  # fmt: skip
    """Start to compress in a thread. ``on_end`` is called last, after a result, a failure or a cancel.

    While the job runs, the window of ``viewer`` asks before it is closed, and cancels the job then.
    """
    worker = JobWorker(compress_layer, request, control, eager_voxels)
    worker.control = control
    if window := getattr(viewer, "window", None):
        task = window._register_task_status(
            "TINC",
            Status.BUSY,
            f"{request.name} is still being compressed. Closing now throws that away.",
            cancel_callback=worker.quit,
        )
        worker.finished.connect(lambda: window._update_task_status(task, Status.COMPLETED))
    worker.yielded.connect(on_event)
    worker.errored.connect(on_error)
    worker.finished.connect(on_end)
    worker.start()


def run_in_thread(
    work: Callable[[], T], on_result: Callable[[T], None], on_error: Callable[[JobError], None]
) -> None:  # fmt: skip
    """Do a piece of work that takes seconds in a thread, and call ``on_result`` with what it returns."""
    worker = JobWorker(run_once, work)
    worker.yielded.connect(on_result)
    worker.errored.connect(on_error)
    worker.start()
