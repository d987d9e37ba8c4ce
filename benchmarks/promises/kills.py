"""Jobs of the command line, killed (SIGKILL) at a random moment, go on: to the same bytes, with little lost?

    python -m benchmarks.promises.kills --kills 30
    python -m benchmarks.promises.kills --kills 30 --seconds 1     # a checkpoint every second, for jobs this short

Every job runs once to its end. Then it is killed at a random moment of that time, goes on with ``--resume`` (without,
where nothing was kept yet), and the bytes are compared. Lost is the CPU time that both runs took beyond that of the
uninterrupted one and the start of a process (of which loading compiled code is most); CPU time, as other work on the
machine does not count in it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from benchmarks.common import computer, markdown
from napari_tinc import samples
from napari_tinc.storage.checkpoint import files

JOBS = {  # name -> edge of the part of the sample, options
    "ratio 64": (64, "--ratio 64 --preset fast"),
    "ratio 64, balanced": (40, "--ratio 64"),
    "PSNR 30": (40, "--psnr 30 --preset fast"),
    "ratio 4, networks or none": (64, "--ratio 4 --preset fast"),
    "exact, blocks": (72, "--max-error 0 --block 24"),
    "blocks": (64, "--ratio 24 --preset fast --block 32"),
}
RUN = """
import sys
from napari_tinc.storage import checkpoint; from napari_tinc.cli import main as cli; from napari_tinc.training import
trainer as training seconds = float(sys.argv[1])
if seconds:
    checkpoint.CHECKPOINT_SECONDS = training.CHECKPOINT_SECONDS = seconds
    checkpoint.RESULT_SECONDS = training.RESULT_SECONDS = min(seconds, checkpoint.RESULT_SECONDS)
sys.exit(cli.main(sys.argv[2:]))
"""


def start(seconds: float, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, str(seconds), "compress", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> tuple[float, str]:
    """CPU seconds of a process that has ended, and what it said on stderr."""
    said = process.stderr.read()  # type: ignore[union-attr]
    process.stdout.read()  # type: ignore[union-attr]
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=0, help="between two checkpoints; 0 for what it really is")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="jobs whose name holds this text")
    parser.add_argument("--larger", type=float, default=1, help="factor on the edges of the volumes")
    args = parser.parse_args()
    jobs = {name: (round(args.larger * edge), said) for name, (edge, said) in JOBS.items() if args.only in name}
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begun, _ = end(start(args.seconds, folder / "none.tif", folder / "none.tinc"))
        rows, wrong, worst = [], 0, 0.0
        for number, (job, (edge, options)) in enumerate(jobs.items()):
            arguments = (folder / f"{edge}.tif", *options.split())
            tifffile.imwrite(arguments[0], np.ascontiguousarray(samples.mri().array[(slice(24, 24 + edge),) * 3]))
            expected, out = folder / f"{number}.tinc", folder / f"{number}-killed.tinc"
            began = time.monotonic()
            whole, said = end(start(args.seconds, arguments[0], expected, *arguments[1:]))
            lasts = time.monotonic() - began
            assert expected.exists(), said
            lost, resumed = [], 0
            for _ in range(-(-args.kills // len(jobs))):
                process = start(args.seconds, arguments[0], out, *arguments[1:])
                time.sleep(chance.uniform(0, lasts))
                os.kill(process.pid, signal.SIGKILL)  # Popen's own would reap one that has ended
                before, _ = end(process)
                kept = bool(files(Path(f"{out}.parts")))
                resumed += kept
                after = 0.0
                if not out.exists():
                    after, said = end(start(args.seconds, arguments[0], out, *arguments[1:], *["--resume"] * kept))
                    assert out.exists(), said
                    lost.append(max(0.0, before + after - whole - begun))
                same = out.read_bytes() == expected.read_bytes() and not Path(f"{out}.parts").exists()
                wrong += not same
                print(
                    f"{job}: {before:.1f} + {after:.1f} s of {whole:.1f} s{'' if same else ' WRONG'}", file=sys.stderr
                )
                out.unlink()
            worst = max(worst, *lost, 0.0)
            median = f"{np.median(lost):.1f} s" if lost else "-"
            rows.append([job, f"{whole:.0f} s", str(resumed), median, f"{max(lost, default=0):.1f} s"])
        print(computer("numpy", "numba"))
        print(markdown(["job", "CPU time", "kills with something kept", "lost, median", "lost, worst"], rows))
        print(f"{wrong} files differ, at most {worst:.1f} s of CPU time were lost")


if __name__ == "__main__":
    main()
