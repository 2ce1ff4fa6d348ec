"""The minimum cut against trying every set, and what loops save in practice."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

import clew
from clew.core.graph import Var
from clew.loops.residuals import cheap, saved_values


def all_equations(graph):
    for equation in graph.equations:
        yield equation
        for value in equation.params.values():
            body = getattr(value, "body", value)
            if hasattr(body, "equations"):
                yield from all_equations(body)


def loops_of(f, *args):
    graph = clew.trace(f)(*args)
    return [e for e in all_equations(graph) if e.primitive.name == "loop"]


def size(var):
    return var.type.size * var.type.dtype.itemsize + 8


def follows(equations, given, targets):
    known = set(given)
    for equation in equations:
        inputs = {atom for atom in equation.inputs if type(atom) is Var}
        if cheap(equation) and inputs <= known:
            known.update(equation.outputs)
    return targets <= known


def random_step(seed):
    draw = np.random.default_rng(seed)

    def step(a, b, c):
        values = [a, b, c, np.outer(a, b), a + 1.0]
        for _ in range(6):
            x, y = (values[i] for i in draw.integers(0, len(values), 2))
            kind = draw.integers(0, 5)
            if kind == 0 and x.ndim == 1 and y.ndim == 1:
                values.append(np.dot(x, y) + x)
            elif kind == 1 and x.ndim == 2:
                values.append(x.sum(axis=0))
            elif x.shape == y.shape:
                values.append(x * y)
            else:
                values.append(np.sin(x))
        return values

    return clew.trace(step)(np.ones(2), np.ones(2), np.ones(2))


@pytest.mark.parametrize("seed", range(40))
def test_no_other_set_is_smaller(seed):
    graph = random_step(seed)
    draw = np.random.default_rng(seed + 1000)
    made = [var for equation in graph.equations for var in equation.outputs]
    targets = {made[i] for i in draw.integers(0, len(made), 2)}
    carries, free = graph.inputs[:2], graph.inputs[2:]
    found = saved_values(graph.equations, carries, targets, set())
    assert follows(graph.equations, {*found, *free}, targets)
    best = sum(size(var) for var in found)
    pool = [*carries, *made]
    for count in range(4):
        for chosen in combinations(pool, count):
            if sum(size(var) for var in chosen) < best:
                assert not follows(graph.equations, {*chosen, *free}, targets)


def test_a_pendulum_saves_one_number_a_step():
    def late(x):
        def step(c, _):
            angle, speed = c
            speed = speed - 0.01 * np.sin(angle)
            return (angle + 0.01 * speed, speed), None

        return clew.scan(step, (x, 0.0), length=7)[0][0]

    first, _ = loops_of(clew.grad(late), 1.0)
    assert [var.type.shape for var in first.outputs if var.type.shape] == [(7,)]


def test_wide_intermediate_values_are_recomputed():
    def late(x):
        step = lambda c, _: (np.sum(np.sin(np.outer(c, c)), axis=0), None)
        return np.sum(clew.scan(step, x, length=5)[0])

    first, _ = loops_of(clew.grad(late), np.ones(10))
    stacked = [var.type.shape for var in first.outputs if len(var.type.shape) > 1]
    assert stacked == [(5, 10)]


def test_products_are_not_computed_twice():
    w = np.ones((4, 4))
    late = lambda x: np.sum(clew.scan(lambda c, _: (np.tanh(w @ c), None), x, length=5)[0])
    names = [e.primitive.name for e in all_equations(clew.trace(clew.grad(late))(np.ones(4)))]
    assert names.count("contract") == 2


def test_work_that_does_not_change_is_done_once():
    def late(x):
        step = lambda c, _: (c * np.exp(np.sum(x)) + np.sqrt(x), None)
        return np.sum(clew.scan(step, x, length=5)[0])

    graph = clew.trace(late)(np.ones(3))
    outside = [equation.primitive.name for equation in graph.equations]
    assert {"exp", "sum", "sqrt"} <= set(outside)
    (found,) = loops_of(late, np.ones(3))
    inside = [equation.primitive.name for equation in found.params["body"].equations]
    assert inside == ["multiply", "add"]


def test_a_weight_gradient_is_one_product_over_all_steps():
    def loss(w, xs):
        last, ys = clew.scan(lambda h, x: (np.tanh(w @ h + x), h), np.zeros(4), xs)
        return np.sum(last) + np.sum(ys)

    xs = np.random.default_rng(0).normal(size=(9, 4))
    graph = clew.trace(clew.grad(loss))(np.eye(4), xs)
    products = [e for e in graph.equations if e.primitive.name == "contract"]
    assert [e.inputs[0].type.shape for e in products] == [(9, 4)]


def test_functions_of_many_elements_are_not_computed_twice():
    """Reading a hyperbolic tangent takes less time than computing it again."""

    def late(x):
        step = lambda c, _: (np.tanh(c) * x, None)
        return np.sum(clew.scan(step, x, length=5)[0])

    _, second = loops_of(clew.grad(late), np.linspace(0.1, 1.0, 50))
    names = [equation.primitive.name for equation in second.params["body"].equations]
    assert "tanh" not in names
