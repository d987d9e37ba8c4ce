"""The command line, mostly in this process: what it prints where, its exit codes, and what it leaves on the disk."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc import events, samples
from napari_tinc.cli import compress, demo, tables
from napari_tinc.cli import main as cli_main
from napari_tinc.cli import progress as cli_progress
from napari_tinc.cli.main import main
from napari_tinc.decoding import values as decoding_values
from napari_tinc.encoding import compress as encoding_compress
from napari_tinc.encoding import log as encoding_log
from napari_tinc.encoding import options as encoding_options
from napari_tinc.encoding import without_networks
from napari_tinc.format import networks_file
from napari_tinc.format.chunks import Ancillary, Chunk
from napari_tinc.io.image import Image
from napari_tinc.io.read import read_image
from napari_tinc.io.write import write_image
from napari_tinc.isolation import caller
from napari_tinc.networks import values
from napari_tinc.storage import checkpoint
from napari_tinc.storage.locks import held
from napari_tinc.training import fit_tree, task, trainer

SPACING = (3.0, 1.5, 1.5)
SHAPE = (40, 24, 28)
MODULE = [sys.executable, "-W", "error", "-m", "napari_tinc.cli.main"]
FIGURES = ("file", "bytes", "ratio", "bits_per_voxel", "psnr", "ssim", "rmse", "max_error")


def wave(shape: tuple[int, ...] = SHAPE, dtype: Any = "uint8") -> np.ndarray[Any, Any]:
    z, y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    return (127 + 100 * np.sin(5 * z) * np.cos(7 * y) * np.sin(4 * x + z)).astype(dtype)


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "STEPS", dict.fromkeys(task.STEPS, 1))
    monkeypatch.setattr(task, "BATCH", dict.fromkeys(task.BATCH, 512))
    monkeypatch.setattr(fit_tree, "BATCH", dict.fromkeys(task.BATCH, 512))


@pytest.fixture(autouse=True)
def _short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


@pytest.fixture(autouse=True)
def _no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.fixture(scope="module")
def content() -> bytes:
    """A good .tinc file."""
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        return tinc.compress(wave(), ratio=8, spacing=SPACING, units="micrometer").parts.data()


@pytest.fixture
def file(tmp_path: Path, content: bytes) -> str:
    (tmp_path / "v.tinc").write_bytes(content)
    return str(tmp_path / "v.tinc")


@pytest.fixture
def image(tmp_path: Path) -> str:
    write_image(tmp_path / "v.tif", wave(), SPACING, "micrometer")
    return str(tmp_path / "v.tif")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that succeeds; what it printed."""

    def run(*arguments: object) -> str:
        assert main(list(map(str, arguments))) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


@pytest.fixture
def run_json(run: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    """Runs a command with --json; the one object that it printed."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    def run_json(*arguments: object) -> dict[str, Any]:
        out = run(*arguments, "--json")
        assert out.count("\n") == 1
        return json.loads(out, parse_constant=refuse)

    return run_json


@pytest.fixture
def fail(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that fails; its reason."""

    def fail(*arguments: object) -> str:
        assert main(list(map(str, arguments))) == 1
        out, err = capsys.readouterr()
        assert out == ""
        *planned, reason = err.splitlines()
        assert len(planned) <= 1 and all(line.endswith(" on disk") for line in planned)
        assert reason.startswith("napari-tinc: ")
        return reason.removeprefix("napari-tinc: ")

    return fail


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- usage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "shrink v.tif v.tinc",
        "compress v.tif",
        "compress v.tif v.tinc --ratio 8 --bytes 100",
        "compress v.tif v.tinc --ratio eight",
        "compress v.tif v.tinc --bytes 1.5",
        "compress v.tif v.tinc --preset slow",
        "compress v.tif v.tinc --weights int4",
        "compress v.tif v.tinc --psnr 40 --ratio 8",
        "compress v.tif v.tinc --pre fast",
        "compress v.tif v.tinc --widths 48;16",
        "compress v.tif v.tinc --calibration leaf",
        "compress v.tif v.tinc --block large",
        "compress v.tif v.tinc --method best",
        "decompress v.tinc v.tif --region 1:2,3:4",
        "decompress v.tinc v.tif --region 1:2,3:4,5",
        "decompress v.tinc v.tif --region=-1:,:,:",
        "decompress v.tinc v.tif --level one",
        "info",
        "info v.tinc w.tinc",
    ],
)
def test_usage_errors_are_one_line_and_code_2(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert err.startswith("napari-tinc")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["", "compress", "decompress", "info", "verify", "compare", "demo"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--help"])
    assert caught.value.code == 0
    assert f"usage: napari-tinc {command}".strip() in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert (caught.value.code, capsys.readouterr().out.split()[0]) == (0, "napari-tinc")


def test_the_choices_are_those_of_the_codec() -> None:
    assert tuple(task.STEPS) == cli_main.PRESETS
    assert task.METHODS == cli_main.METHODS
    assert set(cli_main.WEIGHTS) == set(encoding_options.WEIGHTS)


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
    planned, *_, made = capsys.readouterr().err.splitlines()
    with_or_without = "with networks" if method == "networks" else "with the predictive coder, without networks"
    assert f" {with_or_without}, at most about" in planned and made == f"made {with_or_without}"
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
    log.write_text("of an earlier run\n")
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
    assert run("compare", tmp_path / "v.npy", tmp_path / "v.tinc").split()[-4:] == ["inf", "1.0000", "0", "0"]
    run("decompress", tmp_path / "v.tinc", tmp_path / "w.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "w.npy"), 7)


def with_nan() -> np.ndarray[Any, Any]:
    array = wave(dtype="float32")
    array[3, 2, 1] = np.nan
    return array


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (wave()[0], "axes YX, shape 24, 28; expected ZYX"),
        (np.zeros((2, 2, 2, 2, 3, 4, 5), np.uint8), "7 axes, shape (2, 2, 2, 2, 3, 4, 5); expected 3"),
        (with_nan(), "1 voxels that are NaN or infinite"),
        (wave() > 100, "bool"),
        (wave(dtype="complex64"), "complex64"),
        (wave(dtype="int64"), "int64"),
        (np.zeros((0, 3, 3)), "empty"),
    ],
)
def test_volumes_that_cannot_be_compressed(
    tmp_path: Path, fail: Callable[..., str], array: np.ndarray[Any, Any], reason: str, content: bytes
) -> None:
    np.save(tmp_path / "v.npy", array)
    (tmp_path / "v.tinc").write_bytes(content)
    log = tmp_path / "metrics.jsonl"
    message = fail("compress", tmp_path / "v.npy", tmp_path / "v.tinc", "--log", log)
    assert reason in message
    assert (tmp_path / "v.tinc").read_bytes() == content
    assert listing(tmp_path) == ["v.npy", "v.tinc"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--ratio 1e9", "smallest file"),
        ("--bytes 10", "smallest file"),
        ("--ratio nan", "ratio is nan"),
        ("--ratio 0.5", "ratio is 0.5"),
        ("--bytes 0", "nbytes is 0"),
        ("--device abacus", "'abacus'"),
        ("--seed -1", "seed is -1, expected 0 to"),
        ("--block 4", "block is 4, expected at least 16"),
        ("--widths 48,16 --psnr 30", "expected one"),
        ("--widths 48,16 --max-error 0", "--widths and --max-error given, expected one"),
        ("--weights entropy --max-error 1", "--weights and --max-error given, expected one"),
        ("--preset balanced --max-error 0", "--preset and --max-error given, expected one"),
        ("--method networks --max-error 0", "--method networks and --max-error given, expected one"),
        ("--method predictive --widths 9,9", "--widths and --method predictive given, expected one"),
        ("--method predictive --ratio 1e4", "without networks: the smallest file is about"),
    ],
)
def test_targets_and_options_that_cannot_be_met(
    tmp_path: Path, image: str, file: str, fail: Callable[..., str], options: str, reason: str, content: bytes
) -> None:
    assert reason in fail("compress", image, file, *options.split())
    assert Path(file).read_bytes() == content
    assert listing(tmp_path) == ["v.tif", "v.tinc"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("lost.tif", "there is no such file"), ("v.png", ".png is not supported"), ("cut.tif", "cannot read")],
)
def test_images_that_cannot_be_read(tmp_path: Path, fail: Callable[..., str], name: str, reason: str) -> None:
    (tmp_path / "cut.tif").write_bytes(b"II*\0")
    assert reason in fail("compress", tmp_path / name, tmp_path / "v.tinc")
    assert listing(tmp_path) == ["cut.tif"]


@pytest.mark.parametrize("command", ["compress", "decompress", "demo"])
@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("out", "its suffix must be ."),
        ("out.zip", "its suffix must be ."),
        ("folder.tinc", "it is not a regular file"),
        ("lost/out.tinc", "there is no folder"),
        ("v.tif/out.tinc", "there is no folder"),
        ("/proc/out.tinc", "cannot write /proc/out.tinc: "),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_before_the_work(
    tmp_path: Path, image: str, file: str, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch,
    command: str, out: str, reason: str,
) -> None:  # fmt: skip
    if out.startswith("/proc") and not os.path.isdir("/proc"):
        pytest.skip("no /proc here")
    (tmp_path / "folder.tinc").mkdir()
    (tmp_path / "folder.tif").mkdir()
    before = listing(tmp_path)
    for module, name in ((encoding_compress, "fit"), (tinc.TincVolume, "__init__")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("work was begun"))
    arguments = {"compress": [image], "decompress": [file], "demo": ["--out"]}[command]
    out = out.replace(".tinc", ".tif") if command == "decompress" else out
    assert reason.replace(".tinc", Path(out).suffix) in fail(command, *arguments, tmp_path / out)
    assert listing(tmp_path) == before


def test_a_full_disk_leaves_the_old_file(
    image: str, file: str, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    reason = fail("compress", image, file, "--ratio", 8)
    assert reason.startswith(f"{file}: cannot save, ")
    assert reason.endswith("bytes needed: No space left on device")
    assert Path(file).read_bytes() == content
    assert listing(Path(file).parent) == ["v.tif", "v.tinc"]


@pytest.mark.parametrize("text", ["", "Unable to allocate 3 GiB"])
def test_too_little_memory_is_one_line(
    image: str, tmp_path: Path, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    def short_of_memory(*_: object, **__: object) -> None:
        raise MemoryError(text) if text else MemoryError

    monkeypatch.setattr(values, "normalise", short_of_memory)
    monkeypatch.setattr(fit_tree, "normalise", short_of_memory)
    assert fail("compress", image, tmp_path / "v.tinc") == "not enough memory" + bool(text) * f": {text}"


def test_logs_that_cannot_be_written(tmp_path: Path, image: str, fail: Callable[..., str]) -> None:
    out = tmp_path / "v.tinc"
    assert "which is the volume itself" in fail("compress", image, out, "--log", image)
    assert "which is the volume itself" in fail("compress", image, out, "--log", out)
    assert "No such file or directory" in fail("compress", image, out, "--log", tmp_path / "lost" / "log")
    assert listing(tmp_path) == ["v.tif"]
    np.testing.assert_array_equal(read_image(image).array, wave())


def test_cancelling_leaves_nothing_behind(
    image: str, file: str, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_progress.Ticker, "show", interrupt)
    assert fail("compress", image, file) == "cancelled"
    assert Path(file).read_bytes() == content
    assert listing(Path(file).parent) == ["v.tif", "v.tinc"]


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_interrupting_the_process(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", wave((64, 64, 64)))
    arguments = ["compress", "v.npy", "v.tinc", "--preset", "best", "--log", "log", "--json"]
    with subprocess.Popen(
        MODULE + arguments, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        log, deadline = tmp_path / "log", time.monotonic() + 60
        while not (log.exists() and log.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, '{"error": "cancelled"}\n')
    assert err.splitlines()[-1] == "napari-tinc: cancelled"
    assert listing(tmp_path) == ["log", "v.npy"]


def test_another_process_makes_the_same_file(
    series: str, tmp_path: Path, run_json: Callable[..., dict[str, Any]]
) -> None:
    logs, figures = [], []
    for how in ((), ("--isolate",)):
        log = tmp_path / "log"
        figures.append(run_json("compress", series, tmp_path / "v.tinc", "--max-error", 2, "--log", log, *how))
        logs.append([json.loads(line)["phase"] for line in log.read_text().splitlines()])
        assert listing(tmp_path) == ["log", "s.ome.tif", "v.tinc"]
        figures[-1]["content"] = (tmp_path / "v.tinc").read_bytes()
        figures[-1].pop("seconds")
    assert figures[0] == figures[1] and logs[0] == logs[1]


def test_the_end_of_another_process_is_one_line(
    image: str, tmp_path: Path, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(python: str) -> subprocess.Popen[bytes]:
        code = "import os; os.abort()" if os.name == "posix" else "import os; os._exit(3)"
        return subprocess.Popen([python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    assert "no such file" in fail("compress", tmp_path / "none.npy", tmp_path / "w.tinc", "--isolate")
    monkeypatch.setattr(caller, "_start", start)
    assert "the compression process" in fail("compress", image, tmp_path / "w.tinc", "--isolate")
    assert listing(tmp_path) == ["v.tif"]


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_interrupting_both_processes(tmp_path: Path, run: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "v.npy", wave((64, 32, 32)))
    arguments = ["compress", "v.npy", "v.tinc", "--max-error", "0", "--block", "16"]
    with subprocess.Popen(
        [*MODULE, *arguments, "--isolate"], cwd=tmp_path, text=True, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*.parts/*.block")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does for Ctrl-C
        _, err = process.communicate(timeout=60)
    planned, said = err.splitlines()
    assert planned.startswith("16 blocks of 16 x 16 x 16")
    kept = len(list(tmp_path.glob("*.parts/*.block")))
    assert 1 <= kept < 16 and said.startswith(f"napari-tinc: cancelled; {kept} finished block")
    monkeypatch.chdir(tmp_path)
    run(*arguments)
    assert listing(tmp_path) == ["v.npy", "v.tinc"]
    np.testing.assert_array_equal(np.asarray(tinc.open("v.tinc")), wave((64, 32, 32)))


# --- blocks, channels, time ------------------------------------------------------------------------------------------


CHANNELS = [{"name": "DAPI", "color": "#0000ff"}, {"name": "GFP", "color": "#00ff00"}]
PLANNED = "2 blocks of 22 x 22 x 20 with networks, at most about "


@pytest.fixture
def long(tmp_path: Path) -> str:
    """A volume that `--block 24` cuts in two."""
    write_image(tmp_path / "v.tif", wave((44, 22, 20)), SPACING, "micrometer")
    return str(tmp_path / "v.tif")


@pytest.fixture
def series(tmp_path: Path) -> str:
    """Two channels of two points in time."""
    image = np.stack([wave(), wave()[::-1], wave()[:, ::-1], wave()[..., ::-1]]).reshape(2, 2, *SHAPE)
    write_image(tmp_path / "s.ome.tif", image, SPACING, "micrometer", axes="tczyx", channels=CHANNELS)
    return str(tmp_path / "s.ome.tif")


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


@contextlib.contextmanager
def interrupted_after_a_block(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As by Ctrl-C, when the first block is finished."""
    entry = encoding_log.log_entry

    def interrupt(event: events.Progress) -> dict[str, Any]:
        if event.phase == "blocks" and event.step == 1:
            raise KeyboardInterrupt
        return entry(event)

    with monkeypatch.context() as patch:
        patch.setattr(compress, "log_entry", interrupt)
        yield


def test_an_interrupted_compression_goes_on(
    tmp_path: Path, long: str, run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "v.tinc"
    command = ["compress", long, str(out), "--ratio", "8", "--block", "24"]
    with interrupted_after_a_block(monkeypatch):
        assert main(command) == 1
    reason = f"cancelled; 1 finished block is kept in {out}.parts, the same command goes on from there"
    planned, said = capsys.readouterr().err.splitlines()
    assert (
        planned.startswith(PLANNED)
        and planned.endswith(" GB of memory and 3 MB on disk")
        and said == f"napari-tinc: {reason}"
    )
    assert listing(tmp_path) == ["v.tif", "v.tinc.parts"]
    assert main(command) == 0
    assert f"goes on from what is kept in {out}.parts" in capsys.readouterr().err
    assert listing(tmp_path) == ["v.tif", "v.tinc"]
    run(*command[:2], tmp_path / "w.tinc", *command[3:])
    assert out.read_bytes() == (tmp_path / "w.tinc").read_bytes()


def test_an_interrupted_training_is_kept(
    tmp_path: Path, image: str, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CHECKPOINT_SECONDS", "RESULT_SECONDS"):
        monkeypatch.setattr(checkpoint, name, 0.0)
        monkeypatch.setattr(trainer, name, 0.0)
    out = tmp_path / "v.tinc"
    command = ["compress", image, str(out), "--ratio", "8"]
    entry = encoding_log.log_entry

    def interrupt(event: events.Progress) -> dict[str, Any]:
        if event.phase == "packing":
            raise KeyboardInterrupt
        return entry(event)

    with monkeypatch.context() as patch:
        patch.setattr(compress, "log_entry", interrupt)
        reason = fail(*command)
    kept = f" seconds ago is kept in {out}.parts, the same command goes on from there"
    assert reason.startswith("cancelled; what was done until ") and reason.endswith(kept)
    assert main([*command, "--resume"]) == 0 and listing(tmp_path) == ["v.tif", "v.tinc"]


def test_a_process_that_was_killed_leaves_what_it_did(
    tmp_path: Path, long: str, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, entry = tmp_path / "v.tinc", encoding_log.log_entry

    def kill(event: events.Progress) -> dict[str, Any]:
        if event.phase == "blocks" and event.step == 1:
            raise tinc.ChildError("killed")
        return entry(event)

    monkeypatch.setattr(compress, "log_entry", kill)
    reason = fail("compress", long, out, "--ratio", "8", "--block", "24")
    assert reason == f"killed; 1 finished block is kept in {out}.parts, the same command goes on from there"


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_to_a_file_that_is_being_written(tmp_path: Path, image: str, fail: Callable[..., str]) -> None:
    """Both wrote it, and the later one was not told."""
    out, link = tmp_path / "v.tinc", tmp_path / "link.tinc"
    link.symlink_to(out)
    folder = Path(f"{out}.parts")
    with held(folder):
        assert "another process is compressing to it" in fail("compress", image, link, "--max-error", "0")
    assert main(["compress", image, str(link), "--max-error", "0"]) == 0 and link.is_symlink() and out.exists()


def test_resume_wants_something_to_go_on_from(
    tmp_path: Path, long: str, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "v.tinc"
    command = ["compress", long, str(out), "--ratio", "8", "--block", "24", "--resume"]
    assert fail(*command).startswith(f"--resume: {out}.parts holds nothing of this volume with these options")
    assert listing(tmp_path) == ["v.tif"]
    with interrupted_after_a_block(monkeypatch):
        assert main(command[:-1]) == 1
    assert main([*command, "--seed", "1"]) == 1
    assert main(command) == 0
    assert listing(tmp_path) == ["v.tif", "v.tinc"]


def test_finished_blocks_need_a_folder(image: str, fail: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "v.tinc.parts").touch()
    assert fail("compress", image, tmp_path / "v.tinc").endswith("is no folder; what is done is kept there")


def test_a_scheduler_that_does_not_answer(image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed")
    command = ["compress", image, str(tmp_path / "v.tinc"), "--ratio", "8", "--scheduler", "tcp://127.0.0.1:9"]
    assert main(command) == 0
    assert "only blocks go to a scheduler" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["w.ome.tif", "w.tif", "w.ome.zarr", "w.zarr", "w.npy"])
def test_channels_and_time(tmp_path: Path, series: str, run: Any, run_json: Callable[..., Any], out: str) -> None:
    if out.endswith("zarr"):
        pytest.importorskip("zarr")
    file, original = tmp_path / "s.tinc", read_image(series)
    run("compress", series, file, "--ratio", 8, "--calibration", "none")
    volume = tinc.open(file)
    assert (volume.axis_labels, volume.channels, volume.shape) == ("tczyx", CHANNELS, (2, 2, *SHAPE))
    info = run_json("info", file)
    assert (info["axes"], info["channels"], info["n_blocks"]) == ("tczyx", CHANNELS, 4)
    assert "channels      DAPI #0000ff, GFP #00ff00\n" in run("info", file)
    assert run_json("verify", file)["ok"] is True
    measured = asdict(tinc.compare(original.array, volume))
    assert {key: run_json("compare", series, file)[key] for key in measured} == measured
    result = run_json("decompress", file, tmp_path / out)
    assert (result["shape"], result["axes"]) == ([2, 2, *SHAPE], "tczyx")
    image = read_image(tmp_path / out)
    np.testing.assert_array_equal(image.array, volume)
    if out != "w.npy":
        assert (image.axes, image.channels, image.units) == ("TCZYX", CHANNELS, "micrometer")
        assert image.spacing == pytest.approx(SPACING)
    run("decompress", file, tmp_path / out, "--region", "3:9,:,5:", "--level", 1)
    np.testing.assert_array_equal(read_image(tmp_path / out).array, volume.levels[1][..., 3:9, :, 5:])


def test_an_ome_zarr_has_all_levels(tmp_path: Path, file: str, run_json: Callable[..., Any]) -> None:
    zarr = pytest.importorskip("zarr")
    out, volume = tmp_path / "w.ome.zarr", tinc.open(file)
    result = run_json("decompress", file, out)
    group = zarr.open_group(out, mode="r")
    assert len(list(group.array_keys())) == len(volume.levels) == 2
    for name, level in group.arrays():
        np.testing.assert_array_equal(level, volume.levels[int(name)])
    assert result["bytes"] == sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert read_image(out).spacing == SPACING


@pytest.mark.parametrize(
    ("axes", "labels"), [("ZYX", "zyx"), ("QQZYX", "qrzyx"), ("TTQZYX", "trqzyx"), ("?CZYX", "rczyx")]
)
def test_every_axis_has_a_letter_of_its_own(axes: str, labels: str) -> None:
    assert Image(None, axes, None, None, "").options()["axis_labels"] == labels


def test_what_is_left_of_a_file_of_blocks(tmp_path: Path, long: str, run: Any, run_json: Any, fail: Any) -> None:
    file, cut, out = tmp_path / "v.tinc", tmp_path / "cut.tinc", tmp_path / "w.npy"
    run("compress", long, file, "--ratio", 8, "--block", 24)
    cut.write_bytes(file.read_bytes()[:-5])
    assert "file size is" in fail("info", cut)
    assert "file size is" in fail("decompress", cut, out)
    info = run_json("info", cut, "--partial")
    assert (info["n_blocks"], info["n_missing"]) == (2, 1)
    run("decompress", cut, out, "--partial")
    np.testing.assert_array_equal(np.load(out)[:22], tinc.open(file)[:22])
    first = min(entry.start for entry in tinc.open(file).parts.entries())
    cut.write_bytes(file.read_bytes()[:first])
    info = run_json("info", cut, "--partial", "--leaves")
    assert (info["n_blocks"], info["n_missing"], info["n_leaves"]) == (2, 2, 0)


def test_compare_says_what_is_too_large(
    image: str, file: str, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding_values, "MAX_EAGER_VOXELS", 1000)
    assert "has 26880 voxels, expected at most 1000, as it is compared in memory" in fail("compare", image, file)


# --- decompress ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize(
    ("region", "index"),
    [
        (":,:,:", np.s_[:, :, :]),
        ("3:9,2:11,5:14", np.s_[3:9, 2:11, 5:14]),
        ("7:,:5,0:1", np.s_[7:, :5, :1]),
    ],
)
def test_decompress(
    tmp_path: Path, file: str, run_json: Callable[..., Any], suffix: str, level: int, region: str, index: Any
) -> None:
    out = tmp_path / f"w{suffix}"
    result = run_json("decompress", file, out, "--region", region, "--level", level)
    expected = np.asarray(tinc.open(file).levels[level])[index]
    image = read_image(out)
    np.testing.assert_array_equal(image.array, expected)
    spacing = tuple(size * 2**level for size in SPACING)
    assert image.spacing == (pytest.approx(spacing) if suffix == ".tif" else None)
    assert image.units == ("micrometer" if suffix == ".tif" else None)
    assert (result["file"], result["shape"], result["dtype"]) == (str(out), list(expected.shape), "uint8")
    assert (result["spacing"], result["units"]) == (list(spacing), "micrometer")
    assert result["bytes"] == out.stat().st_size


def test_decompress_in_text_and_without_spacing(tmp_path: Path, run: Callable[..., str]) -> None:
    tinc.compress(wave(), ratio=8).save(tmp_path / "v.tinc")
    out = run("decompress", tmp_path / "v.tinc", tmp_path / "w.tif")
    assert "shape         40, 24, 28\naxes          zyx\ndtype         uint8\nspacing       -\n" in out
    image = read_image(tmp_path / "w.tif")
    np.testing.assert_array_equal(image.array, tinc.open(tmp_path / "v.tinc"))
    assert image.spacing is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--region", "0:41,:,:"], "region has z 0:41, expected a part of 0:40"),
        (["--region", ":,8:8,:"], "region has y 8:8, expected a part of 0:24"),
        (["--region", ":,:,9:3"], "region has x 9:3, expected a part of 0:28"),
        (["--region", ":,:,28:"], "region has x 28:28, expected a part of 0:28"),
        (["--region", "0:21,:,:", "--level", "1"], "region has z 0:21, expected a part of 0:20"),
        (["--level", "2"], "level is 2, expected 0 to 1"),
        (["--level", "-1"], "level is -1, expected 0 to 1"),
    ],
)
def test_parts_that_do_not_exist(
    tmp_path: Path, file: str, fail: Callable[..., str], options: list[str], reason: str
) -> None:
    assert fail("decompress", file, tmp_path / "w.tif", *options) == reason
    assert listing(tmp_path) == ["v.tinc"]


# --- info, verify, compare -------------------------------------------------------------------------------------------


def test_info_says_in_words_what_a_file_holds(tmp_path: Path, image: str, file: str, run: Callable[..., str]) -> None:
    assert "method        an octree of networks\n" in run("info", file)
    out = tmp_path / "exact.tinc"
    for block, contents in (("64", "1 block without networks"), ("20", "8 blocks without networks")):
        run("compress", image, out, "--max-error", 2, "--block", block)
        lines = run("info", out).splitlines()
        assert f"method        {contents} (predictive coder)" in lines
        assert not any(line.startswith(("widths", "weights", "calibration", "scalars")) for line in lines)


def test_info_json(file: str, run_json: Callable[..., Any]) -> None:
    volume = tinc.open(file)
    info = run_json("info", file)
    assert info == {
        "file": file,
        "shape": list(SHAPE),
        "axes": "zyx",
        "dtype": "uint8",
        "channels": [],
        "spacing": list(SPACING),
        "units": "micrometer",
        "value_range": [int(wave().min()), int(wave().max())],
        "error_bound": None,
        "bytes": os.path.getsize(file),
        "ratio": volume.ratio,
        "bits_per_voxel": pytest.approx(8 / volume.ratio),
        "method": "networks",
        "n_blocks": 1,
        "block_shape": list(SHAPE),
        "n_missing": 0,
        "n_levels": volume.header.tree.depth + 1,
        "n_leaves": len(volume.leaves),
        "n_scalars": int((volume.leaves["network"] < 0).sum()),
        "n_parameters": int(networks_file.parameter_counts(volume.header).sum()),
        "widths": info["widths"],
        "weights": "entropy",
        "calibration": volume.header.calibration.name.lower(),
        "provenance": {
            "encoder": volume.provenance["encoder"],
            "preset": "balanced",
            "seed": 0,
            "psnr": float(volume.provenance["psnr"]),
            "ssim": float(volume.provenance["ssim"]),
        },
        "chunks": info["chunks"],
    }
    quality = tinc.compare(wave(), volume)
    assert (info["provenance"]["psnr"], info["provenance"]["ssim"]) == pytest.approx((quality.psnr, quality.ssim), 1e-3)
    level, widths = volume.header.tree.level, volume.header.widths
    assert info["widths"] == [
        np.unique(widths[(level == at) & (widths > 0)]).tolist() for at in range(info["n_levels"])
    ]
    assert sum(row["chunks"] for row in info["chunks"]) == len(volume.parts.entries())
    assert sum(row["nodes"] for row in info["chunks"]) == (widths > 0).sum()
    assert sum(row["bytes"] for row in info["chunks"]) == sum(len(chunk.payload) for chunk in volume.parts.entries())


def test_info_leaves(file: str, run: Callable[..., str], run_json: Callable[..., Any]) -> None:
    leaves = tinc.open(file).leaves
    rows = run_json("info", file, "--leaves")["leaves"]
    assert len(rows) == len(leaves)
    for row, leaf in zip(rows, leaves, strict=True):
        assert tuple(row) == leaves.dtype.names
        assert all(np.array_equal(row[name], leaf[name]) for name in row)
    text = run("info", file, "--leaves")
    assert text.startswith(run("info", file).rstrip())
    assert len(text.splitlines()) == len(run("info", file).splitlines()) + 2 + len(leaves)
    assert f"{leaves[0]['psnr']:.2f}" in text


def test_info_of_a_file_by_others(tmp_path: Path, content: bytes, run: Any, run_json: Callable[..., Any]) -> None:
    header, chunks = networks_file.parse(content)
    chunks = tuple(chunk for chunk in chunks if not chunk.ancillary)
    (tmp_path / "bare.tinc").write_bytes(networks_file.pack(header, chunks))
    assert run_json("info", tmp_path / "bare.tinc")["provenance"] == {"psnr": None, "ssim": None}
    assert run_json("info", tmp_path / "bare.tinc", "--leaves")["leaves"][0]["psnr"] is None
    assert "provenance    PSNR (dB) -, SSIM -\n" in run("info", tmp_path / "bare.tinc", "--leaves")
    unknown = replace(Chunk.of(Ancillary.META, b"?"), kind=7)
    odd = Chunk.of(Ancillary.PROVENANCE, b'{"encoder": "\\u001b[31mred\\n", "psnr": [Infinity], "seed": NaN}')
    (tmp_path / "odd.tinc").write_bytes(networks_file.pack(replace(header, unit="\u2102m"), [*chunks, unknown, odd]))
    info = run_json("info", tmp_path / "odd.tinc")
    assert info["provenance"] == {"encoder": "\x1b[31mred\n", "psnr": None, "seed": None, "ssim": None}
    assert [row["kind"] for row in info["chunks"][-2:]] == ["unknown (7)", "PROVENANCE"]
    text = run("info", tmp_path / "odd.tinc")
    assert "encoder ?[31mred" in text
    assert "\x1b" not in text


def test_text_that_stdout_cannot_encode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    tables.put("1 \u00b5m")
    assert sys.stdout.buffer.getvalue() == f"1 ?m{os.linesep}".encode()


def test_verify(file: str, run: Callable[..., str], run_json: Callable[..., Any]) -> None:
    volume = tinc.open(file)
    result = run_json("verify", file)
    assert result == {
        "file": file,
        "ok": True,
        "bytes": os.path.getsize(file),
        "n_chunks": len(volume.parts.entries()),
        "n_leaves": len(volume.leaves),
        "n_parameters": int(networks_file.parameter_counts(volume.header).sum()),
    }
    assert run("verify", file).startswith(f"ok: {result['bytes']:,} bytes, ")


def damaged(content: bytes, how: str) -> bytes:
    return {
        "empty": b"",
        "foreign": b"PK\3\4" + content[4:],
        "short": content[:7],
        "cut": content[: len(content) // 2],
        "long": content + b"\0",
        "prefix": content[:5] + b"\x80" + content[6:],
        "head": content[:20] + bytes([content[20] ^ 1]) + content[21:],
        "body": content[:-200] + bytes([content[-200] ^ 4]) + content[-199:],
    }[how]


@pytest.mark.parametrize("how", ["empty", "foreign", "short", "cut", "long", "prefix", "head", "body"])
def test_damaged_files(tmp_path: Path, image: str, fail: Callable[..., str], content: bytes, how: str) -> None:
    file = tmp_path / "v.tinc"
    file.write_bytes(damaged(content, how))
    commands = [["verify", file], ["compare", image, file], ["decompress", file, tmp_path / "w.npy"]]
    for command in [*commands, *([] if how == "body" else [["info", file]])]:
        assert fail(*command).startswith(f"{file}: ")
    assert listing(tmp_path) == ["v.tif", "v.tinc"]


def test_every_flipped_byte_is_found(file: str, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    for at in range(0, len(content), 53):
        Path(file).write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        assert main(["verify", file]) == 1, f"byte {at}"
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)


def test_a_file_is_not_decompressed_onto_itself(tmp_path: Path, content: bytes, fail: Callable[..., str]) -> None:
    misnamed = tmp_path / "v.npy"
    misnamed.write_bytes(content)
    assert fail("decompress", misnamed, misnamed).endswith(f"it is {misnamed} itself")
    assert misnamed.read_bytes() == content


def test_stderr_may_be_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """What belongs there went to stdout, among the JSON."""
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["info", str(tmp_path / "lost.tinc"), "--json"]) == 1
    sys.stderr.close()
    assert list(json.loads(capsys.readouterr().out)) == ["error"]


@pytest.mark.parametrize("command", ["info", "verify", "compare", "decompress"])
def test_missing_files(tmp_path: Path, image: str, fail: Callable[..., str], command: str) -> None:
    def arguments(file: Path) -> list[object]:
        return {"compare": [image, file], "decompress": [file, tmp_path / "w.tif"]}.get(command, [file])

    assert fail(command, *arguments(tmp_path / "lost.tinc")) == f"{tmp_path / 'lost.tinc'}: No such file or directory"
    assert fail(command, *arguments(tmp_path)).startswith(str(tmp_path))


def test_compare(tmp_path: Path, image: str, file: str, run: Callable[..., str], run_json: Callable[..., Any]) -> None:
    expected = asdict(tinc.compare(wave(), tinc.open(file)))
    assert run_json("compare", image, file) == {"file": file, "bytes": os.path.getsize(file), **expected}
    headings, numbers = run("compare", image, file).splitlines()
    assert headings.split()[-3:] == ["RMSE", "max", "error"]
    assert f" {expected['psnr']:.2f} " in numbers


def test_a_failure_in_json(tmp_path: Path, file: str, fail: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.tinc").touch()
    lost, empty, out = (str(tmp_path / name) for name in ("lost.tinc", "empty.tinc", "w.tif"))
    for command in (
        ["verify", empty],
        ["info", lost],
        ["decompress", file, out, "--level", "9"],
        ["compare", out, file],
    ):
        reason = fail(*command)
        assert main([*command, "--json"]) == 1
        printed, err = capsys.readouterr()
        assert (json.loads(printed), printed.count("\n")) == ({"error": reason}, 1)
        assert err == f"napari-tinc: {reason}\n"


def test_compare_with_something_else(tmp_path: Path, file: str, fail: Callable[..., str]) -> None:
    np.save(tmp_path / "small.npy", wave((5, 6, 7)))
    assert "shapes differ: original (5, 6, 7)" in fail("compare", tmp_path / "small.npy", file)
    np.save(tmp_path / "flat.npy", wave()[0])
    assert "axes YX" in fail("compare", tmp_path / "flat.npy", file)
    assert "there is no such file" in fail("compare", tmp_path / "lost.npy", file)


# --- demo ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> Image:
    image = Image(wave((36, 36, 36)), "ZYX", (1.0, 1.0, 1.0), "millimeter", "sample")
    monkeypatch.setattr(samples, "mri", lambda: image)
    return image


def test_demo(tmp_path: Path, sample: Image, run: Callable[..., str], run_json: Callable[..., Any]) -> None:
    result = run_json("demo", "--out", tmp_path / "kept.tinc", "--preset", "fast")
    volume = tinc.open(tmp_path / "kept.tinc")
    measured = asdict(tinc.compare(sample.array, volume))
    assert result["seconds"] > 0
    assert {key: result[key] for key in measured} == measured
    assert 64 <= result["ratio"] <= 64 * 1.03
    assert volume.units == "millimeter"
    headings, numbers = run("demo").splitlines()
    assert headings.split()[-1] == "seconds"
    assert numbers.split()[0] == "-"


class Viewer:
    """What of napari the demo uses."""

    def __init__(self, title: str) -> None:
        self.layers: list[tuple[Any, dict[str, Any]]] = []
        self.canvas = types.SimpleNamespace(grid=types.SimpleNamespace(enabled=False))

    def add_image(self, array: Any, **options: Any) -> None:
        self.layers.append((array, options))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Viewer]:
    """The viewers that were run, of a napari that is not the real one, on a screen that is not there."""
    opened: list[Viewer] = []
    running: list[Viewer] = []

    def open_viewer(title: str) -> Viewer:
        opened.append(Viewer(title))
        return opened[-1]

    napari = types.SimpleNamespace(Viewer=open_viewer, run=lambda: running.extend(opened))
    monkeypatch.setitem(sys.modules, "napari", napari)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(demo, "QT_PROBE", "print('xcb')")
    return running


def test_demo_shows_both_side_by_side(sample: Image, shown: list[Viewer], run: Callable[..., str]) -> None:
    run("demo")
    [viewer] = shown
    assert viewer.canvas.grid.enabled
    (original, options), (reconstruction, same) = viewer.layers
    assert (options.pop("name"), same.pop("name")) == ("sample", "sample (tinc)")
    assert options == same
    assert (options["scale"], options["units"]) == ((1, 1, 1), ["millimeter"] * 3)
    assert original is sample.array
    assert tinc.compare(original, reconstruction).psnr > 10


@pytest.mark.parametrize("probe", ["print('offscreen')", "import os; os.abort()", "raise ImportError", "exit(3)"])
def test_nothing_is_shown_where_qt_cannot_open_a_window(
    file: str, shown: list[Viewer], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], probe: str
) -> None:
    monkeypatch.setattr(demo, "QT_PROBE", probe)
    demo._show(Image(wave(), "ZYX", None, None, "v"), tinc.open(file))
    assert not shown
    hint = 'napari cannot show it: no Qt binding is installed (pip install "napari-tinc[all]")\n'
    assert capsys.readouterr() == (hint if "ImportError" in probe else "", "")


@pytest.mark.parametrize("variable", ["CI", "DISPLAY"])
def test_no_window_is_tried_where_there_is_no_screen(
    file: str, shown: list[Viewer], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it was tried"))
    monkeypatch.setenv(variable, {"CI": "true", "DISPLAY": ""}[variable])
    demo._show(Image(wave(), "ZYX", None, None, "v"), tinc.open(file))
    assert not shown


@pytest.mark.parametrize("option", ["--no-view", "--json"])
def test_demo_without_a_window(
    sample: Image, shown: list[Viewer], run: Callable[..., str], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr(demo, "_show", lambda *_: pytest.fail("it was called"))
    run("demo", option)


# --- progress, and whole processes -----------------------------------------------------------------------------------


PROGRESS = events.Progress("training", 40, 500, 2.0, 95.6, 0.01, 30.123, 32100)


def test_progress_on_a_terminal_is_one_line_that_changes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    ticker = cli_progress.Ticker()
    for event in (replace(PROGRESS, nbytes=None), PROGRESS):
        ticker.show(event)
    ticker.clear()
    out, err = capsys.readouterr()
    lines = err.split("\r")[1::2]
    assert out == ""
    assert {len(line) for line in lines} == {59}
    assert [line.rstrip() for line in lines] == [
        "training 40/500  30.12 dB  96 s left",
        "training 40/500  30.12 dB  32,100 bytes  96 s left",
        "",
    ]
    assert "\n" not in err


def test_progress_elsewhere_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ticker = cli_progress.Ticker()
    for _ in range(60):
        now[0] += 0.2
        ticker.show(PROGRESS)
    ticker.clear()
    assert capsys.readouterr().err == "training 40/500  30.12 dB  32,100 bytes  96 s left\n" * 2


def test_as_a_process(tmp_path: Path, file: str) -> None:
    info = subprocess.run([*MODULE, "info", file, "--json"], capture_output=True, text=True, check=True, timeout=60)
    assert (json.loads(info.stdout)["shape"], info.stderr) == (list(SHAPE), "")
    for arguments, code in ((["verify", "lost.tinc"], 1), (["verify"], 2)):
        failed = subprocess.run(MODULE + arguments, capture_output=True, text=True, timeout=60)
        assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (code, "", 1)


@pytest.mark.skipif(os.name != "posix", reason="pipes break otherwise there")
def test_a_reader_that_leaves_early(file: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        result = subprocess.run([*MODULE, "info", file], stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_the_original_is_never_overwritten(link: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original, array = tmp_path / "a.npy", np.arange(4000, dtype="u2").reshape(10, 20, 20)
    np.save(original, array)
    link(original, tmp_path / "alias.tinc")
    link(original, tmp_path / "alias.log")
    assert main(["compress", str(original), str(tmp_path / "alias.tinc"), "--max-error", "3"]) == 1
    assert "itself" in capsys.readouterr().err
    log = ["--log", str(tmp_path / "alias.log")]
    assert main(["compress", str(original), str(tmp_path / "b.tinc"), "--max-error", "3", *log]) == 1
    assert "the volume itself" in capsys.readouterr().err
    np.testing.assert_array_equal(np.load(original), array)


def test_what_would_hang_or_be_lost_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", np.arange(4000, dtype="u2").reshape(10, 20, 20))
    options = [str(tmp_path / "b.tinc"), "--max-error", "3"]
    os.mkfifo(tmp_path / "pipe.npy")
    assert main(["compress", str(tmp_path / "pipe.npy"), *options]) == 1
    assert "not a regular file" in capsys.readouterr().err
    (tmp_path / "b.tinc.parts").symlink_to(tmp_path / "nowhere")
    assert main(["compress", str(tmp_path / "a.npy"), *options]) == 1
    (tmp_path / "b.tinc.parts").unlink()
    (tmp_path / "loop.tinc").symlink_to(tmp_path / "loop.tinc")
    assert main(["compress", str(tmp_path / "a.npy"), str(tmp_path / "loop.tinc")]) == 1
    assert "symbolic links" in capsys.readouterr().err and not (tmp_path / "loop.tinc.parts").exists()
    assert main(["compress", str(tmp_path / "a.npy"), *options]) == 0
    there = tmp_path / "there.ome.zarr"
    for _ in range(2):
        assert main(["decompress", str(tmp_path / "b.tinc"), str(there)]) == 0
    (there / "labels").mkdir()
    assert main(["decompress", str(tmp_path / "b.tinc"), str(there)]) == 1 and (there / "labels").is_dir()
