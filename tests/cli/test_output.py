"""What a person at a terminal sees, and what a pipe gets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import MODULE

from napari_tinc.cli import output, tables

NETWORKS = Path(__file__).parents[1] / "golden" / "trained.tinc"
PLAIN_INFO = """\
file          trained.tinc
shape         24, 28, 30
axes          zyx
dtype         uint16
channels      -
spacing       2, 0.5, 0.5
units         um
value range   1050, 2950
error bound   -
bytes         1,678
ratio         24.03
bits/voxel    0.6659
method        an octree of networks
blocks        1
block shape   24, 28, 30
missing       0
levels        2
leaves        8
scalars       0
parameters    2,048
widths        20, 4
weights       entropy
calibration   none
provenance    PSNR (dB) -, SSIM -

   kind  level  chunks  nodes  bytes
  MODEL      0       1      0     78
WEIGHTS      0       1      1    684
WEIGHTS      1       1      8    800
QUALITY      0       1      0     16
"""
ESCAPE = re.compile(r"\x1b\[[?\d;]*[a-zA-Z]")


def on_terminal(*arguments: str, cwd: Path, columns: int = 100, term: str = "xterm") -> str:
    """Run a command whose stdout and stderr are a terminal; what it wrote there."""
    pty = pytest.importorskip("pty")
    ours, its = pty.openpty()
    settings = {"TERM": term, "COLUMNS": str(columns), "LINES": "50"}
    with subprocess.Popen([*MODULE, *arguments], cwd=cwd, stdout=its, stderr=its, env=os.environ | settings) as process:
        os.close(its)
        written = b""
        while True:
            try:
                piece = os.read(ours, 2**16)
            except OSError:  # its end is closed
                piece = b""
            if not piece:
                break
            written += piece
    os.close(ours)
    assert process.returncode == 0, written
    return written.decode().replace("\r\n", "\n")


def test_a_pipe_gets_the_same_plain_lines_as_ever_and_no_rich() -> None:
    code = "import sys; from napari_tinc.cli.main import main; main(sys.argv[1:]); sys.exit('rich' in sys.modules)"
    command = [sys.executable, "-c", code, "info", NETWORKS.name]
    found = subprocess.run(command, cwd=NETWORKS.parent, check=True, capture_output=True, text=True, timeout=60)
    assert (found.stdout, found.stderr) == (PLAIN_INFO, "")


def test_a_terminal_gets_tables() -> None:
    written = on_terminal("info", NETWORKS.name, cwd=NETWORKS.parent)
    lines = [line.rstrip() for line in ESCAPE.sub("", written).splitlines()]
    assert re.search(r"\x1b\[1mbits/voxel", written)  # keys are bold
    assert "bits/voxel   0.6659" in lines and "method       an octree of networks" in lines
    head = next(at for at, line in enumerate(lines) if line.startswith("kind"))
    assert lines[head].split() == ["kind", "level", "chunks", "nodes", "bytes"]
    assert set(lines[head + 1]) == {"─"}
    assert lines[head + 2].split() == ["MODEL", "0", "1", "0", "78"]


def test_a_terminal_gets_json_and_one_that_cannot_draw_plain_lines_as_pipes_do() -> None:
    assert on_terminal("info", NETWORKS.name, cwd=NETWORKS.parent, term="dumb") == PLAIN_INFO
    pipe = subprocess.run(
        [*MODULE, "info", NETWORKS.name, "--json"], cwd=NETWORKS.parent, capture_output=True, text=True, timeout=60
    )
    assert on_terminal("info", NETWORKS.name, "--json", cwd=NETWORKS.parent) == pipe.stdout


def test_a_terminal_gets_a_bar_while_a_volume_is_compressed(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(100, 5, (48, 48, 48)).astype(np.uint8))
    written = on_terminal("compress", "v.npy", "v.tinc", "--max-error", "1", cwd=tmp_path)
    assert re.search(r"blocks 1/1 (\x1b\[[\d;]*m)?━", written)
    assert written.index("\x1b[?25h") < written.rindex("━")  # A process that is killed leaves the cursor visible.
    lasting = ESCAPE.sub("", written.rpartition("\x1b[2K")[2])
    assert lasting.startswith("file        v.tinc") and "max error   1" in lasting
    assert "made with the predictive coder" in written


def test_a_table_too_wide_for_a_terminal_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{f"column {number}": 10**9 for number in range(20)}] * 2
    output.draw([rows, "a\x1b[2Jb"])
    assert capsys.readouterr().out == f"{tables.table(rows)}\n\na?[2Jb\n"
