"""Jobs that were interrupted or killed, and go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import MODULE, PLANNED, interrupted_after_a_block, listing, wave

import napari_tinc as tinc
from napari_tinc import events
from napari_tinc.cli import compress, progress
from napari_tinc.cli.main import main
from napari_tinc.encoding import log as encoding_log
from napari_tinc.isolation import caller
from napari_tinc.storage import checkpoint
from napari_tinc.storage.locks import held
from napari_tinc.training import trainer


def test_cancelling_leaves_nothing_behind(
    image: str, file: str, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.ProgressLines, "show", interrupt)
    assert fail("compress", image, file) == "cancelled"
    assert Path(file).read_bytes() == content
    assert listing(Path(file).parent) == ["v.tif", "v.tinc"]


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_interrupting_the_process(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", wave((40, 40, 40)))
    arguments = ["compress", "v.npy", "v.tinc", "--preset", "best", "--log", "log", "--json"]
    with subprocess.Popen(
        MODULE + arguments, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        log, deadline = tmp_path / "log", time.monotonic() + 60
        while not (log.exists() and log.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, '{"error": "cancelled"}\n')
    assert err.splitlines()[-1] == "napari-tinc: cancelled"
    assert listing(tmp_path) == ["log", "v.npy"]


def test_another_process_makes_the_same_file(
    series: str, tmp_path: Path, run_json: Callable[..., dict[str, Any]]
) -> None:
    logs, figures = [], []
    for how in ((), ("--isolate",)):
        log = tmp_path / "log"
        figures.append(run_json("compress", series, tmp_path / "v.tinc", "--max-error", 2, "--log", log, *how))
        logs.append([json.loads(line)["phase"] for line in log.read_text().splitlines()])
        assert listing(tmp_path) == ["log", "s.ome.tif", "v.tinc"]
        figures[-1]["content"] = (tmp_path / "v.tinc").read_bytes()
        figures[-1].pop("seconds")
    assert figures[0] == figures[1] and logs[0] == logs[1]


def test_the_end_of_another_process_is_one_line(
    image: str, tmp_path: Path, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(python: str) -> subprocess.Popen[bytes]:
        code = "import os; os.abort()" if os.name == "posix" else "import os; os._exit(3)"
        return subprocess.Popen([python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    assert "no such file" in fail("compress", tmp_path / "none.npy", tmp_path / "w.tinc", "--isolate")
    monkeypatch.setattr(caller, "_start", start)
    assert "the compression process" in fail("compress", image, tmp_path / "w.tinc", "--isolate")
    assert listing(tmp_path) == ["v.tif"]


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_interrupting_both_processes(tmp_path: Path, run: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "v.npy", wave((64, 64, 32)))
    arguments = ["compress", "v.npy", "v.tinc", "--max-error", "0", "--block", "16"]
    with subprocess.Popen(
        [*MODULE, *arguments, "--isolate"], cwd=tmp_path, text=True, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*.parts/*.block")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does for Ctrl-C
        _, err = process.communicate(timeout=60)
    planned, said = err.splitlines()
    assert planned.startswith("32 blocks of 16 x 16 x 16")
    kept = len(list(tmp_path.glob("*.parts/*.block")))
    assert 1 <= kept < 32 and said.startswith(f"napari-tinc: cancelled; {kept} finished block")
    monkeypatch.chdir(tmp_path)
    run(*arguments)
    assert listing(tmp_path) == ["v.npy", "v.tinc"]
    np.testing.assert_array_equal(np.asarray(tinc.open("v.tinc")), wave((64, 64, 32)))


def test_an_interrupted_compression_goes_on(
    tmp_path: Path, long: str, run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "v.tinc"
    command = ["compress", long, str(out), "--ratio", "8", "--block", "24"]
    with interrupted_after_a_block(monkeypatch):
        assert main(command) == 1
    reason = f"cancelled; 1 finished block is kept in {out}.parts, the same command goes on from there"
    planned, said = capsys.readouterr().err.splitlines()
    assert (
        planned.startswith(PLANNED)
        and planned.endswith(" GB of memory and 3 MB on disk")
        and said == f"napari-tinc: {reason}"
    )
    assert listing(tmp_path) == ["v.tif", "v.tinc.parts"]
    assert main(command) == 0
    assert f"goes on from what is kept in {out}.parts" in capsys.readouterr().err
    assert listing(tmp_path) == ["v.tif", "v.tinc"]
    run(*command[:2], tmp_path / "w.tinc", *command[3:])
    assert out.read_bytes() == (tmp_path / "w.tinc").read_bytes()


def test_an_interrupted_training_is_kept(
    tmp_path: Path, image: str, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CHECKPOINT_SECONDS", "RESULT_SECONDS"):
        monkeypatch.setattr(checkpoint, name, 0.0)
        monkeypatch.setattr(trainer, name, 0.0)
    out = tmp_path / "v.tinc"
    command = ["compress", image, str(out), "--ratio", "8"]
    entry = encoding_log.log_entry

    def interrupt(event: events.Progress) -> dict[str, Any]:
        if event.phase == "packing":
            raise KeyboardInterrupt
        return entry(event)

    with monkeypatch.context() as patch:
        patch.setattr(compress, "log_entry", interrupt)
        reason = fail(*command)
    kept = f" seconds ago is kept in {out}.parts, the same command goes on from there"
    assert reason.startswith("cancelled; what was done until ") and reason.endswith(kept)
    assert main([*command, "--resume"]) == 0 and listing(tmp_path) == ["v.tif", "v.tinc"]


def test_a_process_that_was_killed_leaves_what_it_did(
    tmp_path: Path, long: str, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, entry = tmp_path / "v.tinc", encoding_log.log_entry

    def kill(event: events.Progress) -> dict[str, Any]:
        if event.phase == "blocks" and event.step == 1:
            raise tinc.ChildError("killed")
        return entry(event)

    monkeypatch.setattr(compress, "log_entry", kill)
    reason = fail("compress", long, out, "--ratio", "8", "--block", "24")
    assert reason == f"killed; 1 finished block is kept in {out}.parts, the same command goes on from there"


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_to_a_file_that_is_being_written(tmp_path: Path, image: str, fail: Callable[..., str]) -> None:
    """Both wrote it, and the later one was not told."""
    out, link = tmp_path / "v.tinc", tmp_path / "link.tinc"
    link.symlink_to(out)
    folder = Path(f"{out}.parts")
    with held(folder):
        assert "another process is compressing to it" in fail("compress", image, link, "--max-error", "0")
    assert main(["compress", image, str(link), "--max-error", "0"]) == 0 and link.is_symlink() and out.exists()


def test_resume_wants_something_to_go_on_from(
    tmp_path: Path, long: str, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "v.tinc"
    command = ["compress", long, str(out), "--ratio", "8", "--block", "24", "--resume"]
    assert fail(*command).startswith(f"--resume: {out}.parts holds nothing of this volume with these options")
    assert listing(tmp_path) == ["v.tif"]
    with interrupted_after_a_block(monkeypatch):
        assert main(command[:-1]) == 1
    assert main([*command, "--seed", "1"]) == 1
    assert main(command) == 0
    assert listing(tmp_path) == ["v.tif", "v.tinc"]


def test_finished_blocks_need_a_folder(image: str, fail: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "v.tinc.parts").touch()
    assert fail("compress", image, tmp_path / "v.tinc").endswith("is no folder; what is done is kept there")
