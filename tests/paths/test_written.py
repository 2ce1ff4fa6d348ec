"""Runs written out: what ran, once for each time that it ran, with the values it had."""

from __future__ import annotations

import time

import numpy as np
import pytest

import clew
from clew.paths.scopes import instances
from clew.paths.writing import written_out
from tests.loops.programs import PROGRAMS, X


def names_of(flow):
    return [equation.primitive.name for equation in flow.run.equations]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
@pytest.mark.parametrize("derived", [False, True], ids=["value", "gradient"])
def test_the_result_is_that_of_the_function(program, derived):
    function = clew.grad(program.looped) if derived else program.looped
    run = clew.flow(lambda x: function(x) * 1.0)(X).run
    np.testing.assert_array_equal(run.values[run.outputs[0]], function(X))


def test_loops_are_written_out_and_branches_are_those_taken():
    flow = clew.flow(lambda x: clew.while_loop(lambda c: c < 9.0, lambda c: c * x, x))(2.0)
    assert names_of(flow) == ["multiply"] * 3
    assert flow.count() == 4
    for at, name in ((1.0, "sin"), (-1.0, "cos")):
        assert names_of(clew.flow(lambda x: clew.cond(x > 0, np.sin, np.cos, x))(at))[-1] == name


def test_calls_are_opened_and_rules_of_the_users_own_are_not():
    @clew.composite
    def softplus(x):
        return np.log1p(np.exp(x))

    @clew.custom_rule(pull=lambda t, y, x: 10.0 * t)
    def odd(x):
        return x * x * x

    assert names_of(clew.flow(lambda x: softplus(x))(1.0)) == ["exp", "log1p"]
    assert names_of(clew.flow(clew.checkpoint(lambda x: np.sin(np.exp(x))))(1.0)) == ["exp", "sin"]
    flow = clew.flow(lambda x: odd(x) + x)(1.0)
    assert names_of(flow) == ["call", "add"]
    assert flow.count() == 2
    assert flow.gradient() == 11.0
    assert [use.node for use in flow.by_use()] == ["odd", "add"]


def test_python_conditions_leave_no_node():
    assert names_of(clew.flow(lambda x: np.sin(x) if x > 0 else x)(1.0)) == ["greater", "sin"]


def test_a_stack_that_is_scanned_again_keeps_its_steps_apart():
    def two_layers(x):
        _, below = clew.scan(lambda c, k: (c * 2.0, c * k), x, np.arange(1.0, 5.0))
        last, _ = clew.scan(lambda c, y: (c + np.sin(y), None), 0.0, below)
        return last

    flow = clew.flow(two_layers)(0.3)
    assert flow.count() == 4  # one for each step: by its own item, not by the whole stack
    assert flow.gradient() == pytest.approx(clew.grad(two_layers)(0.3), rel=1e-13)
    both = clew.flow(
        lambda x: two_layers(x) + np.sum(clew.scan(lambda c, _: (c, c), x, length=3)[1])
    )
    assert both(0.3).count() == 4 + 3


def test_many_slices_cost_one_array():
    """T slices of one array are added up in place: 4 times as many take about 4 times as long."""

    def total(x):
        return clew.scan(lambda c, row: (c + np.sum(row * row), None), 0.0, x)[0]

    x = np.ones((3000, 1000))
    flow = clew.flow(total)(x)
    start = time.perf_counter()
    np.testing.assert_array_equal(flow.gradient(), 2 * x)
    # 3000 arrays of 24 MB would take minutes; no bound on the time is asserted but that.
    assert time.perf_counter() - start < 60


def test_a_hundred_thousand_equations_are_counted():
    def long(x):
        return clew.fori_loop(0, 25_000, lambda _, c: (c + 0.5 * np.sin(c)) * 0.999, x)

    flow = clew.flow(long)(0.3)
    assert len(flow.run) == 100_000
    assert flow.count() == 2**25_000
    assert (flow.shortest(), flow.longest()) == (50_000, 100_000)


def test_without_values_it_is_the_same_line():
    def f(x):
        last, ys = clew.scan(lambda c, u: (np.sin(c) * u, c + u), x[0], x)
        return last + np.sum(ys)

    graph = clew.trace(f)(X)
    ran, only = written_out(graph, [X], [0]), written_out(graph, None, [0])
    assert ran.operands == only.operands
    assert ran.active == only.active
    assert set(only.values) == {None} or not any(isinstance(v, np.ndarray) for v in only.values[1:])


# --- scopes --------------------------------------------------------------------------------------


def model(x):
    def step(c, _):
        with clew.scope("cell"):
            c = np.sin(c)
        return c, None

    with clew.scope("net"):
        for _ in range(2):
            with clew.scope("block"):
                x = np.tanh(x * x)
        x, _ = clew.scan(step, x, length=3)
    return x


def runs(depth):
    return [str(each) for each in instances(clew.flow(model)(0.5).run, lambda path: depth(path))]


def test_every_entering_is_an_instance():
    deep = lambda number: lambda path: number if path.count("/") + 1 >= number else 0
    assert runs(deep(1)) == ["net"]
    assert runs(deep(2)) == ["net/block", "net/block#2", "net/cell", "net/cell#2", "net/cell#3"]


def test_a_name_with_a_slash_is_two_scopes():
    def f(x):
        with clew.scope("net/block"):
            return x * x

    assert clew.flow(f, level="scope:2")(1.0).lengths() == {1: 1}
    assert clew.flow(f, level=["block"])(1.0).count() == 1


def test_levels_name_scopes_in_three_ways():
    for level in (["block", "cell"], ["net/block", "net/cell"], lambda path: "/" in path):
        flow = clew.flow(model, level=level)(0.5)
        assert flow.count("block#1", "cell#3") == 1
        assert flow.lengths("cell#1") == {2: 1}
    assert clew.flow(model, level="scope:1")(0.5).lengths() == {1: 1}
    assert clew.flow(model, level="scope:2")(0.5).lengths() == {5: 1}


def test_the_way_back_is_an_entering_of_its_own():
    """Equations of a transposed pass carry the forward scope; contracting makes no cycle."""
    slope = clew.grad(lambda x: np.sum(model(x)))
    flow = clew.flow(lambda x: slope(x), level="scope:1")(0.5)
    expected = clew.grad(slope)(0.5)
    assert flow.gradient_by_length().parts.sum() == pytest.approx(expected, rel=1e-12)
    names = [str(node.instance) for node in flow.net.nodes if node.instance]
    assert names[0] == "net"
    assert len(names) == len(set(names))


def test_sources_in_many_spellings():
    params = {"layers": [{"weight": np.ones(2)}, {"weight": np.full(2, 2.0)}]}

    def f(params, x):
        first, second = params["layers"]
        return np.sum(np.sin(first["weight"] * x) * second["weight"])

    flow = clew.flow(f, argnums=(0, 1))(params, np.array([0.3, 0.4]))
    for name in ("layers[1].weight", "params.layers[1].weight", "['layers'][1]['weight']"):
        assert flow.count(name) == 1
        np.testing.assert_allclose(flow.gradient(name), np.sin([0.3, 0.4]))
    assert set(flow.gradient("layers")) == {"params.layers[0].weight", "params.layers[1].weight"}
    assert flow.count(0) == 2
    np.testing.assert_allclose(flow.gradient(1), flow.gradient("x"))
    both = flow.gradient()
    expected = clew.grad(f, argnums=(0, 1))(params, np.array([0.3, 0.4]))
    np.testing.assert_allclose(both[1], expected[1])
    np.testing.assert_allclose(both[0]["layers"][0]["weight"], expected[0]["layers"][0]["weight"])


def test_a_problem_is_its_loss_at_the_start_or_elsewhere():
    times = np.arange(4.0)
    problem = clew.Problem(
        lambda p: p["a"] * np.exp(-p["b"] * times),
        {"a": 1.0, "b": 0.5},
        target=np.ones(4),
        name="decay",
    )
    loss = problem.objective()
    for params in (problem.start, {"a": 2.0, "b": 0.1}):
        flow = clew.flow(problem)(params)
        assert flow.gradient("a") == pytest.approx(clew.grad(loss)(params)["a"])
        assert flow.title == "decay"
    assert clew.flow(problem)().gradient("b") == pytest.approx(clew.grad(loss)(problem.start)["b"])
