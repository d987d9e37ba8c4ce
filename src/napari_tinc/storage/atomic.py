"""Files written all or nothing: a new one takes the old one's place in one step."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
from functools import partial
from typing import BinaryIO

from ..errors import TincError

PIECE = 2**20  # bytes compared at a time


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
