"""Pictures that are coarse at first and refined by threads, in napari's window with slow files."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from napari.settings import get_settings
from npe2 import PluginManager, PluginManifest
from qtpy.QtCore import QTimer
from sliced_volumes import BLOCK, ROW, array, blocks, few, labels
from volumes import small_volume

import napari_tinc as tinc
from napari_tinc.bounded import box as bounded_box
from napari_tinc.format.chunks import ChunkKind
from napari_tinc.plugin import reader
from napari_tinc.plugin.compare import original as compare_original
from napari_tinc.plugin.compare.lazy_pairs import Difference
from napari_tinc.plugin.compare.modes import Comparison, Mode, add_difference
from napari_tinc.plugin.layers import display, drawing, refining
from napari_tinc.plugin.layers.from_volume import to_layer
from napari_tinc.plugin.layers.origin import finest, unchanged
from napari_tinc.plugin.preferences import Preferences

MANIFEST = PluginManifest.from_file(Path(tinc.__file__).with_name("napari.yaml"))


@pytest.fixture(autouse=True)
def _lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "OVERVIEW_VOXELS", 8192)
    monkeypatch.setattr(reader, "read_preferences", lambda: Preferences(eager_megavoxels=0))


class Decoded(list[int]):
    """Blocks that were decoded, by their voxels, and how long each takes at least."""

    seconds = 0.02


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Decoded:
    """Slow blocks."""
    blocks(), labels(), few()  # Compressing decodes, too.
    sizes = Decoded()
    decode = bounded_box.decode_box

    def slow(data: bytes, shape: tuple[int, ...], dtype: Any, check: Any = None) -> np.ndarray:
        sizes.append(int(np.prod(shape)))
        time.sleep(sizes.seconds)
        return decode(data, shape, dtype)

    monkeypatch.setattr(bounded_box, "decode_box", slow)
    monkeypatch.setattr(refining, "PATIENCE_SECONDS", 0.0)
    return sizes


@pytest.fixture
def viewer(make_napari_viewer: Any, npe2pm: PluginManager) -> Iterator[Any]:
    npe2pm.register(MANIFEST)
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(500, 400)
    yield viewer
    for client in drawing.painter().refiner.clients():
        drawing.painter().refiner.forget(client)


def opened(viewer: Any, volume: tinc.TincVolume, path: Path) -> Any:
    """A layer of a file whose blocks nobody has decoded."""
    volume.save(path)
    (layer,) = viewer.open(path, plugin="napari-tinc")
    return layer


def shown(layer: Any) -> np.ndarray:
    return np.asarray(layer._slice.image.raw)


def test_a_slice_is_drawn_at_once_and_then_as_it_is(
    viewer: Any, tmp_path: Path, qtbot: Any, decoded: Decoded
) -> None:  # fmt: skip
    """Entering another row of blocks froze the window until all of them were decoded."""
    for kind, volume in (("overview", blocks()), ("sketches", few()), ("labels", labels())):
        layer = opened(viewer, volume, tmp_path / f"{kind}.tinc")
        layer.locked_data_level = 0
        viewer.dims.set_current_step(0, 5)
        qtbot.waitUntil(lambda layer=layer: layer.loaded, timeout=20_000)
        right = np.asarray(volume)
        np.testing.assert_array_equal(shown(layer), right[5])
        viewer.dims.set_current_step(0, 37)
        if kind == "overview":
            assert not layer.loaded
            assert np.abs(shown(layer).astype(float) - right[37]).mean() < 0.2 * np.ptp(right)
        qtbot.waitUntil(lambda layer=layer: layer.loaded, timeout=20_000)
        np.testing.assert_array_equal(shown(layer), right[37])
        viewer.layers.clear()


def test_data_is_true_for_everybody(viewer: Any, tmp_path: Path, qtbot: Any, decoded: Decoded) -> None:
    layer = opened(viewer, blocks(), tmp_path / "a.tinc")
    layer.locked_data_level = 0
    for z in (3, 40):
        viewer.dims.set_current_step(0, z)
        np.testing.assert_array_equal(np.asarray(layer.data[0][z]), np.asarray(blocks())[z])
        np.testing.assert_array_equal(
            np.asarray(layer.data[1][z // 2]), display.DisplayVolume(blocks(), 0, print).levels[1][z // 2]
        )
    qtbot.waitUntil(lambda: layer.loaded, timeout=20_000)


def test_a_drag_ends_with_the_last_slice(viewer: Any, tmp_path: Path, qtbot: Any, decoded: Decoded) -> None:
    layer = opened(viewer, blocks(), tmp_path / "a.tinc")
    layer.locked_data_level = 0
    qtbot.waitUntil(lambda: layer.loaded, timeout=20_000)
    before = len(decoded)
    for z in range(16, 64, 2):
        viewer.dims.set_current_step(0, z)
    assert len(decoded) - before < 3 * ROW  # Nothing was waited for.
    qtbot.waitUntil(lambda: layer.loaded, timeout=20_000)
    np.testing.assert_array_equal(shown(layer), np.asarray(blocks())[62])


def test_3d_shows_something_at_once(viewer: Any, tmp_path: Path, qtbot: Any, decoded: Decoded) -> None:
    layer = opened(viewer, blocks(), tmp_path / "a.tinc")
    viewer.dims.ndisplay = 3
    assert not layer.loaded and shown(layer).shape == (32, 16, 16) and np.ptp(shown(layer)) > 1000
    qtbot.waitUntil(lambda: layer.loaded, timeout=30_000)
    np.testing.assert_array_equal(shown(layer), np.asarray(blocks().levels[1]))
    n_decoded = len(decoded)
    np.testing.assert_array_equal(np.asarray(layer.data[1]), np.asarray(blocks().levels[1]))
    assert len(decoded) == n_decoded  # It was kept.


def test_3d_starts_with_few_voxels_in_their_places(
    viewer: Any, tmp_path: Path, qtbot: Any, decoded: Decoded, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """A solid picture of 128^3 voxels takes 0.6 s to draw without a GPU, whatever is in it."""
    monkeypatch.setattr(drawing, "FIRST_EDGE", 8)
    layer = opened(viewer, blocks(), tmp_path / "a.tinc")
    viewer.dims.ndisplay = 3
    assert not layer.loaded and shown(layer).shape == (8, 4, 4) and np.ptp(shown(layer)) > 1000
    np.testing.assert_allclose(layer._transforms[0]((3, 1, 0)), 2 * (4 * np.array([3, 1, 0]) + 2))
    layer.get_value((30, 16, 16), view_direction=(1, 0, 0), dims_displayed=[0, 1, 2], world=True)
    qtbot.waitUntil(lambda: layer.loaded, timeout=30_000)
    np.testing.assert_array_equal(shown(layer), np.asarray(blocks().levels[1]))
    np.testing.assert_allclose(layer._transforms[0]((3, 1, 0)), 2 * np.array([3, 1, 0]))


def test_however_it_is_looked_at(viewer: Any, tmp_path: Path, qtbot: Any, decoded: Decoded) -> None:
    layer = opened(viewer, blocks(), tmp_path / "a.tinc")
    layer.locked_data_level = 0
    whole = np.asarray(blocks())

    def settled() -> np.ndarray:
        qtbot.waitUntil(lambda: layer.loaded and not drawing.painter().refiner.clients(), timeout=20_000)
        return shown(layer)

    layer.rotate = (0, 0, 30)
    viewer.canvas.grid.enabled = True
    viewer.dims.set_current_step(0, 33)
    np.testing.assert_array_equal(settled(), whole[33])
    layer.rotate = (0, 0, 0)
    viewer.canvas.grid.enabled = False
    viewer.dims.order = (2, 0, 1)
    viewer.dims.set_current_step(2, 23)
    np.testing.assert_array_equal(settled(), whole[:, :, 23])
    viewer.dims.order = (0, 1, 2)
    with asynchronous():
        viewer.dims.set_current_step(0, 50)
        qtbot.waitUntil(lambda: np.array_equal(shown(layer), whole[50]), timeout=20_000)
    layer.projection_mode = "max"
    viewer.dims.set_current_step(0, 8)
    viewer.dims.thickness = (4, 1, 1)
    assert any((settled() == whole[a:b].max(axis=0)).all() for a in (6, 7) for b in (9, 10, 11))
    layer.projection_mode = "none"
    layer.locked_data_level = None
    viewer.scene.camera.zoom = 60
    qtbot.waitUntil(lambda: layer.data_level == 0, timeout=5000)
    picture = settled()
    (y0, x0), (y1, x1) = layer.corner_pixels[:, 1:].tolist()
    np.testing.assert_array_equal(picture, whole[8, y0 : y1 + 1, x0 : x1 + 1])
    assert shown(layer).size < whole[8].size


@contextmanager
def asynchronous() -> Iterator[None]:
    """Let napari slice in its own thread."""
    settings = get_settings().experimental
    settings.async_ = True
    try:
        yield
    finally:
        settings.async_ = False


def test_layers_and_viewers_that_go_are_forgotten(
    viewer: Any, tmp_path: Path, qtbot: Any, decoded: Decoded, make_napari_viewer: Any
) -> None:
    refiner, decoded.seconds = drawing.painter().refiner, 2.0
    layer = opened(viewer, blocks(), tmp_path / "a.tinc")
    viewer.dims.ndisplay = 3
    assert refiner.clients()
    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: not refiner.clients(), timeout=3000)
    second = make_napari_viewer(show=True)
    layer = opened(second, blocks(), tmp_path / "b.tinc")
    second.dims.ndisplay = 3
    assert refiner.clients()
    second.close()
    qtbot.waitUntil(lambda: not refiner.clients(), timeout=3000)


def test_a_hidden_layer_waits(viewer: Any, tmp_path: Path, qtbot: Any, decoded: Decoded) -> None:
    layer = opened(viewer, blocks(), tmp_path / "a.tinc")
    layer.locked_data_level = 0
    qtbot.waitUntil(lambda: layer.loaded, timeout=20_000)
    viewer.dims.set_current_step(0, 40)
    layer.visible = False
    picture = drawing.painter().refiner._pictures[weakref.ref(layer)]
    qtbot.waitUntil(lambda: picture.paused and not picture.refining, timeout=5000)
    n_decoded = len(decoded)
    qtbot.wait(100)
    assert len(decoded) == n_decoded
    layer.visible = True
    qtbot.waitUntil(lambda: layer.loaded, timeout=20_000)
    np.testing.assert_array_equal(shown(layer), np.asarray(blocks())[40])


def test_the_status_bar_says_that_it_works(
    viewer: Any, tmp_path: Path, qtbot: Any, decoded: Decoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "TELL_SECONDS", 0.05)
    decoded.seconds = 0.3  # beside other work, too, the window has a moment to tell
    texts: list[str] = []
    layer = opened(viewer, blocks(), tmp_path / "brain.tinc")
    viewer.events.status.connect(lambda event: texts.append(event.value))
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: layer.loaded and not drawing.painter().refiner.clients(), timeout=20_000)
    qtbot.waitUntil(lambda: viewer.status == "Ready", timeout=3000)
    assert "Decoding brain" in texts


def test_damage_is_told_once_and_drawn_around(
    viewer: Any, tmp_path: Path, qtbot: Any, decoded: Decoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_error", told.append)
    data = bytearray(blocks().parts.data())
    entry = next(entry for entry in blocks().parts.entries() if entry.role is ChunkKind.BLOCK)
    data[entry.start + entry.length // 2] ^= 1  # type: ignore[union-attr]
    (tmp_path / "a.tinc").write_bytes(data)
    (layer,) = viewer.open(tmp_path / "a.tinc", plugin="napari-tinc")
    layer.locked_data_level = 0
    viewer.dims.set_current_step(0, 3)
    qtbot.waitUntil(lambda: layer.loaded, timeout=20_000)
    assert len(told) == 1 and "CRC-32" in told[0]
    np.testing.assert_array_equal(shown(layer)[:, BLOCK:], np.asarray(blocks())[3][:, BLOCK:])


def test_a_file_that_is_decoded_at_opening_leaves_the_window_alive(
    viewer: Any, tmp_path: Path, decoded: Decoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "read_preferences", lambda: Preferences(eager_megavoxels=8))
    decoded.seconds = 0.1
    ticks: list[float] = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.monotonic()))
    timer.start(20)
    layer = opened(viewer, blocks(), tmp_path / "a.tinc")
    timer.stop()
    assert isinstance(layer.data, np.ndarray) and len(ticks) >= 4
    assert unchanged(*layer.as_layer_data_tuple()[:2]) is layer.metadata["tinc"]


def test_without_a_window_all_is_decoded_as_before(tmp_path: Path, decoded: Decoded, npe2pm: PluginManager) -> None:
    npe2pm.register(MANIFEST)
    viewer = ViewerModel()
    layer = opened(viewer, blocks(), tmp_path / "a.tinc")
    layer.locked_data_level = 0
    viewer.dims.set_current_step(0, 40)
    assert layer.loaded
    np.testing.assert_array_equal(shown(layer), np.asarray(blocks())[40])


def test_napari_still_asks_for_slices_as_we_think(tmp_path: Path) -> None:
    """Where it does not, layers are drawn when they are decoded; this says that it is time to look again."""
    data, arguments = to_layer(tinc.TincVolume(blocks().parts.data()), "a", 0)
    layer = Image(data, **arguments)
    assert layer._slicing_state._slice_request_class.func is drawing._request
    request = layer._slicing_state._slice_request_class
    assert request.args[0]() is layer and drawing.refinable(layer.data) is finest(layer).volume
    assert drawing._fields_of(request.args[1]) >= drawing.NEEDED
    plain = Image(np.zeros((4, 4, 4)))
    assert not hasattr(plain._slicing_state._slice_request_class, "func")
    assert callable(layer._slicing_state._set_loaded)


def test_networks_are_drawn_at_once(viewer: Any, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "AT_ONCE_SECONDS", 1e-9)
    monkeypatch.setattr(display, "OVERVIEW_VOXELS", 4000)
    monkeypatch.setattr(refining, "PATIENCE_SECONDS", 0.0)
    volume = small_volume()
    layer = opened(viewer, volume, tmp_path / "a.tinc")
    layer.locked_data_level = 0
    viewer.dims.set_current_step(0, 7)
    qtbot.waitUntil(lambda: layer.loaded and not drawing.painter().refiner.clients(), timeout=20_000)
    np.testing.assert_array_equal(shown(layer), np.asarray(volume)[7])


def test_a_curtain_and_a_difference_are_drawn_at_once(
    viewer: Any, tmp_path: Path, qtbot: Any, decoded: Decoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_original, "LAZY_VOXELS", 1000)
    monkeypatch.setattr("napari_tinc.plugin.compare.modes.OVERVIEW_VOXELS", 8192)
    original = viewer.add_image(array(), name="a")
    image = opened(viewer, blocks(), tmp_path / "b.tinc")
    comparison = Comparison(viewer, original, image)
    began = len(decoded)
    comparison.show(Mode.CURTAIN)
    curtain = comparison.curtain
    curtain.locked_data_level = 0
    viewer.dims.set_current_step(0, 40)
    assert len(decoded) - began < 3 * ROW
    comparison.move(0.25)
    qtbot.waitUntil(lambda: curtain.loaded, timeout=20_000)
    right = array()[40].copy()
    right[:, 8:] = np.asarray(blocks())[40][:, 8:]
    right[:, 8] = blocks().value_range[1]
    np.testing.assert_array_equal(shown(curtain), right)
    comparison.leave()
    off, far = compare_original.difference(array(), image.metadata["tinc"])
    assert isinstance(off, Difference) and 0 < far <= 40
    for absolute in (False, True):
        layer = add_difference(viewer, image, off, far, absolute)
        layer.locked_data_level = 0
        viewer.dims.set_current_step(0, 50)
        qtbot.waitUntil(lambda layer=layer: layer.loaded, timeout=20_000)
        true = np.asarray(blocks())[50].astype(float) - array()[50]
        np.testing.assert_array_equal(shown(layer), np.abs(true) if absolute else true)
