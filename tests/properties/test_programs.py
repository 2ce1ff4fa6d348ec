"""Properties that hold of every program: 1,000 random ones, the same each run."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings

import clew
from clew.batch import batch
from clew.calculus.push import push
from clew.calculus.reverse import pull_graph
from clew.core.verify import verify
from clew.simplify import simplify
from clew.trace import record
from clew.trace import run as run_graph
from tests.properties.programs import programs, run


def fixed(count):
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def close(found, expected, tolerance):
    found, expected = np.asarray(found), np.asarray(expected)
    scale = max(np.max(np.abs(expected), initial=0), 1e-3)
    assert np.max(np.abs(found - expected), initial=0) <= tolerance * scale


@fixed(400)
@given(programs())
def test_graph_gives_numpys_value_however_it_is_transformed(drawn):
    steps, x = drawn
    expected = run(steps, x)
    graph = verify(clew.trace(lambda x: run(steps, x))(x))
    close(clew.evaluate(graph, x), expected, 1e-13)
    small = verify(simplify(graph))
    assert len(small.equations) <= len(graph.equations)
    close(clew.evaluate(small, x), expected, 1e-13)
    close(clew.jit(lambda x: run(steps, x))(x), expected, 1e-13)


@fixed(300)
@given(programs())
def test_derivatives_agree_with_differences_and_each_other(drawn):
    steps, x = drawn
    clew.testing.check_derivatives(lambda x: run(steps, x), x, tolerance=1e-5, step=1e-4)
    gradient = np.asarray(clew.grad(lambda x: run(steps, x))(x))
    forward = clew.jacobian(lambda x: run(steps, x), mode="forward")(x)
    close(forward, gradient, 1e-11)
    close(clew.jit(clew.grad(lambda x: run(steps, x)))(x), gradient, 1e-12)


@fixed(200)
@given(programs())
def test_transformed_graphs_are_well_formed_and_batch_is_a_loop(drawn):
    steps, x = drawn
    graph = record(lambda x: run(steps, x), [x]).graph
    pushed = verify(push(graph, (0,)).graph)
    whole = verify(pull_graph(graph, (0,))[0])
    # Small steps keep all examples on the side of each kink that the trace took.
    xs = np.stack([x, x + 1e-9, x - 1e-9])
    wide, _ = batch(whole, 3, [True] * len(whole.inputs))
    verify(wide)
    found = run_graph(wide, [xs, np.ones(3)][: len(wide.inputs)])
    for example in range(3):
        arguments = [xs[example], 1.0][: len(whole.inputs)]
        for mine, theirs in zip(found, run_graph(whole, arguments), strict=True):
            close(np.asarray(mine)[example], theirs, 1e-11)
    assert len(pushed.outputs) in (1, 2)


@fixed(100)
@given(programs())
def test_orders_of_transformation_commute(drawn):
    steps, x = drawn
    f = lambda x: run(steps, x)  # noqa: E731
    direction = np.cos(np.arange(x.size)).reshape(x.shape)
    forward_over_reverse = np.asarray(clew.hvp(f, (x,), (direction,)))
    reverse_over_forward = clew.grad(lambda x: clew.jvp(f, (x,), (direction,))[1])(x)
    reverse_over_reverse = clew.grad(lambda x: np.sum(clew.grad(f)(x) * direction))(x)
    close(np.asarray(reverse_over_forward), forward_over_reverse, 1e-8)
    close(np.asarray(reverse_over_reverse), forward_over_reverse, 1e-8)
    xs = np.stack([x, x + 1e-9])
    close(
        clew.vmap(clew.grad(f))(xs),
        clew.grad(lambda xs: np.sum(clew.vmap(f)(xs)))(xs),
        1e-10,
    )


def test_the_counts_add_up_to_a_thousand():
    tests = (
        test_graph_gives_numpys_value_however_it_is_transformed,
        test_derivatives_agree_with_differences_and_each_other,
        test_transformed_graphs_are_well_formed_and_batch_is_a_loop,
        test_orders_of_transformation_commute,
    )
    assert sum(test._hypothesis_internal_use_settings.max_examples for test in tests) == 1000
