"""Workers by themselves."""

from __future__ import annotations

from typing import Any

import pytest
from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QEvent

from napari_tinc.plugin.jobs.job import JobError, run_once
from napari_tinc.plugin.jobs.worker import JobWorker


def fail() -> None:
    raise ValueError("no")


@pytest.mark.parametrize("work", [lambda: 1, fail])
def test_a_worker_ends_quietly_where_napari_was_closed(qtbot: Any, work: Any) -> None:
    worker = JobWorker(run_once, work)
    worker.signals.deleteLater()
    QCoreApplication.sendPostedEvents(worker.signals, QEvent.Type.DeferredDelete.value)
    assert not isalive(worker.signals)
    worker.run()


def test_errors_are_told_while_napari_is_there(qtbot: Any) -> None:
    worker = JobWorker(run_once, fail)
    errors: list[JobError] = []
    worker.errored.connect(errors.append)
    worker.run()
    assert str(errors[0]) == "no"
