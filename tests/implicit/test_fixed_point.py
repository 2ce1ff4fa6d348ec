"""Fixed points: their derivative solves (I - J), whatever iteration found them."""

import numpy as np
import pytest

import clew
from clew import grad, hessian, jacobian, jvp, vmap
from clew.implicit import fixed_point
from clew.testing import check_derivatives

METHODS = ["anderson", "iterate", "newton"]


def close(found, expected, tolerance=1e-12):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0)


def cosine(a, method="anderson"):
    return fixed_point(lambda x: np.cos(a * x), 1.0, method=method)


@pytest.mark.parametrize("method", METHODS)
def test_cosine_and_its_derivatives(method):
    a = 0.8
    f = lambda a: cosine(a, method)  # noqa: E731
    x = f(a)
    close(x, np.cos(a * x))
    s, c = np.sin(a * x), np.cos(a * x)
    first = -x * s / (1 + a * s)
    close(grad(f)(a), first)
    # Twice: from x = cos(a x), with u = a x and u' = x + a x'.
    u = x + a * first
    close(grad(grad(f))(a), -(c * u * u + 2 * s * first) / (1 + a * s), 1e-11)
    close(jvp(grad(f), (a,), (1.0,))[1], grad(grad(f))(a), 1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_linear_iteration_in_several_unknowns(method):
    rng = np.random.default_rng(1)
    m = rng.normal(size=(6, 6)) / 6
    b = rng.normal(size=6)
    f = lambda m, b: fixed_point(lambda x: m @ x + b, np.zeros(6), method=method)  # noqa: E731
    inverse = np.linalg.inv(np.eye(6) - m)
    close(f(m, b), inverse @ b, 1e-11)
    close(jacobian(f, argnums=1)(m, b), inverse, 1e-11)
    close(jacobian(f)(m, b), np.einsum("ij,k->ijk", inverse, inverse @ b), 1e-10)


def test_babylonian_square_root():
    sqrt = lambda a: fixed_point(lambda x: 0.5 * (x + a / x), 1.0)  # noqa: E731
    a = 7.3
    close(sqrt(a), np.sqrt(a), 1e-15)
    close(grad(sqrt)(a), 0.5 * a**-0.5)
    close(grad(grad(grad(sqrt)))(a), 0.375 * a**-2.5, 1e-11)


def test_anderson_needs_fewer_evaluations_than_iteration():
    """A slow contraction: plain iteration needs thousands, the accelerated one tens."""
    b = np.linspace(1.0, 2.0, 4)
    rates = np.array([0.99, 0.97, -0.9, 0.5])
    slow = lambda x: rates * x + b  # noqa: E731
    expected = b / (1 - rates)
    close(fixed_point(slow, np.zeros(4), steps=40), expected, 1e-11)
    with pytest.raises(clew.ClewError, match="no convergence in 40 iterations"):
        fixed_point(slow, np.zeros(4), method="iterate", steps=40)
    close(fixed_point(slow, np.zeros(4), method="iterate", steps=5000), expected, 1e-10)


def test_a_map_that_expands_still_has_a_fixed_point():
    close(fixed_point(lambda x: 3 * x - 1, 1.0), 0.5, 1e-14)
    close(fixed_point(lambda x: 1 - x, 3.0, method="newton"), 0.5, 1e-14)


def test_trees_keep_their_structure():
    def g(state):
        return {"a": 0.3 * state["b"][0][1] + 1.0, "b": (np.sin(state["a"]) * np.ones(2),)}

    found = fixed_point(g, {"a": 0.0, "b": (np.zeros(2),)})
    close(found["a"], 0.3 * np.sin(found["a"]) + 1.0)
    assert found["b"][0].shape == (2,)


def test_shared_leaf_is_one_unknown():
    w = np.zeros(2)
    found = fixed_point(lambda t: [0.5 * t[0] + 1.0, 0.5 * t[1] + 1.0], [w, w])
    close(found[0], [2.0, 2.0])
    close(found[1], [2.0, 2.0])


def test_stationary_distribution():
    """Power iteration for a Markov chain; its perturbation by the fundamental matrix."""
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.7, 0.2], [0.3, 0.3, 0.4]])

    def stationary(p):
        # The sum is put back to 1, so that the fixed point is isolated.
        return fixed_point(lambda q: q @ p + (1 - np.sum(q)) / 3, np.ones(3) / 3)

    q = stationary(p)
    close(q @ p, q, 1e-13)
    direction = np.array([[0.1, -0.1, 0.0], [0.0, 0.2, -0.2], [-0.3, 0.1, 0.2]])
    fundamental = np.linalg.inv(np.eye(3) - p + np.outer(np.ones(3), q))
    close(jvp(stationary, (p,), (direction,))[1], q @ direction @ fundamental, 1e-11)
    check_derivatives(stationary, p, order=2)


def test_many_unknowns_without_a_matrix():
    n = 1000
    b = np.linspace(0.0, 1.0, n)
    f = lambda t: fixed_point(lambda x: t * np.sin(np.roll(x, 1)) + b, np.zeros(n))  # noqa: E731
    t = 0.6
    x = f(t)
    close(x, t * np.sin(np.roll(x, 1)) + b, 1e-12)
    matrix = np.eye(n) - t * np.roll(np.diag(np.cos(x)), 1, axis=0)
    slope = np.linalg.solve(matrix, np.sin(np.roll(x, 1)))
    close(jvp(f, (t,), (1.0,))[1], slope, 1e-11)
    close(grad(lambda t: np.sum(f(t)))(t), np.sum(slope), 1e-11)


def test_vmap_over_parameters():
    a = np.linspace(0.1, 1.0, 5)
    for method in METHODS:
        f = lambda a: cosine(a, method)  # noqa: E731, B023
        close(vmap(f)(a), [f(each) for each in a])
        close(vmap(grad(f))(a), [grad(f)(each) for each in a])


def test_lanes_of_different_speed_stop_by_themselves():
    rates = np.array([0.0, 0.5, 0.95])
    found = vmap(lambda r: fixed_point(lambda x: r * x + 1, 0.0, method="iterate"))(rates)
    close(found, 1 / (1 - rates), 1e-12)


def test_hessian_of_an_equilibrium():
    def f(p):
        return np.sum(fixed_point(lambda x: p * np.tanh(x[::-1]) + 0.3, np.zeros(2)) ** 2)

    p = np.array([0.4, 0.7])
    full = hessian(f)(p)
    close(full, full.T, 1e-10)
    close(full, jacobian(jacobian(f, mode="reverse"), mode="reverse")(p), 1e-10)
    check_derivatives(f, p, order=2)


# --- errors ------------------------------------------------------------------------------------


def test_divergence_is_an_error():
    with pytest.raises(clew.ClewError, match="the iteration diverges") as caught:
        fixed_point(lambda x: 2 * x + 1, 1.0, method="iterate")
    assert caught.value.where.file.endswith("test_fixed_point.py")
    assert "newton" in caught.value.fix


def test_values_that_are_not_finite():
    with pytest.raises(clew.ClewError, match=r"g\(x\) is nan at iteration 0"):
        fixed_point(lambda x: np.log(x), -1.0)


def test_unknown_method():
    with pytest.raises(clew.InputError, match="method='picard'"):
        fixed_point(np.cos, 1.0, method="picard")


def test_other_shapes():
    with pytest.raises(clew.ShapeError, match=r"returns shapes \[\(3,\)\] for an x of shapes"):
        fixed_point(lambda x: x * np.ones(3), 1.0)


def test_fixed_points_that_are_not_isolated():
    f = lambda a: fixed_point(lambda x: x + 0.0 * a * x, 1.0)  # noqa: E731
    close(f(1.0), 1.0)
    with pytest.raises(clew.DerivativeError, match=r"I - J, .* is singular: 1 x 1") as caught:
        grad(f)(1.0)
    assert "1 is an eigenvalue" in caught.value.fix
