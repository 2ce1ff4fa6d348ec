"""explain: signatures, paths and conditions, retraces and why, loops and their memory."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew.core.memory import readable
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


def test_the_native_program_of_a_path():
    def f(x):
        return np.sum(np.sin(x) * x)  # summed

    fast = clew.jit(f)
    fast(np.ones((40, 30)))
    (program,) = explain(fast).signatures[0].paths[0].programs
    (step,) = program.steps
    assert (step.kind, step.extents, step.read, step.written) == ("kernel", (40, 30), 9600, 8)
    assert step.names == {"sin": 1, "multiply": 1, "sum": 1}
    assert program.compiled
    assert program.reason == ""
    assert program.size > 100
    assert program.seconds > 0
    line = line_of("# summed")
    text = str(explain(fast))
    assert "native: 1 step, " in text
    assert "kernel 40 x 30: 3 equations (sin, multiply, sum), reads 9.4 KiB, writes 8 bytes" in text
    assert "3,600 operations, predicted " in text
    assert f"at test_explain.py:{line}" in text


def test_code_from_the_disk_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("CLEW_CACHE", "1")
    monkeypatch.setenv("CLEW_CACHE_DIR", str(tmp_path / "cache"))
    found = []
    for _ in range(2):
        fast = clew.jit(lambda x: np.cosh(x) - 2.0 * x)
        fast(np.ones(77))
        report = explain(fast)
        found.append(report.signatures[0].paths[0].programs[0].cached)
        assert ("from the cache on disk in" in str(report)) is found[-1]
    assert found == [False, True]


def test_what_is_left_to_python_is_told():
    report = explain(lambda x: np.sort(x * 2.0))(np.ones(50, complex))
    (program,) = report.signatures[0].paths[0].programs
    assert [step.reason for step in program.call_outs] == ["no native form: sort of complex128"]
    assert "call-out sort, no native form: sort of complex128" in str(report)


def test_memory_that_a_program_works_in():
    def f(x):
        y = np.exp(x)
        return np.sum(y / np.sum(y))

    (program,) = explain(f)(np.ones(1000)).signatures[0].paths[0].programs
    assert 8000 <= program.arena <= 8000 + 4 * 64
    assert program.lines()[0].endswith(f"works in {readable(program.arena)}")


def test_steps_inside_loops_are_indented():
    def f(x):
        return clew.scan(lambda c, _: (np.sin(c) * x, None), x, length=10)[0]

    lines = explain(f)(np.ones(100)).signatures[0].paths[0].programs[0].lines()
    assert lines[1].startswith("  loop 10 times, predicted ")
    assert lines[2].startswith("    kernel 100: 2 equations (sin, multiply), reads ")


def test_conditions_divide_a_path_into_programs():
    report = explain(choose)(np.full(9, -1.0))
    first, second, last = report.signatures[0].paths[0].programs
    assert [each.compiled for each in (first, second, last)] == [True] * 3
    assert "negative" in last.steps[0].names


def test_why_the_reference_evaluator_runs(monkeypatch):
    monkeypatch.setenv("CLEW_NATIVE", "0")
    report = explain(lambda x: np.sin(x) + 1.0)(np.ones(9))
    (program,) = report.signatures[0].paths[0].programs
    assert (program.reason, program.compiled, program.size) == ("CLEW_NATIVE=0", False, 0)
    assert "reference evaluator: CLEW_NATIVE=0" in str(report)
