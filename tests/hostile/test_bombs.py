"""Files at and past every limit of the format, all checksums right: accepted at it, refused past it, and never dear.

Each is opened, and decoded where that is said, under caps of memory (tracemalloc; see hostile/fuzz.py for what counts)
and CPU.
"""

from __future__ import annotations

import re
import time
import tracemalloc

import numpy as np
import pytest
from bombs import Case, blocks
from bombs_box import residuals
from bombs_head import floats, numbers, tables, trees
from bombs_inside import inner, payloads, texts
from fields import File, sealed, uv
from fuzz import MEMORY, MEMORY_PER_BYTE

from napari_tinc.decoding.volume import TincVolume
from napari_tinc.errors import TincError
from napari_tinc.storage.stores import Memory

SECONDS = 3.0  # of CPU, ten times what the dearest takes: other machines are slower
DECODE_MEMORY = 2**28
GROUPS = (numbers, floats, trees, tables, payloads, residuals, inner, texts)
CASES = {f"{group.__name__}: {name}": case for group in GROUPS for name, case in group()}


def test_there_are_enough() -> None:
    assert len(CASES) >= 300
    assert sum(case.message is None for case in CASES.values()) >= 60


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_limits(case: Case) -> None:
    data = case.data if isinstance(case.data, bytes) else case.data()
    began = time.process_time()
    tracemalloc.start()
    try:
        message, opened = None, 0
        try:
            volume = TincVolume(data)
            opened = tracemalloc.get_traced_memory()[1]
            if case.decode:
                volume.verify()
                np.asarray(volume)
        except TincError as error:
            message = str(error)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < SECONDS
    assert (opened or (0 if case.decode else peak)) + len(data) <= MEMORY + MEMORY_PER_BYTE * len(data)
    assert peak < DECODE_MEMORY
    if case.message is None:
        assert message is None
    else:
        assert message is not None and re.search(case.message, message), message


@pytest.mark.parametrize("size", [2**31, 2**31 + 1])
def test_a_file_of_2_gib(size: int) -> None:
    """Only its head is there: of a file of blocks no more is read."""
    start = b"".join(File.parse(blocks()).fields.values())
    rows = b"\x03\x41\x00\x02" + bytes(4) + b"\x30\x00\x04" + bytes(4) + b"\xf0\x00"
    length = size - 16 - len(start) - len(rows) - 5 - 4 - 6  # of the last chunk: 5 bytes tell it
    store = Memory(sealed(start + rows + uv(length) + bytes(4), features=17))
    store.size = size
    if size == 2**31:
        assert TincVolume(store).nbytes_compressed == size
    else:
        with pytest.raises(TincError, match=f"file size is {size}, expected 16 to {2**31}"):
            TincVolume(store)
