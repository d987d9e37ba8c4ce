"""Pictures that are coarse at first and refined by threads: the queue alone, and napari's window with slow files."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from napari.settings import get_settings
from npe2 import PluginManager, PluginManifest
from qtpy.QtCore import QTimer
from volumes import small_volume

import napari_tinc as tinc
from napari_tinc.bounded import box as bounded_box
from napari_tinc.control import never
from napari_tinc.decoding import bounded_box as decoding_bounded_box
from napari_tinc.decoding.lazy_array import LazyArray
from napari_tinc.encoding import block_size
from napari_tinc.format.chunks import ChunkKind
from napari_tinc.plugin import reader
from napari_tinc.plugin.compare import lazy_pairs
from napari_tinc.plugin.compare import original as compare_original
from napari_tinc.plugin.compare.lazy_pairs import Curtain, Difference
from napari_tinc.plugin.compare.modes import Comparison, Mode, add_difference
from napari_tinc.plugin.layers import display, drawing, refining
from napari_tinc.plugin.layers.from_volume import to_layer
from napari_tinc.plugin.layers.origin import finest_level, unmodified_volume
from napari_tinc.plugin.layers.refining import Piece, Refiner
from napari_tinc.plugin.preferences import Preferences

SHAPE, BLOCK = (64, 32, 32), 16
ROW = 4  # blocks
SECONDS = 10
MANIFEST = PluginManifest.from_file(Path(tinc.__file__).with_name("napari.yaml"))


def until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


class Rows:
    """A row a piece, true values 10 a row and coarse ones 7; a piece is refined while its gate is open."""

    dtype = np.dtype(np.uint8)
    state: Any = 0
    losses = 0

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.began: list[int] = []
        self.kept: list[np.ndarray] = []
        self.ready = False
        self.fails = False

    def _decode(self, factor: int, ranges: Any) -> np.ndarray:
        return np.full([len(axis) for axis in ranges], 10 * (1 + ranges[0][0]), np.uint8)

    def at_hand(self, factor: int, ranges: Any) -> np.ndarray | None:
        return self._decode(factor, ranges) if self.ready else None

    def quick(self, factor: int, ranges: Any) -> np.ndarray:
        return np.full([len(axis) for axis in ranges], 7, np.uint8)

    def sketches(self, factor: int, ranges: Any) -> list[Piece]:
        return []

    def sketch(self, factor: int, ranges: Any, check: Any) -> np.ndarray:
        return self.quick(factor, ranges)

    def pieces(self, factor: int, ranges: Any) -> list[Piece]:
        return [Piece((ranges[0], range(at, at + 1)), frozenset([at // 2])) for at in ranges[1]]

    def refined(self, factor: int, piece: Piece, check: Any) -> np.ndarray:
        self.began.append(piece.ranges[0][0])
        while not self.gate.wait(0.01):
            check()
        if self.fails:
            raise OSError("no such disk")
        return self._decode(factor, piece.ranges)

    def keep(self, factor: int, ranges: Any, values: np.ndarray) -> None:
        self.kept.append(values.copy())


@pytest.fixture
def refiner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Refiner[Any]]:
    monkeypatch.setattr(refining, "PATIENCE_SECONDS", 0.0)
    refiner: Refiner[Any] = Refiner(2)
    yield refiner
    refiner.close()


def view(row: int) -> tuple[range, range]:
    return range(row, row + 1), range(8)


def test_a_picture_is_coarse_then_true(refiner: Refiner[Any]) -> None:
    rows = Rows()
    values, complete, _ = refiner.draw("a", rows, 1, view(0))
    assert (values == 7).all() and not complete and not refiner.progressed()
    rows.gate.set()
    until(lambda: refiner.finished("a"))
    assert refiner.progressed() == ["a"] == refiner.clients()
    values, complete, _ = refiner.draw("a", rows, 1, view(0))
    assert (values == 10).all() and complete and len(rows.began) == 8
    assert not refiner.progressed() and not refiner.clients() and (rows.kept[-1] == 10).all()
    assert refiner.draw("a", rows, 1, view(0))[1] and len(rows.began) == 8  # of the picture that is there


def test_what_takes_no_time_is_true_at_once(refiner: Refiner[Any]) -> None:
    rows = Rows()
    rows.ready = True
    values, complete, _ = refiner.draw("a", rows, 1, view(3))
    assert (values == 40).all() and complete and not rows.began


def test_a_single_step_waits_a_moment_and_a_drag_does_not(
    refiner: Refiner[Any], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(refining, "PATIENCE_SECONDS", 10.0)
    monkeypatch.setattr(refining, "STEP_SECONDS", 10.0)
    rows = Rows()
    rows.gate.set()
    assert refiner.draw("a", rows, 1, view(0))[1]
    rows.gate.clear()
    assert not refiner.draw("a", rows, 1, view(1))[1]


def test_the_latest_wins_and_what_was_not_begun_is_dropped(refiner: Refiner[Any]) -> None:
    rows = Rows()
    for row in range(20):
        refiner.draw("a", rows, 1, view(row))
        if row == 0:
            until(lambda: len(rows.began) == 2)
    rows.gate.set()
    until(lambda: refiner.finished("a"))
    values, *_ = refiner.draw("a", rows, 1, view(19))
    assert (values == 200).all() and rows.began.count(0) == 2 and set(rows.began) == {0, 19}


def test_a_block_is_decoded_by_one_thread(refiner: Refiner[Any]) -> None:
    """Two pieces of it would be two threads that decode it, or one that waits."""
    rows = Rows()
    refiner.draw("a", rows, 1, (range(1), range(2)))
    until(lambda: len(rows.began) == 1)
    time.sleep(0.05)
    assert len(rows.began) == 1
    rows.gate.set()
    until(lambda: refiner.finished("a"))
    assert len(rows.began) == 2


def test_pictures_of_several_clients_are_all_made(refiner: Refiner[Any]) -> None:
    rows = Rows()
    for client in "abc":
        refiner.draw(client, rows, 1, view(1))
    refiner.pause("b")
    rows.gate.set()
    until(lambda: refiner.finished("a") and refiner.finished("c"))
    assert refiner.progressed() == ["a", "c"] and not refiner.finished("b")
    refiner.draw("b", rows, 1, view(1))
    until(lambda: refiner.finished("b"))
    refiner.forget("b")
    assert "b" not in refiner.clients()


def test_another_state_is_another_picture(refiner: Refiner[Any]) -> None:
    rows = Rows()
    rows.gate.set()
    refiner.draw("a", rows, 1, view(0))
    until(lambda: refiner.finished("a"))
    rows.state = 1
    rows.gate.clear()
    assert (refiner.draw("a", rows, 1, view(0))[0] == 7).all()


def test_a_picture_with_a_loss_is_shown_but_not_kept(refiner: Refiner[Any]) -> None:
    rows = Rows()
    refiner.draw("a", rows, 1, view(0))
    rows.losses = 1
    rows.gate.set()
    until(lambda: refiner.finished("a"))
    assert refiner.draw("a", rows, 1, view(0))[1] and not rows.kept
    assert not refiner.draw("a", rows, 1, view(0))[1]  # It is tried again.


def test_what_goes_wrong_is_reported_once(refiner: Refiner[Any]) -> None:
    rows = Rows()
    rows.fails = True
    rows.gate.set()
    refiner.draw("a", rows, 1, view(0))
    until(lambda: refiner.finished("a"))
    assert [str(error) for error in refiner.errors()] == ["no such disk"] and not refiner.errors()
    assert (refiner.draw("a", rows, 1, view(0))[0] == 7).all()


def test_closing_ends_what_is_being_done() -> None:
    refiner: Refiner[Any] = Refiner(2)
    refiner.draw("a", Rows(), 1, view(0))
    began = time.monotonic()
    refiner.close()
    assert time.monotonic() - began < 1 and not any(thread.is_alive() for thread in refiner._threads)


@cache
def array() -> np.ndarray:
    grid = np.meshgrid(*(np.linspace(0, 5, n) for n in SHAPE), indexing="ij")
    noise = np.random.default_rng(0).normal(scale=30, size=SHAPE)
    return (8000 + 3000 * np.sin(grid[0] + grid[1] * grid[2]) + noise).astype(np.uint16)


@cache
def blocks() -> tinc.TincVolume:
    """16 blocks, four a row, and an overview."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_size, "OVERVIEW_BLOCKS", 16)
        patch.setattr(block_size, "OVERVIEW_CELLS", 16)
        volume = tinc.compress(array(), max_error=40, block=BLOCK)
    assert volume.parts.edge == 4 and len(volume.parts.start) == 4 * ROW
    return volume


@cache
def few() -> tinc.TincVolume:
    """Two blocks without an overview."""
    return tinc.compress(array(), max_error=40, block=2 * BLOCK)


@cache
def labels() -> tinc.TincVolume:
    return tinc.compress(array() // 1000, max_error=0, labels=True, block=2 * BLOCK)


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
    assert unmodified_volume(*layer.as_layer_data_tuple()[:2]) is layer.metadata["tinc"]


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
    assert request.args[0]() is layer and drawing.refinable(layer.data) is finest_level(layer).volume
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
    comparison.move_curtain(0.25)
    qtbot.waitUntil(lambda: curtain.loaded, timeout=20_000)
    right = array()[40].copy()
    right[:, 8:] = np.asarray(blocks())[40][:, 8:]
    right[:, 8] = blocks().value_range[1]
    np.testing.assert_array_equal(shown(curtain), right)
    comparison.restore()
    off, far = compare_original.difference(array(), image.metadata["tinc"])
    assert isinstance(off, Difference) and 0 < far <= 40
    for absolute in (False, True):
        layer = add_difference(viewer, image, off, far, absolute)
        layer.locked_data_level = 0
        viewer.dims.set_current_step(0, 50)
        qtbot.waitUntil(lambda layer=layer: layer.loaded, timeout=20_000)
        true = np.asarray(blocks())[50].astype(float) - array()[50]
        np.testing.assert_array_equal(shown(layer), np.abs(true) if absolute else true)


def test_lazy_pairs_are_arrays() -> None:
    right = np.asarray(blocks()).astype(float) - array()
    levels = Difference(array(), blocks()).levels(8192)
    assert [level.shape for level in levels] == [(64, 32, 32), (32, 16, 16)]
    np.testing.assert_array_equal(levels[0], right)
    np.testing.assert_array_equal(levels[1][3:9], right[::2, ::2, ::2][3:9])
    np.testing.assert_array_equal(levels[0][5, 7:30:3], right[5, 7:30:3])
    curtain = Curtain(array(), blocks())
    for axis, place in ((0, 64), (1, 20), (2, 0)):
        curtain.axis, curtain.place = axis, place
        side = np.arange(SHAPE[axis]).reshape([-1 if at == axis else 1 for at in range(3)]) < place
        whole = np.where(side, array(), np.asarray(blocks()))
        if axis == 1:
            whole[:, place] = blocks().value_range[1]
        np.testing.assert_array_equal(curtain.levels(10**9)[0], whole)


def test_only_lazy_volumes_are_refined() -> None:
    assert drawing.refinable(np.zeros((4, 4, 4))) is None and drawing.refinable([]) is None
    assert drawing.refinable(LazyArray(lazy_pairs.as_display_volume(few()), 1, (range(2),) * 3)) is not None


def test_blocks_without_an_overview_are_sketched() -> None:
    seen = display.DisplayVolume(tinc.TincVolume(few().parts.data()), 10**7, print)
    ranges = (range(40, 41), range(32), range(32))
    assert np.ptp(seen.quick(1, ranges)) == 0
    (piece,) = seen.sketches(1, ranges)
    sketch = seen.sketch(1, piece.ranges, never)
    eighth = np.arange(32) // 8 * 8
    np.testing.assert_array_equal(sketch[0], np.asarray(few())[40][np.ix_(eighth, eighth)])
    np.testing.assert_array_equal(seen.quick(1, ranges), sketch)
    assert not any(part.decoded for part in (seen.parts.at_hand(0, box) for box in (0, 1)) if part is not None)


def test_a_sketch_has_every_eighth_voxel() -> None:
    part = few().parts.part(0, 0)
    assert isinstance(part, decoding_bounded_box.BoundedBox)
    fresh = decoding_bounded_box.BoundedBox(part.data, part.shape, part.dtype, part.crc)
    fresh.make_sketch()
    assert not fresh.decoded
    np.testing.assert_array_equal(fresh.sketch, part.array[::8, ::8, ::8])
