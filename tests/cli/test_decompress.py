"""``napari-tinc decompress``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import SPACING, listing, wave

import napari_tinc as tinc
from napari_tinc.io.read import read_image


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
        (["--level", "2"], "--level is 2, expected 0 (40x24x28 voxels) to 1 (20x12x14, the coarsest)"),
        (["--level", "-1"], "--level is -1, expected 0 (40x24x28 voxels) to 1 (20x12x14, the coarsest)"),
    ],
)
def test_parts_that_do_not_exist(
    tmp_path: Path, file: str, fail: Callable[..., str], options: list[str], reason: str
) -> None:
    assert fail("decompress", file, tmp_path / "w.tif", *options) == reason
    assert listing(tmp_path) == ["v.tinc"]


def test_a_small_volume_has_no_coarser_levels(tmp_path: Path, fail: Callable[..., str]) -> None:
    tinc.compress(wave()[:5, :6, :7], max_error=0).save(tmp_path / "v.tinc")
    message = fail("decompress", tmp_path / "v.tinc", tmp_path / "w.npy", "--level", 1)
    assert message.startswith("--level is 1, expected 0: a volume of 5x6x7 voxels is so small that it has no coarser")
