"""What each preset takes and gives, before and after a change: python -m benchmarks.speed.presets CORPUS OLD_CHECKOUT

Whole files by `fit`, in a process with this checkout and one with the old one, in turns: seconds by the clock, seconds
of the processor, PSNR and bytes of the file. The first file of each process, which compiles or imports, is not counted.
On two idle cores the sample at one ratio takes ten minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.common import load, machine, markdown
from benchmarks.speed.pairs import Answer, answer, start

PRESETS = ("fast", "balanced", "best")


def fit(corpus: str, name: str, ratio: float, preset: str) -> Answer:
    import napari_tinc as tinc

    volume = load(Path(corpus), name)
    clock, processor = time.perf_counter(), time.process_time()
    *_, finished = tinc.fit(volume, ratio=ratio, preset=preset, device="cpu")
    return {
        "wall": time.perf_counter() - clock, "cpu": time.process_time() - processor,
        "method": getattr(finished, "method", ""),  # earlier versions do not say it
        "psnr": finished.quality.psnr, "bytes": finished.volume.nbytes_compressed,
    }  # fmt: skip


def main() -> int:
    if "--answer" in sys.argv:
        answer({"fit": fit})
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="folder of the volumes")
    parser.add_argument("old", type=Path, help="checkout of an earlier state")
    parser.add_argument("--volumes", nargs="+", default=["mri_mni152_crop"])
    parser.add_argument("--ratios", nargs="+", type=float, default=[64.0, 256.0])
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS)
    options = parser.parse_args()
    table = []
    with ExitStack() as stack:
        checkouts = options.old, Path(__file__).parents[2]
        old, new = (start(stack, checkout, "benchmarks.speed.presets") for checkout in checkouts)
        for ask in (old, new):
            ask(do="fit", corpus=options.corpus, name="hipct_brain64", ratio=256, preset="fast")
        print(f"{machine()}; old: {options.old}\n", flush=True)
        for name in options.volumes:
            for ratio in options.ratios:
                for preset in options.presets:
                    request = {"do": "fit", "corpus": options.corpus, "name": name, "ratio": ratio, "preset": preset}
                    before, after = old(**request), new(**request)
                    table.append([f"{name}, {ratio:g}, {preset}", *cells(before), *cells(after)])
                    print(f"  {' '.join(table[-1])}", file=sys.stderr, flush=True)
    columns = ["made", "s", "CPU s", "dB", "bytes"]
    head = ["volume, ratio, preset", *(f"{which}: {column}" for which in ("old", "new") for column in columns)]
    print(markdown(head, table))
    return 0


def cells(one: Answer) -> list[str]:
    return [one["method"], f"{one['wall']:.1f}", f"{one['cpu']:.1f}", f"{one['psnr']:.2f}", str(one["bytes"])]


if __name__ == "__main__":
    sys.exit(main())
