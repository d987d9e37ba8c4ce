"""Compile functions to machine code, by numba, when they are first called.

Import this, and what uses it, where it is needed: numba takes 0.15 s to import, which no file of networks should wait
for. What is compiled is kept on disk, beside the module or in the user's cache folder (numba's NUMBA_CACHE_DIR names
another), so that only the first use after an installation waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Return a function that is compiled for the types it is called with, and runs without Python's lock.

    Arithmetic rounds as IEEE 754 says, in the order of the text: no product and sum become one operation, so that every
    machine computes the same.
    """
    return _compiled(function, fastmath=False)


def compiled_fast(function: Function) -> Function:
    """Return a compiled function whose sums may be reordered and fused, for results that need not be the same bits."""
    return _compiled(function, fastmath=True)


def _compiled(function: Function, fastmath: bool) -> Function:
    """Compile a function, and keep the result on disk if there is a folder for it."""
    try:
        made = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=fastmath)(function)
    except RuntimeError:  # no folder can be written to: it is compiled anew in every process
        made = numba.njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)
    return cast(Function, made)
