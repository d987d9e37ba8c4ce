"""One block: its task, its compression by a function of nothing but its voxels and settings, its place in a folder."""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import metrics, residual, storage
from .exact import Exact, checksum, violations
from .framing import TincError
from .mosaic import Payload
from .pipeline import Finished, Preview, Settings, Task, make_header, run
from .sources import Source
from .training import Control, Mark, Progress
from .tree import Tree


@dataclass(frozen=True, slots=True)
class Block:
    """A finished block: its bytes, and its errors in data units; SSIM by the range of the whole volume.

    ``crc`` is that of the decoded values where the bytes are a residual, None where they are a tree of networks.
    """

    data: bytes
    rmse: float
    max_error: float
    ssim: float
    crc: int | None = None

    FIGURES = struct.Struct("<3dBI")

    def pack(self) -> bytes:
        return self.FIGURES.pack(self.rmse, self.max_error, self.ssim, self.crc is not None, self.crc or 0) + self.data

    @classmethod
    def parse(cls, data: bytes) -> Block:
        rmse, max_error, ssim, is_residual, crc = cls.FIGURES.unpack_from(data)
        return cls(data[cls.FIGURES.size :], rmse, max_error, ssim, crc if is_residual else None)

    @property
    def payload(self) -> Payload:
        return Payload(self.data, self.crc)

    def part(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tree | Exact:
        """What decodes it."""
        return Tree(self.data) if self.crc is None else Exact(self.data, shape, dtype, self.crc)


@dataclass(frozen=True, slots=True, eq=False)
class BlockTask:
    """A box of a source, and the bytes it may become where no bound is set."""

    source: Source
    volume: int
    box: tuple[slice, ...]
    budget: int

    @property
    def voxels(self) -> int:
        return math.prod(self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(part.stop - part.start for part in self.box)

    def read(self, settings: Settings) -> NDArray[Any]:
        return self.source.read(self.volume, self.box, finite=settings.bound is None)


def fit_block(values: NDArray[Any], settings: Settings, budget: int, span: float | None, share: float) -> Block:
    """One block from its voxels; a function of its arguments alone, so that any machine may do it."""
    for event in fit_events(values, settings, budget, span, share, Control()):
        if isinstance(event, Block):
            return event
    raise AssertionError("a fit that nobody cancelled ends with a block")


def fit_events(
    values: NDArray[Any], settings: Settings, budget: int, span: float | None, share: float, control: Control
) -> Iterator[Progress | Preview | Block]:
    """The same as a generator, which ends without a block where it is cancelled."""
    values = np.ascontiguousarray(values)
    if settings.bound is not None:
        yield code_block(values, settings.bound, span)
        return
    task = Task(values, make_header(values, settings.form), budget, settings, control=control, span=span, inner=True)
    for event in run(task, share):
        if isinstance(event, Finished):
            found = event.quality
            yield Block(event.volume.parts.data(), found.rmse, found.max_error, found.ssim)
        elif not isinstance(event, Mark):
            yield event


def code_block(values: NDArray[Any], bound: float, span: float | None) -> Block:
    """A block without networks, every voxel within ``bound``, which is checked on what a reader will decode."""
    return coded_block(residual.encode(values, bound), values, bound, span)


def coded_block(data: bytes, values: NDArray[Any], bound: float, span: float | None) -> Block:
    """A block around what residual.py made of its values."""
    decoded = residual.decode(data, values.shape, values.dtype)
    wrong = violations(values, decoded, bound)
    if wrong:
        raise AssertionError(f"{wrong} voxels are further than {bound} from the original: nothing is written")
    finite = np.isfinite(values)
    if finite.all():
        rmse, largest = metrics.rmse_and_largest(values, decoded)
        similarity = 1.0 if rmse == 0 or not span else metrics.ssim(values, decoded, span)
    else:
        kept = np.where(finite, values, 0)[None], np.where(finite, decoded, 0)[None]
        rmse, largest = metrics.rmse_and_largest(*kept)
        similarity = 1.0 if rmse == 0 else math.nan
    return Block(data, rmse, largest, similarity, checksum(decoded))


class Journal:
    """Finished blocks in a folder, each a file that is whole or not there."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key
        folder.mkdir(exist_ok=True)

    def path(self, index: int) -> Path:
        return self.folder / f"{self.key}-{index:06d}.block"

    def read(self, index: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Block | None:
        try:
            block = Block.parse(self.path(index).read_bytes())
            block.part(shape, dtype).verify()
        except (FileNotFoundError, struct.error, TincError):
            return None  # to be fitted anew
        return block

    def write(self, index: int, block: Block) -> None:
        storage.save(self.path(index), block.pack())

    def remove(self) -> None:
        """Its own files, and the folder if nothing else is in it."""
        for path in self.folder.glob(f"{self.key}-*.block"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
