"""Files and runs for the tests of the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import CHANNELS, SHAPE, SPACING, wave
from short_fits import short_fits, shorten

import napari_tinc as tinc
from napari_tinc.cli.main import main
from napari_tinc.io.write import write_image


@pytest.fixture(autouse=True)
def _short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


@pytest.fixture(autouse=True)
def _no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.fixture(scope="session")
def content() -> bytes:
    """A .tinc file, good enough that some detail is kept."""
    with short_fits(n_steps=150):
        return tinc.compress(wave(), ratio=8, spacing=SPACING, units="micrometer").parts.data()


@pytest.fixture
def file(tmp_path: Path, content: bytes) -> str:
    (tmp_path / "v.tinc").write_bytes(content)
    return str(tmp_path / "v.tinc")


@pytest.fixture
def image(tmp_path: Path) -> str:
    write_image(tmp_path / "v.tif", wave(), SPACING, "micrometer")
    return str(tmp_path / "v.tif")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that succeeds; what it printed."""

    def run(*arguments: object) -> str:
        assert main(list(map(str, arguments))) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


@pytest.fixture
def run_json(run: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    """Runs a command with --json; the one object that it printed."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    def run_json(*arguments: object) -> dict[str, Any]:
        out = run(*arguments, "--json")
        assert out.count("\n") == 1
        return json.loads(out, parse_constant=refuse)

    return run_json


@pytest.fixture
def fail(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that fails; its reason."""

    def fail(*arguments: object) -> str:
        assert main(list(map(str, arguments))) == 1
        out, err = capsys.readouterr()
        assert out == ""
        *planned, reason = err.splitlines()
        assert len(planned) <= 1 and all(line.endswith(" on disk") for line in planned)
        assert reason.startswith("napari-tinc: ")
        return reason.removeprefix("napari-tinc: ")

    return fail


@pytest.fixture
def long(tmp_path: Path) -> str:
    """A volume that `--block 24` cuts in two."""
    write_image(tmp_path / "v.tif", wave((44, 22, 20)), SPACING, "micrometer")
    return str(tmp_path / "v.tif")


@pytest.fixture
def series(tmp_path: Path) -> str:
    """Two channels of two points in time."""
    image = np.stack([wave(), wave()[::-1], wave()[:, ::-1], wave()[..., ::-1]]).reshape(2, 2, *SHAPE)
    write_image(tmp_path / "s.ome.tif", image, SPACING, "micrometer", axes="tczyx", channels=CHANNELS)
    return str(tmp_path / "s.ome.tif")
