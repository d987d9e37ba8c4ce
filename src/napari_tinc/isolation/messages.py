"""Messages between two processes over pipes: JSON and raw bytes, into which events and exceptions are packed."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import threading
import traceback
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..decoding.volume import TincVolume
from ..errors import ChildError, TincError
from ..events import Finished, Planned, Preview, Progress
from ..format.details import Details
from ..format.placement import Placement
from ..metrics import Quality

Event = Progress | Preview | Planned | Finished
Frame = tuple[dict[str, Any], bytearray]

LENGTHS = struct.Struct("<IQ")  # the bytes of a frame's JSON, and of what follows it
# Exceptions of other classes arrive as ChildError.
EXCEPTIONS = {kind.__name__: kind for kind in (TincError, MemoryError, ImportError, OSError, TypeError, ValueError)}


class Frames:
    """A connection that carries frames in both directions. Any thread may send, one may receive."""

    def __init__(self, source: IO[bytes], sink: IO[bytes]) -> None:
        self._source, self._sink = source, sink
        self._lock = threading.Lock()

    def send(self, message: Mapping[str, Any], body: Any = b"") -> None:
        """Send a message; OSError if the other end is closed, TypeError for values that JSON cannot hold."""
        text = json.dumps(message, default=_to_json).encode()
        with self._lock:
            if self._sink.closed:
                raise BrokenPipeError
            self._sink.write(LENGTHS.pack(len(text), len(body)) + text)
            self._sink.write(body)
            self._sink.flush()

    def receive(self) -> Frame | None:
        """Wait for the next frame; None at the end."""
        lengths = self._source.read(LENGTHS.size)
        if len(lengths) < LENGTHS.size:
            return None
        n_text, n_body = LENGTHS.unpack(lengths)
        text, body = self._source.read(n_text), bytearray(n_body)
        if len(text) < n_text or self._source.readinto(body) < n_body:  # type: ignore[attr-defined]
            return None
        return json.loads(text), body

    def close(self) -> None:
        """Close both directions."""
        with self._lock:
            for end in (self._source, self._sink):
                with contextlib.suppress(OSError):  # what could not be sent
                    end.close()


def _to_json(value: Any) -> Any:
    """Convert NumPy's numbers, paths and mappings for JSON; TypeError for anything else."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Details | Placement):
        return asdict(value)
    raise TypeError(f"a {type(value).__name__} cannot be handed to another process; expected numbers and texts")


def raw(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the bytes of an array, in C order."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def pack(event: Event) -> tuple[dict[str, Any], Any]:
    """Convert an event to JSON and raw bytes."""
    message = {field.name: getattr(event, field.name) for field in fields(event)}
    body: Any = b""
    if isinstance(event, Preview):
        message["values"], body = [event.values.shape, event.values.dtype.str], raw(event.values)
    elif isinstance(event, Finished):
        message["volume"], body = None, event.volume.parts.data()
        message["quality"] = asdict(event.quality)
    return {"event": type(event).__name__, "fields": message}, body


def unpack(message: Mapping[str, Any], body: bytearray) -> Event:
    """Make the event again that :func:`pack` converted."""
    arguments: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in message["fields"].items()
    }
    match message["event"]:
        case "Preview":
            shape, dtype = arguments["values"]
            return Preview(**arguments | {"values": np.frombuffer(body, dtype).reshape(shape)})
        case "Finished":
            return Finished(
                **arguments | {"volume": TincVolume(bytes(body)), "quality": Quality(**arguments["quality"])}
            )
        case "Planned":
            return Planned(**arguments)
    return Progress(**arguments)


def pack_error(error: Exception) -> dict[str, Any]:
    """Convert the exception that is being handled to JSON."""
    name = next((name for name, kind in EXCEPTIONS.items() if isinstance(error, kind)), "")
    arguments: list[Any] = [str(error)]
    if isinstance(error, OSError) and error.errno is not None:
        arguments = [error.errno, error.strerror, error.filename]
    elif not name:
        first = arguments[0].strip().partition("\n")[0]
        arguments = [f"{type(error).__name__}: {first}" if first else type(error).__name__]
    return {"error": name, "arguments": arguments, "trace": traceback.format_exc()}


def unpack_error(message: Mapping[str, Any]) -> Exception:
    """Make the exception again: of its class if that is in :data:`EXCEPTIONS`, else :class:`ChildError`."""
    error: Exception = EXCEPTIONS.get(message["error"], ChildError)(*message["arguments"])
    error.add_note(f"In the process that compressed:\n{message['trace']}")
    return error
