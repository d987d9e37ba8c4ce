"""``napari-tinc share``: the link, the page, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest
from command_line import MODULE

from napari_tinc.cli.main import main

GOLDEN = Path(__file__).parents[1] / "golden"


def test_a_link_until_ctrl_c(tmp_path: Path) -> None:
    file = tmp_path / "a brain.tinc"
    file.write_bytes((GOLDEN / "trained.tinc").read_bytes())
    with subprocess.Popen(
        [*MODULE, "share", file], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            name, link = process.stdout.readline().split()
            assert (
                name == "link" and link.startswith("http://127.0.0.1:") and link.endswith("?url=files/a%2520brain.tinc")
            )
            url = link.partition("index.html")[0] + "files/a%20brain.tinc"
            with urllib.request.urlopen(url, timeout=20) as response:
                assert response.read() == file.read_bytes()
            process.send_signal(signal.SIGINT)
            assert "until Ctrl-C ends this command" in process.stdout.read()
            assert (process.wait(20), process.stderr.read()) == (0, "")
        finally:
            process.kill()


def test_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "brain.html"
    assert main(["share", str(GOLDEN / "bounded-u2.tinc"), "--html", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(page), "bytes": page.stat().st_size}
    assert b'data-name="bounded-u2.tinc"' in page.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NOTE", "--html", "OUT.html"], "note.tinc: not a .tinc file: file size is 5, expected"),
        (["GOLD", "--html", "OUT.txt"], "OUT.txt: its suffix must be .html or .htm"),
        (["GOLD", "--html", "no/where.html"], "there is no folder"),
        (["GOLD", "--host", "203.0.113.1"], "Cannot assign requested address"),
        (["gone.tinc"], "gone.tinc: No such file or directory"),
    ],
)
def test_what_cannot_be_shared_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("note.tinc").write_text("hello")
    names = {"NOTE": "note.tinc", "GOLD": str(GOLDEN / "bounded-u2.tinc")}
    assert main(["share", *(names.get(each, each) for each in arguments)]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["note.tinc"]


def test_a_damaged_file_becomes_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray((GOLDEN / "trained.tinc").read_bytes())
    data[len(data) // 2] ^= 4
    path, page = tmp_path / "damaged.tinc", tmp_path / "damaged.html"
    path.write_bytes(data)
    assert main(["share", str(path), "--html", str(page)]) == 1
    assert "CRC-32" in capsys.readouterr().err
    assert not page.exists()


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path, page = tmp_path / os.fsdecode(b"bad\xff.tinc"), tmp_path / "page.html"
    try:
        shutil.copy(GOLDEN / "trained.tinc", path)
    except OSError:
        pytest.skip("this file system has no such names")
    assert main(["share", str(path), "--html", str(page)]) == 0
    assert "bad\ufffd.tinc" in page.read_text()


def test_a_page_is_not_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["share", str(GOLDEN / "trained.tinc"), "--html", str(page), "--port", "8000"]) == 1
    assert "leave out --port" in capsys.readouterr().err and not page.exists()


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["share", str(GOLDEN / "trained.tinc"), "--port", port]) == 1
    error = capsys.readouterr().err
    assert f"--port {port}" in error and error.count("\n") == 1


@pytest.mark.parametrize("port", ["-1", "65536", "x", "1.5"])
def test_ports_are_numbers_of_ports(port: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["share", "v.tinc", f"--port={port}"])
