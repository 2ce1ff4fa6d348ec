"""vmap: axes, trees, nesting, constants, errors."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import InputError

A = np.arange(24.0).reshape(2, 3, 4)


def test_axes_in_and_out():
    f = lambda x, y: np.sin(x) * y  # noqa: E731
    expected = np.stack([f(A[:, i], 2.0) for i in range(3)], axis=-1)
    found = clew.vmap(f, in_axes=(1, None), out_axes=-1)(A, 2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_trees_and_outputs_without_a_batch():
    def f(p):
        return {"scaled": p["x"] * p["scale"], "constant": np.ones(2), "x": p["x"]}

    params = {"x": A, "scale": 3.0}
    found = clew.vmap(f, in_axes=({"x": 0, "scale": None},))(params)
    np.testing.assert_allclose(found["scaled"], 3 * A)
    assert found["constant"].shape == (2, 2)


def test_nested_and_closed_over():
    w = np.arange(4.0)
    gram = clew.vmap(lambda x: clew.vmap(lambda y: x @ y)(A[0]))(A[0])
    np.testing.assert_allclose(gram, A[0] @ A[0].T)
    slope = clew.grad(lambda w: np.sum(clew.vmap(lambda x: np.tanh(x @ w))(A[0] / 20)))(w / 10)
    expected = clew.grad(lambda w: np.sum(np.tanh(A[0] / 20 @ w)))(w / 10)
    np.testing.assert_allclose(slope, expected, rtol=1e-13)


def test_mutation_and_indexing_by_example():
    def f(x, i):
        y = x * 1.0
        y[i] = 0.0
        y[1:] += x[:-1]
        return y[np.array([0, 2])]

    rows, picks = A[0], np.array([0, 3, 1])
    expected = np.stack([f(x, i) for x, i in zip(rows, picks, strict=True)])
    np.testing.assert_array_equal(clew.vmap(f)(rows, picks), expected)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: clew.vmap(np.sin)(1.0), "is a scalar"),
        (lambda: clew.vmap(np.sin, in_axes=5)(A), "has 3 axes"),
        (lambda: clew.vmap(np.add)(A, np.ones(5)), "lengths 2, 5"),
        (lambda: clew.vmap(np.sin, in_axes=None)(A), "no argument is mapped"),
        (lambda: clew.vmap(np.add, in_axes=(0,))(A, A), "1 entries, the call 2 arguments"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(InputError, match=words):
        call()
