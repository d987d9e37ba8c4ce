"""What a job needs is told before it starts, and it is refused where that is not there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc.encoding import resources
from napari_tinc.encoding.resources import estimate_blocks
from napari_tinc.encoding.sources import VolumeSource
from napari_tinc.training.task import Settings

VOLUME = np.broadcast_to(np.arange(300, dtype="u2"), (300, 300, 300))  # of no memory


def free(monkeypatch: pytest.MonkeyPatch, *, memory: float = 1e15, disk: float = 1e15) -> None:
    monkeypatch.setattr(resources.psutil, "virtual_memory", lambda: SimpleNamespace(available=memory))
    own = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=3.5e8))
    monkeypatch.setattr(resources.psutil, "Process", lambda: own)
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: SimpleNamespace(free=disk))


@pytest.mark.parametrize(
    ("options", "way_out"),
    [
        ({"ratio": 500}, "ask for smaller blocks (--block 128), or close other programs"),
        ({"ratio": 500, "block": 32}, "close other programs"),
        ({"max_error": 0, "block": 128}, "close other programs"),
    ],
)
def test_too_little_memory_is_refused_with_both_numbers_and_a_way_out(
    options: dict[str, Any], way_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, memory=0 if "block" in options else 3e8)
    with pytest.raises(ValueError, match=r"^about \d\.\d GB of memory needed, [\d.]+ [GM]B free: ") as error:
        tinc.fit(VOLUME, **options)
    assert str(error.value).endswith(f"free: {way_out}")


def test_a_full_disk_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.zeros((40, 40, 40), "u1")
    free(monkeypatch, disk=1e5)
    folder = tmp_path / "parts"
    with pytest.raises(ValueError, match=f"about 3 MB needed on the disk of {folder}, 100 kB free there"):
        tinc.fit(volume, resume=folder)
    next(tinc.fit(volume))  # which writes nothing
    assert not folder.exists()


def test_every_job_says_what_it_needs() -> None:
    volume = np.zeros((40, 40, 40), "u1")
    for options in ({"ratio": 8}, {"psnr": 30}, {"max_error": 0}, {"ratio": 8, "block": 20}):
        planned = next(tinc.fit(volume, **options))  # type: ignore[arg-type]
        assert isinstance(planned, tinc.Planned) and 3e8 < planned.memory < 5e8 and 0 < planned.disk < 1e7
        assert planned.n_blocks == (8 if "block" in options else 1)


def test_an_estimate_has_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    source, settings = VolumeSource.of(VOLUME), Settings("fast")
    whole, cut = (estimate_blocks(source, 5 * 10**4, settings, edge).memory for edge in (None, 64))
    assert 1e9 < whole < 3e9 and cut < whole / 2
    free(monkeypatch)
    assert (
        next(tinc.fit(VOLUME[:100, :100, :100], ratio=20)).memory
        == estimate_blocks(  # type: ignore[union-attr]
            VolumeSource.of(VOLUME[:100, :100, :100]), 10**5, settings
        ).memory
    )
