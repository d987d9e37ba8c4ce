"""How fast the viewer is in headless Chromium: python -m benchmarks.speed.browser FILE.tinc ...

For each file: from its drop until there is something in three planes, and until these are fine; then all slices across
z, one a frame, twice: at once, while the volume is being decoded, and when all of it is known.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
from pathlib import Path

from benchmarks.common import markdown
from napari_tinc.sharing.server import FileServer
from napari_tinc.storage.stores import Memory
from tests.viewer.browser import Browser, Page

SOMETHING = "Object.values(tincViewer.state().planes).every((plane) => plane.quality !== 'empty')"
FINE = "Object.values(tincViewer.state().planes).every((plane) => plane.quality === 'fine')"
# A key a frame, as a person who holds it; how many seconds, and how many of the slices were shown with all detail.
SCROLL = """(async () => {
  const canvas = document.querySelector('.view[data-plane="0"] > canvas');
  const press = (key) => canvas.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  canvas.focus();
  press('Home');
  await frame();
  const began = performance.now();
  let fine = 0;
  const count = tincViewer.state().shape[0];
  for (let z = 1; z < count; z++) {
    press('PageDown');
    while (tincViewer.state().planes.xy.slice !== z) await frame();
    fine += tincViewer.state().planes.xy.quality === 'fine';
  }
  return [(performance.now() - began) / 1000, count - 1, fine];
})()"""


def measure(browser: Browser, link: str, path: Path) -> tuple[list[float], tuple[str, str]]:
    """Seconds to something and to fine planes; the two ways of scrolling, in words."""
    page = browser.page(link)
    page.wait("globalThis.tincViewer !== undefined")
    page.drop(path)
    seconds = [page.wait(SOMETHING, 120), 0.0]
    seconds[1] = seconds[0] + page.wait(FINE, 120)
    at_once = scroll(page)
    page.wait("tincViewer.state().whole || tincViewer.state().jobsRunning === 0", 600)
    again = scroll(page)
    page.close()
    return seconds, (at_once, again)


def scroll(page: Page) -> str:
    seconds, count, fine = page.evaluate(SCROLL)
    return f"{count / seconds:.0f} a second, {fine} of {count} fine"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    rows = []
    with FileServer("none.tinc", Memory(b"")) as server, tempfile.TemporaryDirectory() as profile:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Browser(Path(profile), seconds=300) as browser:
            for path in arguments.files:
                runs = [measure(browser, server.link.partition("?")[0], path.resolve()) for _ in range(arguments.runs)]
                something, fine = (statistics.median(run[0][i] for run in runs) for i in (0, 1))
                rows.append([path.name, f"{something:.2f} s", f"{fine:.2f} s", *runs[-1][1]])
        server.shutdown()
    head = ["file", "something to see", "three fine planes", "all slices, at once", "all slices, once known"]
    print(markdown(head, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
