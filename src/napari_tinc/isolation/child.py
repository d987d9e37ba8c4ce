"""The process that caller.py starts: python -m napari_tinc.isolation.child. It does one task, received from stdin."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Control
from ..devices import find_devices
from ..encoding.compress import fit
from ..encoding.options import Options
from ..errors import ReadWarning
from ..events import Finished
from ..io.read import read_volumes
from .messages import Event, Frame, Frames, pack, pack_error

FIELDS = ("exact", "importance")  # Options that are arrays, read from the caller as the volume is.
OUT_OF_MEMORY_SCORE = "1000"  # The highest: if memory runs out, Linux ends this process and not another.


def fit_file(path: str, control: Control, options: Options, read: Mapping[str, Any] | None = None) -> Iterator[Event]:
    """Compress an image file, which also gives spacing, units, axes, channels and labels. Yields the events.

    ``read`` has the fields of :class:`~napari_tinc.io.read_options.ReadOptions`.
    """
    image = read_volumes(path, **(read or {}))
    return fit(image.array, options.with_facts(image.options()), control=control)


class _Values:
    """An array of the caller. Indexing it requests the voxels from the caller."""

    def __init__(
        self, frames: Frames, answers: queue.SimpleQueue[Frame], name: str, shape: Sequence[int], dtype: str
    ) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._frames, self._answers, self._name = frames, answers, name

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        place = [[item.start, item.stop, item.step] if isinstance(item, slice) else item for item in index]
        self._frames.send({"read": place, "of": self._name})
        message, body = self._answers.get()
        return np.frombuffer(body, self.dtype).reshape(message["shape"])


def _compress(frames: Frames, task: Mapping[str, Any]) -> None:
    """Do a task of compressing and send its events, while a thread receives what the caller sends."""
    control, saved, answers = Control(), threading.Event(), queue.SimpleQueue[Frame]()
    fields: dict[str, Any] = {name: _Values(frames, answers, name, *given) for name, given in task["fields"].items()}
    options = Options(**task["options"], **fields)
    values: Any = None if "path" in task else _Values(frames, answers, "volume", task["shape"], task["dtype"])

    def listen() -> None:
        while (received := frames.receive()) is not None:
            match received[0].get("set"):
                case None:
                    answers.put(received)
                case "saved":
                    saved.set()
                case name:
                    getattr(control, name).set()
                    if name == "cancel":
                        saved.set()
        os._exit(1)  # the caller is gone

    show = warnings.showwarning

    def warn(message: Warning | str, category: type[Warning], *place: Any, **how: Any) -> None:
        if issubclass(category, ReadWarning):
            frames.send({"warning": str(message)})
        else:
            show(message, category, *place, **how)

    warnings.simplefilter("always", ReadWarning)
    warnings.showwarning = warn
    threading.Thread(target=listen, daemon=True).start()
    if values is None:
        events = fit_file(task["path"], control, options, task["read"])
    else:
        events = fit(values, options, control=control)
    for event in events:
        frames.send(*pack(event))
        if isinstance(event, Finished):  # the caller saves it before blocks that were kept are dropped
            saved.wait()
            if control.cancel.is_set():
                return


def main() -> None:
    """Receive one task, do it, and return when it has ended."""
    frames = Frames(os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:  # what libraries print must not come between
        os.dup2(2, 1)
    except OSError:  # there is no stderr
        os.dup2(nothing, 1)
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text(OUT_OF_MEMORY_SCORE)
    if (received := frames.receive()) is None:
        return
    task, _ = received
    try:
        if "options" in task:
            _compress(frames, task)
        else:
            frames.send({"devices": find_devices()})
    except Exception as error:
        with contextlib.suppress(OSError):  # nobody is there any more
            frames.send(pack_error(error))


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # what torch would tidy up takes longer than anybody wants to wait
