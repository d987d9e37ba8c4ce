"""What the tests of the command line share."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_tinc import events
from napari_tinc.cli import compress
from napari_tinc.encoding import log

SPACING = (3.0, 1.5, 1.5)
SHAPE = (40, 24, 28)
MODULE = [sys.executable, "-W", "error", "-m", "napari_tinc.cli.main"]
FIGURES = ("file", "bytes", "ratio", "bits_per_voxel", "psnr", "ssim", "rmse", "max_error")

CHANNELS = [{"name": "DAPI", "color": "#0000ff"}, {"name": "GFP", "color": "#00ff00"}]
PLANNED = "2 blocks of 22 x 22 x 20 with networks, at most about "


def wave(shape: tuple[int, ...] = SHAPE, dtype: Any = "uint8") -> np.ndarray[Any, Any]:
    z, y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    return (127 + 100 * np.sin(5 * z) * np.cos(7 * y) * np.sin(4 * x + z)).astype(dtype)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def interrupted_after_a_block(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As by Ctrl-C, when the first block is finished."""
    entry = log.log_entry

    def interrupt(event: events.Progress) -> dict[str, Any]:
        if event.phase == "blocks" and event.step == 1:
            raise KeyboardInterrupt
        return entry(event)

    with monkeypatch.context() as patch:
        patch.setattr(compress, "log_entry", interrupt)
        yield


class Viewer:
    """What of napari the demo uses."""

    def __init__(self, title: str) -> None:
        self.layers: list[tuple[Any, dict[str, Any]]] = []
        self.canvas = types.SimpleNamespace(grid=types.SimpleNamespace(enabled=False))

    def add_image(self, array: Any, **options: Any) -> None:
        self.layers.append((array, options))
