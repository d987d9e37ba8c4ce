"""Vector code for lines of numbers, for compiled functions: sums of lines, their sines, copies. See vector_code.py."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ..compiled import LANES
from .lattice import HALF_TAPS
from .vector_code import INDEX, VECTOR, call, emitted, load, load_where, loop_to, pointer_to, sine_of, splat, store


def _combination(taps: int, sines: bool) -> Any:
    """Return what compiled functions call for the sum of ``taps`` lines times their weights, or its sines."""

    @emitted
    def combination(
        typing: Any, count: Any, out: Any, out_at: Any, weights: Any, first: Any, lines: Any, at: Any, line: Any
    ) -> Any:
        index = types.intp
        signature = types.void(index, out, index, weights, index, lines, index, index)

        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            count, out, out_at, weights, first, lines, at, line = values
            out = pointer_to(context, builder, signature.args[1], out, out_at)
            weights = pointer_to(context, builder, signature.args[3], weights, first)
            lines = pointer_to(context, builder, signature.args[5], lines, at)
            number = [ir.Constant(INDEX, i) for i in range(taps)]
            factors = [splat(builder, builder.load(builder.gep(weights, [i]))) for i in number]
            from_line = [builder.gep(lines, [builder.mul(line, i)]) for i in number]
            with loop_to(builder, count, LANES) as c:
                vectors = [load(builder, one, c) for one in from_line]
                total = builder.fmul(factors[0], vectors[0])
                for factor, vector in zip(factors[1:], vectors[1:], strict=True):
                    total = call(builder, "fmuladd", factor, vector, total)
                store(builder, sine_of(builder, total) if sines else total, out, c)
            return context.get_dummy_value()

        return signature, emit

    return combination


combine_4 = _combination(4, sines=False)
"""Set a line of ``out`` to the sum of 4 lines of numbers times their weights.

Called with the count of numbers in a line, which is rounded up to whole vectors, and of each flat float32 array the
place of the first number, and last the distance of the lines that are summed.
"""
combine_4_sines = _combination(4, sines=True)
"""Set ``out`` to the sines of what :data:`combine_4` would set it to."""
combine_1_sines = _combination(1, sines=True)
"""Likewise, of one line."""


@emitted
def double_lines(
    typing: Any, lines: Any, count: Any, out: Any, out_at: Any, out_line: Any, source: Any, at: Any, line: Any,
    weights: Any, row: Any,
) -> Any:  # fmt: skip
    """Copy lines of numbers to every second number of lines, and set those between to sums of the numbers around.

    Called with the number of lines, the count of numbers in a line of ``out``, which is rounded up to two vectors, and
    of ``out`` and of what is copied the place of the first number and the distance of lines. The weights are those of
    the :data:`HALF_TAPS` numbers around each one that is between two, (taps, numbers filled up to whole vectors), whose
    rows have the given distance. A number whose weight is 0 is not read.
    """
    index = types.intp
    signature = types.void(index, index, out, index, index, source, index, index, weights, index)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lines, count, out, out_at, out_line, source, at, line, weights, row = values
        out = pointer_to(context, builder, signature.args[2], out, out_at)
        source = pointer_to(context, builder, signature.args[5], source, at)
        weights = pointer_to(context, builder, signature.args[8], weights, ir.Constant(INDEX, 0))
        number = [ir.Constant(INDEX, i) for i in range(LANES + 1)]
        last = builder.and_(builder.sub(count, number[1]), ir.Constant(INDEX, -2 * LANES))
        # Blocks from the last on: what one writes behind a line is written anew with the first of the next line.
        with loop_to(builder, count, 2 * LANES) as c:
            start = builder.sub(last, c)
            half = builder.ashr(start, number[1])
            factors = [load(builder, weights, builder.add(builder.mul(row, i), half)) for i in number[:HALF_TAPS]]
            used = [builder.fcmp_unordered("!=", factor, ir.Constant(VECTOR, [0.0] * LANES)) for factor in factors]
            with loop_to(builder, lines, 1) as i:
                here = builder.gep(source, [builder.add(builder.mul(i, line), half)])
                into = builder.gep(out, [builder.add(builder.mul(i, out_line), start)])
                total = ir.Constant(VECTOR, [0.0] * LANES)
                for tap, (factor, has_weight) in enumerate(zip(factors, used, strict=True), 1 - HALF_TAPS // 2):
                    around = load_where(builder, has_weight, here, ir.Constant(INDEX, tap))
                    total = call(builder, "fmuladd", factor, around, total)
                copied = load(builder, here, number[0])
                for part in (0, 1):
                    places = [part * LANES // 2 + lane // 2 + lane % 2 * LANES for lane in range(LANES)]
                    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), places)
                    store(builder, builder.shuffle_vector(copied, total, mask), into, number[part * LANES])
        return context.get_dummy_value()

    return signature, emit


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
    """Copy a count of floats: in vectors, the last of which ends with them; fewer than a vector has as they are."""
    signature = types.void(types.intp, out, types.intp, source, types.intp)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        count, out, out_at, source, at = values
        out = pointer_to(context, builder, signature.args[1], out, out_at)
        source = pointer_to(context, builder, signature.args[3], source, at)
        last = builder.sub(count, ir.Constant(INDEX, LANES))
        with builder.if_else(builder.icmp_signed("<", last, ir.Constant(INDEX, 0))) as (few, many):
            with few:
                copy: Any = cgutils.raw_memcpy
                copy(builder, out, source, count, ir.Constant(INDEX, 4))
            with many, loop_to(builder, count, LANES) as c:
                place = builder.select(builder.icmp_signed("<", c, last), c, last)
                store(builder, load(builder, source, place), out, place)
        return context.get_dummy_value()

    return signature, emit
