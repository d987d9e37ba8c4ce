"""Several random parameters are tried and the best trained on; a fit that learns nothing more is shortened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from short_fits import shorten

import napari_tinc as tinc
from napari_tinc.storage import checkpoint
from napari_tinc.training import fit_tree, task, trainer

STARTS = 3
EACH = 20  # steps of a start


@pytest.fixture(autouse=True)
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch, n_steps=100)
    monkeypatch.setattr(trainer, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(task, "STARTS", STARTS)
    monkeypatch.setattr(task, "SMALL_ROOT", 100)
    monkeypatch.setattr(task, "START_SHARE", EACH / 100)
    monkeypatch.setattr(task, "LEAST_START", EACH)


def volume() -> np.ndarray:
    z, y, x = np.meshgrid(*[np.linspace(0, 6, 24)] * 3, indexing="ij")
    return (100 + 80 * np.sin(z + 2 * y) * np.cos(3 * x)).astype(np.uint8)


def fit(control: tinc.Control | None = None) -> list[object]:
    return list(tinc.fit(volume(), ratio=12, method="networks", preset="fast", device="cpu", control=control))


def training(events: list[object]) -> list[tinc.Progress]:
    return [event for event in events if isinstance(event, tinc.Progress) and event.phase == "training"]


def test_the_best_start_is_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of three seeds begins near the mean, the others far from it."""
    initial, seeds = trainer.Fitted.initial, []

    def far_but_for_one(architecture: trainer.Architecture, seed: int) -> trainer.Fitted:
        seeds.append(seed)
        first = initial(architecture, seed)
        if len(seeds) != 2:
            first.vector[:] *= 4
        return first

    *_, alone = fit()
    monkeypatch.setattr(trainer.Fitted, "initial", far_but_for_one)
    *_, finished = fit()
    assert len(set(seeds)) == STARTS
    assert isinstance(alone, tinc.Finished) and isinstance(finished, tinc.Finished)
    assert finished.quality.psnr > alone.quality.psnr - 3


def test_progress_counts_the_steps_of_all_starts() -> None:
    progress = training(fit())
    steps = [event.step for event in progress]
    assert steps == sorted(steps) and {event.steps for event in progress} == {100 + (STARTS - 1) * EACH}
    assert steps[-1] == progress[-1].steps and progress[-1].seconds_left >= 0
    seconds = [event.seconds for event in progress]
    assert seconds == sorted(seconds)
    assert task.estimate((24, 24, 24), 1152, task.Settings("fast")).steps == steps[-1]


def test_a_stop_amid_the_starts_ends_with_a_file() -> None:
    control = tinc.Control()
    for event in tinc.fit(volume(), ratio=12, method="networks", preset="fast", device="cpu", control=control):
        if isinstance(event, tinc.Progress) and event.phase == "training" and event.step > EACH:
            control.stop.set()
    assert isinstance(event, tinc.Finished)


def test_a_cancel_amid_the_starts_ends_at_once() -> None:
    control = tinc.Control()
    for event in tinc.fit(volume(), ratio=12, method="networks", preset="fast", device="cpu", control=control):
        if isinstance(event, tinc.Progress) and event.phase == "training" and event.step > EACH:
            control.cancel.set()
    assert not isinstance(event, tinc.Finished)


@pytest.mark.parametrize(
    ("widest", "n_steps", "starts"),
    [(9, 2000, 4), (9, 8000, 4), (9, 1200, 1), (48, 8000, 1), (48, 64000, 4), (56, 64000, 1)],
)
def test_short_fits_and_wide_networks_have_one_start(
    widest: int, n_steps: int, starts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert task.count_starts(widest, n_steps) == starts


@pytest.mark.parametrize("resume", [False, True])
def test_noise_takes_fewer_steps_than_a_picture(
    resume: bool, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, tmp_path: Path
) -> None:
    shorten(monkeypatch, n_steps=400)
    monkeypatch.setattr(task, "STARTS", 1)
    monkeypatch.setitem(task.BATCH, "fast", 8192)
    monkeypatch.setattr(fit_tree, "LEAST_COMPARED", 400)
    monkeypatch.setattr(fit_tree, "LEAST_REST", 20)
    monkeypatch.setattr(fit_tree, "SATURATED_DB", 0.2)  # so short a fit still learns some noise
    monkeypatch.setattr(trainer, "LEARNING_STEPS", 10)
    noise = (1000 + rng.normal(0, 30, (40, 40, 40))).astype(np.uint16)

    def steps(array: np.ndarray, ratio: float = 256, **options: Any) -> int:
        events = tinc.fit(array, ratio=ratio, method="networks", preset="fast", device="cpu", **options)
        return training(list(events))[-1].step

    assert steps(volume(), ratio=12) == 400
    options: dict[str, Any] = {}
    if resume:
        for module in (checkpoint, trainer):
            monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
            monkeypatch.setattr(module, "RESULT_SECONDS", 0.0)
        options = {"resume": tmp_path / "parts"}
        for event in tinc.fit(noise, ratio=256, method="networks", preset="fast", device="cpu", **options):
            if isinstance(event, tinc.Progress) and event.step == 90:
                break
    assert steps(noise, **options) == 120 + round(0.2 * 280)
