"""Vector code for lines of numbers, for compiled functions: sums of lines, their sines, copies. See vector_code.py."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ..compiled import LANES
from .vector_code import INDEX, call, emitted, load, loop_to, pointer_to, sine_of, splat, store


def _combination(taps: int, sines: bool) -> Any:
    """Return what compiled functions call for the sum of ``taps`` lines times their weights, or its sines."""

    @emitted
    def combination(
        typing: Any, blocks: Any, count: Any, out: Any, out_at: Any, out_block: Any, weights: Any, first: Any,
        lines: Any, at: Any, line: Any, block: Any,
    ) -> Any:  # fmt: skip
        index = types.intp
        signature = types.void(index, index, out, index, index, weights, index, lines, index, index, index)

        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            blocks, count, out, out_at, out_block, weights, first, lines, at, line, block = values
            out = pointer_to(context, builder, signature.args[2], out, out_at)
            weights = pointer_to(context, builder, signature.args[5], weights, first)
            lines = pointer_to(context, builder, signature.args[7], lines, at)
            number = [ir.Constant(INDEX, i) for i in range(taps)]
            factors = [splat(builder, builder.load(builder.gep(weights, [i]))) for i in number]
            with loop_to(builder, blocks, 1) as b:
                into = builder.gep(out, [builder.mul(b, out_block)])
                here = builder.gep(lines, [builder.mul(b, block)])
                from_line = [builder.gep(here, [builder.mul(line, i)]) for i in number]
                with loop_to(builder, count, LANES) as c:
                    vectors = [load(builder, one, c) for one in from_line]
                    total = builder.fmul(factors[0], vectors[0])
                    for factor, vector in zip(factors[1:], vectors[1:], strict=True):
                        total = call(builder, "fmuladd", factor, vector, total)
                    store(builder, sine_of(builder, total) if sines else total, into, c)
            return context.get_dummy_value()

        return signature, emit

    return combination


combine_4 = _combination(4, sines=False)
"""Set blocks of ``out`` to the sums of 4 lines of numbers times their weights.

Called with the number of blocks, the count of numbers in a line, which is rounded up to whole vectors, and of each flat
float32 array the place of the first number. Then come, of ``out``, the distance of blocks, and of the lines the
distances of lines and of blocks.
"""
combine_4_sines = _combination(4, sines=True)
"""Set ``out`` to the sines of what :data:`combine_4` would set it to."""
combine_1_sines = _combination(1, sines=True)
"""Likewise, of one line."""


@emitted
def fill_vectors(typing: Any, count: Any, out: Any, at: Any, value: Any) -> Any:
    """Set a count of floats, rounded up to whole vectors, to a value."""
    signature = types.void(types.intp, out, types.intp, types.float32)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        count, out, at, value = values
        out, vector = pointer_to(context, builder, signature.args[1], out, at), splat(builder, value)
        with loop_to(builder, count, LANES) as c:
            store(builder, vector, out, c)
        return context.get_dummy_value()

    return signature, emit


@emitted
def copy_floats(typing: Any, count: Any, out: Any, out_at: Any, source: Any, at: Any) -> Any:
    """Copy a count of floats."""
    signature = types.void(types.intp, out, types.intp, source, types.intp)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        count, out, out_at, source, at = values
        out = pointer_to(context, builder, signature.args[1], out, out_at)
        source = pointer_to(context, builder, signature.args[3], source, at)
        copy: Any = cgutils.raw_memcpy
        copy(builder, out, source, count, ir.Constant(INDEX, 4))
        return context.get_dummy_value()

    return signature, emit
