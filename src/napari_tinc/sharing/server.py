"""A web server for one page and one file: it answers for these, and for nothing else.

Only this machine can reach it, unless another address is asked for. Its addresses begin with a word that nobody can
guess: other people at the same machine, who can reach it too, find nothing without the link.
"""

from __future__ import annotations

import re
import secrets
import socket
import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote

from ..errors import TincError
from ..storage.stores import Store
from .page import media_type, page_files

THIS_MACHINE = "127.0.0.1"
LOOPBACK = (THIS_MACHINE, "localhost")  # At these addresses, no other machine reaches a server.
EVERYWHERE = ("", "0.0.0.0")  # At these, every machine does that reaches this one.
HTTP_PORT = 80
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_AT_ONCE = 2**20  # bytes that are read and sent at a time


class FileServer(ThreadingHTTPServer):
    """Serves the viewer and a file, until ``shutdown``; ``link`` is what to open in a browser.

    Parameters
    ----------
    name : of the file, as the page shows it.
    store : its bytes.
    port : 0 for any that is free.
    host : the address to listen at; ``127.0.0.1`` is reached from this machine only, ``0.0.0.0`` from everywhere.

    Raises
    ------
    OSError
        If the port is taken, or the address is not of this machine.
    """

    daemon_threads = True

    def __init__(self, name: str, store: Store, port: int = 0, host: str = THIS_MACHINE) -> None:
        self.store, self.secret, self.file = store, secrets.token_urlsafe(12), name
        self.pages = page_files()
        super().__init__((host, port), _Handler)
        self.names = None if host not in LOOPBACK else {f"{each}:{self.server_port}" for each in LOOPBACK}
        if self.names and self.server_port == HTTP_PORT:  # which browsers leave out
            self.names |= set(LOOPBACK)
        shown = _own_address() if host in EVERYWHERE else host
        asked = quote(quote(name, safe=""), safe="")  # once as a part of an address, once as that of a query
        self.link = f"http://{shown}:{self.server_port}/{self.secret}/index.html?url=files/{asked}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a browser went away amid an answer, one line where the file cannot be read any more."""
        match sys.exception():
            case ConnectionError() | TimeoutError():
                pass
            case TincError() | OSError() as error:
                print(f"napari-tinc: {error}", file=sys.stderr)
            case _:
                super().handle_error(request, client_address)


def _own_address() -> str:
    """Return an address of this machine that others reach, or its name. Nothing is sent for that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for examples: only the way there is looked up
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


class _Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds without a word, after which a connection is closed
    server_version, sys_version = "napari-tinc", ""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        """Send a file of the page, or a part of the ``.tinc`` file; for HEAD, what would be said before it."""
        # A page of another site that makes its name lead here (DNS rebinding) still says its own name.
        if self.server.names is not None and self.headers.get("Host") not in self.server.names:
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        path = self.path.partition("?")[0]
        root = f"/{self.server.secret}/"
        if path.startswith(f"{root}files/") and unquote(path.removeprefix(f"{root}files/")) == self.server.file:
            self._send_file()
        elif path.startswith(root) and (content := self.server.pages.get(path.removeprefix(root))) is not None:
            self._send(HTTPStatus.OK, media_type(path), len(content), [content])
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def _send_file(self) -> None:
        """Send the bytes that are asked for, or all."""
        size = self.server.store.size
        start, stop, status, headers = 0, size, HTTPStatus.OK, {"Accept-Ranges": "bytes"}
        asked = _RANGE.fullmatch(self.headers.get("Range", "").strip())
        if asked and any(asked.groups()):
            first, last = asked.groups()
            if not first:  # the last so many bytes
                start = max(size - int(last), 0)
            else:
                start, stop = int(first), min(int(last) + 1, size) if last else size
            if not start < stop:
                self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{size}"})
                return
            status, headers["Content-Range"] = HTTPStatus.PARTIAL_CONTENT, f"bytes {start}-{stop - 1}/{size}"
        parts = (self.server.store.read(at, min(at + _AT_ONCE, stop)) for at in range(start, stop, _AT_ONCE))
        self._send(status, "application/octet-stream", stop - start, parts, headers)

    def _refuse(self, status: HTTPStatus, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self._send(status, "text/plain; charset=utf-8", 0, [], headers)

    def _send(
        self, status: HTTPStatus, kind: str, length: int, parts: Iterable[bytes],
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """Send an answer; ``parts`` are read and sent only if the content is asked for."""
        self.send_response(status)
        fixed = {
            "Content-Type": kind, "Content-Length": str(length), "Cache-Control": "no-store",
            "Content-Security-Policy": "frame-ancestors 'none'", "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
        }  # fmt: skip
        for name, value in (fixed | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            for part in parts:
                self.wfile.write(part)

    def log_message(self, *_: Any) -> None:
        """Keep quiet: the terminal is for the link."""
