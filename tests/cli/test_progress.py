"""Progress in a terminal, and whole processes."""

from __future__ import annotations

import json
import os
import re
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


def test_progress_on_a_terminal_is_a_bar_that_goes_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in (sys.stderr, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0)
    shown = progress.make_progress()
    for event in (replace(PROGRESS, nbytes=None), PROGRESS):
        shown.show(event)
    shown.clear()
    out, err = capsys.readouterr()
    lines = [re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", line) for line in err.split("\r")]
    assert out == ""
    assert {len(line.strip("\n")) for line in lines if line.strip()} == {80}
    assert re.fullmatch("training 40/500 ━+[╸╺]?━+ 30.12 dB  96 s left", lines[0])
    assert any(re.fullmatch("training 40/500 ━+[╸╺]?━+ 30.12 dB  32,100 bytes  96 s left", line) for line in lines)
    assert err.endswith("\x1b[2K")  # the line is erased


def test_a_terminal_that_cannot_draw_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress.make_progress(), progress.ProgressLines)


def test_progress_elsewhere_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    shown = progress.make_progress()
    for _ in range(60):
        now[0] += 0.2
        shown.show(PROGRESS)
    shown.clear()
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
