"""A job that was killed goes on where it was, to the same bytes, and takes nothing from another job."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from short_fits import shorten

import napari_tinc as tinc
from napari_tinc.encoding import without_networks
from napari_tinc.storage import atomic, checkpoint
from napari_tinc.storage.checkpoint import Journal, Pieces, pack, unpack
from napari_tinc.training import allocation, fit_tree, task, trainer

JOBS: dict[str, dict[str, Any]] = {
    "tree": {"ratio": 12},
    "starts": {"ratio": 12, "starts": 3},
    "float16": {"ratio": 8, "weights": "float16"},
    "psnr": {"psnr": 23},
    "blocks": {"ratio": 8, "block": 24},
    "networks or none": {"ratio": 12, "plain": True},
    "plain psnr": {"psnr": 30, "plain": True},
    "exact blocks": {"max_error": 0, "block": 16},
}


class Killed(BaseException):
    """What no code expects."""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is kept as often as can be."""
    shorten(monkeypatch, n_steps=50)
    monkeypatch.setattr(trainer, "LEARNING_STEPS", 10)
    monkeypatch.setattr(task, "START_SHARE", 0.2)
    monkeypatch.setattr(task, "SMALL_ROOT", 100)
    monkeypatch.setattr(task, "LEAST_START", 10)
    for module in (checkpoint, trainer):
        monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
        monkeypatch.setattr(module, "RESULT_SECONDS", 0.0)


def volume(seed: int = 0) -> np.ndarray:
    z, y, x = np.meshgrid(*[np.linspace(0, 5, n) for n in (20, 22, 44)], indexing="ij")
    return (1000 + 800 * np.sin(z + y + seed) * np.cos(x) + np.random.default_rng(seed).normal(0, 9, z.shape)).astype(
        "u2"
    )


def fit(
    name: str, folder: Path | None, monkeypatch: pytest.MonkeyPatch, array: np.ndarray | None = None
) -> Iterator[Any]:
    options = dict(JOBS[name])
    monkeypatch.setattr(without_networks, "MOST_RATIO", 300 if options.pop("plain", False) else 0)
    monkeypatch.setattr(task, "STARTS", options.pop("starts", 1))
    return tinc.fit(volume() if array is None else array, **options, preset="fast", device="cpu", resume=folder)


@pytest.mark.parametrize("name", JOBS)
def test_a_job_killed_again_and_again_gives_the_same_bytes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "psnr":  # which shorter fits do not reach
        shorten(monkeypatch, n_steps=100)
        monkeypatch.setattr(trainer, "LEARNING_STEPS", 20)
    *_, expected = fit(name, None, monkeypatch)
    save, folder = atomic.save, tmp_path / "parts"
    saved: list[str] = []
    is_dead, lock = False, threading.Lock()
    each = 8 if name == "psnr" else 3  # several fits take long enough

    def killed(path: Path, data: bytes) -> None:
        """Right after some files. Other threads save nothing after that."""
        nonlocal is_dead
        with lock:
            if is_dead:
                raise Killed
            save(path, data)
            saved.append(Path(path).name.partition("-")[2])
            if len(saved) % each == 0:
                is_dead = True
                raise Killed

    monkeypatch.setattr(atomic, "save", killed)
    for kills in itertools.count():  # noqa: B007
        before = len(saved)
        try:
            *_, finished = fit(name, folder, monkeypatch)
            break
        except Killed:
            is_dead = False
            assert len(saved) - before == each and next(fit(name, folder, monkeypatch)).kept
    assert finished.volume.parts.data() == expected.volume.parts.data()
    assert kills > 1 and not folder.exists()
    # Nothing that was saved once is made again; a state is replaced by a later one.
    results = [entry for entry in saved if not entry.endswith(".state")]
    assert len(results) == len(set(results))


def test_states_amid_training_are_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "REPORT_SECONDS", 0.0)
    for event in fit("tree", tmp_path / "parts", monkeypatch):
        if isinstance(event, tinc.Progress) and event.step == 35:
            break
    progress = [event for event in fit("tree", tmp_path / "parts", monkeypatch) if isinstance(event, tinc.Progress)]
    assert [event.step for event in progress[:2]] == [30, 31] and progress[0].seconds > 0


def test_what_a_stop_cut_short_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = tinc.Control()
    control.stop.set()
    for event in tinc.fit(volume(), **JOBS["blocks"], preset="fast", resume=tmp_path / "parts", control=control):
        if isinstance(event, tinc.Finished):
            break
    assert not (tmp_path / "parts").exists()


def test_another_volume_or_option_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "parts"
    for event in fit("tree", folder, monkeypatch):
        if isinstance(event, tinc.Finished):
            break
    changed = volume()
    changed[3, 4, 5] += 1
    for array, name in ((changed, "tree"), (volume(), "blocks")):
        planned = next(fit(name, folder, monkeypatch, array))
        assert planned.kept == 0 and planned.others > 0
    planned = next(fit("tree", folder, monkeypatch))
    assert planned.kept > 0 and planned.others == 0
    *_, other = fit("tree", folder, monkeypatch, changed)
    assert other.volume.parts.data() == list(fit("tree", None, monkeypatch, changed))[-1].volume.parts.data()
    assert next(fit("tree", folder, monkeypatch)).kept == planned.kept  # for when the first job is resumed


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:60] + b"x" + data[61:]]
)
def test_damaged_files_are_made_anew(damage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "parts"
    for event in fit("tree", folder, monkeypatch):
        if isinstance(event, tinc.Finished):
            break
    for path in folder.iterdir():
        path.write_bytes(damage(path.read_bytes()))
    *_, finished = fit("tree", folder, monkeypatch)
    assert finished.volume.parts.data() == event.volume.parts.data()


def test_what_a_kill_leaves_of_a_file_amid_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "parts"
    for event in fit("tree", folder, monkeypatch):
        if isinstance(event, tinc.Finished):
            break
    (whole,) = folder.glob("*-result.done")
    whole.rename(folder / f".{whole.name[:48]}.1-0123abcd.tinc-tmp")
    planned = next(fit("tree", folder, monkeypatch))
    assert (planned.kept, planned.others) == (0, 0)
    list(fit("tree", folder, monkeypatch))
    assert not folder.exists()


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "save", lambda *_: pytest.fail("saved"))
    list(fit("tree", None, monkeypatch))


def test_states_survive_packing() -> None:
    state = {
        "vector": np.arange(3, dtype="f4"), "nested": {"data": b"\0\1", "empty": b"", "none": None},
        "numbers": [1, 2.5, float("inf"), 2**120], "half": np.zeros((0, 2), "f8"),
    }  # fmt: skip
    found = unpack(pack(state))
    assert found is not None
    np.testing.assert_array_equal(found.pop("vector"), state.pop("vector"))
    assert found.pop("half").shape == (0, 2) and state.pop("half") is not None
    assert found == state
    assert unpack(b"") is None and unpack(pack(state)[:-30]) is None


def test_objects_are_never_unpickled() -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return pytest.fail, ("executed",)

    hostile = np.empty(1, object)
    hostile[0] = Evil()
    import io

    file = io.BytesIO()
    np.savez(file, said=hostile)
    assert unpack(file.getvalue()) is None


def test_pieces_are_saved_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "parts", "key")
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 1e9)
    pieces = Pieces(journal)
    for number in range(5):
        pieces.put(f"{number}", {"data": bytes([number])})
    assert not (tmp_path / "parts").exists()
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)
    pieces.put("5", {"data": b"5"})
    assert journal.kept() == 1
    again = Pieces(Journal(tmp_path / "parts", "key"))
    assert again.get("3") == {"data": b"\3"} and again.get("6") is None


def test_what_was_kept_under_one_name_is_of_no_use_under_another(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "key")
    for number in range(2):
        journal.save(f"{number}.block", {"number": number})
    (tmp_path / "key-0.block").write_bytes((tmp_path / "key-1.block").read_bytes())
    assert journal.load("0.block") is None and journal.load("1.block") == {"number": 1}


def test_states_of_networks_of_before_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that a version with other networks for the same bytes has kept once crashed, again and again."""
    *_, expected = fit("tree", None, monkeypatch)
    with monkeypatch.context() as before:
        before.setattr(fit_tree, "STATES", "")
        before.setattr(allocation, "GROWTH", 3.0)
        before.setattr(allocation, "SMALL_GROWTH", 3.0)
        before.setattr(trainer, "REPORT_SECONDS", 0.0)
        for event in fit("tree", tmp_path / "parts", monkeypatch):
            if isinstance(event, tinc.Progress) and event.step == 35:
                break
    assert any((tmp_path / "parts").iterdir())
    first, *_, finished = fit("tree", tmp_path / "parts", monkeypatch)
    assert first.kept
    assert finished.volume.parts.data() == expected.volume.parts.data()
    assert not (tmp_path / "parts").exists()
