"""Linear solves: matrix-free, both ways, to any order; Krylov methods against dense ones."""

import numpy as np
import pytest
import scipy.sparse.linalg

import clew
from clew import grad, hessian, jacobian, jvp, vjp, vmap
from clew.implicit import linear_solve
from clew.implicit.krylov import conjugate_gradients, gmres
from clew.testing import check_derivatives

RNG = np.random.default_rng(5)
METHODS = ["auto", "gmres", "direct"]


def close(found, expected, tolerance=1e-11):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0)


MATRIX = RNG.normal(size=(5, 5)) + 4 * np.eye(5)
SPD = MATRIX @ MATRIX.T
B = RNG.normal(size=5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("as_product", [True, False])
def test_derivatives_in_matrix_and_right_hand_side(method, as_product):
    def f(a, b):
        return linear_solve((lambda v: a @ v) if as_product else a, b, method=method)

    inverse = np.linalg.inv(MATRIX)
    x = inverse @ B
    close(f(MATRIX, B), x)
    close(jacobian(f, argnums=1, mode="forward")(MATRIX, B), inverse)
    close(jacobian(f, argnums=1, mode="reverse")(MATRIX, B), inverse)
    w = RNG.normal(size=5)
    from_a, from_b = vjp(f, MATRIX, B)[1](w)
    close(from_b, inverse.T @ w)
    close(from_a, -np.outer(inverse.T @ w, x), 1e-10)
    check_derivatives(f, MATRIX, B, order=2)


def test_conjugate_gradients_use_the_symmetric_operator_both_ways():
    calls = []

    def f(scale):
        def product(v):
            calls.append(v)
            return scale * (SPD @ v)

        return linear_solve(product, B, method="cg")

    x = np.linalg.solve(SPD, B)
    close(f(2.0), x / 2)
    close(jacobian(f)(2.0), -x / 4)
    close(grad(lambda s: np.sum(f(s)))(2.0), -np.sum(x) / 4)
    close(grad(grad(lambda s: np.sum(f(s))))(2.0), np.sum(x) / 4, 1e-10)
    assert len(calls) == 4  # traced once each time; the iterations run the graph


def laplacian(v):
    return 2 * v - np.pad(v[1:], (0, 1)) - np.pad(v[:-1], (1, 0))


def convection(v, speed):
    return 2.1 * v - (1 - speed) * np.pad(v[1:], (0, 1)) - (1 + speed) * np.pad(v[:-1], (1, 0))


def banded(n, lower, diagonal, upper):
    return scipy.sparse.diags([lower, diagonal, upper], [-1, 0, 1], shape=(n, n), format="csc")


def test_large_symmetric_system_without_a_matrix():
    n = 5000
    b = np.sin(np.arange(n))
    f = lambda k: linear_solve(lambda v: laplacian(v) + k * v, b, symmetric=True)  # noqa: E731
    k = 0.3
    lu = scipy.sparse.linalg.splu(banded(n, -1.0, 2.0 + k, -1.0))
    x = lu.solve(b)
    assert np.max(np.abs(f(k) - x)) < 1e-12 * np.max(np.abs(x))
    slope = -lu.solve(x)
    assert np.max(np.abs(jvp(f, (k,), (1.0,))[1] - slope)) < 1e-11 * np.max(np.abs(slope))
    close(grad(lambda k: np.sum(f(k) ** 2))(k), 2 * np.sum(x * slope), 1e-11)


def test_large_nonsymmetric_system_solves_with_the_transposed_graph():
    n = 3000
    b = np.cos(np.arange(n))
    f = lambda c: linear_solve(lambda v: convection(v, c), b)  # noqa: E731
    c = 0.4
    lu = scipy.sparse.linalg.splu(banded(n, -1 - c, 2.1, c - 1))
    x = lu.solve(b)
    moved = np.append(x[1:], 0) - np.append(0, x[:-1])
    w = np.linspace(-1, 1, n)
    expected = -lu.solve(w, trans="T") @ moved
    close(grad(lambda c: w @ f(c))(c), expected, 1e-10)
    close(w @ jvp(f, (c,), (1.0,))[1], expected, 1e-10)


def test_preconditioner_saves_steps_and_changes_no_result():
    n = 400
    d = np.logspace(0, 7, n)
    b = np.ones(n)
    product = lambda t: lambda v: d * v + t * laplacian(v)  # noqa: E731
    f = lambda t: linear_solve(  # noqa: E731
        product(t), b, method="cg", preconditioner=lambda v: v / (d + 2 * t), steps=40
    )
    expected = lambda t: linear_solve(product(t), b, method="direct")  # noqa: E731
    close(f(0.5), expected(0.5), 1e-9)
    total = lambda f: lambda t: np.sum(f(t))  # noqa: E731
    close(grad(total(f))(0.5), grad(total(expected))(0.5), 1e-10)
    with pytest.raises(clew.ClewError, match="cg did not converge: after 40 iterations"):
        linear_solve(product(0.5), b, method="cg", steps=40)


def test_preconditioned_gmres_transposes_its_preconditioner():
    n = 400
    d = np.logspace(0, 6, n)
    upper = lambda t: lambda v: d * v + t * np.pad(v[1:], (0, 1))  # noqa: E731

    def f(t):
        return linear_solve(
            upper(t), np.ones(n), method="gmres", preconditioner=lambda v: v / d, steps=100
        )

    expected = lambda t: linear_solve(upper(t), np.ones(n), method="direct")  # noqa: E731
    close(f(0.3), expected(0.3), 1e-10)
    close(jacobian(f, mode="reverse")(0.3), jacobian(expected, mode="reverse")(0.3), 1e-9)


def test_trees_on_both_sides():
    def product(u):
        return {"p": 3 * u["p"] + np.sum(u["q"]), "q": 2 * u["q"] - u["p"]}

    b = {"p": 1.0, "q": np.array([1.0, 2.0])}
    x = linear_solve(product, b)
    close(product(x)["p"], 1.0)
    close(product(x)["q"], [1.0, 2.0])


def test_complex_system():
    a = MATRIX + 1j * RNG.normal(size=(5, 5))
    b = B + 1j
    for method in METHODS:
        close(linear_solve(lambda v: a @ v, b, method=method), np.linalg.solve(a, b))
    f = lambda a, b: linear_solve(lambda v: a @ v, b)  # noqa: E731
    g = np.linalg.solve
    w = RNG.normal(size=5) + 1j * RNG.normal(size=5)
    for found, expected in zip(vjp(f, a, b)[1](w), vjp(g, a, b)[1](w), strict=True):
        close(found, expected, 1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_vmap_over_right_hand_sides_and_matrices(method):
    f = lambda a, b: linear_solve(lambda v: a @ v, b, method=method)  # noqa: E731
    a = np.stack([MATRIX, SPD, MATRIX.T])
    b = RNG.normal(size=(3, 5))
    one = vmap(f, in_axes=(None, 0))
    close(one(MATRIX, b), np.linalg.solve(MATRIX, b.T).T)
    close(vmap(f, in_axes=(0, None))(a, B), [np.linalg.solve(each, B) for each in a])
    close(vmap(f)(a, b), np.linalg.solve(a, b[:, :, None])[:, :, 0])
    # Right-hand sides within matrices, and matrices within right-hand sides.
    every = np.stack([np.linalg.solve(each, b.T).T for each in a])
    close(vmap(one, in_axes=(0, None))(a, b), every)
    close(vmap(vmap(f, in_axes=(0, None)), in_axes=(None, 0))(a, b), np.swapaxes(every, 0, 1))
    close(vmap(one, in_axes=(None, 0))(MATRIX, a)[1], one(MATRIX, SPD))


def test_derivatives_of_batches():
    f = lambda a, b: linear_solve(lambda v: a @ v, b)  # noqa: E731
    b = RNG.normal(size=(3, 5))
    total = lambda a, b: np.sum(vmap(f, in_axes=(None, 0))(a, b) ** 3)  # noqa: E731
    expected = lambda a, b: np.sum(np.linalg.solve(a, b.T) ** 3)  # noqa: E731
    close(grad(total)(MATRIX, b), grad(expected)(MATRIX, b), 1e-10)
    close(jvp(total, (MATRIX, b), (SPD, b))[1], jvp(expected, (MATRIX, b), (SPD, b))[1], 1e-10)
    close(hessian(total)(MATRIX, b), hessian(expected)(MATRIX, b), 1e-8)


def test_every_order_agrees():
    f = lambda t: np.sum(linear_solve(lambda v: (MATRIX + t * SPD) @ v, B) ** 2)  # noqa: E731
    g = lambda t: np.sum(np.linalg.solve(MATRIX + t * SPD, B) ** 2)  # noqa: E731
    for _ in range(3):
        f, g = grad(f), grad(g)
        close(f(0.2), g(0.2), 1e-10)


# --- the Krylov methods ------------------------------------------------------------------------


@pytest.mark.parametrize("method", [conjugate_gradients, gmres])
def test_lanes_are_solved_each_by_itself(method):
    matrices = np.stack([SPD, np.eye(5), 100 * SPD])
    b = np.stack([B, B, np.zeros(5)])
    found = method(lambda v: np.einsum("kij,kj->ki", matrices, v), b, None, 1e-14, 200)
    assert found.converged.all()
    close(found.x[0], np.linalg.solve(SPD, B), 1e-12)
    close(found.x[1], B, 1e-15)
    assert not found.x[2].any()


def test_gmres_restarts():
    n = 300
    diagonal = np.linspace(1, 40, n)
    found = gmres(lambda v: diagonal * v, np.ones((1, n)), None, 1e-13, 2000)
    assert found.iterations > 60
    assert found.converged.all()
    close(found.x[0], 1 / diagonal, 1e-11)


def test_gmres_finds_what_an_exhausted_space_holds():
    found = gmres(lambda v: v[:, ::-1], np.array([[1.0, 0.0, 0.0, 2.0]]), None, 1e-14, 50)
    assert found.iterations <= 3
    close(found.x[0], [2.0, 0.0, 0.0, 1.0], 1e-14)


def test_scales_near_the_ends_of_the_range():
    for scale in (1e-170, 1e170):
        x = linear_solve(lambda v: scale * (SPD @ v), scale * B, method="cg")  # noqa: B023
        close(x, np.linalg.solve(SPD, B))


# --- errors ------------------------------------------------------------------------------------

FLAT = lambda v: v - np.mean(v)  # noqa: E731


@pytest.mark.parametrize(
    ("call", "kind", "message", "fix"),
    [
        (lambda: linear_solve(FLAT, np.ones(3)), ArithmeticError, "is singular: 3 x 3", "lstsq"),
        (
            lambda: linear_solve(FLAT, np.ones(3), method="gmres"),
            ArithmeticError,
            "gmres did not converge",
            "preconditioner=",
        ),
        (
            lambda: linear_solve(np.ones((2, 2)), np.ones(2)),
            ArithmeticError,
            r"matrix of shape \(2, 2\) is singular",
            "lstsq",
        ),
        (
            lambda: linear_solve(lambda v: -v, np.ones(3), method="cg"),
            ArithmeticError,
            r"p\^T A p <= 0: the operator is not positive definite",
            "method='gmres'",
        ),
        (
            lambda: linear_solve(lambda v: v + 1, np.ones(3)),
            clew.InputError,
            "the product is not linear",
            "right-hand side",
        ),
        (
            lambda: linear_solve(lambda v: v * v, np.ones(3)),
            clew.InputError,
            "the product is not linear",
            "clew.root",
        ),
        (
            lambda: linear_solve(lambda v: v, np.ones(3), preconditioner=np.abs),
            clew.InputError,
            "the preconditioner is not linear",
            "right-hand side",
        ),
        (
            lambda: linear_solve(lambda v: np.ones(3), np.ones(3)),
            clew.InputError,
            "the product does not depend on its argument",
            "argument",
        ),
        (
            lambda: linear_solve(lambda v: v[:2], np.ones(3)),
            clew.ShapeError,
            r"returns shapes \[\(2,\)\] for a right-hand side of shapes \[\(3,\)\]",
            "tree",
        ),
        (
            lambda: linear_solve(np.ones((2, 3)), np.ones(2)),
            clew.ShapeError,
            r"a matrix of shape \(2, 3\) for 2 unknowns",
            "(2, 2)",
        ),
        (
            lambda: linear_solve(FLAT, np.ones(3), method="lu"),
            clew.InputError,
            "method='lu'",
            "gmres",
        ),
        (
            lambda: linear_solve(FLAT, np.ones(3, bool)),
            clew.DtypeError,
            "the value has dtype bool",
            "floats",
        ),
    ],
)
def test_messages(call, kind, message, fix):
    with pytest.raises(kind, match=message) as caught:
        call()
    assert fix in caught.value.fix
    assert caught.value.where.file.endswith("test_linear.py")


def test_error_names_the_example():
    a = np.stack([np.eye(2), np.ones((2, 2)), np.eye(2)])
    with pytest.raises(clew.ClewError, match=r"is singular \(example 1 of 3\): 2 x 2"):
        vmap(lambda a: linear_solve(lambda v: a @ v, np.ones(2)))(a)


def test_a_lane_that_is_not_finite_does_not_spoil_the_others():
    a = np.stack([np.eye(2), np.full((2, 2), np.nan)])
    for method in ("direct", "gmres"):
        f = lambda a: linear_solve(lambda v: a @ v, np.ones(2), method=method)  # noqa: B023, E731
        x = vmap(f)(a)
        close(x[0], [1.0, 1.0], 1e-15)
        assert np.isnan(x[1]).all()
