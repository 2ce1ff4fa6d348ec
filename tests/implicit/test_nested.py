"""Implicit functions in loops, loops in implicit functions: all derivatives agree."""

import numpy as np
import pytest

import clew
from clew import grad, jacobian, jvp, vmap
from clew.implicit import argmin, fixed_point, linear_solve, root
from clew.testing import check_derivatives


def close(found, expected, tolerance=1e-10):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0)


def sqrt_by_while(a):
    """Heron's iteration until it no longer moves."""

    def moves(state):
        x, before = state
        return np.abs(x - before) > 1e-15 * x

    def step(state):
        x, _ = state
        return 0.5 * (x + a / x), x

    return clew.while_loop(moves, step, (a, a + 1.0))[0]


def fitted(p):
    """The x of least ``(sqrt(1 + x^2) - p)^2 + (x - 1)^2 / 4``, the root by a while loop."""

    def loss(x):
        return (sqrt_by_while(1.0 + x * x) - p) ** 2 + 0.25 * (x - 1.0) ** 2

    return argmin(loss, 1.0)


def fitted_plainly(p):
    def loss(x):
        return (np.sqrt(1.0 + x * x) - p) ** 2 + 0.25 * (x - 1.0) ** 2

    return argmin(loss, 1.0)


def test_gradient_of_an_argmin_of_a_loss_with_a_while_loop():
    p = 2.2
    close(fitted(p), fitted_plainly(p), 1e-13)
    first = grad(fitted_plainly)(p)
    close(grad(fitted)(p), first)
    close(jvp(fitted, (p,), (1.0,))[1], first)
    second = grad(grad(fitted_plainly))(p)
    close(jvp(grad(fitted), (p,), (1.0,))[1], second)
    close(grad(lambda p: jvp(fitted, (p,), (1.0,))[1])(p), second)
    close(grad(grad(fitted))(p), second)
    # From d/dx of the loss, which is zero along x(p).
    x = fitted(p)
    q = np.sqrt(1 + x * x)
    bend = 2 * (x / q) ** 2 + 2 * (q - p) / q**3 + 0.5
    close(first, 2 * x / q / bend, 1e-11)


def test_implicit_euler_by_a_root_at_every_step():
    """``y' = -k y^3`` with backward Euler; against the same steps solved by hand."""

    def simulate(k, steps=20, h=0.1):
        def step(y, _):
            after = root(lambda z: z + h * k * z**3 - y, y)
            return after, after

        return clew.scan(step, 1.0, length=steps)[1]

    def by_hand(k, steps=20, h=0.1):
        # z + c z^3 = y has the one real root that Cardano gives.
        y, found = 1.0, []
        for _ in range(steps):
            c = h * k
            d = np.sqrt((y / (2 * c)) ** 2 + 1 / (27 * c**3))
            y = np.cbrt(y / (2 * c) + d) + np.cbrt(y / (2 * c) - d)
            found.append(y)
        return np.stack(found)

    k = 1.7
    close(simulate(k), by_hand(k), 1e-12)
    close(jacobian(simulate)(k), jacobian(by_hand)(k), 1e-10)
    total = lambda f: lambda k: np.sum(f(k) ** 2)  # noqa: E731
    close(grad(total(simulate))(k), grad(total(by_hand))(k), 1e-11)
    close(grad(grad(total(simulate)))(k), grad(grad(total(by_hand)))(k), 1e-10)


def test_a_loop_inside_the_equation_of_a_root():
    """The launch speed at which a damped ball lands at 1, by shooting."""

    def landing(speed, drag):
        def step(state, _):
            x, v = state
            return (x + 0.01 * v, v - 0.01 * drag * v * np.abs(v)), None

        return clew.scan(step, (0.0, speed), length=50)[0][0]

    def speed(drag):
        return root(lambda s: landing(s, drag) - 1.0, 1.0)

    drag = 0.4
    found = speed(drag)
    close(landing(found, drag), 1.0, 1e-13)
    slopes = grad(landing, argnums=(0, 1))(found, drag)
    close(grad(speed)(drag), -slopes[1] / slopes[0], 1e-11)
    check_derivatives(speed, drag, order=2)


def test_roots_in_a_while_loop_and_in_a_branch():
    def f(a):
        # Take cube roots until the value is under 2: the number of them depends on a.
        return clew.while_loop(
            lambda x: x > 2.0, lambda x: root(lambda z: z**3 - x, 1.0 + 0.1 * x), a
        )

    a = 100.0
    close(f(a), a ** (1 / 9), 1e-13)
    close(grad(f)(a), a ** (1 / 9 - 1) / 9, 1e-11)
    g = lambda a: clew.cond(  # noqa: E731
        a > 1.0, lambda a: root(lambda x: x * x - a, 1.0), lambda a: 2.0 * a, a
    )
    close([grad(g)(4.0), grad(g)(0.5)], [0.25, 2.0], 1e-13)


def test_a_linear_solve_whose_product_is_a_loop():
    """``(I - N)^-1`` for the shift N by a scan: sums from the right."""

    def product(v, rate):
        # v[i] - rate * v[i - 1], as a recurrence.
        return clew.scan(lambda before, x: (x, x - rate * before), 0.0, v)[1]

    def f(rate, b):
        return linear_solve(lambda v: product(v, rate), b)

    b = np.array([1.0, 2.0, 3.0])
    rate = 0.5
    matrix = np.eye(3) - rate * np.eye(3, k=-1)
    close(f(rate, b), np.linalg.solve(matrix, b), 1e-13)
    close(jacobian(f, argnums=1, mode="reverse")(rate, b), np.linalg.inv(matrix), 1e-12)
    check_derivatives(f, rate, b, order=2)


def test_vmap_over_a_loop_of_fixed_points():
    def f(a):
        step = lambda x, _: (fixed_point(lambda z: np.cos(a * z) + 0.1 * x, x), None)  # noqa: E731
        return clew.scan(step, 0.5, length=4)[0]

    a = np.array([0.3, 0.6, 0.8])
    close(vmap(f)(a), [f(each) for each in a], 1e-12)
    close(vmap(grad(f))(a), [grad(f)(each) for each in a], 1e-11)


@pytest.mark.parametrize("transform", [clew.checkpoint, clew.composite])
def test_under_checkpoint_and_composite(transform):
    inner = transform(lambda a: root(lambda x: x * x - a, 1.0))
    close(grad(inner)(3.0), 0.5 / np.sqrt(3.0), 1e-13)
    close(grad(grad(inner))(3.0), -0.25 * 3.0**-1.5, 1e-12)
    outer = lambda a: root(lambda x: transform(lambda x: x * x)(x) - a, 1.0)  # noqa: E731
    close(grad(outer)(3.0), 0.5 / np.sqrt(3.0), 1e-13)
