"""Traced values where NumPy arrays are expected: operators, methods, mixed operands, printing."""

from __future__ import annotations

import numpy as np
import pytest

import clew

X = np.array([[0.5, -1.5, 2.0], [1.0, 0.25, -0.75]])
Y = np.array([1.5, 2.5, 0.5])
N = np.array([5, 3, 6])

EXPRESSIONS = {
    "arithmetic": lambda x: (x + Y) * 2 - Y / x + (-x) ** 2 + abs(x) + +x,
    "reflected": lambda x: 1.0 - x + 2.0 / (x + 9) + Y * x + np.float32(2) * x + 2**x,
    "integer division": lambda x: x // 0.4 + x % 0.4 + divmod(x, 0.3)[1],
    "matrix products": lambda x: x @ Y + (Y @ x.T) + (x.T @ x).sum(),
    "comparison": lambda x: (x > Y) * 1.0 + (x <= 0.5) + (x != 1.0) + (x > Y) + (x == x),
    "rounding": lambda x: round(x[0, 0], 1) + np.floor(x),
    "unpacking": lambda x: sum(row.sum() * i for i, row in enumerate(x)) + len(x),
    "builtins": lambda x: max(x[0, 0], x[1, 0]) + sum(list(x[0])),
    "lists": lambda x: np.concatenate([x[0], [1.0, 2.0]]) + np.ones(5),
    "keywords": lambda x: x.sum(axis=1, keepdims=True).reshape(-1).astype(np.float32),
    "chained": lambda x: x.T.copy().flatten().clip(0, 1).cumsum().mean(),
    "parts": lambda x: (x + 1j * x).real + (x + 2j * x).conj().imag,
    "copying": lambda x: __import__("copy").deepcopy(x) * 2,
}


@pytest.mark.parametrize("name", sorted(EXPRESSIONS))
def test_expressions_are_numpys(name):
    function = EXPRESSIONS[name]
    expected = function(X)
    found = clew.evaluate(clew.trace(function)(X), X)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert np.asarray(found).dtype == np.asarray(expected).dtype


INTEGER_EXPRESSIONS = [
    lambda n: (n & 3) | (n ^ 1),
    lambda n: (n << 1) + (n >> 1) + ~n,
    lambda n: n / 2 + n * 1.5,
    lambda n: n**2 // 3 % 5,
]


@pytest.mark.parametrize("number", range(len(INTEGER_EXPRESSIONS)))
def test_integers_are_numpys(number):
    function = INTEGER_EXPRESSIONS[number]
    expected = function(N)
    found = clew.evaluate(clew.trace(function)(N), N)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


def test_static_facts_and_printing():
    seen = []

    def look(x):
        seen.append((x.shape, x.ndim, x.size, x.dtype, x.nbytes, len(x), f"{x:.3f}", repr(x)))
        return x.sum()

    clew.grad(look)(X)
    shape, ndim, size, dtype, nbytes, length, formatted, shown = seen[0]
    assert (shape, ndim, size, dtype, nbytes, length) == ((2, 3), 2, 6, np.float64, 48, 2)
    assert formatted == shown == "<traced f64[2,3]>"


def test_unknown_functions_say_what_is_near():
    with pytest.raises(clew.TraceError, match="lexsort has no traced form") as caught:
        clew.grad(lambda x: np.sum(np.lexsort((x,))))(Y)
    assert "fix: use" in str(caught.value)
    with pytest.raises(clew.TraceError, match="has no traced form"):
        clew.grad(lambda x: np.sum(np.frexp(x)[0]))(Y)
