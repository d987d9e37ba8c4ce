"""The command line, mostly in this process: what it prints where, its exit codes, and what it leaves on the disk."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import CHANNELS, FIGURES, PLANNED, SHAPE, SPACING, listing, wave
from short_fits import short_fits

import napari_tinc as tinc
from napari_tinc.cli import main as cli_main
from napari_tinc.cli.main import main
from napari_tinc.encoding import without_networks
from napari_tinc.io.image import Image
from napari_tinc.io.read import read_image
from napari_tinc.networks import values
from napari_tinc.texts import unused_text
from napari_tinc.training import fit_tree

# --- compress --------------------------------------------------------------------------------------------------------


def test_compress_prints_a_table(tmp_path: Path, image: str, run: Callable[..., str]) -> None:
    out = tmp_path / "new.tinc"
    headings, numbers = run("compress", image, out, "--ratio", 8).splitlines()
    volume = tinc.open(out)
    assert headings.replace(" ", "") == "filebytesratiobits/voxelPSNR(dB)SSIMRMSEmaxerrorseconds"
    assert numbers.split()[:3] == [str(out), f"{os.path.getsize(out):,}", f"{volume.ratio:.2f}"]
    assert 8 <= volume.ratio <= 8 * 1.03
    assert (volume.shape, volume.dtype, volume.spacing, volume.units) == (SHAPE, "uint8", SPACING, "micrometer")
    assert listing(tmp_path) == ["new.tinc", "v.tif"]


def test_compress_json(tmp_path: Path, image: str, run_json: Callable[..., Any]) -> None:
    result = run_json("compress", image, tmp_path / "v.tinc", "--ratio", 8, "--seed", 3, "--preset", "fast")
    assert tuple(result) == (*FIGURES, "seconds", "method", "reason")
    volume = tinc.open(tmp_path / "v.tinc")
    assert {key: result[key] for key in FIGURES[2:]} == pytest.approx(asdict(tinc.compare(wave(), volume)), rel=1e-4)
    assert (volume.provenance["seed"], volume.provenance["preset"]) == (3, "fast")


@pytest.mark.parametrize("weights", cli_main.WEIGHTS)
def test_compress_to_a_number_of_bytes(tmp_path: Path, image: str, run_json: Callable[..., Any], weights: str) -> None:
    out = tmp_path / "v.tinc"
    assert run_json("compress", image, out, "--bytes", 3000, "--weights", weights)["bytes"] <= 3000
    assert run_json("info", out)["weights"] == weights
    assert run_json("verify", out)["ok"] is True


@pytest.mark.parametrize("method", ["networks", "predictive"])
def test_the_method_is_told_before_and_after(
    tmp_path: Path, image: str, capsys: pytest.CaptureFixture[str], run_json: Callable[..., Any], method: str
) -> None:
    out, log = tmp_path / "v.tinc", tmp_path / "log"
    command = ["compress", image, str(out), "--ratio", "8", "--method", method, "--log", str(log)]
    assert main(command) == 0
    planned, *said = capsys.readouterr().err.splitlines()
    with_or_without = "with networks" if method == "networks" else "with the predictive coder, without networks"
    assert f" {with_or_without}, at most about" in planned and f"made {with_or_without}" in said
    first, *_, last = map(json.loads, log.read_text().splitlines())
    assert first["method"] == last["method"] == run_json("info", out)["method"] == method
    assert last["reason"] == ""


def test_why_a_method_was_chosen(
    tmp_path: Path, image: str, run_json: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(without_networks, "MOST_RATIO", 300)
    result = run_json("compress", image, tmp_path / "v.tinc", "--ratio", 8)
    assert result["method"] == "predictive" and result["reason"].startswith("networks were given up after 30% of")


def test_the_default_ratio_is_64(tmp_path: Path, run_json: Callable[..., Any]) -> None:
    np.save(tmp_path / "v.npy", wave(dtype="float64").astype(">f8"))
    assert 64 <= run_json("compress", tmp_path / "v.npy", tmp_path / "v.tinc")["ratio"] <= 64 * 1.03
    info = run_json("info", tmp_path / "v.tinc")
    assert (info["dtype"], info["spacing"], info["units"]) == ("float64", None, None)


def test_the_log_is_a_json_object_a_line(tmp_path: Path, image: str, run_json: Callable[..., Any]) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"phase": "of an earlier run"}\n')
    result = run_json("compress", image, tmp_path / "v.tinc", "--ratio", 8, "--log", log)
    planned, *progress, last = map(json.loads, log.read_text().splitlines())
    assert planned["phase"] == "planned" and planned["n_blocks"] == 1
    assert last == {"phase": "finished", **result}
    keys = ("phase", "attempt", "step", "seconds", "loss", "psnr", "bytes")
    assert {tuple(entry) for entry in progress} == {keys}
    assert [entry["phase"] for entry in progress[-2:]] == ["training", "packing"]
    assert progress[-1]["bytes"] < 1.2 * result["bytes"]
    assert progress[-1]["seconds"] <= last["seconds"]


@pytest.mark.parametrize(("shape", "ratio"), [((1, 60, 60), 8), ((60, 1, 60), 8), ((600, 1, 1), 4)])
def test_axes_of_one_voxel(tmp_path: Path, run_json: Callable[..., Any], shape: tuple[int, ...], ratio: float) -> None:
    array = wave((60, 60, 60), "float32").ravel()[-math.prod(shape) :].reshape(shape)
    np.save(tmp_path / "v.npy", array)
    assert run_json("compress", tmp_path / "v.npy", tmp_path / "v.tinc", "--ratio", ratio)["ratio"] >= ratio
    assert run_json("verify", tmp_path / "v.tinc")["ok"] is True
    assert run_json("decompress", tmp_path / "v.tinc", tmp_path / "w.npy")["shape"] == list(shape)


def test_a_constant_volume_has_no_psnr_in_json(tmp_path: Path, run: Any, run_json: Callable[..., Any]) -> None:
    np.save(tmp_path / "v.npy", np.full((40, 40, 40), 7, np.int16))
    result = run_json("compress", tmp_path / "v.npy", tmp_path / "v.tinc")
    assert (result["psnr"], result["ssim"], result["max_error"]) == (None, 1, 0)
    assert run_json("info", tmp_path / "v.tinc", "--leaves")["provenance"]["psnr"] is None
    assert "PSNR (dB) inf" in run("info", tmp_path / "v.tinc")
    _, figures, _, line = run("compare", tmp_path / "v.npy", tmp_path / "v.tinc").splitlines()
    assert figures.split()[-4:] == ["inf", "1.0000", "0", "0"] and "all frequencies kept" in line
    run("decompress", tmp_path / "v.tinc", tmp_path / "w.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "w.npy"), 7)


@pytest.mark.parametrize("text", ["", "Unable to allocate 3 GiB"])
def test_too_little_memory_is_one_line(
    image: str, tmp_path: Path, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    def short_of_memory(*_: object, **__: object) -> None:
        raise MemoryError(text) if text else MemoryError

    monkeypatch.setattr(values, "normalise", short_of_memory)
    monkeypatch.setattr(fit_tree, "normalise", short_of_memory)
    assert fail("compress", image, tmp_path / "v.tinc") == "not enough memory" + bool(text) * f": {text}"


# --- blocks, channels, time ------------------------------------------------------------------------------------------


def test_block_by_block(tmp_path: Path, long: str, capsys: pytest.CaptureFixture[str], run_json: Any) -> None:
    out, log = tmp_path / "v.tinc", tmp_path / "log"
    arguments = ["compress", long, str(out), "--ratio", "8", "--block", "24", "--log", str(log)]
    assert main(arguments) == 0
    assert capsys.readouterr().err.startswith(PLANNED)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    needed = {key: lines[0][key] for key in ("memory", "disk")}
    fixed = {"phase": "planned", "method": "networks", "n_blocks": 2, "block_shape": [22, 22, 20]}
    assert lines[0] == fixed | needed
    assert {line["phase"] for line in lines} == {"planned", "reading", "blocks", "finished"}
    info = run_json("info", out)
    assert (info["n_blocks"], info["block_shape"], info["n_missing"]) == (2, [22, 22, 20], 0)
    assert listing(tmp_path) == ["log", "v.tif", "v.tinc"]


def test_a_scheduler_that_does_not_answer(image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed")
    command = ["compress", image, str(tmp_path / "v.tinc"), "--ratio", "8", "--scheduler", "tcp://127.0.0.1:9"]
    assert main(command) == 0
    assert "only blocks go to a scheduler" in capsys.readouterr().err


def test_channels_and_time(tmp_path: Path, series: str, run: Any, run_json: Callable[..., Any]) -> None:
    file, original = tmp_path / "s.tinc", read_image(series)
    run("compress", series, file, "--ratio", 8, "--calibration", "none")
    volume = tinc.open(file)
    assert (volume.axis_labels, volume.channels, volume.shape) == ("tczyx", CHANNELS, (2, 2, *SHAPE))
    info = run_json("info", file)
    assert (info["axes"], info["channels"], info["n_blocks"]) == ("tczyx", CHANNELS, 4)
    assert "channels      DAPI #0000ff, GFP #00ff00\n" in run("info", file)
    assert run_json("verify", file)["ok"] is True
    measured = asdict(tinc.compare(original.array, volume))
    compared = run_json("compare", series, file)
    assert {key: compared[key] for key in measured} == measured


@pytest.fixture(scope="module")
def channels_and_time(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of two channels of two points in time."""
    path = tmp_path_factory.mktemp("series") / "s.tinc"
    array = np.stack([wave(), wave()[::-1], wave()[:, ::-1], wave()[..., ::-1]]).reshape(2, 2, *SHAPE)
    with short_fits():
        tinc.compress(array, ratio=8, spacing=SPACING, units="micrometer", channels=CHANNELS).save(path)
    return path


@pytest.mark.parametrize("out", ["w.ome.tif", "w.tif", "w.ome.zarr", "w.zarr", "w.npy"])
def test_channels_and_time_come_back(
    tmp_path: Path, channels_and_time: Path, run: Any, run_json: Callable[..., Any], out: str
) -> None:
    if out.endswith("zarr"):
        pytest.importorskip("zarr")
    volume = tinc.open(channels_and_time)
    result = run_json("decompress", channels_and_time, tmp_path / out)
    assert (result["shape"], result["axes"]) == ([2, 2, *SHAPE], "tczyx")
    image = read_image(tmp_path / out)
    np.testing.assert_array_equal(image.array, volume)
    if out != "w.npy":
        assert (image.axes, image.channels, image.units) == ("TCZYX", CHANNELS, "micrometer")
        assert image.spacing == pytest.approx(SPACING)
    run("decompress", channels_and_time, tmp_path / out, "--region", "3:9,:,5:", "--level", 1)
    np.testing.assert_array_equal(read_image(tmp_path / out).array, volume.levels[1][..., 3:9, :, 5:])


@pytest.mark.parametrize(
    ("axes", "labels"), [("ZYX", "zyx"), ("QQZYX", "qrzyx"), ("TTQZYX", "trqzyx"), ("?CZYX", "rczyx")]
)
def test_every_axis_has_a_letter_of_its_own(axes: str, labels: str) -> None:
    assert Image(None, axes, None, None, "").options()["axis_labels"] == labels


# --- progress, and whole processes -----------------------------------------------------------------------------------


def test_bytes_that_are_not_used_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat = np.full((20, 24, 28), 7, "u2")
    flat[3, 4, 5] = 9
    np.save(tmp_path / "v.npy", flat)
    assert (
        main(["compress", str(tmp_path / "v.npy"), str(tmp_path / "v.tinc"), "--ratio", "4", "--method", "predictive"])
        == 0
    )
    err = capsys.readouterr().err
    assert "% of the 6,720 bytes that were allowed are used: every voxel is kept bit for bit in fewer" in err
    for option in (["--max-error", "0"], ["--psnr", "30"]):
        assert main(["compress", str(tmp_path / "v.npy"), str(tmp_path / "v.tinc"), *option]) == 0
        assert "allowed" not in capsys.readouterr().err
    assert unused_text(900, 1000, 3, "networks") == "" and unused_text(900, 0, 3, "networks") == ""
    assert unused_text(700, 1000, 3, "predictive").endswith("used: the next finer step of the values would take more")
