"""Atomic writes: a new file replaces the old one in one step, or the old one stays."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from functools import partial
from typing import BinaryIO

from ..errors import TincError

COMPARED_BYTES = 2**20  # A file that was written is read back and compared in pieces of so many bytes.


def save(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that at any moment, power cuts included, ``path`` is the complete old or the complete new file.

    A temporary file beside it is written, synced, read back and verified, then renamed. The file keeps the mode it
    had; a new one gets what the umask allows. Links are followed.

    Raises
    ------
    OSError
        If it cannot be written; the message says how many bytes were needed. The old file is unchanged.
    TincError
        If the bytes read back differ from those written. The old file is unchanged.
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
    """Write a new file and rename it to the target.

    Where the system allows it, the file has no name until it is complete. Only if the target exists, it is named
    ``path`` for an instant before it replaces that file: a kill just then leaves a file of that name.
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
    """Write data to an open file, sync it to the disk, read it back and compare."""
    if mode is not None:  # before the data, which may be private
        with contextlib.suppress(PermissionError):  # a disk without modes
            os.chmod(file.name, mode)  # which is a descriptor, of a file without a name
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
    with contextlib.suppress(AttributeError, OSError):  # where that can be asked: what is on the disk, not in memory
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    file.seek(0)
    for start in range(0, len(data) + 1, COMPARED_BYTES):
        if file.read(COMPARED_BYTES) != data[start : start + COMPARED_BYTES]:
            raise TincError(f"what was written differs after byte {start}: the disk or its driver is broken")


def _mode_of(path: str) -> int | None:
    """Return the permission bits of a file, None if it does not exist."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):  # a rename would put a file in the place of a device
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "not a regular file")
    return mode & 0o777


def not_written(path: str | os.PathLike[str], nbytes: int, error: OSError) -> OSError:
    """Make the error for the user: one line that says how many bytes were needed."""
    reason = error.strerror or str(error)
    return OSError(error.errno, f"cannot save, {nbytes} bytes needed: {reason}", os.fspath(path))


def temporary_name(target: str) -> str:
    """Make up a name beside a file or folder. It has the process id, by which :func:`sweep` knows what can go."""
    return f"{_stem(target)}{os.getpid()}-{os.urandom(4).hex()}.tinc-tmp"


def sweep(target: str) -> None:
    """Remove the temporary files of this file or folder whose processes were killed.

    If several machines share the folder, this can remove a file that another machine is writing. Its save then fails,
    and its old file stays.
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
    """Delete a file, or a folder and its contents. What cannot be deleted stays, without an error."""
    if os.path.isdir(path):
        import shutil  # slow to import, which who opens a file need not wait for

        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(path)


def _stem(target: str) -> str:
    """Return the first part of the temporary names of a file: its own name, hidden by a dot."""
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name[:48]}.")  # a file name holds 255 bytes


def _is_alive(pid: int) -> bool:
    """Tell whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)  # or it is somebody else's
    return True
