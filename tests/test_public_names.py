"""The public names: written once, shown by dir(), known to type checkers."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from pathlib import Path

import pytest
from short_fits import shorten

import napari_tinc as tinc

ROOT = Path(__file__).parents[1]
NAMES = [
    "ChildError", "Control", "Finished", "Options", "Planned", "Preview", "Progress", "Quality", "TincError",
    "TincVolume", "compare", "compress", "fit", "fit_isolated", "open", "recalibrate",
]  # fmt: skip
USER_CODE = """\
import napari_tinc as tinc
reveal_type(tinc.open("brain.tinc").levels[-1])
reveal_type(tinc.compress([[[0.0]]], ratio=8).ratio)
tinc.compress([[[0.0]]], rate=8)
"""
# Without the types of other libraries, which take mypy half a minute.
CONFIGURATION = """\
[mypy]
mypy_path = src
explicit_package_bases = True
follow_imports = skip
ignore_missing_imports = True
[mypy-napari_tinc.*]
follow_imports = silent
[mypy-numpy.*,torch.*]
follow_imports_for_stubs = True
"""


def test_dir_shows_the_public_names_and_nothing_else() -> None:
    assert dir(tinc) == tinc.__all__ == NAMES
    code = "import napari_tinc; napari_tinc.open; import napari_tinc.cli.main; print(*dir(napari_tinc))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert found.stdout.split() == NAMES  # no submodules after some were imported


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_can_be_had_and_says_what_it_is(name: str) -> None:
    assert getattr(tinc, name).__module__.startswith("napari_tinc.")
    assert getattr(tinc, name).__doc__


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = tinc.nothing  # type: ignore[attr-defined]


def test_type_checkers_know_the_public_names(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    user, configuration = tmp_path / "user.py", tmp_path / "mypy.ini"
    user.write_text(USER_CODE, encoding="utf-8")
    configuration.write_text(CONFIGURATION, encoding="utf-8")
    options = ["--no-error-summary", f"--cache-dir={os.devnull}", "--config-file", str(configuration)]
    command = [sys.executable, "-m", "mypy", *options, str(user)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    notes = [line.partition("user.py:")[2] for line in found.stdout.splitlines()]
    assert notes[:3] == [
        '2: note: Revealed type is "napari_tinc.decoding.lazy_array.LazyArray"',
        '3: note: Revealed type is "float"',
        '4: error: Unexpected keyword argument "rate" for "compress"  [call-arg]',
    ], found.stdout + found.stderr


@pytest.mark.parametrize("name", ["TincVolume", "compare", "compress", "fit", "open", "recalibrate"])
def test_the_example_of_a_docstring_runs_as_it_stands_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where its files go
    shorten(monkeypatch)
    example = doctest.DocTestParser().get_doctest(getattr(tinc, name).__doc__, {}, name, None, None)
    assert example.examples
    report: list[str] = []
    doctest.DocTestRunner().run(example, out=report.append)
    assert "".join(report) == ""
