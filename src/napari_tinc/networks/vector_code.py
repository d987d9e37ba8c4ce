"""Vector code for compiled functions: what LLVM would not make of loops by itself.

Each function here emits the instructions of one small piece of work on vectors of :data:`LANES` floats. A processor
with shorter vectors takes several for each. To be called from compiled functions only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numba
from llvmlite import binding, ir
from numba import extending, types

from ..compiled import LANES

_FLOAT, INDEX, _PLACE = ir.FloatType(), ir.IntType(64), ir.IntType(32)
VECTOR = ir.VectorType(_FLOAT, LANES)


def _has_long_vectors() -> bool:
    """Return whether a register holds a vector, and there are 32 of them: AVX-512."""
    config: Any = numba.config
    if config.CPU_FEATURES is not None:  # numba is told for what to compile
        return "+avx512f" in config.CPU_FEATURES
    try:
        return bool(binding.get_host_cpu_features()["avx512f"])
    except (KeyError, RuntimeError):  # not this processor, or none that LLVM knows
        return False


# The sums of a block of a product take most registers and no more: 16 of 32, or 12 of 16 where two make a vector. With
# 16 such vectors, AVX2 would have half the speed. Fewer than 8 wait for each other, so that low blocks are long.
MOST_SUMS = 16 if _has_long_vectors() else 6  # A block of a product has at most so many vectors,
MOST_ROWS = 8 if _has_long_vectors() else 6  # in so many rows,
MOST_VECTORS = 4  # each of which has at most so many.


def emitted(function: Callable[..., Any]) -> Any:
    """Return what compiled functions call, of a function that returns its signature and what emits its code."""
    return extending.intrinsic(function)


def pointer_to(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    """Emit the address of an item of a one-dimensional array."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [at])


def load(builder: Any, pointer: Any, at: Any) -> Any:
    """Emit the loading of a vector from ``at`` floats after a pointer."""
    place = builder.bitcast(builder.gep(pointer, [at]), VECTOR.as_pointer())
    return builder.load(place, align=4)


def load_where(builder: Any, mask: Any, pointer: Any, at: Any) -> Any:
    """Emit the loading of the floats of a vector that a mask has, from ``at`` floats after a pointer; others are 0."""
    place = builder.bitcast(builder.gep(pointer, [at]), VECTOR.as_pointer())
    name, known = f"llvm.masked.load.v{LANES}f32.p0", builder.module.globals
    if name not in known:
        arguments = [place.type, _PLACE, mask.type, VECTOR]
        ir.Function(builder.module, ir.FunctionType(VECTOR, arguments), name)
    return builder.call(known[name], [place, ir.Constant(_PLACE, 4), mask, ir.Constant(VECTOR, [0.0] * LANES)])


def store(builder: Any, vector: Any, pointer: Any, at: Any) -> None:
    """Emit the storing of a vector ``at`` floats after a pointer."""
    builder.store(vector, builder.bitcast(builder.gep(pointer, [at]), VECTOR.as_pointer()), align=4)


def call(builder: Any, name: str, *arguments: Any) -> Any:
    """Emit a call of one of LLVM's own functions for vectors."""
    name, known = f"llvm.{name}.v{LANES}f32", builder.module.globals
    if name not in known:
        ir.Function(builder.module, ir.FunctionType(VECTOR, [VECTOR] * len(arguments)), name)
    return builder.call(known[name], arguments)


def splat(builder: Any, value: Any) -> Any:
    """Emit a vector all of whose floats are a value."""
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), value, ir.Constant(_PLACE, 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_PLACE, LANES), [0] * LANES))


def _product(kind: str) -> Any:
    """Return what compiled functions call for a product of two matrices.

    It, or its "sine", replaces what is in ``out``, or it is added ("add").
    """

    @emitted
    def product(
        typing: Any, rows: Any, columns: Any, n: Any, out: Any, out_at: Any, out_row: Any,
        a: Any, a_at: Any, a_row: Any, a_next: Any, b: Any, b_at: Any, b_row: Any,
    ) -> Any:  # fmt: skip
        index = types.intp
        signature = types.void(index, index, index, out, index, index, a, index, index, index, b, index, index)
        # A distance of 1 that is written in the text is a constant in the code, which then has shorter loops.
        is_one = [isinstance(step, types.IntegerLiteral) and step.literal_value == 1 for step in (a_row, a_next)]

        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            rows, columns, n, out, out_at, out_row, a, a_at, a_row, a_next, b, b_at, b_row = values
            out = pointer_to(context, builder, signature.args[3], out, out_at)
            a = pointer_to(context, builder, signature.args[6], a, a_at)
            b = pointer_to(context, builder, signature.args[10], b, b_at)
            name = f"napari_tinc.{kind}.{is_one[0]:d}{is_one[1]:d}"

            def emit_once(inside: Any, values: Sequence[Any]) -> None:
                steps = [one if known else step for known, step in zip(is_one, values[6:8], strict=True)]
                _emit_blocks(inside, kind, *values[:6], *steps, *values[8:])

            one = ir.Constant(INDEX, 1)
            _call_once_emitted(builder, name, emit_once, [rows, columns, n, out, out_row, a, a_row, a_next, b, b_row])
            return context.get_dummy_value()

        return signature, emit

    return product


multiply = _product("set")
"""Compute ``out[r, c] = sum over k < n of a[r, k] b[k, c]``.

Called with rows, columns (whole vectors) and n (at least 1), and of each matrix the flat float32 array, the place of
the first number, and the distance of rows; of ``a`` then the distance of columns.
"""
add_product = _product("add")
"""Add to ``out`` what :data:`multiply` would set it to."""
multiply_sines = _product("sine")
"""Set ``out`` to the sines of what :data:`multiply` would set it to."""


def _call_once_emitted(
    builder: Any, name: str, emit: Callable[[Any, Sequence[Any]], None], values: Sequence[Any]
) -> None:
    """Emit a call of a function without a result that is emitted once for all calls, which take no copy of it."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [value.type for value in values]), name)
        function.linkage = "linkonce_odr"
        function.attributes.add("noinline")
        inside = ir.IRBuilder(function.append_basic_block("entry"))
        emit(inside, function.args)
        inside.ret_void()
    builder.call(function, values)


@contextmanager
def loop_to(builder: Any, stop: Any, step: Any) -> Iterator[Any]:
    """Emit a loop from 0 to ``stop``, which is above 0, around what is emitted inside; gives its index.

    The step is a number, or a function that emits that for an index.
    """
    before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("loop.end")
    builder.branch(loop)
    builder.position_at_end(loop)
    index = builder.phi(INDEX)
    index.add_incoming(ir.Constant(INDEX, 0), before)
    yield index
    following = builder.add(index, step(index) if callable(step) else ir.Constant(INDEX, step))
    index.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, stop), loop, after)
    builder.position_at_end(after)


def _most_vectors(rows: int) -> int:
    """Return how many vectors a row of a block has that has so many rows: a power of 2."""
    return 2 ** (min(MOST_VECTORS, MOST_SUMS // rows).bit_length() - 1)


def _emit_blocks(
    builder: Any, kind: str, rows: Any, columns: Any, n: Any, out: Any, out_row: Any, a: Any, a_row: Any, a_next: Any,
    b: Any, b_row: Any,
) -> None:  # fmt: skip
    """Emit loops over blocks of a product: columns outside, as those of ``b`` then stay in the nearest cache."""
    most = ir.Constant(INDEX, MOST_ROWS)

    def least(a: Any, b: Any) -> Any:
        return builder.select(builder.icmp_signed("<", a, b), a, b)

    widest = ir.Constant(INDEX, _most_vectors(MOST_ROWS))
    for count in range(MOST_ROWS - 1, 0, -1):
        is_low = builder.icmp_signed("<=", rows, ir.Constant(INDEX, count))
        widest = builder.select(is_low, ir.Constant(INDEX, _most_vectors(count)), widest)

    def width(c: Any) -> Any:
        """Emit how many vectors the blocks have at a column: 1 or 2 at the end."""
        remaining = builder.sdiv(builder.sub(columns, c), ir.Constant(INDEX, LANES))
        narrow = least(remaining, ir.Constant(INDEX, 2))
        return builder.select(builder.icmp_signed("<", remaining, widest), narrow, widest)

    def length(c: Any) -> Any:
        return builder.mul(width(c), ir.Constant(INDEX, LANES))

    with loop_to(builder, columns, length) as c, loop_to(builder, rows, MOST_ROWS) as r:
        count = least(builder.sub(rows, r), most)
        into = builder.gep(out, [builder.add(builder.mul(r, out_row), c)])
        left, right = builder.gep(a, [builder.mul(r, a_row)]), builder.gep(b, [c])
        after = builder.append_basic_block("block.end")
        chosen = builder.switch(builder.add(builder.mul(width(c), most), count), after)
        for case in range(1, MOST_ROWS + 1):
            for vectors in {1, 2, MOST_VECTORS}:
                if vectors > _most_vectors(case):
                    continue
                block = builder.append_basic_block(f"block.{case}.{vectors}")
                chosen.add_case(ir.Constant(INDEX, vectors * MOST_ROWS + case), block)
                builder.position_at_end(block)
                _emit_product(builder, case, vectors, kind, into, out_row, left, a_row, a_next, right, b_row, n)
                builder.branch(after)
        builder.position_at_end(after)


def _emit_product(
    builder: Any, rows: int, vectors: int, kind: str, out: Any, out_row: Any, a: Any, a_row: Any, a_next: Any,
    b: Any, b_row: Any, n: Any,
) -> None:  # fmt: skip
    """Emit a loop over k that keeps all sums of a block in registers."""
    number = [ir.Constant(INDEX, i) for i in range(max(rows, vectors * LANES) + 1)]
    into = [builder.gep(out, [builder.mul(out_row, number[r])]) for r in range(rows)]
    from_row = [builder.gep(a, [builder.mul(a_row, number[r])]) for r in range(rows)]
    places = [(r, v) for r in range(rows) for v in range(vectors)]
    nothing = ir.Constant(VECTOR, [0.0] * LANES)
    begin = [load(builder, into[r], number[v * LANES]) if kind == "add" else nothing for r, v in places]
    before = builder.block
    loop, after = builder.append_basic_block("k"), builder.append_basic_block("k.end")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(INDEX)
    k.add_incoming(number[0], before)
    sums = [builder.phi(VECTOR) for _ in places]
    line = builder.gep(b, [builder.mul(k, b_row)])
    columns = [load(builder, line, number[v * LANES]) for v in range(vectors)]
    along = builder.mul(k, a_next)
    factors = [splat(builder, builder.load(builder.gep(row, [along]))) for row in from_row]
    grown = [
        call(builder, "fmuladd", factors[r], columns[v], total) for (r, v), total in zip(places, sums, strict=True)
    ]
    following = builder.add(k, number[1])
    k.add_incoming(following, loop)
    for total, first, value in zip(sums, begin, grown, strict=True):
        total.add_incoming(first, before)
        total.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, n), loop, after)
    builder.position_at_end(after)
    for (r, v), value in zip(places, grown, strict=True):
        store(builder, sine_of(builder, value) if kind == "sine" else value, into[r], number[v * LANES])


@emitted
def scale_and_transpose(
    typing: Any, d: Any, d_at: Any, d_row: Any, slope: Any, slope_at: Any, slope_row: Any, turned: Any, turned_at: Any,
    turned_row: Any,
) -> Any:  # fmt: skip
    """Multiply a square of ``d`` with ``slope`` in place, and store it also with rows and columns exchanged.

    Of each flat float32 array come the place of the first number and the distance of rows; a square has
    :data:`LANES` rows and columns.
    """
    index = types.intp
    signature = types.void(d, index, index, slope, index, index, turned, index, index)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        d, d_at, d_row, slope, slope_at, slope_row, turned, turned_at, turned_row = values
        d = pointer_to(context, builder, signature.args[0], d, d_at)
        slope = pointer_to(context, builder, signature.args[3], slope, slope_at)
        turned = pointer_to(context, builder, signature.args[6], turned, turned_at)
        rows = []
        for r in range(LANES):
            number = ir.Constant(INDEX, r)
            at = builder.mul(d_row, number)
            row = builder.fmul(load(builder, d, at), load(builder, slope, builder.mul(slope_row, number)))
            store(builder, row, d, at)
            rows.append(row)
        half = LANES // 2
        while half:  # exchange the off-diagonal squares of this size, inside all squares of twice the size
            low = [i if not i & half else LANES + i - half for i in range(LANES)]
            high = [i + half if not i & half else LANES + i for i in range(LANES)]
            masks = [ir.Constant(ir.VectorType(_PLACE, LANES), mask) for mask in (low, high)]
            for r in range(LANES):
                if not r & half:
                    pair = rows[r], rows[r + half]
                    rows[r], rows[r + half] = (builder.shuffle_vector(*pair, mask) for mask in masks)
            half //= 2
        for r, row in enumerate(rows):
            store(builder, row, turned, builder.mul(turned_row, ir.Constant(INDEX, r)))
        return context.get_dummy_value()

    return signature, emit


# sin r = r + r^3 S(r^2) and cos r = 1 - r^2 / 2 + r^4 C(r^2) for |r| <= pi / 2, to 5e-9; highest powers first.
SINE = (2.5999031549872598e-06, -0.00019806546333711594, 0.008333016186952591, -0.16666656732559204)
COSINE = (-2.619248391511064e-07, 2.4769240553723648e-05, -0.0013888567918911576, 0.041666656732559204)
PI = (3.140625, 0.0009676535846665502)  # Its first digits, of which multiples are exact, and the rest.


def _number(value: float) -> Any:
    """Return a vector all of whose floats are a number."""
    return ir.Constant(VECTOR, [value] * LANES)


def _polynomial(builder: Any, coefficients: tuple[float, ...], q: Any) -> Any:
    """Emit the value of a polynomial."""
    total = _number(coefficients[0])
    for coefficient in coefficients[1:]:
        total = call(builder, "fmuladd", total, q, _number(coefficient))
    return total


def _reduced(builder: Any, angle: Any) -> tuple[Any, Any, Any]:
    """Emit the sign of an angle's sine and cosine, with the angle that differs by a multiple of pi, and its square.

    An angle is brought to [-pi / 2, pi / 2] by a whole multiple of pi, the sign of which follows from its last bit.
    """
    k = call(builder, "floor", call(builder, "fmuladd", angle, _number(1 / math.pi), _number(0.5)))
    r = call(builder, "fmuladd", k, _number(-PI[0]), angle)
    r = call(builder, "fmuladd", k, _number(-PI[1]), r)
    half = builder.fmul(k, _number(0.5))
    odd = builder.fsub(half, call(builder, "floor", half))
    return call(builder, "fmuladd", odd, _number(-4.0), _number(1.0)), r, builder.fmul(r, r)


def _sine(builder: Any, r: Any, q: Any) -> Any:
    """Emit the sine of an angle that is reduced, and has a square ``q``."""
    return call(builder, "fmuladd", builder.fmul(r, q), _polynomial(builder, SINE, q), r)


def sine_of(builder: Any, angle: Any) -> Any:
    """Emit the sine of any angle below 2^22, in fewer instructions than it takes with the cosine.

    Added to 3 * 2^22, an angle in units of pi is rounded to a whole number, whose last bit is that of the sum.
    """
    whole = _number(3 * 2.0**22)
    shifted = call(builder, "fmuladd", angle, _number(1 / math.pi), whole)
    k = builder.fsub(shifted, whole)
    r = call(builder, "fmuladd", k, _number(-PI[0]), angle)
    r = call(builder, "fmuladd", k, _number(-PI[1]), r)
    bits = ir.VectorType(_PLACE, LANES)
    sign = builder.shl(builder.bitcast(shifted, bits), ir.Constant(bits, [31] * LANES))
    sine = builder.bitcast(_sine(builder, r, builder.fmul(r, r)), bits)
    return builder.bitcast(builder.xor(sine, sign), VECTOR)


@emitted
def sine_and_slope(typing: Any, x: Any, x_at: Any, slope: Any, slope_at: Any) -> Any:
    """Compute ``slope = cos(x)`` and ``x = sin(x)`` for the vectors at a place of each flat float32 array."""
    signature = types.void(x, types.intp, slope, types.intp)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        x, x_at, slope, slope_at = values
        x = pointer_to(context, builder, signature.args[0], x, x_at)
        slope = pointer_to(context, builder, signature.args[2], slope, slope_at)
        none = ir.Constant(INDEX, 0)
        sign, r, q = _reduced(builder, load(builder, x, none))
        cosine = call(builder, "fmuladd", q, _number(-0.5), _number(1.0))
        cosine = call(builder, "fmuladd", builder.fmul(q, q), _polynomial(builder, COSINE, q), cosine)
        store(builder, builder.fmul(sign, _sine(builder, r, q)), x, none)
        store(builder, builder.fmul(sign, cosine), slope, none)
        return context.get_dummy_value()

    return signature, emit
