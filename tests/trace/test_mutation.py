"""In-place NumPy code: the traced function does to arrays what NumPy does, and differentiates."""

from __future__ import annotations

import numpy as np
import pytest

import clew
import clew.numpy as cnp
from clew import DtypeError, GraphError, TraceError

X = np.array([0.3, -0.7, 1.1, 0.4, 0.9])


def heat(u):
    u = u.copy()
    for _ in range(5):
        u[1:-1] = u[1:-1] + 0.2 * (u[2:] - 2 * u[1:-1] + u[:-2])
    return u


def recursion(x):
    y = np.zeros_like(x)
    y[0] = x[0]
    for i in range(1, len(x)):
        y[i] = 0.5 * y[i - 1] + np.sin(x[i])
    return y


def thomas(d):
    """Solve a tridiagonal system in place."""
    n = len(d)
    c = np.zeros_like(d)
    d = d.copy()
    c[0] = 0.3 / 2.0
    d[0] /= 2.0
    for i in range(1, n):
        m = 2.0 - 0.4 * c[i - 1]
        c[i] = 0.3 / m
        d[i] = (d[i] - 0.4 * d[i - 1]) / m
    for i in range(n - 2, -1, -1):
        d[i] -= c[i] * d[i + 1]
    return d


def elimination(x):
    a = np.outer(x, x) + 3 * np.eye(len(x))
    for k in range(len(x)):
        a[k + 1 :, k:] -= np.outer(a[k + 1 :, k], a[k, k:]) / a[k, k]
    return np.log(np.abs(np.diagonal(a)))


def sandpile(x):
    h = x * 3.0
    for _ in range(4):
        for i in range(1, len(h) - 1):
            if h[i] > h[i + 1] + 0.5:
                h[i] -= 0.25 * h[i]
                h[i + 1] += 0.25 * h[i]
    return h


def convolution(x):
    y = np.zeros_like(x)
    kernel = [0.2, 0.5, 0.3]
    for shift, weight in enumerate(kernel):
        y[: len(x) - shift] += weight * x[shift:] ** 2
    return y


def views(x):
    a = np.reshape(x[:4] * 1.0, (2, 2))
    b = a.T
    b[0, 1] *= 3.0
    a.ravel()[0] += x[4]
    row = a[1]
    row[:] = np.exp(row)
    return a


def scatter(x):
    y = np.zeros_like(x)
    np.add.at(y, [0, 2, 0, 1], x[:4] * x[1:])
    y[[3, 4]] = y[[0, 2]] ** 2
    y[x > 0.35] *= 2.0
    return y


PROGRAMS = [heat, recursion, thomas, elimination, sandpile, convolution, views, scatter]


@pytest.mark.parametrize("program", PROGRAMS)
def test_values_are_numpys(program):
    graph = clew.trace(program)(X)
    np.testing.assert_allclose(clew.evaluate(graph, X), program(X), rtol=1e-14)


@pytest.mark.parametrize("program", PROGRAMS)
def test_gradients_are_those_of_differences(program):
    clew.testing.check_derivatives(program, X, order=2, tolerance=1e-7, step=1e-3)


def test_a_scalar_is_a_value():
    def aliased(x):
        s = x[0]
        t = s
        s += 10.0
        return t

    assert float(clew.evaluate(clew.trace(aliased)(X), X)) == X[0]


def test_reading_an_element_copies_it():
    def read_then_write(x):
        y = x * 1.0
        first = y[0]
        y[0] = 5.0
        return first

    assert clew.grad(read_then_write)(X)[0] == 1.0


def test_aliases_see_each_others_writes():
    def alias(x):
        y = x * 1.0
        z = y
        z *= 2.0
        part = y[1:]
        part += 1.0
        return y

    np.testing.assert_array_equal(
        clew.evaluate(clew.trace(alias)(X), X), np.concatenate([2 * X[:1], 2 * X[1:] + 1])
    )


def test_reshape_of_a_transposed_view_is_a_copy():
    def copied(x):
        a = np.reshape(x[:4] * 1.0, (2, 2))
        flat = a.T.reshape(-1)
        flat[0] = 99.0
        return a

    expected = X[:4].reshape(2, 2)
    np.testing.assert_array_equal(clew.evaluate(clew.trace(copied)(X), X), expected)


def test_out_arguments_write():
    def with_out(x):
        y = np.zeros_like(x)
        np.multiply(x, x, out=y)
        np.add(y, 1.0, out=y, where=x > 0.35)
        return y

    expected = X**2 + (X > 0.35)
    np.testing.assert_allclose(clew.evaluate(clew.trace(with_out)(X), X), expected, rtol=1e-15)


def test_a_constant_read_earlier_keeps_its_values():
    def reused(x):
        buffer = np.zeros(5)
        total = 0.0
        for i in range(3):
            buffer[:] = i
            total = total + x * buffer
        return total

    np.testing.assert_allclose(clew.evaluate(clew.trace(reused)(X), X), X * 3)


def test_the_callers_array_is_not_written():
    before = X.copy()
    clew.grad(lambda x: np.sum(heat_in_place(x)))(X)
    np.testing.assert_array_equal(X, before)


def heat_in_place(u):
    u[1:-1] += 0.1 * u[2:]
    return u


def test_writing_into_a_plain_array_raises():
    def lost(x):
        y = np.zeros(5)
        y[0] = x[0]
        return y[0]

    with pytest.raises(TraceError, match="zeros_like") as caught:
        clew.grad(lost)(X)
    assert "test_mutation.py" in str(caught.value)

    def added(x):
        y = np.zeros(5)
        y += x
        return y[0]

    with pytest.raises(TraceError, match="would lose its gradient"):
        clew.grad(added)(X)


def test_arrays_made_by_clew_numpy_can_be_written():
    def kept(x):
        y = cnp.zeros(5)
        y[1:3] = x[:2]
        y[0] = cnp.array([x[0], 1.0, x[1]]).sum()
        return np.sum(y)

    np.testing.assert_array_equal(clew.grad(kept)(X), [2, 2, 0, 0, 0])


def test_writing_floats_into_integers_raises():
    def truncated(x):
        y = cnp.arange(5)
        y[0] = x[0]
        return y[0] * 1.0

    with pytest.raises(DtypeError, match="would cut the gradient"):
        clew.grad(truncated)(X)


def test_a_leaked_value_says_so():
    kept = []
    clew.grad(lambda x: (kept.append(x), np.sum(x))[1])(X)
    with pytest.raises(GraphError, match="after its function returned"):
        np.sin(kept[0])


@pytest.mark.parametrize("cut", [float, np.asarray, lambda v: v.item(), lambda v: v.tolist()])
def test_what_would_cut_the_gradient_raises(cut):
    with pytest.raises(TraceError, match="would cut the gradient"):
        clew.grad(lambda x: cut(x[0]) * 1.0)(X)
