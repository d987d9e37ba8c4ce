"""How honest the remaining time is: python -m benchmarks.speed.estimates [PRESET ...]. Needs an otherwise idle machine.

For fits of the bundled sample: the total that was predicted after a fifth and a half of the time that it took, and by
how much that was wrong. Seconds count from the first event, after imports.
"""

from __future__ import annotations

import math
import sys
import time

import napari_tinc as tinc
from napari_tinc import samples

SHARES = (0.2, 0.5)


def predictions(**options: object) -> tuple[float, list[float], str]:
    """Seconds that a fit took, the totals predicted at :data:`SHARES` of it, and the method of its file."""
    told: list[tuple[float, float]] = []
    method = ""
    events = tinc.fit(samples.mri().array, **options)  # type: ignore[arg-type]
    next(events)
    began = time.perf_counter()
    for event in events:
        seconds = time.perf_counter() - began
        if isinstance(event, tinc.Finished):
            method = event.method
        elif isinstance(event, tinc.Progress) and math.isfinite(event.seconds_left):
            told.append((seconds, seconds + event.seconds_left))
    total = time.perf_counter() - began
    return total, [[all_of for at, all_of in told if at <= share * total][-1] for share in SHARES], method


def main() -> None:
    print("preset    ratio  method      made        seconds" + "".join(f"   at {share:.0%}  error" for share in SHARES))
    for preset in sys.argv[1:] or ("fast", "balanced"):
        for ratio in (64, 256):
            for method in ("networks", "auto"):
                total, found, made = predictions(preset=preset, ratio=ratio, method=method)
                columns = "".join(f"{guess:9.1f} {guess / total - 1:+6.0%}" for guess in found)
                print(f"{preset:9} {ratio:5}  {method:10}  {made:10} {total:8.1f}{columns}", flush=True)


if __name__ == "__main__":
    main()
