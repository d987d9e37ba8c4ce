"""The predictive coder before and after a change, and beside other codecs.

    python -m benchmarks.speed.predictive CORPUS OLD_CHECKOUT [NAMES ...]

Whole files as a user makes and reads them: `compress` with its proof and its measures, `open` and all voxels. Then the
coder alone, one box a core, beside SPERR (within a bound) and JPEG XL (lossless, a slice at a time) on one thread, as
they come. Two processes, with this checkout and the old one, take turns. Mvoxel/s, medians; bytes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import VOLUMES, load, machine, markdown
from benchmarks.speed.pairs import Answer, answer, start

BOUNDS = (0.0, 1e-3, 1e-2)  # of the range
BOX = 128  # Boxes of the coder are at most this many voxels long.


def bound_of(volume: NDArray[Any], share: float) -> float:
    """The bound, rounded down for integers."""
    bound = share * (float(volume.max()) - float(volume.min()))
    return float(int(bound)) if volume.dtype.kind in "iu" else bound


def whole(corpus: str, name: str, share: float) -> Answer:
    import napari_tinc as tinc

    volume = load(Path(corpus), name)
    began = time.perf_counter()
    compressed = tinc.compress(volume, max_error=bound_of(volume, share))
    encoded = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.tinc"
        compressed.save(path)
        began = time.perf_counter()
        np.asarray(tinc.open(path))
        decoded = time.perf_counter() - began
        nbytes = path.stat().st_size
    return {"encode": volume.size / 1e6 / encoded, "decode": volume.size / 1e6 / decoded, "bytes": nbytes}


def coder(corpus: str, name: str, share: float) -> Answer:
    from benchmarks.quality.bounded import boxes
    from napari_tinc.bounded import box as bounded_box
    from napari_tinc.bounded.workers import side_by_side

    volume = load(Path(corpus), name)
    bound, places = bound_of(volume, share), boxes(volume.shape)
    parts = [np.ascontiguousarray(volume[place]) for place in places]
    return timed(
        volume,
        lambda: side_by_side(len(parts), lambda i: bounded_box.encode_box(parts[i], bound)),
        lambda data: side_by_side(
            len(parts), lambda i: bounded_box.decode_box(data[i], parts[i].shape, volume.dtype)
        ),
    )  # fmt: skip


def sperr(corpus: str, name: str, share: float) -> Answer:
    import imagecodecs

    volume = load(Path(corpus), name)
    values, bound = volume.astype(np.float32), bound_of(volume, share)
    bound += 0.49 if volume.dtype.kind in "iu" else 0.0  # rounding to integers takes that off again
    return timed(
        volume, lambda: [imagecodecs.sperr_encode(values, bound, mode="pwe")],
        lambda stream: imagecodecs.sperr_decode(stream[0]),
    )  # fmt: skip


def jpeg_xl(corpus: str, name: str, effort: int) -> Answer:
    import imagecodecs

    volume = load(Path(corpus), name)
    planes = (volume.astype(np.int64) - int(volume.min())).astype(np.uint16 if volume.itemsize > 1 else np.uint8)
    return timed(
        volume, lambda: [imagecodecs.jpegxl_encode(plane, lossless=True, effort=effort) for plane in planes],
        lambda stream: [imagecodecs.jpegxl_decode(plane) for plane in stream],
    )  # fmt: skip


def timed(volume: NDArray[Any], encode: Callable[[], list[bytes]], decode: Callable[[list[bytes]], Any]) -> Answer:
    """Encode and decode once."""
    began = time.perf_counter()
    data = encode()
    between = time.perf_counter()
    decode(data)
    ended = time.perf_counter()
    size = volume.size / 1e6
    return {"encode": size / (between - began), "decode": size / (ended - between), "bytes": sum(map(len, data))}


def median(answers: list[Answer], key: str) -> float:
    return statistics.median(answer[key] for answer in answers)


def main() -> None:
    if "--answer" in sys.argv:
        answer({"whole": whole, "coder": coder, "sperr": sperr, "jpeg_xl": jpeg_xl})
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="folder of the volumes")
    parser.add_argument("old", type=Path, help="checkout of an earlier state")
    parser.add_argument("names", nargs="*", default=list(VOLUMES))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    files: list[list[str]] = []
    alone: list[list[str]] = []
    faster: dict[str, list[float]] = {"encode": [], "decode": [], "bytes": []}
    module = "benchmarks.speed.predictive"
    with ExitStack() as stack:
        old, new = start(stack, options.old, module), start(stack, Path(__file__).parents[2], module)
        print(f"{machine()}; old: {options.old}\n", flush=True)
        for name in options.names:
            is_integer = load(Path(options.corpus), name).dtype.kind in "iu"
            for share in BOUNDS:
                request: Any = {"corpus": options.corpus, "name": name, "share": share}
                for ask in (old, new):
                    ask(do="whole", **request)  # compiles, and imports
                pairs = [(old(do="whole", **request), new(do="whole", **request)) for _ in range(options.rounds)]
                before, after = ([pair[side] for pair in pairs] for side in (0, 1))
                row = [f"{name} {share:g}"]
                for key in ("encode", "decode", "bytes"):
                    values = median(before, key), median(after, key)
                    faster[key].append(values[1] / values[0])
                    digits = ".0f" if key == "bytes" else ".3g"
                    row += [format(values[0], digits), format(values[1], digits), f"{values[1] / values[0]:.3f}"]
                files.append(row)
                peers = [("sperr", request)] if share else []
                if not share and is_integer:
                    peers = [
                        ("jpeg_xl", {"corpus": options.corpus, "name": name, "effort": effort}) for effort in (3, 7)
                    ]
                if peers:
                    turns = [
                        [new(do="coder", **request), *(new(do=peer, **wanted) for peer, wanted in peers)]
                        for _ in range(options.rounds)
                    ]
                    for number, label in enumerate(["ours", *(f"{p} {w.get('effort', '')}".strip() for p, w in peers)]):
                        taken = [turn[number] for turn in turns]
                        cells = [f"{median(taken, key):.3g}" for key in ("encode", "decode")]
                        alone.append([f"{name} {share:g}", label, *cells, f"{median(taken, 'bytes'):.0f}"])
                print(f"  {' '.join(row)}", file=sys.stderr, flush=True)
    head = ["file, bound / range", "encode, old", "new", "ratio", "decode, old", "new", "ratio"]
    print(markdown([*head, "bytes, old", "new", "ratio"], files))
    means = ", ".join(f"{key} {statistics.geometric_mean(ratios):.3f}" for key, ratios in faster.items())
    print(f"\nGeometric means of the ratios: {means}.\n")
    print(markdown(["coder alone", "", "encode", "decode", "bytes"], alone))


if __name__ == "__main__":
    main()
