"""One frozen object of options: what it checks, what it keeps, and that every door knows all of them."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from volumes import small_array

import napari_tinc as tinc
from napari_tinc.isolation.child import fit_file
from napari_tinc.storage import checkpoint

FIELDS = {field.name: field.default for field in fields(tinc.Options)}


def test_compress_has_the_same_keywords_with_the_same_defaults() -> None:
    given = {
        name: parameter.default
        for name, parameter in inspect.signature(tinc.compress).parameters.items()
        if name not in ("array", "options", "on_progress")
    }
    assert given == FIELDS


def test_every_option_is_documented_in_both() -> None:
    for door in (tinc.Options, tinc.compress):
        parts = (door.__doc__ or "").split("----------")[1].split("Raises")[0]
        lines = [line.strip().partition(" : ")[0] for line in parts.splitlines() if " : " in line]
        assert set(FIELDS) <= {name for line in lines for name in line.split(", ")}


def test_options_and_keywords_give_the_same_file() -> None:
    options = tinc.Options(max_error=2, spacing=[2, 1, 1], units="mm", block=16)
    expected = tinc.compress(small_array(), max_error=2, spacing=[2, 1, 1], units="mm", block=16).parts.data()
    assert tinc.compress(small_array(), options=options).parts.data() == expected
    for events in (tinc.fit(small_array(), options), tinc.fit_isolated(small_array(), options)):
        *_, finished = events
        assert isinstance(finished, tinc.Finished) and finished.volume.parts.data() == expected


def test_either_options_or_keywords() -> None:
    options = tinc.Options(ratio=8)
    for call in (tinc.compress, tinc.fit, tinc.fit_isolated):
        with pytest.raises(TypeError, match="options and .* given, expected one: dataclasses.replace"):
            call(small_array(), options=options, preset="fast")


def test_options_are_checked_when_they_are_made_and_when_they_are_changed() -> None:
    with pytest.raises(ValueError, match="2 targets given, ratio=8 and psnr=30"):
        tinc.Options(ratio=8, psnr=30)
    with pytest.raises(ValueError, match="levels=2 and max_error=0 given, expected one: such a file has no networks"):
        replace(tinc.Options(levels=2), max_error=0)


def test_nothing_changes_afterwards() -> None:
    spacing, widths, channel = [2.0, 1.0, 1.0], [9, 9], {"name": "a"}
    options = tinc.Options(spacing=spacing, widths=widths, channels=[channel])
    spacing[0], widths[0], channel["name"] = 7, 7, "b"
    assert options == tinc.Options(spacing=(2, 1, 1), widths=(9, 9), channels=[{"name": "a"}])
    with pytest.raises(FrozenInstanceError):
        options.ratio = 8  # type: ignore[misc]


def test_the_target_and_the_size_it_means() -> None:
    assert tinc.Options().target == {"ratio": 64} and tinc.Options().budget(6400) == 100
    assert tinc.Options(nbytes=500).target == {"nbytes": 500} and tinc.Options(nbytes=500).budget(100) == 500
    assert tinc.Options(max_error=0).target == {"max_error": 0} and tinc.Options(max_error=0).budget(100) == 0
    with pytest.raises(ValueError, match="a file of 1000000000000 bytes asked for"):
        tinc.Options(ratio=1).budget(10**12)


def test_what_was_chosen_comes_before_what_an_image_file_says(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", small_array())
    options = tinc.Options(max_error=0, axis_labels="abc", spacing=(3, 1, 1))
    *_, finished = fit_file(str(tmp_path / "a.npy"), tinc.Control(), options)
    assert isinstance(finished, tinc.Finished)
    assert (finished.volume.axis_labels, finished.volume.spacing) == ("abc", (3, 1, 1))
    facts = {"spacing": (2, 1, 1), "units": "mm", "axis_labels": "zyx", "channels": []}
    assert tinc.Options(units="nm").with_facts(facts) == tinc.Options(spacing=(2, 1, 1), units="nm", axis_labels="zyx")


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"max_error": 2, "block": 16, "spacing": [2, 1, 1], "units": "mm"}, "fa04179ee7f289e4"),
        ({"ratio": 6, "method": "predictive", "seed": 3}, "5f65189ecac02b06"),
        ({"psnr": 30, "method": "predictive", "axis_labels": "xyz"}, "c787f4ef0b400496"),
    ],
)
def test_a_job_kept_by_an_earlier_version_goes_on(
    given: dict[str, Any], key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys of before there was an object of options; a change of them forgets what users' folders hold."""
    monkeypatch.setattr("napari_tinc.training.task.version", lambda _: "0.1.0")
    told: list[str] = []
    journal = checkpoint.Journal
    monkeypatch.setattr(
        "napari_tinc.encoding.compress.Journal", lambda folder, key: told.append(key) or journal(folder, key)
    )
    tinc.fit(small_array(), resume=tmp_path / "parts", **given)
    assert told == [key]
