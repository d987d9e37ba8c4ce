"""Arrays with the codec, read by programs that know nothing of napari-tinc: each in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

import napari_tinc as tinc

zarr = pytest.importorskip("zarr")

from napari_tinc.zarr_codec import TincCodec  # noqa: E402

ROOT = Path(__file__).parents[2]
NETWORKS = Path(__file__).parents[1] / "golden" / "trained.tinc"
READERS = {
    "zarr": "import zarr; values = zarr.open(path, mode='r')['0'][3:9, ::2]",
    "dask": "import dask.array; values = dask.array.from_zarr(path, component='0')[3:9, ::2].compute()",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which Python finds this package and the entry point that pyproject.toml states.

    An installation from before the entry point was added lacks it.
    """
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["zarr.codecs"]
    paths = [str(Path(tinc.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    if not any(entry.name == "tinc" for entry in entry_points(group="zarr.codecs")):
        folder = tmp_path_factory.mktemp("installed") / "tinc_codec-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: tinc-codec\nVersion: 1\n")
        lines = "\n".join(f"{name} = {place}" for name, place in stated.items())
        (folder / "entry_points.txt").write_text(f"[zarr.codecs]\n{lines}\n")
        paths.append(str(folder.parent))
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def image(path: Path, array: np.ndarray, codec: TincCodec) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("0", data=array, chunks=(16, 12, 16), serializer=codec, compressors=None)
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [2, 1, 1]}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}


@pytest.mark.parametrize("reader", list(READERS))
def test_other_programs_read_it_without_torch_or_qt(tmp_path: Path, environment: dict[str, str], reader: str) -> None:
    pytest.importorskip(reader)
    array = np.indices((16, 24, 16)).sum(axis=0).astype("u2")
    image(tmp_path / "v.ome.zarr", array, TincCodec())
    np.save(tmp_path / "expected.npy", array[3:9, ::2])
    check = (
        f"import sys, numpy; path = sys.argv[1]; {READERS[reader]}; "
        "assert numpy.array_equal(values, numpy.load(sys.argv[2])); "
        "sys.exit(', '.join({'torch', 'qtpy', 'napari'} & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-W", "error", "-c", check, str(tmp_path / "v.ome.zarr"), str(tmp_path / "expected.npy")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_napari_ome_zarr_reads_it(tmp_path: Path, environment: dict[str, str]) -> None:
    pytest.importorskip("napari_ome_zarr")
    array = np.indices((16, 24, 16)).sum(axis=0).astype("u2")
    image(tmp_path / "v.ome.zarr", array, TincCodec())
    np.save(tmp_path / "expected.npy", array)
    check = (
        "import sys, numpy; from napari_ome_zarr import napari_get_reader; path = sys.argv[1]; "
        "data, meta, kind = napari_get_reader(path)(path)[0]; "
        "assert numpy.array_equal(data[0], numpy.load(sys.argv[2])); sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", check, str(tmp_path / "v.ome.zarr"), str(tmp_path / "expected.npy")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_napari_tinc_compresses_it_again(tmp_path: Path) -> None:
    from napari_tinc.io.read import read_image

    array = np.indices((16, 24, 16)).sum(axis=0).astype("u2")
    image(tmp_path / "v.ome.zarr", array, TincCodec(max_error=3))
    again = read_image(tmp_path / "v.ome.zarr")
    assert again.spacing == (2, 1, 1)
    assert np.abs(np.asarray(again.array).astype(int) - array).max() <= 3
