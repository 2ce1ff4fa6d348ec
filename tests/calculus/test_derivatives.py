"""grad and its kin: arguments, trees, nesting, complex numbers, aux, paths, bad input."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import DerivativeError, InputError, NoPath, ShapeError
from clew.testing import check_derivatives

X = np.array([0.5, 1.5, -0.7])


def f(x):
    return np.sum(np.sin(x) * x**2)


def df(x):
    return np.cos(x) * x**2 + 2 * x * np.sin(x)


def test_gradient_and_value():
    value, gradient = clew.value_and_grad(f)(X)
    np.testing.assert_allclose(value, f(X), rtol=1e-15)
    np.testing.assert_allclose(gradient, df(X), rtol=1e-14)


def test_argnums_and_argnames():
    def g(x, y, *, scale=1.0):
        return np.sum(x * y) * scale

    a, b = X, X + 1
    np.testing.assert_allclose(clew.grad(g, argnums=1)(a, b), a)
    np.testing.assert_allclose(clew.grad(g, argnums=-1)(a, b), a)
    both = clew.grad(g, argnums=(0, 1))(a, b)
    assert isinstance(both, tuple)
    np.testing.assert_allclose(both[0], b)
    assert float(clew.grad(g, argnames="scale")(a, b, scale=2.0)) == pytest.approx(np.sum(a * b))
    named = clew.grad(g, argnames=("x", "scale"))(a, b, scale=2.0)
    np.testing.assert_allclose(named["x"], 2 * b)
    with pytest.raises(InputError, match="argnums=2"):
        clew.grad(g, argnums=2)(a, b)
    with pytest.raises(InputError, match="argnames='z'"):
        clew.grad(g, argnames="z")(a, b)


def test_the_same_array_as_two_arguments_is_two_arguments():
    np.testing.assert_allclose(clew.grad(lambda x, y: np.sum(x * y**2))(X, X), X**2)


def test_aux():
    gradient, aux = clew.grad(lambda x: (f(x), {"twice": 2 * x}), has_aux=True)(X)
    np.testing.assert_allclose(gradient, df(X))
    np.testing.assert_allclose(aux["twice"], 2 * X)
    _, pull, aux = clew.vjp(lambda x: (x**2, x + 1), X, has_aux=True)
    np.testing.assert_allclose(pull(np.ones(3))[0], 2 * X)
    np.testing.assert_allclose(aux, X + 1)
    _, slope, aux = clew.jvp(lambda x: (x**2, x + 1), (X,), (np.ones(3),), has_aux=True)
    np.testing.assert_allclose(slope, 2 * X)
    with pytest.raises(DerivativeError, match="has_aux"):
        clew.grad(f, has_aux=True)(X)


def test_trees_keep_identity():
    shared = np.array([1.0, 2.0])
    params = {"encoder": shared, "decoder": [shared, 3.0]}

    def loss(p):
        return np.sum(p["encoder"] * 2) + np.sum(p["decoder"][0] ** 2) * p["decoder"][1]

    gradient = clew.grad(loss)(params)
    np.testing.assert_allclose(gradient["encoder"], 2 + 6 * shared)
    assert gradient["encoder"] is gradient["decoder"][0]


def test_forward_and_reverse_and_linear():
    v = np.array([1.0, -2.0, 0.5])
    _, slope = clew.jvp(f, (X,), (v,))
    _, pull = clew.vjp(f, X)
    _, linear = clew.linearize(f, X)
    np.testing.assert_allclose(slope, df(X) @ v, rtol=1e-14)
    np.testing.assert_allclose(pull(2.0)[0], 2 * df(X), rtol=1e-14)
    np.testing.assert_allclose(linear(v), slope, rtol=1e-15)
    np.testing.assert_allclose(linear(2 * v), 2 * slope, rtol=1e-15)


def test_jacobians_of_trees_in_both_modes():
    def g(p):
        return {"a": np.outer(p["x"], p["x"]), "b": p["x"][0] * p["y"]}

    params = {"x": X, "y": 2.0}
    forward = clew.jacobian(g, mode="forward")(params)
    reverse = clew.jacobian(g, mode="reverse")(params)
    assert forward["a"]["x"].shape == (3, 3, 3)
    np.testing.assert_allclose(forward["a"]["x"], reverse["a"]["x"])
    np.testing.assert_allclose(forward["b"]["y"], X[0])
    np.testing.assert_allclose(forward["b"]["x"], [2.0, 0.0, 0.0])
    np.testing.assert_allclose(np.asarray(reverse["a"]["y"]), np.zeros((3, 3)))
    with pytest.raises(InputError, match="mode='sideways'"):
        clew.jacobian(g, mode="sideways")


def test_hessian_and_product():
    h = clew.hessian(f)(X)
    v = np.array([1.0, 2.0, 3.0])
    expected = 4 * X * np.cos(X) + (2 - X**2) * np.sin(X)
    np.testing.assert_allclose(h, np.diag(expected), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(clew.hvp(f, (X,), (v,)), h @ v, rtol=1e-13)


def test_nesting_in_any_order():
    g = lambda x: np.exp(2.0 * x) * x  # noqa: E731
    third = clew.grad(clew.grad(clew.grad(g)))(0.3)
    assert float(third) == pytest.approx((12 + 8 * 0.3) * np.exp(0.6), rel=1e-13)
    fourth = clew.jvp(clew.grad(clew.jit(clew.grad(clew.grad(g)))), (0.3,), (1.0,))[1]
    assert float(fourth) == pytest.approx((32 + 16 * 0.3) * np.exp(0.6), rel=1e-13)
    inner = clew.grad(lambda x: clew.grad(lambda y: x * y**3)(x))(2.0)
    assert float(inner) == pytest.approx(9 * 4.0)
    rows = clew.vmap(clew.grad(lambda x, w: np.sum(np.tanh(x * w))), in_axes=(0, None))
    np.testing.assert_allclose(rows(np.stack([X, 2 * X]), X)[1], X / np.cosh(2 * X * X) ** 2)
    mixed = clew.jacobian(lambda w: clew.vmap(lambda x: x @ w)(np.eye(3)))(X)
    np.testing.assert_allclose(mixed, np.eye(3))


def test_complex_convention():
    z = np.array([1.0 + 2.0j, -0.5 + 0.3j])
    gradient = clew.grad(lambda z: np.sum(np.abs(z) ** 2))(z)
    np.testing.assert_allclose(gradient, 2 * np.conj(z))
    check_derivatives(lambda z: np.exp(1j * z) * np.conj(z) + np.abs(z) / z, z, order=2)
    with pytest.raises(DerivativeError, match="complex128"):
        clew.grad(lambda z: np.sum(z))(z)


def test_reasons_for_no_path():
    def g(p):
        cut = np.floor(p["stepped"]) + clew.stop_gradient(p["stopped"])
        whole = p["rounded"].astype(int) * 1.0
        return p["used"] + np.sum(cut) + np.sum(whole)

    names = ("used", "unused", "stepped", "stopped", "rounded")
    gradient = clew.grad(g)({**dict.fromkeys(names, 1.5), "rounded": X, "count": 3})
    assert float(gradient["used"]) == 1.0
    reasons = {name: leaf.reason for name, leaf in gradient.items() if isinstance(leaf, NoPath)}
    assert reasons["unused"].startswith("unused")
    assert "floor" in reasons["stepped"]
    assert "piecewise constant" in reasons["stepped"]
    assert "stop_gradient at test_derivatives.py" in reasons["stopped"]
    assert reasons["rounded"].startswith("integer")
    assert reasons["count"].startswith("integer")
    np.testing.assert_array_equal(X - 0.1 * gradient["rounded"], X)


UNTAKEN = {
    "log": lambda x: np.where(x > 0, np.log(x), 0.0),
    "sqrt": lambda x: np.where(x > 0, np.sqrt(x), 0.0),
    "divide": lambda x: np.where(x != 0, 1.0 / x, 0.0),
    "power": lambda x: np.where(x > 0, x**0.5, 0.0),
    "sum": lambda x: np.where(x > 0, np.sum(np.log(x[:, None]) * np.ones(2), axis=1), 0.0),
    "matmul": lambda x: np.where((x > 0)[:, None], (1 / x)[:, None] @ np.ones((1, 2)), 0.0),
    "rows": lambda x: np.where((x > 0)[:, None], np.outer(1 / x, x), 0.0),
    "reshape": lambda x: np.where(x > 0, np.sqrt(np.reshape(x, (3, 1)))[:, 0], 0.0),
    "nested": lambda x: np.where(x > 0, np.where(x > 1, np.log(x - 1), np.log(x)), x),
    "scalar": lambda x: np.where(x[0] > 0, np.sum(np.cumsum(np.sqrt(x))), np.sum(x)),
}


@pytest.mark.parametrize("name", sorted(UNTAKEN))
def test_the_branch_not_taken_stays_out(name):
    x = np.array([0.0, 0.5, 2.0])
    with np.errstate(all="ignore"):
        total = lambda x: np.sum(UNTAKEN[name](x))  # noqa: E731
        gradient = np.asarray(clew.grad(total)(x))
        assert np.isfinite(gradient).all()
        forward = np.asarray(clew.jacobian(total, mode="forward")(x))
        np.testing.assert_allclose(gradient, forward, rtol=1e-13)
        assert np.isfinite(np.asarray(clew.hessian(total)(x))).all()
        assert np.isfinite(np.asarray(clew.grad(lambda x: np.sum(clew.grad(total)(x)))(x))).all()


def test_infinities_that_were_taken_are_not_hidden():
    with np.errstate(all="ignore"):
        gradient = clew.grad(lambda x: np.sum(np.where(x >= 0, np.sqrt(x), 0.0)))(np.array([0.0]))
    assert np.isinf(gradient[0])


def test_custom_rules_either_way():
    def square(x):
        return x * x

    pushed = clew.custom_rule(square, push=lambda p, t, y: 2.0 * p[0] * t[0])
    pulled = clew.custom_rule(square, pull=lambda t, y, x: 2.0 * x * t)
    for own in (pushed, pulled):
        check_derivatives(lambda x: np.sum(own(np.sin(x))), X, order=3)  # noqa: B023
        np.testing.assert_allclose(clew.vmap(clew.grad(own))(X), 2 * X)
        np.testing.assert_allclose(clew.grad(lambda x: np.sum(clew.vmap(own)(x)))(X), 2 * X)  # noqa: B023
        np.testing.assert_allclose(clew.hessian(lambda x: np.sum(own(x)))(X), 2 * np.eye(3))  # noqa: B023


def test_a_custom_rule_is_used_and_checked():
    wrong = clew.custom_rule(lambda x: x * x, pull=lambda t, y, x: 7.0 * t)
    assert float(clew.grad(wrong)(3.0)) == 7.0
    with pytest.raises(DerivativeError, match="give one of push and pull"):
        clew.custom_rule(lambda x: x)
    shaped = clew.custom_rule(lambda x: x * x, pull=lambda t, y, x: np.ones(2) * t)
    with pytest.raises(DerivativeError, match="returned shapes"):
        clew.grad(shaped)(3.0)

    def closing(w):
        hidden = clew.custom_rule(lambda x: x * w, pull=lambda t, y, x: t)
        return hidden(2.0 * w)

    with pytest.raises(DerivativeError, match="not its arguments"):
        clew.grad(closing)(3.0)


def test_composites_keep_their_name_and_batch():
    @clew.composite
    def softplus(x):
        return np.logaddexp(0.0, x)

    graph = clew.trace(lambda x: softplus(x) * 2)(X)
    assert "name=softplus" in str(graph)
    check_derivatives(softplus, X, order=2)
    np.testing.assert_allclose(clew.vmap(clew.grad(softplus))(X), 1 / (1 + np.exp(-X)))


def test_bad_input():
    with pytest.raises(DerivativeError, match=r"returned shape \(3,\)"):
        clew.grad(np.sin)(X)
    with pytest.raises(DerivativeError, match="int64"):
        clew.grad(lambda x: np.argmax(x))(X)
    with pytest.raises(InputError, match="empty tree"):
        clew.grad(lambda p: 1.0)({})
    with pytest.raises(ShapeError, match="direction"):
        clew.jvp(f, (X,), (np.ones(2),))
    with pytest.raises(ShapeError, match="2 leaves"):
        clew.jvp(f, (X,), (X, X))
    with pytest.raises(InputError, match="not a tuple"):
        clew.jvp(f, X, X)
    with pytest.raises(TypeError, match="is a str"):
        clew.grad(lambda p: p["x"])({"x": 1.0, "name": "a"})
    with pytest.raises(ShapeError, match="do not broadcast") as caught:
        clew.grad(lambda x: np.sum(x + np.ones(2)))(X)
    assert "test_derivatives.py" in str(caught.value)
    assert "fix:" in str(caught.value)


def test_checking_whole_numbers_checks_nothing_and_says_so():
    with pytest.raises(clew.InputError, match="no argument is float or complex"):
        check_derivatives(lambda x: x * x, 3)
