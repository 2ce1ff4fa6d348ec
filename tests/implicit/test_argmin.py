"""Minima: derivatives from stationarity, against closed forms; bilevel and bounded problems."""

import numpy as np
import pytest

import clew
from clew import grad, hessian, jacobian, jvp, vmap
from clew.implicit import argmin, root
from clew.testing import check_derivatives


def close(found, expected, tolerance=1e-11):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0)


RNG = np.random.default_rng(3)
FEATURES = RNG.normal(size=(30, 5))
TARGETS = RNG.normal(size=30)
HELD_OUT = RNG.normal(size=(20, 5)), RNG.normal(size=20)


def ridge(weight, method="auto"):
    def loss(w):
        return np.sum((FEATURES @ w - TARGETS) ** 2) + weight * np.sum(w**2)

    return argmin(loss, np.zeros(5), method=method)


@pytest.mark.parametrize("method", ["newton", "l-bfgs"])
def test_ridge_regression_against_its_closed_form(method):
    weight = 2.5
    gram = FEATURES.T @ FEATURES + weight * np.eye(5)
    w = np.linalg.solve(gram, FEATURES.T @ TARGETS)
    f = lambda weight: ridge(weight, method)  # noqa: E731
    close(f(weight), w)
    first = -np.linalg.solve(gram, w)
    second = -2 * np.linalg.solve(gram, first)
    close(jvp(f, (weight,), (1.0,))[1], first)
    close(jacobian(jacobian(f))(weight), second)
    close(jacobian(jacobian(jacobian(f)))(weight), -3 * np.linalg.solve(gram, second), 1e-10)


def test_bilevel_gradient_of_a_hyperparameter():
    """The validation error of a ridge fit, differentiated in the logarithm of its penalty."""
    features, targets = HELD_OUT

    def validation(log_weight):
        return np.mean((features @ ridge(np.exp(log_weight)) - targets) ** 2)

    def closed(log_weight):
        gram = FEATURES.T @ FEATURES + np.exp(log_weight) * np.eye(5)
        w = np.linalg.solve(gram, FEATURES.T @ TARGETS)
        return np.mean((features @ w - targets) ** 2)

    close(grad(validation)(0.4), grad(closed)(0.4))
    close(grad(grad(validation))(0.4), grad(grad(closed))(0.4))
    close(hessian(validation)(0.4), jvp(grad(closed), (0.4,), (1.0,))[1])


def test_logistic_regression_influence_of_its_data():
    """How the fit moves with the labels: ``H^-1 X^T`` dy."""
    labels = (TARGETS > 0).astype(float)

    def fit(labels):
        def loss(w):
            z = FEATURES @ w
            return np.sum(np.logaddexp(0.0, z) - labels * z) + 0.5 * np.sum(w**2)

        return argmin(loss, np.zeros(5))

    w = fit(labels)
    p = 1 / (1 + np.exp(-FEATURES @ w))
    full = FEATURES.T @ ((p * (1 - p))[:, None] * FEATURES) + np.eye(5)
    close(jacobian(fit)(labels), np.linalg.solve(full, FEATURES.T), 1e-10)


def test_rosenbrock_valley():
    f = lambda p: argmin(  # noqa: E731
        lambda x: (p[0] - x[0]) ** 2 + p[1] * (x[1] - x[0] ** 2) ** 2, np.array([-1.2, 1.0])
    )
    p = np.array([1.5, 100.0])
    close(f(p), [1.5, 2.25], 1e-12)
    slope = jacobian(f)(p)
    close(slope[:, 0], [1.0, 3.0])
    # The minimum is a exactly, whatever the steepness of the valley.
    assert np.max(np.abs(slope[:, 1])) < 1e-12


def test_minimum_from_where_the_loss_curves_down():
    close(argmin(lambda x: np.cos(x), 0.3), np.pi)
    close(argmin(lambda x: x**4 - x**2, 0.01), np.sqrt(0.5))


def test_trees_and_single_numbers():
    found = argmin(lambda t: (t["a"] - 1) ** 2 + np.sum((t["b"] - t["a"]) ** 2), {"a": 0, "b": np.zeros(2)})  # fmt: skip # noqa: E501
    close(found["a"], 1.0)
    close(found["b"], [1.0, 1.0])
    assert argmin(lambda x: (x - 2) ** 2, np.float32(0)).dtype == np.float32


def test_complex_unknowns():
    def f(a):
        def loss(z):
            off = z - (a + 2j * a**2)
            return np.real(off * np.conj(off))

        return argmin(loss, 0j)

    close(f(1.5), 1.5 + 4.5j)
    close(jvp(f, (1.5,), (1.0,))[1], 1 + 6j)


def test_start_has_no_path_and_may_be_traced():
    loss = lambda x: np.sum((x - 1.0) ** 2)  # noqa: E731
    assert isinstance(grad(lambda s: np.sum(argmin(loss, s)))(np.zeros(2)), clew.NoPath)
    close(grad(lambda a: argmin(lambda x: (x - a**2) ** 2, a))(3.0), 6.0)


# --- many unknowns -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["newton", "l-bfgs"])
def test_many_unknowns_by_conjugate_gradients(method):
    n = 800
    target = np.sin(np.linspace(0, 7, n))

    def smooth(weight):
        return argmin(
            lambda u: np.sum((u - target) ** 2) + weight * np.sum((u[1:] - u[:-1]) ** 2),
            np.zeros(n),
            method=method,
        )

    difference = np.diff(np.eye(n), axis=0)
    matrix = np.eye(n) + 3.0 * difference.T @ difference
    u = np.linalg.solve(matrix, target)
    slope = -np.linalg.solve(matrix, difference.T @ difference @ u)
    found = smooth(3.0)
    assert np.max(np.abs(found - u)) < 1e-11 * np.max(np.abs(u))
    forward = jvp(smooth, (3.0,), (1.0,))[1]
    assert np.max(np.abs(forward - slope)) < 1e-10 * np.max(np.abs(slope))
    close(grad(lambda w: np.sum(smooth(w) ** 2))(3.0), 2 * np.sum(u * slope), 1e-9)


# --- bounds ------------------------------------------------------------------------------------


def test_bounds_hold_and_the_free_part_moves():
    """min (x0 - a)^2 + (x1 - x0)^2 + x0 x2 + x2^2 with x0 <= 1 and x2 >= -0.2."""

    def f(p):
        a, high = p

        def loss(x):
            return (x[0] - a) ** 2 + (x[1] - x[0]) ** 2 + x[0] * x[2] + x[2] ** 2

        high = np.stack([high, np.inf, np.inf])
        return argmin(loss, np.zeros(3), bounds=(np.array([-np.inf, -np.inf, -0.2]), high))

    p = np.array([3.0, 1.0])
    close(f(p), [1.0, 1.0, -0.2])
    # x0 moves with its bound, x1 with x0; x2 stays where it is; a does not matter.
    np.testing.assert_allclose(jacobian(f)(p), [[0, 1], [0, 1], [0, 0]], atol=1e-12)
    p = np.array([0.3, 1.0])
    # x0 is free now: 2 (x0 - a) + 2 (x0 - x1) + x2 = 0, x1 = x0, x2 = -x0 / 2.
    x0 = 0.6 / 1.5
    close(f(p), [x0, x0, -x0 / 2], 1e-11)
    np.testing.assert_allclose(jacobian(f)(p)[:, 0] * 1.5, [2, 2, -1], rtol=1e-11)


def test_bounds_as_numbers_trees_and_nothing():
    loss = lambda t: (t["a"] - 3) ** 2 + np.sum((t["b"] + 3) ** 2)  # noqa: E731
    start = {"a": 0.0, "b": np.zeros(2)}
    found = argmin(loss, start, bounds=(-5.0, {"a": 2.0, "b": np.array([5.0, -4.0])}))
    close(found["a"], 2.0)
    close(found["b"], [-3.0, -4.0])
    found = argmin(loss, start, bounds=(-1.0, None))
    close(found["a"], 3.0)
    close(found["b"], [-1.0, -1.0])


def test_nonnegative_least_squares():
    """Against SciPy's active set method; derivative against the fit of the free columns."""
    from scipy.optimize import nnls

    f = lambda y: argmin(  # noqa: E731
        lambda w: np.sum((FEATURES @ w - y) ** 2), np.ones(5), bounds=(0.0, None)
    )
    expected, _ = nnls(FEATURES, TARGETS)
    free = expected > 0
    assert 0 < free.sum() < 5
    np.testing.assert_allclose(f(TARGETS), expected, rtol=1e-10, atol=1e-14)
    slope = jacobian(f)(TARGETS)
    close(slope[free], np.linalg.pinv(FEATURES[:, free]), 1e-9)
    assert np.max(np.abs(slope[~free])) < 1e-12


# --- transforms --------------------------------------------------------------------------------


def soft(p):
    """A smooth minimum in two unknowns without a closed form."""
    return argmin(lambda x: np.sum(np.cosh(x) - p * x) + 0.3 * x[0] * x[1], np.zeros(2))


def test_derivatives_to_the_second_order_and_symmetry():
    p = np.array([0.7, -1.2])
    check_derivatives(soft, p, order=2)
    total = lambda p: np.sum(soft(p) ** 3)  # noqa: E731
    full = hessian(total)(p)
    close(full, full.T, 1e-10)
    close(jacobian(jacobian(total, mode="reverse"), mode="reverse")(p), full, 1e-10)
    close(jacobian(jacobian(total, mode="forward"), mode="reverse")(p), full, 1e-10)


@pytest.mark.parametrize("method", ["newton", "l-bfgs"])
def test_vmap_over_fits(method):
    weights = np.array([0.1, 1.0, 50.0])
    f = lambda weight: ridge(weight, method)  # noqa: E731
    close(vmap(f)(weights), [f(w) for w in weights])
    slopes = vmap(lambda w: jvp(f, (w,), (1.0,))[1])(weights)
    close(slopes, [jvp(f, (w,), (1.0,))[1] for w in weights])


def test_vmap_of_bounded_fits():
    a = np.array([-1.0, 0.25, 3.0])
    f = lambda a: argmin(lambda x: (x - a) ** 2, 0.5, bounds=(0.0, 1.0))  # noqa: E731
    np.testing.assert_allclose(vmap(f)(a), [0.0, 0.25, 1.0], atol=1e-14)
    np.testing.assert_allclose(vmap(grad(f))(a), [0.0, 1.0, 0.0], atol=1e-14)


def test_gradient_of_an_argmin_of_a_loss_with_a_root_in_it():
    """min over x of (r(x) - a)^2 + x^2 / 10 with r^3 + r = x: every derivative agrees."""

    def inner(a):
        def loss(x):
            r = root(lambda r: r**3 + r - x, 0.0)
            return (r - a) ** 2 + 0.1 * x**2

        return argmin(loss, 1.0)

    # In terms of r: x = r^3 + r, and 2 (r - a) + 0.2 x x'(r) = 0.
    def in_r(a):
        r = root(lambda r: 2 * (r - a) + 0.2 * (r**3 + r) * (3 * r**2 + 1), 0.5)
        return r**3 + r

    a = 0.9
    close(inner(a), in_r(a), 1e-11)
    close(grad(inner)(a), grad(in_r)(a), 1e-10)
    close(jvp(inner, (a,), (1.0,))[1], grad(in_r)(a), 1e-10)
    forward_reverse = jvp(grad(inner), (a,), (1.0,))[1]
    reverse_forward = grad(lambda a: jvp(inner, (a,), (1.0,))[1])(a)
    close(forward_reverse, reverse_forward, 1e-10)
    close(forward_reverse, grad(grad(in_r))(a), 1e-10)


def test_argmin_within_argmin():
    """A leader who knows how the follower answers: y(x) = x / 2, so min (x - 1)^2 + y^2."""

    def leader(b):
        follower = lambda x: argmin(lambda y: (y - b * x) ** 2, 0.0)  # noqa: E731
        return argmin(lambda x: (x - 1.0) ** 2 + follower(x) ** 2, 0.0)

    b = 0.5
    close(leader(b), 1 / (1 + b * b))
    close(grad(leader)(b), -2 * b / (1 + b * b) ** 2)
    close(grad(grad(leader))(b), (6 * b * b - 2) / (1 + b * b) ** 3, 1e-10)


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "message", "fix"),
    [
        (lambda: argmin(lambda x: x, np.ones(2)), clew.InputError, r"shape \(2,\)", "one real"),
        (lambda: argmin(lambda x: (x, x), 1.0), clew.InputError, "a tree", "one real"),
        (lambda: argmin(lambda x: x + 1j, 1.0), clew.InputError, "complex128", "one real"),
        (lambda: argmin(lambda x: 1.0, 1.0), clew.InputError, "does not depend on x", "argument"),
        (lambda: argmin(lambda x: 3 * x, 1.0), clew.InputError, "no isolated minimum", "curves"),
        (lambda: argmin(np.exp, 1.0, method="sgd"), clew.InputError, "method='sgd'", "newton"),
        (lambda: argmin(np.cosh, 1.0, bounds=3), clew.InputError, "not a pair", "low, high"),
        (
            lambda: argmin(np.cosh, 1.0, bounds=(0.0, None), method="newton"),
            clew.InputError,
            "takes no bounds",
            "l-bfgs",
        ),
        (
            lambda: argmin(lambda t: t["a"] ** 2, {"a": 1.0}, bounds=({"b": 1.0}, None)),
            clew.InputError,
            "a bound has leaves",
            "tree like x",
        ),
        (
            lambda: argmin(lambda z: np.abs(z) ** 2, 1j, bounds=(0.0, None)),
            clew.InputError,
            "have no order",
            "real unknowns",
        ),
        (lambda: argmin(lambda x: np.log(x), -1.0), clew.ClewError, "the loss is nan", "finite"),
        (lambda: argmin(lambda x: -x * x, 1.0), clew.ClewError, "no convergence in 200", "bounds="),
        (
            lambda: argmin(np.cosh, 1.0, bounds=(2.0, 1.0)),
            clew.InputError,
            "low bound 2 is above the high bound 1",
            "low <= high",
        ),
    ],
)
def test_messages(call, kind, message, fix):
    with pytest.raises(kind, match=message) as caught:
        call()
    assert fix in caught.value.fix
    assert caught.value.where.file.endswith("test_argmin.py")


def test_flat_minimum_has_no_derivative():
    f = lambda a: np.sum(argmin(lambda x: (x[0] + x[1] - a) ** 2, np.zeros(2)))  # noqa: E731
    close(f(1.0), 1.0)
    with pytest.raises(clew.DerivativeError, match="the Hessian at the minimum is singular"):
        grad(f)(1.0)


def test_saddle_has_no_derivative():
    f = lambda a: np.sum(argmin(lambda x: x[0] ** 2 - a * x[1] ** 2, np.zeros(2)))  # noqa: E731
    with pytest.raises(clew.DerivativeError, match="is indefinite: its smallest eigenvalue is -2"):
        grad(f)(1.0)


def test_quartic_minimum_has_no_derivative():
    f = lambda a: argmin(lambda x: x**4 - a * x, 1.0)  # noqa: E731
    with pytest.raises(clew.DerivativeError, match="singular to working precision"):
        grad(f)(0.0)
    close(grad(f)(0.5), (0.5 / 4) ** (-2 / 3) / 12, 1e-10)
