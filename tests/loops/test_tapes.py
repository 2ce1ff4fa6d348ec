"""The operations on tapes: values, types, and transposes as the linear maps they are."""

from __future__ import annotations

import numpy as np
import pytest

from clew.core.tape import Tape, TapeType, batched_type
from clew.core.types import Type
from clew.loops.tapes import add_tapes, join_tapes, narrow_tape, pick_tape, widen_tape

ELEMENT = Type((3,), np.float64)
FLAT = TapeType(ELEMENT)
NESTED = TapeType(FLAT)


def flat(seed, steps=4):
    return Tape(FLAT, np.random.default_rng(seed).normal(size=(steps, 3)))


def nested(seed):
    return Tape(NESTED, [flat(seed), flat(seed + 1, 2), flat(seed + 2, 0)])


def numbers(tape):
    if tape.items is None:
        return np.zeros(0)
    if isinstance(tape.items, np.ndarray):
        return tape.items.ravel()
    return np.concatenate([numbers(item) for item in tape.items])


def inner(a, b):
    return float(np.sum(numbers(a) * numbers(b)))


@pytest.mark.parametrize("make", [flat, nested])
def test_add(make):
    a, b = make(0), make(10)
    np.testing.assert_array_equal(numbers(add_tapes(a, b)), numbers(a) + numbers(b))
    zero = Tape(a.type, None)
    assert add_tapes(a, zero) is a
    assert add_tapes(zero, b) is b


@pytest.mark.parametrize("make", [flat, nested])
def test_narrowing_is_the_transpose_of_widening(make):
    tape = make(0)
    wide = widen_tape(tape, size=5)
    assert wide.type == batched_type(tape.type, 5)
    cotangent = widen_tape(make(7), size=5)
    back = narrow_tape(cotangent)
    assert back.type == tape.type
    assert inner(wide, cotangent) == pytest.approx(inner(tape, back), rel=1e-12)
    (again,) = narrow_tape.pull(make(3), [wide.type], {})
    assert again.type == wide.type
    (once,) = widen_tape.pull(cotangent, [tape.type], {"size": 5})
    np.testing.assert_array_equal(numbers(once), numbers(back))


def test_one_tape_for_each_branch():
    tapes = [flat(0), flat(1, 2), flat(2, 6)]
    joined = join_tapes(*tapes)
    for number, tape in enumerate(tapes):
        assert pick_tape(joined, number=number, of=3) is tape
    parts = join_tapes.pull(joined, [t.type for t in tapes], {})
    assert [part is tape for part, tape in zip(parts, tapes, strict=True)] == [True] * 3
    (back,) = pick_tape.pull(tapes[1], [joined.type], {"number": 1, "of": 3})
    assert pick_tape(back, number=1, of=3) is tapes[1]
    assert pick_tape(back, number=0, of=3).items is None
    assert pick_tape(Tape(FLAT, None), number=2, of=3).items is None


def test_what_a_tape_says_of_itself():
    tape = nested(0)
    assert repr(tape.type) == "tape of tape of f64[3]"
    assert repr(flat(0)) == "Tape(f64[3], 4 steps)"
    assert repr(Tape(FLAT, None)) == "Tape(f64[3], zeros)"
    assert tape.nbytes == (4 + 2) * 3 * 8
    assert Tape(FLAT, None).nbytes == 0
    assert FLAT.inexact
    assert not TapeType(Type((), np.int64)).inexact
    assert Type((), np.dtype(object)) != FLAT
    assert len({FLAT, TapeType(Type((3,), np.float64)), NESTED}) == 2
