"""The remaining time that is told: of a stage, and of all that comes after it. No clock decides these tests."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from short_fits import shorten

import napari_tinc as tinc
from napari_tinc.encoding import choice, psnr_search, without_networks
from napari_tinc.encoding.resources import estimate_blocks
from napari_tinc.encoding.sources import VolumeSource
from napari_tinc.encoding.without_networks import Forecast
from napari_tinc.training import costs, task
from napari_tinc.training.task import Settings

Stage = list[tuple[str, int, float, float, float]]  # phase, step, seconds, seconds left, PSNR


def waves() -> np.ndarray:
    z, y, x = np.meshgrid(*[np.linspace(0, 6, n) for n in (24, 30, 40)], indexing="ij")
    return (1000 + 300 * np.sin(z + y) * np.cos(x)).astype("u2")


def progress(phase: str, step: int, seconds: float, left: float, psnr: float = math.nan) -> tinc.Progress:
    return tinc.Progress(phase, step, 100, seconds, left, math.nan, psnr, None)


def finished(psnr: float) -> Any:
    volume = tinc.compress(np.zeros((4, 4, 4), "u1"), max_error=0)
    return tinc.Finished(volume, tinc.Quality(psnr, 1, 1, 1, 1, 1), 1.0)


@pytest.fixture
def auto(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The events of a fit by both methods, whose stages tell what they are given and take what is usual."""
    monkeypatch.setattr(without_networks, "MOST_RATIO", 300)
    monkeypatch.setattr(choice, "usual_seconds", lambda _: 20.0)
    monkeypatch.setattr(choice, "usual_sample_seconds", lambda _: 2.0)
    monkeypatch.setattr(choice, "estimate_blocks", lambda *_: SimpleNamespace(seconds=50.0))

    def run(samples: list[Any], networks: list[Any], coder: list[Any], stop: bool = False) -> list[tinc.Progress]:
        control = tinc.Control()

        def fit_once(*_: object, **__: object) -> Iterator[Any]:
            if stop:
                control.stop.set()
            yield from networks

        monkeypatch.setattr(choice, "forecast_without_networks", lambda *_: iter(samples))
        monkeypatch.setattr(choice, "fit_once", fit_once)
        monkeypatch.setattr(choice, "fit_without_networks", lambda *_, **__: iter(coder))
        events = tinc.fit(waves(), ratio=8, preset="fast", control=control)
        return [event for event in events if isinstance(event, tinc.Progress)]

    return run


SAMPLING = progress("searching", 3, 12.0, 4.0)  # at twice the usual pace
TRAINING = progress("training", 50, 40.0, 60.0, 18.0)
PACKING = progress("packing", 100, 90.0, 10.0, 27.0)
CODING = progress("searching", 1, 15.0, 25.0)


def test_what_comes_after_a_stage_is_told_at_its_pace(auto: Any) -> None:
    sampling, training, packing, coding = auto(
        [SAMPLING, Forecast("sampled", 30.0)], [TRAINING, PACKING, finished(27.0)], [CODING, finished(31.0)]
    )
    assert sampling.seconds_left == 4 + 2 * (50 + 20)
    assert training.seconds_left == 60 + 2 * 20 and packing.seconds_left == 10 + 2 * 20
    assert coding.seconds_left == 25


def test_a_stage_that_will_not_come_is_not_told(auto: Any) -> None:
    better = [TRAINING, PACKING, finished(27.0)]
    assert [event.seconds_left for event in auto([SAMPLING, Forecast("sampled", 15.0)], better, [])[1:]] == [60, 10]
    assert [event.seconds_left for event in auto([SAMPLING, Forecast("sampled", 30.0)], better, [], stop=True)[1:]] == [
        60,
        10,
    ]


def test_small_volumes_are_coded_first(auto: Any) -> None:
    coding, training = auto([Forecast("cheap")], [TRAINING, finished(27.0)], [CODING, finished(31.0)])
    assert coding.seconds_left == 25 + 2 * 50 and training.seconds_left == 60


def test_nothing_is_made_up_before_a_stage_knows_its_pace(auto: Any) -> None:
    _, training = auto(
        [SAMPLING, Forecast("sampled", 15.0)], [progress("training", 1, 0.2, math.nan, 9.0), finished(27.0)], []
    )
    assert math.isnan(training.seconds_left)


def test_packing_goes_at_the_pace_of_the_steps() -> None:
    packing = costs.PackingTime(0.01, 3.0, keeps_pace=True)
    assert math.isnan(packing.seconds_left(progress("training", 1, 0.5, math.nan)))
    assert packing.seconds_left(progress("training", 50, 1.0, 50 * 0.02)) == pytest.approx(1 + 2 * 3)
    assert packing.seconds_left(progress("training", 100, 2.0, 0.0)) == pytest.approx(2 * 3)
    elsewhere = costs.PackingTime(0.01, 3.0, keeps_pace=False)
    assert elsewhere.seconds_left(progress("training", 50, 1.0, 50 * 1e-4)) == pytest.approx(5e-3 + 3)


def test_a_search_expects_the_usual_rounds_and_another_where_it_goes_on() -> None:
    sizes = [64**3, 64**3]
    search = without_networks._Search(sizes, is_checked=False)
    usual = costs.coding_seconds(sizes)
    assert search.seconds_left(0.1) == pytest.approx(costs.USUAL_ROUNDS * usual - 0.1)
    search.begun, search.done, search.done_at = 3, 2, 10.0
    assert search.seconds_left(12.0) == costs.USUAL_ROUNDS * 10 - 12
    search.begun, search.done, search.done_at = 9, 8, 40.0
    assert search.seconds_left(42.0) == 5 * 10 - 42
    search.begun = 8  # it is over
    assert search.seconds_left(41.0) == 0
    checked = without_networks._Search(sizes, is_checked=True, begun=6, done=6, done_at=30.0)
    assert checked.seconds_left(30.0) == pytest.approx(10 / usual * costs.checking_seconds(sizes))


def test_a_fit_tells_its_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    for options in ({}, {"block": 20}):
        events = [
            event for event in tinc.fit(waves(), ratio=8, preset="fast", method="networks", device="cpu", **options)
            if isinstance(event, tinc.Progress)
        ]  # fmt: skip
        told = [event.seconds_left for event in events if event.phase in ("training", "packing")]
        assert all(left > 0 for left in told if math.isfinite(left))
        assert all(event.seconds >= 0 for event in events)
        if options:
            assert events[-1].phase == "blocks" and events[-1].seconds_left == 0
        else:
            assert events[-1].phase == "packing" and events[-1].seconds_left > 0


def test_a_search_for_a_psnr_tells_the_fits_after_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    job: Any = SimpleNamespace(
        source=VolumeSource.of(waves()), settings=Settings("fast", method="networks"), edge=None, control=tinc.Control()
    )
    monkeypatch.setattr(psnr_search, "fit_once", lambda *_: iter([TRAINING, finished(30.0)]))
    first, second, *_ = psnr_search._search(job, 30.0, None, 0.0)
    assert isinstance(first, tinc.Progress) and first.attempt == 1
    whole = 100 / psnr_search.PILOT_SHARE
    assert first.seconds_left == pytest.approx(60 + psnr_search.USUAL_FITS * whole)
    assert isinstance(second, tinc.Finished)


def test_what_a_fit_by_each_method_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(without_networks, "MOST_RATIO", 300)
    source = VolumeSource.of(np.zeros((128, 128, 128), "u1"))

    def estimated(**options: Any) -> task.Estimate:
        return choice.estimate_fit(source, source.nbytes // 64, Settings("fast", **options))

    auto, networks, coder, bound = (
        estimated(**options) for options in ({}, {"method": "networks"}, {"method": "predictive"}, {"bound": 3.0})
    )
    samples = costs.USUAL_ROUNDS * without_networks.N_SAMPLES * costs.coding_seconds([64**3])
    assert auto.seconds == pytest.approx(networks.seconds + samples + coder.seconds)
    assert auto.n_parameters == networks.n_parameters > 0 and auto.steps == task.STEPS["fast"]
    assert (coder.steps, coder.n_parameters, coder.widths, coder.n_blocks) == (0, 0, (), 1)
    assert 0 < bound.seconds < coder.seconds and coder.memory > 0


def test_costs_grow_with_the_work() -> None:
    assert costs.step_seconds(25_800, 4096) > costs.step_seconds(7_200, 4096) > costs.STEP_SECONDS
    assert costs.packing_seconds(128**3, 25_800) > costs.packing_seconds(64**3, 25_800)
    source = VolumeSource.of(waves())
    few, many = (estimate_blocks(source, 3000, Settings(preset)).seconds for preset in ("fast", "balanced"))
    assert 2 < many / few < 8
