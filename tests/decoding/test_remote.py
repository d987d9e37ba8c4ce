"""A file on a server: only what is looked at is fetched."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from block_volumes import OPTIONS, smooth
from server import Server
from short_fits import short_fits

import napari_tinc as tinc
from napari_tinc.storage import stores

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


@pytest.fixture(scope="module")
def compressed() -> tinc.TincVolume:
    with short_fits():
        return tinc.compress(smooth((24, 24, 192)), **OPTIONS)  # eight blocks along x


@pytest.fixture
def server(compressed: tinc.TincVolume, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(stores, "FIRST_BYTES", 256)
    with Server(compressed.parts.data()) as server:
        yield server
        server.shutdown()


def test_only_what_is_looked_at_is_fetched(server: Server, compressed: tinc.TincVolume) -> None:
    volume = tinc.open(server.url)
    assert volume.shape == compressed.shape and sum(server.sent) < 700
    values = np.asarray(volume[..., 30])
    np.testing.assert_allclose(values.astype(int), np.asarray(compressed[..., 30]), atol=1)
    largest = max(entry.length for entry in compressed.parts.entries())
    assert sum(server.sent) < 700 + largest < 0.3 * compressed.nbytes_compressed
    server.sent.clear()
    np.asarray(volume[..., 30]), np.asarray(volume[..., 31])
    assert server.sent == []


def test_all_of_it(server: Server, compressed: tinc.TincVolume) -> None:
    volume = tinc.open(server.url)
    np.testing.assert_array_equal(volume, compressed)
    assert volume.parts.data() == compressed.parts.data()


def test_a_file_that_was_replaced_is_refused(server: Server, compressed: tinc.TincVolume) -> None:
    volume = tinc.open(server.url)
    data = compressed.parts.data()
    with Server(bytes(len(data))) as other:
        volume.parts._store._path = other.url  # type: ignore[attr-defined]
        with pytest.raises(tinc.TincError, match="CRC-32"):
            np.asarray(volume[..., 100])
        other.shutdown()


def test_a_server_without_ranges(compressed: tinc.TincVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "FIRST_BYTES", 256)
    with Server(compressed.parts.data(), ranges=False) as server:
        with pytest.raises((tinc.TincError, OSError), match="ranges"):
            tinc.open(server.url)
        server.shutdown()


def test_no_server() -> None:
    with pytest.raises(OSError, match=r"cannot be read \(.*[Cc]annot connect.*127\.0\.0\.1"):
        tinc.open("http://127.0.0.1:9/v.tinc")


def test_an_unknown_kind_of_url() -> None:
    with pytest.raises((ValueError, ImportError), match="nonsense"):
        tinc.open("nonsense://v.tinc")
