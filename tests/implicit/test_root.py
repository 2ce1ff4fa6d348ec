"""Roots: values, derivatives of every order against closed forms, batches, nesting."""

import numpy as np
import pytest
import scipy.linalg

import clew
from clew import grad, hessian, hvp, jacobian, jvp, vjp, vmap
from clew.implicit import root
from clew.testing import check_derivatives

TIGHT = 1e-12


def close(found, expected, tolerance=TIGHT):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0)


# --- one unknown -------------------------------------------------------------------------------


def cosine_root(theta):
    return root(lambda x: np.cos(x) - theta * x, 1.0)


def test_scalar_root_and_its_hand_derivative():
    for theta in (0.3, 1.0, 2.5):
        x = cosine_root(theta)
        close(np.cos(x), theta * x)
        close(grad(cosine_root)(theta), -x / (np.sin(x) + theta))
        close(jvp(cosine_root, (theta,), (1.0,))[1], -x / (np.sin(x) + theta))


def test_sqrt_derivatives_to_the_fourth_order():
    def sqrt(a):
        return root(lambda x: x * x - a, 1.0)

    a = 2.3
    expected = [0.5 * a**-0.5, -0.25 * a**-1.5, 0.375 * a**-2.5, -0.9375 * a**-3.5]
    f = sqrt
    close(f(a), np.sqrt(a), 1e-15)
    for value in expected:
        f = grad(f)
        close(f(a), value)


def test_lambert_w_to_the_third_order():
    def lambert(a):
        return root(lambda w: w * np.exp(w) - a, 0.5)

    a = 1.7
    w = scipy.special.lambertw(a).real
    first = w / (a * (1 + w))
    second = -(w**2) * (w + 2) / (a**2 * (1 + w) ** 3)
    third = w**3 * (2 * w**2 + 8 * w + 9) / (a**3 * (1 + w) ** 5)
    close(lambert(a), w)
    close(grad(lambert)(a), first)
    close(grad(grad(lambert))(a), second)
    close(grad(grad(grad(lambert)))(a), third, 1e-11)


def test_every_mix_of_forward_and_reverse_agrees():
    def sqrt(a):
        return root(lambda x: x * x - a, 1.0)

    a = 2.3
    forward = lambda f: lambda a: jvp(f, (a,), (1.0,))[1]  # noqa: E731
    for outer in (grad, forward):
        for middle in (grad, forward):
            for inner in (grad, forward):
                close(outer(middle(inner(sqrt)))(a), 0.375 * a**-2.5, 1e-11)


@pytest.mark.parametrize("start", [0.9, 1, np.float32(1.0)])
def test_start_may_be_any_number(start):
    found = root(lambda x: x**3 - 2, start)
    assert found.dtype == (np.float32 if isinstance(start, np.float32) else np.float64)
    close(found, 2 ** (1 / 3), 1e-7 if isinstance(start, np.float32) else 1e-15)


def test_root_at_zero_is_found_to_rounding():
    assert abs(root(np.sin, 0.7)) < 1e-20
    assert root(lambda x: x, 3.0) == 0.0


def test_newton_stays_in_the_domain_of_the_function():
    close(root(lambda x: np.log(x) + 5.0, 1.0), np.exp(-5.0))
    close(root(lambda x: np.log(x) - 1.0, 30.0), np.e)


def test_newton_converges_from_afar():
    assert root(np.arctan, 20.0) == pytest.approx(0.0, abs=1e-14)


# --- bracketing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "ends", "expected"),
    [
        (lambda x: np.cos(x) - x, (0.0, 1.0), 0.7390851332151607),
        (lambda x: x**9 - 1e-9, (0.0, 10.0), 0.1),
        (lambda x: np.exp(x) - 1e-3, (-50.0, 50.0), np.log(1e-3)),
        (lambda x: x - 1.0, (1.0, 5.0), 1.0),
        (lambda x: np.where(x < 0.3, -1.0, x), (-1.0, 1.0), 0.3),
    ],
)
def test_bracketing(f, ends, expected):
    for a, b in (ends, ends[::-1]):
        close(root(f, bracket=(a, b)), expected, 1e-15)


def test_bracketed_root_has_the_same_derivative():
    def found(theta):
        return root(lambda x: np.cos(x) - theta * x, bracket=(0.0, 2.0 + 0.0 * theta))

    close(grad(found)(0.8), grad(cosine_root)(0.8))
    close(grad(grad(found))(0.8), grad(grad(cosine_root))(0.8))


def test_bracket_keeps_the_shape_of_its_ends():
    assert root(lambda x: x - 0.5, bracket=(np.zeros((1, 1)), np.ones((1, 1)))).shape == (1, 1)


# --- systems -----------------------------------------------------------------------------------


def circle_and_line(radius, slope):
    """Where ``x^2 + y^2 = r^2`` meets ``y = s x``: a tree of two unknowns."""
    return root(
        lambda at: {
            "circle": at["x"] ** 2 + at["y"] ** 2 - radius**2,
            "line": at["y"] - slope * at["x"],
        },
        {"x": 1.0, "y": 1.0},
    )


def test_system_of_named_unknowns():
    r, s = 2.0, 0.75
    at = circle_and_line(r, s)
    close([at["x"], at["y"]], [r / np.hypot(1, s), r * s / np.hypot(1, s)])
    slopes = jacobian(circle_and_line, argnums=(0, 1))(r, s)
    close(slopes["x"], [1 / np.hypot(1, s), -r * s / (1 + s * s) ** 1.5])
    close(slopes["y"], [s / np.hypot(1, s), r / (1 + s * s) ** 1.5])


def test_lyapunov_equation_and_its_adjoint():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 3)) - 3 * np.eye(3)
    q = rng.normal(size=(3, 3))

    def lyapunov(a, q):
        return root(lambda x: a @ x + x @ a.T + q, np.zeros((3, 3)))

    x = lyapunov(a, q)
    close(x, scipy.linalg.solve_continuous_lyapunov(a, -q), 1e-11)
    w = rng.normal(size=(3, 3))
    _, pull = vjp(lyapunov, a, q)
    adjoint = scipy.linalg.solve_continuous_lyapunov(a.T, -w)
    from_a, from_q = pull(w)
    close(from_q, adjoint, 1e-11)
    close(from_a, adjoint @ x.T + adjoint.T @ x, 1e-11)
    check_derivatives(lyapunov, a, q, order=2)


def test_sensitivity_of_a_polynomial_root_to_its_coefficients():
    """``dx/dc_k = -x^k / p'(x)``."""
    c = np.array([-6.0, 11.0, -6.0, 1.0])

    def largest(c):
        return root(lambda x: c[0] + x * (c[1] + x * (c[2] + x * c[3])), 3.3)

    x = largest(c)
    slope = c[1] + 2 * c[2] * x + 3 * c[3] * x * x
    close(grad(largest)(c), -(x ** np.arange(4)) / slope, 1e-11)
    # The second derivative, from differentiating p(x(c), c) = 0 twice.
    k = np.arange(4)
    d = -(x**k) / slope
    bend = 2 * c[2] + 6 * c[3] * x
    dk = k * x ** np.maximum(k - 1, 0)
    second = -(np.outer(dk, d) + np.outer(d, dk) + bend * np.outer(d, d)) / slope
    close(hessian(largest)(c), second, 1e-9)


def test_complex_unknowns_of_a_function_that_is_not_holomorphic():
    def found(a):
        return root(lambda z: z * np.conj(z) + 2j * z - (a + 1j), 0.5 + 0.1j)

    z = found(0.7)
    close(z * np.conj(z) + 2j * z, 0.7 + 1j)
    value, slope = jvp(found, (0.7,), (1.0,))
    step = 1e-6
    close(slope, (found(0.7 + step) - found(0.7 - step)) / (2 * step), 1e-8)
    expected = np.linalg.solve(
        [[2 * z.real, 2 * z.imag - 2], [2, 0]], [1.0, 0.0]
    )  # |z|^2 - 2 y = a, 2 x = 1
    close([slope.real, slope.imag + 0.0], expected, 1e-11)
    del value


def test_unknowns_may_be_a_tuple_with_the_residuals_in_another_tree():
    def found(a):
        return root(lambda u: np.array([1.0, 2.0, 3.0]) * a - np.concatenate([u[0], u[1][None]]),
                    (np.zeros(2), 0.0))  # fmt: skip

    first, second = found(2.0)
    close(first, [2.0, 4.0])
    close(second, 6.0)


def test_no_unknowns_is_no_work():
    assert root(lambda x: x, np.zeros(0)).shape == (0,)


# --- many unknowns -----------------------------------------------------------------------------


def diffusion(theta, n, method):
    """``-u'' + theta u^3 = 1`` on n points, zero at the ends."""
    h = 1.0 / (n + 1)

    def residual(u):
        second = 2 * u - np.pad(u[1:], (0, 1)) - np.pad(u[:-1], (1, 0))
        return second / h**2 + theta * u**3 - 1.0

    return root(residual, np.zeros(n), method=method)


def test_matrix_free_newton_agrees_with_the_dense_one():
    dense = diffusion(3.0, 40, "newton")
    close(diffusion(3.0, 40, "krylov"), dense, 1e-10)
    slope = grad(lambda t: np.sum(diffusion(t, 40, "newton")))(3.0)
    close(grad(lambda t: np.sum(diffusion(t, 40, "krylov")))(3.0), slope, 1e-10)


def test_two_thousand_unknowns_without_a_matrix():
    n = 2000
    weights = np.linspace(1.0, 2.0, n)

    def found(theta):
        return root(lambda u: u + theta * np.tanh(weights * np.roll(u, 1)) - weights, np.zeros(n))

    u = found(0.4)
    close(u + 0.4 * np.tanh(weights * np.roll(u, 1)), weights, 1e-12)
    slope = grad(lambda t: np.sum(found(t) ** 2))(0.4)
    forward = jvp(lambda t: np.sum(found(t) ** 2), (0.4,), (1.0,))[1]
    close(slope, forward, 1e-11)
    step = 1e-5
    ends = [np.sum(found(0.4 + s) ** 2) for s in (-step, step)]
    close(slope, (ends[1] - ends[0]) / (2 * step), 1e-7)


# --- transforms --------------------------------------------------------------------------------


def test_derivatives_check_to_third_order():
    def found(p):
        return root(lambda x: np.tanh(x) * p[0] + x**3 - p[1] * np.array([1.0, 2.0]), np.ones(2))

    check_derivatives(found, np.array([1.3, 0.8]), order=3, tolerance=1e-5)


def test_start_has_no_path():
    gradient = grad(lambda s: root(lambda x: x * x - 2.0, s))(1.0)
    assert isinstance(gradient, clew.NoPath)


def test_start_may_be_traced():
    close(grad(lambda a: root(lambda x: x * x - a, a))(2.0), 0.5 / np.sqrt(2.0))


def test_vmap_over_parameters_starts_and_both():
    a = np.array([0.5, 2.0, 9.0, 1e4])
    sqrt = lambda a, s=1.0: root(lambda x: x * x - a, s)  # noqa: E731
    close(vmap(sqrt)(a), np.sqrt(a))
    close(vmap(grad(sqrt))(a), 0.5 / np.sqrt(a))
    close(grad(lambda a: np.sum(vmap(sqrt)(a)))(a), 0.5 / np.sqrt(a))
    close(vmap(grad(grad(sqrt)))(a), -0.25 * a**-1.5)
    signs = np.array([-1.0, 1.0, -2.0, 1e3])
    close(vmap(sqrt)(a, signs), np.sign(signs) * np.sqrt(a))
    close(vmap(sqrt, in_axes=(None, 0))(2.0, signs), np.sign(signs) * np.sqrt(2.0))


def test_vmap_within_vmap():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([0.5, 4.0])
    found = lambda a, b: root(lambda x: x**3 + b * x - a, 1.0)  # noqa: E731
    grid = vmap(vmap(found, in_axes=(None, 0)), in_axes=(0, None))(a, b)
    expected = [[found(p, q) for q in b] for p in a]
    close(grid, expected)
    slopes = vmap(vmap(grad(found), in_axes=(None, 0)), in_axes=(0, None))(a, b)
    close(slopes, [[grad(found)(p, q) for q in b] for p in a])


def test_vmap_of_brackets_and_systems():
    theta = np.linspace(0.2, 3.0, 7)
    bracketed = lambda t: root(lambda x: np.cos(x) - t * x, bracket=(0.0, 2.0))  # noqa: E731
    close(vmap(bracketed)(theta), [cosine_root(t) for t in theta])
    close(vmap(grad(bracketed))(theta), [grad(cosine_root)(t) for t in theta])
    mapped = vmap(circle_and_line)(theta, theta[::-1])
    for k in range(7):
        one = circle_and_line(theta[k], theta[6 - k])
        close([mapped["x"][k], mapped["y"][k]], [one["x"], one["y"]])


def test_vmap_of_krylov_roots_and_their_gradients():
    theta = np.array([0.5, 3.0, 9.0])
    total = lambda t: np.sum(diffusion(t, 30, "krylov"))  # noqa: E731
    close(vmap(total)(theta), [total(t) for t in theta], 1e-10)
    close(vmap(grad(total))(theta), [grad(total)(t) for t in theta], 1e-9)


def test_no_examples():
    assert vmap(cosine_root)(np.zeros(0)).shape == (0,)


def test_jacobian_in_both_modes_and_hessian_products():
    a = np.array([[3.0, 1.0], [0.5, 2.0]])

    def found(p):
        return root(lambda x: a @ x + p[0] * np.sin(x) - p[1:], np.zeros(2))

    p = np.array([0.6, 1.0, -2.0])
    x = found(p)
    inverse = np.linalg.inv(a + p[0] * np.diag(np.cos(x)))
    expected = np.column_stack([-inverse @ np.sin(x), inverse])
    close(jacobian(found, mode="forward")(p), expected, 1e-11)
    close(jacobian(found, mode="reverse")(p), expected, 1e-11)
    total = lambda p: np.sum(found(p) ** 2)  # noqa: E731
    full = hessian(total)(p)
    close(full, full.T, 1e-10)
    v = np.array([1.0, -1.0, 2.0])
    close(hvp(total, (p,), (v,)), full @ v, 1e-10)
    close(jacobian(jacobian(total, mode="reverse"), mode="reverse")(p), full, 1e-10)


def test_root_inside_a_root():
    """``y(a)`` solves ``y = sqrt(a + y)`` with the square root itself a root: y = (1 + q) / 2."""

    def found(a):
        return root(lambda y: y - root(lambda x: x * x - (a + y), 1.0), 1.0)

    a = 1.9
    q = np.sqrt(1 + 4 * a)
    close(found(a), (1 + q) / 2)
    close(grad(found)(a), 1 / q)
    close(grad(grad(found))(a), -2 / q**3, 1e-11)


def test_jit_and_evaluate_give_the_same():
    close(clew.jit(cosine_root)(0.8), cosine_root(0.8))
    close(clew.jit(grad(cosine_root))(0.8), grad(cosine_root)(0.8))
    compiled = clew.jit(cosine_root)
    close([compiled(t) for t in (0.2, 0.9)], [cosine_root(t) for t in (0.2, 0.9)])


def test_printed_graph_names_the_root():
    text = str(clew.trace(cosine_root)(0.8))
    assert "root" in text
    assert "test_root.py" in text


def test_single_precision_stays_single():
    a = np.float32(2.0)
    sqrt = lambda a: root(lambda x: x * x - a, np.float32(1.0))  # noqa: E731
    assert sqrt(a).dtype == np.float32
    assert grad(sqrt)(a).dtype == np.float32
    close(grad(sqrt)(a), 0.5 / np.sqrt(2.0), 1e-6)
