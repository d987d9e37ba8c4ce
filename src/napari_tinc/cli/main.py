"""The command line: ``napari-tinc compress | decompress | info | verify | compare | demo``.

Results go to stdout, as text or (``--json``) as one JSON object; progress and errors go to stderr, an error as one
line. Exit code 0, 1 (failed), 2 (usage). The work is done elsewhere; here are arguments, checks that spare the user
minutes of waiting. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari_tinc as tinc

from .tables import (
    Log,
    Ticker,
    kept_text,
    log_entry,
    method_text,
    one_line,
    pairs,
    plan_entry,
    plan_text,
    put,
    table,
    to_json,
)

if TYPE_CHECKING:
    from ..format.head import Chunk, Entry
    from ..io.image import Image
    from ..metrics import Quality

METHODS = ("auto", "networks", "predictive")
PRESETS = ("fast", "balanced", "best")
WEIGHTS = ("entropy", "int8", "float16")
# What info prints of files with networks only.
OF_NETWORKS = ("n_levels", "n_leaves", "n_scalars", "n_parameters", "widths", "weights", "calibration")
QT_PROBE = "from qtpy.QtGui import QGuiApplication as A; a = A([]); print(a.platformName())"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; SystemExit (of code 2) where the arguments make no sense."""
    if sys.stderr is None:  # closed; print would turn to stdout
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    args = _parser().parse_args(argv)
    try:
        args.run(args)
        return 0
    except BrokenPipeError:  # `| head` has seen enough; Python would complain once more when it flushes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as interrupt:
        reason = str(interrupt) or "cancelled"
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    except tinc.TincError as error:
        reason = f"{args.file}: {error}"
    except MemoryError as error:
        reason = f"not enough memory: {error}" if str(error) else "not enough memory"
    except (ImportError, RuntimeError, TypeError, ValueError) as error:  # RuntimeError: torch's devices
        reason = str(error) or type(error).__name__
    except tinc.ChildError as error:
        reason = str(error)
    if args.json:
        with contextlib.suppress(OSError):  # stdout may be what has failed; stderr says it, too
            put(to_json({"error": reason}))
    print(f"napari-tinc: {one_line(reason)}", file=sys.stderr)
    return 1


# --- the commands ----------------------------------------------------------------------------------------------------


def _compress(args: argparse.Namespace) -> None:
    from ..io.image import file_of, read_volumes

    _check_output(args.file, [".tinc"])
    original = file_of(args.image)
    if _is_same(args.file, original) or (Path(original).is_dir() and _is_inside(args.file, original)):
        raise ValueError(f"cannot write {args.file}: it is, or is in, {args.image} itself")
    if args.log and any(_is_same(args.log, path) for path in (original, args.file)):
        raise ValueError(f"cannot write the log to {args.log}, which is the volume itself")
    _check_method(args)
    folder = Path(f"{os.path.realpath(args.file) if os.path.islink(args.file) else args.file}.parts")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is no folder; what is done is kept there")
    image = args.image if args.isolate else read_volumes(args.image)
    options = {"ratio": args.ratio, "nbytes": args.bytes, "psnr": args.psnr, "device": args.device, "seed": args.seed}
    options |= {"widths": args.widths, "calibration": args.calibration, "block": args.block, "method": args.method}
    options["max_error"] = args.max_error
    try:
        figures = _fit(
            args, image, weights=args.weights or "entropy", resume=folder, scheduler=args.scheduler, **options
        )
    except (KeyboardInterrupt, tinc.ChildError) as error:
        if kept := _kept(folder):
            reason = f"{str(error) or 'cancelled'}; {kept} kept in {folder}, the same command goes on from there"
            raise type(error)(reason) from None
        raise
    _report(args, figures, _fit_table(figures))


def _decompress(args: argparse.Namespace) -> None:
    from ..io.write import OUTPUT_SUFFIXES, size_on_disk, write_image

    _check_output(args.image, OUTPUT_SUFFIXES)
    if _is_same(args.image, args.file):
        raise ValueError(f"cannot write {args.image}: it is {args.file} itself")
    began = time.perf_counter()
    volume = tinc.open(args.file, partial=args.partial)
    if not 0 <= args.level < len(volume.levels):
        raise ValueError(f"level is {args.level}, expected 0 to {len(volume.levels) - 1}")
    part, *coarser = volume.levels[args.level :]
    shape = part.shape
    part = part[(..., *_within(args.region, shape[-3:]))]
    z, y, x = (size * 2**args.level for size in volume.spacing)
    spacing = (z, y, x) if volume.header.spacing else None
    write_image(
        args.image, part, spacing, volume.units, axes=volume.axis_labels, channels=volume.channels,
        value_range=volume.value_range, coarser=coarser if part.shape == shape else (),
    )  # fmt: skip
    result = {
        "file": args.image, "shape": part.shape, "axes": volume.axis_labels, "dtype": str(part.dtype),
        "spacing": spacing, "units": volume.units, "bytes": size_on_disk(args.image),
        "seconds": time.perf_counter() - began,
    }  # fmt: skip
    if volume.n_missing:
        print(f"napari-tinc: {args.file} was cut off; where that matters {args.image} is coarser", file=sys.stderr)
    _report(args, result, pairs(result))


def _info(args: argparse.Namespace) -> None:
    from ..decoding.network_box import Tree
    from ..format.networks_file import SCALAR, parameter_counts

    volume = tinc.open(args.file, partial=args.partial)
    header, written = volume.header, volume.provenance
    above = volume.parts.levels_above()
    there = [(box, part) for _, box, part in volume.boxes() if part is not None]
    trees = [(part.header, int(above[box])) for box, part in there if isinstance(part, Tree)]
    widths: dict[int, set[int]] = {}
    for own, start in trees:
        for level in range(own.tree.depth + 1):
            found = own.widths[(own.tree.level == level) & (own.widths > 0)]
            widths.setdefault(start + level, set()).update(found.tolist())
    result = {
        "file": args.file, "shape": volume.shape, "axes": volume.axis_labels, "dtype": str(volume.dtype),
        "channels": volume.channels, "spacing": header.spacing, "units": volume.units,
        "value_range": volume.value_range, "error_bound": None if volume.n_missing else volume.error_bound,
        "bytes": volume.nbytes_compressed, "ratio": volume.ratio,
        "bits_per_voxel": 8 * volume.nbytes_compressed / volume.size,
        "method": volume.method,
        "n_blocks": len(above) * math.prod(volume.shape[:-3]),
        "block_shape": (volume.parts.stop - volume.parts.start).max(axis=0).tolist(),
        "n_missing": volume.n_missing, "n_levels": max(widths, default=int(above.max())) + 1,
        "n_leaves": len(volume.leaves),
        "n_scalars": sum(int((own.widths == SCALAR).sum()) for own, _ in trees),
        "n_parameters": sum(int(parameter_counts(own).sum()) for own, _ in trees),
        "widths": [sorted(widths.get(level, ())) for level in range(max(widths, default=-1) + 1)],
        "weights": ", ".join(sorted({own.weights_format.name.lower() for own, _ in trees})),
        "calibration": ", ".join(sorted({own.calibration.name.lower() for own, _ in trees})),
        "provenance": {**written, "psnr": _figure(written.get("psnr")), "ssim": _figure(written.get("ssim"))},
    }  # fmt: skip
    groups: dict[tuple[str, int], list[Chunk | Entry]] = {}
    for chunk in volume.parts.entries():
        kind = f"unknown ({chunk.kind})" if chunk.role is None else chunk.role.name
        groups.setdefault((kind, chunk.level), []).append(chunk)
    tables = {"chunks": [
        {"kind": kind, "level": level, "chunks": len(group), "nodes": sum(chunk.n_nodes for chunk in group),
         "bytes": sum(chunk.length for chunk in group)} for (kind, level), group in groups.items()
    ]}  # fmt: skip
    if args.leaves and there:
        names = volume.leaves.dtype.names or ()
        tables["leaves"] = [{name: row[name].tolist() for name in names} for row in volume.leaves]
    named = {key: value for key, value in result.items() if volume.method == "networks" or key not in OF_NETWORKS}
    named["channels"] = [" ".join(channel.values()) for channel in volume.channels] or None
    named["method"] = _contents(volume.method, result["n_blocks"])
    promise = [] if volume.error_bound is None or volume.n_missing else [_promise(volume)]
    _report(args, result | tables, "\n\n".join([*promise, pairs(named), *map(table, filter(None, tables.values()))]))


def _contents(method: str, n_blocks: int) -> str:
    """What a file holds, in words."""
    if method == "predictive":
        return f"{n_blocks} block{'s'[: n_blocks > 1]} without networks (predictive coder)"
    return "an octree of networks" if n_blocks == 1 else f"{n_blocks} blocks, each an octree of networks"


def _figure(value: Any) -> float:
    """A number that PROVENANCE holds as text: inf where that is 9999, nan where it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return math.inf if number >= 9999 else number


def _verify(args: argparse.Namespace) -> None:
    from ..decoding.network_box import Tree
    from ..format.networks_file import parameter_counts

    volume = tinc.open(args.file)
    volume.verify()
    trees = [part for _, _, part in volume.boxes() if isinstance(part, Tree)]
    result: dict[str, Any] = {
        "file": args.file, "ok": True, "bytes": volume.nbytes_compressed, "n_chunks": len(volume.parts.entries()),
        "n_leaves": len(volume.leaves),
        "n_parameters": sum(int(parameter_counts(tree.header).sum()) for tree in trees),
    }  # fmt: skip
    text = "ok: {bytes:,} bytes, header and {n_chunks} chunks have their checksums, {n_parameters:,} parameters decoded"
    text = text.format(**result)
    if volume.error_bound is not None:
        result["error_bound"] = volume.error_bound
        text += f"\n{_promise(volume)}; all values decode to what the encoder saw"
    if args.against is not None:  # an empty name is a mistake, not a wish to prove nothing
        from ..encoding.proof import prove
        from ..io.image import read_volumes

        wrong, largest = prove(volume, read_volumes(args.against).array)
        if wrong:
            raise ValueError(
                f"{args.file}: {wrong} voxels differ from {args.against} by more than is promised ({_promise(volume)})"
            )
        result |= {"against": args.against, "max_error": largest, "n_violations": 0}
        text += f"\nproved on all {volume.size:,} voxels of {args.against}: the worst is off by {largest:.6g}"
    _report(args, result, text)


def _promise(volume: tinc.TincVolume) -> str:
    """What a file says of its errors."""
    if not volume.error_bound:
        return "every voxel bit for bit"
    return f"every voxel within {volume.error_bound:g}"


def _compare(args: argparse.Namespace) -> None:
    from ..decoding.volume import MAX_EAGER_VOXELS
    from ..io.image import read_volumes

    volume = tinc.open(args.file)
    if volume.size > MAX_EAGER_VOXELS:
        raise ValueError(
            f"{args.file} has {volume.size} voxels, expected at most {MAX_EAGER_VOXELS}, as it is compared in memory; "
            "info tells the quality that was measured when it was written"
        )
    figures = _figures(volume, tinc.compare(read_volumes(args.image).array, volume), file=args.file)
    _report(args, figures, table([figures]))


def _demo(args: argparse.Namespace) -> None:
    from .. import samples

    with tempfile.TemporaryDirectory() as folder:
        args.file = args.out or os.path.join(folder, "mri.tinc")
        _check_output(args.file, [".tinc"])
        image = samples.mri()
        figures = _fit(args, image, ratio=64)
        volume = tinc.open(args.file)
        volume.verify()
    figures |= {"file": args.out, **asdict(tinc.compare(image.array, volume))}
    _report(args, figures, _fit_table(figures))
    if args.view and not args.json:
        _show(image, volume)


# --- what they share -------------------------------------------------------------------------------------------------


def _report(args: argparse.Namespace, result: Mapping[str, Any], text: str) -> None:
    put(to_json(result) if args.json else text)


def _check_method(args: argparse.Namespace) -> None:
    """ValueError where options ask for networks and for none."""
    if args.method == "networks" and args.max_error is not None:
        raise ValueError("--method networks and --max-error given, expected one: networks keep no bound")
    other = "--max-error" if args.max_error is not None else "--method predictive"
    if args.max_error is None and args.method != "predictive":
        return
    for name, value in (("weights", args.weights), ("preset", args.preset), ("widths", args.widths)):
        if value is not None:
            raise ValueError(f"--{name} and {other} given, expected one: such a file has no networks")


def _kept(folder: Path) -> str:
    """What is left in the folder of a job, for a reader; empty where nothing is."""
    from ..storage.checkpoint import files

    left = files(folder)
    blocks = sum(path.suffix == ".block" for path in left)
    if blocks:
        return f"{blocks} finished block{' is' if blocks == 1 else 's are'}"
    if left:
        age = max(0.0, time.time() - max(path.stat().st_mtime for path in left))
        return f"what was done until {age:.0f} seconds ago is"
    return ""


def _is_same(path: str, other: str) -> bool:
    """Whether two names lead to one file, through links of any kind."""
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def _is_inside(path: str, folder: str) -> bool:
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents


def _check_output(path: str, suffixes: Sequence[str]) -> None:
    """Find out before the work, not after it, whether a file can be written."""
    folder, problem = os.path.dirname(os.path.realpath(path)), None
    if Path(path).suffix.lower() not in suffixes:
        problem = f"its suffix must be {' or '.join(suffixes)}"
    elif not os.path.isdir(folder):
        problem = f"there is no folder {folder}"
    elif Path(path).suffix.lower() == ".zarr":
        from ..io.write import is_replaceable_zarr

        problem = None if is_replaceable_zarr(Path(path)) else "it is there, and is no Zarr folder"
    elif os.path.exists(path) and not os.path.isfile(path):
        problem = "it is not a regular file"
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.stat(path)  # a name may be too long, or a link to itself
        if not problem:
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        problem = error.strerror
    if problem:
        raise ValueError(f"cannot write {path}: {problem}")


def _fit(args: argparse.Namespace, image: Image | str, **options: Any) -> dict[str, Any]:
    """Compress an image to ``args.file``, with progress on stderr and in ``args.log``; returns the figures.

    Where only its path is given, another process reads and compresses it.
    """
    options["preset"] = args.preset or "balanced"
    if isinstance(image, str):
        from ..isolation.caller import fit_isolated

        events = fit_isolated(image, **options)
    else:
        events = tinc.fit(image.array, **image.options(), **options)
    figures: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(Log(args.log)) if args.log else None
        ticker = Ticker()
        stack.callback(ticker.clear)
        stack.enter_context(contextlib.closing(events))  # type: ignore[type-var]
        for event in events:
            entry: dict[str, Any] = {}
            if isinstance(event, tinc.Finished):
                event.volume.save(args.file)
                figures = _figures(event.volume, event.quality, file=args.file)
                figures |= {"seconds": event.seconds, "method": event.method, "reason": event.reason}
                entry = {"phase": "finished", **figures}
                ticker.say(method_text(event.method, event.reason))
            elif isinstance(event, tinc.Progress):
                ticker.show(event)
                entry = log_entry(event)
            elif isinstance(event, tinc.Planned):
                ticker.say(plan_text(event))
                if options.get("scheduler") and event.n_blocks == 1:
                    ticker.say("one tree of networks, which is fitted here: only blocks go to a scheduler (--block)")
                if folder := options.get("resume"):
                    if left := kept_text(event, folder):
                        ticker.say(left)
                    if args.resume and not event.kept:
                        raise ValueError(
                            f"--resume: {folder} holds nothing of this volume with these options and number of CPUs; "
                            "without --resume the work is begun anew"
                        )
                entry = plan_entry(event)
            if log and entry:
                log.add(entry)
    return figures


def _fit_table(figures: Mapping[str, Any]) -> str:
    """The figures of a fit but for its method, which was told on stderr."""
    return table([{key: value for key, value in figures.items() if key not in ("method", "reason")}])


def _figures(volume: tinc.TincVolume, quality: Quality, file: str) -> dict[str, Any]:
    first = {"ratio": quality.ratio, "bits_per_voxel": quality.bits_per_voxel}
    return {"file": file, "bytes": volume.nbytes_compressed, **first, **asdict(quality)}


def _within(region: Sequence[tuple[int | None, int | None]], shape: Sequence[int]) -> tuple[slice, ...]:
    """A region as slices; ValueError where it is empty or not all in the volume."""
    slices = []
    for axis, (low, high), size in zip("zyx", region, shape, strict=True):
        start, stop = low or 0, size if high is None else high
        if not start < stop <= size:
            raise ValueError(f"region has {axis} {start}:{stop}, expected a part of 0:{size}")
        slices.append(slice(start, stop))
    return tuple(slices)


def _show(image: Image, volume: tinc.TincVolume) -> None:
    """Original and reconstruction side by side in napari until its window is closed; nothing where there is no screen.

    Whether Qt can open a window is tried in another process, because Qt aborts one where it cannot.
    """
    screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not screen or os.environ.get("CI"):
        return
    try:
        probe = subprocess.run([sys.executable, "-c", QT_PROBE], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return
    if probe.returncode == 1:  # an ImportError; an abort has another code
        put('napari cannot show it: no Qt binding is installed (pip install "napari-tinc[all]")')
    if probe.returncode or probe.stdout.strip() in ("offscreen", "minimal"):
        return
    import napari
    import numpy as np

    viewer = napari.Viewer(title="napari-tinc demo")
    units = [volume.units or "pixel"] * 3
    options = {"scale": volume.spacing, "units": units, "contrast_limits": volume.value_range}
    viewer.add_image(image.array, name=image.name, **options)
    viewer.add_image(np.asarray(volume), name=f"{image.name} (tinc)", **options)
    viewer.canvas.grid.enabled = True
    napari.run()


# --- arguments -------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Whole option names only; a usage error is one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"napari-tinc {version('napari-tinc')}")
        parser.exit()


def _widths(text: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 48,16")
    return list(map(int, text.split(",")))


def _region(text: str) -> list[tuple[int | None, int | None]]:
    match = re.fullmatch(r"(\d*):(\d*),(\d*):(\d*),(\d*):(\d*)", text, re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not z0:z1,y0:y1,x0:x1")
    ends = [int(end) if end else None for end in match.groups()]
    return list(zip(ends[::2], ends[1::2], strict=True))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="napari-tinc", description="Compress 3D volumes into tiny .tinc files, and draw them again.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(run: Callable[[argparse.Namespace], None], about: str, **positionals: str) -> argparse.ArgumentParser:
        added = commands.add_parser(run.__name__[1:], help=about, description=about)
        added.set_defaults(run=run)
        for name, metavar in positionals.items():
            added.add_argument(name, metavar=metavar)
        added.add_argument("--json", action="store_true", help="print one JSON object instead of text")
        return added

    about = "Compress a TIFF, .npy, NIfTI, Zarr or HDF5 volume, or those of several channels or points in time."
    compress = command(_compress, about, image="IN", file="OUT.tinc")
    kept = "What is done is kept in OUT.tinc.parts until the file is written: the same command goes on from there."
    compress.description = f"{about} {kept}"
    target = compress.add_mutually_exclusive_group()
    target.add_argument("--ratio", type=float, metavar="R", help="bytes of the raw array / bytes of the file (64)")
    target.add_argument("--bytes", type=int, metavar="N", help="largest size of the file")
    target.add_argument("--psnr", type=float, metavar="DB", help="least quality, in the smallest file that has it")
    help = "how far any voxel may be off, in units of the data; 0 is bit for bit"
    target.add_argument("--max-error", type=float, metavar="E", help=help)
    help = "networks: an octree of networks; predictive: none, but the predictive coder; auto: the better of both"
    compress.add_argument("--method", choices=METHODS, default="auto", help=help)
    compress.add_argument("--weights", choices=WEIGHTS, help="how they are stored (entropy)")
    compress.add_argument("--widths", type=_widths, metavar="N,N", help="of the networks, a level from the root")
    compress.add_argument("--calibration", choices=("auto", "none"), default="auto", help="where it pays, or none")
    help = "voxels along the edge of a block at most"
    compress.add_argument("--block", type=int, metavar="N", help=help)
    help = "go on from what is kept in OUT.tinc.parts, or fail; without it what is there is taken, too"
    compress.add_argument("--resume", action="store_true", help=help)
    compress.add_argument("--scheduler", metavar="ADDRESS", help="of dask.distributed, whose workers fit the blocks")
    help = "compress in a process of its own, whose crash or want of memory this command survives and explains"
    compress.add_argument("--isolate", action="store_true", help=help)
    compress.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (%(default)s)")
    compress.add_argument("--seed", type=int, default=0, help="the same seed gives the same file (%(default)s)")
    compress.add_argument("--log", metavar="metrics.jsonl", help="write loss, PSNR, bytes and seconds as JSON lines")

    about = "Decode a file, or a part of it, to TIFF, OME-Zarr or .npy."
    decompress = command(_decompress, about, file="FILE.tinc", image="OUT")
    help = "only these voxels of the level, without the end; either end may be left out"
    whole = _region(":,:,:")
    decompress.add_argument("--region", type=_region, default=whole, metavar="z0:z1,y0:y1,x0:x1", help=help)
    decompress.add_argument("--level", type=int, default=0, metavar="L", help="0 full resolution, 1 half, 2 a quarter")

    info = command(_info, "Tell what a file holds.", file="FILE.tinc")
    info.add_argument("--leaves", action="store_true", help="with a row for every leaf of the octree")
    for reading in (decompress, info):
        reading.add_argument("--partial", action="store_true", help="accept a file that is cut off")
    verify = command(_verify, "Check all checksums of a file and decode all it holds.", file="FILE.tinc")
    help = "prove on every voxel of this original that the file keeps its bound"
    verify.add_argument("--against", metavar="ORIGINAL", help=help)
    command(_compare, "Measure a file against its original.", image="ORIGINAL", file="FILE.tinc")

    demo = command(_demo, "Compress the bundled MRI sample, reopen it, and show both where there is a screen.")
    demo.add_argument("--out", metavar="PATH", help="keep the .tinc file there")
    demo.add_argument("--no-view", dest="view", action="store_false", help="do not open napari")
    demo.set_defaults(file=None, log=None)
    for fitting in (compress, demo):
        fitting.add_argument("--preset", choices=PRESETS, help="how long to train (balanced)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
