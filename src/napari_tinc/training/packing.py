"""Turn a trained tree into the bytes of a file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..decoding.volume import TincVolume
from ..errors import NotWithNetworks
from ..events import Finished
from ..format import networks_file
from ..format import quality as format_quality
from ..format.chunks import Ancillary, Chunk, ChunkKind
from ..format.metadata import compact
from ..format.networks_file import NetworksHeader
from ..format.quality import pack_errors
from ..metrics import Quality, part_errors, quality_fields
from ..networks.calibration import Corrections, fit_corrections
from ..networks.scalars import Scalars
from ..networks.values import to_values
from ..networks.weights import architecture_of, round_trip, to_chunks, to_network
from .lattice_search import choose_lattice, squares_of_sample
from .task import Task
from .trainer import Fitted

ANY_LATTICE = (1, 0, 0)  # Takes as many bytes as any other, which are set aside until one is chosen.
WORSE_DB = 0.1  # The steps of the training stay if finer ones, which fill the file, are worse by more than this.
REPORT_SHARE = 0.03  # A chunk about quality or origin that takes a larger share of the file is left out.


def pack_tree(
    task: Task,
    header: NetworksHeader,
    scalars: Scalars,
    fitted: Fitted | None,
    normalised: NDArray[np.float32],
    began: float,
) -> Iterator[Finished]:
    """Round, choose a lattice, calibrate, measure and assemble the file; yield :class:`Finished`.

    Parameters
    ----------
    fitted : the trained parameters; None for a constant volume.
    normalised : the volume less its mean, divided by its standard deviation.
    began : when the fit began, on the clock of :func:`time.perf_counter`.

    Raises
    ------
    NotWithNetworks
        If the file cannot be as small as the budget.
    """
    volume, budget = task.volume, task.budget
    architecture = architecture_of(header)
    if fitted is not None:
        header = replace(header, lattice=ANY_LATTICE)
    corrections = Corrections.none(len(architecture.heads))
    part = format_quality.parts_of_leaves(header)
    ancillary = [*task.extra, *_report_chunks(task, header, None, np.zeros((part.max() + 1, 2)))]

    def rounded(factor: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the parameters and steps as a file has them, rounded with those of the fit times ``factor``."""
        vector = np.zeros(architecture.n_parameters, np.float32) if fitted is None else fitted.vector
        steps = np.ones(len(architecture.tensors)) if fitted is None else fitted.steps * factor
        return round_trip(architecture, vector, steps, header.weights_format)

    def assemble(factor: float, corrections: Corrections) -> tuple[NDArray[np.float32], list[Chunk], int]:
        """Round with steps times ``factor``; return the parameters, the chunks and the size of the file."""
        task.control.check()
        vector, stored = rounded(factor)
        chunks = to_chunks(architecture, vector, stored, header.weights_format, corrections, scalars)
        size = len(networks_file.pack(replace(header, calibration=corrections.kind), [*chunks, *ancillary]))
        return vector, chunks, size

    check = task.control.check
    factor = _factor_that_fits(lambda factor: assemble(factor, corrections)[2], budget)
    if fitted is not None and factor < 1:
        squares = squares_of_sample(header, normalised, task.importance, check)

        def error(factor: float) -> float:
            """Return the squared error with steps times ``factor``."""
            return squares(to_network(architecture, rounded(factor)[0], corrections, scalars), ())

        if error(factor) > error(1.0) * 10 ** (WORSE_DB / 10):
            factor = 1.0
    vector, chunks, size = assemble(factor, corrections)
    if fitted is not None:
        network = to_network(architecture, vector, corrections, scalars)
        header = replace(header, lattice=choose_lattice(network, header, normalised, task.importance, check))
        architecture = architecture_of(header)
    grid = [np.arange(n, dtype=np.float64) + 0.5 for n in header.shape]
    background = task.background
    outputs = to_network(architecture, vector, corrections, scalars).on_grid(grid, check=check)
    if fitted is not None and task.settings.calibrate:
        if background is not None:
            normalised = np.where(background.hidden, outputs, normalised)
        fitted_corrections = fit_corrections(
            outputs, normalised, architecture, header.weights_format, budget - size, task.importance
        )
        if fitted_corrections.kind is not networks_file.Calibration.NONE:
            _, corrected, size = assemble(factor, fitted_corrections)
            if size <= budget:
                corrections, chunks = fitted_corrections, corrected
                to_network(architecture, vector, corrections, scalars).calibrate(outputs)
    check()
    header = replace(header, calibration=corrections.kind)
    values = to_values(outputs, header)
    if background is not None:
        values = np.where(background.hidden, background.smooth, values)
    check()
    quality = metrics.measure(volume, values, 1, task.span, check)
    errors = part_errors(volume, values, header)
    data = networks_file.pack(header, [*chunks, *task.extra, *_report_chunks(task, header, quality, errors)])
    if len(data) > budget:
        raise NotWithNetworks(
            f"a volume of {volume.nbytes} bytes cannot become {budget}: the smallest file is {len(data)} bytes, "
            f"a ratio of {volume.nbytes / len(data):.3g}"
        )
    quality = replace(quality, ratio=volume.nbytes / len(data), bits_per_voxel=8 * len(data) / volume.size)
    yield Finished(TincVolume(data), quality, time.perf_counter() - began)


def _factor_that_fits(size: Callable[[float], int], budget: int) -> float:
    """Return the factor on the rounding steps with which the file fits: 1 if that is near enough.

    Rounding was trained at these very steps. Any others round all parameters anew: 1 % more has cost 0.7 dB.
    """
    trained = size(1.0)
    if 0.97 * budget <= trained <= budget:
        return 1.0
    low, high = 0.0, 0.0
    if trained <= budget:
        while low > -4 and size(2.0 ** (low - 0.25)) <= budget:
            low -= 0.25
        low, high = low - 0.25, low
    else:
        while high < 8 and size(2.0**high) > budget:
            high += 0.25
        low = high - 0.25
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (low, middle) if size(2.0**middle) <= budget else (middle, high)
    return float(2.0**high)


def allowance_of(task: Task, header: NetworksHeader, scalars: Scalars | None = None) -> float:
    """Return the bytes of the budget that are left for the weights. NotWithNetworks if that is too little."""
    architecture, n_parts = architecture_of(header), int(format_quality.parts_of_leaves(header).max()) + 1
    zeros, ones = np.zeros(architecture.n_parameters, np.float32), np.ones(len(architecture.tensors), np.float32)
    corrections = Corrections.none(len(architecture.heads))
    weights = to_chunks(architecture, zeros, ones, header.weights_format, corrections, scalars or Scalars.none())
    filler = math.ceil(architecture.n_parameters / len(weights))  # real payloads have lengths of about as many digits
    filled = [weights[0], *(Chunk.of(ChunkKind.WEIGHTS, bytes(filler), c.level, c.n_nodes) for c in weights[1:])]
    report = _report_chunks(task, header, None, np.zeros((n_parts, 2)))
    rest = len(networks_file.pack(replace(header, lattice=ANY_LATTICE), [*filled, *task.extra, *report])) - filler * (
        len(filled) - 1
    )
    rest += len(filled)  # a length in the table may be a byte longer
    least = rest + math.ceil(architecture.n_parameters / 8)  # less than a bit for each weight gives hardly a picture
    if least > task.budget:
        raise NotWithNetworks(
            f"a volume of {task.volume.nbytes} bytes cannot become {task.budget}: the smallest file is about {least} "
            f"bytes, a ratio of {task.volume.nbytes / least:.3g}"
        )
    return float(task.budget - rest)


def _report_chunks(
    task: Task, header: NetworksHeader, quality: Quality | None, errors: NDArray[np.float64]
) -> list[Chunk]:
    """Build QUALITY and PROVENANCE chunks; one is left out if it takes more than 3 % of the budget of a tree.

    Their size does not depend on the quality, so that the budget can be met first.
    """
    chunks = [
        Chunk.of(Ancillary.QUALITY, pack_errors(errors, header.value_range)),
        Chunk.of(Ancillary.PROVENANCE, compact(task.settings.provenance() | quality_fields(quality))),
    ]
    if task.is_block:
        chunks.pop()
    return [chunk for chunk in chunks if not header.std_q or len(chunk.payload) <= REPORT_SHARE * task.budget]
