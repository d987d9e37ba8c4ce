"""Choose between networks and the predictive coder, and say why one was chosen.

method="networks"    one fit, as one tree or in blocks
method="predictive"  the predictive coder, at the bound with which it takes the bytes
method="auto"        the predictive coder's PSNR, measured or estimated from samples; networks, given up as soon
                     as they cannot reach it; the predictive coder if it may still be better
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

from ..control import Control
from ..errors import NotWithNetworks
from ..events import Finished, Mark, Preview, Progress
from ..storage.checkpoint import Journal
from ..training.costs import USUAL_ROUNDS, pace, with_later_stages
from ..training.fit_tree import fit_tree
from ..training.task import Estimate, Settings, Task, make_header
from .block_size import block_tree
from .blocks import run_blocks, usual_block_seconds
from .job import EncodingJob
from .mixed import with_networks
from .resources import estimate_blocks, memory_needed
from .sources import VolumeSource
from .stages import is_hopeless, run_stage
from .without_networks import (
    LARGE_VOLUME,
    N_SAMPLES,
    Forecast,
    NotPredictive,
    fit_without_networks,
    forecast_without_networks,
    is_candidate,
    is_mostly_smooth,
    usual_sample_seconds,
    usual_seconds,
)

SAMPLE_DB = 2.5  # An estimate of the predictive coder's PSNR from samples may be wrong by this much.
USUAL_GAIN_DB = 4.0  # The usual improvement over a whole schedule,
USUAL_RISE_DB = 14.0  # besides that of the first steps,
RISE_STEPS = 100  # which has fallen to a third after this many.
# Up to this many times the ratio at which networks are always better otherwise, a volume that is mostly a smooth
# background may be better without: fluo_neuron_sparse at 1700 has 10 dB more.
SPARSE_FACTOR = 8
FULL_SHARE = 0.9  # A file without networks that leaves more of its bytes unused is not improved block by block.


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The end of a fit of networks that will not reach a PSNR.

    Attributes
    ----------
    done : share of its work, 0 to 1.
    behind : dB that it lacked then.
    """

    done: float
    behind: float


# A stage that runs inside another returns its end; None if it was cancelled.
FitEnd = Finished | GivenUp | None
Fitting = Generator[Progress | Preview, None, FitEnd]
_FileStage = Generator[Progress | Preview, None, Finished | None]


def settled_method(job: EncodingJob, ratio: float) -> str:
    """Return the method that is known before the work; "auto" only if both will be tried."""
    if job.settings.without_networks:
        return "predictive"
    return "auto" if is_candidate(job, ratio) else "networks"


def estimate_fit(source: VolumeSource, nbytes: int, settings: Settings, edge: int | None = None) -> Estimate:
    """Estimate what compressing takes by the method of the settings, without the values.

    Parameters
    ----------
    nbytes : largest size of the file; ignored if the settings have a bound.
    edge : voxels along a block at most; None for what suits size and ratio.

    Raises
    ------
    ValueError
        If the chosen widths do not fit.
    """
    job = EncodingJob(source, {}, [], settings, edge=edge)
    method = settled_method(job, source.nbytes / max(1, nbytes))
    if method == "predictive":
        tree = block_tree(source, nbytes, settings, edge)
        n_blocks, memory = source.n_volumes * len(tree.leaves), memory_needed(tree, source, nbytes, settings)
        seconds = usual_seconds(job) if settings.bound is None else usual_block_seconds(job, tree, nbytes)
        return Estimate(0, (), n_blocks, 0, seconds, n_blocks, memory)
    networks = estimate_blocks(source, nbytes, settings, edge)
    if method == "networks":
        return networks
    samples = USUAL_ROUNDS * N_SAMPLES * source.n_volumes * usual_sample_seconds(job) * (source.size > LARGE_VOLUME)
    return replace(networks, seconds=networks.seconds + samples + usual_seconds(job))


def run_for_size(job: EncodingJob, budget: int) -> Iterator[Progress | Preview | Finished]:
    """Make a file of at most ``budget`` bytes by the job's method, or within the job's bound if it has one."""
    if job.settings.bound is not None:
        return _never_given_up(fit_once(job, budget))
    ratio = job.source.nbytes / budget
    match settled_method(job, ratio):
        case "predictive":
            return fit_without_networks(job, nbytes=budget)
        case "auto":
            return _better_of_both(job, budget)
    if is_candidate(job, ratio / SPARSE_FACTOR) and is_mostly_smooth(job, budget):
        return _better_of_both(job, budget, Forecast("cheap", is_smooth=True))
    return _never_given_up(fit_once(job, budget))


def _better_of_both(
    job: EncodingJob, budget: int, forecast: Forecast | None = None
) -> Iterator[Progress | Preview | Finished]:
    """Make the better of a file with networks and one without. Each is made only if it may be the better one.

    A forecast that is not known yet is made first.
    """
    began = time.perf_counter()
    remaining = _RemainingTime(job, budget, began)
    if job.importance is not None:
        best = yield from _better_by_importance(job, budget, remaining)
        if best is not None:
            yield replace(best, seconds=time.perf_counter() - began)
        return
    if forecast is None:
        forecast = yield from run_stage(forecast_without_networks(job, budget), remaining.while_sampling)
    if forecast is None or job.control.cancel.is_set():
        return
    match forecast.kind:
        case "cheap":
            best = yield from _coder_first(job, budget, remaining, forecast.is_smooth)
        case "sampled":
            best = yield from _networks_first(job, budget, remaining, forecast.psnr)
        case "none":
            best = yield from _networks_alone(job, budget, remaining)
    if best is not None:
        yield replace(best, seconds=time.perf_counter() - began)


def _better_by_importance(job: EncodingJob, budget: int, remaining: _RemainingTime) -> _FileStage:
    """Make a file by each method, and return the one whose weighed errors are smaller."""
    assert job.importance is not None
    predictive = yield from _try_predictive(job, budget, remaining.while_coding_first)
    if job.control.cancel.is_set():
        return None
    networks: Finished | None = None
    with contextlib.suppress(NotWithNetworks):
        networks = yield from _networks_alone(job, budget, remaining)
    if job.control.cancel.is_set() or predictive is None or networks is None:
        return networks or predictive
    behind = job.importance.psnr(job.source, networks.volume) - job.importance.psnr(job.source, predictive.volume)
    which = "the predictive coder was" if behind > 0 else "networks were"
    reason = f"{which} {abs(behind):.1f} dB behind, as importance weighs errors"
    return replace(networks if behind > 0 else predictive, reason=reason)


def _coder_first(job: EncodingJob, budget: int, remaining: _RemainingTime, is_smooth: bool) -> _FileStage:
    """Make a file with the predictive coder, then one with networks, given up as soon as it cannot be better."""
    predictive = yield from _try_predictive(job, budget, remaining.while_coding_first)
    if job.control.cancel.is_set():
        return None
    if predictive is None:
        return (yield from _networks_alone(job, budget, remaining))
    if predictive.quality.rmse == 0:
        return replace(predictive, reason="it keeps every voxel as it was")
    # A bound at which the busy part would become background, too, leaves bytes that networks can use.
    is_full = predictive.volume.nbytes_compressed >= FULL_SHARE * budget and is_candidate(
        job, job.source.nbytes / budget
    )
    if is_full and is_smooth and not job.control.stop.is_set():
        return (yield from run_stage(with_networks(job, budget, predictive), remaining.while_fitting_networks))
    end: FitEnd = None
    with contextlib.suppress(NotWithNetworks):
        fitting: Fitting = run_stage(
            fit_once(job, budget, wanted=predictive.quality.psnr), remaining.while_fitting_networks
        )
        end = yield from fitting
    if job.control.cancel.is_set():
        return None
    return _better_file(job, [predictive, end], predictive, predictive.quality.psnr)


def _networks_first(job: EncodingJob, budget: int, remaining: _RemainingTime, expected: float) -> _FileStage:
    """Fit networks, given up below the PSNR that samples promise of the predictive coder; then maybe run that."""
    control, predictive = job.control, None
    end: FitEnd = None
    with contextlib.suppress(NotWithNetworks):
        adjust = partial(remaining.while_fitting_networks, rival=expected + SAMPLE_DB)
        fitting: Fitting = run_stage(fit_once(job, budget, wanted=expected - SAMPLE_DB), adjust)
        end = yield from fitting
    if control.cancel.is_set():
        return None
    networks = end if isinstance(end, Finished) else None
    if networks is None or (not control.stop.is_set() and expected + SAMPLE_DB > networks.quality.psnr):
        predictive = yield from _try_predictive(job, budget, remaining.while_coding_last)
    if control.cancel.is_set():
        return None
    if predictive is None and networks is None:  # the predictive coder failed after all
        again = replace(job, journal=job.journal.under("again"))  # the first journal has that they were given up
        return (yield from run_stage(_never_given_up(fit_once(again, budget))))
    return _better_file(job, [end, predictive], predictive, expected)


def _networks_alone(job: EncodingJob, budget: int, remaining: _RemainingTime) -> _FileStage:
    """Fit networks, if nothing is to be expected of the predictive coder."""
    made = yield from run_stage(_never_given_up(fit_once(job, budget)), remaining.while_fitting_networks)
    return None if made is None or job.control.cancel.is_set() else _better_file(job, [made], None, -math.inf)


def _better_file(job: EncodingJob, ends: Sequence[FitEnd], predictive: Finished | None, expected: float) -> Finished:
    """Return the better of the files that were made, the first of equals, and why."""
    made = [end for end in ends if isinstance(end, Finished)]
    networks = next((end for end in made if end is not predictive), None)
    given_up = next((end for end in ends if isinstance(end, GivenUp)), None)
    is_cut_short = predictive is not None and job.control.stop.is_set()
    reason = "" if is_cut_short else _reason(predictive, networks, given_up, expected)
    return replace(max(made, key=lambda end: end.quality.psnr), reason=reason)


class _RemainingTime:
    """The seconds left of a job by both methods: those of the stage that runs, and those of the stages after it."""

    def __init__(self, job: EncodingJob, budget: int, began: float) -> None:
        self._began, self._stop = began, job.control.stop
        self._sample, self._predictive = usual_sample_seconds(job), usual_seconds(job)
        self._networks = estimate_blocks(job.source, budget, job.settings, job.edge).seconds
        self._coder_pace = math.nan  # how many times as long as usual the predictive coder takes here

    def while_sampling(self, event: Progress) -> Progress:
        """Adjust the progress of coding samples, before all else."""
        self._coder_pace = event.seconds / (event.step * self._sample)
        return with_later_stages(event, self._began, self._coder_pace * (self._networks + self._predictive))

    def while_coding_first(self, event: Progress) -> Progress:
        """Adjust the progress of the predictive coder, before networks."""
        return with_later_stages(event, self._began, pace(event, self._predictive) * self._networks)

    def while_fitting_networks(self, event: Progress, rival: float = -math.inf) -> Progress:
        """Adjust the progress of networks.

        The predictive coder follows unless they will be better than ``rival`` dB.
        """
        done = event.seconds / (event.seconds + event.seconds_left)
        gain = USUAL_GAIN_DB * (1 - done)
        if event.phase == "training":
            gain += USUAL_RISE_DB * math.exp(-event.step / RISE_STEPS)
        will_be_better = event.psnr + gain > rival
        coder_pace = pace(event, self._networks) if math.isnan(self._coder_pace) else self._coder_pace
        later_seconds = 0.0 if will_be_better or self._stop.is_set() else coder_pace * self._predictive
        return with_later_stages(event, self._began, later_seconds)

    def while_coding_last(self, event: Progress) -> Progress:
        """Adjust the progress of the predictive coder, after networks."""
        return with_later_stages(event, self._began, 0.0)


def _try_predictive(job: EncodingJob, budget: int, adjust: Callable[[Progress], Progress]) -> _FileStage:
    """Make a file without networks; None if it cannot be as small."""
    with contextlib.suppress(NotPredictive):
        return (yield from run_stage(fit_without_networks(job, nbytes=budget), adjust))
    return None


def _reason(predictive: Finished | None, networks: Finished | None, given_up: GivenUp | None, expected: float) -> str:
    """Return why the better of two files is that. ``expected`` is the PSNR of a file without networks, by samples."""
    if networks is None:
        return reason_without_networks(given_up)
    if math.isinf(networks.quality.psnr):
        return ""  # a constant volume: there is nothing to compare
    gain = networks.quality.psnr - (predictive.quality.psnr if predictive else expected)
    if predictive:
        return f"{'the predictive coder was' if gain > 0 else 'networks were'} {abs(gain):.1f} dB behind"
    if gain <= SAMPLE_DB or math.isinf(expected):
        return "the predictive coder cannot make so small a file"
    return f"the predictive coder was {gain:.1f} dB behind in samples of the volume"


def reason_without_networks(given_up: GivenUp | None) -> str:
    """Return why there is no file with networks."""
    if given_up is None:
        return "networks cannot make so small a file"
    return f"networks were given up after {given_up.done:.0%} of their training: {given_up.behind:.1f} dB behind"


def fit_once(
    job: EncodingJob, budget: int, share: float = 1.0, wanted: float = -math.inf
) -> Iterator[Progress | Preview | GivenUp | Finished]:  # fmt: skip
    """Fit networks once, as one tree or in blocks; or code blocks within the job's bound, if it has one.

    Parameters
    ----------
    budget : largest size of the file in bytes.
    share : share of the preset's steps to train for.
    wanted : PSNR in dB; a fit that will not reach it ends with :class:`GivenUp`.
    """
    tree = block_tree(job.source, budget, job.settings, job.edge)
    if len(tree.leaves) > 1 or job.source.leading or job.settings.bound is not None:
        return _unless_hopeless(run_blocks(job, tree, budget, share), wanted, job.control, Journal())
    volume = job.source.read(0, (slice(None),) * 3)
    header = make_header(volume, job.settings.weights_format, **job.facts)
    journal = job.journal.under(f"tree-{budget}-{share}")
    weights = None if job.importance is None else job.importance.within(0, (slice(None),) * 3)
    task = Task(
        volume, header, budget, job.settings, job.extra, job.control, journal=journal, importance=weights
    )  # fmt: skip
    return _unless_hopeless(fit_tree(task, share), wanted, job.control, journal)


def _unless_hopeless(
    events: Generator[Progress | Mark | Preview | Finished], wanted: float, control: Control, journal: Journal
) -> Iterator[Progress | Preview | GivenUp | Finished]:  # fmt: skip
    """Hand on the events of a fit, and end it with :class:`GivenUp` once it will not reach a PSNR."""
    if (kept := journal.load("result.done")) is not None:
        yield Finished.restored(kept) if "data" in kept else GivenUp(**kept)
        return
    with contextlib.closing(events):
        for event in events:
            if isinstance(event, Mark):
                if not control.stop.is_set() and is_hopeless(event, wanted):  # after a stop, any result is good enough
                    given_up = GivenUp(event.done, wanted - event.psnr)
                    journal.save_result(asdict(given_up))
                    yield given_up
                    return
            else:
                if isinstance(event, Finished) and not control.stop.is_set():
                    journal.save_result(event.state())
                yield event


def _never_given_up(
    events: Iterator[Progress | Preview | GivenUp | Finished],
) -> Iterator[Progress | Preview | Finished]:  # fmt: skip
    """Hand on the events of a fit that is compared with nothing, and so never given up."""
    for event in events:
        assert not isinstance(event, GivenUp)
        yield event
