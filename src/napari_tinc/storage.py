"""Reading and writing whole files: a write is all or nothing, whatever happens while it runs."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat

from .container import MAX_FILE, MIN_FILE, TincError, parse, verify


def load(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file whose size a ``.tinc`` file can have, else :class:`TincError`; OSError as ``open``."""
    status = os.stat(path)
    # Opening a folder says what is wrong; opening a pipe would wait for its writer.
    if not stat.S_ISDIR(status.st_mode) and not MIN_FILE <= status.st_size <= MAX_FILE:
        raise TincError(f"file size is {status.st_size}, expected {MIN_FILE} to {MAX_FILE}")
    with open(path, "rb") as file:
        try:
            return file.read(status.st_size)
        except MemoryError:
            raise TincError(f"file is {status.st_size} bytes, expected one that fits in memory") from None


def save(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that at any moment, power cuts included, ``path`` is the whole old or the whole new file.

    A temporary file beside it is written, synced, read back and verified, then renamed. The file keeps the mode it
    had; a new one gets what the umask allows. Links are followed.

    Raises
    ------
    OSError
        If it cannot be written; says how many bytes were needed. The old file is left as it was.
    TincError
        If what was written does not verify. Likewise.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    stem = f".{name[:48]}."  # a file name holds 255 bytes
    temporary = os.path.join(folder, f"{stem}{os.getpid()}-{os.urandom(4).hex()}.tinc-tmp")
    try:
        mode = _mode_of(target)
        with contextlib.suppress(OSError):  # a folder may be writable and not listable
            _sweep(folder, stem)
        try:
            with open(temporary, "xb") as file:
                if mode is not None:  # before the data, which may be private
                    with contextlib.suppress(PermissionError):  # a disk without modes
                        os.chmod(temporary, mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            verify(parse(load(temporary))[1])
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"cannot save, {len(data)} bytes needed: {reason}", os.fspath(path)) from error
    with contextlib.suppress(OSError):  # where a folder cannot be synced, a power cut may bring back the old file
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _mode_of(path: str) -> int | None:
    """Permission bits of a file, None if there is none yet."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):  # a rename would put a file in the place of a device
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "not a regular file")
    return mode & 0o777


def _sweep(folder: str, stem: str) -> None:
    """Remove temporary files that killed processes left behind.

    At worst, where machines share a folder, another one's save to the same name fails, leaving its old file whole.
    """
    if os.name != "posix":  # elsewhere os.kill(pid, 0) is no question but a signal
        return
    for name in os.listdir(folder):
        match = re.fullmatch(re.escape(stem) + r"([1-9]\d{0,8})-[0-9a-f]{8}\.tinc-tmp", name)
        if match is None:
            continue
        try:
            os.kill(int(match[1]), 0)
        except ProcessLookupError:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, name))
        except OSError:
            pass  # alive, and somebody else's
