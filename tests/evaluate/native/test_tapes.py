"""Tapes as values in native code: through branches and groups, joined, added, widened."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew.core.graph import Graph, Var
from clew.core.primitive import PRIMITIVES
from clew.core.tape import TapeType
from clew.core.types import Type
from clew.evaluate.native.program import NoNativeForm
from clew.evaluate.native.run import Native
from clew.evaluate.native.tapes import Owner, escaping
from clew.loops.batched import graph_of
from clew.loops.spec import COUNT, SNAPSHOTS, Policy, Spec
from clew.loops.tapes import add_tapes, join_tapes, narrow_tape, pick_tape, widen_tape
from tests.evaluate.native.comparing import as_tuple, differs

SHAPES = [(), (3,), (40,)]
WHOLE = Type((), np.int64)


def operands(shape):
    generator = np.random.default_rng(3)
    return generator.normal(size=shape), generator.normal(size=shape), np.int64(7)


def tape_of(x, count):
    """Return a tape of ``x``, ``sin(x)``, ``sin(sin(x))``..."""
    kind = Type(np.shape(x), np.float64)
    body = graph_of(lambda c: [np.sin(c), c * 1.0], [kind])
    spec = Spec(body, None, None, 1, 0, False, Policy())
    return PRIMITIVES["loop"](count, x, **spec.params())[1]


def total(tape, count, shape):
    """Return a weighted sum over the elements of a tape."""
    kind = Type(shape, np.float64)
    body = graph_of(lambda c, x: [c * 0.9 + x], [kind, kind])
    spec = Spec(body, None, None, 1, 1, False, Policy())
    return PRIMITIVES["loop"](count, np.zeros(shape), tape, **spec.params())[0]


def nested_tape(x, count):
    """Return a tape of tapes."""
    kind = Type(np.shape(x), np.float64)
    body = graph_of(lambda c, n: [np.cos(c), tape_of(c, n)], [kind, WHOLE])
    spec = Spec(body, None, None, 1, 0, False, Policy())
    return PRIMITIVES["loop"](count, x, count, **spec.params())[1]


def nested_total(tapes, count, shape):
    kind = Type(shape, np.float64)
    body = graph_of(
        lambda c, tape, n: [c * 0.8 + total(tape, n, shape)],
        [kind, TapeType(TapeType(kind)).element, WHOLE],
    )
    spec = Spec(body, None, None, 1, 1, False, Policy())
    return PRIMITIVES["loop"](count, np.zeros(shape), tapes, count, **spec.params())[0]


def agree(function, *args):
    graph = clew.trace(function)(*args)
    expected = as_tuple(clew.evaluate(graph, *args))
    native = Native(graph, level=1)
    assert not [each for each in native.callouts if each.results]
    for _ in range(2):
        wrong = differs(native(*args)[0], expected[0])
        assert not wrong, f"{wrong}\n{graph}"


@pytest.mark.parametrize("shape", SHAPES)
def test_sums(shape):
    agree(
        lambda x, y, n: total(add_tapes(tape_of(x, n), tape_of(y, n)), n, shape), *operands(shape)
    )

    def of_tapes(x, y, n):
        return nested_total(add_tapes(nested_tape(x, n), nested_tape(y, n)), n, shape)

    agree(of_tapes, *operands(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_batches_on_elements(shape):
    def wide(x, y, n):
        return total(widen_tape(tape_of(x, n), size=4), n, (4, *shape))

    def narrow(x, y, n):
        tape = tape_of(np.stack([x, y, x * y]), n)
        return total(narrow_tape(tape), n, shape)

    def of_tapes(x, y, n):
        tapes = widen_tape(nested_tape(x, n), size=4)
        return nested_total(tapes, n, (4, *shape)) + nested_total(narrow_tape(tapes), n, shape)

    for function in (wide, narrow, of_tapes):
        agree(function, *operands(shape))


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_out_of_branches(shape, index):
    kind = Type(shape, np.float64)
    zero = lambda x, n: [clew.core.kinds.zeros(TapeType(kind))]
    makers = [lambda x, n: [tape_of(x, n)], lambda x, n: [tape_of(np.cos(x), n)], zero]
    branches = tuple(graph_of(maker, [kind, WHOLE]) for maker in makers)

    def one(x, y, n):
        (tape,) = PRIMITIVES["switch"](index + 0 * n, x, n, branches=branches)
        return total(tape, n, shape)

    def several(x, y, n):
        (left,) = PRIMITIVES["switch"](index + 0 * n, x, n, branches=branches)
        (right,) = PRIMITIVES["switch"](index * n, y, n, branches=branches)
        both = add_tapes(left, add_tapes(right, left))
        return total(widen_tape(both, size=2), n, (2, *shape))

    for function in (one, several):
        agree(function, *operands(shape))


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_zeros_out_of_branches(shape, index):
    kind = Type(shape, np.float64)
    zero = lambda x, n: [clew.core.kinds.zeros(TapeType(TapeType(kind)))]
    makers = [lambda x, n: [nested_tape(x, n)], zero]
    branches = tuple(graph_of(maker, [kind, WHOLE]) for maker in makers)

    def sums(x, y, n):
        (tapes,) = PRIMITIVES["switch"](index + 0 * n, x, n, branches=branches)
        doubled = add_tapes(tapes, narrow_tape(widen_tape(tapes, size=2)))
        return nested_total(tapes, n, shape) + nested_total(doubled, n, shape)

    agree(sums, *operands(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_out_of_groups(shape):
    kind = Type(shape, np.float64)
    body = graph_of(lambda x, n: [tape_of(x, n), x * 2.0], [kind, WHOLE])

    def function(x, y, n):
        tape, more = PRIMITIVES["remat"](x, n, body=body)
        return total(tape, n, shape) + more * y

    agree(function, *operands(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_joined(shape):
    def function(x, y, n):
        joined = join_tapes(tape_of(x, n), tape_of(y, n))
        doubled = add_tapes(joined, join_tapes(tape_of(y, n), tape_of(x * y, n)))
        first, second = (pick_tape(doubled, number=i, of=2) for i in range(2))
        rows = widen_tape(joined, size=3)
        third = total(pick_tape(rows, number=1, of=2), n, (3, *shape))
        return total(first, n, shape) + 3.0 * total(second, n, shape) + np.sum(third, axis=0)

    agree(function, *operands(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_kept_by_the_steps_of_a_loop(shape):
    """Each step leaves a tape behind, from a branch, a group, a join or a sum."""
    kind = Type(shape, np.float64)
    one, two = (
        graph_of(lambda x, n, f=f: [tape_of(f(x), n)], [kind, WHOLE]) for f in (np.sin, np.cos)
    )

    def step(c, n):
        which = PRIMITIVES["convert"](np.sum(c) > 0, dtype=np.dtype(np.int64))
        (chosen,) = PRIMITIVES["switch"](which, c, n, branches=(one, two))
        (grouped,) = PRIMITIVES["remat"](c, n, body=one)
        joined = join_tapes(chosen, tape_of(c * 0.5, n))
        return [np.cos(c) - 0.4, chosen, grouped, joined, add_tapes(chosen, grouped)]

    body = graph_of(step, [kind, WHOLE])
    spec = Spec(body, None, None, 1, 0, False, Policy())

    def picked(joined, number):
        pick = graph_of(lambda t: [pick_tape(t, number=number, of=2)], [TapeType(kind)])
        each = Spec(pick, None, None, 0, 1, False, Policy())
        return PRIMITIVES["loop"](np.int64(7), joined, **each.params())[0]

    def function(x, y, n):
        def outer(c):
            _, *tapes = PRIMITIVES["loop"](n, c, n, **spec.params())
            parts = [tapes[0], tapes[1], tapes[3], picked(tapes[2], 0), picked(tapes[2], 1)]
            return np.tanh(sum(nested_total(tape, n, shape) for tape in parts)) + y

        return clew.fori_loop(0, 3, lambda i, c: outer(c), x)

    agree(function, *operands(shape))


def test_snapshots_cannot_be_added():
    """Nothing ever asks for it; were it done, the result would be nonsense."""
    body = graph_of(lambda c: [np.sin(c)], [Type((), np.float64)])
    spec = Spec(body, None, None, 1, 0, False, Policy(2), 2)

    def function(x, n):
        kept = PRIMITIVES["loop"](n, x, **spec.params())[1]
        return [total(add_tapes(kept, kept), n, ())]

    graph = graph_of(function, [Type((), np.float64), WHOLE])
    with pytest.raises(NoNativeForm, match="add_tapes of tapes"):
        Native(graph)


def test_second_derivatives_of_batches_of_branches():
    """A branch that no example takes masks its cotangents, those that are tapes too."""

    def f(x):
        grown = lambda x: clew.while_loop(lambda c: c < 1.5, lambda c: np.sin(c) * c + 0.6, x)
        return clew.cond(x > 0.1, grown, np.cos, x)

    rows = np.array([0.3, -0.4, 0.9])
    found = clew.grad(lambda xs: np.sum(np.sin(clew.vmap(clew.grad(f))(xs))))
    expected = [np.cos(clew.grad(f)(x)) * clew.grad(clew.grad(f))(x) for x in rows]
    np.testing.assert_allclose(found(rows), expected, rtol=1e-12)
    agree(found, rows)


# --- who owns what -------------------------------------------------------------------------------


def test_what_a_returned_tape_is_made_of_escapes_too():
    kind = Type((), np.float64)
    x, n = Var(kind), Var(COUNT)

    def function(x, n):
        one, other = tape_of(x, n), tape_of(x * 2.0, n)
        return [join_tapes(one, one), total(other, n, ())]

    graph = graph_of(function, [kind, COUNT])
    owner = Owner()
    found = escaping(graph, [(graph.outputs[0], owner)])
    loops = [e for e in graph.equations if e.primitive.name == "loop"]
    assert found.get(loops[0].outputs[1]) is owner
    assert loops[1].outputs[1] not in found
    assert x.type != n.type


def test_the_owner_furthest_out_is_the_one():
    tape = Var(SNAPSHOTS)
    graph = Graph([tape], (), [tape])
    outer, inner = Owner(), Owner()
    for owners in ((outer, inner), (inner, outer)):
        found = escaping(graph, [(tape, owner) for owner in owners])
        assert found[tape] is outer
