"""Turn what is chosen in the Compress dock into jobs, or describe it before it is started. No viewers."""

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
from ..jobs.job import Request, error_line
from ..jobs.queue import LayerJob
from ..layers.appearance import appearance_of, appearance_of_all, is_mask
from ..layers.keeping import compressing_geometry
from ..layers.leading_axes import LeadingAxes
from ..layers.origin import VOLUME, base_name
from ..layers.to_volumes import all_volumes, frozen_copy, storable_labels, volumes_of
from . import texts
from .form import ONE_FILE, ONE_FILE_EACH, CompressForm, parse_max_error
from .region_layers import describe_region, mask_of

NO_LAYER = "Open a 3D image, or labels, to compress."
COPY = "This layer is a compressed copy. Its errors are compressed, too."

_click_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Description:
    """Hold the texts of the dock before a job is started.

    Attributes
    ----------
    plan : sizes before and after, time and memory, a fact a line.
    method : with networks or without.
    networks : which networks will be trained; "" for none.
    reason : why the job cannot be started; "" if it can.
    """

    plan: str
    method: str = ""
    networks: str = ""
    reason: str = ""


def holds_labels(layer: Image | Labels | None) -> bool:
    """Tell whether a layer holds labels or a mask, which are kept bit for bit."""
    return layer is not None and (isinstance(layer, Labels) or is_mask(layer))


def layer_data(layer: Image | Labels, *, frozen: bool = False) -> tuple[Any, dict[str, Any]]:
    """Return data and arguments of a layer. ``frozen`` copies labels that might be painted on meanwhile."""
    data, arguments, _ = layer.as_layer_data_tuple()
    if isinstance(layer, Labels):
        levels = data if layer.multiscale else [data]
        storable = [storable_labels(frozen_copy(level) if frozen else level) for level in levels]
        data = storable if layer.multiscale else storable[0]
    return data, arguments


def estimate(form: CompressForm, volume: Any) -> Estimate | None:
    """Return the networks, time and memory of a job; None for a PSNR that networks are searched for.

    Raises
    ------
    ValueError
        For unusable widths.
    TypeError
        For data that cannot be compressed with that target.
    """
    options = form.chosen_options()
    source = VolumeSource.of(volume, exact=options.is_lossless)
    if options.psnr is not None and not options.without_networks:
        return None
    return choice.estimate_fit(source, options.budget(source.nbytes), options.settings())


def region_options(form: CompressForm, layer: Image | Labels, label: str = "") -> dict[str, Any]:
    """Return what is kept exactly, and what is important, as options of :func:`napari_tinc.fit`.

    Parameters
    ----------
    label : the name of the volume of the layer that is compressed; "" for all of them.

    Raises
    ------
    ValueError
        If a layer that was chosen does not mark a region of this one, or the bound is no number.
    """
    exact, importance = form.region_layers()
    chosen: dict[str, Any] = {}
    if exact is not None:
        chosen = {"exact": mask_of(exact, layer, label), "exact_max_error": parse_max_error(form.exact_max_error.value)}
    if importance is not None:
        chosen["importance"] = np.where(mask_of(importance, layer, label), np.float32(form.weight.value), np.float32(1))
    return chosen


def _region_lines(chosen: Mapping[str, Any], weight: float) -> list[str]:
    """Describe regions: how many voxels are kept exactly, or are important."""
    lines = []
    if "exact" in chosen:
        bound = chosen["exact_max_error"]
        kept = f"within {bound:g}" if bound else "bit for bit"
        lines.append(f"Keeps {describe_region(chosen['exact'], chosen['exact'].size)} {kept}")
    if "importance" in chosen:
        important = chosen["importance"] > 1
        lines.append(f"{describe_region(important, important.size)} count {weight:g} times as much")
    return lines


def expected_seconds(form: CompressForm, planned: Estimate | None) -> float | None:
    """Return the seconds that a job takes at a pace of 1; None if they cannot be estimated."""
    if planned is None or (planned.steps and form.device.value not in ("cpu", "auto")):
        return None
    return planned.seconds


def is_one_file(form: CompressForm, volumes: Sequence[tuple[str, Any]]) -> bool:
    """Tell whether several volumes become one file."""
    return len(volumes) > 1 and form.volumes.value == ONE_FILE


def make_jobs(form: CompressForm, layer: Image | Labels, axes: LeadingAxes) -> list[LayerJob]:
    """Make the jobs of one click on Compress.

    Raises
    ------
    ValueError, TypeError
        If the jobs cannot be started. The text says why.
    """
    data, arguments = layer_data(layer, frozen=True)
    options = form.chosen_options(labels=isinstance(layer, Labels))
    volumes = volumes_of(data, arguments)
    log = form.log_file(len(volumes))
    array, letters = volumes[0][1], ""
    channels: list[dict[str, str]] = []
    if is_one_file(form, volumes):
        array, letters, channels = all_volumes(data, arguments, axes.letters, axes.channels)
    seconds = expected_seconds(form, estimate(form, array)) or 0.0  # All volumes have one shape.
    layer_geometry = compressing_geometry(data, arguments)
    appearance = appearance_of_all(layer, letters) if letters else appearance_of(layer)
    if letters:
        volumes, layer_geometry = [("", array)], replace(layer_geometry, axis_labels=letters)
    elif len(volumes) > 1 and form.volumes.value != ONE_FILE_EACH:
        volumes = [each for each in volumes if each[0] == form.volumes.value]
    name, click_number = base_name(layer.name), next(_click_numbers)
    seconds = 0 if options.max_error is not None else seconds

    def request(label: str, volume: Any) -> Request:
        """Return what to compress of a volume, and how."""
        return Request(
            name=f"{name} [{label}]" if label else name, data=volume, geometry=layer_geometry,
            options=replace(options, **region_options(form, layer, label)), channels=channels, log=log,
            isolate=form.isolate.value,
        )  # fmt: skip

    return [LayerJob(request(label, volume), layer, appearance, seconds, click_number) for label, volume in volumes]


def describe(form: CompressForm, layer: Image | Labels | None, axes: LeadingAxes, pace: float) -> Description:
    """Describe the job that would be started, or why it cannot be.

    ``pace`` is the time of the last job / the time expected for it.
    """
    if layer is None:
        return Description(NO_LAYER, reason=NO_LAYER)
    try:
        data, arguments = layer_data(layer)
        volumes, target = volumes_of(data, arguments), form.target_options()
        volume = volumes[0][1]
        channels: list[dict[str, str]] = []
        if is_one_file(form, volumes):
            volume, _, channels = all_volumes(data, arguments, axes.letters, axes.channels)
        VolumeSource.of(volume, exact=target.get("max_error") == 0)
    except (ValueError, TypeError) as error:
        return Description(error_line(error), reason=error_line(error))
    reason, planned, networks = "", None, ""
    regions: dict[str, Any] = {}
    try:
        planned = estimate(form, volume)
        networks = texts.describe_networks(planned) if planned and planned.steps else ""
    except ValueError as error:
        reason = networks = error_line(error)
    try:
        regions = region_options(form, layer, volumes[0][0] if form.volumes.value != ONE_FILE else "")
        replace(form.chosen_options(), **regions)
        form.log_file(len(volumes))
    except ValueError as error:
        reason = reason or error_line(error)
    count = len(volumes) if len(volumes) > 1 and form.volumes.value == ONE_FILE_EACH else 1
    lines = _size_lines(volume, target, count, holds_labels(layer), channels)
    lines += _region_lines(regions, form.weight.value)
    seconds = expected_seconds(form, planned)
    if VOLUME in arguments["metadata"]:
        lines.append(COPY)
    if seconds is not None:
        lines.append(
            f"in about {wording.duration(count * (1 if 'max_error' in target else pace) * seconds)} on this CPU"
        )
    if planned:
        lines.append(f"with at most about {wording.size(planned.memory)} of memory")
    method = "" if reason else texts.METHOD_DESCRIPTIONS[settled_method(form.chosen_options(), volume)]
    return Description("\n".join([*lines, reason] if reason else lines), method, networks, reason)


def settled_method(options: Options, volume: Any) -> str:
    """Return the method as far as it is known before the job: "auto" only if both will be tried."""
    source, target = VolumeSource.of(volume, exact=options.is_lossless), options.target
    ratio = source.nbytes / target["nbytes"] if "nbytes" in target else target.get("ratio", LEAST_RATIO)
    return choice.settled_method(EncodingJob(source, {}, [], options.settings()), ratio)


def _size_lines(
    volume: Any, target: Mapping[str, Any], count: int, labels: bool, channels: Sequence[Mapping[str, str]]
) -> list[str]:  # fmt: skip
    """Describe the volume, its channels, and its size before and after."""
    dtype = np.dtype(volume.dtype)
    shape, prefix = " x ".join(map(str, volume.shape)), f"{count} times " if count > 1 else ""
    lines = [f"{prefix}{shape} {dtype}"]
    if any(channel.get("name") for channel in channels):
        lines.append("channels " + ", ".join(channel.get("name", "without a name") for channel in channels))
    return lines + texts.describe_goal(target, math.prod(volume.shape) * dtype.itemsize, prefix, labels)
