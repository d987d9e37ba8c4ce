"""What every test starts from: settings of its own, fixed seeds, no network. Imports neither torch nor napari."""

import os
import random
import socket
import sys
import tempfile
from pathlib import Path

# Before napari reads it: the tests must not rewrite the user's settings.
if "NAPARI_CONFIG" not in os.environ:
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
    """The small volumes of tests would mostly be better without networks; test_plain.py is about that."""
    from napari_tinc import plain

    plain.MOST_RATIO = 0


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
