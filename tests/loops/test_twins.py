"""What an equation returns twice is computed and kept once."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import nn
from clew.loops.spec import spec_of
from clew.simplify import simplify

X = np.linspace(0.5, 1.5, 6)


def scanned(x, reverse=False):
    def step(carry, each):
        made = np.sin(carry * each)
        return carry + made, (made, each, made)

    last, (first, _, second) = clew.scan(step, x[0], x, reverse=reverse)
    return last, first * 2.0, second + x


def while_loop(x):
    def step(state):
        total, left = state
        return total * 1.1, left - 1.0

    total, left = clew.while_loop(lambda state: state[1] > 0.0, step, (x[0], x[1]))
    return total, left, total * left


def branch(x):
    def low(x):
        y = np.exp(x)
        return y, x, y

    def high(x):
        y = np.sqrt(x)
        return y, x, y

    first, _, second = clew.cond(x[0] < 1.0, low, high, x)
    return first * 2.0, second + x


def kept(x):
    def inner(x):
        y = np.tanh(x)
        return y, x * x, y

    first, other, second = clew.checkpoint(inner)(x)
    return first * other, second + 1.0


@pytest.mark.parametrize(
    ("f", "name", "outputs"), [(scanned, "loop", 2), (branch, "switch", 1), (kept, "remat", 2)]
)
def test_it_is_returned_once(f, name, outputs):
    graph = clew.trace(f)(X)
    few = simplify(graph)
    made = next(each for each in few.equations if each.primitive.name == name)
    assert len(made.outputs) == outputs
    for found, expected in zip(clew.evaluate(few, X), clew.evaluate(graph, X), strict=True):
        assert np.array_equal(found, expected)
    for found, expected in zip(clew.jit(f)(X), f(X), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("f", [scanned, lambda x: scanned(x, True), while_loop, branch, kept])
def test_derivatives(f):
    def total(x):
        return sum(np.sum(each) for each in f(x))

    clew.testing.check_derivatives(total, X)
    np.testing.assert_allclose(
        clew.jit(clew.grad(total))(X), clew.grad(total)(X), rtol=1e-13, atol=1e-15
    )


def test_equal_equations_that_return_it_twice():
    def f(x):
        _, first, second = scanned(x)
        _, third, fourth = scanned(x)
        return first + second + third + fourth

    few = simplify(clew.trace(f)(X))
    loops = [each for each in few.equations if each.primitive.name == "loop"]
    assert len(loops) == 2  # their bodies are two graphs
    assert [len(spec_of(each).body_stacked) for each in loops] == [1, 1]
    np.testing.assert_allclose(clew.evaluate(few, X), f(X), rtol=1e-14)


def test_a_recurrent_networks_way_back_keeps_its_gates_once():
    cell = nn.LSTMCell.create(np.random.default_rng(0), 3, 4)

    def loss(cell, x):
        return np.sum(nn.unroll(cell, x)[0] ** 2)

    x = np.random.default_rng(1).normal(size=(5, 2, 3))
    graph = simplify(clew.trace(clew.grad(loss))(cell, x))
    back = [each for each in graph.equations if each.primitive.name == "loop"][-1]
    stacked = spec_of(back).body_stacked
    assert len(set(stacked)) == len(stacked) == 1
