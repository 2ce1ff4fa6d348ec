"""Long programs are cut into functions that follow each other, and give what one function gives."""

from __future__ import annotations

import re

import numpy as np
import pytest

import clew
from clew.core.errors import RunError
from clew.core.graph import Var
from clew.core.types import Type
from clew.evaluate.native import frame, program, run, sections
from clew.evaluate.native.emitter import INT64, Value
from clew.evaluate.native.parking import lasts
from clew.evaluate.native.run import Native
from clew.evaluate.native.storage import Memory, Splat
from clew.loops.check import check
from clew.simplify import simplify
from tests.evaluate.native.comparing import as_tuple, differs
from tests.evaluate.native.holding import TOGETHER, hold, threads_as_before
from tests.evaluate.native.test_nested_programs import program as nested
from tests.evaluate.native.test_programs import SHAPES, drawn, operand
from tests.evaluate.native.test_programs import run as straight

__all__ = ["threads_as_before"]
X = np.random.default_rng(2).normal(size=40)


@pytest.fixture
def short(monkeypatch):
    """Cut every program, after few instructions."""
    monkeypatch.setattr(program, "SECTION", -1)
    monkeypatch.setattr(sections, "_LINES", 20)
    park = frame.Frame.park

    def parked(self):
        done = park(self)
        assert done, "not cut where it could be"
        return done

    monkeypatch.setattr(frame.Frame, "park", parked)


def agree(f, *args, simplified=True):
    graph = clew.trace(f)(*args)
    graph = simplify(graph) if simplified else graph
    expected = as_tuple(clew.evaluate(graph, *args))
    native = Native(graph, level=1)
    for _ in range(2):
        for mine, theirs in zip(native(*args), expected, strict=True):
            wrong = differs(mine, theirs)
            assert not wrong, wrong
    return native


def sections_of(native_program):
    return native_program.module.text().count("define internal i32 @section")


def repeated(x, count):
    a, b = x, np.cos(x)
    for i in range(count):
        a, b = np.sin(a) * 0.5 + b, a * b - 0.01 * i
    return np.sum(a + b)


# --- the same results --------------------------------------------------------------------------


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("group", range(3))
def test_random_programs_without_loops(group):
    numbers = range(group * TOGETHER, (group + 1) * TOGETHER)
    steps = drawn(3 * TOGETHER)
    functions = [lambda x, s=steps[n]: straight(s, x, 300) for n in numbers]
    hold(functions, [operand(n, SHAPES) for n in numbers], level=1)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("group", range(3))
def test_random_programs_with_loops(group):
    seeds = range(500 + 5 * group, 505 + 5 * group)
    functions, operands = zip(*map(nested, seeds), strict=True)
    hold(functions, operands, level=1)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("size", [3, 40])
def test_numbers_arrays_and_their_views_live_on(size):
    def f(x, z):
        early = x * 2.0
        part, turned, wide = early[1:], early[::-1], np.broadcast_to(early, (2, size))
        same = np.broadcast_to(np.sum(early), (size, size))
        for _ in range(5):
            x = np.sin(x) + early[0]
            z = z * (0.5 + 1j) + x[0]
            x = clew.fori_loop(0, 2, lambda i, c: np.sin(same @ c * 1e-3) + c, x)
        return x * turned + np.sum(wide, axis=0) + np.sum(part), z, x > early, early, same

    agree(f, X[:size], 0.3 + 0.2j)
    agree(f, X[:size], 0.3 + 0.2j, simplified=False)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("memory", [{}, {"checkpoint": 2}])
def test_tapes_live_on(memory):
    """A scan, a loop of unknown length and a branch, with much between there and back."""

    def f(x):
        for _ in range(3):
            x = clew.scan(lambda c, _: (np.sin(c) * 1.1, None), x, length=7, **memory)[0]
            body = lambda c: (np.cos(c[0]) * 1.2, c[1] + 1)
            x = np.tanh(clew.while_loop(lambda c: c[1] < 5, body, (x, 0), **memory)[0])
            grown = lambda x: clew.while_loop(lambda c: np.sum(c) < 9, np.exp, x * x, **memory)
            x = x + np.tanh(clew.cond(x[0] > 0, grown, np.sin, x)) * 0.1
        return np.sum(x * x)

    for size in (3, 20):
        agree(clew.grad(f), X[:size])
        agree(clew.grad(f), -X[:size])


def test_an_address_of_one_function_does_not_last():
    graph = clew.trace(lambda x: x)(X)
    written = program.Program(graph)
    local = Memory(INT64, (3,), "%v1", (1,))
    assert lasts(written, written.buffer(written.e, INT64, (3,)))
    assert not lasts(written, local)
    assert lasts(written, Splat(INT64, (3,), Value(INT64, "7")))
    assert not lasts(written, Splat(INT64, (3,), Value(INT64, "%v1")))
    inner = written.frame(graph)
    assert inner.park()
    inner.define(Var(Type((3,), INT64)), local)
    assert not inner.park()


# --- errors, Python ----------------------------------------------------------------------------


@pytest.mark.usefixtures("short")
def test_a_section_that_fails_ends_the_program():
    def f(x):
        before = repeated(x, 10)
        grown = clew.while_loop(lambda c: np.sum(c) < 50.0, lambda c: c + 1.0, x * x)
        check(np.sum(grown) < 80.0, "too large: {0}", "begin lower", np.sum(grown))
        return before + repeated(grown, 10)

    compiled = clew.jit(clew.grad(f))
    good = compiled(X[:5])
    for _ in range(3):
        with pytest.raises(RunError, match="too large"):
            compiled(X[:5] + 10.0)
        np.testing.assert_array_equal(compiled(X[:5]), good)


@pytest.mark.usefixtures("short")
def test_calls_of_python_between_sections():
    def f(x):
        y = np.sin(x) * 2.0
        for _ in range(4):
            y = np.real(np.sort(y * (1 + 1j))) * 0.5 + x
        return y * x

    assert agree(f, X[:6]).callouts


# --- how long they are -------------------------------------------------------------------------


def test_functions_stay_short_however_long_the_program_is():
    graph = clew.trace(lambda x, y: repeated(np.stack([x, y]), 400))(0.3, 0.4)
    written = program.Program(graph)
    assert sections_of(written) > 3
    longest = max(text.count("\n") for text in written.module.text().split("\n}\n"))
    assert longest < 1.1 * sections._LINES
    agree(lambda x, y: repeated(np.stack([x, y]), 400), 0.3, 0.4)


def test_short_programs_are_one_function():
    written = program.Program(clew.trace(lambda x: repeated(x, 3))(X))
    assert sections_of(written) == 0


def test_what_is_too_long_is_left_to_the_reference(monkeypatch):
    monkeypatch.setattr(run, "_LONGEST_PART", 60)
    monkeypatch.setattr(run, "_LONGEST", 400)

    def looped(x):
        return clew.scan(lambda c, _: (repeated(c, 10) * x, None), x, length=3)[0]

    long = "too long to be worth compiling: about [0-9,]+ instructions"
    for function, reason in (
        (lambda x: repeated(x, 4), ""),
        (lambda x: repeated(x, 50), long),
        (looped, "a body is " + long),
    ):
        (found,) = clew.explain(function)(0.5).signatures[0].paths[0].programs
        assert re.fullmatch(reason, found.reason)
        assert found.compiled is not bool(reason)
