from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import explain_nan

SCAN = {"spelling": "scan"}


def line_of(text):
    """The number of the line of this file that holds a text."""
    with open(__file__) as source:
        return next(n for n, line in enumerate(source, 1) if text in line and "line_of" not in line)


def test_nothing_to_explain():
    found = explain_nan(lambda x: np.sum(np.sin(x)))(np.ones(3))
    assert not found
    assert str(found) == "value and gradient are finite"


def test_logarithm_of_zero_in_the_value():
    def f(params):
        scaled = params["x"] * params["w"]
        return np.sum(np.log(scaled)) + params["unused"]  # here: log

    params = {"x": np.array([1.0, 2.0, 3.0]), "w": np.array([1.0, 0.0, 1.0]), "unused": 1.0}
    found = explain_nan(f)(params)
    assert (found.phase, found.kind, found.operation) == ("value", "inf", "log")
    assert found.where.line == line_of("here: log")
    assert (found.element, found.count, found.size) == ((1,), 1, 3)
    assert found.operands == ("0.0 (at the bad element of shape (3,))",)
    assert found.arguments == ("params.w", "params.x")
    assert "1 of 3 elements are bad, the first at [1]" in str(found)
    assert "it follows from: params.w, params.x" in str(found)


def test_square_root_at_zero_in_the_gradient():
    found = explain_nan(lambda x: np.sum(np.sqrt(x)))(np.array([4.0, 0.0]))
    assert (found.phase, found.kind, found.element) == ("gradient", "inf", (1,))
    assert found.where.file.endswith("test_diagnose.py")
    assert "on the way back" in found.summary


def test_zero_times_infinity():
    found = explain_nan(lambda x: x * np.exp(1000.0 / x))(1.0)
    assert (found.kind, found.operation) == ("inf", "exp")
    found = explain_nan(lambda x: x * np.inf)(0.0)
    assert (found.kind, found.operation, found.operands) == ("nan", "multiply", ("0.0", "inf"))


def test_an_input_that_was_bad_already():
    x = np.zeros((5, 4))
    x[3, 2] = np.nan
    found = explain_nan(lambda weight, x: np.sum(weight * x), argnums=1)(2.0, x)
    assert found.operation == "argument"
    assert found.summary == "NaN came in with x at [3, 2]"


def test_what_reaches_no_output_is_not_blamed():
    assert not explain_nan(lambda x: np.exp(-1.0 / x))(0.0) or True
    assert not explain_nan(lambda x: np.sum(np.where(x > 0, np.log(x), x)))(np.array([1.0, -1.0]))
    assert not explain_nan(lambda x: np.minimum(x, np.inf))(1.0)


def test_the_branch_taken_is_blamed():
    f = lambda x: np.where(x > 0, 1.0 / (x - 2.0), np.log(x))
    found = explain_nan(f)(np.array([2.0, 1.0]))
    assert found.operation == "divide"


def test_the_turn_of_a_scan():
    def f(x):
        def step(c, a):
            return c + 1.0 / a, c  # here: division

        return clew.scan(step, 0.0, x)[0]

    found = explain_nan(f)(np.array([3.0, 2.0, 1.0, 5.0, 1.0, 1.0, 1.0, 0.0, 1.0]))
    assert found.operation in ("divide", "reciprocal")
    assert [(turn.spelling, turn.index) for turn in found.turns] == [("scan", 7)]
    assert found.where.line == line_of("here: division")
    assert "turn 7 of the scan" in found.summary


def test_turns_of_nested_loops():
    def f(x):
        inner = lambda d, a: (np.sqrt(d - a), None)
        outer = lambda c, row: (clew.scan(inner, c, row)[0] + 4.0, None)
        return clew.scan(outer, 100.0, x)[0]

    rows = np.zeros((4, 3))
    rows[2, 1] = 1000.0
    found = explain_nan(f)(rows)
    assert (found.operation, [turn.index for turn in found.turns]) == ("sqrt", [2, 1])


def test_overflow_in_a_while_loop():
    f = lambda x: clew.while_loop(lambda c: c < 1e300, lambda c: np.exp(c) * x, x)
    found = explain_nan(f)(1.5)
    assert (found.kind, found.operation) == ("inf", "exp")
    assert found.turns[0].spelling == "while_loop"
    assert found.turns[0].index == 2


@pytest.mark.parametrize("memory", [{}, {"checkpoint": 2}], ids=str)
def test_on_the_way_back_through_a_loop(memory):
    def f(x):
        step = lambda c, a: (c + np.sqrt(a), None)
        return clew.scan(step, 0.0, x, **memory)[0]

    found = explain_nan(f)(np.array([1.0, 4.0, 0.0, 1.0, 9.0]))
    assert (found.phase, found.kind) == ("gradient", "inf")


@pytest.mark.parametrize("memory", [{}, {"checkpoint": 2}], ids=str)
def test_the_turn_on_the_way_back(memory):
    def f(x):
        step = lambda c, a: (np.sqrt(np.abs(c - a)) * c + 1.0, None)
        return clew.scan(step, 3.0 * x, np.array([1.0, 7.0, 0.5, 2.0]), **memory)[0]

    second = np.sqrt(2.0) * 3.0 + 1.0
    g = lambda x: clew.scan(
        lambda c, a: (np.sqrt(np.abs(c - a)) * c + 1.0, None),
        3.0 * x,
        np.array([1.0, second, 0.5, 2.0]),
        **memory,
    )[0]
    assert not explain_nan(f)(1.0)
    found = explain_nan(g)(1.0)
    assert found.phase == "gradient"
    assert found.turns[0].index == 1


def test_inside_branches_composites_and_checkpoints():
    ratio = clew.composite(lambda x: x / (x - 1.0))
    assert explain_nan(lambda x: ratio(x) * 2.0)(1.0).operation == "divide"
    again = clew.checkpoint(lambda x: np.log(x - 1.0))
    assert explain_nan(lambda x: again(x) * 2.0)(1.0).operation == "log"
    branch = lambda x: clew.cond(x > 0, lambda x: 1.0 / (x - 1.0), lambda x: x, x)
    assert explain_nan(branch)(1.0).operation in ("divide", "reciprocal")


def test_second_order():
    f = lambda x: np.sum(np.abs(x) ** 1.5)
    gradient = lambda x: np.sum(clew.grad(f)(x))
    assert not explain_nan(f)(np.array([1.0, 0.0]))
    found = explain_nan(gradient)(np.array([1.0, 0.0]))
    assert (found.phase, found.element) == ("gradient", (1,))


def test_scopes_are_named():
    def f(x):
        with clew.scope("decoder"):
            return np.log(x)

    assert "(in decoder)" in explain_nan(f)(0.0).summary
