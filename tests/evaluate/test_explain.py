"""explain: signatures, paths and conditions, retraces and why, loops and their memory."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew.evaluate.explain import explain


def line_of(text):
    """The number of the line of this file that holds a text."""
    with open(__file__) as source:
        return next(n for n, line in enumerate(source, 1) if text in line and "line_of" not in line)


def choose(x, scale=1.0):
    if np.sum(x) > 0:  # first question
        return x * scale
    if x[0] > -5:  # second question
        return -x
    return np.exp(x)


def test_nothing_is_known_before_the_first_call():
    report = explain(clew.jit(choose))
    assert (report.traces, report.signatures) == (0, ())
    assert "choose: 0 traces, 0 signatures\n  not called yet" in str(report)


def test_paths_with_conditions_and_counts():
    fast = clew.jit(choose)
    for sign in (1.0, 1.0, -1.0, 1.0, -9.0):
        fast(np.full(2, sign))
    report = explain(fast)
    (signature,) = report.signatures
    assert signature.arguments == "x: f64[2]"
    assert [path.runs for path in signature.paths] == [3, 1, 1]
    first, second = line_of("# first question"), line_of("# second question")
    found = [
        [(each.where.line, each.answer) for each in path.conditions] for path in signature.paths
    ]
    assert found == [
        [(first, "True")],
        [(first, "False"), (second, "True")],
        [(first, "False"), (second, "False")],
    ]
    assert [path.why for path in signature.paths] == [
        "first call",
        f"new answer False at test_explain.py:{first}",
        f"new answer False at test_explain.py:{second}",
    ]
    text = str(report)
    assert "choose: 3 traces, 1 signature" in text
    assert "path 1: ran 3 times, " in text
    assert f"if test_explain.py:{first}: True  if np.sum(x) > 0:  # first question" in text


def test_why_a_signature_is_new():
    fast = clew.jit(choose)
    fast(np.ones(2))
    fast(np.ones(3))
    fast(np.ones(3, np.float32))
    fast(np.ones(3), scale=2.0)
    why = [each.paths[0].why for each in explain(fast).signatures]
    assert why == [
        "first call",
        "new shape of x: f64[3], before f64[2]",
        "new dtype of x: float32, before float64",
        "new arguments: x, scale",
    ]


def test_a_new_structure_of_the_same_names():
    fast = clew.jit(lambda x: x[0] + x[1])
    fast((1.0, 2.0))
    fast([1.0, 2.0])
    assert explain(fast).signatures[1].paths[0].why == "new structure of the arguments"


def test_a_plain_function_called_through_its_explanation():
    empty = explain(choose)
    report = empty(np.ones(2))
    assert (empty.traces, report.traces) == (0, 1)
    path = report.signatures[0].paths[0]
    assert path.equations == len(path.graph.equations) == 3  # times 1.0 is left out
    assert path.cost == path.graph.cost()
    assert report(np.full(2, -1.0)).traces == 2


def test_dropped_paths_are_told():
    fast = clew.jit(choose, most_paths=1)
    fast(np.ones(2))
    with pytest.warns(RuntimeWarning, match="more than 1 different"):
        fast(-np.ones(2))
    report = explain(fast)
    assert (report.dropped, report.traces, report.most_paths) == (1, 2, 1)
    assert "1 path dropped: more than 1 for one signature; write clew.while_loop" in str(report)


def test_loops_with_length_policy_and_memory():
    def f(x):
        inner = lambda d, a: (np.sin(d) + a, None)
        outer = lambda c, row: (clew.scan(inner, c, row)[0], c)
        first = clew.scan(outer, x, np.ones((7, 3)), checkpoint=2)[0]  # outer loop
        return clew.while_loop(lambda c: c < 100.0, lambda c: c * 2.0 + x, first)

    report = explain(f)(1.0)
    outer, inner, last = report.signatures[0].paths[0].loops
    assert (outer.spelling, outer.length, outer.checkpoint, outer.depth) == ("scan", 7, "2", 0)
    assert (inner.spelling, inner.length, inner.checkpoint, inner.depth) == ("scan", 3, "tape", 1)
    assert (last.spelling, last.length) == ("while_loop", None)
    assert outer.where.line == line_of("# outer loop")
    text = str(report)
    assert "scan at test_explain.py" in text
    assert "while_loop at test_explain.py" in text
    assert "unknown length" in text
    assert "bytes a step" in text


def test_the_memory_of_a_gradient_is_that_of_its_tape():
    def f(x, steps):
        return clew.scan(lambda c, _: (c + np.sin(c) * x, None), x, length=steps)[0]

    held = []
    for steps in (100, 1000):
        report = explain(clew.grad(lambda x, n=steps: f(x, n)))(0.5)
        held.append(sum(loop.memory for loop in report.signatures[0].paths[0].loops))
    assert 8 * 1000 <= held[1] <= 11 * held[0]


def test_many_conditions_are_cut_short():
    def f(x):
        while x > 0:
            x = x - 1.0
        return x

    report = explain(f)(20.0)
    assert len(report.signatures[0].paths[0].conditions) == 21
    assert "... and 13 more conditions" in str(report)
