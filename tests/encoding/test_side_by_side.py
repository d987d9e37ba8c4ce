"""Blocks of networks are fitted side by side, one a core, to the same bytes; their threads end with the job."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from block_volumes import smooth
from short_fits import shorten

import napari_tinc as tinc
from napari_tinc.encoding import block, blocks, resources
from napari_tinc.encoding.sources import VolumeSource
from napari_tinc.training import trainer
from napari_tinc.training.task import Settings

OPTIONS: dict[str, Any] = {"ratio": 8, "preset": "fast", "block": 16}
SHAPE = (32, 32, 32)  # 8 blocks


@pytest.fixture(autouse=True)
def _short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Threads of each block, as they begin; fails if a thread is left at the end."""
    before, begun = threading.active_count(), []
    fit = block.fit_tree

    def counted(task: Any, share: float) -> Any:
        begun.append(task.threads)
        return fit(task, share)

    monkeypatch.setattr(block, "fit_tree", counted)
    yield begun
    assert threading.active_count() == before


def cores(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    for module in (blocks, resources):
        monkeypatch.setattr(module, "cpu_count", lambda: count)


@pytest.mark.parametrize("count", [2, 3, 64])
def test_the_bytes_are_those_of_one_core(count: int, monkeypatch: pytest.MonkeyPatch, at_once: list[int]) -> None:
    volume = smooth(SHAPE)
    cores(monkeypatch, 1)
    expected = tinc.compress(volume, **OPTIONS).parts.data()
    assert set(at_once) == {None}
    n_blocks = len(at_once)
    at_once.clear()
    cores(monkeypatch, count)
    assert tinc.compress(volume, **OPTIONS).parts.data() == expected
    assert len(at_once) == n_blocks and at_once[0] == max(1, count // n_blocks)


def test_few_blocks_share_the_cores(monkeypatch: pytest.MonkeyPatch, at_once: list[int]) -> None:
    cores(monkeypatch, 5)
    tinc.compress(smooth(), ratio=8, preset="fast", block=24)
    assert at_once == [2, 2]


def test_together_they_keep_to_the_memory_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    cores(monkeypatch, 64)
    source, settings = VolumeSource(None, (), (1024,) * 3, np.dtype("u2")), Settings("fast", device="cpu")
    for edge in (32, 64, 128, 160):
        tasks = [block.BlockTask(source, 0, (slice(0, edge),) * 3, 1000)]
        count = resources.blocks_side_by_side(settings, tasks, 1000)
        needed = resources.BARE_PROCESS_BYTES + count * resources.BYTES_PER_VOXEL * edge**3
        assert needed <= resources.PROCESS_BYTES + resources.BYTES_PER_VOXEL * edge**3
        assert count == (64 if edge <= 32 else 17 if edge == 64 else 3 if edge == 128 else 2)
    assert resources.blocks_side_by_side(Settings("fast", bound=1), tasks, 1000) == 1


def test_an_error_in_one_ends_the_others(monkeypatch: pytest.MonkeyPatch, at_once: list[int]) -> None:
    cores(monkeypatch, 2)
    train, begun = trainer._Trainer.run, threading.Event()

    def fail(self: Any, *arguments: Any) -> Any:
        if not begun.is_set():
            begun.set()
            raise ZeroDivisionError
        return train(self, *arguments)

    monkeypatch.setattr(trainer._Trainer, "run", fail)
    with pytest.raises(ZeroDivisionError):
        tinc.compress(smooth(SHAPE), **OPTIONS)


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_job_that_ends_early_ends_its_threads(how: str, monkeypatch: pytest.MonkeyPatch, at_once: list[int]) -> None:
    cores(monkeypatch, 2)
    shorten(monkeypatch, 10**6)
    control = tinc.Control()
    events = tinc.fit(smooth(SHAPE), **OPTIONS, control=control)
    while not isinstance(event := next(events), tinc.Progress) or event.phase != "blocks":
        pass
    if how == "close":
        events.close()  # type: ignore[attr-defined]
    else:
        control.cancel.set()
        assert not any(isinstance(event, tinc.Finished) for event in events)


def test_a_preview_and_an_early_stop(monkeypatch: pytest.MonkeyPatch, at_once: list[int]) -> None:
    cores(monkeypatch, 2)
    shorten(monkeypatch, 10**6)
    control, previews = tinc.Control(), 0
    for event in tinc.fit(smooth(SHAPE), **OPTIONS, control=control):
        if isinstance(event, tinc.Progress) and not previews:
            control.look.set()
        if isinstance(event, tinc.Preview):
            previews += 1
            control.stop.set()
    assert previews == 1 and isinstance(event, tinc.Finished)


def test_a_job_that_was_killed_goes_on_to_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at_once: list[int]
) -> None:
    cores(monkeypatch, 2)
    shorten(monkeypatch, 300)
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    volume = smooth(SHAPE)
    expected = tinc.compress(volume, **OPTIONS).parts.data()
    control = tinc.Control()
    for _ in tinc.fit(volume, **OPTIONS, resume=tmp_path / "kept", control=control):
        states = [path.name for path in (tmp_path / "kept").glob("*")]
        if any("training.state" in name for name in states) and sum(name.endswith(".block") for name in states) > 2:
            control.cancel.set()
    assert control.cancel.is_set()
    states = [path.name for path in (tmp_path / "kept").iterdir()]
    assert any("training.state" in name for name in states) and any(name.endswith(".block") for name in states)
    np.testing.assert_array_equal(
        np.frombuffer(tinc.compress(volume, **OPTIONS, resume=tmp_path / "kept").parts.data(), np.uint8),
        np.frombuffer(expected, np.uint8),
    )
