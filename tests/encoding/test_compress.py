"""The whole way on small volumes: a target met, a file that reads back as reported, errors that say what is wrong."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from short_fits import shorten

import napari_tinc as tinc
from napari_tinc.encoding import compress as encoding_compress
from napari_tinc.format.networks_file import Calibration, WeightsFormat
from napari_tinc.networks.architecture import Architecture
from napari_tinc.networks.calibration import fit_corrections
from napari_tinc.octree import Octree
from napari_tinc.training import fit_tree, optimizer, packing, task, trainer
from napari_tinc.training.task import Settings


def blobs(shape: tuple[int, int, int] = (30, 26, 34), dtype: str = "uint8") -> np.ndarray:
    """A smooth volume of that shape, 0..200 in the dtype."""
    z, y, x = np.meshgrid(*[np.linspace(0, 1, n) for n in shape], indexing="ij")
    values = np.sin(7 * z + 3 * y) * np.cos(9 * x - 2 * z) + 0.5 * np.exp(-20 * ((x - 0.3) ** 2 + (y - 0.6) ** 2))
    values = (values - values.min()) / np.ptp(values) * 200
    return values.astype(dtype)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "STEPS", {"fast": 150, "balanced": 300, "best": 600})


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests to which it does not matter how good a fit is."""
    shorten(monkeypatch)


def finish(events: Iterator[Any]) -> tuple[list[tinc.Progress], tinc.Finished]:
    *progress, last = list(events)
    assert isinstance(last, tinc.Finished)
    return [event for event in progress if isinstance(event, tinc.Progress)], last


def test_a_volume_in_a_file_out_and_back(tmp_path: Any) -> None:
    volume = blobs()
    seen: list[tinc.Progress] = []
    compressed = tinc.compress(
        volume, ratio=16, preset="fast", spacing=(2, 1.5, 0.29), units="mm", axis_labels="tyx", on_progress=seen.append
    )
    assert 16 <= compressed.ratio <= 16 * 1.03
    compressed.save(tmp_path / "a.tinc")
    again = tinc.open(tmp_path / "a.tinc")
    assert (tmp_path / "a.tinc").stat().st_size == again.nbytes_compressed
    np.testing.assert_array_equal(np.asarray(again), np.asarray(compressed))
    again.verify()
    assert again.shape == volume.shape and again.dtype == volume.dtype and again.ndim == 3
    assert again.spacing == (2, 1.5, 0.29) and again.units == "mm" and again.axis_labels == "tyx"
    assert seen[0].phase == "training" and seen[-1].phase == "packing" and seen[-1].step == seen[-1].steps
    assert tinc.compare(volume, again).psnr > 17


def test_quality_is_what_a_reader_will_measure() -> None:
    volume = blobs()
    _, finished = finish(encoding_compress.fit(volume, nbytes=4000, preset="fast"))
    assert finished.quality == tinc.compare(volume, finished.volume)
    provenance = finished.volume.provenance
    assert float(provenance["psnr"]) == pytest.approx(finished.quality.psnr, abs=1e-3)
    assert provenance["seed"] == 0 and provenance["preset"] == "fast"
    leaves = finished.volume.leaves
    difference = np.asarray(finished.volume).astype(float) - volume
    for leaf in leaves:
        box = difference[tuple(map(slice, leaf["start"], leaf["stop"]))]
        assert leaf["rmse"] == pytest.approx(np.sqrt((box**2).mean()), rel=0.07)
        assert np.abs(box).max() <= leaf["max_error"] * (1 + 1e-9)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]
)
def test_every_dtype(dtype: str) -> None:
    volume = (blobs((16, 16, 16), "float64") / 2).astype(dtype)
    compressed = tinc.compress(volume, nbytes=1500, preset="fast")
    assert np.asarray(compressed).dtype == volume.dtype
    assert tinc.compare(volume, compressed).psnr > 17
    assert compressed.nbytes_compressed <= 1500


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.astype(">u2"),
        lambda v: np.asfortranarray(v.astype("uint16")),
        lambda v: np.repeat(v, 2, axis=2)[:, :, ::2].astype("uint16"),
    ],
)
def test_memory_layout_does_not_matter(change: Any, short: None) -> None:
    volume = blobs((16, 16, 16))
    expected = tinc.compress(volume.astype("uint16"), ratio=16, preset="fast")
    compressed = tinc.compress(change(volume), ratio=16, preset="fast")
    np.testing.assert_array_equal(np.asarray(compressed), np.asarray(expected))


def test_hard_scales_and_offsets() -> None:
    base = blobs((16, 16, 16), "float64")
    for volume in (base * 1e-30, base + 200e3, -base, base * 1e300):
        assert tinc.compare(volume, tinc.compress(volume, nbytes=1500, preset="fast")).psnr > 16


@pytest.mark.parametrize("shape", [(1, 40, 40), (40, 1, 1), (2, 3, 50), (5, 7, 11)])
def test_thin_volumes(shape: tuple[int, int, int], short: None) -> None:
    volume = blobs(shape, "float32")
    compressed = tinc.compress(volume, nbytes=1500, preset="fast")
    assert np.asarray(compressed).shape == shape
    assert compressed.nbytes_compressed <= 1500


@pytest.mark.parametrize("value", [0, 17, 255])
def test_a_constant_volume_is_exact_and_tiny(value: int) -> None:
    volume = np.full((40, 30, 20), value, np.uint8)
    _, finished = finish(encoding_compress.fit(volume))
    np.testing.assert_array_equal(np.asarray(finished.volume), volume)
    assert finished.volume.nbytes_compressed < 250
    assert finished.quality.psnr == np.inf and finished.quality.max_error == 0


def test_same_seed_same_bytes(short: None) -> None:
    volume = blobs((20, 20, 20))
    files = [tinc.compress(volume, ratio=16, preset="fast", seed=seed).parts.data() for seed in (5, 5, 6)]
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize("weights", ["int8", "float16"])
def test_plainer_weights(weights: str) -> None:
    volume = blobs()
    _, finished = finish(encoding_compress.fit(volume, ratio=8, preset="fast", weights=weights))
    assert finished.volume.header.weights_format is WeightsFormat[weights.upper()]
    assert finished.quality == tinc.compare(volume, finished.volume)
    assert finished.quality.psnr > 15
    assert finished.volume.ratio >= 8


@pytest.mark.parametrize("weights", ["int8", "float16"])
@pytest.mark.parametrize("nbytes", [900, 1300, 2100, 3900])
def test_plainer_weights_fit_any_budget(weights: str, nbytes: int, short: None) -> None:
    """The tree's own bytes once made these fail after the whole training."""
    control = tinc.Control()
    events = encoding_compress.fit(blobs((32, 32, 32)), nbytes=nbytes, preset="fast", weights=weights, control=control)
    next(events)
    control.stop.set()
    assert finish(events)[1].volume.nbytes_compressed <= nbytes


def test_a_calibration_reaches_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_tree, "AIMED_SHARE", 0.9)  # room for it
    monkeypatch.setattr(packing, "_factor_that_fits", lambda size, budget: 1.0)
    monkeypatch.setattr("napari_tinc.networks.calibration.WORTH_DB", -1.0)
    finished = finish(encoding_compress.fit(blobs(), ratio=8, preset="fast"))[1]
    assert finished.volume.header.calibration is not Calibration.NONE
    assert (finished.volume.leaves["gain"] != 1).any()
    assert finished.quality == tinc.compare(blobs(), tinc.TincVolume(finished.volume.parts.data()))


def test_calibration_is_fitted_where_it_pays(rng: np.random.Generator) -> None:
    tree = Architecture(Octree.full((16, 16, 16), 1), np.full(9, 4), 2, 8.0)
    wanted = rng.normal(size=(16, 16, 16))
    everywhere = ((wanted - 0.5) / 1.25).astype(np.float32)
    one_leaf = wanted.astype(np.float32)
    one_leaf[:8, :8, :8] *= 0.5
    assert (
        fit_corrections(wanted.astype(np.float32), wanted, tree, WeightsFormat.ENTROPY, 1000).kind is Calibration.NONE
    )
    assert fit_corrections(everywhere, wanted, tree, WeightsFormat.ENTROPY, 7).kind is Calibration.NONE
    found = fit_corrections(everywhere, wanted, tree, WeightsFormat.ENTROPY, 8)
    assert found.kind is Calibration.GLOBAL
    np.testing.assert_allclose([found.gain, found.offset], [[1.25] * 8, [0.5] * 8], rtol=1e-5)
    found = fit_corrections(one_leaf, wanted, tree, WeightsFormat.ENTROPY, 16)
    assert found.kind is Calibration.PER_LEAF
    np.testing.assert_allclose(found.gain, [2] + [1] * 7, atol=0.01)


def test_calibration_leaves_alone_what_a_decoder_clips(rng: np.random.Generator) -> None:
    architecture = Architecture(Octree.full((16, 16, 16), 1), np.full(9, 4), 2, 8.0)
    wanted = np.clip(rng.normal(size=(16, 16, 16)), -0.5, 1.0)
    outputs = np.where(wanted == -0.5, -3.0, np.where(wanted == 1.0, 1.5, wanted)).astype(np.float32)
    found = fit_corrections(outputs, wanted, architecture, WeightsFormat.ENTROPY, 1000)
    assert found.kind is Calibration.NONE


@pytest.mark.parametrize("wanted", [16.0, 22.0])
def test_a_psnr_is_reached_and_hardly_passed(wanted: float) -> None:
    progress, finished = finish(encoding_compress.fit(blobs(), psnr=wanted, preset="fast"))
    assert wanted <= finished.quality.psnr < wanted + 2  # fits of 150 steps are a noisy scale
    assert finished.quality == tinc.compare(blobs(), finished.volume)
    attempts = [event.attempt for event in progress]
    assert attempts == sorted(attempts) and attempts[-1] > 1


def test_a_psnr_out_of_reach_is_named(rng: np.random.Generator, short: None) -> None:
    noise = rng.integers(0, 256, (24, 24, 24), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"a PSNR of 50 dB was not reached: .* dB in 1728 bytes, a ratio of 8"):
        tinc.compress(noise, psnr=50, preset="fast")


def test_a_constant_volume_has_any_psnr() -> None:
    assert tinc.compress(np.full((20, 20, 20), 7, np.uint8), psnr=90).nbytes_compressed < 250


def test_cancel_ends_without_a_result() -> None:
    control = tinc.Control()
    events = encoding_compress.fit(blobs(), ratio=16, preset="best", control=control)
    next(events)
    control.cancel.set()
    assert not [event for event in events if isinstance(event, tinc.Finished)]


def test_stop_keeps_what_was_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "STEPS", {"best": 100_000})
    control = tinc.Control()
    events = encoding_compress.fit(blobs(), ratio=16, preset="best", control=control)
    next(events)
    control.stop.set()
    progress, finished = finish(events)
    assert progress[-1].step < 10_000
    assert finished.quality.psnr > 17
    assert finished.volume.ratio >= 16


@pytest.mark.parametrize(
    ("volume", "options", "message"),
    [
        (np.zeros((4, 4), "u1"), {}, r"volume has 2 axes, shape \(4, 4\); expected 3"),
        (np.zeros((2, 1, 1, 1, 4, 4, 4), "u1"), {}, "volume has 7 axes"),
        (np.zeros((4, 0, 4), "u1"), {}, "volume is empty"),
        (np.array([[[-1.7e308, 1.7e308]]]), {}, "spans more than"),
        (np.zeros((4, 4, 4), "c8"), {}, "dtype complex64, expected one of uint8"),
        (np.zeros((4, 4, 4), object), {}, "dtype object"),
        (np.full((4, 4, 4), 2**40, "u8"), {}, "dtype uint64 and values 1099511627776 to 1099511627776, which do not"),
        (blobs(), {"ratio": 64, "nbytes": 100}, "2 targets given, ratio=64 and nbytes=100; expected one"),
        (blobs(), {"ratio": "64"}, "ratio is '64', expected a number"),
        (blobs(), {"max_error": True}, "max_error is True, expected a number"),
        (blobs(), {"psnr": [40]}, r"psnr is \[40\], expected a number"),
        (blobs(), {"seed": 1.5}, "seed is 1.5, expected a whole number"),
        (blobs(), {"block": "64"}, "block is '64', expected a whole number"),
        (blobs(), {"widths": "ab"}, "widths are 'ab', expected whole numbers"),
        (blobs(), {"spacing": 1}, "spacing is 1, expected three positive numbers"),
        (blobs(), {"preset": []}, r"preset is \[\], expected one of"),
        (blobs(), {"psnr": 30, "ratio": 64}, "2 targets given, ratio=64 and psnr=30"),
        (blobs(), {"psnr": float("nan")}, "psnr is nan, expected 1 to 120 dB"),
        (blobs(), {"ratio": 0.5}, "ratio is 0.5, expected at least 1"),
        (blobs(), {"ratio": float("nan")}, "ratio is nan"),
        (blobs(), {"nbytes": 0}, "nbytes is 0"),
        (blobs(), {"preset": "turbo"}, "preset is 'turbo', expected one of fast, balanced, best"),
        (blobs(), {"weights": "int4"}, "weights is 'int4'"),
        (blobs(), {"device": "abacus"}, "device 'abacus' cannot be used"),
        (blobs(), {"spacing": (1, 2)}, "spacing is"),
        (blobs(), {"spacing": (1, 2, 0)}, "spacing is"),
        (blobs(), {"units": "x" * 40}, "units is"),
        (blobs(), {"units": 5}, "units is 5, expected text"),
        (blobs(), {"seed": -1}, "seed is -1"),
        (blobs(), {"nbytes": float("inf")}, "nbytes is inf"),
        (np.array([[[0, 5e-324, 0]]]), {}, "less than floating-point arithmetic resolves"),
        (blobs(), {"axis_labels": "zz"}, "axis_labels is 'zz'"),
    ],
)
def test_bad_arguments_are_named_before_any_work(volume: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        encoding_compress.fit(volume, **options)


def test_nothing_but_nan_is_too_much_for_a_ratio() -> None:
    with pytest.raises(ValueError, match=r"no measurements \(NaN or infinite\) alone takes \d+ bytes.*max_error"):
        tinc.compress(np.full((4, 4, 4), np.nan, "f4"))


def test_a_huge_ratio_says_what_is_possible() -> None:
    with pytest.raises(ValueError, match=r"cannot become \d+: the smallest file is about \d+ bytes, a ratio of \d+"):
        tinc.compress(blobs(), ratio=5000, preset="fast")


def test_a_tiny_file_says_nothing_about_itself(short: None) -> None:
    _, finished = finish(encoding_compress.fit(blobs(), nbytes=700, preset="fast"))
    assert finished.volume.provenance == {}
    assert finished.volume.nbytes_compressed <= 700


def test_deep_networks_learn_slowly() -> None:
    # fluo_nuclei at ratio 64, 72 wide and 8 sines deep: 28.4 dB and falling at 0.035, 35.1 dB at 0.020.
    assert optimizer.muon_rate(72, 8) < 0.021
    assert optimizer.muon_rate(72, 6) == pytest.approx(0.3 / 72**0.5)
    assert optimizer.muon_rate(4, 6) == 0.06


def test_levels_can_be_chosen(short: None) -> None:
    volume = blobs()
    for levels in (1, 3):
        compressed = tinc.compress(volume, ratio=16, preset="fast", device="cpu", levels=levels)
        networks = compressed.header.tree.level[compressed.header.widths > 0]
        assert networks.max() == levels - 1
    for levels in (0, 7):
        with pytest.raises(ValueError, match=f"levels is {levels}, expected 1 to 6"):
            tinc.compress(volume, levels=levels)


def test_widths_can_be_chosen(short: None) -> None:
    compressed = tinc.compress(blobs(), ratio=16, preset="fast", device="cpu", widths=[10, 4])
    header = compressed.header
    for level, width in enumerate((10, 4)):
        assert set(header.widths[(header.tree.level == level) & (header.widths > 0)]) == {width}
    assert compressed.nbytes_compressed <= blobs().nbytes / 16
    with pytest.raises(ValueError, match="widths are 256, 256: .* weights take at least .* bytes, of "):
        tinc.compress(blobs(), ratio=16, preset="fast", device="cpu", widths=[256, 256])
    with pytest.raises(ValueError, match="3 levels; a volume of shape .* has room for 2"):
        tinc.compress(blobs()[:3, :3, :3], nbytes=1000, preset="fast", device="cpu", widths=[2, 2, 2])


@pytest.mark.parametrize("weights", ["int8", "float16"])
def test_widths_that_only_rounding_could_make_fit(weights: str) -> None:
    with pytest.raises(ValueError, match="weights take at least"):
        tinc.compress(blobs(), ratio=16, preset="fast", device="cpu", widths=[24, 8], weights=weights)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"widths": []}, "0 levels, expected 1 to 6"),
        ({"widths": [8] * 7}, "7 levels, expected 1 to 6"),
        ({"widths": [8, 4], "levels": 3}, "2 levels, expected 3"),
        ({"widths": [257]}, "expected each 1 to 256"),
        ({"widths": [8, 0]}, "expected each 1 to 256"),
        ({"widths": [8], "psnr": 30}, "expected one"),
        ({"widths": [8, 4], "max_error": 0}, r"widths=\[8, 4\] and max_error=0 given, expected one"),
        ({"levels": 2, "max_error": 0}, "levels=2 and max_error=0 given, expected one"),
        ({"calibration": "leaf"}, "calibration is 'leaf', expected one of auto, none"),
    ],
)
def test_unusable_widths_and_calibration(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        tinc.compress(blobs(), **options)


def test_calibration_can_be_left_away(monkeypatch: pytest.MonkeyPatch, short: None) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("calibrated")

    monkeypatch.setattr(packing, "fit_corrections", fail)
    compressed = tinc.compress(blobs(), ratio=16, preset="fast", device="cpu", calibration="none")
    assert compressed.header.calibration.name == "NONE"


def test_an_estimate_grows_with_the_work() -> None:
    small, large, long = (
        task.estimate((64, 64, 64), nbytes, Settings(preset))
        for nbytes, preset in ((4000, "fast"), (16000, "fast"), (16000, "best"))
    )
    assert small.seconds < large.seconds < long.seconds and small.n_parameters < large.n_parameters
    assert large.widths[0] > large.widths[1] and large.n_leaves == 8 and large.steps == task.STEPS["fast"]
    assert len(task.estimate((64, 64, 64), 16000, Settings("fast", levels=3)).widths) == 3
    coarse = task.estimate((64, 64, 64), 16000, Settings("fast", weights_format=WeightsFormat.FLOAT16))
    assert coarse.n_parameters < 16000 / 2 < large.n_parameters
    assert task.estimate((64, 64, 64), 16000, Settings("fast", widths=(48, 16))).widths == (48, 16)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPUs cannot be chosen here")
def test_one_cpu_and_two_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import sys; sys.path.append(os.pardir)\n"
        "import test_compress as tests\n"
        "tests.task.STEPS = {'fast': 100}\n"
        "tests.task.LEAST_STEPS = 40\n"
        "from napari_tinc.encoding import choice\n"
        "choice.is_candidate = lambda *_: False\n"
        "print(*tests.digests())"
    )
    one = subprocess.run(
        [sys.executable, "-c", script], cwd=os.path.dirname(__file__), capture_output=True, check=True, text=True
    )
    monkeypatch.setattr(task, "STEPS", {"fast": 100})
    monkeypatch.setattr(task, "LEAST_STEPS", 40)
    monkeypatch.setattr(trainer, "cpu_count", lambda: 2)
    assert digests() == one.stdout.split()


def digests() -> list[str]:
    """Of a file with networks, and of one without."""
    volume, options = blobs().astype("f4"), {"device": "cpu", "preset": "fast"}
    files = [tinc.compress(volume, **options, **target) for target in ({"ratio": 8}, {"max_error": 0.3})]
    return [hashlib.sha256(file.parts.data()).hexdigest() for file in files]
