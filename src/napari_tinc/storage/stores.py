"""Where the bytes of files come from, and where they go: a write is all or nothing, whatever happens while it runs."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import threading
import weakref
from collections.abc import Sequence
from functools import partial
from typing import Any, BinaryIO, Protocol

from ..format.head import TincError, check_size

READ_WHOLE = 2**20  # bytes; smaller files are read at once
FIRST_BYTES = 2**13  # that the first request fetches from a server: the head of most files
PIECE = 2**20  # bytes compared at a time


class Store(Protocol):
    """The bytes of a file; any thread may read them."""

    @property
    def size(self) -> int: ...

    @property
    def far(self) -> bool:
        """Whether to ask for several ranges at once is worth while."""

    def read(self, start: int, stop: int) -> bytes:
        """Exactly the bytes of that range; TincError where they cannot be had."""

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Several ranges."""


class Memory:
    """Bytes in memory."""

    far = False

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, start: int, stop: int) -> bytes:
        return self._data[start:stop]

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self.read(*ends) for ends in ranges]


class Local:
    """A file that is kept open: on POSIX systems it stays whole even if it is replaced."""

    far = False

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
    """What a file system of fsspec has; several ranges are asked for at the same time."""

    far = True

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
    """A local file, or with fsspec one that a URL names; of a size that a ``.tinc`` file can have.

    Raises
    ------
    TincError
        If its size is out of range.
    ImportError
        If the library for such URLs is not installed.
    OSError
        If it cannot be read.
    """
    if "://" in os.fspath(path):
        return _open_url(os.fspath(path))
    status = os.stat(path)
    # Opening a folder says what is wrong; opening a pipe would wait for its writer.
    if not stat.S_ISDIR(status.st_mode):
        check_size(status.st_size)
    file = open(path, "rb")  # noqa: SIM115 - kept by what is returned
    store = Local(file, status.st_size)
    return store if status.st_size > READ_WHOLE else Memory(store.read(0, status.st_size))


def _open_url(url: str) -> Store:
    try:
        import fsspec

        return Remote(*fsspec.url_to_fs(url))
    except ImportError as error:
        raise ImportError(f'opening {url} needs more libraries: pip install "napari-tinc[remote]" ({error})') from error
    except FileNotFoundError as error:  # which says only the URL, whatever the reason
        reason = str(error.__cause__ or error.__context__ or "not found")
        raise FileNotFoundError(errno.ENOENT, f"cannot be read ({reason})", url) from error


def save(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that at any moment, power cuts included, ``path`` is the whole old or the whole new file.

    A temporary file beside it is written, synced, read back and verified, then renamed. The file keeps the mode it
    had; a new one gets what the umask allows. Links are followed.

    Raises
    ------
    OSError
        If it cannot be written; says how many bytes were needed. The old file is left as it was.
    TincError
        If what was written reads otherwise. Likewise.
    """
    target = os.path.realpath(path)
    temporary = temporary_name(target)
    try:
        mode = _mode_of(target)
        sweep(target)
        try:
            _write(temporary, target, data, mode)
        except BaseException:
            remove(temporary)
            raise
    except OSError as error:
        raise not_written(path, len(data), error) from error
    with contextlib.suppress(OSError):  # where a folder cannot be synced, a power cut may bring back the old file
        descriptor = os.open(os.path.dirname(target), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write(path: str, target: str, data: bytes, mode: int | None) -> None:
    """A new file on the disk, renamed to the target.

    Where the system can, it gets its name once it is whole. Only where another file has that name, it needs one before,
    for an instant: what a kill between the two leaves behind is all that it can.
    """
    with contextlib.suppress(AttributeError, OSError):  # not every system and disk can; other errors come back below
        descriptor = os.open(os.path.dirname(path), os.O_TMPFILE | os.O_RDWR, 0o666)
        try:
            with open(os.dup(descriptor), "w+b") as file:  # the other one keeps the file when this is closed
                _fill(file, data, mode)
            # With a descriptor Python calls linkat(), which follows the link that stands for the file.
            name = partial(os.link, f"/proc/self/fd/{descriptor}", src_dir_fd=descriptor, follow_symlinks=True)
            try:
                name(target)
            except FileExistsError:
                name(path)
                os.replace(path, target)
        finally:
            os.close(descriptor)
        return
    with contextlib.suppress(FileNotFoundError):  # the error may have been that of closing
        os.unlink(path)
    with open(path, "x+b") as file:
        _fill(file, data, mode)
    os.replace(path, target)


def _fill(file: BinaryIO, data: bytes, mode: int | None) -> None:
    """Write, sync, and read back."""
    if mode is not None:  # before the data, which may be private
        with contextlib.suppress(PermissionError):  # a disk without modes
            os.chmod(file.name, mode)  # which is a descriptor, of a file without a name
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
    with contextlib.suppress(AttributeError, OSError):  # where that can be asked: what is on the disk, not in memory
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    file.seek(0)
    for start in range(0, len(data) + 1, PIECE):
        if file.read(PIECE) != data[start : start + PIECE]:
            raise TincError(f"what was written differs after byte {start}: the disk or its driver is broken")


def _mode_of(path: str) -> int | None:
    """Permission bits of a file, None if there is none yet."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):  # a rename would put a file in the place of a device
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "not a regular file")
    return mode & 0o777


def not_written(path: str | os.PathLike[str], nbytes: int, error: OSError) -> OSError:
    """The error for the user: one line that says how many bytes were needed."""
    reason = error.strerror or str(error)
    return OSError(error.errno, f"cannot save, {nbytes} bytes needed: {reason}", os.fspath(path))


def temporary_name(target: str) -> str:
    """A new name beside a file or folder; says who uses it, so that :func:`sweep` can tell when nobody does."""
    return f"{_stem(target)}{os.getpid()}-{os.urandom(4).hex()}.tinc-tmp"


def sweep(target: str) -> None:
    """Remove what processes that were killed left under a :func:`temporary_name` of this file or folder.

    At worst, where machines share a folder, another one's save to the same name fails, leaving its old file whole.
    """
    if os.name != "posix":  # elsewhere os.kill(pid, 0) is no question but a signal
        return
    folder, stem = os.path.split(_stem(target))
    with contextlib.suppress(OSError):  # a folder may be writable and not listable
        for name in os.listdir(folder):
            match = re.fullmatch(re.escape(stem) + r"([1-9]\d{0,8})-[0-9a-f]{8}\.tinc-tmp", name)
            if match and not _is_alive(int(match[1])):
                remove(os.path.join(folder, name))


def remove(path: str) -> None:
    """A file, or a folder with all that is in it; or nothing, where that cannot be done or nothing is there."""
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(path)


def _stem(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name[:48]}.")  # a file name holds 255 bytes


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)  # or it is somebody else's
    return True
