from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import explain_nan

MEMORY = [{}, {"checkpoint": 2}]


def line_of(text):
    """The number of the line of this file that holds a text."""
    with open(__file__) as source:
        return next(n for n, line in enumerate(source, 1) if text in line and "line_of" not in line)


def steps(found):
    return [(each.spelling, each.index) for each in found.iterations]


def fed_by(found):
    return [each.name for each in found.arguments]


def test_nothing_to_explain():
    found = explain_nan(lambda x: np.sum(np.sin(x)))(np.ones(3))
    assert not found
    assert "all finite" in str(found)


def test_logarithm_of_zero_in_the_value():
    def f(params):
        scaled = params["x"] * params["w"]
        return np.sum(np.log(scaled)) + params["unused"]  # here: log

    params = {"x": np.array([1.0, 2.0, 3.0]), "w": np.array([1.0, 0.0, 1.0]), "unused": 1.0}
    found = explain_nan(f)(params)
    assert (found.stage, found.found, found.name) == ("forward", "-inf", "log")
    assert found.where.line == line_of("here: log")
    assert found.element == (1,)
    assert found.operands[0].at == "[1] = 0.0"
    assert found.result.bad == 1
    assert fed_by(found) == ["params.w", "params.x"]
    text = str(found)
    assert "return np.sum(np.log(scaled))" in text
    assert "fed by:     params.w: f64[3]" in text


def test_square_root_at_zero_in_the_gradient():
    found = explain_nan(lambda x: np.sum(np.sqrt(x)))(np.array([4.0, 0.0]))
    assert (found.stage, found.found, found.element) == ("backward", "inf", (1,))
    assert found.where.file.endswith("test_diagnose.py")
    assert found.reaches == "gradient of x[1]"


def test_zero_times_infinity():
    found = explain_nan(lambda x: x * np.exp(1000.0 / x))(1.0)
    assert (found.found, found.name) == ("inf", "exp")
    found = explain_nan(lambda x: x * np.inf)(0.0)
    assert (found.found, found.name) == ("nan", "multiply with a constant that is not finite")
    assert [each.at for each in found.operands] == ["0.0", "inf"]


def test_an_input_that_was_bad_already():
    x = np.zeros((5, 4))
    x[3, 2] = np.nan
    found = explain_nan(lambda weight, x: np.sum(weight * x))(2.0, x)
    assert (found.stage, found.name, found.element) == ("argument", "x", (3, 2))
    assert "argument x[3, 2] is nan already" in str(found)


def test_what_reaches_no_result_is_not_blamed():
    assert not explain_nan(lambda x: np.stack([1.0 / np.exp(1000.0 * x), x]))(1.0)
    assert not explain_nan(lambda x: np.sum(np.where(x > 0, np.log(x), x)))(np.array([1.0, -1.0]))
    assert not explain_nan(lambda x: np.minimum(x, np.inf))(1.0)


def test_a_harmless_infinity_beside_the_cause():
    found = explain_nan(lambda x: np.minimum(np.exp(1000.0 * x), np.log(x - 1.0)))(1.0)
    assert found.name == "log"

    def other_element(x):
        step = lambda c, t: (np.stack([np.exp(1000.0 * t + 0 * c[0]), c[1] / (t - 5.0)]), None)
        return clew.scan(step, np.stack([x, x]), np.arange(8.0))[0][1]

    found = explain_nan(other_element)(1.0)
    assert (found.name, steps(found)) == ("divide", [("scan", 5)])


def test_the_branch_taken_is_blamed():
    f = lambda x: np.where(x > 0, 1.0 / (x - 2.0), np.log(x))
    assert explain_nan(f)(np.array([2.0, 1.0])).name == "divide"


def test_the_step_of_a_scan():
    def f(x):
        def step(c, a):
            return c + 1.0 / a, c  # here: division

        return clew.scan(step, 0.0, x)[0]

    found = explain_nan(f)(np.array([3.0, 2.0, 1.0, 5.0, 1.0, 1.0, 1.0, 0.0, 1.0]))
    assert (found.name, steps(found)) == ("divide", [("scan", 7)])
    assert found.where.line == line_of("here: division")
    assert "iteration 7 of scan at test_diagnose.py" in str(found)


def test_steps_of_nested_loops():
    def f(x):
        inner = lambda d, a: (np.sqrt(d - a), None)
        outer = lambda c, row: (clew.scan(inner, c, row)[0] + 4.0, None)
        return clew.scan(outer, 100.0, x)[0]

    rows = np.zeros((4, 3))
    rows[2, 1] = 1000.0
    found = explain_nan(f)(rows)
    assert (found.name, steps(found)) == ("sqrt", [("scan", 2), ("scan", 1)])


def test_a_loop_run_backwards_counts_as_its_arrays_do():
    step = lambda c, a: (c + np.log(a), None)
    f = lambda x: clew.scan(step, 0.0, x, reverse=True)[0]
    assert steps(explain_nan(f)(np.array([1.0, 0.0, 1.0, 1.0]))) == [("scan", 1)]


def test_overflow_in_a_while_loop():
    f = lambda x: clew.while_loop(lambda c: c < 1e300, lambda c: np.exp(c) * x, x)
    found = explain_nan(f)(1.5)
    assert (found.found, found.name, steps(found)) == ("inf", "exp", [("while_loop", 2)])


@pytest.mark.parametrize("memory", MEMORY, ids=str)
def test_the_step_on_the_way_back(memory):
    def f(x, rows):
        step = lambda c, a: (np.sqrt(np.abs(c - a)) * c + 1.0, None)
        return clew.scan(step, 3.0 * x, rows, **memory)[0]

    rows = np.array([1.0, 7.0, 0.5, 2.0])
    assert not explain_nan(f, argnums=0)(1.0, rows)
    rows[1] = np.sqrt(2.0) * 3.0 + 1.0
    found = explain_nan(f, argnums=0)(1.0, rows)
    assert (found.stage, steps(found)) == ("backward", [("scan", 1)])


def test_inside_branches_composites_and_checkpoints():
    ratio = clew.composite(lambda x: x / (x - 1.0))
    assert explain_nan(lambda x: ratio(x) * 2.0)(1.0).name == "divide"
    again = clew.checkpoint(lambda x: np.log(x - 1.0))
    assert explain_nan(lambda x: again(x) * 2.0)(1.0).name == "log"
    branch = lambda x: clew.cond(x > 0, lambda x: 1.0 / (x - 1.0), lambda x: x, x)
    assert explain_nan(branch)(1.0).name == "divide"


def test_second_order():
    f = lambda x: np.sum(np.abs(x) ** 1.5)
    gradient = lambda x: np.sum(clew.grad(f)(x))
    assert not explain_nan(f)(np.array([1.0, 0.0]))
    found = explain_nan(gradient)(np.array([1.0, 0.0]))
    assert (found.stage, found.reaches) == ("backward", "gradient of x[1]")


def test_scopes_and_advice():
    def f(x):
        with clew.scope("decoder"):
            return np.log(x)

    found = explain_nan(f)(0.0)
    assert found.scope == "decoder"
    assert "log" in found.hint
    assert str(found).splitlines()[-1].strip().startswith("fix:")


def test_bad_questions():
    with pytest.raises(clew.InputError, match="argnums=2 of a call with 1 positional"):
        explain_nan(np.sin, argnums=2)(1.0)
    with pytest.raises(clew.GraphError, match="reads values of another trace"):
        clew.grad(lambda x: x * bool(explain_nan(lambda y: x * y)(1.0)))(2.0)
