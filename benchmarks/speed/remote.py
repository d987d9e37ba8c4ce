"""What a slice of a file on a server costs: bytes fetched, requests, seconds, over loopback HTTP.

    python -m benchmarks.speed.remote CORPUS [FILE.tinc]

Without FILE: a stack of 2048 x 128 x 128 uint16, tiled from ct_thorax, at ratio 64 in blocks of 64 voxels (1 MB; a few
optimiser steps, as the bytes are what counts here).
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

import napari_tinc as tinc
from napari_tinc.storage import stores
from napari_tinc.training import task


def serve(data: bytes) -> tuple[str, list[int]]:
    """URL of a server of ranges of some bytes, and the list of what it sends, which grows."""
    sent: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()

        def do_GET(self) -> None:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            part = data[int(first) : int(last) + 1]
            sent.append(len(part))
            self.send_response(206)
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            self.wfile.write(part)

        def log_message(self, *args: Any) -> None:
            pass

    ThreadingHTTPServer.request_queue_size = 128  # or a slice's requests are dropped, and sent again after seconds
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v.tinc", sent


def stack(corpus: Path) -> bytes:
    tile = tifffile.imread(corpus / "ct_thorax.tif")[:128, :126, :120].astype(np.int32)
    tile = np.pad(tile - tile.min(), ((0, 0), (0, 2), (0, 8)), mode="symmetric").astype(np.uint16)
    task.STEPS["fast"] = 1
    volume = tinc.compress(np.concatenate([tile, tile[::-1]] * 8), ratio=64, preset="fast", block=64, levels=2)
    return volume.parts.data()


def main() -> None:
    data = Path(sys.argv[2]).read_bytes() if len(sys.argv) > 2 else stack(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory():
        url, sent = serve(data)
        tinc.open(url)  # imports
        sent.clear()
        began = time.perf_counter()
        volume = tinc.open(url)
        print(f"{len(data)} bytes, {volume.shape}, {len(volume.parts.start)} blocks")
        print(f"open: {len(sent)} requests, {sum(sent)} bytes, {time.perf_counter() - began:.3f} s")
        for axis, what in ((0, "z"), (1, "y"), (2, "x")):
            volume = tinc.open(url)
            sent.clear()
            began = time.perf_counter()
            np.asarray(volume[(slice(None),) * axis + (volume.shape[axis] // 3,)])
            share = 100 * (sum(sent) + min(stores.FIRST_BYTES, len(data))) / len(data)
            seconds = time.perf_counter() - began
            what = f"one slice across {what}: {len(sent)} requests"
            print(f"{what}, with opening {share:.1f} % of the file, {seconds:.3f} s")
        if volume.header.edge:  # type: ignore[attr-defined]
            volume = tinc.open(url)
            sent.clear()
            np.asarray(volume.levels[-1])
            print(f"the coarsest level, {volume.levels[-1].shape}: {len(sent)} requests, {sum(sent)} bytes")


if __name__ == "__main__":
    main()
