"""A web server on this machine that knows ranges, and counts what it is asked for."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Server(ThreadingHTTPServer):
    """Serves ranges of some bytes, and remembers how many it sent."""

    def __init__(self, data: bytes, ranges: bool = True) -> None:
        sent: list[int] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                if ranges:
                    self.send_header("Accept-Ranges", "bytes")
                self.end_headers()

            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                part, status = data, 200
                if asked and ranges:
                    first, last = asked.removeprefix("bytes=").split("-")
                    part, status = data[int(first) : int(last) + 1], 206
                sent.append(len(part))
                self.send_response(status)
                self.send_header("Content-Length", str(len(part)))
                self.end_headers()
                self.wfile.write(part)

            def log_message(self, *args: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.sent = sent
        self.url = f"http://127.0.0.1:{self.server_port}/v.tinc"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of a folder; the URL of the folder is given."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
