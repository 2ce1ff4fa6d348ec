"""Running graphs: errors, other array namespaces, cost, simplification."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import clew
from clew import GraphError, InputError
from clew.core.verify import verify
from clew.ops.conv import convolution
from clew.simplify import simplify

X = np.array([0.5, 1.5])


def f(p):
    return {"y": np.tanh(p["x"] @ p["w"]), "n": np.sum(p["x"])}


PARAMS = {"x": X, "w": np.arange(6.0).reshape(2, 3) / 5}


def test_outputs_are_flat_and_arguments_checked():
    graph = clew.trace(f)(PARAMS)
    total, y = clew.evaluate(graph, PARAMS)
    np.testing.assert_allclose(y, np.tanh(X @ PARAMS["w"]))
    assert float(total) == 2.0
    with pytest.raises(InputError, match="1 arrays were given, the graph has 2 inputs"):
        clew.evaluate(graph, X)
    with pytest.raises(InputError, match=r"p.x has shape \(3,\)"):
        clew.evaluate(graph, {"x": np.ones(3), "w": PARAMS["w"]})


def test_outer_values_cannot_be_read_by_a_trace():
    with pytest.raises(GraphError, match="values of another trace"):
        clew.grad(lambda x: (clew.trace(lambda y: x * y)(1.0), x)[1])(2.0)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_another_namespace_gives_the_same():
    import jax

    jax.config.update("jax_enable_x64", True)
    graph = clew.trace(f)(PARAMS)
    for mine, theirs in zip(
        clew.evaluate(graph, PARAMS),
        clew.evaluate(graph, PARAMS, namespace=jax.numpy),
        strict=True,
    ):
        np.testing.assert_allclose(mine, np.asarray(theirs), rtol=1e-12)


def test_cost_counts():
    graph = clew.trace(lambda a, b: np.sin(a @ b))(np.ones((3, 4)), np.ones((4, 5)))
    counted = graph.cost()
    assert counted.equations == {"contract": 1, "sin": 1}
    assert counted.operations == 2 * 3 * 4 * 5 + 15
    assert counted.bytes == 8 * (12 + 20 + 15 + 15 + 15)


def test_cost_of_a_convolution_and_its_gradients():
    x, w = np.ones((2, 3, 9, 9)), np.ones((5, 3, 3, 3))
    strided = lambda x, w: convolution(x, w, stride=2)
    places = 2 * 5 * 4 * 4
    assert clew.trace(strided)(x, w).cost().operations == 2 * places * 3 * 9
    _, back = clew.vjp(strided, x, w)
    graph = simplify(clew.trace(back)(np.ones((2, 5, 4, 4))))
    assert graph.cost().equations["conv"] == 2
    # That of the kernel costs the same; that of the signal counts places at the edge too.
    assert 2 * places * 27 * 2 <= graph.cost().operations <= 2 * places * 27 * 2.5


def test_simplify_folds_shares_and_drops():
    def wordy(x):
        constant = np.sin(np.ones(2)) * 2.0
        a = np.exp(x) * 1.0
        b = np.exp(x)
        c = np.transpose(np.transpose(np.outer(a, b)))
        twice = np.negative(np.negative(c.reshape(2, 2)))
        return np.sum(twice) + np.sum(a * constant) + np.sum(np.cos(x)) * 0.0

    graph = clew.trace(wordy)(X)
    small = verify(simplify(graph))
    np.testing.assert_array_equal(clew.evaluate(small, X), clew.evaluate(graph, X))
    names = [equation.primitive.name for equation in small.equations]
    assert names.count("exp") == 1
    assert "transpose" not in names
    assert "negative" not in names
    assert len(names) < len(graph.equations)
