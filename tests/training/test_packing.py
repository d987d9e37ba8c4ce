"""Of the steps of the training and finer ones that fill the file, packing takes the better."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from short_fits import shorten

import napari_tinc as tinc
from napari_tinc.training import fit_tree, packing


@pytest.mark.parametrize("better", [1.0, 0.5])
def test_steps_are_finer_only_where_that_is_better(better: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 96.9 % of its bytes was once rounded anew, to 99.9 %, and lost 5 dB."""
    shorten(monkeypatch, n_steps=100)
    z, y, x = np.meshgrid(*[np.linspace(0, 5, n) for n in (24, 20, 22)], indexing="ij")
    volume = np.rint(100 + 80 * np.sin(z + y) * np.cos(x)).astype(np.uint8)
    round_trip, steps, compared = packing.round_trip, [0.0], []

    def noting(architecture: Any, vector: Any, of_tensors: Any, weights_format: Any) -> Any:
        steps.append(float(of_tensors[0]))
        return round_trip(architecture, vector, of_tensors, weights_format)

    def error(*_: object) -> float:
        compared.append(steps[-1])
        return abs(float(np.log2(steps[-1] / (2 * better * compared[0]))))

    monkeypatch.setattr(fit_tree, "AIMED_SHARE", 0.6)
    monkeypatch.setattr(packing, "round_trip", noting)
    monkeypatch.setattr(packing, "_factor_that_fits", lambda *_: 0.5)
    monkeypatch.setattr(packing, "squares_of_sample", lambda *_: error)
    tinc.compress(volume, nbytes=1500, method="networks", preset="fast", device="cpu")
    assert compared == [compared[0], pytest.approx(2 * compared[0])]
    assert steps[-1] == pytest.approx(2 * better * compared[0])
