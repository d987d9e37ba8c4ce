"""What a job keeps in a folder until its file is saved, so that it goes on from there after it was killed.

    KEY-tree-32768-training.state    amid training: parameters, optimiser, rounding, sampler, random numbers
    KEY-tree-32768-result.done       a finished fit, of which a search needs several
    KEY-plain-32768-0.pieces         boxes encoded without networks
    KEY-blocks-DIGEST-000012.block   a finished block

KEY is a hash of all that the bytes of the job's file depend on, the voxels among it, so that nobody goes on from the
work of another job. A file is whole or not there (stores.py), begins with the SHA-256 of its name and the rest, and
holds numbers, text and arrays: nothing in it is ever executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import atomic

FORMAT = 2  # of what is kept; part of every key
CHECKPOINT_SECONDS = 15.0  # between two states of a training
RESULT_SECONDS = 2.0  # of unsaved work, for which a finished result is worth a file
MAGIC = b"tinc-job"
LENGTH = len(MAGIC) + 32

State = dict[str, Any]  # numbers, text, arrays, bytes, and dicts of these


class Journal:
    """Files of one job, or of a part of it; without a folder nothing is ever written, and nothing is there."""

    def __init__(self, folder: Path | None = None, key: str = "") -> None:
        self.folder, self.key = folder, key
        self._saved = [time.monotonic()]  # shared by all parts

    def under(self, name: str) -> Journal:
        """A part of the job."""
        part = Journal(self.folder, f"{self.key}-{name}")
        part._saved = self._saved
        return part

    def is_due(self, seconds: float) -> bool:
        """Whether nothing was saved for so long."""
        return self.folder is not None and time.monotonic() - self._saved[0] >= seconds

    def save(self, name: str, state: State) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(exist_ok=True)
        data = pack(state)
        atomic.save(self._path(name), self._seal(name, data) + data)
        self._saved[0] = time.monotonic()

    def save_result(self, state: State) -> None:
        """What a stage has come to, in place of what it kept on the way; not where doing it again takes no time."""
        if self.is_due(RESULT_SECONDS):
            self.save("result.done", state)
            for path in set(self._files()) - {self._path("result.done")}:
                path.unlink(missing_ok=True)

    def load(self, name: str) -> State | None:
        """What was saved under that name; None where nothing is, or what is there is damaged: to be done anew."""
        if self.folder is None:
            return None
        try:
            stored = self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        data = stored[LENGTH:]
        if stored[:LENGTH] != self._seal(name, data):
            return None
        return unpack(data)

    def kept(self) -> int:
        """Files of this job."""
        return sum(1 for _ in self._files())

    def others(self) -> int:
        """Files of other jobs."""
        return 0 if self.folder is None else len(files(self.folder)) - self.kept()

    def remove(self) -> None:
        """Its own files, what a kill left of one amid being written, and the folder if nothing else is in it."""
        if self.folder is not None:
            for path in (*self._files(), *self.folder.glob(f".{self.key}-*")):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def _files(self) -> list[Path]:
        return [] if self.folder is None else list(self.folder.glob(f"{self.key}-*"))

    def _seal(self, name: str, data: bytes) -> bytes:
        """Of data under that name: under another they are of no use."""
        return MAGIC + hashlib.sha256(self._path(name).name.encode() + b"\0" + data).digest()

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{self.key}-{name}"


class Pieces:
    """Results of a long stage, by name: saved several at a time, so that small ones cost nothing."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: State = {}
        self._fresh: State = {}
        self._batches = 0
        while (batch := journal.load(f"{self._batches}.pieces")) is not None:
            self._known |= batch
            self._batches += 1

    def get(self, name: str) -> State | None:
        return self._known.get(name)

    def put(self, name: str, piece: State) -> None:
        self._fresh[name] = piece
        if self._journal.is_due(CHECKPOINT_SECONDS):
            self._journal.save(f"{self._batches}.pieces", self._fresh)
            self._batches, self._fresh = self._batches + 1, {}


def files(folder: Path) -> list[Path]:
    """What jobs have left there, whole."""
    return [path for path in folder.glob("*-*.*") if not path.name.startswith(".")]


def key_of(*facts: Any) -> str:
    """A hash of what JSON can say, and of bytes."""
    return hashlib.sha256(json.dumps([FORMAT, *facts], default=bytes.hex).encode()).hexdigest()[:16]


def pack(state: State) -> bytes:
    """Arrays and bytes as .npz, the rest as JSON in it."""
    arrays: dict[str, Any] = {}

    def to_json(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: to_json(item) for key, item in value.items()}
        if isinstance(value, bytes | np.ndarray):
            name = str(len(arrays))
            arrays[name] = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
            return {"": name, "bytes": isinstance(value, bytes)}
        return value

    text = json.dumps(to_json(state)).encode()
    file = io.BytesIO()
    np.savez(file, said=np.frombuffer(text, np.uint8), **arrays)
    return file.getvalue()


def unpack(data: bytes) -> State | None:
    """The inverse of :func:`pack`; None where it is no such thing."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:

            def from_json(value: Any) -> Any:
                if not isinstance(value, dict):
                    return value
                if "" in value:
                    array = arrays[value[""]]
                    return array.tobytes() if value["bytes"] else array
                return {key: from_json(item) for key, item in value.items()}

            state = from_json(json.loads(arrays["said"].tobytes()))
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
        return None
    return state if isinstance(state, dict) else None
