"""The parts of the page of docs/viewer that need no browser, run by node; see app-*.test.mjs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.mark.timeout(120)
def test_parts_of_the_page() -> None:
    node = shutil.which("node")
    assert node, "node is not installed, expected version 18 or later"
    files = sorted(map(str, FOLDER.glob("app-*.test.mjs")))
    done = subprocess.run([node, "--test", *files], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
