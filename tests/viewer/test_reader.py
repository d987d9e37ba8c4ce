"""The JavaScript reader of docs/viewer, run by node; see reader.test.mjs and expected.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
N_HOSTILE = "5000"  # Mutated files of each seed; expected.py says how to run more.
NODE = shutil.which("node")


def write_expected(kind: str, path: Path, *options: str) -> None:
    """Have expected.py write the verdicts and values of a kind of files."""
    paths = os.pathsep.join(map(str, (ROOT / "src", ROOT / "tests", ROOT / "tests" / "hostile")))
    command = [sys.executable, str(FOLDER / "expected.py"), kind, str(path), *options]
    subprocess.run(command, check=True, timeout=600, env=os.environ | {"PYTHONPATH": paths})


def run_node(expected: Path, *options: str, **environment: str) -> None:
    """Run the tests of the reader, or some of them, against what is expected."""
    assert NODE, "node is not installed, expected version 18 or later"
    done = subprocess.run(
        [NODE, "--test", *options, str(FOLDER / "reader.test.mjs")], capture_output=True, text=True, timeout=600,
        env=os.environ | {"EXPECTED": str(expected)} | environment,
    )  # fmt: skip
    assert done.returncode == 0 and "\n# pass 0" not in done.stdout, done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_golden_files_in_webassembly_and_in_javascript(tmp_path: Path) -> None:
    write_expected("golden", tmp_path / "golden.bin")
    write_expected("details", tmp_path / "details.bin")
    run_node(tmp_path)
    run_node(tmp_path, NO_WEBASSEMBLY="1")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(4))
def test_hostile_files(seed: int, tmp_path: Path) -> None:
    write_expected("hostile", tmp_path / "hostile.bin", "--inputs", N_HOSTILE, "--seed", str(seed))
    run_node(tmp_path, "--test-name-pattern=hostile files")
