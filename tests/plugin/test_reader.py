"""Opening .tinc files and samples in napari."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManager, PluginManifest
from volumes import small_volume

import napari_tinc as tinc
from napari_tinc import samples
from napari_tinc.decoding.values import VoxelDecoder
from napari_tinc.plugin import reader
from napari_tinc.plugin.layers import display
from napari_tinc.plugin.preferences import Preferences


@pytest.fixture
def viewer(npe2pm: PluginManager) -> ViewerModel:
    npe2pm.register(PluginManifest.from_distribution("napari-tinc"))
    return ViewerModel()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    small_volume().save(tmp_path / "small.tinc")
    return tmp_path / "small.tinc"


@pytest.mark.parametrize("plugin", [None, "napari-tinc"])
def test_open(viewer: ViewerModel, file: Path, plugin: str | None) -> None:
    (layer,) = viewer.open(file, plugin=plugin)
    assert layer.name == "small" and layer.source.path == str(file)
    np.testing.assert_array_equal(layer.data, np.asarray(small_volume()))
    assert isinstance(layer.metadata["tinc"], tinc.TincVolume)


def test_open_several(viewer: ViewerModel, file: Path) -> None:
    other = file.with_name("other.tinc")
    other.write_bytes(file.read_bytes())
    viewer.open([file, other], plugin="napari-tinc")
    assert [layer.name for layer in viewer.layers] == ["small", "other"]
    assert len(viewer.open([file, other], plugin="napari-tinc", stack=True)) == 2


def test_other_files_are_left_to_others() -> None:
    assert reader.get_reader("a.tif") is None
    assert reader.get_reader(["a.tinc", "b.tif"]) is None
    assert reader.get_reader([]) is None
    assert reader.get_reader("A.TINC") is reader.read


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "file size is 0"), (b"x" * 99, "not a .tinc file"), (None, "No such file")],
)
def test_without_a_window_a_bad_file_raises(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "a.tinc").write_bytes(content)
    with pytest.raises((tinc.TincError, OSError), match=reason):
        reader.read(str(tmp_path / "a.tinc"))


def test_in_a_window_a_bad_file_is_one_line_and_the_good_one_is_shown(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = file.with_name("damaged.tinc")
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    damaged.write_bytes(content)
    shown: list[str] = []
    monkeypatch.setattr("napari.current_viewer", object)
    monkeypatch.setattr("napari.utils.notifications.show_error", shown.append)
    ((_, arguments, kind),) = reader.read([str(damaged), str(file)])
    assert (arguments["name"], kind) == ("small", "image")
    assert reader.read(str(damaged)) == [(None,)]
    assert len(shown) == 2
    assert shown[0].startswith("Cannot open damaged.tinc: ") and "CRC-32" in shown[0] and "\n" not in shown[0]


def test_opening_imports_neither_torch_nor_qt(file: Path) -> None:
    code = (
        "import sys; from napari_tinc.plugin.reader import get_reader; get_reader(sys.argv[1])(sys.argv[1]);"
        "sys.exit(', '.join({'torch', 'qtpy', 'PyQt6', 'skimage'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=True, capture_output=True, timeout=60)


def test_samples(viewer: ViewerModel) -> None:
    (original,) = viewer.open_sample("napari-tinc", "sample_mri")
    (compressed,) = viewer.open_sample("napari-tinc", "sample_mri_tinc")
    assert original.data.shape == compressed.data.shape == (128, 128, 128)
    assert original.data.dtype == compressed.data.dtype == np.uint8
    for layer in (original, compressed):
        assert list(layer.scale) == [1, 1, 1] and [str(unit) for unit in layer.units] == ["millimeter"] * 3
    quality = tinc.compare(original.data, compressed.metadata["tinc"])
    assert 64 <= quality.ratio <= 66 and quality.psnr > 30


def test_the_sample_needs_no_imagecodecs_and_has_its_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    assert samples.mri().array.mean() > 50
    assert samples.mri_path().stat().st_size <= 2_000_000
    assert "McConnell Brain Imaging Centre" in samples.mri_path().with_name("NOTICE-mni152.txt").read_text()


def test_of_a_large_volume_only_the_plane_in_view_is_decoded(
    viewer: ViewerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[tuple[int, Any]] = []
    decode = VoxelDecoder.decode
    monkeypatch.setattr(display, "OVERVIEW_VOXELS", 4000)
    monkeypatch.setattr(reader, "read_preferences", lambda: Preferences(eager_megavoxels=0))
    monkeypatch.setattr(
        VoxelDecoder, "decode", lambda self, *request: decoded.append(request) or decode(self, *request)
    )
    tinc.compress(np.zeros((20, 40, 30), np.uint8), ratio=8).save(tmp_path / "a.tinc")
    (layer,) = viewer.open(tmp_path / "a.tinc", plugin="napari-tinc")
    assert [level.shape for level in layer.data] == [(20, 40, 30), (10, 20, 15)]
    layer.locked_data_level = 0
    viewer.dims.set_current_step(0, 7)
    full = [axes for factor, axes in decoded if factor == 1]
    assert full[-1][0] == range(7, 8) and all(len(axes[0]) == 1 for axes in full)
