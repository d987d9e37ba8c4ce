"""The server of a shared file: its two kinds of answers, and that there is no third."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from napari_tinc.sharing.page import page_files
from napari_tinc.sharing.server import FileServer
from napari_tinc.storage.stores import Memory

DATA = bytes(range(256)) * 20
NAME = "a brain & <b> (1)#?%.tinc"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer(NAME, Memory(DATA)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    server: FileServer, path: str, method: str = "GET", host: str | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    with contextlib.closing(connection):
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        with connection.getresponse() as response:
            return response, response.read()


def file_of(server: FileServer) -> str:
    return f"/{server.secret}/files/a%20brain%20%26%20%3Cb%3E%20(1)%23%3F%25.tinc"


def test_the_link_leads_to_the_page_and_the_file(server: FileServer) -> None:
    link = urlsplit(server.link)
    assert (link.hostname, link.port) == ("127.0.0.1", server.server_port)
    assert parse_qs(link.query) == {"url": ["files/a%20brain%20%26%20%3Cb%3E%20%281%29%23%3F%25.tinc"]}
    response, body = ask(server, f"{link.path}?{link.query}")
    assert (response.status, body) == (200, page_files()["index.html"])
    for name, content in page_files().items():
        response, body = ask(server, f"/{server.secret}/{name}")
        assert (response.status, body) == (200, content)
        kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
        assert response.headers["Content-Type"].startswith(kinds[name.rpartition(".")[2]])


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-99", 0, 100), ("bytes=5000-", 5000, 5120), ("bytes=-7", 5113, 5120), ("bytes=5100-9999", 5100, 5120)],
)
def test_ranges(server: FileServer, asked: str, start: int, stop: int) -> None:
    response, body = ask(server, file_of(server), Range=asked)
    assert (response.status, body) == (206, DATA[start:stop])
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/5120"


@pytest.mark.parametrize("asked", ["", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4"])
def test_all_of_it_where_no_range_is_understood(server: FileServer, asked: str) -> None:
    response, body = ask(server, file_of(server), Range=asked)
    assert (response.status, body, response.headers["Accept-Ranges"]) == (200, DATA, "bytes")


@pytest.mark.parametrize("asked", ["bytes=5120-", "bytes=9-3", "bytes=-0"])
def test_ranges_outside_of_the_file(server: FileServer, asked: str) -> None:
    response, body = ask(server, file_of(server), Range=asked)
    assert (response.status, body, response.headers["Content-Range"]) == (416, b"", "bytes */5120")


def test_head_tells_the_size(server: FileServer) -> None:
    response, body = ask(server, file_of(server), "HEAD")
    assert (response.status, body, response.headers["Content-Length"]) == (200, b"", "5120")


def test_nothing_else_is_served(server: FileServer) -> None:
    secret = server.secret
    paths = [
        "/", "/index.html", "/files/v.tinc", f"/{secret}", f"/{secret}/", f"/{secret}/files/",
        f"/{secret}/files/other.tinc", f"/{secret}/../{secret}/index.html", f"/{secret}/app/../index.html",
        f"/{secret}/%69ndex.html", f"/{secret}//etc/passwd", f"/{secret}/package.json",
        "/" + "x" * 16 + "/index.html", "*",
    ]  # fmt: skip
    for path in paths:
        response, body = ask(server, path)
        assert (response.status, body) == (404, b""), path
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(server, file_of(server), method)[0].status == 501


def test_pages_of_other_sites_get_nothing(server: FileServer) -> None:
    port = server.server_port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", "localhost", f"127.0.0.1.evil.example:{port}"):
        assert ask(server, file_of(server), host=host)[0].status == 403
    response, _ = ask(server, file_of(server), host=f"localhost:{port}")
    assert response.status == 200
    assert "Access-Control-Allow-Origin" not in response.headers
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response.headers["Content-Security-Policy"] == "frame-ancestors 'none'"


def test_it_listens_on_this_machine_only(server: FileServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_a_file_that_changed_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from napari_tinc.storage.stores import open_store

    path = tmp_path / "v.tinc"
    path.write_bytes(bytes(3 * 2**20))
    with FileServer("v.tinc", open_store(path)) as server:
        path.write_bytes(b"")
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            ask(server, f"/{server.secret}/files/v.tinc")
        thread.join()
    assert "it has been changed" in capsys.readouterr().err
