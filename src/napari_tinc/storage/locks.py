"""A lock on a folder, so that one job at a time works in it, across processes."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

Event = TypeVar("Event")
LOCK_NAME = "lock"  # of the file in the folder that is locked


def while_held(folder: str | os.PathLike[str] | None, events: Iterator[Event]) -> Iterator[Event]:
    """Yield the events of a job, with its folder locked until they end. Without a folder nothing is locked.

    Raises
    ------
    BlockingIOError
        At the first event, if another job works there.
    """
    with contextlib.nullcontext() if folder is None else held(folder):
        yield from events


@contextlib.contextmanager
def held(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Create a folder if need be and lock it; at the end unlock it, and delete it if it is empty.

    The system releases the lock when the process dies, so no lock is ever stale. On file systems without locks (those
    of some clusters) nothing is locked.

    Raises
    ------
    BlockingIOError
        If another process has locked it.
    """
    path = Path(folder) / LOCK_NAME
    file = _locked(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while it is ours, so that nobody locks a file that is about to go
        file.close()
        if sys.platform == "win32":  # where what is open cannot be unlinked
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def _locked(path: Path) -> BinaryIO:
    """Create and lock a file; it stays locked while it is open."""
    while True:
        try:
            with contextlib.suppress(FileExistsError):  # mkdir's exist_ok looks twice, and may see it gone
                path.parent.mkdir()
            file = open(path, "a+b")  # noqa: SIM115 - the lock lasts as long as it is open
        except FileNotFoundError:
            if path.parent.parent.is_dir() and not path.parent.is_symlink():  # which would lead nowhere, again
                continue  # the folder's last user has just removed it
            raise
        except NotADirectoryError as error:
            raise NotADirectoryError(error.errno, "it is no folder", str(path.parent)) from None
        try:
            _lock(file)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except BlockingIOError:
            file.close()
            reason = "another process is compressing to it; let it end, or name another file"
            raise BlockingIOError(errno.EWOULDBLOCK, reason, str(path.parent)) from None
        except BaseException:
            file.close()
            raise
        file.close()  # its last user has removed it between our opening and locking it


def _lock(file: BinaryIO) -> None:
    """Lock an open file; BlockingIOError if another process has locked it."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from error
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            raise
