"""Python control flow on traced values: answered from the inputs, guarded, retraced by jit."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import clew
from clew import GraphError, TraceError


def collatz_like(x):
    steps = 0
    while x > 1.0:
        x = x / 2.0 if int(x) % 2 == 0 else 3.0 * x - 1.5 * x
        steps += 1
        if steps > 20:
            break
    return x * steps


def test_branches_follow_the_inputs():
    f = clew.grad(lambda x: x**2 if x > 0 else -3.0 * x)
    assert float(f(2.0)) == 4.0
    assert float(f(-2.0)) == -3.0


def test_while_and_range():
    assert float(clew.grad(collatz_like)(12.0)) == pytest.approx(
        (collatz_like(12.0 + 1e-6) - collatz_like(12.0 - 1e-6)) / 2e-6, rel=1e-6
    )

    def power(x, n):
        y = 1.0
        for _ in range(int(n)):
            y = y * x
        return y

    gradient = clew.grad(power, argnums=(0, 1))(2.0, 5.0)
    assert float(gradient[0]) == 80.0
    assert "cut" in gradient[1].reason or "unused" in gradient[1].reason


def test_guards_stand_in_the_graph_and_hold():
    graph = clew.trace(lambda x: x * 2 if x > 1 else x)(3.0)
    assert any(equation.primitive.name == "guard" for equation in graph.equations)
    assert float(clew.evaluate(graph, 5.0)) == 10.0
    with pytest.raises(GraphError, match="another Python branch"):
        clew.evaluate(graph, 0.5)


def test_boolean_masks_decide_shapes():
    x = np.array([1.0, -2.0, 3.0])
    np.testing.assert_array_equal(clew.grad(lambda x: np.sum(x[x > 0] ** 2))(x), [2.0, 0.0, 6.0])


def test_jit_retraces_per_path_and_signature():
    traces = []

    @clew.jit
    def f(x):
        traces.append(1)
        if np.sum(x) > 0:
            return x * 2
        return -x

    for value in ([1.0, 2.0], [3.0, 4.0], [-1.0, -2.0], [-5.0, 1.0], [1.0, 1.0]):
        x = np.array(value)
        np.testing.assert_array_equal(f(x), x * 2 if x.sum() > 0 else -x)
    assert len(traces) == 2
    f(np.ones(3))
    assert len(traces) == 3


def test_jit_warns_of_too_many_paths():
    @clew.jit
    def f(x):
        return x * int(x)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(20):
            assert float(f(float(i))) == i * i
    assert any("different Python paths" in str(w.message) for w in caught)


def test_guards_of_inner_traces_reach_the_outer_one():
    @clew.jit
    def slope(x):
        return clew.grad(lambda y: y**3 if y > 0 else y)(x)

    assert [float(slope(v)) for v in (2.0, -2.0, 1.0)] == [12.0, 1.0, 3.0]


def test_a_condition_under_vmap_needs_agreement():
    f = clew.vmap(lambda x: x * 2 if x > 0 else x)
    np.testing.assert_array_equal(f(np.array([1.0, 2.0])), [2.0, 4.0])
    with pytest.raises(TraceError, match="examples disagree"):
        f(np.array([1.0, -2.0]))


def test_truth_of_an_array_is_ambiguous():
    with pytest.raises(ValueError, match="ambiguous"):
        clew.grad(lambda x: np.sum(x) if x > 0 else 0.0)(np.ones(3))
