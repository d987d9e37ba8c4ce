"""Several at once: viewers, threads, processes; a file that is replaced, changed or gone while it is read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from short_fits import short_fits
from volumes import wide_volume

import napari_tinc as tinc
from napari_tinc.cli.main import main
from napari_tinc.decoding.block_contents import BlockContents
from napari_tinc.decoding.cache import LeastRecentlyUsed
from napari_tinc.format.chunks import ChunkKind
from napari_tinc.plugin.layers import display
from napari_tinc.plugin.layers.from_volume import to_layer
from napari_tinc.storage import stores

posix = pytest.mark.skipif(os.name != "posix", reason="an open file cannot be replaced elsewhere")
SHAPE = (20, 24, 56)


def array(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 50, SHAPE).cumsum(axis=2).astype(np.uint16)


@cache
def exact(seed: int = 0) -> tinc.TincVolume:
    """Eight blocks, bit for bit."""
    return tinc.compress(array(seed), max_error=0, block=28)


@cache
def blocks() -> tinc.TincVolume:
    """Two blocks of networks."""
    with short_fits():
        return tinc.compress(array(), ratio=8, preset="fast", block=28)


@pytest.fixture(autouse=True)
def _never_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are read at once; large ones, which stay open, are what may be hurt."""
    monkeypatch.setattr(stores, "READ_WHOLE", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    exact().save(tmp_path / "v.tinc")
    return tmp_path / "v.tinc"


def same(volume: Any, seed: int = 0) -> bool:
    return bool((np.asarray(volume) == array(seed)).all())


# --- readers ----------------------------------------------------------------------------------------------------------


def served(volume: tinc.TincVolume, folder: Path) -> tuple[str, Callable[[], None]]:
    from server import Server

    server = Server(volume.parts.data())
    return server.url, lambda: (server.shutdown(), server.server_close())  # type: ignore[func-returns-value]


def stored(volume: tinc.TincVolume, folder: Path) -> tuple[str, Callable[[], None]]:
    volume.save(folder / "v.tinc")
    return str(folder / "v.tinc"), lambda: None


@pytest.mark.parametrize(
    ("made", "place", "cache_bytes", "n"),
    [
        (wide_volume, stored, 2**27, 40),
        (blocks, stored, 2**27, 40),
        (blocks, served, 20_000, 20),
        (exact, stored, 2**27, 80),
        (exact, stored, 20_000, 12),
        (exact, served, 2**27, 40),
    ],
)
def test_many_threads_read_what_one_does(
    tmp_path: Path, rng: np.random.Generator, made: Callable[[], tinc.TincVolume], place: Any, cache_bytes: int, n: int
) -> None:
    url, close = place(made(), tmp_path)
    alone = tinc.TincVolume(made().parts.data())
    shared = tinc.open(url, cache_bytes=cache_bytes)
    wanted = []
    for _ in range(n):
        level = int(rng.integers(len(alone.levels)))
        low = [int(rng.integers(n)) for n in alone.levels[level].shape]
        index: list[Any] = [slice(at, at + int(rng.integers(1, 20))) for at in low]
        index[rng.integers(3)] = low[0] % min(alone.levels[level].shape)  # a slice, mostly
        wanted.append((level, tuple(index)))
    expected = [np.asarray(alone.levels[level][index]) for level, index in wanted]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda item: np.asarray(shared.levels[item[0]][item[1]]), wanted))
    close()
    apart = 0 if made is exact else 1  # networks: how a view is cut into tiles may change the last digit
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.astype(int), other.astype(int), atol=apart)
    assert shared._cache.nbytes <= cache_bytes


def test_two_viewers_show_one_volume(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "OVERVIEW_VOXELS", 100)
    volume = tinc.open(path)
    viewers = [ViewerModel(), ViewerModel()]
    layers = []
    for viewer in viewers:
        data, arguments = to_layer(volume, "v", 0)
        layers.append(viewer.add_layer(Image(data, **arguments, multiscale=True)))
    layers[0].data_level = layers[1].data_level = 0
    for step in range(0, SHAPE[0], 3):
        for viewer, layer, at in zip(viewers, layers, (step, SHAPE[0] - 1 - step), strict=True):
            viewer.dims.current_step = (at, 0, 0)
            np.testing.assert_array_equal(np.asarray(layer.data[0][at]), array()[at])
            assert layer._slice.image.raw.shape[0] > 1  # drawn, of whatever level
    viewers[0].layers.clear()
    np.testing.assert_array_equal(np.asarray(layers[1].data[0]), array())


def test_a_cache_holds_its_bound_whoever_uses_it() -> None:
    kept = LeastRecentlyUsed(1000)
    most = 0

    def use(seed: int) -> None:
        nonlocal most
        random = np.random.default_rng(seed)
        for key, size in random.integers(1, (50, 400), (3000, 2)).tolist():
            kept.put(key, (key, size), size)
            found = kept.get(key)
            assert found is None or found[0] == key
            most = max(most, kept.nbytes)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    assert kept.nbytes == sum(size for _, size in kept._items.values()) <= 1000
    assert most <= 1000 + 400  # while another thread puts one in, before the oldest goes


# --- a file that changes under its readers ----------------------------------------------------------------------------


@posix
def test_an_open_volume_outlives_its_file(path: Path) -> None:
    """Saved over, by itself and by another; unlinked."""
    volume = tinc.open(path)
    volume.save(path)
    assert path.read_bytes() == exact().parts.data()
    np.testing.assert_array_equal(volume[..., :20], array()[..., :20])
    exact(1).save(path)
    assert same(tinc.open(path), 1) and same(volume)
    path.unlink()
    assert same(tinc.TincVolume(volume.parts.data()))
    volume.save(path)
    assert same(tinc.open(path))


@posix
def test_a_layer_outlives_its_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "OVERVIEW_VOXELS", 100)
    data, arguments = to_layer(tinc.open(path), "v", 0)
    viewer = ViewerModel()
    viewer.add_layer(Image(data, **arguments, multiscale=True))
    path.unlink()
    viewer.dims.current_step = (3, 0, 0)
    np.testing.assert_array_equal(np.asarray(data[0][3]), array()[3])


def blocks_of(volume: tinc.TincVolume) -> list[Any]:
    return [entry for entry in volume.parts.entries() if entry.role is ChunkKind.BLOCK]


@pytest.mark.parametrize("made", [exact, blocks])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, made: Callable[[], tinc.TincVolume]) -> None:
    path = tmp_path / "v.tinc"
    made().save(path)
    volume = tinc.open(path)
    assert isinstance(volume.parts, BlockContents)
    size, end = path.stat().st_size, blocks_of(volume)[-1].start + 3
    os.truncate(path, end)
    with pytest.raises(tinc.TincError, match=f"file is {end} bytes now, expected {size}: it has been changed"):
        np.asarray(volume)
    with pytest.raises(tinc.TincError, match="it has been changed"):
        volume.save(tmp_path / "copy.tinc")
    assert os.listdir(tmp_path) == ["v.tinc"]


@pytest.mark.parametrize("made", [exact, blocks])
def test_a_file_that_has_grown_is_read_as_it_was(tmp_path: Path, made: Callable[[], tinc.TincVolume]) -> None:
    path = tmp_path / "v.tinc"
    made().save(path)
    volume = tinc.open(path)
    with path.open("ab") as file:
        file.write(bytes(1000))
    np.testing.assert_array_equal(volume, made())
    assert volume.parts.data() == made().parts.data()
    with pytest.raises(tinc.TincError, match="file size"):
        tinc.open(path)


@pytest.mark.parametrize("made", [exact, blocks])
def test_bytes_that_changed_are_refused_wherever_they_are(tmp_path: Path, made: Callable[[], tinc.TincVolume]) -> None:
    path, data = tmp_path / "v.tinc", made().parts.data()
    for at in range(0, len(data), len(data) // 12):
        path.write_bytes(data)
        volume = tinc.open(path)
        with path.open("r+b") as file:
            file.seek(at)
            file.write(bytes([data[at] ^ 255]))
        with suppress(tinc.TincError):  # or it is in the head, or in what no voxel needs
            np.testing.assert_array_equal(volume, made())
        with pytest.raises(tinc.TincError, match=r"CRC|not a \.tinc file|read"):
            volume.save(tmp_path / "copy.tinc")
    assert os.listdir(tmp_path) == ["v.tinc"]


def test_another_file_in_its_place_is_refused(path: Path) -> None:
    """Written over in place, as programs other than this one do; both are good files."""
    volume = tinc.open(path)
    other = exact(1).parts.data()
    path.write_bytes(other + bytes(max(0, len(exact().parts.data()) - len(other))))
    with pytest.raises(tinc.TincError, match=r"CRC|changed"):
        np.asarray(volume)
    with pytest.raises(tinc.TincError, match=r"CRC|changed|table"):
        volume.save(path.with_name("copy.tinc"))


# --- writers ----------------------------------------------------------------------------------------------------------


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_save_one_file(path: Path, tmp_path: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from napari_tinc.storage.atomic import save
        data = Path(sys.argv[1]).read_bytes()
        for _ in range(60):
            save(sys.argv[2], data)
    """
    both = [exact(seed).parts.data() for seed in (0, 1)]
    sources = tmp_path / "sources"
    sources.mkdir()
    for seed, data in enumerate(both):
        (sources / str(seed)).write_bytes(data)
    writers = [run(code, sources / str(seed), path) for seed in (0, 1)]
    seen = 0
    while any(writer.poll() is None for writer in writers):
        assert path.read_bytes() in both
        seen += same(tinc.open(path), 0)
    assert [writer.wait() for writer in writers] == [0, 0] and seen
    for writer in writers:
        writer.communicate()
    assert path.read_bytes() in both and sorted(os.listdir(tmp_path)) == ["sources", "v.tinc"]


def test_two_threads_save_one_volume(path: Path) -> None:
    volume = tinc.open(path)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: volume.save(path), range(20)))
    assert path.read_bytes() == exact().parts.data() and os.listdir(path.parent) == ["v.tinc"]


def compressions(folder: Path) -> tuple[Iterator[Any], list[str]]:
    """One that runs, in a folder; and the command line for the other."""
    np.save(folder / "v.npy", array()[:6])
    target = str(folder / "v.tinc")
    events = tinc.fit(array()[:6], max_error=0, block=28, resume=f"{target}.parts")
    return events, ["compress", str(folder / "v.npy"), target, "--max-error", "0", "--block", "28"]


def test_a_second_compression_to_the_same_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events, other = compressions(tmp_path)
    next(events)
    assert main(other) == 1
    reason = "another process is compressing to it; let it end, or name another file"
    assert capsys.readouterr().err == f"napari-tinc: {tmp_path / 'v.tinc.parts'}: {reason}\n"
    *_, finished = events
    assert (np.asarray(finished.volume) == array()[:6]).all() and os.listdir(tmp_path) == ["v.npy"]
    assert main(other) == 0
    assert (np.asarray(tinc.open(tmp_path / "v.tinc")) == array()[:6]).all() and sorted(os.listdir(tmp_path)) == [
        "v.npy",
        "v.tinc",
    ]


def test_a_compression_that_is_given_up_lets_the_next_one_in(tmp_path: Path) -> None:
    events, other = compressions(tmp_path)
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert os.listdir(tmp_path) == ["v.npy"]
    assert main(other) == 0
