"""One job at a time works in a folder, and none is kept out by one that is gone."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from napari_tinc.storage.locks import held, while_held

fcntl = pytest.importorskip("fcntl")


def test_a_folder_is_held_once(tmp_path: Path) -> None:
    folder = tmp_path / "v.tinc.parts"
    with held(folder):
        assert os.listdir(folder) == ["lock"]
        with pytest.raises(BlockingIOError, match="another process") as caught, held(folder):
            pass
        assert caught.value.filename == str(folder)
        assert os.listdir(folder) == ["lock"]
        (folder / "block").touch()
    assert os.listdir(folder) == ["block"]
    (folder / "block").unlink()
    with held(folder):
        pass
    assert not folder.exists()


def test_it_is_free_after_an_error_and_after_a_job_that_was_given_up(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyError), held(tmp_path / "parts"):
            raise KeyError
        job = while_held(tmp_path / "parts", iter([1, 2]))
        assert next(job) == 1 and (tmp_path / "parts").exists()
        job.close()  # type: ignore[attr-defined]
        assert not (tmp_path / "parts").exists()
    assert list(while_held(None, iter([1, 2]))) == [1, 2]


def test_a_process_that_was_killed_keeps_nobody_out(tmp_path: Path) -> None:
    code = """if True:
        import sys, time
        from napari_tinc.storage.locks import held
        with held(sys.argv[1]):
            print(flush=True)
            time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "parts")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(BlockingIOError), held(tmp_path / "parts"):
            pass
        process.send_signal(signal.SIGKILL)
    assert os.listdir(tmp_path / "parts") == ["lock"]
    with held(tmp_path / "parts"):
        pass
    assert os.listdir(tmp_path) == []


def test_threads_that_come_and_go_never_meet(tmp_path: Path) -> None:
    inside, most, entered = 0, 0, 0

    def come_and_go(_: int) -> None:
        nonlocal inside, most, entered
        for _ in range(300):
            try:
                with held(tmp_path / "parts"):
                    inside += 1
                    most = max(most, inside)
                    entered += 1
                    inside -= 1
            except BlockingIOError:
                pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, range(4)))
    assert most == 1 and entered > 100 and os.listdir(tmp_path) == []


def test_a_disk_without_locks_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    number = errno.ENOLCK
    with held(tmp_path / "parts"), held(tmp_path / "parts"):
        pass
    number = errno.EIO
    with pytest.raises(OSError, match="Input/output"), held(tmp_path / "parts"):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none"), held(tmp_path / "none" / "parts"):
        pass
