"""The question whether a job goes on when the Compress dock is closed."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox, QWidget

from ..jobs.queue import LayerJob, Queue
from . import texts

GO_ON = "Go on in the background"  # The job runs on, and its progress is in the status bar.
STOP = "Stop && keep"  # The job ends early with a result.
CANCEL = "Cancel the job"  # The job and those that wait end without a result.


def ask_about_job(queue: Queue, window: QWidget) -> QMessageBox | None:
    """Ask whether the running job goes on without its dock. It does so until there is an answer, and without one."""
    job = queue.running
    if job is None or job.control.cancel.is_set():
        return None
    box = QMessageBox(window)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.setWindowTitle("A compression is under way")
    box.setText(f"{texts.headline(job)}\nThe Compress dock is closed. Should this job go on?")
    box.setInformativeText(
        "If it goes on, the status bar shows its progress and the result appears as a layer. "
        "Open Compress again to stop it later."
    )
    go_on = box.addButton(GO_ON, QMessageBox.ButtonRole.AcceptRole)
    stop = box.addButton(STOP, QMessageBox.ButtonRole.ActionRole) if is_stoppable(job) else None
    cancel = box.addButton(CANCEL, QMessageBox.ButtonRole.DestructiveRole)
    box.setDefaultButton(go_on)
    box.setEscapeButton(go_on)

    def on_ended(ended: LayerJob) -> None:
        if ended is job:
            box.reject()  # The job is over, so there is nothing to ask.

    def on_finished() -> None:
        queue.ended.disconnect(on_ended)
        if job is not queue.running:
            return
        if stop is not None and box.clickedButton() is stop:
            queue.stop()
        elif box.clickedButton() is cancel:
            queue.cancel_all()

    queue.ended.connect(on_ended)
    box.finished.connect(on_finished)
    box.open()
    return box


def is_stoppable(job: LayerJob) -> bool:
    """Tell whether a job can end early with a result. With a largest error it cannot: each voxel has to be coded."""
    return job.request.options.max_error is None and not job.control.stop.is_set()
