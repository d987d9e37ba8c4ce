"""The queue of compressions, on a viewer without a window and with jobs that a test drives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager

from napari_tinc.encoding.options import Options
from napari_tinc.errors import ChildError
from napari_tinc.events import Preview, Progress
from napari_tinc.plugin.jobs.job import JobError, Request, Result
from napari_tinc.plugin.jobs.queue import LayerJob, Queue
from napari_tinc.plugin.layers.appearance import appearance_of
from napari_tinc.plugin.layers.geometry import Geometry

VALUES = np.zeros((4, 4, 4), np.uint8)
PROGRESS = Progress("training", 1, 2, seconds=0.5, seconds_left=0.5, loss=1.0, psnr=10.0, nbytes=None)


class Driven:
    """A queue whose jobs do what a test says."""

    def __init__(self) -> None:
        self.viewer = ViewerModel()
        self.layer = self.viewer.add_image(VALUES, name="a")
        self.queue = Queue(self.viewer, self.start)
        self.jobs: list[SimpleNamespace] = []
        self.ended: list[LayerJob] = []
        self.queue.ended.connect(self.ended.append)

    def start(self, request: Request, control: Any, **callbacks: Any) -> None:
        self.jobs.append(SimpleNamespace(name=request.name, **callbacks))

    def add(self, *names: str) -> None:
        geometry = Geometry((1, 1, 1), None, "zyx")
        requests = [Request(name=name, data=VALUES, geometry=geometry, options=Options(ratio=8)) for name in names]
        self.queue.add(LayerJob(request, self.layer, appearance_of(self.layer), 2.0) for request in requests)

    @property
    def names(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers]


@pytest.fixture
def driven() -> Driven:
    return Driven()


def result(name: str) -> Result:
    return Result(None, None, 3.0, [(VALUES, {"name": name})])


def test_one_at_a_time_in_order_each_beside_its_layer(driven: Driven) -> None:
    driven.viewer.add_image(VALUES, name="top")
    driven.add("x", "y")
    assert [job.name for job in driven.jobs] == ["x"] and len(driven.queue.waiting) == 1
    driven.jobs[0].on_event(PROGRESS)
    driven.jobs[0].on_event(result("x (tinc)"))
    driven.jobs[0].on_end()
    assert [job.name for job in driven.jobs] == ["x", "y"] and driven.names == ["a", "x (tinc)", "top"]
    assert driven.ended[0].curve == [(0.5, 10.0)] and driven.queue.pace == 1.5
    driven.viewer.layers.remove(driven.layer)
    driven.jobs[1].on_event(result("y (tinc)"))
    driven.jobs[1].on_end()
    assert driven.names == ["x (tinc)", "top", "y (tinc)"] and driven.queue.running is None


def test_a_preview_is_replaced_and_goes(driven: Driven) -> None:
    driven.add("x")
    driven.jobs[0].on_event(Preview(VALUES[:2, :2, :2], 2))
    driven.jobs[0].on_event(Preview(VALUES[:2, :2, :2] + 1, 2))
    assert driven.names == ["a", "x preview"] and driven.viewer.layers["x preview"].data.min() == 1
    driven.viewer.layers.remove("x preview")  # the user does not want it: nor another
    driven.jobs[0].on_event(Preview(VALUES[:2, :2, :2], 2))
    assert driven.names == ["a"]
    driven.jobs[0].on_end()
    assert driven.ended[0].result is None and not driven.ended[0].failure


def test_what_a_cancelled_job_still_says_is_not_heard(driven: Driven) -> None:
    driven.add("x")
    driven.queue.cancel()
    for event in (PROGRESS, Preview(VALUES, 1), result("x (tinc)")):
        driven.jobs[0].on_event(event)
    assert driven.names == ["a"] and driven.queue.running.result is None
    driven.jobs[0].on_end()
    assert driven.queue.running is None


def test_a_failure_is_told_once_and_the_next_goes_on(driven: Driven) -> None:
    driven.add("x", "y")
    notification_manager.records.clear()
    error = JobError("no room")
    error.__cause__ = ValueError("no room")
    driven.jobs[0].on_error(error)
    driven.jobs[0].on_end()
    assert driven.ended[0].failure == "Failed: no room" and driven.queue.running.request.name == "y"
    assert [note.message for note in notification_manager.records] == ["no room"]


@pytest.mark.parametrize("noted", [False, True])
def test_only_what_was_raised_has_a_traceback(driven: Driven, noted: bool) -> None:
    driven.add("x")
    notification_manager.records.clear()
    error = JobError("killed")
    error.__cause__ = ChildError("killed")
    if noted:
        error.__cause__.add_note("raised there")
    driven.jobs[0].on_error(error)
    (note,) = notification_manager.records
    assert note.message == "killed" and hasattr(note, "exception") == noted


def test_abandoned_it_drops_everything(driven: Driven) -> None:
    driven.add("x", "y")
    driven.jobs[0].on_event(Preview(VALUES, 1))
    control = driven.queue.running.control
    driven.queue.abandon()
    assert control.cancel.is_set() and driven.names == ["a"] and not driven.queue.waiting
    driven.jobs[0].on_event(result("x (tinc)"))
    driven.jobs[0].on_end()
    assert driven.names == ["a"] and not driven.ended and len(driven.jobs) == 1
