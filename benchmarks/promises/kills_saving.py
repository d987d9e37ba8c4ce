"""Kill a process while it saves, 1,000 times: python -m benchmarks.promises.kills_saving

A child (forked from this process, so that it starts in a millisecond) writes two volumes by turns, over one file or to
two new names, until SIGKILL ends it at a random moment, and then the next child. Each time a file must be the whole of
one of them, and left-overs are counted, those that a child before has left among them if this one did not come to its
first save; in the end, too, and after one more save none may be there. The same for ``napari-tinc compress``, killed
during its save only, and for exports, of which .zarr is a folder: between two renames it is not there, and the old one
lies beside it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np

import napari_tinc as tinc
from benchmarks.common import machine, markdown
from napari_tinc.cli import main as cli_main
from napari_tinc.io.read import read_image
from napari_tinc.io.write import write_image
from napari_tinc.storage import atomic

EDGES = (16, 64, 160)  # voxels of noise: files of 5 kB, 260 kB and 4 MB
ROUNDS = 4  # of writing, in which the moment of the kill lies
Write = Callable[[int], None]


def killed(write: Write, seconds: float, signal_first: bool = False) -> None:
    """Fork a child that writes versions 0, 1, 0, ... and kill it within some seconds after it began (to save)."""
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        if signal_first:
            save = atomic.save

            def told(path: object, data: bytes) -> None:
                os.write(tell, b".")
                save(path, data)  # type: ignore[arg-type]

            atomic.save = told  # type: ignore[assignment]
        else:
            write(1)  # the first one copies memory that was the parent's, between the two calls, too
            os.write(tell, b".")
        try:
            for version in range(10**9):
                write(version % 2)
        finally:
            os._exit(1)
    os.read(ready, 1)
    time.sleep(random.uniform(0, seconds))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(ready), os.close(tell)
    if not os.WIFSIGNALED(status):
        raise RuntimeError("the child ended before it was killed: it cannot write")


def campaign(
    name: str, folder: Path, write: Write, whole: Callable[[Path], bool], kills: int, seconds: float, signal_first: bool
) -> list[str]:
    """A row: kills, torn files, those that were not there; left-overs after a kill, in the end, and one save later."""
    torn = missing = left = 0
    write(0)
    for _ in range(kills):
        killed(write, seconds, signal_first)
        there = [path for path in folder.iterdir() if path.name[0] == "v" and path.suffix != ".parts"]
        missing += not there
        torn += not all(map(whole, there))
        left += hidden(folder) > 0
    in_the_end = hidden(folder)
    write(1)
    kept = hidden(folder)
    print(name, torn, missing, left, in_the_end, kept, file=sys.stderr)
    return [name, *map(str, (kills, torn, missing)), f"{left} ({left / kills:.1%})", str(in_the_end), str(kept)]


def hidden(folder: Path) -> int:
    """Temporary files; finished blocks of ``compress`` are no left-overs, but kept to go on from."""
    return sum(name.startswith(".") for name in os.listdir(folder))


def noise(edge: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**8, (edge,) * 3, np.uint8)


def seconds_of(write: Write) -> float:
    """Of one write, at the median."""
    times = []
    for version in range(6):
        began = time.perf_counter()
        write(version % 2)
        times.append(time.perf_counter() - began)
    return sorted(times)[2]


def saving(folder: Path, kills: int) -> list[list[str]]:
    rows = []
    for edge, new in itertools.product(EDGES, (False, True)):
        volumes = [tinc.compress(noise(edge, seed), max_error=0) for seed in (0, 1)]
        data = [volume.parts.data() for volume in volumes]
        into = folder / f"{edge} {new}"
        into.mkdir()

        def write(
            version: int, volumes: Sequence[tinc.TincVolume] = volumes, into: Path = into, new: bool = new
        ) -> None:
            path = into / f"v{version * new}.tinc"
            if new:
                path.unlink(missing_ok=True)
            volumes[version].save(path)

        def whole(path: Path, data: Sequence[bytes] = data) -> bool:
            return path.read_bytes() in data

        span = ROUNDS * seconds_of(write)
        name = f"save {'to a new name' if new else 'over a file'}, {len(data[0]):,} B"
        rows.append(campaign(name, into, write, whole, kills, span, False))
    return rows


def compressing(folder: Path, kills: int) -> list[str]:
    path = folder / "cli" / "v.tinc"
    path.parent.mkdir()
    data = []
    for seed in (0, 1):
        np.save(folder / f"{seed}.npy", noise(16, seed))
        data.append(tinc.compress(noise(16, seed), max_error=0).parts.data())

    def write(version: int) -> None:
        arguments = ["compress", str(folder / f"{version}.npy"), str(path), "--max-error", "0"]
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as said:
            if cli_main.main(arguments):
                raise RuntimeError(said.getvalue())

    span = 2 * seconds_of(lambda version: atomic.save(folder / "x.tinc", data[version]))
    return campaign("compress", path.parent, write, lambda path: path.read_bytes() in data, kills, span, True)


def exporting(folder: Path, kills: int) -> list[list[str]]:
    rows = []
    arrays = [noise(100, seed) for seed in (0, 1)]
    for suffix in (".tif", ".npy", ".zarr"):
        path = folder / suffix[1:] / f"v{suffix}"
        path.parent.mkdir()

        def write(version: int, path: Path = path) -> None:
            write_image(path, arrays[version], None, None)

        def whole(path: Path) -> bool:
            found = np.asarray(read_image(path).array)
            return any(np.array_equal(found, array) for array in arrays)

        span = ROUNDS * seconds_of(write)
        rows.append(campaign(f"export {suffix}", path.parent, write, whole, kills, span, False))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="while saving; a tenth of them in each other kind")
    parser.add_argument("--named", action="store_true", help="only saving, without unnamed files (O_TMPFILE)")
    args = parser.parse_args()
    random.seed(0)
    folder = Path(tempfile.mkdtemp(dir="."))  # not in /tmp, which may be memory
    each, tenth = -(-args.kills // (2 * len(EDGES))), args.kills // 10
    try:
        if args.named:
            del os.O_TMPFILE
            rows = saving(folder, each)
        else:
            rows = [*saving(folder, each), compressing(folder, tenth), *exporting(folder, tenth)]
    finally:
        shutil.rmtree(folder)
    print(f"{machine()}\n")
    print(markdown(["", "kills", "torn", "not there", "left-overs after it", "in the end", "one save later"], rows))


if __name__ == "__main__":
    main()
