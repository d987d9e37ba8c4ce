"""A compressed layer in a browser: by a link of this machine, and as a page."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from compressed_layers import add, notified
from napari.components import ViewerModel
from volumes import small_volume

from napari_tinc.plugin import dialogs, sharing


def fetched(link: str) -> bytes:
    base, _, query = link.partition("index.html?url=")
    with urllib.request.urlopen(base + unquote(query), timeout=20) as response:
        return bytes(response.read())


def test_a_layer_has_one_link_until_it_is_gone(viewer: ViewerModel, opened_links: list[str], qtbot: Any) -> None:
    volume = small_volume()
    viewer.layers.selection.active = add(viewer, volume, "b (tinc 9x)")
    sharing.open_in_browser(viewer)
    sharing.open_in_browser(viewer)
    link, again = opened_links
    assert link == again and link.endswith("?url=files/b.tinc")
    assert fetched(link) == volume.parts.data()
    assert f"b (tinc 9x) is open in your browser: {link}" in notified()[0]
    viewer.layers.remove("b (tinc 9x)")
    qtbot.waitUntil(lambda: not [each for each in threading.enumerate() if "napari-tinc" in each.name], timeout=30_000)
    with pytest.raises(urllib.error.URLError, match="refused"):
        fetched(link)


def test_a_layer_becomes_a_page(viewer: ViewerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.html"
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda viewer, name, save, page: save(str(path)))
    viewer.layers.selection.active = viewer.layers["a (tinc)"]
    sharing.save_web_page(viewer)
    assert b'data-name="a.tinc"' in path.read_bytes()
    assert notified() == [f"Saved a.html ({path.stat().st_size / 1000:.0f} kB). Any browser opens it."]


def test_a_page_that_cannot_be_written_is_one_line(
    viewer: ViewerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_, page: _[2](str(tmp_path / "gone" / "a.html")))
    viewer.layers.selection.active = viewer.layers["a (tinc)"]
    sharing.save_web_page(viewer)
    (message,) = notified()
    assert message.startswith("a (tinc) was not saved as a web page: ") and "\n" not in message


@pytest.mark.parametrize("command", [sharing.open_in_browser, sharing.save_web_page])
def test_what_cannot_be_shared_says_so(command: Any, viewer: ViewerModel, opened_links: list[str]) -> None:
    viewer.layers.selection.active = viewer.layers["a"]
    command(viewer)
    viewer.layers.selection.active = None
    command(viewer)
    assert notified() == ["Select a layer that was opened from a .tinc file, or made by Compress."] * 2
    layer = viewer.layers["a (tinc)"]
    viewer.layers.selection.active = layer
    layer.data = layer.data + 1
    command(viewer)
    assert "was changed since it was decoded" in notified()[-1]
    assert opened_links == []
