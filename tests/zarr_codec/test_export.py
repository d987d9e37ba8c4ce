"""``decompress --codec tinc``: an OME-Zarr that stays compressed, with the very values of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc.cli.main import main
from napari_tinc.encoding import block_size

zarr = pytest.importorskip("zarr")

GOLDEN = Path(__file__).parents[1] / "golden"


def exported(file: Path, out: Path, *options: str) -> Any:
    assert main(["decompress", str(file), str(out), "--codec", "tinc", *options]) == 0
    return zarr.open_group(out, mode="r")


def bytes_of_chunks(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != "zarr.json")


def wave(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    z, y, x = np.meshgrid(*(np.linspace(0, 5, n) for n in shape), indexing="ij")
    return (3000 + 900 * np.sin(z * y) * np.cos(x)).astype("u2")


@pytest.mark.parametrize(
    "name",
    [
        "trained",
        "trained-blocks-channels",
        "blocks-of-both-kinds",
        "bounded-u2",
        "bounded-f4-masked",
        "exact-mask",
        "exact-labels-i4",
        "exact-f8-special",
        "exact-time-channels",
        "plane",
        "voxel",
    ],
)
def test_blocks_become_chunks(tmp_path: Path, name: str) -> None:
    """Nothing is coded anew: the bytes are those of the file, but for a head for each chunk."""
    volume = tinc.open(GOLDEN / f"{name}.tinc")
    group = exported(GOLDEN / f"{name}.tinc", tmp_path / "v.ome.zarr")
    array = group["0"]
    order = [volume.axis_labels.index(axis) for axis in array.metadata.dimension_names]
    values = np.asarray(volume).transpose(order)
    assert array.dtype == volume.dtype
    assert values.tobytes() == np.ascontiguousarray(array[...]).tobytes()
    n_chunks = len(volume.parts.start) * int(np.prod(volume.shape[:-3]))
    assert bytes_of_chunks(tmp_path / "v.ome.zarr" / "0") < volume.nbytes_compressed + 90 * n_chunks


@pytest.mark.parametrize(("shape", "is_grid"), [((40, 20, 40), True), ((21, 20, 34), False)])
def test_blocks_that_are_no_grid_are_coded_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], is_grid: bool
) -> None:
    monkeypatch.setattr(block_size, "EXACT_EDGE", 20)
    array = wave(shape)
    tinc.compress(array, max_error=4, block=20).save(tmp_path / "v.tinc")
    volume = tinc.open(tmp_path / "v.tinc")
    assert len(volume.parts.start) > 1
    group = exported(tmp_path / "v.tinc", tmp_path / "v.ome.zarr")
    assert group["0"].chunks == ((20, 20, 20) if is_grid else shape)
    assert group["0"].metadata.codecs[0].to_dict()["configuration"] == {"max_error": 4.0 if is_grid else 0.0}
    np.testing.assert_array_equal(group["0"][...], volume)
    assert np.abs(group["0"][...].astype(int) - array).max() <= 4  # the promise of the file
    coarse = np.asarray(volume.levels[1])
    assert np.abs(group["1"][...].astype(int) - coarse.astype(int)).max() <= 4
    assert bytes_of_chunks(tmp_path / "v.ome.zarr") < array.nbytes / (2 if is_grid else 1)


def test_a_part_and_a_coarser_level(tmp_path: Path) -> None:
    array = wave((20, 24, 40))
    tinc.compress(array, max_error=4, spacing=(2, 1, 1), units="um").save(tmp_path / "v.tinc")
    volume = tinc.open(tmp_path / "v.tinc")
    part = exported(tmp_path / "v.tinc", tmp_path / "part.zarr", "--region", "3:9,:,8:")
    np.testing.assert_array_equal(part["0"][...], np.asarray(volume)[3:9, :, 8:])
    coarse = exported(tmp_path / "v.tinc", tmp_path / "coarse.zarr", "--level", "1")
    np.testing.assert_array_equal(coarse["0"][...], np.asarray(volume.levels[1]))
    step = coarse.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]
    assert step == {"type": "scale", "scale": [4, 2, 2]}


def test_labels_stay_labels_at_every_level(tmp_path: Path) -> None:
    labels = (wave((12, 24, 40)) // 100 * 100).astype("i4")
    tinc.compress(labels, max_error=0, labels=True).save(tmp_path / "v.tinc")
    group = exported(tmp_path / "v.tinc", tmp_path / "v.zarr")
    np.testing.assert_array_equal(group["0"][...], labels)
    assert set(np.unique(group["1"][...])) <= set(np.unique(labels))


def test_only_zarr_has_the_codec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["decompress", str(GOLDEN / "voxel.tinc"), str(tmp_path / "v.tif"), "--codec", "tinc", "--json"]
    assert main(arguments) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error.endswith("expected a name that ends with .zarr") and not list(tmp_path.iterdir())
