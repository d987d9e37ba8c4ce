"""What is chosen in the Compress dock, as jobs, and in words before it is started. Reads the controls; no viewer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from ... import texts as wording
from ...encoding import choice
from ...encoding.job import EncodingJob
from ...encoding.options import Options
from ...encoding.psnr_search import LEAST_RATIO
from ...encoding.sources import VolumeSource
from ...training.task import Estimate
from ..jobs.job import Request
from ..jobs.queue import LayerJob
from ..layers.appearance import is_mask, look_of, look_of_all
from ..layers.geometry import geometry
from ..layers.leading_axes import LeadingAxes
from ..layers.origin import base_name
from ..layers.to_volumes import all_volumes, frozen_copy, storable_labels, volumes_of
from . import texts
from .form import ALL, TOGETHER, CompressForm

NO_LAYER = "Open a 3D image, or labels, to compress."

_clicks = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Description:
    """What the dock says before a job is started.

    Attributes
    ----------
    sizes : what becomes of what, how long it takes, how much memory.
    how : with networks or without.
    networks : those that will be trained; "" for none.
    reason : why it cannot be started; "" where it can.
    """

    sizes: str
    how: str = ""
    networks: str = ""
    reason: str = ""


def holds_labels(layer: Image | Labels | None) -> bool:
    """Tell whether a layer is of labels, or a mask, which are kept bit for bit."""
    return layer is not None and (isinstance(layer, Labels) or is_mask(layer))


def layer_data(layer: Image | Labels, *, still: bool = False) -> tuple[Any, dict[str, Any]]:
    """Return data and arguments of a layer; ``still`` is for data that must not change any more."""
    data, arguments, _ = layer.as_layer_data_tuple()
    if isinstance(layer, Labels):
        levels = data if layer.multiscale else [data]
        kept = [storable_labels(frozen_copy(level) if still else level) for level in levels]
        data = kept if layer.multiscale else kept[0]
    return data, arguments


def estimate(form: CompressForm, volume: Any) -> Estimate | None:
    """Return what a fit would take; None where the target is a PSNR, which networks are searched for.

    Raises ValueError for unusable widths, TypeError for what cannot be compressed with that target.
    """
    options = form.chosen_options()
    source = VolumeSource.of(volume, exact=options.exact)
    if options.psnr is not None and not options.without_networks:
        return None
    return choice.estimate_fit(source, options.budget(source.nbytes), options.settings())


def expected_seconds(form: CompressForm, planned: Estimate | None) -> float | None:
    """Return the seconds of a job at a pace of 1; None where that cannot be said."""
    if planned is None or (planned.steps and form.device.value not in ("cpu", "auto")):
        return None
    return planned.seconds


def is_together(form: CompressForm, volumes: Sequence[tuple[str, Any]]) -> bool:
    """Tell whether several volumes are to become one file."""
    return len(volumes) > 1 and form.part.value == TOGETHER


def make_jobs(form: CompressForm, layer: Image | Labels, axes: LeadingAxes) -> list[LayerJob]:
    """Make the jobs of one click on Compress.

    Raises
    ------
    ValueError, TypeError
        If it cannot be started; says why.
    """
    data, arguments = layer_data(layer, still=True)
    options = form.chosen_options(labels=isinstance(layer, Labels))
    volumes = volumes_of(data, arguments)
    log = form.log_file(len(volumes))
    whole, letters = volumes[0][1], ""
    channels: list[dict[str, str]] = []
    if is_together(form, volumes):
        whole, letters, channels = all_volumes(data, arguments, axes.letters, axes.channels)
    seconds = expected_seconds(form, estimate(form, whole)) or 0.0  # all are of one shape
    place = geometry(arguments)
    look = look_of_all(layer, letters) if letters else look_of(layer)
    if letters:
        volumes, place = [("", whole)], replace(place, axis_labels=letters)
    elif len(volumes) > 1 and form.part.value != ALL:
        volumes = [each for each in volumes if each[0] == form.part.value]
    name, click = base_name(layer.name), next(_clicks)
    return [
        LayerJob(
            Request(
                name=f"{name} [{label}]" if label else name, data=volume, geometry=place, options=options,
                channels=channels, log=log, isolate=form.isolate.value,
            ),
            layer, look, 0 if options.max_error is not None else seconds, click,
        )
        for label, volume in volumes
    ]  # fmt: skip


def describe(form: CompressForm, layer: Image | Labels | None, axes: LeadingAxes, pace: float) -> Description:
    """Say what would be done, or why it cannot be. ``pace`` is seconds that the last job took / seconds expected."""
    if layer is None:
        return Description(NO_LAYER, reason=NO_LAYER)
    try:
        data, arguments = layer_data(layer)
        volumes, target = volumes_of(data, arguments), form.target_options()
        volume = volumes[0][1]
        channels: list[dict[str, str]] = []
        if is_together(form, volumes):
            volume, _, channels = all_volumes(data, arguments, axes.letters, axes.channels)
        VolumeSource.of(volume, exact=target.get("max_error") == 0)
    except (ValueError, TypeError) as error:
        return Description(str(error), reason=str(error))
    reason, planned, networks = "", None, ""
    try:
        planned = estimate(form, volume)
        networks = texts.networks(planned) if planned and planned.steps else ""
    except ValueError as error:
        reason = networks = str(error)
    try:
        form.log_file(len(volumes))
    except ValueError as error:
        reason = reason or str(error)
    count = len(volumes) if len(volumes) > 1 and form.part.value == ALL else 1
    lines = _sizes(volume, target, count, holds_labels(layer), channels)
    seconds = expected_seconds(form, planned)
    if seconds is not None:
        lines.append(
            f"in about {wording.duration(count * (1 if 'max_error' in target else pace) * seconds)} on this CPU"
        )
    if planned:
        lines.append(f"with at most about {wording.size(planned.memory)} of memory")
    how = "" if reason else texts.METHODS[settled_method(form.chosen_options(), volume)]
    return Description("\n".join([*lines, reason] if reason else lines), how, networks, reason)


def settled_method(options: Options, volume: Any) -> str:
    """Return the method as far as it is known before the work: "auto" only if both will be tried."""
    source, target = VolumeSource.of(volume, exact=options.exact), options.target
    ratio = source.nbytes / target["nbytes"] if "nbytes" in target else target.get("ratio", LEAST_RATIO)
    return choice.settled_method(EncodingJob(source, {}, [], options.settings()), ratio)


def _sizes(
    volume: Any, target: Mapping[str, Any], count: int, labels: bool, channels: Sequence[Mapping[str, str]]
) -> list[str]:  # fmt: skip
    dtype = np.dtype(volume.dtype)
    shape, times = " x ".join(map(str, volume.shape)), f"{count} times " if count > 1 else ""
    lines = [f"{times}{shape} {dtype}"]
    if any(channel.get("name") for channel in channels):
        lines.append("channels " + ", ".join(channel.get("name", "without a name") for channel in channels))
    return lines + texts.goal(target, math.prod(volume.shape) * dtype.itemsize, times, labels)
