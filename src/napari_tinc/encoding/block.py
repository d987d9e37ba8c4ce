"""One block: its task, and its compression, which depends on nothing but its voxels and the settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..bounded import box as bounded_box
from ..bounded.background import Background, is_left_by_background
from ..bounded.quantization import distinct
from ..bounded.workers import at_the_same_time, in_threads
from ..control import Check, Control, never
from ..decoding.bounded_box import BoundedBox
from ..decoding.network_box import NetworkBox
from ..differences import checksum, violations
from ..events import Finished, Mark, Preview, Progress
from ..filtering.filter import Finish
from ..format.blocks_file import Payload
from ..storage.checkpoint import Journal, State
from ..training.fit_tree import fit_tree
from ..training.task import Settings, Task, make_header
from .regions.importance import Importance
from .sources import VolumeSource

SAMPLE_VOXELS = 2**16  # About this many voxels tell whether values are repeated.


@dataclass(frozen=True, slots=True)
class Block:
    """A finished block: its bytes and its errors.

    Attributes
    ----------
    data : the bytes, with those of the background if there is one.
    rmse, max_error : errors in units of the data, of the filtered values if there is a filter.
    ssim : by the range of the whole volume.
    measured : voxels that are finite, which the errors are of.
    crc : CRC-32 of the decoded values of the predictive coder, before a filter; None for a tree of networks.
    """

    data: bytes
    rmse: float
    max_error: float
    ssim: float
    measured: int
    crc: int | None = None

    @property
    def squares(self) -> float:
        """Sum of the squared errors; infinite for errors near the largest float."""
        return self.rmse * self.rmse * self.measured

    def state(self) -> State:
        """Return what a journal keeps of the block."""
        return asdict(self)

    @property
    def payload(self) -> Payload:
        """The bytes as a file of blocks stores them."""
        return Payload(self.data, self.crc)

    def decoder(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NetworkBox | BoundedBox:
        """Return what decodes the block."""
        if self.crc is not None:
            return BoundedBox(self.data, shape, dtype, self.crc)
        if not self.payload.has_background:
            return NetworkBox(self.data)
        background = Background.parse(self.data, shape, dtype)
        return NetworkBox(self.data[len(background.data) :], background=background)


@dataclass(frozen=True, slots=True, eq=False)
class BlockTask:
    """A box of a volume that becomes a block.

    Attributes
    ----------
    source : the volume.
    volume : number of the channel or point in time.
    box : voxels along z, y, x.
    budget : largest size in bytes, if there is no bound on the error.
    importance : weights of the squared errors of the volume; None for equal ones.
    """

    source: VolumeSource
    volume: int
    box: tuple[slice, ...]
    budget: int
    importance: Importance | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along z, y, x."""
        return tuple(side.stop - side.start for side in self.box)

    def read(self, settings: Settings) -> NDArray[Any]:
        """Read the voxels. ValueError if there is no bound and a value is not finite."""
        return self.source.read(self.volume, self.box, finite=settings.bound is None)

    def weights(self) -> NDArray[np.float32] | None:
        """Read the weights of the squared errors, of mean 1; None for equal ones."""
        return None if self.importance is None else self.importance.within(self.volume, self.box)


def fit_block(
    values: NDArray[Any], settings: Settings, budget: int, span: float | None, share: float,
    importance: NDArray[np.float32] | None = None,
) -> Block:  # fmt: skip
    """Compress one block. The result depends on the arguments alone, so that any machine may do it.

    Parameters
    ----------
    values : voxels, (z, y, x).
    settings : how to compress.
    budget : largest size in bytes, if there is no bound on the error.
    span : range of the whole volume, which PSNR and SSIM refer to.
    share : share of the preset's steps to train for.
    importance : weights of the squared errors, of mean 1; None for equal ones.
    """
    for event in fit_block_events(values, settings, budget, span, share, Control(), importance=importance):
        if isinstance(event, Block):
            return event
    raise AssertionError("a fit that nobody cancelled ends with a block")


def fit_block_events(
    values: NDArray[Any], settings: Settings, budget: int, span: float | None, share: float, control: Control,
    journal: Journal | None = None, importance: NDArray[np.float32] | None = None, threads: int | None = None,
) -> Iterator[Progress | Preview | Block]:  # fmt: skip
    """Compress one block as :func:`fit_block` does, with events. No :class:`Block` comes if it is cancelled.

    ``threads`` is how many work on a CPU; None for one a core.
    """
    values = np.ascontiguousarray(values)
    if settings.bound is not None:
        with in_threads(threads):
            block = code_block(values, settings.bound, span, control.check)
        yield block
        return
    task = Task(
        values, make_header(values, settings.weights_format), budget, settings, control=control, span=span,
        is_block=True, journal=journal or Journal(), importance=importance, threads=threads,
    )  # fmt: skip
    for event in fit_tree(task, share):
        if isinstance(event, Finished):
            quality = event.quality
            yield Block(event.volume.parts.data(), quality.rmse, quality.max_error, quality.ssim, values.size)
        elif not isinstance(event, Mark):
            yield event


def code_block(values: NDArray[Any], bound: float, span: float | None, check: Check = never) -> Block:
    """Code a block with the predictive coder, every voxel within ``bound``.

    AssertionError if a reader would decode others.
    """
    data, expected = bounded_box.encode_and_decode(values, bound, check=check)
    if bound and values.dtype.kind == "f" and _may_be_smaller_without_loss(values, len(data)):
        without_loss = bounded_box.encode_and_decode(values, 0, check=check)
        data, expected = min((data, expected), without_loss, key=lambda one: len(one[0]))

    (decoded, crc), measured = at_the_same_time(
        lambda: _proved(data, values, bound, check),
        lambda: _measured(values, values if bound == 0 else expected, span, check, threads=1),
    )
    if not np.array_equal(decoded.view(f"u{decoded.itemsize}"), expected.view(f"u{decoded.itemsize}")):
        raise AssertionError("voxels decode to others than the encoder measured: nothing is written")
    return Block(data, *measured, crc)


def _proved(data: bytes, values: NDArray[Any], bound: float, check: Check) -> tuple[NDArray[Any], int]:
    """Decode a block as a reader will; return the voxels, and their CRC-32. AssertionError if one is out of bounds."""
    decoded = bounded_box.decode_box(data, values.shape, values.dtype, check)
    check()
    wrong = violations(values, decoded, bound)
    if wrong:
        raise AssertionError(f"{wrong} voxels are further than {bound} from the original: nothing is written")
    return decoded, checksum(decoded)


def _measured(
    values: NDArray[Any], decoded: NDArray[Any], span: float | None, check: Check, threads: int | None
) -> tuple[float, float, float, int]:
    """Return the errors of a block: RMSE, the largest, SSIM, and how many voxels they are of."""
    rmse, largest = (0.0, 0.0) if decoded is values else metrics.rmse_and_largest(values, decoded)
    similarity = 1.0 if rmse == 0 or not span else metrics.ssim(values, decoded, span, check, threads)
    return rmse, largest, similarity, int(np.isfinite(values).sum())


def _may_be_smaller_without_loss(values: NDArray[Any], nbytes: int) -> bool:
    """Return whether floats may take fewer bytes without loss, since most values occur more than once.

    They take more than a byte for every value that occurs, and about what its bytes take if each place has a code.
    """
    sample = values.ravel()[:: max(1, values.size // SAMPLE_VOXELS)]
    if len(distinct(sample)) > sample.size // 2:
        return False
    occurring = distinct(values.view(f"u{values.dtype.itemsize}"))
    bits = 0.0
    for place in occurring.view(np.uint8).reshape(len(occurring), -1).T:
        counts = np.bincount(place)
        shares = counts[counts > 0] / len(occurring)
        bits -= float((shares * np.log2(shares)).sum())
    return len(occurring) * max(8.0, bits) / 8 < nbytes


def coded_block(
    data: bytes, values: NDArray[Any], bound: float, span: float | None, check: Check = never,
    finish: Finish | None = None,
) -> Block:  # fmt: skip
    """Decode and check the bytes that bounded/box.py made of a block; filter the values, and measure them."""
    decoded, crc = _proved(data, values, bound, check)
    if finish is not None and bounded_box.is_rounded(data):
        filtered = finish(decoded, check)
        is_left = is_left_by_background(data, values.shape, values.dtype)
        decoded = filtered if is_left is None else np.where(is_left, filtered, decoded)
    check()
    return Block(data, *_measured(values, decoded, span, check, threads=None), crc)
