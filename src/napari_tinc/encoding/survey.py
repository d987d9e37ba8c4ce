"""One pass over all voxels, block by block, for the range, the detail of each block, and the overview."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Control
from ..errors import NotWithNetworks
from ..events import Progress
from ..format.quality import span_of
from ..octree import Octree, box_slices
from .sources import VolumeSource

DETAIL_EDGE = 8  # Voxels along the cells within which the detail of a block is measured.

LEAST_BLOCK = 450  # A block gets at least this many bytes: a network of a few weights takes them.
LEAST_FLAT = 120  # A constant block gets this many bytes.


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """The results of one pass over all voxels.

    Attributes
    ----------
    low, high : smallest and largest finite value of every block, (n_volumes, n_blocks); for a block without any, the
        smallest of all.
    detail : root of the sum of squared differences from the means of small cells, for every block.
    overview : mean of every cell, float64 (n_volumes, z, y, x); None if there is no overview.
    digest : a hash of all values, if it was asked for.
    """

    low: NDArray[Any]
    high: NDArray[Any]
    detail: NDArray[np.float64]
    overview: NDArray[np.float64] | None
    digest: str = ""

    def weighed(self, importance: NDArray[np.float64]) -> Survey:
        """Return the same survey, with the detail of each block times the root of its importance, (..., n_blocks)."""
        return replace(self, detail=self.detail * np.sqrt(importance))


def survey(
    source: VolumeSource,
    tree: Octree,
    edge: int,
    control: Control,
    *,
    finite: bool = True,
    detailed: bool = True,
    labels: bool = False,
    hashed: bool = True,
) -> Iterator[Progress | Survey]:
    """Read every block once. No :class:`Survey` comes if it is cancelled.

    Parameters
    ----------
    tree : its leaves are the blocks.
    edge : voxels along a cell of the overview; 0 for none.
    finite : whether a value that is not finite is refused.
    detailed : whether the details of blocks are wanted, which bytes are shared by; else they are 0.
    labels : whether values are labels. The overview then has the label in the middle of each cell, instead of a mean.
    hashed : whether the hash of all values is wanted; else it is the same for all volumes.

    Raises
    ------
    NotWithNetworks
        If the values span more than the largest floating-point number.
    """
    began = time.perf_counter()
    shape = source.n_volumes, len(tree.leaves)
    low, high, detail = np.zeros(shape, source.dtype), np.zeros(shape, source.dtype), np.zeros(shape)
    sums = [np.zeros([-(-n // edge) for n in source.shape]) for _ in range(source.n_volumes)] if edge else []
    digest = hashlib.blake2b(digest_size=8)
    empty = np.zeros(shape, bool)
    for done, (volume, index) in enumerate(np.ndindex(*shape)):
        if control.cancel.is_set():
            return
        start, stop = tree.start[tree.leaves[index]], tree.stop[tree.leaves[index]]
        values = source.read(volume, box_slices(start, stop), finite=finite)
        if hashed:
            digest.update(values.reshape(-1).view(np.uint8).data)
        known = np.isfinite(values)
        if not known.all():
            empty[volume, index] = not known.any()
            values = np.where(known, values, _mean(values[known])).astype(source.dtype)
        low[volume, index], high[volume, index] = values.min(), values.max()
        if detailed:
            scale = span_of((low[volume, index], high[volume, index])) or 1.0
            detail[volume, index] = min(math.sqrt(detail_of(values, scale)) * scale, 1e300)
        if edge and labels:
            middles = [
                (cell, np.minimum(cell * edge + edge // 2, n - 1))
                for n in source.shape for cell in [np.arange(-(-n // edge))]
            ]  # fmt: skip
            met = [(at >= low_) & (at < high_) for (_, at), low_, high_ in zip(middles, start, stop, strict=True)]
            place = np.ix_(*(cell[inside] for (cell, _), inside in zip(middles, met, strict=True)))
            local = np.ix_(*(at[inside] - low_ for (_, at), inside, low_ in zip(middles, met, start, strict=True)))
            sums[volume][place] = values[local]
        elif edge:
            cells = [np.unique(np.append(low_, np.arange(-(-low_ // edge) * edge, high_, edge)))
                     for low_, high_ in zip(start.tolist(), stop.tolist(), strict=True)]  # fmt: skip
            part = values.astype(np.float64)
            for axis, edges in enumerate(cells):
                with np.errstate(over="ignore", invalid="ignore"):  # of floats near the largest
                    part = np.add.reduceat(part, edges - start[axis], axis=axis)
            sums[volume][tuple(slice(e[0] // edge, e[-1] // edge + 1) for e in cells)] += part
        seconds = time.perf_counter() - began
        n = shape[0] * shape[1]
        yield Progress("reading", done + 1, n, seconds, seconds / (done + 1) * (n - done - 1), math.nan, math.nan, None)
    if finite and not math.isfinite(float(high.max()) - float(low.min())):
        raise NotWithNetworks("volume spans more than the largest floating-point number")
    if not empty.all():
        low[empty] = high[empty] = low[~empty].min()
    overview = None
    if edge:
        sizes = [np.minimum(np.arange(0, n, edge) + edge, n) - np.arange(0, n, edge) for n in source.shape]
        overview = np.stack(sums) / (1 if labels else np.einsum("z,y,x->zyx", *sizes))
    yield Survey(low, high, detail, overview, digest.hexdigest())


@np.errstate(over="ignore", invalid="ignore")  # floats near the largest, and infinite ones
def detail_of(values: NDArray[Any], scale: float) -> float:
    """Return the sum of squared differences from the means of small cells, in units of ``scale``."""
    total = 0.0
    edges = [np.arange(0, n, DETAIL_EDGE) for n in values.shape]
    for first in range(0, len(values), DETAIL_EDGE):
        slab = values[first : first + DETAIL_EDGE].astype(np.float64) / scale
        sums = slab.sum(axis=0, keepdims=True)
        count = np.array(float(len(slab)))
        for axis in (1, 2):
            sums = np.add.reduceat(sums, edges[axis], axis=axis)
            length = np.minimum(DETAIL_EDGE, values.shape[axis] - edges[axis])
            count = count * length.reshape([-1 if a == axis else 1 for a in range(3)])
        total += float(np.square(slab).sum() - (sums**2 / count).sum())
    return max(0.0, total)


def _mean(values: NDArray[Any]) -> float:
    """Return the mean, 0 if there are no values. In units of the largest value, so that no sum is infinite."""
    largest = float(np.abs(values).max(initial=0))
    if not largest:
        return 0.0
    return float(np.clip((values / np.float64(largest)).mean() * largest, values.min(), values.max()))


def bytes_of_blocks(survey: Survey, nbytes: float) -> NDArray[np.int64]:
    """Return the bytes of every block, int64 (n_volumes, n_blocks).

    If twice the bytes halve the squared error D, then D_i = A_i / b_i, and the sum of D_i is least for b_i ~ sqrt(A_i),
    as for any convex D: equal slopes. The root of A_i is assumed to be the block's detail.

    Raises
    ------
    NotWithNetworks
        If the blocks cannot be made so small.
    """
    flat = survey.low == survey.high
    least = np.where(flat, LEAST_FLAT, LEAST_BLOCK)
    spare = nbytes - least.sum()
    if spare < 0:
        raise NotWithNetworks(
            f"{survey.low.size} blocks cannot become {max(0, round(nbytes))} bytes: about {least.sum()} are needed; "
            "ask for a lower ratio, or for larger blocks"
        )
    weight = np.where(flat, 0.0, survey.detail / max(survey.detail.max(), 1e-300))
    total = weight.sum()
    return np.floor(least + (spare * weight / total if total else 0.0)).astype(np.int64)
