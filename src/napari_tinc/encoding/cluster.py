"""Fit blocks on the workers of a dask.distributed cluster."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Control
from ..errors import ChildError
from ..training.task import Settings
from .block import Block, BlockTask, fit_block
from .sources import VolumeSource

POLL_SECONDS = 0.1  # Time between two looks at the workers.
ANSWER_SECONDS = 10  # A scheduler that does not answer for longer is an error.


def fit_on_cluster(
    scheduler: Any,
    tasks: Sequence[BlockTask],
    pending: Sequence[int],
    settings: Settings,
    span: float,
    share: float,
    control: Control,
) -> Iterator[tuple[int, Block]]:
    """Fit blocks on workers, one task each; yield the index of each block and the block, in any order.

    Workers read Zarr and dask arrays themselves; for other arrays they are sent the voxels, so that only a few more
    tasks than workers are handed out at a time. The scheduler gives the block of a lost worker to another one, and
    gives it up after four.

    Raises
    ------
    ChildError
        If a block was given up, or the scheduler is gone.
    ImportError
        If dask.distributed is not installed.
    ValueError
        If no scheduler answers at the address.
    """
    try:
        import distributed
        from dask.delayed import delayed
    except ImportError as error:
        raise ImportError('a scheduler needs dask.distributed: pip install "napari-tinc[distributed]"') from error
    is_address = isinstance(scheduler, str)
    if is_address and not re.fullmatch(r"(\w+://)?.+:\d+", scheduler):
        raise ValueError(f"scheduler is {scheduler!r}, expected an address such as tcp://host:8786")
    try:
        make: Any = distributed.Client
        client = make(scheduler, timeout=ANSWER_SECONDS, set_as_default=False) if is_address else scheduler
    except OSError as error:
        raise ValueError(f"no scheduler answers at {scheduler}: {error}") from error
    waiting = list(reversed(pending))
    running: dict[Any, int] = {}
    ready: Any = distributed.as_completed
    finished = ready(loop=client.loop)

    def submit(index: int) -> Any:
        """Hand out the task of a block."""
        task = tasks[index]
        place = task.source.index(task.volume, task.box)
        array = task.source.array
        arguments = (settings, task.budget, span, share, task.weights())
        if type(array).__module__.startswith("dask."):
            bare = replace(task.source, array=None)  # all about the volume but its voxels
            return client.compute(delayed(_fit_values, pure=False)(array[place], bare, *arguments))
        if getattr(array, "portable", type(array).__module__.startswith("zarr.")):
            return client.submit(_fit_part, task.source, place, *arguments, pure=False)
        return client.submit(fit_block, task.read(settings), *arguments, pure=False)

    try:
        while waiting or running:
            most = 2 * max(1, _n_threads(client))
            while waiting and len(running) < most:
                index = waiting.pop()
                future = submit(index)
                running[future] = index
                finished.add(future)
            if control.cancel.is_set():
                return
            if not finished.has_ready():
                time.sleep(POLL_SECONDS)
                continue
            for future in finished.next_batch(block=False):
                yield running.pop(future), future.result()
    except (distributed.KilledWorker, CancelledError) as error:
        raise ChildError(f"the cluster gave up a block: {error}") from error
    finally:
        if client.status == "running":
            client.cancel(list(running))
        if is_address:
            client.close()


def _n_threads(client: Any) -> int:
    """Return the number of threads of all workers."""
    try:
        return sum(client.nthreads().values())
    except OSError as error:
        raise ChildError(f"the scheduler is gone: {error}") from error


def _fit_part(
    source: VolumeSource, place: tuple[Any, ...], settings: Settings, budget: int, span: float, share: float,
    importance: NDArray[np.float32] | None,
) -> Block:  # fmt: skip
    """Read and fit a block, on a worker."""
    return _fit_values(source.array[place], source, settings, budget, span, share, importance)


def _fit_values(
    values: NDArray[Any], source: VolumeSource, settings: Settings, budget: int, span: float, share: float,
    importance: NDArray[np.float32] | None,
) -> Block:  # fmt: skip
    """Check and fit the voxels of a block, on a worker."""
    values = source.checked(values, finite=settings.bound is None)
    return fit_block(values, settings, budget, span, share, importance)
