"""What every test starts from: settings of its own, fixed seeds, no network. Imports neither torch nor napari."""

import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before napari reads it: the tests must not rewrite the user's settings, nor two workers each other's.
if "NAPARI_CONFIG" not in os.environ or "PYTEST_XDIST_WORKER" in os.environ:
    _settings = tempfile.TemporaryDirectory(prefix="napari-tinc-tests-")
    os.environ["NAPARI_CONFIG"] = str(Path(_settings.name) / "settings.yaml")

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile("napari-tinc", derandomize=True, deadline=None, max_examples=30)
hypothesis.settings.load_profile("napari-tinc")


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator, the same for every test."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """Seed the global generators, for code that uses them."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _always_networks() -> None:
    """The small volumes of tests would mostly be better without networks; encoding/test_without_networks.py is about
    that."""
    from napari_tinc.encoding import without_networks

    without_networks.MOST_RATIO = 0


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a connection to another machine an error: whatever a test needs is in the repository."""
    connect = socket.socket.connect

    def local_connect(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            self.close()
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_connect)


@pytest.fixture(params=["unnamed", "named"])
def both_ways(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How files are saved: with a name from the start, as some systems and disks have to, or without."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
        return
    try:
        os.close(os.open(tmp_path, os.O_TMPFILE | os.O_RDWR))
    except (AttributeError, OSError):
        pytest.skip("not on this system or disk")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB, where we may mount one."""
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("needs root to mount a small disk")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)
