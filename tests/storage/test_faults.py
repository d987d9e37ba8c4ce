"""Every call that writes fails, in every way: the old file is whole, nothing is left over, one error says why."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strategies import SMALL, small_file

import napari_tinc as tinc
from napari_tinc.cli.main import main
from napari_tinc.encoding.log import Log
from napari_tinc.format.chunks import Ancillary, Chunk
from napari_tinc.format.networks_file import pack
from napari_tinc.io import write as io_write
from napari_tinc.io.read import read_image
from napari_tinc.io.write import write_image
from napari_tinc.storage import atomic, stores
from napari_tinc.storage.atomic import save

ERRORS = [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES]
OLD = b"the old file, whatever it was"
ARRAY = np.random.default_rng(0).integers(0, 2**16, (40, 64, 64), np.uint16)  # noise, which Zarr cannot make smaller
SUFFIXES = [".tif", ".ome.tif", ".npy", ".zarr"]


class Disk:
    """Makes one kind of call fail; remembers that it did."""

    def __init__(self, call: str, number: int) -> None:
        self.call, self.number, self.failed = call, number, 0
        self.most = 3 if number == errno.EINTR else 10**9  # Python goes on where a signal has interrupted it

    def check(self, call: str) -> None:
        if call == self.call and self.failed < self.most:
            self.failed += 1
            raise OSError(self.number, os.strerror(self.number))

    def wrap(self, call: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            self.check(call)
            return function(*args, **options)

        return wrapped

    def open(self, file: str | int, mode: str) -> io.BufferedRandom:
        self.check("open")
        disk = self

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                disk.check("write")
                if disk.call == "few bytes at a time":
                    return super().write(memoryview(data)[:7])
                if disk.call == "the rest":
                    if self.tell():
                        disk.check("the rest")
                    return super().write(memoryview(data)[:7])
                return super().write(data)

            def readinto(self, buffer: Any) -> int:
                disk.check("read")
                return super().readinto(buffer)

            def close(self) -> None:
                if not self.closed:
                    super().close()
                    disk.check("close")

        class Buffered(io.BufferedRandom):
            def flush(self) -> None:
                if not self.closed:
                    super().flush()
                    disk.check("flush")

        return Buffered(Raw(file, mode.replace("b", "")))


@pytest.fixture
def folder(tmp_path: Path, both_ways: None) -> Path:
    (tmp_path / "v.tinc").write_bytes(OLD)
    return tmp_path


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> Iterator[Disk]:
    disk = Disk(call, number)
    calls = iter(["fsync"] * (1 if call == "fsync" else 99))
    sync, open_file = os.fsync, os.open

    def fsync(descriptor: int) -> None:
        if not os.path.isdir(f"/proc/self/fd/{descriptor}"):
            disk.check(next(calls, "fsync"))
        else:
            disk.check("fsync of the folder")
        sync(descriptor)

    def opened(path: str, flags: int, *args: Any) -> int:
        disk.check("open of the folder" if flags == os.O_RDONLY else "open without a name")
        return open_file(path, flags, *args)

    with monkeypatch.context() as patch:
        patch.setattr(stores, "open", disk.open, raising=False)
        patch.setattr(atomic, "open", disk.open, raising=False)
        patch.setattr(os, "fsync", fsync)
        patch.setattr(os, "open", opened)
        for name in ("chmod", "link", "replace", "listdir"):
            patch.setattr(os, name, disk.wrap(name, getattr(os, name)))
        yield disk


def check_refused(disk: Disk, folder: Path, caught: pytest.ExceptionInfo[OSError]) -> None:
    assert disk.failed
    error = caught.value
    assert (error.errno, error.filename) == (disk.number, str(folder / "v.tinc"))
    assert error.strerror == f"cannot save, {len(SMALL)} bytes needed: {os.strerror(disk.number)}"
    assert os.listdir(folder) == ["v.tinc"] and (folder / "v.tinc").read_bytes() == OLD


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["open", "write", "the rest", "flush", "fsync", "read", "close", "replace"])
def test_a_failing_call_leaves_the_old_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    with failing(monkeypatch, call, number) as disk, pytest.raises(OSError, match="cannot save") as caught:
        save(folder / "v.tinc", SMALL)
    check_refused(disk, folder, caught)


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize(
    "call",
    ["open without a name", "link", "listdir", "fsync of the folder", "open of the folder", "few bytes at a time"],
)
def test_calls_that_may_fail(folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    with failing(monkeypatch, call, number) as disk:
        save(folder / "v.tinc", SMALL)
    unnamed = hasattr(os, "O_TMPFILE")
    assert disk.failed or call == "few bytes at a time" or not unnamed
    assert os.listdir(folder) == ["v.tinc"] and (folder / "v.tinc").read_bytes() == SMALL


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
def test_a_mode_that_cannot_be_set(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Some disks have no modes; any other error is one."""
    with failing(monkeypatch, "chmod", number) as disk:
        if number == errno.EACCES:
            save(folder / "v.tinc", SMALL)
        else:
            with pytest.raises(OSError, match="cannot save") as caught:
                save(folder / "v.tinc", SMALL)
            check_refused(disk, folder, caught)


@pytest.mark.parametrize("call", ["write", "the rest", "read"])
def test_signals_interrupt_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    with failing(monkeypatch, call, errno.EINTR) as disk:
        save(folder / "v.tinc", SMALL)
    assert disk.failed == 3
    assert os.listdir(folder) == ["v.tinc"] and (folder / "v.tinc").read_bytes() == SMALL


@contextmanager
def limited(nbytes: int) -> Iterator[None]:
    """No file may grow further."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def large_file() -> bytes:
    header, chunks = small_file()
    return pack(header, (*chunks, Chunk.of(Ancillary.THUMB, bytes(100_000))))


def test_a_limit_on_sizes_leaves_the_old_file(folder: Path) -> None:
    with limited(2**14), pytest.raises(OSError, match=f"{len(large_file())} bytes needed: File too large"):
        save(folder / "v.tinc", large_file())
    assert os.listdir(folder) == ["v.tinc"] and (folder / "v.tinc").read_bytes() == OLD


def test_a_disk_that_cannot_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.tinc").write_bytes(SMALL)
    store = stores.Local(Disk("read", errno.EIO).open(str(tmp_path / "v.tinc"), "r+b"), len(SMALL))
    with pytest.raises(OSError, match="Input/output error") as caught:
        store.read(0, 10)
    assert caught.value.filename == str(tmp_path / "v.tinc")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_limit_on_sizes_leaves_the_old_export(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    write_image(path, ARRAY[:4], None, None)
    with limited(2**14), pytest.raises(OSError, match=f"cannot save, {ARRAY.nbytes} bytes needed: File too large"):
        write_image(path, ARRAY, None, None)
    np.testing.assert_array_equal(read_image(path).array, ARRAY[:4])
    assert os.listdir(tmp_path) == [path.name]


def test_a_full_disk_leaves_the_old_file(full_disk: Path) -> None:
    """Where a third of it is the old file, a third may be the new one, and a third is somebody else's."""
    path, rest = full_disk / "v.tinc", full_disk / "rest"
    save(path, large_file())
    rest.write_bytes(bytes(100_000))
    with pytest.raises(OSError, match=f"{len(large_file())} bytes needed: No space left") as caught:
        save(path, large_file())
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == large_file() and sorted(os.listdir(full_disk)) == ["rest", "v.tinc"]
    rest.unlink()
    save(path, large_file())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_export_to_a_full_disk(full_disk: Path, suffix: str) -> None:
    path = full_disk / f"v{suffix}"
    write_image(path, ARRAY[:4], None, None)
    with pytest.raises(OSError, match=f"cannot save, {ARRAY.nbytes} bytes needed: No space left") as caught:
        write_image(path, ARRAY, None, None)
    assert caught.value.filename == str(path)
    np.testing.assert_array_equal(read_image(path).array, ARRAY[:4])
    assert os.listdir(full_disk) == [path.name]


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["open", "write", "fsync", "close", "replace"])
@pytest.mark.parametrize("suffix", SUFFIXES[:3])
def test_a_failing_call_of_an_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, call: str, number: int
) -> None:
    path = tmp_path / f"v{suffix}"
    path.write_bytes(OLD)
    disk = Disk(call, number)

    class Raw(io.FileIO):
        def __init__(self, *args: Any) -> None:
            disk.check("open")
            super().__init__(*args)

        def write(self, data: Any) -> int:
            disk.check("write")
            return super().write(data)

        def close(self) -> None:
            if not self.closed:
                super().close()
                disk.check("close")

    with monkeypatch.context() as patch:
        patch.setattr(io_write, "FileIO", Raw)
        for name in ("fsync", "replace"):
            patch.setattr(os, name, disk.wrap(name, getattr(os, name)))
        with pytest.raises(OSError, match=f"cannot save, {ARRAY[:2].nbytes} bytes needed: ") as caught:
            write_image(path, ARRAY[:2], None, None)
    assert (caught.value.errno, caught.value.filename) == (number, str(path))
    assert os.listdir(tmp_path) == [path.name] and path.read_bytes() == OLD


@pytest.mark.parametrize("which", [0, 1])
def test_a_folder_that_cannot_be_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: int) -> None:
    """Neither the old one away, nor the new one into its place."""
    path = tmp_path / "v.zarr"
    write_image(path, ARRAY[:2], None, None)
    replace, calls = os.replace, []

    def failing_replace(*paths: Any) -> None:
        if Path(paths[0]).parent == tmp_path:
            calls.append(paths)
            if len(calls) == which + 1:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing_replace)
        with pytest.raises(OSError, match="bytes needed: Input/output error"):
            write_image(path, ARRAY[2:4], None, None)
    np.testing.assert_array_equal(read_image(path).array, ARRAY[:2])
    assert os.listdir(tmp_path) == ["v.zarr"] and len(calls) >= which + 1


def test_what_a_killed_export_left_is_swept(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    file, kept, old = (tmp_path / f".v.{name}-0123abcd.tinc-tmp" for name in (
        f"npy.{process.pid}", f"npy.{os.getpid()}", f"zarr.{process.pid}"
    ))  # fmt: skip
    file.touch(), kept.touch(), old.mkdir()
    (old / "chunk").touch()
    write_image(tmp_path / "v.npy", ARRAY[:2], None, None)
    write_image(tmp_path / "v.zarr", ARRAY[:2], None, None)
    assert sorted(os.listdir(tmp_path)) == [kept.name, "v.npy", "v.zarr"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a disk that is always full")
def test_a_log_that_cannot_be_written_costs_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "v.npy", ARRAY[:, :16, :16])
    arguments = [
        "compress",
        str(tmp_path / "v.npy"),
        str(tmp_path / "v.tinc"),
        "--max-error",
        "0",
        "--log",
        "/dev/full",
    ]
    assert main(arguments) == 1
    assert capsys.readouterr().err.endswith("/dev/full: only the log is incomplete: No space left on device\n")
    np.testing.assert_array_equal(tinc.open(tmp_path / "v.tinc"), ARRAY[:, :16, :16])
    assert sorted(os.listdir(tmp_path)) == ["v.npy", "v.tinc"]


def test_a_log_on_a_disk_that_fills_up(full_disk: Path) -> None:
    def fill() -> None:
        with Log(full_disk / "l") as log:
            for step in range(10_000):
                log.add({"step": step, "text": "x" * 100})

    with pytest.raises(OSError, match="only the log is incomplete: No space left") as caught:
        fill()
    assert caught.value.filename == str(full_disk / "l")
    first, *_ = (full_disk / "l").read_text().splitlines()
    assert json.loads(first)["step"] == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a disk that is always full")
def test_a_log_does_not_hide_what_went_wrong() -> None:
    def fail() -> None:
        with Log("/dev/full") as log:
            log.add({})
            raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        fail()
