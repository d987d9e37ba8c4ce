"""What is refused before any work, in one line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import listing, wave

import napari_tinc as tinc
from napari_tinc.cli import main as cli_main
from napari_tinc.cli.main import main
from napari_tinc.encoding import compress as encoding_compress
from napari_tinc.encoding import options as encoding_options
from napari_tinc.io.read import read_image
from napari_tinc.texts import with_names
from napari_tinc.training import task


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


def test_a_decimal_comma_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compress", "v.tif", "v.tinc", "--max-error", "0,5"])
    assert "'0,5' is not a number: write 0.5" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["auto,100", "100,auto", "none,100"])
def test_fill_is_looked_for_or_named(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compress", "v.tif", "v.tinc", "--fill", given])
    err = capsys.readouterr().err
    assert f"'{given}', expected numbers such as -32768, or none, or auto" in err and err.count("\n") == 1
    with pytest.raises(ValueError, match="fill has 'auto' and other values"):
        tinc.Options(fill=["auto", 100])


def test_numbers_that_begin_with_a_minus_need_no_equals_sign(
    tmp_path: Path, fail: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    array = wave(dtype="int16")
    array[:9], array[9:12] = -2000, 5
    saved(tmp_path / "v.npy", array)
    command = ["compress", str(tmp_path / "v.npy"), str(tmp_path / "v.tinc"), "--max-error"]
    assert main([*command, "3", "--fill", "-2000,5"]) == 0
    assert set(tinc.open(tmp_path / "v.tinc").fill.values) == {-2000, 5}
    capsys.readouterr()
    assert "is -0.5" in fail(*command, "-.5")
    assert "is -inf" in fail(*command, "-inf")


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


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (wave()[0], "axes YX, shape 24, 28; expected ZYX"),
        (np.zeros((2, 2, 2, 2, 3, 4, 5), np.uint8), "7 axes, shape (2, 2, 2, 2, 3, 4, 5); expected 3"),
        (wave(dtype="complex64"), "complex64"),
        (wave(dtype="int64") * 2**30, "int64 and values"),
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
        ("--bytes 0", "--bytes is 0"),
        ("--device abacus", "'abacus'"),
        ("--seed -1", "seed is -1, expected 0 to"),
        ("--block 4", "block is 4, expected at least 16"),
        ("--widths 48,16 --psnr 30", "expected one"),
        ("--widths 48,16 --max-error 0", "--widths and --max-error given, expected one"),
        ("--weights entropy --max-error 1", "--weights and --max-error given, expected one"),
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


def test_logs_that_cannot_be_written(tmp_path: Path, image: str, fail: Callable[..., str]) -> None:
    out = tmp_path / "v.tinc"
    assert "which is the volume itself" in fail("compress", image, out, "--log", image)
    assert "which is the volume itself" in fail("compress", image, out, "--log", out)
    assert "No such file or directory" in fail("compress", image, out, "--log", tmp_path / "lost" / "log")
    other = tmp_path / "other.tif"
    other.write_bytes(b"II*")
    assert "is no log; it would be lost" in fail("compress", image, out, "--log", other)
    assert other.read_bytes() == b"II*" and listing(tmp_path) == ["other.tif", "v.tif"]
    np.testing.assert_array_equal(read_image(image).array, wave())


def test_a_file_is_not_decompressed_onto_itself(tmp_path: Path, content: bytes, fail: Callable[..., str]) -> None:
    misnamed = tmp_path / "v.npy"
    misnamed.write_bytes(content)
    assert fail("decompress", misnamed, misnamed).endswith(f"it is {misnamed} itself")
    assert misnamed.read_bytes() == content


@pytest.mark.parametrize("command", ["info", "verify", "compare", "decompress"])
def test_missing_files(tmp_path: Path, image: str, fail: Callable[..., str], command: str) -> None:
    def arguments(file: Path) -> list[object]:
        return {"compare": [image, file], "decompress": [file, tmp_path / "w.tif"]}.get(command, [file])

    assert fail(command, *arguments(tmp_path / "lost.tinc")) == f"{tmp_path / 'lost.tinc'}: No such file or directory"
    assert fail(command, *arguments(tmp_path)).startswith(str(tmp_path))


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


def test_an_image_without_a_name_and_a_file_within_the_image(tmp_path: Path, fail: Callable[..., str]) -> None:
    assert "the name of the image is empty" in fail("compress", "", str(tmp_path / "a.tinc"))
    inside = str(tmp_path / "a.tinc")
    assert fail("compress", str(tmp_path), inside).endswith("the folder that is read; name a file outside")


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


# --- messages about Python arguments name the flag --------------------------------------------------------------------


def saved(path: Path, array: Any) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("array", "options", "reason"),
    [
        (wave(), "--exact mask.npy --max-error 0", "--exact and --max-error 0.0 given, expected one: every voxel is"),
        (wave(), "--exact mask.npy --exact-max-error 5 --max-error 3", "--exact within 5.0 and --max-error 3.0 given"),
        (wave(), "--exact-max-error 5", "--exact-max-error 5.0 given without --exact"),
        (wave(), "--exact small.npy", "--exact has the shape (2, 2, 2), expected (40, 24, 28)"),
        (wave(), "--importance small.npy", "--importance has the shape (2, 2, 2)"),
        (wave(), "--importance mask.npy --max-error 3", "--importance and --max-error 3.0 given"),
        (wave(), "--labels --ratio 8", "--labels and --ratio 8.0 given, expected --max-error 0: labels must be exact"),
        (wave(), "--bytes 0", "--bytes is 0"),
        (wave(), "--ratio 0.5", "--ratio is 0.5, expected at least 1"),
        (wave(), "--widths 48,16 --psnr 30", "--widths 48,16 and --psnr 30.0 given"),
        (wave(), "--seed -1", "--seed is -1"),
    ],
)
def test_messages_name_flags_and_no_arguments_of_python(
    tmp_path: Path, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch, array: Any, options: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "mask.npy", (np.arange(wave().size) >= 26000).reshape(wave().shape))
    saved(tmp_path / "small.npy", np.ones((2, 2, 2), "u1"))
    message = fail("compress", saved(tmp_path / "v.npy", array), tmp_path / "v.tinc", *options.split())
    assert reason in message
    assert not re.search(r"\b[a-z_]+=|max_error|nbytes", message), message


def test_file_names_are_no_arguments() -> None:
    names = {"ratio": "--ratio", "max_error": "--max-error", "nbytes": "--bytes"}
    for text in ("cannot read /a/ratio=3/max_error.npy: it is no file", "a ratio of 3 is asked for"):
        assert with_names(text, names) == text
    assert (
        with_names("ratio=3 or max_error=(1, 2), ask for nbytes.", names)
        == "--ratio 3 or --max-error 1,2, ask for --bytes."
    )


def test_a_preset_beside_a_bound_changes_nothing_and_is_said(
    tmp_path: Path, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in (["--max-error", "3"], ["--method", "predictive"]):
        assert main(["compress", image, str(tmp_path / "v.tinc"), "--preset", "fast", *option]) == 0
        assert "napari-tinc: --preset fast changes nothing" in capsys.readouterr().err


def test_a_mask_is_kept_bit_for_bit_whatever_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = wave() > 100
    for option, unused in (([], ""), (["--ratio", "8"], "--ratio is not used"), (["--psnr", "30"], "--psnr is not")):
        file = str(tmp_path / "v.tinc")
        assert main(["compress", str(saved(tmp_path / "v.npy", mask)), file, *option]) == 0
        err = capsys.readouterr().err
        assert "napari-tinc: a mask (bool) is kept bit for bit" in err and unused in err
        assert tinc.open(file).labels and tinc.open(file).error_bound == 0
        np.testing.assert_array_equal(tinc.open(file), mask)
