"""Search for the smallest file with a PSNR: fits of several sizes, until one has it and hardly more."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

from ..errors import NotWithNetworks
from ..events import Finished, Preview, Progress
from ..training.costs import pace, with_later_stages
from .block_size import block_tree
from .choice import FitEnd, Fitting, GivenUp, fit_once, reason_without_networks, settled_method
from .job import EncodingJob
from .resources import estimate_blocks
from .stages import run_stage
from .without_networks import NotPredictive, fit_without_networks, usual_seconds

LEAST_RATIO = 8  # No larger file is tried,
LEAST_BYTES = 600  # nor blocks of fewer bytes.
MOST_ATTEMPTS = 6  # After this many fits the best file so far is taken.
NEAR_DB = 0.1  # A file with at most this much more than the wanted PSNR ends the search.
SAME_SIZE = 0.01  # Sizes whose log2 differs by less count as the same,
RETRY_STEP = 0.25  # and instead of trying one again, the search goes on by this.
PILOT_SHARE = 0.15  # The first fit takes this share of the preset's steps, only to tell where to begin.
PILOT_LOSS_DB = 1.5  # A whole fit is better than that one by this much.
USUAL_FITS = 2  # Whole fits that a search usually takes.
DB_PER_DOUBLING = 3.0  # Twice the bytes give about this much.


def reach_psnr(job: EncodingJob, wanted: float) -> Iterator[Progress | Preview | Finished]:
    """Make the smallest file found with a PSNR, by the job's method.

    If both methods are possible, a file without networks comes first. The size of networks is searched only if they are
    better in as many bytes.
    """
    method = settled_method(job, LEAST_RATIO)
    if method == "predictive":
        yield from fit_without_networks(job, wanted=wanted)
        return
    began = time.perf_counter()
    predictive: Finished | None = None
    if method == "auto":
        predictive = yield from _without_networks(job, wanted)
    if not job.control.cancel.is_set():
        for event in _search(job, wanted, predictive, began):
            yield replace(event, seconds=time.perf_counter() - began) if isinstance(event, Finished) else event


def _without_networks(job: EncodingJob, wanted: float) -> Generator[Progress | Preview, None, Finished | None]:
    """Make a file with the predictive coder; None if it cannot be made."""
    began, usual = time.perf_counter(), usual_seconds(job)
    one_fit = estimate_blocks(job.source, job.source.nbytes // 64, job.settings, job.edge).seconds

    def adjust(event: Progress) -> Progress:
        """Add the usual time of a fit of networks, which may follow."""
        return with_later_stages(event, began, pace(event, usual) * one_fit)

    with suppress(NotPredictive):
        return (yield from run_stage(fit_without_networks(job, wanted=wanted), adjust))
    return None


def _search(
    job: EncodingJob, wanted: float, predictive: Finished | None, began: float
) -> Iterator[Progress | Preview | Finished]:
    """Fit networks of several sizes; ``predictive`` is the file without networks to compare with, if there is one.

    PSNR is assumed to be linear in log2(bytes) between the fits nearest to the wanted one.
    """
    raw, control, best = job.source.nbytes, job.control, predictive
    given_up: GivenUp | None = None
    tried: list[tuple[float, float]] = []  # log2(bytes), PSNR of whole fits
    n_blocks = job.source.n_volumes * len(block_tree(job.source, LEAST_BYTES, job.settings, job.edge).leaves)
    least = math.log2(LEAST_BYTES * n_blocks)
    most = max(least, math.log2(raw / LEAST_RATIO))
    size = min(most, max(least, math.log2(best.volume.nbytes_compressed if best else raw / 64)))

    def adjust(event: Progress, attempt: int, is_pilot: bool) -> Progress:
        """Add the usual time of the fits that follow."""
        whole = (event.seconds + event.seconds_left) / (PILOT_SHARE if is_pilot else 1)
        ahead = USUAL_FITS if is_pilot else max(0, USUAL_FITS - 1 - len(tried))
        return with_later_stages(replace(event, attempt=attempt), began, ahead * whole)

    for attempt in range(1, MOST_ATTEMPTS + 1):
        if best and (control.stop.is_set() or math.isinf(best.quality.psnr)):
            break
        pilot = attempt == 1 and not predictive
        enough = wanted if predictive and not tried else -math.inf  # only then there is a file to compare with
        end: FitEnd = None
        try:
            events = fit_once(job, round(2**size), PILOT_SHARE if pilot else 1.0, enough)
            fitting: Fitting = run_stage(events, partial(adjust, attempt=attempt, is_pilot=pilot))
            end = yield from fitting
        except NotWithNetworks:
            if best is None:
                raise
        if control.cancel.is_set():
            return
        if not isinstance(end, Finished):
            given_up = end
            break  # given up, or too small for networks
        finished = end
        reached = finished.quality.psnr
        if reached >= wanted and (best is None or finished.volume.nbytes_compressed < best.volume.nbytes_compressed):
            best = finished
        if control.stop.is_set() or 0 <= reached - wanted <= NEAR_DB or math.isinf(reached):
            best = best or finished
            break
        if pilot:
            size += (wanted - reached - PILOT_LOSS_DB) / DB_PER_DOUBLING
        else:
            tried.append((size, reached))
            if predictive and len(tried) == 1 and reached < wanted:
                break  # more bytes than without networks
            if (size >= most and reached < wanted) or (size <= least and reached >= wanted):
                break
            size = _size_for(wanted + NEAR_DB / 2, tried)
        size = min(most, max(least, size))
    if best is None:
        size, reached = max(tried)
        raise ValueError(
            f"a PSNR of {wanted:g} dB was not reached: {reached:.2f} dB in {round(2**size)} bytes, a ratio of "
            f"{raw / 2**size:.3g}"
        )
    yield replace(best, reason=_reason(best, predictive, given_up, tried))


def _reason(
    best: Finished, predictive: Finished | None, given_up: GivenUp | None, tried: list[tuple[float, float]]
) -> str:
    """Return why the file was chosen, if there is one by each method."""
    if predictive is None or math.isinf(predictive.quality.psnr):
        return ""
    if best is not predictive:
        return f"the predictive coder needs {predictive.volume.nbytes_compressed:,} bytes"
    if given_up or not tried:
        return reason_without_networks(given_up)
    return f"networks reach {max(reached for _, reached in tried):.1f} dB in as many bytes"


def _size_for(wanted: float, tried: list[tuple[float, float]]) -> float:
    """Return log2(bytes) for a PSNR, from the two fits nearest to it, or from one and the usual slope.

    Larger fits are not always better. A size that was tried already is left for one beyond all that were too small, or
    for a smaller one than any that was enough.
    """
    (size, reached), *others = sorted(tried, key=lambda fit: abs(fit[1] - wanted))
    slope = DB_PER_DOUBLING
    if others and abs(size - others[0][0]) > 1e-3:
        slope = min(8.0, max(1.0, (reached - others[0][1]) / (size - others[0][0])))
    size += (wanted - reached) / slope
    if any(abs(size - other) < SAME_SIZE for other, _ in tried):
        enough = [other for other, found in tried if found >= wanted]
        size = min(enough) - RETRY_STEP if enough else max(other for other, _ in tried) + RETRY_STEP
    return size
