"""Linear systems and determinants in native code, by LAPACK.

Matrices are copied column after column and to double precision, as NumPy does before it calls the
same routines, so pivots are the same. Triangular matrices are read where they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.graph import Equation
from clew.evaluate.native.emitter import INT32, Value, part_dtype
from clew.evaluate.native.lapack import routine
from clew.evaluate.native.stacks import Stacks, double, sized, stacks


def write_solve(program: Any, frame: Any, equation: Equation) -> bool:
    """Write ``a x = b``."""
    kinds = {atom.type.dtype for atom in (*equation.inputs, *equation.outputs)}
    if not sized(equation) or len(kinds) > 1:
        return False
    form = equation.params["form"]
    if form == "general":
        return _write_general(program, frame, equation)
    return _write_triangular(program, frame, equation, form == "lower")


def _write_general(program: Any, frame: Any, equation: Equation) -> bool:
    n, k = equation.outputs[0].type.shape[-2:]
    gesv = routine("gesv", double(equation.outputs[0].type.dtype))
    if gesv is None:
        return False
    with stacks(program, frame, equation, (2, 2)) as each:
        a, b = each.columns(0), each.columns(1)
        pivots = each.scratch(INT32, n)
        each.check(each.call(gesv, n, k, a, n, pivots, b, n))
        each.spread(0, b, n)
    return True


def _write_triangular(program: Any, frame: Any, equation: Equation, lower: bool) -> bool:
    """Write ``x^T a^T = b^T``, as it looks by columns; a pivot of 0 is a failure."""
    dtype = equation.outputs[0].type.dtype
    n, k = equation.outputs[0].type.shape[-2:]
    trsm, trsv = routine("trsm", dtype), routine("trsv", dtype)
    if trsm is None or trsv is None:
        return False
    with stacks(program, frame, equation, (2, 2)) as each:
        e = each.e
        with e.loop(0, n) as i:
            pivot = each.load(0, i, i)
            each.fail_if(e.eq(pivot, e.like(pivot, 0)))
            with e.loop(0, k) as j:
                each.store(0, each.load(1, i, j), i, j)
        a, stride, by_rows = each.stored(0)
        triangle = "U" if lower == by_rows else "L"
        if k == 1:
            trsv.call(e, triangle, "NT"[by_rows], "N", n, a, stride, each.result(0), 1)
        else:
            one = e.module.table(f"one.{dtype.char}", part_dtype(dtype), [1, 0])
            turn = "TN"[by_rows]
            trsm.call(e, "R", triangle, turn, "N", k, n, one, a, stride, each.result(0), k)
    return True


def write_det(program: Any, frame: Any, equation: Equation) -> bool:
    """Write a determinant, from its sign and logarithm as NumPy does."""

    def write(each: Stacks, sign: Value, size: Value) -> None:
        e = each.e
        real, other = e.math("exp", size), e.like(size, 0)
        assert real is not None
        each.store(0, e.mul(sign, e.joined(sign.dtype, real, other)))

    return _write_sign_and_size(program, frame, equation, write)


def write_slogdet(program: Any, frame: Any, equation: Equation) -> bool:
    """Write the sign and the logarithm of the size of a determinant."""

    def write(each: Stacks, sign: Value, size: Value) -> None:
        each.store(0, sign)
        each.store(1, size)

    return _write_sign_and_size(program, frame, equation, write)


def _write_sign_and_size(program: Any, frame: Any, equation: Equation, write: Any) -> bool:
    """Multiply the signs of the pivots, and add their logarithms; a singular matrix has sign 0."""
    kind = equation.inputs[0].type
    n, dtype = kind.shape[-1], double(kind.dtype)
    getrf = routine("getrf", dtype)
    if getrf is None or not sized(equation):
        return False
    with stacks(program, frame, equation, (2,)) as each:
        e = each.e
        a, pivots = each.columns(0), each.scratch(INT32, n)
        sign, size = e.slot(dtype), e.slot(part_dtype(dtype))
        singular = e.ne(each.call(getrf, n, n, a, n, pivots), e.constant(INT32, 0))
        start = e.select(singular, e.constant(dtype, 0), e.constant(dtype, 1))
        low = e.select(singular, e.constant(size.dtype, -np.inf), e.constant(size.dtype, 0))
        e.set(sign, start)
        e.set(size, low)
        with e.when(e.not_(singular)), e.loop(0, n) as i:
            pivot = e.load(a, dtype, each.at(i, i, n))
            swapped = e.ne(e.load(pivots, INT32, i), e.convert(e.add(i, e.like(i, 1)), INT32))
            so_far = e.get(sign)
            so_far = e.select(swapped, e.neg(so_far), so_far)
            length = e.abs(pivot)
            e.set(sign, _turned(e, so_far, pivot, length))
            more = e.math("log", length)
            assert more is not None
            e.set(size, e.add(e.get(size), more))
        write(each, e.get(sign), e.get(size))
    return True


def _turned(e: Any, sign: Value, pivot: Value, length: Value) -> Value:
    """Return a sign times that of a pivot."""
    if pivot.dtype.kind == "f":
        return e.select(e.lt(pivot, e.like(pivot, 0)), e.neg(sign), sign)
    return e.mul(sign, e.joined(pivot.dtype, *(e.div(part, length) for part in e.parts(pivot))))
