"""A fit on an NVIDIA GPU: whether it is as good as on the CPU, how it fails and ends, how long it takes.

    python -m benchmarks.speed.gpu [--minutes 8] [--device cuda]

On the bundled MRI (128^3), in this order, so that what matters most is known if the time runs out: PSNR at equal bytes
beside the CPU's (at most 0.1 dB apart); the file's own figures, measured again; too little memory, and a job after
that; Cancel; seconds of every preset; a job of blocks of 128^3, as many as the rest of the time allows. Exits with 1 if
a check fails. `--device cpu` tries the script itself.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import napari_tinc as tinc
from benchmarks.common import machine, markdown
from napari_tinc import samples
from napari_tinc.control import Control
from napari_tinc.devices import find_devices

MOST_APART_DB = 0.1  # A GPU's file may be that much worse than the CPU's, in as many bytes.
MOST_APART = 1e-6  # The figures that a file states may be that share of the range off when they are measured again.
LITTLE_MEMORY = 2e-4  # Share of the GPU's memory that a fit is left with: a few MB.
CANCEL_SECONDS = 1.0  # A cancelled job ends within this time.
N_BLOCKS = 64


def fit(volume: NDArray[Any], control: Control | None = None, **options: Any) -> tuple[tinc.Finished | None, float]:
    """Fit networks to the end, or until it is cancelled; the result, and seconds."""
    began, finished = time.perf_counter(), None
    for event in tinc.fit(volume, method="networks", control=control or Control(), **options):
        if isinstance(event, tinc.Finished):
            finished = event
    return finished, time.perf_counter() - began


def describe(device: str) -> str:
    """The name of the card, and its memory."""
    if device == "cpu":
        return "the CPU, which only tries the script"
    import torch

    card = torch.cuda.get_device_properties(device)
    return f"{card.name}, {card.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"


def quality(volume: NDArray[Any], device: str) -> tuple[list[list[str]], bool]:
    """Both devices at equal bytes, and the figures of the GPU's file measured again."""
    rows, passed = [], True
    span = float(volume.max()) - float(volume.min())
    for ratio in (64, 256):
        (on_cpu, slow), (on_gpu, quick) = (fit(volume, ratio=ratio, preset="fast", device=d) for d in ("cpu", device))
        assert on_cpu and on_gpu
        values = np.asarray(tinc.TincVolume(on_gpu.volume.parts.data())).astype(np.float64)
        rmse = float(np.sqrt(np.square(values - volume).mean()))
        apart, again = on_gpu.quality.psnr - on_cpu.quality.psnr, abs(rmse - on_gpu.quality.rmse) / span
        fine = apart >= -MOST_APART_DB and again <= MOST_APART
        passed &= fine
        sizes = [f"{found.volume.nbytes_compressed:,}" for found in (on_cpu, on_gpu)]
        rows.append([
            f"ratio {ratio}, fast", *sizes, f"{on_cpu.quality.psnr:.2f}", f"{on_gpu.quality.psnr:.2f}", f"{apart:+.2f}",
            f"{again:.1e}", f"{slow:.1f}", f"{quick:.1f}", "passed" if fine else "FAILED",
        ])  # fmt: skip
    return rows, passed


def too_little_memory(volume: NDArray[Any], device: str) -> tuple[str, bool]:
    """A fit with too little memory ends in one line that says so, and the next fit works."""
    import torch

    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(LITTLE_MEMORY)
    try:
        fit(volume, ratio=16, preset="best", device=device)
        said, passed = "no error", False
    except ValueError as error:
        said, passed = str(error), "memory" in str(error)
    torch.cuda.set_per_process_memory_fraction(1.0)
    after, _ = fit(volume[:64, :64, :64], ratio=64, preset="fast", device=device)
    return f"{said}; the next fit: {'works' if after else 'none'}", passed and after is not None


def cancelled(volume: NDArray[Any], device: str, after: float) -> float:
    """Seconds that a job takes to end when it is cancelled after so many."""
    control, ended = Control(), []

    def run() -> None:
        fit(volume, control, ratio=64, preset="best", device=device)
        ended.append(time.perf_counter())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(after)
    asked = time.perf_counter()
    control.cancel.set()
    thread.join()
    return ended[0] - asked


def blocks(volume: NDArray[Any], device: str, seconds: float) -> str:
    """Fit a job of blocks, side by side, until the time is over."""
    n = round(N_BLOCKS ** (1 / 3))
    whole = np.tile(volume, (n, n, n))
    for axis, index in itertools.product(range(3), range(1, n, 2)):  # every second one mirrored: no two alike edges
        place = [slice(None)] * 3
        place[axis] = slice(index * volume.shape[axis], (index + 1) * volume.shape[axis])
        whole[tuple(place)] = np.flip(whole[tuple(place)], axis)
    control, done, began = Control(), 0, time.perf_counter()
    for event in tinc.fit(
        whole, method="networks", ratio=256, preset="fast", block=volume.shape[0], device=device, control=control
    ):
        if isinstance(event, tinc.Progress) and event.phase == "blocks":
            done = event.step
        if isinstance(event, tinc.Finished):
            return f"{N_BLOCKS} blocks of {volume.shape[0]}^3, fast, ratio 256: {time.perf_counter() - began:.1f} s"
        if time.perf_counter() - began > seconds:
            control.cancel.set()
    return (
        f"{done} of {N_BLOCKS} blocks of {volume.shape[0]}^3, fast, ratio 256, in {time.perf_counter() - began:.1f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    began, device, volume = time.perf_counter(), options.device, np.asarray(samples.mri().array)
    if device != "cpu" and "cuda" not in (found := find_devices()):
        print(f"no GPU that PyTorch can use with CUDA; found: {', '.join(found)}", file=sys.stderr)
        return 1

    def left() -> float:
        """Seconds until the time is over."""
        return 60 * options.minutes - (time.perf_counter() - began)

    print(f"{machine()}; {describe(device)}\n", flush=True)
    fit(volume[:48, :48, :48], ratio=64, preset="fast", device=device)  # compiles, and imports
    rows, passed = quality(volume, device)
    head = ["", "bytes, CPU", "GPU", "dB, CPU", "GPU", "apart", "measured again", "s, CPU", "GPU", ""]
    print(markdown(head, rows), "\n", flush=True)
    if device != "cpu":
        said, fine = too_little_memory(volume, device)
        passed &= fine
        print(f"Too little memory: {said}. {'passed' if fine else 'FAILED'}\n", flush=True)
    took = [cancelled(volume, device, after) for after in (0.3, 1.0, 2.5, 4.0)]
    passed &= max(took) <= CANCEL_SECONDS
    print(f"Cancelled: ended after {', '.join(f'{seconds:.2f}' for seconds in took)} s.\n", flush=True)
    for preset in ("fast", "balanced", "best"):
        if left() < 30:
            print("No time left for more.")
            break
        finished, seconds = fit(volume, ratio=64, preset=preset, device=device)
        assert finished
        print(f"128^3, ratio 64, {preset}: {seconds:.1f} s, {finished.quality.psnr:.2f} dB", flush=True)
    else:
        print(blocks(volume, device, max(1.0, left() - 10)))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
