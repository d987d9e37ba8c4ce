"""A fit in a process of its own: want of memory, or a crash of torch, ends that process and not the caller's.

    caller                                                     child: python -m napari_tinc.isolation
    fit_isolated(array, ...)  --- shape, dtype, options --->   fit(values, ...)
    array[box]               <--- box ----------------------   values[box]
                              --- its voxels -------------->
    yield event              <--- event --------------------   event
    Control                   --- cancel, stop, look ------>   Control

A fresh interpreter, which never imports the caller's main module: a script needs no guard. What goes over the pipes
is JSON and raw bytes. Voxels are asked for as they are needed, so nothing is copied to a disk, and lazy arrays stay
lazy. The child ends by itself when its input does: with its caller, however that ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .blocks import Planned
from .codec import fit
from .framing import TincError
from .images import read_volumes
from .metrics import Quality
from .pipeline import Finished, Preview
from .sources import Source
from .training import Control, Progress
from .volume import TincVolume

Event = Progress | Preview | Planned | Finished

GRACE_SECONDS = 0.5  # that a child is given to end by itself
POLL_SECONDS, MEMORY_SECONDS = 0.05, 0.5  # between two looks at the control, at the child's memory
LENGTHS = struct.Struct("<IQ")  # of a frame's JSON, of its raw bytes
COMES_BACK = {kind.__name__: kind for kind in (TincError, MemoryError, ImportError, OSError, TypeError, ValueError)}
FIRST_TO_GO = "1000"  # of -1000 to 1000: where memory runs out, Linux is to end the child
SIGKILL, ENDED = 9, ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM")  # by somebody; by other signals it crashed


class ChildError(Exception):
    """The child ended without a result, or raised what has no counterpart here; one line.

    A note has the child's traceback. Never a RuntimeError: see :class:`napari_tinc.plugin.jobs.JobError`.
    """


def fit_isolated(source: ArrayLike | str | os.PathLike[str], *, control: Control | None = None, **options: Any) -> (
    Iterator[Event]
):  # fmt: skip
    """:func:`napari_tinc.fit` in a process of its own, with the same options, events and bytes.

    Costs the start of an interpreter and the import of torch. Where this program's Python cannot be started by itself,
    a warning says so and it is fitted here.

    Parameters
    ----------
    source : array, read here as the child asks for it; or an image file's path, which the child opens, and which says
        spacing, units, axes and channels.
    control : the iteration ends at most a second after ``cancel``.
    scheduler : of the options, an address.

    Raises
    ------
    ValueError, TypeError, TincError, ImportError, OSError, MemoryError
        As the child raised it.
    ChildError
        If the child ended without a result, or raised anything else.
    """
    control = control or Control()
    array = None
    if isinstance(source, str | os.PathLike):
        task: dict[str, Any] = {"path": os.fspath(source)}
    else:
        array = Source.of(source, exact=options.get("max_error") == 0).array
        task = {"shape": list(map(int, array.shape)), "dtype": np.dtype(array.dtype).str}
    python = find_python()
    if python is None:
        warnings.warn(
            f"{sys.executable or 'this program'} is no Python that can be started: compressing in this process",
            RuntimeWarning, stacklevel=2,
        )  # fmt: skip
        return _fit_file(task["path"], control, options) if array is None else fit(array, control=control, **options)
    return _events(python, json.dumps(task | {"options": options}, default=_plain), array, control)


def find_python() -> str | None:
    """What starts a Python like this one; None in a program that has it built in."""
    name = Path(sys.executable or "").name.lower()
    return sys.executable if name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False) else None


def _fit_file(path: str, control: Control, options: Mapping[str, Any]) -> Iterator[Event]:
    image = read_volumes(path)
    return fit(image.array, control=control, **image.options() | dict(options))


# --- both sides ------------------------------------------------------------------------------------------------------


class _Frames:
    """Frames in two directions: JSON, and raw bytes that belong to it. Any thread may send, one receives."""

    def __init__(self, source: IO[bytes], sink: IO[bytes]) -> None:
        self._source, self._sink = source, sink
        self._lock = threading.Lock()

    def send(self, said: str, body: Any = b"") -> None:
        """OSError or ValueError where nobody receives any more."""
        text = said.encode()
        with self._lock:
            self._sink.write(LENGTHS.pack(len(text), len(body)) + text)
            self._sink.write(body)
            self._sink.flush()

    def receive(self) -> tuple[dict[str, Any], bytearray] | None:
        """The next one; None at the end."""
        lengths = self._source.read(LENGTHS.size)
        if len(lengths) < LENGTHS.size:
            return None
        n_text, n_body = LENGTHS.unpack(lengths)
        text, body = self._source.read(n_text), bytearray(n_body)
        if len(text) < n_text or self._source.readinto(body) < n_body:  # type: ignore[attr-defined]
            return None
        return json.loads(text), body

    def close(self) -> None:
        for end in (self._source, self._sink):
            with contextlib.suppress(OSError):  # what could not be sent
                end.close()


def _plain(value: Any) -> Any:
    """What JSON does not know: NumPy's numbers, paths, other mappings."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} cannot be handed to another process; expected numbers and texts")


def _raw(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def _pack(event: Event) -> tuple[str, Any]:
    """JSON and raw bytes of an event."""
    said = {field.name: getattr(event, field.name) for field in fields(event)}
    body: Any = b""
    if isinstance(event, Preview):
        said["values"], body = [event.values.shape, event.values.dtype.str], _raw(event.values)
    elif isinstance(event, Finished):
        said["volume"], body = None, event.volume.parts.data()
        said["quality"] = asdict(event.quality)
    return json.dumps({"event": type(event).__name__, "fields": said}, default=_plain), body


def _unpack(said: Mapping[str, Any], body: bytearray) -> Event:
    found: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in said["fields"].items()
    }
    match said["event"]:
        case "Preview":
            shape, dtype = found["values"]
            return Preview(**found | {"values": np.frombuffer(body, dtype).reshape(shape)})
        case "Finished":
            return Finished(**found | {"volume": TincVolume(bytes(body)), "quality": Quality(**found["quality"])})
        case "Planned":
            return Planned(**found)
    return Progress(**found)


# --- the caller's side -----------------------------------------------------------------------------------------------


def _events(python: str, task: str, array: Any, control: Control) -> Iterator[Event]:
    child = _start(python)
    assert child.stdin and child.stdout
    frames = _Frames(child.stdout, child.stdin)
    arrived: queue.SimpleQueue[tuple[dict[str, Any], bytearray] | Exception | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_serve, args=(frames, array, arrived), name="tinc-child", daemon=True)
    reader.start()

    def tell(said: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # it is gone, as the end of what it says will tell
            frames.send(said)

    finished = stopped = False
    memory = looked = 0.0
    try:
        tell(task)
        while not control.cancel.is_set():
            if control.stop.is_set() and not stopped:
                stopped = True
                tell('{"set": "stop"}')
            if control.look.is_set():
                control.look.clear()
                tell('{"set": "look"}')
            if time.monotonic() - looked > MEMORY_SECONDS:
                looked, memory = time.monotonic(), max(memory, _memory(child.pid))
            try:
                found = arrived.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(found, Exception):
                raise found
            if found is None:
                break
            event = _unpack(*found)
            yield event
            if isinstance(event, Finished):  # and saved by now, where who asked for it does that before going on
                finished = True
                tell('{"set": "saved"}')
    finally:
        _end(child, tell)
        reader.join(GRACE_SECONDS / 2)  # not for ever: it may be reading a slow array
    if not finished and not control.cancel.is_set():
        raise ChildError(_cause(child.wait(), memory))


def _start(python: str) -> subprocess.Popen[bytes]:
    """A child that is not interrupted by Ctrl-C, which is its caller's to answer.

    It finds modules where this process does, and not in its working directory (-P).
    """
    places = os.pathsep.join(place or os.getcwd() for place in sys.path)
    mask = getattr(signal, "pthread_sigmask", None)
    before = mask(signal.SIG_BLOCK, {signal.SIGINT}) if mask else None  # which the child inherits
    try:
        return subprocess.Popen(
            [python, "-P", "-m", "napari_tinc.isolation"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": places},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )  # fmt: skip
    finally:
        if mask:
            mask(signal.SIG_SETMASK, before)


def _serve(frames: _Frames, array: Any, arrived: queue.SimpleQueue[Any]) -> None:
    """Answer what the child asks, hand on what it tells; an exception or None is the last."""
    last = None
    try:
        while (found := frames.receive()) is not None:
            said, _ = found
            if "read" in said:
                index = tuple(slice(*item) if isinstance(item, list) else item for item in said["read"])
                values = np.asarray(array[index]).astype(array.dtype, copy=False)
                with contextlib.suppress(OSError, ValueError):
                    frames.send(json.dumps({"shape": values.shape}), _raw(values))
            elif "error" in said:
                last = _error(**said)
            else:
                arrived.put(found)
    except Exception as error:  # of the array: it goes to who iterates
        last = error
    finally:
        arrived.put(last)
        frames.close()


def _memory(pid: int) -> int:
    """Bytes of main memory that a process uses; 0 if it is gone."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _end(child: subprocess.Popen[bytes], tell: Any) -> None:
    """Ask it to end, and kill it if it does not."""
    killer = threading.Timer(GRACE_SECONDS, child.kill)
    killer.start()
    tell('{"set": "cancel"}')
    with contextlib.suppress(subprocess.TimeoutExpired):  # in the midst of a system call that cannot be interrupted
        child.wait(1.5 * GRACE_SECONDS)
    killer.cancel()


def _error(error: str, arguments: list[Any], trace: str) -> Exception:
    """The exception of the child, of the kind it had there."""
    found: Exception = COMES_BACK.get(error, ChildError)(*arguments)
    found.add_note(f"In the process that compressed:\n{trace}")
    return found


def _cause(code: int, memory: float) -> str:
    """Why a child may have ended that had not finished."""
    if code == -SIGKILL:
        used = f": it used {memory / 1e9:.1f} GB or more" if memory else ""
        return f"compression was killed by the system (SIGKILL), most likely for want of memory{used}"
    if code < 0:
        known = {number.value: number.name for number in signal.Signals}
        name = known.get(-code, f"signal {-code}")
        return f"the compression process {'was ended' if name in ENDED else 'crashed'} ({name})"
    number = f"{code:#x}" if code > 255 else code  # Windows tells crashes so
    return f"the compression process ended without a result (exit code {number})"


# --- the child's side ------------------------------------------------------------------------------------------------


class _Values:
    """The caller's array: what it is indexed for is asked for."""

    def __init__(self, frames: _Frames, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        self.answers: queue.SimpleQueue[tuple[dict[str, Any], bytearray]] = queue.SimpleQueue()
        self._frames = frames

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        items = [[item.start, item.stop, item.step] if isinstance(item, slice) else item for item in index]
        self._frames.send(json.dumps({"read": items}, default=_plain))
        said, body = self.answers.get()
        return np.frombuffer(body, self.dtype).reshape(said["shape"])


def main() -> None:
    """Do the one task that comes over stdin; returns when it is done, however it ended."""
    frames = _Frames(os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:  # what libraries print must not come between
        os.dup2(2, 1)
    except OSError:  # there is no stderr
        os.dup2(nothing, 1)
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
    received = frames.receive()
    if received is None:
        return
    task, _ = received
    control, saved = Control(), threading.Event()
    values: Any = None if "path" in task else _Values(frames, tuple(task["shape"]), np.dtype(task["dtype"]))

    def listen() -> None:
        while (found := frames.receive()) is not None:
            match found[0].get("set"):
                case None:
                    values.answers.put(found)
                case "saved":
                    saved.set()
                case "cancel":
                    control.cancel.set()
                    saved.set()
                case name:
                    getattr(control, name).set()
        os._exit(1)  # the caller is gone

    threading.Thread(target=listen, daemon=True).start()
    try:
        if values is None:
            events = _fit_file(task["path"], control, task["options"])
        else:
            events = fit(values, control=control, **task["options"])
        for event in events:
            frames.send(*_pack(event))
            if isinstance(event, Finished):
                saved.wait()
                if control.cancel.is_set():
                    return
    except Exception as error:
        name = next((name for name, kind in COMES_BACK.items() if isinstance(error, kind)), "")
        arguments: list[Any] = [str(error)]
        if isinstance(error, OSError) and error.errno is not None:
            arguments = [error.errno, error.strerror, error.filename]
        elif not name:
            arguments = [f"{type(error).__name__}: {arguments[0]}".partition("\n")[0].rstrip(": ")]
        said = {"error": name, "arguments": arguments, "trace": traceback.format_exc()}
        with contextlib.suppress(OSError):
            frames.send(json.dumps(said, default=str))


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # what torch would tidy up takes longer than anybody wants to wait
