"""The page that shows a ``.tinc`` file in a browser: its files, and one page that has all of them and a file inside."""

from __future__ import annotations

import base64
import hashlib
import html
import zlib
from pathlib import Path

from .bundle import bundle

# Larger files are refused: browsers take seconds to read such a page, and mail and hosts refuse it before.
MOST_BYTES_INSIDE = 64 * 2**20
_PACKAGED = Path(__file__).parents[1] / "data" / "viewer"
_IN_REPOSITORY = Path(__file__).parents[3] / "docs" / "viewer"
_SUFFIXES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
# Unpacks the script of the page and runs it. The workers run it, too: a page on a disk may load none from a file.
_START = """(async () => {
  const packed = Uint8Array.from(atob(document.getElementById('tinc-script').textContent), (c) => c.charCodeAt(0));
  const unpacking = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
  const text = await new Response(unpacking).text();
  globalThis.TINC_WORKER_SOURCE = URL.createObjectURL(new Blob([text], { type: 'text/javascript' }));
  const script = document.createElement('script');
  script.textContent = text;
  document.body.append(script);
})();
"""


def page_files() -> dict[str, bytes]:
    """Read the files of the page, by their paths relative to ``index.html``. FileNotFoundError if any is missing."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _IN_REPOSITORY
    rooms = (f"{room}/{path.name}" for room in ("app", "reader") for path in sorted((folder / room).glob("*.js")))
    return {name: (folder / name).read_bytes() for name in ("index.html", "style.css", "worker.js", *rooms)}


def media_type(name: str) -> str:
    """Return what a server says that a file of the page is."""
    return _SUFFIXES[Path(name).suffix]


def single_page(name: str, data: bytes) -> bytes:
    """Make one page that has the viewer and a ``.tinc`` file inside, and opens from a disk, without a server.

    Parameters
    ----------
    name : of the file, as the page shows it.
    data : the bytes of the file.

    Raises
    ------
    ValueError
        If the file is larger than 64 MiB.
    """
    if len(data) > MOST_BYTES_INSIDE:
        raise ValueError(
            f"{name} has {len(data) / 2**20:.0f} MiB, expected at most {MOST_BYTES_INSIDE // 2**20} inside a page. "
            "Share it by a link instead, or put it on a server, beside the viewer"
        )
    files = {path: content.decode() for path, content in page_files().items()}
    script, style = bundle(files, "app/main.js", "worker.js"), files["style.css"]
    page = _with_policy(files["index.html"], f"{_digest(_START)} {_digest(script)}", _digest(style))
    page = _replaced(page, '<link rel="stylesheet"', ">", f"<style>{style}</style>")
    page = _replaced(page, '<script type="module"', "</script>", "")
    inside = (
        f"{_carried('tinc-file', data, name)}{_carried('tinc-script', zlib.compress(script.encode(), 9))}"
        f"<script>{_START}</script>\n"
    )
    return page.replace("</body>", f"{inside}</body>").encode()


def _with_policy(page: str, scripts: str, style: str) -> str:
    """Let a page run some scripts and have one style, by their digests, instead of the files beside it."""
    for own, instead in (
        ("script-src 'self'", f"script-src {scripts}"),
        ("style-src 'self'", f"style-src {style}"),
        ("worker-src 'self' blob:", "worker-src blob:"),
    ):
        page = _replaced(page, own, own[-1], instead)
    return page


def _carried(name: str, data: bytes, title: str = "") -> str:
    """Write bytes as an element that a script finds by its name, and that does nothing by itself."""
    text = base64.b64encode(data).decode()
    return f'<script type="application/octet-stream" id="{name}" data-name="{html.escape(title)}">{text}</script>\n'


def _digest(text: str) -> str:
    """Return how a content security policy names a script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _replaced(page: str, start: str, stop: str, by: str) -> str:
    """Replace what goes from the only ``start`` to the next ``stop``. ValueError if the page has not exactly one."""
    if page.count(start) != 1:
        raise ValueError(f"index.html has {page.count(start)} of {start}, expected one")
    at = page.index(start)
    return page[:at] + by + page[page.index(stop, at + len(start) - 1) + len(stop) :]
