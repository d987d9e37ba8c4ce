"""Importance: errors weigh more where the user says so, with networks and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc.bounded.box import decode_box
from napari_tinc.encoding import without_networks
from napari_tinc.encoding.regions.importance import MOST_STEPS, Importance
from napari_tinc.encoding.regions.weighed_boxes import WeighedBoxes
from napari_tinc.encoding.sources import VolumeSource
from napari_tinc.isolation.caller import fit_isolated
from napari_tinc.octree import Octree
from napari_tinc.training import task
from napari_tinc.training.sampling import Draws, Sampler

SHAPE = (32, 32, 32)


def noisy_waves(seed: int = 0) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    values = (
        100 + 40 * np.sin(z / 3) * np.cos(y / 2.5) * np.sin(x / 2) + np.random.default_rng(seed).normal(0, 3, SHAPE)
    )
    return values.astype(np.uint8)


def corner(weight: float = 10) -> np.ndarray:
    importance = np.ones(SHAPE, np.float32)
    importance[:16, :16, :16] = weight
    return importance


def psnr_in_corner(values: np.ndarray, volume: tinc.TincVolume) -> float:
    errors = np.asarray(volume)[:16, :16, :16].astype(float) - values[:16, :16, :16]
    return 20 * np.log10(np.ptp(values) / np.sqrt((errors**2).mean()))


@pytest.mark.parametrize(("keywords", "gain"), [
    ({"method": "networks", "ratio": 24}, 2), ({"method": "networks", "ratio": 3, "block": 16}, 1),
    ({"method": "predictive", "ratio": 8}, 2),
])  # fmt: skip
def test_an_important_region_is_better_by_so_many_decibels_at_equal_bytes(
    keywords: dict, gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(task.STEPS, "fast", 400)
    values = noisy_waves()
    plain = tinc.compress(values, preset="fast", **keywords)
    weighed = tinc.compress(values, preset="fast", importance=corner(), **keywords)
    assert weighed.nbytes_compressed <= values.nbytes / keywords["ratio"]
    assert psnr_in_corner(values, weighed) >= psnr_in_corner(values, plain) + gain


def test_equal_weights_share_bytes_as_none_do() -> None:
    values = noisy_waves()
    plain = tinc.compress(values, ratio=8, method="predictive")
    weighed = tinc.compress(values, ratio=8, method="predictive", importance=np.full(SHAPE, 7))
    assert weighed.parts.data() == plain.parts.data()


def test_a_separate_process_makes_the_same_bytes() -> None:
    values, keywords = noisy_waves(), {"ratio": 8, "method": "predictive"}
    *_, finished = fit_isolated(values, importance=corner(), **keywords)
    assert isinstance(finished, tinc.Finished)
    assert finished.volume.parts.data() == tinc.compress(values, importance=corner(), **keywords).parts.data()


def test_the_better_method_is_that_of_the_smaller_weighed_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.STEPS, "fast", 30)
    monkeypatch.setattr(without_networks, "MOST_RATIO", 300)
    *_, finished = tinc.fit(noisy_waves(), ratio=8, preset="fast", importance=corner())
    assert isinstance(finished, tinc.Finished)
    assert finished.reason.endswith("dB behind, as importance weighs errors")
    other = "the predictive coder was" if finished.method == "networks" else "networks were"
    assert finished.reason.startswith(other)


def test_draws_weigh_errors_without_bias() -> None:
    rng = np.random.default_rng(0)
    volume, importance = rng.normal(size=(16, 16, 16)).astype(np.float32), np.ones((16, 16, 16), np.float32)
    importance[:8] = 3
    importance[8:] = 0
    importance /= importance.mean()
    tree = Octree.full((16, 16, 16), 1)
    sampler = Sampler(volume, tree, np.arange(8), importance)
    draws = Draws(sampler, np.arange(8), np.full(8, 400), (0,), 0, 1)
    means = []
    for _ in range(40):
        draws.draw()
        means.append(float((draws.weight * draws.intensity**2).mean()))
        draws.note(draws.intensity**2)
        sampler.learn([draws])
    assert np.mean(means) == pytest.approx(float((importance * volume**2).mean()), rel=0.03)


def test_bounds_of_voxels_follow_their_importance() -> None:
    source, whole = VolumeSource.of(noisy_waves()), (slice(None),) * 3
    steps = Importance.of(corner(4), source).bound_steps(0, whole)
    assert np.array_equal(np.unique(steps[corner(4) > 1]), [-2]) and np.array_equal(
        np.unique(steps[corner(4) == 1]), [0]
    )
    graded = np.exp(np.linspace(-20, 20, source.size)).reshape(SHAPE)
    assert len(np.unique(Importance.of(graded, source).bound_steps(0, whole))) <= MOST_STEPS


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_no_voxel_of_a_weighed_box_is_further_off_than_is_told(dtype: str) -> None:
    values, source = noisy_waves().astype(dtype), VolumeSource.of(noisy_waves())
    boxes = WeighedBoxes([Importance.of(corner(30), source).bound_steps(0, (slice(None),) * 3)])
    for bound in (0, 1, 7):
        made = boxes.encode(0, values, bound, 3, 0.3)
        errors = decode_box(made.data, SHAPE, values.dtype).astype(float) - values
        assert np.abs(errors).max() <= boxes.reach(0, bound, 0.3, values.dtype)
        assert made.squares == pytest.approx(float((errors**2).sum()))


@pytest.mark.parametrize(("importance", "message"), [
    (np.ones((3, 3, 3)), r"importance has the shape \(3, 3, 3\), expected \(32, 32, 32\)"),
    (np.zeros(SHAPE), "adds up to 0"),
    (np.full(SHAPE, -1.0), "32768 values such as -1, expected finite numbers of 0 or more"),
    (np.full(SHAPE, np.nan), "such as nan"),
    (np.full(SHAPE, 1j), "expected numbers"),
])  # fmt: skip
def test_unusable_weights_are_refused_in_a_line(importance: np.ndarray, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        tinc.compress(noisy_waves(), importance=importance)
    assert "\n" not in str(caught.value)


def test_a_bound_for_all_voxels_weighs_nothing() -> None:
    with pytest.raises(ValueError, match="importance= and max_error=3 given, expected one"):
        tinc.compress(noisy_waves(), max_error=3, importance=corner())


def test_an_exact_region_and_importance_go_together(tmp_path: Path) -> None:
    values, mask = noisy_waves(), np.zeros(SHAPE, bool)
    mask[20:28, 20:28, 20:28] = True
    volume = tinc.compress(values, ratio=6, method="predictive", importance=corner(), exact=mask, resume=tmp_path)
    assert (np.asarray(volume)[mask] == values[mask]).all() and volume.ratio >= 6
