"""Compile functions to machine code, by numba, when the first of them is called.

numba takes 0.15 s to import, which nobody should wait for who opens a file of networks: a module of compiled functions
can be imported without it. What is compiled is kept on disk, beside the module or in the user's cache folder (numba's
NUMBA_CACHE_DIR names another), so that only the first use after an installation waits for it. It is compiled anew once
the file of the function has changed, or one whose functions are in the code, too.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, lru_cache, partial, update_wrapper
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., object])

LANES = 16  # Floats in a vector: a register of AVX-512, two of AVX2.
_LOCK = threading.RLock()  # Two threads that call a function first compile it once.


def compiled(function: Function) -> Function:
    """Return a function that is compiled for the types it is called with, and runs without Python's lock.

    Arithmetic rounds as IEEE 754 says, in the order of the text: no product and sum become one operation, so that every
    machine computes the same.
    """
    return cast(Function, _Compiled(function, fastmath=False))


def compiled_fast(function: Function) -> Function:
    """Return a compiled function whose sums may be reordered and fused, for results that need not be the same bits."""
    return cast(Function, _Compiled(function, fastmath=True))


class _Compiled:
    """A function that stands in its module until a compiled one is called; then what numba made of it does."""

    def __init__(self, function: Callable[..., object], fastmath: bool) -> None:
        self._function, self._fastmath = function, fastmath
        self._made: Any = None
        update_wrapper(self, function)

    def __call__(self, *arguments: object) -> object:
        """Call the compiled function."""
        return self.dispatcher(*arguments)

    @cached_property
    def dispatcher(self) -> Any:
        """What numba makes of the function. Others that its module has are made too, as it may call them."""
        import numba

        with _LOCK:
            if self._made is not None:
                return self._made
            make: Any = partial(numba.njit, nogil=True, forceinline=True, error_model="numpy", fastmath=self._fastmath)
            try:
                made = make(cache=True)(self._function)
            except RuntimeError:  # no folder can be written to: it is compiled anew in every process
                made = make()(self._function)
            made._cache = _LenientCache(made._cache)
            if kept := getattr(made._cache, "_cache_file", None):
                kept._source_stamp = kept._source_stamp, _stamp_of(self._function.__module__)
            self._made = made  # Others ask for it while they are made; other threads wait until all of them are.
            names = self._function.__globals__
            for name, other in list(names.items()):
                if isinstance(other, _Compiled):
                    names[name] = other.dispatcher
            return made


@lru_cache(maxsize=64)
def _stamp_of(module: str) -> tuple[tuple[int, int], ...]:
    """Return the times and sizes of the files of a module, and of those in its package whose functions it uses."""
    package, waiting, found = module.partition(".")[0] + ".", [module], {module: (0, 0)}
    while waiting:
        name = waiting.pop()
        if name not in sys.modules:  # of functions that were made from a text
            continue
        if file := sys.modules[name].__file__:
            found[name] = os.stat(file).st_mtime_ns, os.stat(file).st_size
        for value in list(vars(sys.modules[name]).values()):
            other = str(getattr(value, "__module__", ""))
            if other.startswith(package) and other not in found:
                found[other] = (0, 0)
                waiting.append(other)
    return tuple(found[name] for name in sorted(found))


class _HighProduct(_Compiled):
    """A function that compiled ones may call, for the upper half of a product: one instruction of a processor."""

    @cached_property
    def dispatcher(self) -> Any:
        """What numba makes of the function."""
        from llvmlite import ir
        from numba import types
        from numba.extending import intrinsic

        def typed(context: Any, one: Any, other: Any) -> Any:
            """Return the types, and what writes the code."""

            def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                """Write the code."""
                wide = ir.IntType(128)
                a, b = (builder.zext(argument, wide) for argument in arguments)
                return builder.trunc(builder.lshr(builder.mul(a, b), ir.Constant(wide, 64)), ir.IntType(64))

            return types.uint64(types.uint64, types.uint64), write

        return intrinsic(typed)


def _product_over_2_64(one: int, other: int) -> int:
    """Return the upper 64 bits of the product of two integers below 2^64, which are uint64 in compiled functions."""
    return (one * other) >> 64


high_product: Callable[[Any, Any], Any] = _HighProduct(_product_over_2_64, fastmath=False)


class _LenientCache:
    """A cache of numba that is left aside where it is damaged or the disk is full: code is then compiled anew."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        """Return what the cache itself has."""
        return getattr(self._cache, name)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return what is kept for some types, None if there is nothing that can be read."""
        try:
            return self._cache.load_overload(signature, target)
        except Exception:  # of any kind, as it unpickles what it finds; an index that is begun anew replaces it
            with suppress(OSError):
                self._cache.flush()
            return None

    def save_overload(self, signature: Any, data: Any) -> None:
        """Keep what was compiled for some types, if that is possible."""
        with suppress(OSError):
            self._cache.save_overload(signature, data)


def is_kept(function: Callable[..., object]) -> bool:
    """Return whether the machine code of a compiled function is kept on disk, so that its first call does not wait."""
    made: Any = function.dispatcher if isinstance(function, _Compiled) else function
    try:
        return bool(made._cache._cache_file._load_index())  # empty if it is of another text or another numba
    except Exception:  # there is no folder that can be written to, or what is in it cannot be read
        return False
