"""Fits of networks in a tenth of a second, for tests to which it does not matter how good they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from napari_tinc.training import task

BATCH = 512  # voxels in a step


def shorten(patch: pytest.MonkeyPatch, n_steps: int = 20) -> None:
    """Have fits by any preset take few steps of few voxels."""
    patch.setattr(task, "LEAST_STEPS", n_steps)
    for preset in task.STEPS:
        patch.setitem(task.STEPS, preset, 1)
        patch.setitem(task.BATCH, preset, BATCH)


@contextmanager
def short_fits(n_steps: int = 20) -> Iterator[None]:
    """As a context, for what tests share."""
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch, n_steps)
        yield
