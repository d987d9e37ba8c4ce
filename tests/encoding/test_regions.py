"""Regions that are kept bit for bit, or within a bound, in files whose other voxels are compressed by any method."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from short_fits import shorten

import napari_tinc as tinc
from napari_tinc.differences import violations
from napari_tinc.encoding.regions import exact as regions
from napari_tinc.encoding.regions.filling import filled
from napari_tinc.encoding.verify import psnr_of_regions, verify_against
from napari_tinc.isolation.caller import fit_isolated

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
import reader

N_MASKS = int(os.environ.get("TINC_MASKS", "25"))  # 1000 were tried when this was written.
DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")


def waves(shape: tuple[int, ...] = (14, 24, 20), dtype: str = "u2", seed: int = 0) -> np.ndarray:
    """Waves with noise."""
    z, y, x = np.indices(shape[-3:])
    values = 60 + 40 * np.sin(z / 5) * np.cos(y / 4) * np.sin(x / 6 + seed)
    noise = np.random.default_rng(seed).normal(0, 4, shape)
    return (values + noise).astype(dtype)


def ball(shape: tuple[int, ...] = (14, 24, 20), radius: float = 5) -> np.ndarray:
    at = np.indices(shape)
    middle = np.array(shape).reshape(3, 1, 1, 1) // 2
    return ((at - middle) ** 2).sum(axis=0) < radius**2


def random_mask(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of one of several kinds, never empty."""
    mask = np.zeros(shape, bool)
    match rng.integers(5):
        case 0:
            mask = rng.random(shape) < rng.choice([0.02, 0.3, 0.9])
        case 1:
            low = rng.integers(0, shape)
            mask[tuple(slice(a, a + n) for a, n in zip(low, rng.integers(1, 9, 3), strict=True))] = True
        case 2:
            mask[...] = True
        case 3:
            mask[tuple(rng.integers(0, shape))] = True
        case 4:
            at = np.indices(shape) - rng.integers(0, shape).reshape(3, 1, 1, 1)
            mask = (at**2).sum(axis=0) < rng.integers(2, 60)
    if not mask.any():
        mask.flat[0] = True
    return mask


@pytest.mark.parametrize("seed", range(N_MASKS))
def test_every_voxel_of_a_random_mask_is_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 12, 3).tolist())
    dtype = np.dtype(DTYPES[seed % len(DTYPES)])
    values = (rng.normal(0, 30, shape) + 40 * np.indices(shape).sum(axis=0)).clip(0, 120).astype(dtype)
    mask, bound = random_mask(rng, shape), float(rng.choice([0, 0, 1, 2.5]))
    if dtype.kind == "f" and seed % 4 == 0:
        values[mask] = rng.choice([np.nan, np.inf, -0.0, 1e-5, 3], int(mask.sum())).astype(dtype)
    volume = tinc.compress(values, max_error=20, exact=mask, exact_max_error=bound)
    found = np.asarray(volume)
    assert not violations(values[mask][None], found[mask][None], bound)
    assert not violations(values, found, 20)
    assert volume.regions.n_voxels == mask.sum() and volume.regions.bound == bound
    assert verify_against(volume, values).violations == 0
    data = volume.parts.data()
    assert reader.decode(data).tobytes() == found.tobytes()
    place = tuple(slice(int(a), int(a) + 4) for a in rng.integers(0, shape))
    assert np.asarray(tinc.TincVolume(data)[place]).tobytes() == np.ascontiguousarray(found[place]).tobytes()


@pytest.mark.parametrize("keywords", [
    {"method": "networks", "ratio": 6}, {"method": "networks", "ratio": 2.5, "block": 16},
    {"method": "predictive", "ratio": 6}, {"psnr": 25, "method": "predictive"},
])  # fmt: skip
def test_any_method_can_have_a_region(keywords: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    values, mask = waves(), ball()
    volume = tinc.compress(values, preset="fast", exact=mask, spacing=(2, 1, 1), units="mm", **keywords)
    found = np.asarray(volume)
    assert (found[mask] == values[mask]).all() and (found[~mask] != values[~mask]).any()
    if "ratio" in keywords:
        assert volume.ratio >= keywords["ratio"]
    assert (volume.spacing, volume.units) == ((2, 1, 1), "mm")
    assert volume.value_range == (values.min(), values.max())
    assert np.abs(reader.decode(volume.parts.data()).astype(int) - found).max() <= 1
    quality, decibels = tinc.compare(values, volume), psnr_of_regions(values, found, volume)
    assert decibels["psnr_inside"] == np.inf and float(volume.provenance["psnr_inside"]) == 9999
    assert float(volume.provenance["psnr"]) == pytest.approx(quality.psnr, abs=1e-3)
    assert float(volume.provenance["psnr_outside"]) == pytest.approx(decibels["psnr_outside"], abs=1e-3)
    leaves = volume.leaves
    errors = [np.abs(found[box].astype(int) - values[box]).max() for box in map(box_of, leaves)]
    assert (leaves["max_error"] >= np.array(errors) * (1 - 1e-9)).all()


def box_of(leaf: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(*ends) for ends in zip(leaf["start"].tolist(), leaf["stop"].tolist(), strict=True))


@pytest.mark.parametrize("method", ["networks", "predictive"])
def test_nan_inside_a_region_is_kept_by_any_method(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    values, mask = waves(dtype="f4"), ball()
    values[7, 12, 10], values[7, 13, 10] = np.nan, -np.inf
    volume = tinc.compress(values, ratio=4, method=method, preset="fast", exact=mask)
    assert np.asarray(volume)[mask].tobytes() == values[mask].tobytes()
    assert volume.n_exact == mask.sum() - 2


def test_the_region_costs_the_rest_nothing_but_its_bytes() -> None:
    values, mask = waves((24, 32, 32)), np.zeros((24, 32, 32), bool)
    mask[4:12, 4:12, 4:12] = True
    noisy = np.where(mask, np.random.default_rng(1).integers(0, 60000, mask.shape), values).astype("u2")
    with_region = tinc.compress(noisy, ratio=10, method="predictive", exact=mask)
    region = sum(chunk.length for chunk in with_region.parts.entries() if chunk.kind == 7)
    alone = tinc.compress(filled(values, mask), nbytes=noisy.nbytes // 10 - region, method="predictive")
    errors = [((np.asarray(v).astype(float) - values)[~mask] ** 2).mean() for v in (with_region, alone)]
    assert 10 * np.log10(errors[0] / errors[1]) < 1


def test_channels_have_regions_of_their_own() -> None:
    values = waves((3, 14, 24, 20))
    mask = np.stack([ball(), np.zeros_like(ball()), ball(radius=3)])
    volume = tinc.compress(values, max_error=15, exact=mask)
    assert (np.asarray(volume)[mask] == values[mask]).all() and volume.regions.n_voxels == mask.sum()
    for channel in range(3):
        one = volume.select(channel)
        assert (np.asarray(one)[mask[channel]] == values[channel][mask[channel]]).all()
        again = tinc.TincVolume(one.parts.data())
        again.verify()
        assert np.array_equal(again, one) and again.regions.n_voxels == mask[channel].sum()
    everywhere = tinc.compress(values, max_error=15, exact=ball().astype("i4") * 7)
    assert everywhere.regions.n_voxels == 3 * ball().sum()


def test_coarse_levels_and_rewritten_files_have_the_region() -> None:
    values, mask = waves((40, 72, 70)), np.zeros((40, 72, 70), bool)
    mask[8:24, 16:40, 16:40] = True
    volume = tinc.compress(values, max_error=30, exact=mask)
    whole = np.asarray(volume).astype(float)
    means = whole.reshape(20, 2, 36, 2, 35, 2).mean(axis=(1, 3, 5))
    assert np.abs(np.asarray(volume.levels[1]) - means).max() <= 0.5
    assert np.array_equal(volume.rewritten(spacing=(1, 2, 3), units=None, axis_labels="zyx"), volume)
    assert np.array_equal(volume[10], np.asarray(volume)[10])


def test_large_regions_are_cut_into_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "REGION_EDGE", 8)
    values, mask = waves(), ball(radius=7)
    volume = tinc.compress(values, max_error=30, exact=mask)
    assert len(volume.regions) > 4
    assert (np.asarray(volume)[mask] == values[mask]).all()
    volume.verify()


def test_a_file_that_was_cut_off_keeps_the_regions_that_it_has() -> None:
    values, mask = waves(), ball()
    volume = tinc.compress(values, max_error=30, exact=mask, block=16)
    data = volume.parts.data()
    entry = next(entry for entry in volume.parts.entries() if entry.kind == 7)
    whole = tinc.TincVolume(data[: entry.start + entry.length + 40], partial=True)
    assert whole.n_missing and (np.asarray(whole)[mask] == values[mask]).all()
    half = tinc.TincVolume(data[: entry.start + 20], partial=True)
    assert half.n_missing > whole.n_missing and np.asarray(half).shape == values.shape
    with pytest.raises(tinc.TincError):
        tinc.TincVolume(data[: entry.start + 20])


def test_damage_of_a_region_is_found() -> None:
    volume = tinc.compress(waves(), max_error=30, exact=ball())
    data = bytearray(volume.parts.data())
    entry = next(entry for entry in volume.parts.entries() if entry.kind == 7)
    data[entry.start + entry.length // 2] ^= 1
    with pytest.raises(tinc.TincError, match="REGION"):
        np.asarray(tinc.TincVolume(bytes(data)))


def test_a_separate_process_makes_the_same_bytes() -> None:
    values, mask = waves(), ball()
    (finished,) = [
        event for event in fit_isolated(values, max_error=30, exact=mask) if isinstance(event, tinc.Finished)
    ]
    assert finished.volume.parts.data() == tinc.compress(values, max_error=30, exact=mask).parts.data()


def test_resuming_does_not_mix_masks(tmp_path: Path) -> None:
    values = waves()
    for mask in (ball(), ball(radius=3)):
        events = tinc.fit(values, max_error=30, exact=mask, block=16, resume=tmp_path)
        for event in events:
            if isinstance(event, tinc.Progress) and event.phase == "blocks":
                break
            assert not isinstance(event, tinc.Planned) or event.kept == 0
        events.close()
    resumed = tinc.compress(values, max_error=30, exact=ball(), block=16, resume=tmp_path)
    assert resumed.parts.data() == tinc.compress(values, max_error=30, exact=ball(), block=16).parts.data()


@pytest.mark.parametrize(("keywords", "message"), [
    ({"exact": np.ones((3, 4, 5))}, r"exact has the shape \(3, 4, 5\), expected \(14, 24, 20\)"),
    ({"exact": np.zeros((14, 24, 20))}, "nothing would be kept"),
    ({"exact": waves(dtype="f4")}, "expected a mask"),
    ({"exact": np.full((14, 24, 20), "a")}, "expected numbers"),
    ({"exact": ball(), "max_error": 0}, "every voxel is kept bit for bit"),
    ({"exact": ball(), "max_error": 3, "exact_max_error": 3}, "can only be kept better than the rest"),
    ({"exact_max_error": 3}, "given without exact"),
    ({"exact": ball(), "exact_max_error": -1}, "0 or more"),
    ({"exact": np.ones((14, 24, 20), bool), "ratio": 20}, "exact region of 6,720 voxels alone takes"),
])  # fmt: skip
def test_what_cannot_be_kept_is_refused_in_a_line(keywords: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        tinc.compress(waves(), **keywords)
    assert "\n" not in str(caught.value)


def test_a_filled_region_continues_what_is_around_it() -> None:
    z, y, x = np.indices((20, 20, 20)).astype(float)
    ramp, mask = z + 2 * y + 3 * x, np.zeros((20, 20, 20), bool)
    mask[6:14, 6:14, 6:14] = True
    spoilt = np.where(mask, np.nan, ramp)
    assert np.abs(filled(spoilt, mask) - ramp).max() < 12 and not np.isnan(filled(spoilt, mask)).any()
    assert (filled(spoilt, np.ones_like(mask)) == filled(spoilt, np.ones_like(mask))[0, 0, 0]).all()
    assert filled(ramp, np.zeros_like(mask)) is ramp
