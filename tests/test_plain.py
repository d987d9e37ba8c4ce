"""Networks or none: whichever is better for a size or a quality."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc import checkpoint, codec, pipeline, plain, training
from napari_tinc.parts import Blocks


@pytest.fixture(autouse=True)
def both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "MOST_RATIO", 300)
    monkeypatch.setitem(pipeline.STEPS, "fast", 100)


def noisy() -> np.ndarray:
    z, y, x = np.meshgrid(*[np.linspace(0, 9, n) for n in (24, 30, 40)], indexing="ij")
    return (1000 + 300 * np.sin(z + y) * np.cos(x) + np.random.default_rng(0).normal(0, 20, z.shape)).astype("u2")


def test_many_bytes_need_no_networks() -> None:
    volume = tinc.compress(noisy(), ratio=8, preset="fast")
    assert isinstance(volume.parts, Blocks) and volume.error_bound is not None
    assert 8 <= volume.ratio < 8.6
    quality = tinc.compare(noisy(), volume)
    assert quality.max_error <= volume.error_bound and quality.psnr > 25
    assert quality.psnr > tinc.compare(noisy(), tinc.compress(noisy(), ratio=8, preset="fast", levels=2)).psnr


def test_a_failure_is_not_taken_for_a_volume_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a scheduler that did not answer, a worse file was made, and nothing said."""

    def fail(*_: object) -> None:
        raise ValueError("no scheduler answers")

    monkeypatch.setattr(codec, "run_blocks", fail)
    with pytest.raises(ValueError, match="no scheduler answers"):
        tinc.compress(noisy(), ratio=8, preset="fast", block=20)


def test_networks_that_were_chosen_are_made() -> None:
    assert tinc.compress(noisy(), ratio=8, preset="fast", levels=1).error_bound is None
    assert tinc.compress(noisy(), ratio=8, preset="fast", widths=(12, 6)).error_bound is None


def test_a_psnr_in_as_few_bytes_as_either_needs() -> None:
    volume = tinc.compress(noisy(), psnr=30, preset="fast")
    assert 30 <= tinc.compare(noisy(), volume).psnr < 30.6


def test_networks_are_given_up_when_they_fall_behind() -> None:
    last = {}
    for event in tinc.fit(noisy(), ratio=6, preset="fast"):
        if isinstance(event, tinc.Progress):
            last[event.phase] = event
    training = last.get("training")  # on a fast machine it is given up before it is told of
    assert (training is None or training.step < training.steps) and "packing" not in last


def test_cancel_while_searching() -> None:
    control = tinc.Control()
    for event in tinc.fit(noisy(), ratio=8, preset="fast", control=control):
        assert not isinstance(event, tinc.Finished)
        control.cancel.set()


def test_a_search_that_nobody_listens_to_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*arguments: Any) -> None:
        while True:
            arguments[-1]()  # the check
            time.sleep(0.01)

    monkeypatch.setattr(plain.residual_search, "encode_box", endless)
    before = set(threading.enumerate())  # some of which may end meanwhile
    events = tinc.fit(noisy(), ratio=8, preset="fast")
    next(events)
    next(events)
    started = set(threading.enumerate()) - before
    assert started
    events.close()  # type: ignore[attr-defined]
    assert not any(thread.is_alive() for thread in started)


def test_large_volumes_are_judged_by_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "LARGE", 1000)
    volume = tinc.compress(noisy(), ratio=8, preset="fast")
    assert volume.error_bound is not None and 8 <= volume.ratio < 8.6


def test_the_same_bytes_again() -> None:
    first, again = (tinc.compress(noisy(), ratio=8, preset="fast").parts.data() for _ in range(2))
    assert first == again


@pytest.mark.parametrize("options", [{"ratio": 6}, {"psnr": 35}, {"ratio": 6, "block": 16}])
def test_a_clock_decides_nothing(options: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit was given up by reports that came when the clock said so: never, on a machine that is slow enough."""
    monkeypatch.setattr(training, "REPORT_SECONDS", math.inf)
    events = list(tinc.fit(noisy(), **options, preset="fast"))  # type: ignore[arg-type]
    assert isinstance(events[-1], tinc.Finished) and events[-1].volume.error_bound is not None
    assert not [event for event in events if isinstance(event, tinc.Progress) and event.phase == "packing"]


def test_a_fit_that_catches_up_is_not_given_up() -> None:
    """As sim_turbulence did, 91^3 at ratio 64, ``balanced``: 41.5 dB in the end, 40.9 dB without networks."""
    marks = [training.Mark(0.3, 35.5), training.Mark(0.5, 37.09), training.Mark(0.7, 39.16), training.Mark(0.9, 40.82)]
    assert not any(codec._is_hopeless(mark, 40.91) for mark in marks)
    assert codec._is_hopeless(training.Mark(0.3, 30.0), 40.91)


def test_stop_ends_in_what_was_learnt_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left of the schedule became so little that the fit was given up, and 200 steps were made anew."""
    monkeypatch.setattr(codec, "estimate_plain", lambda *_: iter((36.0,)))  # 28 dB at the stop, 30.5 in the end
    monkeypatch.setattr(training, "REPORT_SECONDS", 0.0)
    monkeypatch.setitem(pipeline.STEPS, "fast", 3000)
    control, phases, found = tinc.Control(), [], []
    for event in tinc.fit(noisy(), ratio=40, preset="fast", control=control):
        found += [event] * isinstance(event, tinc.Finished)
        if isinstance(event, tinc.Progress):
            phases.append(event.phase)
            if event.phase == "training" and event.step > 400:
                control.stop.set()
    assert control.stop.is_set() and len(found) == 1
    assert phases.count("packing") == 1 and found[0].volume.error_bound is None


def test_networks_given_up_for_what_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That they had been given up was kept in the folder, so that they were not made either."""
    monkeypatch.setattr(plain, "LARGE", 1000)
    monkeypatch.setattr(checkpoint, "RESULT_SECONDS", 0.0)
    monkeypatch.setattr(codec, "fit_plain", lambda *_, **__: iter(()))
    volume = tinc.compress(noisy(), ratio=6, preset="fast", resume=tmp_path / "parts")
    assert volume.error_bound is None and volume.ratio >= 6


def test_a_psnr_is_not_lost_for_networks_that_are_too_small() -> None:
    """A file without networks was there; that none can be as small was an error."""
    series = np.stack([noisy()[:16, :16, :16] // 8] * 4).astype("u1")
    names = [{"name": "a name of a channel " * 12}] * 4
    volume = tinc.compress(series, psnr=40, preset="fast", axis_labels="czyx", channels=names)
    assert tinc.compare(series, volume).psnr >= 40
