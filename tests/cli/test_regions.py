"""Regions and importance on the command line: what is kept, said, proved and measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_tinc.cli.main import main

SHAPE = (12, 20, 24)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    z, y, x = np.indices(SHAPE)
    values = 100 + 30 * np.sin(z / 3) + 20 * np.cos(y / 4) + x + np.random.default_rng(0).normal(0, 3, SHAPE)
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:7, 5:15, 6:12] = 255
    np.save(tmp_path / "in.npy", values.astype(np.uint8))
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.mark.parametrize("isolate", [[], ["--isolate"]])
def test_a_region_is_kept_and_said(folder: Path, capsys: pytest.CaptureFixture[str], isolate: list[str]) -> None:
    source, file, mask = folder / "in.npy", folder / "out.tinc", folder / "mask.tif"
    code, out, err = run(
        capsys, "compress", source, file, "--ratio", 5, "--method", "predictive", "--exact", mask, *isolate
    )
    assert code == 0, err
    assert "PSNR inside" in out and "PSNR outside" in out
    assert "300 voxels bit for bit; every other voxel within" in run(capsys, "info", file)[1]
    info = json.loads(run(capsys, "info", file, "--json")[1])
    assert (info["exact_voxels"], info["exact_max_error"]) == (300, 0)
    assert [chunk["chunks"] for chunk in info["chunks"] if chunk["kind"] == "REGION"] == [1]
    assert "300 voxels bit for bit" in run(capsys, "verify", file)[1]
    code, out, _ = run(capsys, "verify", file, "--against", source)
    assert code == 0 and "proved on all 5,760 voxels" in out
    measured = json.loads(run(capsys, "compare", source, file, "--json")[1])
    assert measured["psnr_inside"] in (None, "inf", np.inf) and measured["psnr_outside"] < measured["psnr"]
    changed = np.load(source)
    changed[3, 7, 8] += 1
    np.save(folder / "other.npy", changed)
    code, _, err = run(capsys, "verify", file, "--against", folder / "other.npy")
    assert code == 1 and "1 voxels differ" in err and len(err.splitlines()) == 1


def test_a_file_of_networks_proves_its_region_only(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, file = folder / "in.npy", folder / "out.tinc"
    keywords = ["--ratio", 5, "--method", "networks", "--preset", "fast", "--exact-max-error", 2]
    assert run(capsys, "compress", source, file, "--exact", folder / "mask.tif", *keywords)[0] == 0
    assert "300 voxels within 2; no bound elsewhere" in run(capsys, "info", file)[1]
    code, out, _ = run(capsys, "verify", file, "--against", source)
    assert code == 0 and "proved on the 300 voxels" in out


@pytest.mark.parametrize(("arguments", "message"), [
    (["--exact-max-error", "3"], "--exact-max-error 3.0 given without --exact"),
    (["--exact", "in.npy", "--max-error", "0"], "every voxel is kept bit for bit"),
    (["--importance", "mask.tif", "--max-error", "2"], "--importance and --max-error 2.0 given, expected one"),
    (["--exact", "nothing.tif"], "nothing.tif"),
    (["--exact", "in.npy", "--ratio", "50"], "--exact-max-error"),
])  # fmt: skip
def test_what_cannot_be_is_refused_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    paths = [str(folder / text) if "." in text and text[0] not in "-0123456789" else text for text in arguments]
    code, _, err = run(capsys, "compress", folder / "in.npy", folder / "out.tinc", *paths)
    assert code == 1 and message in err.strip().splitlines()[-1] and "Traceback" not in err
    assert not (folder / "out.tinc").exists()


def test_importance_is_read_from_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(folder / "weights.npy", 1 + np.asarray(tifffile.imread(folder / "mask.tif"), np.float32) / 25)
    keywords = ["--ratio", 8, "--method", "predictive", "--importance", folder / "weights.npy"]
    assert run(capsys, "compress", folder / "in.npy", folder / "out.tinc", *keywords)[0] == 0
