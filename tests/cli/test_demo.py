"""``napari-tinc demo``, in a napari that is not the real one."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from command_line import Viewer, wave

import napari_tinc as tinc
from napari_tinc import samples
from napari_tinc.cli import demo
from napari_tinc.io.image import Image


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> Image:
    image = Image(wave((36, 36, 36)), "ZYX", (1.0, 1.0, 1.0), "millimeter", "sample")
    monkeypatch.setattr(samples, "mri", lambda: image)
    return image


def test_demo(tmp_path: Path, sample: Image, run: Callable[..., str], run_json: Callable[..., Any]) -> None:
    result = run_json("demo", "--out", tmp_path / "kept.tinc", "--preset", "fast")
    volume = tinc.open(tmp_path / "kept.tinc")
    measured = asdict(tinc.compare(sample.array, volume))
    assert result["seconds"] > 0
    assert {key: result[key] for key in measured} == measured
    assert 64 <= result["ratio"] <= 64 * 1.03
    assert volume.units == "millimeter"
    headings, numbers = run("demo").splitlines()
    assert headings.split()[-1] == "seconds"
    assert numbers.split()[0] == "-"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Viewer]:
    """The viewers that were run, of a napari that is not the real one, on a screen that is not there."""
    opened: list[Viewer] = []
    running: list[Viewer] = []

    def open_viewer(title: str) -> Viewer:
        opened.append(Viewer(title))
        return opened[-1]

    napari = types.SimpleNamespace(Viewer=open_viewer, run=lambda: running.extend(opened))
    monkeypatch.setitem(sys.modules, "napari", napari)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(demo, "QT_PROBE", "print('xcb')")
    return running


def test_demo_shows_both_side_by_side(sample: Image, shown: list[Viewer], run: Callable[..., str]) -> None:
    run("demo")
    [viewer] = shown
    assert viewer.canvas.grid.enabled
    (original, options), (reconstruction, same) = viewer.layers
    assert (options.pop("name"), same.pop("name")) == ("sample", "sample (tinc)")
    assert options == same
    assert (options["scale"], options["units"]) == ((1, 1, 1), ["millimeter"] * 3)
    assert original is sample.array
    assert tinc.compare(original, reconstruction).psnr > 10


@pytest.mark.parametrize("probe", ["print('offscreen')", "import os; os.abort()", "raise ImportError", "exit(3)"])
def test_nothing_is_shown_where_qt_cannot_open_a_window(
    file: str, shown: list[Viewer], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], probe: str
) -> None:
    monkeypatch.setattr(demo, "QT_PROBE", probe)
    demo._show(Image(wave(), "ZYX", None, None, "v"), tinc.open(file))
    assert not shown
    hint = 'napari cannot show it: no Qt binding is installed (pip install "napari-tinc[all]")\n'
    assert capsys.readouterr() == (hint if "ImportError" in probe else "", "")


@pytest.mark.parametrize("variable", ["CI", "DISPLAY"])
def test_no_window_is_tried_where_there_is_no_screen(
    file: str, shown: list[Viewer], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it was tried"))
    monkeypatch.setenv(variable, {"CI": "true", "DISPLAY": ""}[variable])
    demo._show(Image(wave(), "ZYX", None, None, "v"), tinc.open(file))
    assert not shown


@pytest.mark.parametrize("option", ["--no-view", "--json"])
def test_demo_without_a_window(
    sample: Image, shown: list[Viewer], run: Callable[..., str], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr(demo, "_show", lambda *_: pytest.fail("it was called"))
    run("demo", option)
