"""The viewer in a real Chromium: files dropped on it and opened by a link, keys, a page on a disk, hostile names.

How fast it is, benchmarks/speed/browser.py tells.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewer.browser import CHROMIUM, Browser, Page

import napari_tinc as tinc
from napari_tinc.sharing.page import single_page
from napari_tinc.sharing.server import FileServer
from napari_tinc.storage.stores import Memory

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
SAMPLE = ROOT / "src" / "napari_tinc" / "data" / "mri_mni152_crop.tinc"
FINE = (  # A page that is still being loaded has no viewer yet.
    "globalThis.tincViewer !== undefined && "
    "Object.values(tincViewer.state().planes).every((plane) => plane.quality === 'fine')"
)
PIXELS = """Array.from(document.querySelectorAll('.view[data-plane] > canvas')).map((canvas) => canvas.getContext('2d')
  .getImageData(0, 0, canvas.width, canvas.height).data.reduce((sum, value) => sum + value, 0))"""


class CountingStore(Memory):
    """Counts the bytes that are read of it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.count = 0

    def read(self, start: int, stop: int) -> bytes:
        self.count += stop - start
        return super().read(start, stop)


class Shared:
    """A file that is served as ``napari-tinc share`` does."""

    def __init__(self, name: str, data: bytes) -> None:
        self.store = CountingStore(data)
        self.server = FileServer(name, self.store)
        self.link = self.server.link
        self._thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> Shared:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM, "Chromium is missing; make test installs it"
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def served() -> Iterator[Shared]:
    """The viewer, with a small file that tests need not open."""
    with Shared("trained.tinc", (GOLDEN / "trained.tinc").read_bytes()) as shared:
        yield shared


@pytest.fixture
def empty(browser: Browser, served: Shared) -> Iterator[Page]:
    """The viewer with no file open."""
    page = browser.page(served.link.partition("?")[0])
    page.wait("globalThis.tincViewer !== undefined")
    yield page
    assert page.problems() == []
    page.close()


def state(page: Page) -> dict[str, Any]:
    found = page.evaluate("tincViewer.state()")
    assert isinstance(found, dict)
    return found


def test_a_dropped_file_is_shown_and_scrolled_to_its_last_voxel(empty: Page, tmp_path: Path) -> None:
    empty.drop(SAMPLE)
    empty.wait(FINE)
    assert (state(empty)["name"], state(empty)["shape"]) == (SAMPLE.name, [128, 128, 128])
    empty.wait("tincViewer.state().whole", 60)
    empty.click(".view[data-plane='0'] > canvas")
    for number in range(128):
        empty.key("PageDown", 34) if number else empty.key("Home", 36)
        empty.wait(f"tincViewer.state().planes.xy.slice === {number}")
    assert state(empty)["planes"]["xy"]["slicesFine"] == 128
    volume = np.asarray(tinc.open(SAMPLE))
    empty.key("End", 35)
    empty.wait("tincViewer.state().at[0] === 127")
    z, y, x = state(empty)["at"]
    text = empty.evaluate("document.getElementById('readout').textContent")
    assert text.split()[-1] == str(volume[z, y, x])


def test_a_link_shows_leaves_and_calibration(browser: Browser) -> None:
    with Shared("filtered (1) #2 50%?+&.tinc", (GOLDEN / "filtered-i2.tinc").read_bytes()) as shared:
        page = browser.page(shared.link, dark=True)
        page.wait(FINE)
        assert (state(page)["theme"], state(page)["name"]) == ("dark", "filtered (1) #2 50%?+&.tinc")
        plain = json.dumps(page.evaluate(PIXELS), separators=(",", ":"))
        page.key("l", 76)
        page.wait(f"tincViewer.state().overlay && JSON.stringify({PIXELS}) !== '{plain}'")
        page.key("l", 76)
        page.wait(f"!tincViewer.state().overlay && JSON.stringify({PIXELS}) === '{plain}'")
        page.key("c", 67)
        page.wait(f"!tincViewer.state().calibration && {FINE} && JSON.stringify({PIXELS}) !== '{plain}'")
        page.key("c", 67)
        page.wait(f"tincViewer.state().calibration && {FINE} && JSON.stringify({PIXELS}) === '{plain}'")
        assert page.problems() == []
        page.close()


def test_an_original_lies_beside_it_behind_a_curtain(empty: Page, tmp_path: Path) -> None:
    volume = np.asarray(tinc.open(GOLDEN / "bounded-u2.tinc"))
    np.save(tmp_path / "original.npy", volume)
    empty.drop(GOLDEN / "bounded-u2.tinc")
    empty.wait(FINE)
    empty.drop(tmp_path / "original.npy", beside=True)
    empty.wait("tincViewer.state().second === 'original.npy'")
    empty.wait(FINE)
    assert state(empty)["name"] == "bounded-u2.tinc"


def test_a_file_and_its_original_are_dropped_together_a_folder_is_refused(empty: Page, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asarray(tinc.open(GOLDEN / "bounded-u2.tinc")))
    empty.drop(tmp_path / "a.npy", GOLDEN / "bounded-u2.tinc")
    empty.wait("tincViewer.state().second === 'a.npy'")
    assert state(empty)["name"] == "bounded-u2.tinc"
    empty.drop(tmp_path)
    empty.wait("tincViewer.state().error.includes('folder')")


def test_what_is_moved_to_is_said(empty: Page) -> None:
    empty.drop(SAMPLE)
    empty.wait(FINE)
    empty.click(".view[data-plane='0'] > canvas")
    empty.key("Home", 36)
    empty.wait(r"/^x \d+ +y \d+ +z 0 +=/.test(document.getElementById('spoken').textContent)")


@pytest.mark.parametrize(
    "name",
    [
        "exact-labels-i4",
        "exact-time-channels",
        "trained-blocks-channels",
        "lattice-blocks",
        "region-bounded-channels",
        "blocks-joined",
    ],
)
def test_files_of_other_kinds(name: str, empty: Page) -> None:
    path = GOLDEN / f"{name}.tinc"
    empty.drop(path)
    empty.wait(FINE)
    found = state(empty)
    assert (found["shape"], found["error"]) == (list(tinc.open(path).shape[-3:]), "")
    empty.click("#verify")
    empty.wait("document.getElementById('verdict').textContent.endsWith('.')")
    assert empty.evaluate("document.getElementById('verdict').textContent") == "All checksums are right."


def test_bad_files_are_one_line_and_change_nothing(empty: Page, tmp_path: Path) -> None:
    damaged = bytearray(SAMPLE.read_bytes())
    damaged[40] ^= 1
    for name, data in {
        "damaged.tinc": bytes(damaged),
        "words.tinc": b"hello",
        "words.npy": b"\x93NUMPY",
        "w.tif": b"II*\0",
    }.items():
        (tmp_path / name).write_bytes(data)
    empty.drop(GOLDEN / "bounded-u2.tinc")
    empty.wait(FINE)
    for name in ("damaged.tinc", "words.tinc", "words.npy", "w.tif"):
        before = state(empty)["error"]
        empty.drop(tmp_path / name)
        empty.wait(f"tincViewer.state().error !== {json.dumps(before)}")
        found = state(empty)
        assert found["error"].startswith(name) and "\n" not in found["error"]
        assert found["name"] == "bounded-u2.tinc"
    assert all(plane["quality"] == "fine" for plane in state(empty)["planes"].values())


def test_damage_stays_said_and_nothing_of_another_file_stays_shown(empty: Page, tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 9, (24, 30, 40), np.uint8)
    data = bytearray(tinc.compress(volume, max_error=0).parts.data())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged.tinc").write_bytes(data)
    np.save(tmp_path / "good.npy", volume)
    empty.drop(SAMPLE)
    empty.wait("globalThis.tincViewer !== undefined && tincViewer.state().projectionFrames > 0")
    empty.drop(tmp_path / "damaged.tinc", tmp_path / "good.npy")
    empty.wait("tincViewer.state().second === 'good.npy' && tincViewer.state().jobsRunning === 0")
    empty.wait("tincViewer.state().error.startsWith('damaged.tinc: the file is damaged')")
    empty.wait("tincViewer.state().window[0] === 0 && tincViewer.state().window[1] === 8")  # of the good one
    drawn = "document.getElementById('projection').getContext('2d').getImageData(0, 0, 200, 200).data.some(Boolean)"
    assert empty.evaluate(drawn) is False


def test_the_first_window_is_that_of_voxels_not_of_means(empty: Page, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 250, (40, 128, 128), np.uint8)
    tinc.compress(noise, max_error=0).save(tmp_path / "noise.tinc")
    empty.drop(tmp_path / "noise.tinc")
    empty.wait("tincViewer.state().window[0] < 5 && tincViewer.state().window[1] > 244")


def test_a_thin_volume_is_seen(empty: Page, tmp_path: Path) -> None:
    np.save(tmp_path / "thin.npy", np.full((3, 4, 5000), 200, np.uint8))
    empty.drop(tmp_path / "thin.npy")
    empty.wait(FINE)
    empty.wait("tincViewer.state().window[1] === 200")
    white = "data.reduce((n, value, at) => n + (at % 4 === 3 && data[at - 1] > 240 && data[at - 3] > 240 ? 1 : 0), 0)"
    for canvas in (".view[data-plane='0'] > canvas", "#projection"):
        empty.wait(
            f"(() => {{ const canvas = document.querySelector({canvas!r}); const data = canvas.getContext('2d')"
            f".getImageData(0, 0, canvas.width, canvas.height).data; return {white} > 200; }})()"
        )


def test_nothing_of_a_file_becomes_a_part_of_the_page(empty: Page, tmp_path: Path) -> None:
    evil = "<img src=x onerror='document.title=1'><script>document.title = 1</script>"
    volume = np.arange(2 * 6 * 7 * 8, dtype=np.uint8).reshape(2, 6, 7, 8)
    channels = [{"name": evil, "color": "#ff0000"}, {"name": "\u202e" + evil}]
    made = tinc.compress(volume, max_error=0, axis_labels="czyx", channels=channels)
    path = tmp_path / "a'<b>onload=1<b>.tinc"
    made.save(path)
    empty.drop(path)
    empty.wait(FINE)
    assert evil in empty.evaluate("document.getElementById('channels').textContent")
    assert empty.evaluate("document.querySelectorAll('img, b b, #channels script').length") == 0
    assert empty.evaluate("document.title") != "1"


def test_a_page_with_a_file_inside_opens_from_a_disk(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "a brain.html"
    path.write_bytes(single_page("a brain.tinc", SAMPLE.read_bytes()))
    page = browser.page(path.as_uri(), width=390, height=844, phone=True)
    page.wait(FINE)
    assert state(page)["name"] == "a brain.tinc"
    width = page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
    assert width <= 390
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")  # One finger moves the crosshair.
    page.click("#panel-button")
    page.wait("document.getElementById('histogram').width > 100")
    box = "document.getElementById('promise').getBoundingClientRect()"
    page.evaluate("document.getElementById('promise').scrollIntoView()")
    assert page.evaluate(f"{box}.height > 0 && {box}.top >= 0 && {box}.bottom <= innerHeight")
    page.wait("tincViewer.state().projectionFrames > 0")
    assert page.problems() == []
    page.close()


def test_a_slice_of_a_large_file_takes_few_bytes(browser: Browser) -> None:
    noise = np.random.default_rng(0).integers(0, 4, (640, 48, 48), np.uint8)
    data = tinc.compress(noise, max_error=0, block=32).parts.data()
    with Shared("noise.tinc", data) as shared:
        page = browser.page(shared.link.partition("?")[0])
        shared.store.count = 0
        values = page.evaluate(
            """(async () => {
            const { open, urlSource } = { ...await import('./reader/open.js'), ...await import('./reader/sources.js') };
            const file = await open(await urlSource('files/noise.tinc'));
            return Array.from(await file.decode(0, [300, 0, 0, 301, 48, 48]));
            })()"""
        )
        page.close()
    np.testing.assert_array_equal(np.reshape(values, (48, 48)), noise[300])
    assert shared.store.count <= 0.1 * len(data)
