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
from napari_tinc import events as napari_tinc_events
from napari_tinc.bounded import search
from napari_tinc.decoding.block_contents import BlockContents
from napari_tinc.encoding import block_size, choice, stages, without_networks
from napari_tinc.errors import NotWithNetworks
from napari_tinc.storage import checkpoint
from napari_tinc.training import task, trainer


@pytest.fixture(autouse=True)
def both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(without_networks, "MOST_RATIO", 300)
    monkeypatch.setitem(task.STEPS, "fast", 150)


def noisy() -> np.ndarray:
    z, y, x = np.meshgrid(*[np.linspace(0, 9, n) for n in (24, 30, 40)], indexing="ij")
    return (1000 + 300 * np.sin(z + y) * np.cos(x) + np.random.default_rng(0).normal(0, 20, z.shape)).astype("u2")


def test_many_bytes_need_no_networks() -> None:
    volume = tinc.compress(noisy(), ratio=8, preset="fast")
    assert isinstance(volume.parts, BlockContents) and volume.error_bound is not None
    assert 8 <= volume.ratio < 8.6
    quality = tinc.compare(noisy(), volume)
    assert quality.max_error <= volume.error_bound and quality.psnr > 25
    assert quality.psnr > tinc.compare(noisy(), tinc.compress(noisy(), ratio=8, preset="fast", levels=2)).psnr


def test_a_failure_is_not_taken_for_a_volume_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a scheduler that did not answer, a worse file was made, and nothing said."""

    def fail(*_: object) -> None:
        raise ValueError("no scheduler answers")

    monkeypatch.setattr(choice, "run_blocks", fail)
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

    monkeypatch.setattr(search, "encode_box", endless)
    before = set(threading.enumerate())  # some of which may end meanwhile
    events = tinc.fit(noisy(), ratio=8, preset="fast")
    next(events)
    next(events)
    started = set(threading.enumerate()) - before
    assert started
    events.close()  # type: ignore[attr-defined]
    assert not any(thread.is_alive() for thread in started)


def test_large_volumes_are_judged_by_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(without_networks, "LARGE_VOLUME", 1000)
    volume = tinc.compress(noisy(), ratio=8, preset="fast")
    assert volume.error_bound is not None and 8 <= volume.ratio < 8.6


def test_the_same_bytes_again() -> None:
    first, again = (tinc.compress(noisy(), ratio=8, preset="fast").parts.data() for _ in range(2))
    assert first == again


@pytest.mark.parametrize("options", [{"ratio": 6}, {"psnr": 35}, {"ratio": 6, "block": 24}])
def test_a_clock_decides_nothing(options: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit was given up by reports that came when the clock said so: never, on a machine that is slow enough."""
    monkeypatch.setattr(trainer, "REPORT_SECONDS", math.inf)
    events = list(tinc.fit(noisy(), **options, preset="fast"))  # type: ignore[arg-type]
    assert isinstance(events[-1], tinc.Finished) and events[-1].volume.error_bound is not None
    assert not [event for event in events if isinstance(event, tinc.Progress) and event.phase == "packing"]


def test_a_fit_that_catches_up_is_not_given_up() -> None:
    """As sim_turbulence did, 91^3 at ratio 64, ``balanced``: 41.5 dB in the end, 40.9 dB without networks."""
    marks = [
        napari_tinc_events.Mark(0.3, 35.5),
        napari_tinc_events.Mark(0.5, 37.09),
        napari_tinc_events.Mark(0.7, 39.16),
        napari_tinc_events.Mark(0.9, 40.82),
    ]
    assert not any(stages.is_hopeless(mark, 40.91) for mark in marks)
    assert stages.is_hopeless(napari_tinc_events.Mark(0.3, 30.0), 40.91)


def test_stop_ends_in_what_was_learnt_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left of the schedule became so little that the fit was given up, and 200 steps were made anew."""
    forecast = without_networks.Forecast("sampled", 36.0)  # 28 dB at the stop, 30.5 in the end
    monkeypatch.setattr(choice, "forecast_without_networks", lambda *_: iter([forecast]))
    monkeypatch.setattr(trainer, "REPORT_SECONDS", 0.0)
    monkeypatch.setitem(task.STEPS, "fast", 3000)
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
    monkeypatch.setattr(without_networks, "LARGE_VOLUME", 1000)
    monkeypatch.setattr(checkpoint, "RESULT_SECONDS", 0.0)
    monkeypatch.setattr(choice, "fit_without_networks", lambda *_, **__: iter(()))
    volume = tinc.compress(noisy(), ratio=6, preset="fast", resume=tmp_path / "parts")
    assert volume.error_bound is None and volume.ratio >= 6


def test_a_psnr_is_not_lost_for_networks_that_are_too_small() -> None:
    """A file without networks was there; that none can be as small was an error."""
    series = np.stack([noisy()[:16, :16, :16] // 8] * 4).astype("u1")
    names = [{"name": "a name of a channel " * 12}] * 4
    volume = tinc.compress(series, psnr=40, preset="fast", axis_labels="czyx", channels=names)
    assert tinc.compare(series, volume).psnr >= 40


# --- a method that was asked for -------------------------------------------------------------------------------------


def fitted(volume: np.ndarray, **options: Any) -> tuple[tinc.Planned, tinc.Finished]:
    planned, *_, finished = tinc.fit(volume, **{"preset": "fast", "device": "cpu"} | options)
    assert isinstance(planned, tinc.Planned) and isinstance(finished, tinc.Finished)
    return planned, finished


def test_networks_that_are_asked_for_are_never_replaced() -> None:
    planned, finished = fitted(noisy(), ratio=8, method="networks")
    assert planned.method == finished.method == finished.volume.method == "networks"
    assert finished.reason == "" and finished.volume.error_bound is None and finished.volume.ratio >= 8
    assert fitted(noisy(), ratio=8)[1].quality.psnr > finished.quality.psnr + 10


def test_networks_that_are_asked_for_have_the_bytes_of_those_that_auto_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fitted(noisy(), ratio=20, method="networks")[1]
    monkeypatch.setattr(without_networks, "MOST_RATIO", 0)
    planned, auto = fitted(noisy(), ratio=20)
    assert planned.method == "networks" and auto.volume.parts.data() == asked.volume.parts.data()


def test_the_predictive_coder_has_the_bytes_of_what_auto_takes() -> None:
    planned, asked = fitted(noisy(), ratio=8, method="predictive")
    before, auto = fitted(noisy(), ratio=8)
    assert planned.method == asked.method == auto.method == "predictive" and before.method == "auto"
    assert asked.volume.parts.data() == auto.volume.parts.data()
    assert asked.reason == "" and auto.reason.startswith("networks were given up after 30% of their training: ")


def test_what_will_be_done_where_only_one_method_can_serve() -> None:
    assert fitted(noisy(), max_error=3)[0].method == "predictive"
    assert fitted(noisy(), max_error=3, method="predictive")[0].method == "predictive"
    assert fitted(noisy(), ratio=8, levels=1)[0].method == "networks"
    assert fitted(noisy(), ratio=301, block=64)[0].method == "networks"


@pytest.mark.parametrize("method", ["networks", "predictive"])
def test_a_psnr_by_each_method(method: str) -> None:
    planned, finished = fitted(noisy(), psnr=21, method=method)
    assert planned.method == finished.method == method and finished.reason == ""
    assert tinc.compare(noisy(), finished.volume).psnr >= 21


def test_a_constant_by_each_method() -> None:
    constant = np.full((20, 20, 20), 7, "u2")
    for method in ("networks", "predictive"):
        for target in ({"ratio": 20}, {"psnr": 50}):
            finished = fitted(constant, method=method, **target)[1]
            assert finished.method == method and (np.asarray(finished.volume) == 7).all()
    assert fitted(constant, ratio=20)[1].reason == ""


def test_no_networks_are_fitted_where_every_voxel_is_kept() -> None:
    spot = np.full((40, 40, 40), 7, "u2")
    spot[20:23, 20:23, 20:23] = 9
    *events, finished = tinc.fit(spot, ratio=20)
    assert isinstance(finished, tinc.Finished)
    assert (finished.method, finished.reason) == ("predictive", "it keeps every voxel as it was")
    assert not any(isinstance(event, tinc.Progress) and event.phase == "training" for event in events)
    np.testing.assert_array_equal(np.asarray(finished.volume), spot)


def test_channels_without_networks() -> None:
    series = np.stack([noisy(), noisy()[::-1]])
    planned, finished = fitted(series, ratio=8, axis_labels="czyx", method="predictive")
    assert planned.n_blocks == 2 and finished.volume.select(1).method == "predictive" and finished.volume.ratio >= 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "wavelets"}, "method is 'wavelets', expected one of auto, networks, predictive"),
        ({"method": "networks", "max_error": 3}, "max_error=3 and method='networks' given, expected one"),
        ({"method": "networks", "max_error": 0, "labels": True}, "max_error=0 and method='networks' given"),
        ({"method": "networks", "labels": True}, "labels=True and method='networks' given"),
        ({"method": "predictive", "widths": (9, 9)}, r"widths=\(9, 9\) and method='predictive' given, expected one"),
        ({"method": "predictive", "levels": 2}, "levels=2 and method='predictive' given"),
        ({"method": "predictive", "weights": "int8"}, "weights='int8' and method='predictive' given"),
    ],
)
def test_methods_that_cannot_serve(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tinc.fit(noisy(), **options)


def test_a_mask_and_networks() -> None:
    with pytest.raises(ValueError, match="a bool volume and method='networks' given, expected one"):
        tinc.fit(noisy() > 900, method="networks")


def test_too_many_voxels_to_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_size, "MOST_AT_ONCE", 1000)
    with pytest.raises(ValueError, match="28800 voxels and method='predictive' given, expected at most 1000"):
        tinc.fit(noisy(), method="predictive")
    assert tinc.compress(noisy(), method="predictive", max_error=3).method == "predictive"


def test_a_size_out_of_reach_of_the_predictive_coder() -> None:
    with pytest.raises(ValueError, match=r"cannot become 57 without networks: the smallest file is about \d+ bytes"):
        tinc.compress(noisy(), ratio=1000, method="predictive")


def test_a_file_where_networks_are_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that had been made was lost to the error of the networks."""

    def fail(*_: object, **__: object) -> None:
        raise NotWithNetworks("too small")

    monkeypatch.setattr(choice, "fit_once", fail)
    halves = np.random.default_rng(0).integers(0, 4, (16, 16, 16), "u1")
    halves[8:] += 100
    finished = fitted(halves, nbytes=400)[1]
    assert (finished.method, finished.reason) == ("predictive", "networks cannot make so small a file")
    assert np.abs(np.asarray(finished.volume).astype(int) - halves).max() <= 4


def test_why_networks_were_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def expected(*_: object) -> Any:
        yield without_networks.Forecast("sampled", 5.0)

    monkeypatch.setattr(choice, "forecast_without_networks", expected)
    finished = fitted(noisy(), ratio=20)[1]
    behind = finished.quality.psnr - 5
    assert finished.reason == f"the predictive coder was {behind:.1f} dB behind in samples of the volume"


def test_floats_near_the_largest() -> None:
    huge = (noisy().astype("f8") - 1000) * 1e305
    assert np.isfinite(np.asarray(tinc.compress(huge, ratio=8, preset="fast"))).all()
