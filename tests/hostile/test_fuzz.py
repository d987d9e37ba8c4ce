"""A short run of hostile files, and what reading a file touches: that file, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fuzz
import pytest
from mutator import Mutator

from napari_tinc.errors import TincError

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.tinc"))


def test_a_short_campaign() -> None:
    findings = fuzz.campaign(seed=7, n_opens=6000, n_decodes=700)
    assert findings.found == []
    counts = findings.counts
    # It reaches what lies behind the checksums, and behind the header.
    assert counts["accepted"] > 2000 and counts["refused"] > 2000
    assert counts["decoded"] > 30 and counts["refused when it was decoded"] > 100
    assert counts["opened with memory measured"] == 120 and counts["written again"] > 50


def test_the_same_files_for_the_same_seed() -> None:
    one, other, third = (Mutator(seed, fuzz.golden()) for seed in (3, 3, 4))
    files = [one.next() for _ in range(200)]
    assert files == [other.next() for _ in range(200)] != [third.next() for _ in range(200)]


@pytest.mark.parametrize("error", [KeyError, RuntimeWarning, MemoryError, RecursionError])
def test_whatever_a_reader_raises_is_found(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> None:
        raise error if len(data) % 5 == 0 else TincError

    monkeypatch.setattr(fuzz, "TincVolume", broken)
    found = fuzz.campaign(seed=1, n_opens=60, n_decodes=6).found
    assert found and all(error.__name__ in text for text in found)


def test_hungry_and_slow_readers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "TincVolume", lambda data: bytes(2**21 + 4 * len(data)))
    assert "bytes of memory for a file of" in fuzz.campaign(seed=1, n_opens=1, n_decodes=1).found[0]
    monkeypatch.setattr(fuzz, "TincVolume", lambda data: None)
    monkeypatch.setattr(fuzz, "SECONDS", -1)
    assert "s of CPU" in fuzz.campaign(seed=1, n_opens=1, n_decodes=1).found[0]


READ = """
import json, sys
import numpy as np
import napari_tinc

def read(path):
    volume = napari_tinc.open(path)
    volume.verify()
    np.asarray(volume), np.asarray(volume.levels[-1]), volume.leaves, volume.provenance

once, paths = sys.argv[1].split("|"), sys.argv[2:]
for path in once:
    read(path)  # what is imported, or compiled, when it is first needed
events = []
sys.addaudithook(lambda event, args: events.append((event, str(args[0]) if args else "")))
for path in paths:
    read(path)
print(json.dumps(list(events)))
"""


def test_reading_touches_the_file_and_nothing_else() -> None:
    """Every event that Python audits (PEP 578): files, sockets, processes, imports, pickles, code, ctypes, ..."""
    arguments = ["|".join(map(str, GOLDEN)), *map(str, GOLDEN)]
    done = subprocess.run(
        [sys.executable, "-c", READ, *arguments], check=True, capture_output=True, text=True, timeout=100
    )
    events = [tuple(event) for event in json.loads(done.stdout)]
    assert [name for event, name in events if event == "open"] == [str(path) for path in GOLDEN]
    others = {event for event, _ in events} - {"open"}
    assert others <= {
        "array.__new__",
        "_thread.start_new_thread",
        "_thread.start_joinable_thread",
    }  # its memory, threads


def test_the_check_above_would_see_what_it_looks_for() -> None:
    code = READ.replace(
        "    read(path)\nprint", "    read(path); import wave; import pickle; pickle.loads(b'cos\\nsep\\n.')\nprint"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(GOLDEN[0]), str(GOLDEN[1])],
        check=True, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    seen = {event for event, _ in json.loads(done.stdout)}
    assert {"open", "import", "pickle.find_class"} <= seen
