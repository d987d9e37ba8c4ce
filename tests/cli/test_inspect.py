"""``napari-tinc info``, ``verify`` and ``compare``; damaged files."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import SHAPE, SPACING, listing, wave

import napari_tinc as tinc
from napari_tinc.cli import tables
from napari_tinc.cli.main import main
from napari_tinc.decoding import values
from napari_tinc.format import networks_file
from napari_tinc.format.chunks import Ancillary, Chunk


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


def test_compare_says_what_is_too_large(
    image: str, file: str, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "MAX_EAGER_VOXELS", 1000)
    assert "has 26880 voxels, expected at most 1000, as it is compared in memory" in fail("compare", image, file)


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
        "n_network_blocks": 1,
        "background": 0.0,
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


def test_compare(tmp_path: Path, image: str, file: str, run: Callable[..., str], run_json: Callable[..., Any]) -> None:
    expected = asdict(tinc.compare(wave(), tinc.open(file)))
    result = run_json("compare", image, file)
    correlation = result.pop("fsc")
    assert result == {"file": file, "bytes": os.path.getsize(file), **expected}
    assert (correlation["unit"], correlation["finest"], correlation["n_boxes"]) == ("micrometer", 6, 1)
    kept = correlation["kept"][0]
    assert kept["threshold"] == 0.5 and kept["resolution"] > 6 and not kept["all"]
    headings, numbers, _, line = run("compare", image, file).splitlines()
    assert headings.split()[-3:] == ["RMSE", "max", "error"]
    assert f" {expected['psnr']:.2f} " in numbers
    assert f"{kept['resolution']:.4g} micrometer kept at 0.5" in line


def test_compare_regions(
    tmp_path: Path, image: str, file: str, run: Callable[..., str], run_json: Callable[..., Any], fail: Any
) -> None:
    nibabel = pytest.importorskip("nibabel")
    labels = np.zeros(SHAPE)
    labels[:20], labels[30:, :12] = 1, 7
    path = tmp_path / "labels.nii"  # as floats, as segmentations in NIfTI often are
    nibabel.save(nibabel.Nifti1Image(labels.transpose().astype(np.float32), np.eye(4)), path)
    rows = {row["region"]: row for row in run_json("compare", image, file, "--regions", path)["regions"]}
    assert list(rows) == [1, 7, "inside", "outside", "all"]
    values = np.asarray(tinc.open(file))
    quality = tinc.compare(wave(), values)
    assert rows["all"]["psnr"] == pytest.approx(quality.psnr) and rows["all"]["ssim"] == pytest.approx(quality.ssim)
    assert rows[7]["voxels"] == 10 * 12 * SHAPE[2]
    assert rows[7]["max_error"] == np.abs(wave()[30:, :12].astype(float) - values[30:, :12]).max()
    tinc.compress(labels.astype(np.uint8), max_error=0, labels=True).save(tmp_path / "labels.tinc")
    assert run_json("compare", image, file, "--regions", tmp_path / "labels.tinc")["regions"] == list(rows.values())
    assert "the file is not lossless" in fail("compare", image, file, "--regions", file)
    text = run("compare", image, file, "--regions", path).splitlines()
    assert text[-6].split()[:3] == ["region", "voxels", "PSNR"] and text[-1].split()[0] == "all"
    np.save(tmp_path / "small.npy", np.zeros((5, 6, 7), np.uint8))
    said = fail("compare", image, file, "--regions", tmp_path / "small.npy")
    assert "--regions" in said and "has shape (5, 6, 7), expected that of the volume, (40, 24, 28)" in said
    np.save(tmp_path / "real.npy", wave() / 3)
    assert "float64 values that are not whole numbers" in fail(
        "compare", image, file, "--regions", tmp_path / "real.npy"
    )
    assert "there is no such file" in fail("compare", image, file, "--regions", tmp_path / "lost.npy")


def test_compare_with_something_else(tmp_path: Path, file: str, fail: Callable[..., str]) -> None:
    np.save(tmp_path / "small.npy", wave((5, 6, 7)))
    assert "shapes differ: original (5, 6, 7)" in fail("compare", tmp_path / "small.npy", file)
    np.save(tmp_path / "flat.npy", wave()[0])
    assert "axes YX" in fail("compare", tmp_path / "flat.npy", file)
    assert "there is no such file" in fail("compare", tmp_path / "lost.npy", file)
