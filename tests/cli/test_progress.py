"""Progress in a terminal, and whole processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import MODULE, SHAPE

from napari_tinc import events
from napari_tinc.cli import progress
from napari_tinc.cli.main import main

PROGRESS = events.Progress("training", 40, 500, 2.0, 95.6, 0.01, 30.123, 32100)


def test_stderr_may_be_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """What belongs there went to stdout, among the JSON."""
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["info", str(tmp_path / "lost.tinc"), "--json"]) == 1
    sys.stderr.close()
    assert list(json.loads(capsys.readouterr().out)) == ["error"]


def test_progress_on_a_terminal_is_one_line_that_changes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    ticker = progress.Ticker()
    for event in (replace(PROGRESS, nbytes=None), PROGRESS):
        ticker.show(event)
    ticker.clear()
    out, err = capsys.readouterr()
    lines = err.split("\r")[1::2]
    assert out == ""
    assert {len(line) for line in lines} == {59}
    assert [line.rstrip() for line in lines] == [
        "training 40/500  30.12 dB  96 s left",
        "training 40/500  30.12 dB  32,100 bytes  96 s left",
        "",
    ]
    assert "\n" not in err


def test_progress_elsewhere_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ticker = progress.Ticker()
    for _ in range(60):
        now[0] += 0.2
        ticker.show(PROGRESS)
    ticker.clear()
    assert capsys.readouterr().err == "training 40/500  30.12 dB  32,100 bytes  96 s left\n" * 2


def test_as_a_process(tmp_path: Path, file: str) -> None:
    info = subprocess.run([*MODULE, "info", file, "--json"], capture_output=True, text=True, check=True, timeout=60)
    assert (json.loads(info.stdout)["shape"], info.stderr) == (list(SHAPE), "")
    for arguments, code in ((["verify", "lost.tinc"], 1), (["verify"], 2)):
        failed = subprocess.run(MODULE + arguments, capture_output=True, text=True, timeout=60)
        assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (code, "", 1)


@pytest.mark.skipif(os.name != "posix", reason="pipes break otherwise there")
def test_a_reader_that_leaves_early(file: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        result = subprocess.run([*MODULE, "info", file], stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (1, "")
