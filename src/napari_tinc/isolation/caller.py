"""A fit in a separate process: running out of memory, or a crash of torch, ends that process and not the caller's.

    caller                                                     child: python -m napari_tinc.isolation.child
    fit_isolated(array, ...)  --- shape, dtype, options --->   fit(values, ...)
    array[box]               <--- box ----------------------   values[box]
                              --- its voxels -------------->
    yield event              <--- event --------------------   event
    Control                   --- cancel, stop, look ------>   Control

The child is a fresh interpreter and never imports the caller's main module, so a script needs no ``__main__`` guard.
It requests voxels when it needs them: nothing is copied to a disk, and lazy arrays stay lazy. It ends when its input
ends, so it never outlives its caller.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..control import Control
from ..devices import find_devices
from ..encoding.compress import fit
from ..encoding.options import Options
from ..encoding.regions.fill_search import unmasked
from ..encoding.sources import VolumeSource, plain_values
from ..errors import ChildError, ReadWarning
from ..events import Finished
from .child import FIELDS, fit_file
from .messages import Event, Frame, Frames, raw, unpack, unpack_error

GRACE_SECONDS = 0.5  # A child that was asked to end is killed after so long.
POLL_SECONDS = 0.05  # A cancel, stop or look reaches the child at most so late.
MEMORY_SECONDS = 0.5  # The child's memory is measured so often, for the message if it runs out.
SIGKILL = 9  # A child ended by this signal most likely ran out of memory.
ENDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM")  # By these somebody ended the child; by other signals it crashed.


def fit_isolated(
    source: ArrayLike | str | os.PathLike[str], options: Options | None = None, *, control: Control | None = None,
    read: Mapping[str, Any] | None = None, **keywords: Any,
) -> Iterator[Event]:  # fmt: skip
    """Compress in a separate process: like :func:`napari_tinc.fit`, with the same options, events and bytes.

    It takes a few seconds more, to start an interpreter and import torch. If no Python can be started, as in a program
    that has it built in, a warning says so and this process compresses.

    Parameters
    ----------
    source : array, read by this process when the child needs it; or the path of an image file, opened by the child,
        which also gives spacing, units, axes, channels, and whether it has labels.
    read : how to read a file that leaves room for doubt: ``axes``, ``labels``, ``series``, ``channel``, ``raw``.
    options, keywords : either of them, as for :func:`napari_tinc.fit`. A scheduler is given by its address.
    control : ends it early. The iteration ends at most a second after ``cancel``.

    Yields
    ------
    The events of :func:`napari_tinc.fit`.

    Raises
    ------
    ValueError, TypeError, TincError, ImportError, OSError, MemoryError
        As raised in the child.
    ChildError
        If the child ended without a result, or raised any other exception.
    """
    control, options = control or Control(), Options.of(options, keywords)
    array, fields = None, {name: given for name in FIELDS if (given := getattr(options, name)) is not None}
    fields = {name: given if hasattr(given, "dtype") else np.asarray(given) for name, given in fields.items()}
    if isinstance(source, str | os.PathLike):
        task: dict[str, Any] = {"path": os.fspath(source), "read": dict(read or {})}
    else:
        if not options.labels:
            source, values = unmasked(source, options.fill)
            options = replace(options, fill=values)
        array = VolumeSource.of(source, exact=options.is_lossless).array
        task = {"shape": array.shape, "dtype": np.dtype(array.dtype).str}
    python = find_python()
    if python is not None:
        task["options"] = {name: value for name, value in vars(options).items() if name not in FIELDS}
        task["fields"] = {name: (given.shape, np.dtype(given.dtype).str) for name, given in fields.items()}
        return _events(python, task, {"volume": array, **fields}, control)
    warnings.warn(
        f"{sys.executable or 'this program'} is no Python that can be started: compressing in this process",
        RuntimeWarning, stacklevel=2,
    )  # fmt: skip
    if array is None:
        return fit_file(task["path"], control, options, task["read"])
    return fit(array, options, control=control)


def find_devices_isolated() -> dict[str, str]:
    """Find devices as :func:`~.devices.find_devices` does, without importing torch in this process.

    Raises what :func:`fit_isolated` does.
    """
    python = find_python()
    if python is None:
        return find_devices()
    with _Child(python, {}) as child:
        try:
            ((message, _),) = child.frames(Control())
        except ChildError as error:
            raise ChildError(f"PyTorch cannot be imported: {error}") from None
    return message["devices"]


def find_python() -> str | None:
    """Return the path of this Python's interpreter; None in a program that has Python built in."""
    name = Path(sys.executable or "").name.lower()
    return sys.executable if name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False) else None


def _events(python: str, task: Mapping[str, Any], arrays: Mapping[str, Any], control: Control) -> Iterator[Event]:
    """Yield the events of a task that a child does."""
    with _Child(python, task, arrays) as child:
        for frame in child.frames(control):
            if "warning" in frame[0]:
                warnings.warn(frame[0]["warning"], ReadWarning, stacklevel=2)
                continue
            event = unpack(*frame)
            yield event
            if isinstance(event, Finished):  # and saved by now, where who asked for it does that before going on
                child.tell("saved")


class _Child:
    """A process that does one task. It is ended at the end of a ``with`` block."""

    def __init__(self, python: str, task: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> None:
        self._process = _start(python)
        assert self._process.stdin and self._process.stdout
        self._frames = Frames(self._process.stdout, self._process.stdin)
        self._task, self._arrays = task, arrays or {}
        self._arrived: queue.SimpleQueue[Frame | Exception | None] = queue.SimpleQueue()
        self._server = threading.Thread(target=self._serve, name="tinc-child", daemon=True)
        self._server.start()

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        """Ask the child to end, and kill it if it does not."""
        killer = threading.Timer(GRACE_SECONDS, self._process.kill)  # if it does not even listen
        killer.start()
        self.tell("cancel")
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # in a system call that cannot be interrupted
                self._process.wait(GRACE_SECONDS / 2)
        killer.cancel()
        self._server.join(GRACE_SECONDS / 2)  # not for ever: it may be reading a slow array

    def tell(self, what: str) -> None:
        """Set an event of the child: "cancel", "stop", "look" or "saved"."""
        self._send({"set": what})

    def frames(self, control: Control) -> Iterator[Frame]:
        """Yield what the child sends until it ends or ``control.cancel`` is set; pass on ``stop`` and ``look``.

        Raises
        ------
        Exception
            As raised in the child, or by the array; :class:`ChildError` if the child died.
        """
        self._send(self._task)
        stopped = False
        memory = looked = 0.0
        while not control.cancel.is_set():
            if control.stop.is_set() and not stopped:
                stopped = True
                self.tell("stop")
            if control.look.is_set():
                control.look.clear()
                self.tell("look")
            if time.monotonic() - looked > MEMORY_SECONDS:
                looked, memory = time.monotonic(), max(memory, _memory(self._process.pid))
            try:
                received = self._arrived.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(received, Exception):
                raise received
            if received is not None:
                yield received
            elif code := self._process.wait():
                raise ChildError(cause_of(code, memory))
            else:
                return

    def _send(self, message: Mapping[str, Any]) -> None:
        """Send a message; nothing happens if the child has ended."""
        with contextlib.suppress(OSError):  # it is gone, as the end of what it tells will say
            self._frames.send(message)

    def _serve(self) -> None:
        """Answer the child's requests for voxels and queue its other messages; the last is an exception or None."""
        last = None
        try:
            while (received := self._frames.receive()) is not None:
                message, _ = received
                if "read" in message:
                    index = tuple(slice(*item) if isinstance(item, list) else item for item in message["read"])
                    array = self._arrays[message["of"]]
                    values = plain_values(array[index], np.dtype(array.dtype))
                    with contextlib.suppress(OSError):
                        self._frames.send({"shape": values.shape}, raw(values))
                elif "error" in message:
                    last = unpack_error(message)
                else:
                    self._arrived.put(received)
        except Exception as error:  # of the array: it goes to who iterates
            last = error
        self._arrived.put(last)
        self._frames.close()
        self._process.wait()


def _start(python: str) -> subprocess.Popen[bytes]:
    """Start a child, which ignores Ctrl-C: the caller answers it.

    The child finds modules where this process does, and not in its working directory (-P).
    """
    places = os.pathsep.join(place or os.getcwd() for place in sys.path)
    mask = getattr(signal, "pthread_sigmask", None)
    before = mask(signal.SIG_BLOCK, {signal.SIGINT}) if mask else None  # which the child inherits
    try:
        return subprocess.Popen(
            [python, "-P", "-m", "napari_tinc.isolation.child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": places},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )  # fmt: skip
    finally:
        if mask:
            mask(signal.SIG_SETMASK, before)


def _memory(pid: int) -> int:
    """Return the bytes of main memory that a process uses; 0 if it has ended."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def cause_of(code: int, memory: float) -> str:
    """Say why a child ended with an exit code, after it used so many bytes of memory."""
    if code == -SIGKILL:
        used = f": it used {memory / 1e9:.1f} GB or more" if memory else ""
        return f"compression was killed by the system (SIGKILL), most likely as memory ran out{used}"
    if code < 0:
        known = {number.value: number.name for number in signal.Signals}
        name = known.get(-code, f"signal {-code}")
        return f"the compression process {'was ended' if name in ENDED else 'crashed'} ({name})"
    number = f"{code:#x}" if code > 255 else code  # Windows tells crashes so
    return f"the compression process ended without a result (exit code {number})"
