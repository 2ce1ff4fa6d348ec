"""Factorisations and spectra in native code, by the routines of LAPACK that NumPy calls.

They get what NumPy gives them, a copy column after column, so signs and phases of vectors are the
same. How much memory they work in is asked when the code is written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.graph import Equation
from clew.evaluate.native.emitter import FLOAT64, INT32, INT64
from clew.evaluate.native.lapack import routine
from clew.evaluate.native.stacks import Stacks, double, sized, stacks

_COMPLEX = np.dtype(np.complex128)


def write_cholesky(program: Any, frame: Any, equation: Equation) -> bool:
    """Write the factor; the lower triangle by rows is the upper one by columns."""
    kind = equation.inputs[0].type
    n, dtype = kind.shape[-1], double(kind.dtype)
    potrf = routine("potrf", dtype)
    if potrf is None or not sized(equation):
        return False
    with stacks(program, frame, equation, (2,)) as each:
        e, a = each.e, each.room(0)
        with e.loop(0, n) as i:
            below = e.add(i, e.like(i, 1))
            with e.loop(0, below) as j:
                e.store(a, e.convert(each.load(0, i, j), dtype), each.at(j, i, n))
            with e.loop(below, n) as j:
                e.store(a, e.constant(dtype, 0), each.at(j, i, n))
        each.check(each.call(potrf, "U", n, a, n))
        each.keep(0, a)
    return True


def write_qr(program: Any, frame: Any, equation: Equation) -> bool:
    """Write Q and R."""
    kind = equation.inputs[0].type
    dtype = double(kind.dtype)
    m, n = kind.shape[-2:]
    width = equation.outputs[0].type.shape[-1]
    rank = min(m, n)
    geqrf, orgqr = routine("geqrf", dtype), routine("orgqr", dtype)
    if geqrf is None or orgqr is None or not sized(equation):
        return False
    wanted = np.zeros((2, 1), dtype)
    geqrf.ask(m, n, None, m, None, wanted[0], -1, None)
    orgqr.ask(m, width, rank, None, m, None, wanted[1], -1, None)
    length = int(np.abs(wanted).max())
    with stacks(program, frame, equation, (2,)) as each:
        e = each.e
        a, q = each.columns(0), each.scratch(dtype, m * max(n, width))
        scale, work = each.scratch(dtype, rank), each.scratch(dtype, length)
        each.check(each.call(geqrf, m, n, a, m, scale, work, length))
        with each.places(*equation.outputs[1].type.shape[-2:]) as (i, j):
            value = e.load(a, dtype, each.at(i, j, m))
            each.store(1, e.select(e.le(i, j), value, e.constant(dtype, 0)), i, j)
        e.copy_bytes(q, a, m * rank * dtype.itemsize)
        each.check(each.call(orgqr, m, width, rank, q, m, scale, work, length))
        each.spread(0, q, m)
    return True


def write_eigh(program: Any, frame: Any, equation: Equation) -> bool:
    """Write eigenvalues and eigenvectors of a Hermitian matrix."""
    kind = equation.inputs[0].type
    dtype = double(kind.dtype)
    n = kind.shape[-1]
    syevd = routine("syevd", dtype)
    if syevd is None or not sized(equation):
        return False
    triangle = "L" if equation.params.get("lower", True) else "U"
    spaces = [np.zeros(1, dtype), np.zeros(1), np.zeros(1, np.int32)]
    if dtype.kind == "f":
        del spaces[1]
    asked = [part for space in spaces for part in (space, -1)]
    syevd.ask("V", triangle, n, None, n, None, *asked, None)
    with stacks(program, frame, equation, (2,)) as each:
        a, w = each.columns(0), each.room(0)
        given = [part for space in spaces for part in _space(each, space)]
        each.check(each.call(syevd, "V", triangle, n, a, n, w, *given))
        each.keep(0, w)
        each.spread(1, a, n)
    return True


def _space(each: Stacks, asked: np.ndarray) -> tuple[str, int]:
    """Return memory of the length that a routine has asked for, and the length."""
    length = int(asked[0].real)
    return each.scratch(asked.dtype, length), length


def write_svd(program: Any, frame: Any, equation: Equation) -> bool:
    """Write singular vectors and values."""
    kind = equation.inputs[0].type
    dtype = double(kind.dtype)
    m, n = kind.shape[-2:]
    gesdd = routine("gesdd", dtype)
    if gesdd is None or not sized(equation):
        return False
    rank = min(m, n)
    left, right = equation.outputs[0].type.shape[-1], equation.outputs[2].type.shape[-2]
    which = "A" if equation.params.get("full_matrices", False) else "S"
    wanted = np.zeros(1, dtype)
    more = [] if dtype.kind == "f" else [None]
    gesdd.ask(which, m, n, None, m, None, None, m, None, right, wanted, -1, *more, None, None)
    with stacks(program, frame, equation, (2,)) as each:
        a, s = each.columns(0), each.room(1)
        u, vh = each.scratch(dtype, m * left), each.scratch(dtype, right * n)
        work, whole = each.scratch(INT32, 8 * rank), _space(each, wanted)
        extra = [each.scratch(FLOAT64, _real_length(m, n))] if dtype.kind == "c" else []
        given = (which, m, n, a, m, s, u, m, vh, right, *whole, *extra, work)
        each.check(each.call(gesdd, *given))
        each.keep(1, s)
        each.spread(0, u, m)
        each.spread(2, vh, right)
    return True


def _real_length(m: int, n: int) -> int:
    """Return how many real numbers zgesdd works with, as its documentation says."""
    few, many = min(m, n), max(m, n)
    return max(5 * few * few + 5 * few, 2 * many * few + 2 * few * few + few)


# --- eigenvalues of any matrix ------------------------------------------------------------------


def write_eig(program: Any, frame: Any, equation: Equation) -> bool:
    """Write eigenvalues and eigenvectors, which are complex whatever the matrix is."""
    kind = equation.inputs[0].type
    dtype = double(kind.dtype)
    n = kind.shape[-1]
    geev = routine("geev", dtype)
    if geev is None or not sized(equation):
        return False
    wanted = np.zeros(1, dtype)
    rest = (None, 1, None, n, wanted, -1)
    if dtype.kind == "f":
        geev.ask("N", "V", n, None, n, None, None, *rest, None)
    else:
        geev.ask("N", "V", n, None, n, None, *rest, None, None)
    with stacks(program, frame, equation, (2,)) as each:
        a, v = each.columns(0), each.scratch(dtype, n * n)
        _refuse_infinite(each, n)
        work, length = _space(each, wanted)
        rest = (v, 1, v, n, work, length)
        if dtype.kind == "c":
            w, more = each.room(0), each.scratch(FLOAT64, 2 * n)
            each.check(each.call(geev, "N", "V", n, a, n, w, *rest, more))
            each.keep(0, w)
            each.spread(1, v, n)
        else:
            parts = each.scratch(dtype, n), each.scratch(dtype, n)
            each.check(each.call(geev, "N", "V", n, a, n, *parts, *rest))
            _write_pairs(each, v, parts, n)
    return True


def _refuse_infinite(each: Stacks, n: int) -> None:
    """NumPy raises if a number is not finite."""
    e = each.e
    with each.places(n, n) as (i, j):
        each.fail_if(e.not_(e.isfinite(each.load(0, i, j))))


def _write_pairs(each: Stacks, v: str, parts: tuple[str, str], n: int) -> None:
    """Of a conjugate pair, the first column has the real parts, the second the imaginary ones."""
    e = each.e
    zero, unit = e.constant(FLOAT64, 0), e.constant(FLOAT64, 1)
    one = e.constant(INT64, 1)
    with e.loop(0, n) as j:
        value, turn = (e.load(part, FLOAT64, j) for part in parts)
        each.store(0, e.joined(_COMPLEX, value, turn), j)
        alone, first = e.eq(turn, zero), e.gt(turn, zero)
        here = e.select(e.or_(alone, first), j, e.sub(j, one))
        there = e.select(alone, here, e.add(here, one))
        sign = e.select(alone, zero, e.select(first, unit, e.neg(unit)))
        with e.loop(0, n) as i:
            x = e.load(v, FLOAT64, each.at(i, here, n))
            y = e.load(v, FLOAT64, each.at(i, there, n))
            each.store(1, e.joined(_COMPLEX, x, e.mul(sign, y)), i, j)
