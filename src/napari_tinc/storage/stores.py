"""Stores: where the bytes of a file are read from: memory, a local file, or a server."""

from __future__ import annotations

import errno
import os
import stat
import threading
import weakref
from collections.abc import Sequence
from typing import Any, BinaryIO, Protocol

from ..errors import TincError
from ..format.head import check_size

READ_WHOLE = 2**20  # A local file of at most so many bytes is read at once, and closed.
FIRST_BYTES = 2**13  # The first request to a server fetches so many bytes: the head of most files.


class Store(Protocol):
    """The bytes of a file. Any thread may read them."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    def read(self, start: int, stop: int) -> bytes:
        """Return exactly the bytes from ``start`` to ``stop``; TincError or OSError if that fails."""

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of several ranges, in their order."""


class Memory:
    """A store of bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, start: int, stop: int) -> bytes:
        return self._data[start:stop]

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self.read(*ends) for ends in ranges]


class Local:
    """A store of a local file, which stays open: on POSIX systems it can be read even after it was replaced."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.size = size
        self._file = file
        self._lock = threading.Lock()
        weakref.finalize(self, file.close)

    def read(self, start: int, stop: int) -> bytes:
        try:
            with self._lock:
                self._file.seek(start)
                data = self._file.read(stop - start)
        except MemoryError:
            raise TincError(f"{stop - start} bytes of the file are wanted, expected that they fit in memory") from None
        except OSError as error:  # which does not know the name
            raise OSError(error.errno, error.strerror, self._file.name) from error
        if len(data) != stop - start:
            now = os.fstat(self._file.fileno()).st_size
            raise TincError(f"file is {now} bytes now, expected {self.size}: it has been changed")
        return data

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self.read(*ends) for ends in ranges]


class Remote:
    """A store of a file on a server, by a file system of fsspec. Several ranges are requested at the same time."""

    def __init__(self, system: Any, path: str) -> None:
        self._system, self._path = system, path
        self._first = b""
        size = system.info(path)["size"]
        if size is None:
            raise TincError("the server does not tell the file's size, expected one that serves ranges of bytes")
        check_size(size)
        self.size = size
        self._first = self.read(0, min(FIRST_BYTES, size))

    def read(self, start: int, stop: int) -> bytes:
        return self.read_many([(start, stop)])[0]

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        far = [ends for ends in ranges if ends[1] > len(self._first)]
        paths, starts, stops = [self._path] * len(far), [a for a, _ in far], [b for _, b in far]
        try:
            fetched = self._system.cat_ranges(paths, starts, stops, on_error="raise") if far else []
        except Exception as error:  # every kind of server has its own
            raise OSError(errno.EIO, f"{type(error).__name__}: {error}", self._path) from error
        for (start, stop), data in zip(far, fetched, strict=True):
            if len(data) != stop - start:
                raise TincError(
                    f"the server sent {len(data)} bytes for {stop - start} asked for: the file has been changed, or it "
                    "does not serve ranges of bytes"
                )
        rest = iter(fetched)
        return [self._first[a:b] if b <= len(self._first) else bytes(next(rest)) for a, b in ranges]


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a local file, or the file at a URL with fsspec.

    Raises
    ------
    TincError
        If its size is not one that a ``.tinc`` file can have.
    ImportError
        If the library for that kind of URL is not installed.
    OSError
        If it cannot be read.
    """
    if "://" in os.fspath(path):
        return _open_url(os.fspath(path))
    before = os.stat(path)
    # Opening a folder says what is wrong; opening a pipe would wait for its writer.
    if not stat.S_ISDIR(before.st_mode):
        check_size(before.st_size)
    file = open(path, "rb")  # noqa: SIM115 - kept by what is returned
    size = os.fstat(file.fileno()).st_size  # Another process may have saved to the path meanwhile.
    store = Local(file, size)
    return store if size > READ_WHOLE else Memory(store.read(0, size))


def _open_url(url: str) -> Store:
    """Open the file at a URL; errors name what failed."""
    try:
        import fsspec

        return Remote(*fsspec.url_to_fs(url))
    except ImportError as error:
        raise ImportError(f'opening {url} needs more libraries: pip install "napari-tinc[remote]" ({error})') from error
    except FileNotFoundError as error:  # which says only the URL, whatever the reason
        reason = str(error.__cause__ or error.__context__ or "not found")
        raise FileNotFoundError(errno.ENOENT, f"cannot be read ({reason})", url) from error
