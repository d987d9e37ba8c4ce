"""The command line: ``napari-tinc compress | decompress | info | verify | compare | share | demo``.

Results go to stdout, as text or (``--json``) as one JSON object. Progress and errors go to stderr, an error as one
line. The exit code is 0, 1 (failed) or 2 (usage). This module has the arguments; each command has its own module.
Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import napari_tinc as tinc

from ..encoding.log import to_json
from ..errors import ReadWarning
from ..texts import with_names
from .compress import run_compress
from .decompress import run_decompress
from .demo import run_demo
from .inspect import run_compare, run_info, run_verify
from .share import run_share
from .tables import printable_line, put

METHODS = ("auto", "networks", "predictive")
PRESETS = ("fast", "balanced", "best")
WEIGHTS = ("entropy", "int8", "float16")

_SHOW = warnings.showwarning
# Arguments of Python by their flags here, for messages.
FLAGS = {
    name: f"--{name.replace('_', '-')}" for name in (
        "ratio", "psnr", "max_error", "preset", "device", "seed", "weights", "widths", "calibration", "labels",
        "method", "block", "scheduler", "exact", "exact_max_error", "importance", "resume",
    )
} | {"nbytes": "--bytes"}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; SystemExit (of code 2) if the arguments are not usable."""
    if sys.stderr is None:  # closed; print would turn to stdout
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    args = _parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.simplefilter("always", ReadWarning)
        warnings.showwarning = _show_warning
        return _run(args)


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **how: Any) -> None:
    """Print what is doubtful about a file as one line on stderr. Other warnings are for developers."""
    if issubclass(category, ReadWarning):
        print(f"napari-tinc: {printable_line(with_names(str(message), FLAGS))}", file=sys.stderr)
    else:
        _SHOW(message, category, *place, **how)


def _run(args: argparse.Namespace) -> int:
    """Run one command and return its exit code."""
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
        reason = with_names(str(error), FLAGS) or type(error).__name__
    except tinc.ChildError as error:
        reason = with_names(str(error), FLAGS)
    if args.json:
        with contextlib.suppress(OSError):  # stdout may be what has failed; stderr says it, too
            put(to_json({"error": reason}))
    print(f"napari-tinc: {printable_line(reason)}", file=sys.stderr)
    return 1


# --- arguments -------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser that takes unabbreviated options only, and prints a usage error as one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        # What argparse takes for a value though it begins as an option does; its own pattern has one number only.
        self._negative_number_matcher = re.compile(r"-(\.?\d|inf|nan)")

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Version(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"napari-tinc {version('napari-tinc')}")
        parser.exit()


def _number(text: str) -> float:
    """Read a number, and say how to write it where it has a decimal comma."""
    try:
        return float(text)
    except ValueError:
        hint = f": write {text.replace(',', '.')}" if re.fullmatch(r"\d*,\d+", text, re.ASCII) else ""
        raise argparse.ArgumentTypeError(f"{text!r} is not a number{hint}") from None


def _fill(text: str) -> tuple[Any, ...]:
    """Parse --fill: numbers with commas between them, or auto, or none."""
    from ..encoding.regions.fill_search import AUTO, parse_fill

    parts = [part.strip() for part in text.split(",")]
    try:
        return parse_fill("none" if parts == ["none"] else [part if part == AUTO else _exact(part) for part in parts])
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"{text!r}, expected numbers such as -32768, or none, or auto") from error


def _exact(text: str) -> float:
    """Parse a number, a whole one as an int, which may be larger than a float holds exactly."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def _port(text: str) -> int:
    """Read the number of a port."""
    if not (re.fullmatch(r"\d{1,5}", text, re.ASCII) and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text!r}, expected 0 to 65535")
    return int(text)


def _widths(text: str) -> list[int]:
    """Parse "48,16"."""
    if not re.fullmatch(r"\d+(,\d+)*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 48,16")
    return list(map(int, text.split(",")))


def _region(text: str) -> list[tuple[int | None, int | None]]:
    """Parse "z0:z1,y0:y1,x0:x1" to pairs, with None for an end that is left out."""
    match = re.fullmatch(r"(\d*):(\d*),(\d*):(\d*),(\d*):(\d*)", text, re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not z0:z1,y0:y1,x0:x1")
    ends = [int(end) if end else None for end in match.groups()]
    return list(zip(ends[::2], ends[1::2], strict=True))


def _add_reading(command: argparse.ArgumentParser) -> None:
    """Add the arguments that say how to read an image where its file leaves room for doubt."""
    help = "what the axes of the image are, such as ZYX or CZYX, whatever its file says"
    command.add_argument("--axes", metavar="AXES", help=help)
    command.add_argument("--series", type=int, metavar="N", help="of several images in the file, this one, from 0")
    command.add_argument("--channel", metavar="N", help="only this channel, from 0, or by its name")
    help = "shape and dtype of a file without a header: 300x512x512,uint16 (then big, or offset=BYTES)"
    command.add_argument("--raw", metavar="SHAPE,DTYPE", help=help)
    command.set_defaults(labels=False)


def _parser() -> argparse.ArgumentParser:
    """Define the commands and their arguments."""
    parser = _Parser(prog="napari-tinc", description="Compress 3D volumes into tiny .tinc files, and draw them again.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(run: Callable[[argparse.Namespace], None], about: str, **positionals: str) -> argparse.ArgumentParser:
        added = commands.add_parser(run.__name__.removeprefix("run_"), help=about, description=about)
        added.set_defaults(run=run)
        for name, metavar in positionals.items():
            added.add_argument(name, metavar=metavar)
        added.add_argument("--json", action="store_true", help="print one JSON object instead of text")
        return added

    about = "Compress a TIFF, .npy, NIfTI, Zarr or HDF5 volume, or those of several channels or points in time."
    compress = command(run_compress, about, image="IN", file="OUT.tinc")
    kept = "What is done is kept in OUT.tinc.parts until the file is written: the same command goes on from there."
    compress.description = f"{about} {kept}"
    compress.add_argument("--labels", action="store_true", help="values are labels: kept bit for bit, and marked")
    target = compress.add_mutually_exclusive_group()
    target.add_argument("--ratio", type=_number, metavar="R", help="bytes of the raw array / bytes of the file (64)")
    target.add_argument("--bytes", type=int, metavar="N", help="largest size of the file")
    target.add_argument("--psnr", type=_number, metavar="DB", help="least quality, in the smallest file that has it")
    help = "how far any voxel may be off, in units of the data; 0 is bit for bit"
    target.add_argument("--max-error", type=_number, metavar="E", help=help)
    help = "networks: an octree of networks; predictive: none, but the predictive coder; auto: the better of both"
    compress.add_argument("--method", choices=METHODS, default="auto", help=help)
    help = "keep these voxels bit for bit: an image file that is not 0 inside"
    compress.add_argument("--exact", metavar="MASK", help=help)
    help = "instead of bit for bit, how far a voxel of --exact may be off, in units of the data"
    compress.add_argument("--exact-max-error", type=_number, default=0.0, metavar="E", help=help)
    help = "values that are no measurements, such as -32768; none; or auto: one that is far from all others (auto)"
    compress.add_argument("--fill", type=_fill, default="auto", metavar="VALUE,VALUE", help=help)
    help = "an image file of weights of the squared errors, 0 or more: large where detail matters"
    compress.add_argument("--importance", metavar="FILE", help=help)
    compress.add_argument("--weights", choices=WEIGHTS, help="how they are stored (entropy)")
    compress.add_argument("--widths", type=_widths, metavar="N,N", help="of the networks, a level from the root")
    compress.add_argument("--calibration", choices=("auto", "none"), default="auto", help="where it pays, or none")
    help = "voxels along the edge of a block at most"
    compress.add_argument("--block", type=int, metavar="N", help=help)
    help = "go on from what is kept in OUT.tinc.parts, or fail; without it what is there is taken, too"
    compress.add_argument("--resume", action="store_true", help=help)
    compress.add_argument("--scheduler", metavar="ADDRESS", help="of dask.distributed, whose workers fit the blocks")
    help = "compress in a separate process: if it crashes or runs out of memory, this command says so"
    compress.add_argument("--isolate", action="store_true", help=help)
    compress.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (%(default)s)")
    compress.add_argument("--seed", type=int, default=0, help="the same seed gives the same file (%(default)s)")
    compress.add_argument("--log", metavar="metrics.jsonl", help="write loss, PSNR, bytes and seconds as JSON lines")

    about = "Decode a file, or a part of it, to TIFF, OME-Zarr or .npy."
    decompress = command(run_decompress, about, file="FILE.tinc", image="OUT")
    help = "only these voxels of the level, without the end; either end may be left out"
    whole = _region(":,:,:")
    decompress.add_argument("--region", type=_region, default=whole, metavar="z0:z1,y0:y1,x0:x1", help=help)
    help = "write an OME-Zarr that stays compressed, for Zarr where napari-tinc is installed"
    decompress.add_argument("--codec", choices=("tinc",), help=help)
    decompress.add_argument("--level", type=int, default=0, metavar="L", help="0 full resolution, 1 half, 2 a quarter")

    info = command(run_info, "Tell what a file holds.", file="FILE.tinc")
    info.add_argument("--leaves", action="store_true", help="with a row for every leaf of the octree")
    for reading in (decompress, info):
        reading.add_argument("--partial", action="store_true", help="accept a file that is cut off")
    verify = command(run_verify, "Check all checksums of a file and decode all it holds.", file="FILE.tinc")
    help = "prove on every voxel of this original that the file keeps its bound"
    verify.add_argument("--against", metavar="ORIGINAL", help=help)
    compare = command(run_compare, "Measure a file against its original.", image="ORIGINAL", file="FILE.tinc")
    help = "a label image of the same shape (.tinc, too): PSNR and SSIM of each label, inside of all, and outside (0)"
    compare.add_argument("--regions", metavar="FILE", help=help)
    for reading in (compress, verify, compare):
        _add_reading(reading)

    share = command(run_share, "Show a file in a browser: by a link, or as one page to send.", file="FILE.tinc")
    help = "write one page with the file inside, which opens without a server, instead of serving it"
    share.add_argument("--html", metavar="OUT.html", help=help)
    share.add_argument("--port", type=_port, metavar="N", help="serve at this port (any that is free)")
    help = "serve at this address; 0.0.0.0: to every machine that reaches this one (127.0.0.1: to none but this)"
    share.add_argument("--host", metavar="ADDRESS", help=help)

    demo = command(run_demo, "Compress the bundled MRI sample, reopen it, and show both where there is a screen.")
    demo.add_argument("--out", metavar="PATH", help="keep the .tinc file there")
    demo.add_argument("--no-view", dest="view", action="store_false", help="do not open napari")
    demo.set_defaults(file=None, log=None)
    for fitting in (compress, demo):
        fitting.add_argument("--preset", choices=PRESETS, help="how long to train (balanced)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
