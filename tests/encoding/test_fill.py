"""Values that are no measurements: kept exactly by every method, and left out of range, PSNR and SSIM."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc.cli.main import main
from napari_tinc.encoding.regions.fill_search import N_ENDS, _ends_of, find_no_measurements
from napari_tinc.encoding.sources import VolumeSource
from napari_tinc.encoding.verify import verify_against
from napari_tinc.errors import ReadWarning
from napari_tinc.format.fill import is_no_measurement
from napari_tinc.isolation.caller import fit_isolated
from napari_tinc.training import task

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
import reader

SHAPE = (12, 20, 22)
METHODS: list[dict[str, Any]] = [
    {"max_error": 0},
    {"max_error": 3},
    {"ratio": 5, "method": "predictive"},
    {"psnr": 34, "method": "predictive"},
    {"ratio": 3, "method": "networks", "preset": "fast"},
]


def scan(dtype: str = "i2", shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Waves with noise, 20 to 180."""
    z, y, x = np.indices(shape)
    values = 100 + 60 * np.sin(z / 4) * np.cos(y / 5) * np.sin(x / 6)
    return (values + np.random.default_rng(0).normal(0, 3, shape)).astype(dtype)


def outside(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """The voxels outside a circle in y and x, as of a scanner."""
    _, y, x = np.indices(shape)
    return (y - 10) ** 2 + (x - 11) ** 2 > 100


def padded(value: float, dtype: str) -> np.ndarray:
    return np.where(outside(), np.array(value).astype(dtype), scan(dtype))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.STEPS, "fast", 8)


@pytest.mark.parametrize(
    ("value", "dtype", "how"),
    [
        *((-32768, "i2", how) for how in METHODS),
        *((np.nan, "f4", how) for how in METHODS[3:]),
        (2**32 - 1, "u4", METHODS[1]),
        (9.96921e36, "f4", METHODS[1]),
        (-1e300, "f8", METHODS[2]),
    ],
)
def test_every_method_keeps_them_and_leaves_them_out(
    value: float, dtype: str, how: dict[str, Any], tmp_path: Path
) -> None:
    array, bare = padded(value, dtype), scan(dtype)
    volume = tinc.compress(array, **how, fill=None if np.isnan(value) else value)
    volume = tinc.TincVolume(volume.parts.data())
    volume.verify()
    back, hidden = np.asarray(volume), outside()
    assert back[hidden].tobytes() == array[hidden].tobytes()
    assert not is_no_measurement(back[~hidden], (value,)).any()
    assert volume.fill.n_voxels == hidden.sum()
    assert volume.value_range == (bare[~hidden].min(), bare[~hidden].max())
    error = back[~hidden].astype(np.float64) - bare[~hidden]
    span = float(bare[~hidden].max()) - float(bare[~hidden].min())
    rmse = np.sqrt((error**2).mean())
    measured, stated = tinc.compare(array, volume), volume.provenance
    assert measured.rmse == pytest.approx(rmse) and measured.max_error == pytest.approx(abs(error).max())
    if rmse:
        assert float(stated["psnr"]) == pytest.approx(20 * np.log10(span / rmse), abs=2e-3)
        assert measured.psnr == pytest.approx(20 * np.log10(span / rmse))
        assert measured.ssim == pytest.approx(float(stated["ssim"]), abs=2e-5)
    assert stated.keys().isdisjoint({"psnr_inside"}) and volume.n_exact == 0
    if (wanted := how.get("psnr")) is not None:
        assert wanted <= measured.psnr < wanted + 2
    if volume.error_bound is not None:
        assert verify_against(volume, array).violations == 0 and abs(error).max() <= volume.error_bound
    volume.save(tmp_path / "v.tinc")
    assert reader.read(str(tmp_path / "v.tinc"))[hidden].tobytes() == array[hidden].tobytes()


def test_the_errors_of_leaves_and_the_levels_leave_them_out() -> None:
    array = padded(-32768, "i2")
    volume = tinc.compress(array, ratio=3, method="networks", preset="fast", fill=-32768)
    assert volume.leaves["max_error"].max() <= 200
    for level in volume.levels[1:] or [volume[::2]]:
        values = np.asarray(level)
        assert ((values == -32768) | (values >= volume.value_range[0])).all() and (values == -32768).any()
    coarse = np.asarray(tinc.compress(np.tile(array, (1, 2, 2)), max_error=0, fill=-32768).levels[1])
    assert set(np.unique(coarse[coarse < 0]).tolist()) == {-32768}


def find(array: np.ndarray, *fill: Any) -> tuple[float, ...]:
    """What is found beside what is named."""
    found = find_no_measurements(VolumeSource.of(array, exact=True), fill or ("auto",), not_finite=True)
    return () if found is None else found.values


def test_one_value_far_from_all_others_is_found() -> None:
    for value, dtype in ((-32768, "i2"), (2**32 - 1, "u4"), (65535, "u2"), (-9999, "f4"), (1e20, "f8"), (-1e30, "f4")):
        assert find(padded(value, dtype)) == (np.array(value).astype(dtype).item(),)
    two = padded(2**32 - 1, "u4")
    two[3, 10, 11] = 2**32 - 2  # dead pixels beside gaps
    assert set(find(two)) == {2**32 - 1, 2**32 - 2}
    both = padded(-32768, "i2")
    both[3:5, 10] = 32767
    assert set(find(both)) == {-32768, 32767}


def test_what_may_be_a_measurement_is_none() -> None:
    assert find(padded(-60, "i2")) == ()  # not far
    assert find(padded(0, "i2") + np.int16(0)) == ()  # a background
    one = scan()
    one[3, 4, 5] = 30000
    assert find(one) == ()  # a single voxel
    bright = scan("u2")
    bright[2:4, 3:9, 3:9] = np.random.default_rng(1).integers(40000, 60000, (2, 6, 6))
    assert find(bright) == ()  # many values
    assert find(np.where(outside(), 60000, np.arange(22, dtype="u2") // 4)) == ()  # labels
    assert find(scan()) == ()


def test_a_value_that_a_file_declares_must_be_apart() -> None:
    assert find(padded(-60, "i2"), "auto", -60) == (-60,)
    assert find(scan(), "auto", 100) == ()  # among the others
    assert find(padded(-32768, "i2"), "auto", -60) == (-32768,)


def test_a_value_among_the_others_can_be_named() -> None:
    array = scan()
    volume = tinc.compress(array, ratio=3, method="predictive", fill=100)
    assert (np.asarray(volume)[array == 100] == 100).all() and volume.fill.n_voxels == (array == 100).sum()
    with pytest.warns(ReadWarning, match=r"no voxel has the value 1000 of --fill"):
        assert tinc.compress(array, max_error=1, fill=(1000,)).fill.values == ()
    for fill, problem in (
        ("x", "fill is 'x'"),
        (True, "expected a number"),
        (np.inf, "finite"),
        (70000, "int16 cannot"),
    ):
        with pytest.raises((TypeError, ValueError), match=problem):
            tinc.compress(array, fill=fill)


def test_too_many_places_are_given_up_unless_they_were_named() -> None:
    array = scan()
    array[np.random.default_rng(2).random(SHAPE) < 0.2] = -32768
    with pytest.warns(ReadWarning) as said:
        volume = tinc.compress(array, ratio=12, method="predictive")
    assert volume.fill.values == () and "counts as a measurement" in str(said[-1].message)
    with pytest.raises(ValueError, match=r"no measurements \(-32768\) alone takes .* --fill none"):
        tinc.compress(array, ratio=16, method="predictive", fill=-32768)


@pytest.mark.parametrize("bound", [0, 2])
def test_beside_an_exact_region(bound: float) -> None:
    array, mask = padded(-32768, "i2"), np.zeros(SHAPE, bool)
    mask[2:5, 3:12, 4:15] = True
    volume = tinc.compress(array, max_error=9, exact=mask, exact_max_error=bound, fill=-32768)
    back = np.asarray(volume)
    assert (back[outside()] == -32768).all()
    assert abs(back[mask & ~outside()].astype(int) - array[mask & ~outside()]).max() <= bound
    assert volume.n_exact == (mask & ~outside()).sum() and "psnr_inside" in volume.provenance
    assert verify_against(volume, array).violations == 0


@pytest.mark.parametrize(("chosen", "kept"), [(-999, -999), (None, -32768)])
def test_masked_integers_get_a_value(chosen: int | None, kept: int) -> None:
    array = np.ma.masked_array(scan(), mask=outside(), fill_value=chosen)
    with pytest.warns(ReadWarning, match=rf"{outside().sum():,} masked voxels get the value {kept}"):
        volume = tinc.compress(array, max_error=2)
    assert volume.fill.values == (kept,) and (np.asarray(volume)[outside()] == kept).all()
    assert verify_against(volume, array).violations == 0


@pytest.mark.filterwarnings("ignore::napari_tinc.errors.ReadWarning")
def test_masked_integers_in_a_separate_process() -> None:
    *_, last = fit_isolated(np.ma.masked_array(scan(), mask=outside()), max_error=2)
    assert last.volume.fill.values == (-32768,) and (np.asarray(last.volume)[outside()] == -32768).all()


def test_one_channel_of_a_file_keeps_them() -> None:
    volume = tinc.compress(np.stack([padded(-32768, "i2"), scan()]), max_error=1, fill=-32768)
    first, second = volume.select(0), volume.select(1)
    assert first.fill.values == (-32768,) and first.n_exact == second.n_exact == 0
    assert (np.asarray(first)[outside()] == -32768).all() and (np.asarray(second) >= 0).all()


def test_the_command_line_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "v.npy", padded(-32768, "i2"))
    file, log = str(tmp_path / "v.tinc"), str(tmp_path / "log.jsonl")
    assert main(["compress", str(tmp_path / "v.npy"), file, "--max-error", "2", "--log", log]) == 0
    told = "of the voxels have the value -32768, no measurement: kept exactly"
    assert told in capsys.readouterr().err
    assert told in json.loads(Path(log).read_text().splitlines()[-1])["fill"]
    for command in (["info", file], ["verify", file, "--against", str(tmp_path / "v.npy")]):
        assert main(command) == 0 and told in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "v.npy"), file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["max_error"] <= 2
    assert main(["compress", str(tmp_path / "v.npy"), file, "--max-error", "2", "--fill", "none"]) == 0
    assert "no measurement" not in capsys.readouterr().err and tinc.open(file).fill.values == ()


def declared(tmp_path: Path, kind: str) -> tuple[Path, tuple[float, ...]]:
    """A file, written by the library of its format, that says that -60 (-2024 in DICOM) is no measurement."""
    array = padded(-60, "i2")
    if kind == "dicom":
        pytest.importorskip("pydicom")
        from dicom_series import save_slice, slice_positions

        (tmp_path / "scan").mkdir()
        stored = np.where(outside(), -1000, array).astype("i2")
        for number, place in enumerate(slice_positions(len(stored))):
            save_slice(
                tmp_path / "scan" / f"{number}.dcm", stored[number], place, number,
                RescaleSlope=1, RescaleIntercept=-1024, PixelPaddingValue=-1000,
            )  # fmt: skip
        return tmp_path / "scan", (-2024,)
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["v"] = array
        file["v"].attrs["_FillValue"] = np.int16(-60)
    return tmp_path / "v.h5", (-60,)


@pytest.mark.parametrize("kind", ["dicom", "hdf5"])
@pytest.mark.filterwarnings("ignore::napari_tinc.errors.ReadWarning")
def test_what_a_file_declares_is_taken(tmp_path: Path, kind: str) -> None:
    file, values = declared(tmp_path, kind)
    assert main(["compress", str(file), str(tmp_path / "v.tinc"), "--max-error", "2"]) == 0
    volume = tinc.open(tmp_path / "v.tinc")
    assert volume.fill.values == values and volume.fill.n_voxels == outside().sum()
    assert main(["compress", str(file), str(tmp_path / "v.tinc"), "--max-error", "2", "--fill", "none"]) == 0
    assert tinc.open(tmp_path / "v.tinc").fill.values == ()


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f2", "f4", "f8"])
@pytest.mark.parametrize("n", [1, 37, 39, 5000])
def test_the_ends_of_a_sample_are_those_of_its_different_values(dtype: str, n: int) -> None:
    values = np.random.default_rng(n).integers(0, 200, n).astype(dtype)
    different = np.unique(values)
    ends = _ends_of(values)
    expected = different if len(different) <= 2 * N_ENDS else np.append(different[:N_ENDS], different[-N_ENDS:])
    assert ends.dtype == values.dtype and np.array_equal(ends, expected)


def test_measurements_over_many_powers_of_ten_are_all_measurements() -> None:
    """Each is far from all smaller ones; a file could not name so many."""
    volume = np.logspace(-100, 100, 512).reshape(8, 8, 8)
    assert find(volume) == ()
    assert np.asarray(tinc.compress(volume, max_error=0)).tobytes() == volume.tobytes()
