"""Linear algebra against NumPy and SciPy; derivatives against differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import clew
from clew import DtypeError, ShapeError
from clew.core.types import Type
from clew.ops import linalg
from clew.testing import check_derivatives

DTYPES = ["float64", "complex128"]
STACKS = [(), (2,), (2, 3)]


def draw(*shape, dtype="float64", seed=0):
    generator = np.random.default_rng([seed, *shape])
    x = generator.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * generator.normal(size=shape)
    return x.astype(dtype)


def hermitian(*shape, dtype="float64", seed=0):
    """Well-conditioned positive definite matrices with distinct eigenvalues."""
    x = draw(*shape, dtype=dtype, seed=seed)
    n = shape[-1]
    return x @ np.conj(np.swapaxes(x, -1, -2)) + np.diag(np.arange(1.0, n + 1)).astype(dtype)


def regular(*shape, dtype="float64", seed=0):
    return draw(*shape, dtype=dtype, seed=seed) + 3 * np.eye(shape[-1], dtype=dtype)


def adjoint(x):
    return np.conj(np.swapaxes(x, -1, -2))


def near(found, expected, tolerance=1e-12):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    scale = np.max(np.abs(expected), initial=0)
    assert np.max(np.abs(found - expected), initial=0) <= tolerance * scale


def agrees(record, reference, *args):
    """Eager, traced and batched values, and the type rule, against a reference."""
    expected = reference(*args)
    expected = expected if isinstance(expected, tuple) else (expected,)
    graph = clew.trace(record)(*args)
    results = clew.evaluate(graph, *args)
    results = results if isinstance(results, (tuple, list)) else (results,)
    for atom, value, wanted in zip(graph.outputs, results, expected, strict=True):
        wanted = np.asarray(wanted)
        near(value, wanted, 1e-4 if wanted.dtype.char in "fF" else 1e-12)
        assert atom.type == Type(wanted.shape, wanted.dtype)
        assert value.dtype == wanted.dtype


ONE_MATRIX = [
    (linalg.inv, np.linalg.inv, regular),
    (linalg.det, np.linalg.det, regular),
    (linalg.slogdet, lambda a: tuple(np.linalg.slogdet(a)), regular),
    (linalg.cholesky, np.linalg.cholesky, hermitian),
    (linalg.qr, lambda a: tuple(np.linalg.qr(a)), regular),
    (linalg.eigh, lambda a: tuple(np.linalg.eigh(a)), hermitian),
    (linalg.svd, lambda a: tuple(np.linalg.svd(a)), regular),
    (linalg.pinv, np.linalg.pinv, regular),
    (linalg.expm, scipy.linalg.expm, draw),
    (linalg.adjugate, lambda a: np.linalg.det(a)[..., None, None] * np.linalg.inv(a), regular),
]
NAMES = [row[1].__name__ if row[1].__name__ != "<lambda>" else row[0].name for row in ONE_MATRIX]


@pytest.mark.parametrize(("record", "reference", "make"), ONE_MATRIX, ids=NAMES)
@pytest.mark.parametrize("stack", [*STACKS, (0,)], ids=str)
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("dtype", ["float64", "complex128", "float32", "complex64"])
def test_values_are_numpys(record, reference, make, stack, n, dtype):
    agrees(record, reference, make(*stack, n, n, dtype=dtype))


@pytest.mark.parametrize(("record", "reference", "make"), ONE_MATRIX, ids=NAMES)
def test_batched_is_a_loop(record, reference, make):
    x = make(4, 3, 3)
    expected = [reference(each) for each in x]
    expected = list(zip(*expected, strict=True)) if isinstance(expected[0], tuple) else [expected]
    found = clew.vmap(record)(x)
    found = found if isinstance(found, (tuple, list)) else [found]
    for value, wanted in zip(found, expected, strict=True):
        near(value, np.stack(wanted))


# --- systems -----------------------------------------------------------------------------

SYSTEMS = [((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (2, 3, 2)), ((1, 1), (1,))]
BROADCAST = [((3, 3), (4, 3, 2)), ((4, 3, 3), (3, 2)), ((2, 1, 3, 3), (4, 3, 2))]


@pytest.mark.parametrize(("a", "b"), SYSTEMS + BROADCAST)
@pytest.mark.parametrize("dtype", DTYPES)
def test_solve(a, b, dtype):
    x, y = regular(*a, dtype=dtype), draw(*b, dtype=dtype)
    agrees(linalg.solve, np.linalg.solve, x, y)
    check_derivatives(linalg.solve, x, y, order=2)


@pytest.mark.parametrize(("a", "b"), SYSTEMS + BROADCAST)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lower", [True, False])
def test_triangular_solve(a, b, dtype, lower):
    x, y = regular(*a, dtype=dtype), draw(*b, dtype=dtype)
    cut = np.tril if lower else np.triu

    def solve(a, b):
        return linalg.triangular_solve(a, b, lower=lower)

    agrees(solve, lambda a, b: np.linalg.solve(cut(a), b), x, y)
    check_derivatives(solve, x, y, order=2)
    other = clew.grad(lambda a: np.sum(np.abs(solve(a, y))))(x)
    assert np.array_equal(other, cut(other))


def test_real_matrix_with_complex_right_hand_side():
    a, b = regular(3, 3), draw(3, 2, dtype="complex128")
    check_derivatives(linalg.solve, a, b)
    gradient = clew.grad(lambda a: np.sum(np.abs(linalg.solve(a, b))))(a)
    assert gradient.dtype == np.float64


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
@pytest.mark.parametrize("right", [(3,), (3, 2)])
def test_batched_systems(axes, right):
    a = regular(4, 3, 3) if axes[0] == 0 else regular(3, 3)
    b = draw(4, *right) if axes[1] == 0 else draw(*right)

    def pick(x, axis, i):
        return x[i] if axis == 0 else x

    expected = [np.linalg.solve(pick(a, axes[0], i), pick(b, axes[1], i)) for i in range(4)]
    near(clew.vmap(linalg.solve, axes)(a, b), np.stack(expected))


def test_one_matrix_is_factored_once_for_all_right_hand_sides():
    graph = clew.trace(lambda a, b: clew.vmap(linalg.solve, (None, 0))(a, b))(
        regular(3, 3), draw(7, 3)
    )
    solves = [e for e in graph.equations if e.primitive.name == "solve"]
    assert [e.inputs[1].type.shape for e in solves] == [(3, 7)]


def test_empty_systems():
    assert linalg.solve(np.ones((0, 0)), np.ones((0, 2))).shape == (0, 2)
    assert linalg.inv(np.ones((0, 0))).shape == (0, 0)
    assert linalg.triangular_solve(np.eye(2), np.ones((2, 0)), lower=True).shape == (2, 0)
    assert linalg.det(np.ones((0, 0))) == 1
    assert clew.grad(linalg.det)(np.ones((0, 0))).shape == (0, 0)


# --- inverses and determinants -----------------------------------------------------------


@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "record",
    [linalg.inv, linalg.det, linalg.slogdet, linalg.adjugate, linalg.pinv, linalg.expm],
    ids=["inv", "det", "slogdet", "adjugate", "pinv", "expm"],
)
@pytest.mark.parametrize("n", [1, 3])
def test_square_functions_have_derivatives(record, dtype, stack, n):
    check_derivatives(record, regular(*stack, n, n, dtype=dtype), order=2)


@pytest.mark.parametrize(
    "record", [linalg.inv, linalg.det, linalg.expm], ids=["inv", "det", "expm"]
)
def test_third_order(record):
    check_derivatives(record, regular(3, 3), order=3)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (3, 4, 2)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_pseudo_inverse_of_full_rank(shape, dtype):
    x = draw(*shape, dtype=dtype)
    agrees(linalg.pinv, np.linalg.pinv, x)
    check_derivatives(linalg.pinv, x, order=2)


def test_pseudo_inverse_at_equal_singular_values():
    check_derivatives(linalg.pinv, np.eye(3)[:, :2].copy())


def test_pseudo_inverse_of_lower_rank_moves_within_that_rank():
    left, right = draw(4, 2), draw(2, 3)
    check_derivatives(lambda x, y: linalg.pinv(x @ y, rcond=1e-10), left, right)


def test_determinant_has_a_gradient_at_singular_matrices():
    rank_two = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    cofactors = np.array([[-3.0, 6.0, -3.0], [6.0, -12.0, 6.0], [-3.0, 6.0, -3.0]])
    near(clew.grad(linalg.det)(rank_two), cofactors, 1e-13)
    assert np.array_equal(clew.grad(linalg.det)(np.zeros((3, 3))), np.zeros((3, 3)))
    near(clew.grad(linalg.det)(np.zeros((1, 1))), np.ones((1, 1)))


def test_log_determinant_gradient_is_the_inverse():
    x = hermitian(4, 4)
    near(clew.grad(lambda a: linalg.slogdet(a)[1])(x), np.linalg.inv(x).T)


# --- factorisations ----------------------------------------------------------------------


@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 3])
def test_cholesky(stack, dtype, n):
    x = hermitian(*stack, n, n, dtype=dtype)
    check_derivatives(linalg.cholesky, x, order=2)
    gradient = clew.grad(lambda a: np.sum(np.abs(linalg.cholesky(a))))(x)
    assert np.array_equal(gradient, np.tril(gradient))


QR_SHAPES = [(3, 3), (5, 3), (3, 5), (2, 5, 3), (1, 1), (4, 1), (1, 4)]


@pytest.mark.parametrize("shape", QR_SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_qr(shape, dtype):
    x = draw(*shape, dtype=dtype)
    agrees(linalg.qr, lambda a: tuple(np.linalg.qr(a)), x)
    check_derivatives(linalg.qr, x, order=2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_complete_qr_through_what_its_last_columns_span(dtype):
    x = draw(5, 3, dtype=dtype)
    agrees(lambda a: linalg.qr(a, complete=True), lambda a: tuple(np.linalg.qr(a, "complete")), x)

    def projector(a):
        q = linalg.qr(a, complete=True)[0]
        rest = q[:, 3:]
        return q[:, :3], rest @ np.conj(rest.T)

    check_derivatives(projector, x, order=2)


@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("n", [1, 3])
def test_eigh(stack, n):
    check_derivatives(linalg.eigh, hermitian(*stack, n, n), order=2)


def test_complex_eigh_through_what_does_not_depend_on_phases():
    def invariant(a):
        w, v = linalg.eigh(a)
        return w, v[:, :1] @ np.conj(v[:, :1].T), (v * np.sqrt(w)) @ np.conj(v.T)

    check_derivatives(invariant, hermitian(3, 3, dtype="complex128"), order=2)


def test_eigenvalues_are_differentiable_where_they_coincide():
    gradient = clew.grad(lambda a: np.sum(linalg.eigh(a)[0] ** 2))(2 * np.eye(3))
    assert np.array_equal(gradient, 4 * np.eye(3))
    gradient = clew.grad(lambda a: np.sum(linalg.svd(a)[1] ** 2))(np.eye(3))
    near(gradient, 2 * np.eye(3))


def test_eigenvectors_have_no_finite_derivative_where_eigenvalues_coincide():
    def of_vectors(a):
        return np.sum(linalg.eigh(a)[1] * np.arange(9.0).reshape(3, 3))

    assert not np.isfinite(clew.grad(of_vectors)(2 * np.eye(3))).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (2, 3, 3)])
def test_eig(dtype, shape):
    """Eigenvalues may come in conjugate pairs; LAPACK's scaling of the vectors is followed."""
    x = draw(*shape, dtype=dtype)

    def complexes(a):
        return tuple(each.astype(complex) for each in np.linalg.eig(a))

    agrees(linalg.eig, complexes, x)
    check_derivatives(linalg.eig, x, order=2)


SVD_SHAPES = [(3, 3), (5, 3), (3, 5), (2, 5, 3), (4, 1), (1, 4)]


@pytest.mark.parametrize("shape", SVD_SHAPES)
@pytest.mark.parametrize("full_matrices", [False, True])
def test_svd(shape, full_matrices):
    x = draw(*shape)
    agrees(
        lambda a: linalg.svd(a, full_matrices=full_matrices),
        lambda a: tuple(np.linalg.svd(a, full_matrices=full_matrices)),
        x,
    )
    k = min(shape[-2:])

    def determined(a):
        u, s, vh = linalg.svd(a, full_matrices=full_matrices)
        u2, v2 = u[..., k:], vh[..., k:, :]
        return u[..., :k], s, vh[..., :k, :], u2 @ linalg.swap(u2), linalg.swap(v2) @ v2

    check_derivatives(determined, x, order=2)


@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 5)])
def test_complex_svd_through_what_does_not_depend_on_phases(shape):
    x = draw(*shape, dtype="complex128")

    def invariant(a):
        u, s, vh = linalg.svd(a)
        return s, u[:, :1] @ vh[:1], u @ vh, (u * s**2) @ np.conj(u.T)

    check_derivatives(invariant, x, order=2)


# --- the exponential ---------------------------------------------------------------------


def test_derivative_of_the_exponential_is_scipys():
    a, e = draw(4, 4), draw(4, 4, seed=1)
    expected = scipy.linalg.expm_frechet(a, e, compute_expm=False)
    near(linalg.expm_derivative(a, e), expected)
    near(linalg.expm_derivative(a, 1e8 * e), 1e8 * expected)
    assert np.array_equal(linalg.expm_derivative(a, 0 * e), 0 * e)
    near(clew.jvp(linalg.expm, (a,), (e,))[1], expected)
    check_derivatives(linalg.expm_derivative, a, e, order=2)


def test_batched_exponential_derivative():
    a, e = draw(3, 4, 4), draw(4, 4, seed=1)
    expected = [scipy.linalg.expm_frechet(each, e, compute_expm=False) for each in a]
    near(clew.vmap(linalg.expm_derivative, (0, None))(a, e), np.stack(expected))


def test_a_linear_system_of_equations_of_motion():
    """The state of an oscillator after time t, differentiated by its stiffness."""
    t = 0.7

    def position(k):
        return linalg.expm(np.stack([np.stack([0 * k, 0 * k + 1]), np.stack([-k, 0 * k])]) * t)[
            0, 0
        ]

    k = 2.3
    exact = -np.sin(np.sqrt(k) * t) * t / (2 * np.sqrt(k))
    near(clew.grad(position)(k), exact)


# --- errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: linalg.solve(np.eye(3), np.ones(2)), ShapeError, "solve: matrices of shape"),
        (lambda: linalg.solve(np.ones((2, 3)), np.ones(2)), ShapeError, "not a square matrix"),
        (lambda: linalg.inv(np.ones(3)), ShapeError, "not a matrix"),
        (lambda: clew.trace(linalg.det)(np.ones((2, 3))), ShapeError, "det: shape"),
        (lambda: clew.trace(linalg.svd)(np.ones(3)), ShapeError, "svd: shape"),
        (lambda: clew.trace(linalg.qr)(np.ones((2, 2), int)), DtypeError, "qr: not defined for i"),
        (lambda: clew.trace(linalg.expm)(np.ones((2, 3))), ShapeError, "expm: shape"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert caught.value.fix


@pytest.mark.parametrize("record", [linalg.inv, linalg.cholesky], ids=["inv", "cholesky"])
def test_singular_matrices_are_refused_when_they_are_evaluated(record):
    graph = clew.trace(record)(np.eye(2))
    with pytest.raises(np.linalg.LinAlgError):
        clew.evaluate(graph, np.zeros((2, 2)))
