"""Blocks on the workers of a dask.distributed cluster."""

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

POLL_SECONDS, ANSWER_SECONDS = 0.1, 10


def fit_on_cluster(
    scheduler: Any,
    tasks: Sequence[BlockTask],
    pending: Sequence[int],
    settings: Settings,
    span: float,
    share: float,
    control: Control,
) -> Iterator[tuple[int, Block]]:
    """One task a block. A few more are handed out than there are workers, as the voxels may travel with them.

    Workers read Zarr and dask arrays themselves; of others they are sent the voxels. The scheduler gives the block of
    a worker that is lost to another one, and gives it up after four.

    Raises
    ------
    ChildError
        If a block was given up, or the scheduler is gone.
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
        task = tasks[index]
        place = task.source.index(task.volume, task.box)
        array = task.source.array
        arguments = (settings, task.budget, span, share)
        if type(array).__module__.startswith("dask."):
            bare = replace(task.source, array=None)  # what says how to read it, without all of it
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
    try:
        return sum(client.nthreads().values())
    except OSError as error:
        raise ChildError(f"the scheduler is gone: {error}") from error


def _fit_part(
    source: VolumeSource, place: tuple[Any, ...], settings: Settings, budget: int, span: float, share: float
) -> Block:
    return _fit_values(np.asarray(source.array[place]), source, settings, budget, span, share)


def _fit_values(
    values: NDArray[Any], source: VolumeSource, settings: Settings, budget: int, span: float, share: float
) -> Block:
    return fit_block(source.checked(values, finite=settings.bound is None), settings, budget, span, share)
