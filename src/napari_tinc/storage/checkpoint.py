"""Checkpoints of a job: files in a folder from which it resumes after it was killed, until its result is saved.

    KEY-tree-32768-training.state    amid training: parameters, optimiser, rounding, sampler, random numbers
    KEY-tree-32768-result.done       a finished fit, of which a search needs several
    KEY-plain-32768-0.pieces         boxes encoded without networks
    KEY-blocks-DIGEST-000012.block   a finished block

KEY is a hash of everything that the job's result depends on, voxels included, so that no job resumes from the work of
another. Files are written atomically (atomic.py). Each begins with the SHA-256 of its name and contents, and holds
numbers, text and arrays: nothing in it is ever executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import threading
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import atomic

FORMAT = 2  # Raise it when states change: checkpoints of another format are then ignored, as it is part of every key.
CHECKPOINT_SECONDS = 15.0  # The state of a training is saved so often: a kill loses no more work than that.
RESULT_SECONDS = 2.0  # A finished result is saved only if so much work would otherwise be lost.
MAGIC = b"tinc-job"  # the first bytes of every checkpoint
SEAL_BYTES = len(MAGIC) + 32  # MAGIC and a SHA-256

State = dict[str, Any]  # numbers, text, arrays, bytes, and dicts of these


class Journal:
    """The checkpoints of one job, or of a part of it. Without a folder nothing is saved and nothing is loaded."""

    def __init__(self, folder: Path | None = None, key: str = "") -> None:
        self.folder, self.key = folder, key
        self._saved = [time.monotonic()]  # shared by parts that follow each other

    def under(self, name: str, *, own_pace: bool = False) -> Journal:
        """Return the checkpoints of a part of the job.

        One that is done beside others has its own pace: what they save does not count for when it is due.
        """
        part = Journal(self.folder, f"{self.key}-{name}")
        if not own_pace:
            part._saved = self._saved
        return part

    def is_due(self, seconds: float) -> bool:
        """Tell whether nothing has been saved for so many seconds."""
        return self.folder is not None and time.monotonic() - self._saved[0] >= seconds

    def save(self, name: str, state: State) -> None:
        """Save a state under a name, in place of an older one."""
        if self.folder is None:
            return
        self.folder.mkdir(exist_ok=True)
        data = pack(state)
        atomic.save(self._path(name), self._seal(name, data) + data)
        self._saved[0] = time.monotonic()

    def save_result(self, state: State) -> None:
        """Save the result of a stage and delete its intermediate states, unless repeating the stage takes no time."""
        if self.is_due(RESULT_SECONDS):
            self.save("result.done", state)
            for path in set(self._files()) - {self._path("result.done")}:
                path.unlink(missing_ok=True)

    def load(self, name: str) -> State | None:
        """Return the state saved under a name; None if there is none, or it is damaged."""
        if self.folder is None:
            return None
        try:
            stored = self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        data = stored[SEAL_BYTES:]
        if stored[:SEAL_BYTES] != self._seal(name, data):
            return None
        return unpack(data)

    def kept(self) -> int:
        """Count the files of this job."""
        return sum(1 for _ in self._files())

    def others(self) -> int:
        """Count the files of other jobs in the folder."""
        return 0 if self.folder is None else len(files(self.folder)) - self.kept()

    def remove(self) -> None:
        """Delete the files of this job, unfinished ones included, and the folder if it is then empty."""
        if self.folder is not None:
            for path in (*self._files(), *self.folder.glob(f".{self.key}-*")):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def _files(self) -> list[Path]:
        return [] if self.folder is None else list(self.folder.glob(f"{self.key}-*"))

    def _seal(self, name: str, data: bytes) -> bytes:
        """Hash data together with its name, so that a renamed file is not mistaken for another."""
        return MAGIC + hashlib.sha256(self._path(name).name.encode() + b"\0" + data).digest()

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{self.key}-{name}"


class Pieces:
    """Results of a long stage, by name. They are saved several at a time, so that small ones take no time.

    Any number of threads may use it.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: State = {}
        self._fresh: State = {}
        self._batches = 0
        self._lock = threading.Lock()
        while (batch := journal.load(f"{self._batches}.pieces")) is not None:
            self._known |= batch
            self._batches += 1

    def get(self, name: str) -> State | None:
        """Return a result of an earlier run, None if it has to be computed."""
        return self._known.get(name)

    def put(self, name: str, piece: State) -> None:
        """Add a result."""
        with self._lock:
            self._fresh[name] = piece
            if self._journal.is_due(CHECKPOINT_SECONDS):
                self._journal.save(f"{self._batches}.pieces", self._fresh)
                self._batches, self._fresh = self._batches + 1, {}


def files(folder: Path) -> list[Path]:
    """List the complete checkpoints in a folder, of all jobs."""
    return [path for path in folder.glob("*-*.*") if not path.name.startswith(".")]


def key_of(*facts: Any) -> str:
    """Hash values that JSON can hold, and bytes, to 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps([FORMAT, *facts], default=bytes.hex).encode()).hexdigest()[:16]


def pack(state: State) -> bytes:
    """Encode a state: arrays and bytes as .npz, everything else as JSON in it."""
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
    """Decode what :func:`pack` made; None if data is anything else."""
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
