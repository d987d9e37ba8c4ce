"""The command ``napari-tinc compress``; ``demo`` compresses with it, too."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari_tinc as tinc

from ..encoding.log import Log, finished_entry, log_entry, plan_entry
from ..texts import unused_text
from .output import print_result
from .paths import check_output, is_inside, is_same_file
from .progress import PREPARING, kept_text, make_progress, method_text, plan_text

# Arguments of all commands that read an image; "labels" is for those that compress it.
READING = ("axes", "labels", "series", "channel", "raw")

if TYPE_CHECKING:
    from ..io.image import Image
    from ..metrics import Quality


def run_compress(args: argparse.Namespace) -> None:
    """Compress an image to a file, and print its figures."""
    from ..io.read import file_of, read_volumes

    check_output(args.file, [".tinc"])
    original = file_of(args.image)
    if not original:
        raise ValueError("the name of the image is empty, expected a file or a folder of slices")
    if is_same_file(args.file, original):
        raise ValueError(f"cannot write {args.file}: it is the image itself; name another file")
    if Path(original).is_dir() and is_inside(args.file, original):
        raise ValueError(f"cannot write {args.file} into {args.image}, the folder that is read; name a file outside")
    fields = {name: _field(args, name) for name in ("exact", "importance")}
    if args.log and any(is_same_file(args.log, path) for path in (original, args.file)):
        raise ValueError(f"cannot write the log to {args.log}, which is the volume itself")
    _check_method(args)
    folder = Path(f"{os.path.realpath(args.file) if os.path.islink(args.file) else args.file}.parts")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is no folder; what is done is kept there")
    image = args.image if args.isolate else read_volumes(args.image, **reading(args))
    options = tinc.Options(
        ratio=args.ratio, nbytes=args.bytes, psnr=args.psnr, max_error=args.max_error, method=args.method,
        preset=args.preset or "balanced", device=args.device, seed=args.seed, weights=args.weights or "entropy",
        widths=args.widths, calibration=args.calibration, block=args.block, resume=folder, scheduler=args.scheduler,
        exact_max_error=args.exact_max_error, fill=args.fill, **fields,
    )  # fmt: skip
    try:
        figures = fit_to_file(args, image, options)
    except (KeyboardInterrupt, tinc.ChildError) as error:
        if kept := _kept(folder):
            reason = f"{str(error) or 'cancelled'}; {kept} kept in {folder}, the same command goes on from there"
            raise type(error)(reason) from None
        raise
    print_result(args, figures, fit_table(figures))


def _field(args: argparse.Namespace, name: str) -> Any:
    """Read the array of --exact or --importance; None if it was not given."""
    from ..io.read import file_of, read_volumes

    path = getattr(args, name)
    if path is None:
        return None
    if is_same_file(args.file, file_of(path)):
        raise ValueError(f"cannot write {args.file}: it is --{name} itself")
    return read_volumes(path).array


def reading(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that say how to read an image: the fields of ReadOptions."""
    promised = getattr(args, "max_error", 0) is not None or args.labels
    return {name: getattr(args, name) for name in READING} | {"precise": promised}


def _check_method(args: argparse.Namespace) -> None:
    """Raise ValueError if some options ask for networks and others for none. One that changes nothing is said."""
    from ..io.read_options import say

    if args.method == "networks" and args.max_error is not None:
        raise ValueError("--method networks and --max-error given, expected one: networks keep no bound")
    other = "--max-error" if args.max_error is not None else "--method predictive"
    if args.max_error is None and args.method != "predictive":
        return
    for name, value in (("weights", args.weights), ("widths", args.widths)):
        if value is not None:
            raise ValueError(f"--{name} and {other} given, expected one: such a file has no networks")
    if args.preset is not None:
        say(f"--preset {args.preset} changes nothing: it says how long networks are trained, and {other} needs none")


def _kept(folder: Path) -> str:
    """Say in words what a folder holds of an unfinished job; empty if it holds nothing."""
    from ..storage.checkpoint import files

    kept = files(folder)
    blocks = sum(path.suffix == ".block" for path in kept)
    if blocks:
        return f"{blocks} finished block{' is' if blocks == 1 else 's are'}"
    if kept:
        age = max(0.0, time.time() - max(path.stat().st_mtime for path in kept))
        return f"what was done until {age:.0f} seconds ago is"
    return ""


def fit_to_file(args: argparse.Namespace, image: Image | str, options: tinc.Options) -> dict[str, Any]:
    """Compress an image to ``args.file``, report progress on stderr and in ``args.log``, and return the figures.

    If ``image`` is a path, a separate process reads and compresses it.
    """
    if isinstance(image, str):
        from ..isolation.caller import fit_isolated

        events = fit_isolated(image, options, read=reading(args))
    else:
        events = tinc.fit(image.array, options.with_facts(image.options()))
    figures: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(Log(args.log)) if args.log else None
        progress = make_progress()
        stack.callback(progress.clear)
        stack.enter_context(contextlib.closing(events))  # type: ignore[type-var]
        if not isinstance(image, str) and str(image.array.dtype) in ("int64", "uint64"):
            progress.say(f"{image.array.dtype} is stored in 32 bits, which hold all values")
        for event in events:
            entry: dict[str, Any] = {}
            if isinstance(event, tinc.Finished):
                event.volume.save(args.file)
                figures = figures_of(event.volume, event.quality, file=args.file) | written_psnr(event.volume)
                figures |= {"seconds": event.seconds, "method": event.method, "reason": event.reason}
                entry = finished_entry(event.volume, figures)
                progress.say(method_text(event.method, event.reason))
                if text := _no_measurements(event.volume, options):
                    progress.say(text)
                allowed = 0 if event.volume.labels else options.budget(event.volume.nbytes)
                if text := unused_text(figures["bytes"], allowed, event.quality.max_error, event.method):
                    progress.say(text)
            elif isinstance(event, tinc.Progress):
                if event.phase == "preparing":
                    progress.say(PREPARING)
                progress.show(event)
                entry = log_entry(event)
            elif isinstance(event, tinc.Planned):
                progress.say(plan_text(event))
                if options.scheduler and event.n_blocks == 1 and event.method != "predictive":
                    progress.say("one tree of networks, which is fitted here: only blocks go to a scheduler (--block)")
                if folder := options.resume:
                    if kept := kept_text(event, Path(folder)):
                        progress.say(kept)
                    if args.resume and not event.kept:
                        raise ValueError(
                            f"--resume: {folder} holds nothing of this volume with these options and number of CPUs; "
                            "without --resume the work is begun anew"
                        )
                entry = plan_entry(event)
            if log and entry:
                log.add(entry)
    return figures


def _no_measurements(volume: tinc.TincVolume, options: tinc.Options) -> str:
    """Say in words what of a volume is no measurement; "" if nothing is, or a warning has said it."""
    fill = volume.fill
    if fill.values and not {"auto", "declared"}.isdisjoint(options.fill):
        return ""
    return fill.describe(volume.header.dtype, volume.size)


def fit_table(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Leave the method of a fit out of its figures: it was reported on stderr."""
    return [{key: value for key, value in figures.items() if key not in ("method", "reason")}]


def figures_of(volume: tinc.TincVolume, quality: Quality, file: str) -> dict[str, Any]:
    """Put together the size and quality of a file, by the names that ``--json`` has for them."""
    first = {"ratio": quality.ratio, "bits_per_voxel": quality.bits_per_voxel}
    return {"file": file, "bytes": volume.nbytes_compressed, **first, **asdict(quality)}


def written_psnr(volume: tinc.TincVolume) -> dict[str, float]:
    """Return the PSNR inside and outside the regions of a file, as it was measured when the file was written."""
    names = ("psnr_inside", "psnr_outside")
    return {name: number_of(volume.provenance[name]) for name in names if name in volume.provenance}


def number_of(value: Any) -> float:
    """Parse a number that PROVENANCE holds as text: inf for 9999, nan for anything that is not a number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return math.inf if number >= 9999 else number
