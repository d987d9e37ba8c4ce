"""The command ``napari-tinc share``: a file in a browser, by a link or as one page."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .output import print_result
from .paths import check_output, is_same_file


def run_share(args: argparse.Namespace) -> None:
    """Serve the viewer and a file until Ctrl-C, or write one page that has both."""
    from ..decoding.volume import TincVolume
    from ..storage.stores import open_store

    store = open_store(args.file)
    volume = TincVolume(store)  # A file that is none is refused here, not in the browser.
    name = os.fsencode(Path(args.file).name).decode(errors="replace")
    if args.html is not None:
        if (args.port, args.host) != (None, None):
            raise ValueError("--html writes a page and serves nothing: leave out --port and --host")
        volume.verify()  # What is sent away is not to turn out to be damaged when it is there.
        _write_page(args, name, store.read(0, store.size))
        return
    from ..sharing.server import THIS_MACHINE, FileServer

    host, port = THIS_MACHINE if args.host is None else args.host, args.port or 0
    try:
        server = FileServer(name, store, port, host)
    except OSError as error:
        raise ValueError(
            f"cannot listen at --host {host}, --port {port} ({error.strerror}). "
            "Without them, this machine and a port that is free are taken"
        ) from error
    with server:
        print_result(args, {"file": args.file, "link": server.link}, {"link": server.link}, _who_can_open(host))
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return  # How a person ends it is no failure.


def _write_page(args: argparse.Namespace, name: str, data: bytes) -> None:
    """Write the page that has the file inside."""
    from ..sharing.page import single_page
    from ..storage import atomic

    check_output(args.html, (".html", ".htm"))
    if is_same_file(args.html, args.file):
        raise ValueError(f"cannot write {args.html}: it is {args.file} itself")
    atomic.save(args.html, single_page(name, data))
    result = {"file": args.html, "bytes": os.path.getsize(args.html)}
    print_result(args, result, result)


def _who_can_open(host: str) -> str:
    """Tell who can open the link, and how long."""
    from ..sharing.server import LOOPBACK

    who = "on this machine" if host in LOOPBACK else "on every machine that reaches this one"
    return f"Whoever has the link can open it {who}, until Ctrl-C ends this command."
