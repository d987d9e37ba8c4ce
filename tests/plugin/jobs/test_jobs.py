"""Jobs without a window."""

from __future__ import annotations

import json
import subprocess
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from short_fits import shorten
from volumes import small_array

from napari_tinc import devices
from napari_tinc.control import Control
from napari_tinc.encoding import compress as encoding_compress
from napari_tinc.encoding.options import Options
from napari_tinc.events import Preview, Progress
from napari_tinc.isolation import caller
from napari_tinc.plugin.jobs import job
from napari_tinc.plugin.jobs.job import JobError, Request, Result, compress_layer
from napari_tinc.plugin.layers.geometry import Geometry
from napari_tinc.training import fit_tree, task, trainer

PLACE = Geometry((2, 1, 1), "micrometer", "zyx")


def request(data: Any = None, ratio: float = 12, preset: str = "fast", device: str = "cpu") -> Request:
    options = Options(ratio=ratio, preset=preset, device=device)
    return Request(name="a", data=small_array() if data is None else data, geometry=PLACE, options=options)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


def test_progress_then_the_layer() -> None:
    *progress, result = compress_layer(request(), Control(), 10**6)
    assert progress and all(isinstance(event, Progress) for event in progress)
    assert isinstance(result, Result)
    ((data, arguments),) = result.layers
    np.testing.assert_array_equal(data, np.asarray(result.volume))
    assert arguments["name"] == "a (tinc 12x)" and arguments["scale"] == (2, 1, 1)


def test_a_process_of_its_own(tmp_path: Path) -> None:
    asked = replace(request(), options=Options(max_error=3), isolate=True, log=tmp_path / "log")
    *_, result = compress_layer(asked, Control(), 10**6)
    assert result.volume.error_bound == 3 and result.layers[0][1]["scale"] == (2, 1, 1)
    assert np.abs(result.layers[0][0].astype(int) - small_array()).max() <= 3
    assert '"finished"' in asked.log.read_text()


def test_the_end_of_that_process_is_a_job_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(python: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([python, "-c", "exit(3)"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(caller, "_start", start)
    with pytest.raises(JobError) as caught:
        list(compress_layer(replace(request(), isolate=True), Control(), 10**6))
    assert str(caught.value) == "the compression process ended without a result (exit code 3)"


def test_cancel_gives_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.STEPS, "fast", 10**6)
    control = Control()
    events = compress_layer(request(), control, 10**6)
    assert isinstance(next(events), Progress)
    control.cancel.set()
    assert not any(isinstance(event, Result) for event in events)


def test_stop_gives_what_was_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.STEPS, "fast", 10**6)
    control = Control()
    events = compress_layer(request(), control, 10**6)
    next(events)
    control.stop.set()
    *_, result = events
    assert isinstance(result, Result) and 12 <= result.quality.ratio < 12.4


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (request(ratio=1e6), "the smallest file is"),
        (request(device="tpu"), "device 'tpu' cannot be used"),
        (request(np.zeros((3, 4))), "2 axes"),
        (request(np.full((3, 4, 5), np.nan)), "NaN"),
    ],
)
def test_bad_requests_are_job_errors_of_one_line(given: Request, reason: str) -> None:
    with pytest.raises(JobError, match=reason) as caught:
        list(compress_layer(given, Control(), 10**6))
    assert "\n" not in str(caught.value)


def test_a_request_of_bad_options_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="preset is 'slow'"):
        request(preset="slow")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("shapes differ\nat line 5"), "RuntimeError: shapes differ"),
        (MemoryError(), "not enough memory"),
        (KeyError(), "KeyError"),
        (StopIteration(), "RuntimeError: generator raised StopIteration"),
    ],
)
def test_any_error_is_a_job_error_and_never_a_runtime_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    def fail(*_: object, **__: object) -> Iterator[None]:
        yield Progress("training", 1, 2, 0.0, 0.0, 1.0, 10.0, None)
        raise error

    monkeypatch.setattr(encoding_compress, "fit", fail)
    events = compress_layer(request(), Control(), 10**6)
    next(events)
    with pytest.raises(JobError) as caught:
        next(events)
    assert str(caught.value) == text and not isinstance(caught.value, RuntimeError)


def test_a_kept_error_does_not_keep_the_jobs_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[weakref.ref[Any]] = []

    def fail(*_: object, **__: object) -> Iterator[None]:
        tensor = np.zeros(1000)
        kept.append(weakref.ref(tensor))
        yield Progress("training", 1, 2, 0.0, 0.0, 1.0, 10.0, None)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(encoding_compress, "fit", fail)
    with pytest.raises(JobError) as caught:
        list(compress_layer(request(), Control(), 10**6))
    assert caught.value and kept[0]() is None


def test_a_job_that_is_dropped_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.STEPS, "fast", 10**6)
    monkeypatch.setattr(trainer, "cpu_count", lambda: 2)  # one needs no threads
    before = threading.active_count()
    events = compress_layer(request(), Control(), 10**6)
    next(events)
    assert threading.active_count() > before
    events.close()
    assert threading.active_count() == before


def test_devices() -> None:
    (found,) = job.run_once(devices.find_devices)
    assert list(found)[:2] == ["auto", "cpu"] and "GB free" in found["cpu"] and found["auto"]


def test_a_broken_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(JobError, match="PyTorch cannot be imported"):
        list(job.run_once(devices.find_devices))


def test_a_log_of_metrics(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "metrics.jsonl"
    *_, result = compress_layer(replace(request(), log=log), Control(), 10**6)
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert entries[0]["phase"] == "planned" and entries[-1]["phase"] == "finished"
    assert entries[-1]["bytes"] == result.volume.nbytes_compressed and entries[-1]["psnr"] == result.quality.psnr
    with pytest.raises(JobError, match="No such file or directory"):
        list(compress_layer(replace(request(), log=tmp_path / "none" / "x"), Control(), 10**6))
    if Path("/dev/full").exists():
        with pytest.raises(JobError, match="No space left on device"):
            list(compress_layer(replace(request(), log=Path("/dev/full")), Control(), 10**6))


def test_a_look_gives_a_preview_that_gets_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.STEPS, "fast", 400)
    monkeypatch.setattr(trainer, "REPORT_SECONDS", 0.0)  # else a fast machine has but one report
    control, previews = Control(), []
    for event in compress_layer(request(), control, 10**6):
        if isinstance(event, Preview):
            previews.append(event)
        elif isinstance(event, Progress):
            control.look.set()
    assert previews[0].factor == 1 and previews[0].values.dtype == small_array().dtype
    first, last = (np.abs(p.values.astype(float) - small_array()).mean() for p in (previews[0], previews[-1]))
    assert last < first


def test_previews_of_large_volumes_are_coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_tree, "PREVIEW_VOXELS", 2000)
    control = Control()
    control.look.set()
    preview = next(event for event in compress_layer(request(), control, 10**6) if isinstance(event, Preview))
    assert preview.factor == 2 and preview.values.shape == (10, 12, 14)
