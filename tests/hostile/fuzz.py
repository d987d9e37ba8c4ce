"""Hostile files: what a reader may do with them, and a long run of them.

    make fuzz MINUTES=10        # or: python tests/hostile/fuzz.py --minutes 10 --seed 1
    python tests/hostile/fuzz.py --inputs 2000000

A reader may accept or raise TincError; anything else is a finding: another exception, a warning, more than a second of
CPU, and at open more memory than 4 times the file and 2 MiB. Memory is what Python and NumPy have allocated at the
peak by tracemalloc, the file's own bytes included, which a reader of a path has to hold; opening uses nothing else.
Of what is found, the seed and the input are printed; it becomes a test.
"""

from __future__ import annotations

import argparse
import faulthandler
import math
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mutator import DECODED, Mutator

from napari_tinc.decoding.volume import TincVolume
from napari_tinc.errors import TincError
from napari_tinc.format import networks_file
from napari_tinc.format.head import Feature

GOLDEN = Path(__file__).parents[1] / "golden"
SECONDS = 1.0  # of CPU, for any input
MEMORY, MEMORY_PER_BYTE = 2**21, 4  # at open
PART, DECODED_SHARE = 20_000, 1 / 40  # inputs a seed, and of these decoded in full


def opened(data: bytes) -> TincVolume | None:
    """None where it is refused; anything else that is raised is a finding."""
    try:
        return TincVolume(data)
    except TincError:
        return None


def decoded(data: bytes) -> str:
    """Open, verify, look at everything: how far that went."""
    volume = opened(data)
    if volume is None:
        return "refused at open"
    header = volume.header
    largest = max((part.stop - part.start).prod(axis=1).max() for part in [volume.parts])
    try:
        volume.parts.check()
        if volume.size <= DECODED:
            volume.verify()
            values = np.asarray(volume)
            if "error bound" not in repr(header) and values.dtype.kind in "iu" and volume.error_bound is None:
                assert values.shape == volume.shape
            np.asarray(volume.levels[-1])
            assert len(volume.leaves) >= 1
            return "decoded"
        if largest <= DECODED and math.prod(volume.parts.leading) <= 100:
            np.asarray(volume[tuple(slice(0, 2) for _ in volume.shape)])
        return "too large to be decoded whole"
    except TincError:
        return "refused when it was decoded"


def written_again(data: bytes) -> None:
    """What is accepted means exactly one thing: a file of one tree is written again as it was."""
    header, chunks = networks_file.parse(data)
    again = networks_file.pack(header, chunks)
    assert again[5:10] + again[16:] == data[5:10] + data[16:], "a file that is accepted is written otherwise"


@dataclass
class Findings:
    """What was done, and what was found."""

    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    slowest: float = 0.0
    most_memory: float = 0.0  # of what is allowed
    found: list[str] = field(default_factory=list)

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def run(self, what: str, data: bytes, work: Callable[[bytes], Any]) -> Any:
        """One input; whatever it raises is written down."""
        began = time.process_time()
        result = None
        try:
            result = work(data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.found.append(f"{what}: {type(error).__name__}: {error}\n{data.hex()}")
        spent = time.process_time() - began
        self.seconds[what] = self.seconds.get(what, 0.0) + spent
        self.count(what)
        self.slowest = max(self.slowest, spent)
        if spent > SECONDS:
            self.found.append(f"{what}: {spent:.1f} s of CPU\n{data.hex()}")
        return result

    def open(self, data: bytes, *, again: bool = False) -> None:
        volume = self.run("opened", data, opened)
        self.count("accepted" if volume is not None else "refused")
        if volume is not None and again and not data[5] & Feature.BLOCKS:
            self.run("written again", data, written_again)

    def open_in_memory(self, data: bytes) -> None:
        """The same, with an eye on memory; tracemalloc is on."""
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        self.run("opened with memory measured", data, opened)
        used = tracemalloc.get_traced_memory()[1] - before + len(data)
        share = used / (MEMORY + MEMORY_PER_BYTE * len(data))
        self.most_memory = max(self.most_memory, share)
        if share > 1:
            self.found.append(f"open: {used} bytes of memory for a file of {len(data)}\n{data.hex()}")

    def decode(self, data: bytes) -> None:
        result = self.run("decoded in full", data, decoded)
        if result is not None:
            self.count(result)

    def add(self, other: Findings) -> None:
        for what, n in other.counts.items():
            self.counts[what] = self.counts.get(what, 0) + n
        for what, seconds in other.seconds.items():
            self.seconds[what] = self.seconds.get(what, 0.0) + seconds
        self.slowest, self.most_memory = max(self.slowest, other.slowest), max(self.most_memory, other.most_memory)
        self.found += other.found

    def report(self) -> str:
        lines = [f"{what}: {n}" + (f", {n / self.seconds[what]:.0f} per second of CPU" if what in self.seconds else "")
                 for what, n in self.counts.items()]  # fmt: skip
        lines.append(f"slowest input: {self.slowest:.2f} s of CPU")
        lines.append(f"most memory at open: {self.most_memory:.0%} of 4 x file + 2 MiB")
        return "\n".join([*lines, f"{len(self.found)} findings"])


def golden() -> list[bytes]:
    return [path.read_bytes() for path in sorted(GOLDEN.glob("*.tinc"))]


def campaign(seed: int, n_opens: int, n_decodes: int, until: float = math.inf) -> Findings:
    """So many inputs of each kind, or as many as the time allows; every 50th open with its memory measured."""
    mutator, findings = Mutator(seed, golden()), Findings()
    share = n_decodes / n_opens
    due = 0.0
    for at in range(n_opens):
        if at % 256 == 0 and time.monotonic() > until:
            break
        data = mutator.next()
        if at % 50 == 0:
            tracemalloc.start()
            findings.open_in_memory(data)
            tracemalloc.stop()
        else:
            findings.open(data, again=at % 16 == 0)
        due += share
        if due >= 1:
            due -= 1
            findings.decode(data)
    return findings


def all_damage(findings: Findings, data: bytes) -> None:
    """Every single-bit flip and every truncation; all have to be refused."""

    def refused(damaged: bytes) -> None:
        try:
            TincVolume(damaged).verify()
        except TincError:
            return
        raise AssertionError("damage was not refused")

    flipped = bytearray(data)
    for bit in range(8 * len(data)):
        flipped[bit // 8] ^= 1 << bit % 8
        findings.run("flipped bits refused", bytes(flipped), refused)
        flipped[bit // 8] ^= 1 << bit % 8
    for size in range(len(data)):
        findings.run("truncations refused", data[:size], refused)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long")
    parser.add_argument("--inputs", type=float, default=math.inf, help="stop after so many; one in 40 is decoded too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-flips", action="store_true", help="without all flips and truncations of the golden files")
    options = parser.parse_args()
    warnings.simplefilter("error")
    until = time.monotonic() + 60 * options.minutes
    total, seed, left = Findings(), options.seed, options.inputs
    if not options.no_flips:
        for data in golden():
            all_damage(total, data)
        print(total.report(), flush=True)
    while left > 0 and time.monotonic() < until:
        faulthandler.dump_traceback_later(600, exit=True)  # a reader that never comes back
        n = int(min(left, PART))
        part = campaign(seed, n, max(1, round(n * DECODED_SHARE)), until)
        total.add(part)
        for text in part.found:
            print(f"seed {seed}: {text}", flush=True)
        seed, left = seed + 1, left - n
    faulthandler.cancel_dump_traceback_later()
    print(total.report())
    return int(bool(total.found))


if __name__ == "__main__":
    sys.exit(main())
