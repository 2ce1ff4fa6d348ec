"""Every way in which a root can fail: the message, the user's line, the fix."""

import numpy as np
import pytest

import clew
from clew import grad, jvp, vmap
from clew.core.errors import RunError
from clew.implicit import root
from clew.implicit.sharpness import Inverse, is_sharp


@pytest.mark.parametrize(
    ("call", "kind", "message", "fix"),
    [
        (lambda: root(np.cos), clew.InputError, "no start= and no bracket=", "bracket=(a, b)"),
        (
            lambda: root(np.cos, 1.0, method="bracket"),
            clew.InputError,
            "bracket= is missing",
            "bracket=(a, b)",
        ),
        (lambda: root(np.cos, 1.0, method="brent"), clew.InputError, "method='brent'", "newton"),
        (
            lambda: root(np.cos, bracket=(np.zeros(2), np.ones(2))),
            clew.InputError,
            "bracket= is for one unknown, x has 2",
            "vmap",
        ),
        (
            lambda: root(lambda x: x * x + 1, bracket=(0.0, 2.0)),
            clew.InputError,
            r"bracket=\(0, 2\): the function has one sign at both ends, 1 and 5",
            "opposite signs",
        ),
        (
            lambda: root(lambda x: np.sqrt(x), bracket=(-1.0, 2.0)),
            RunError,
            "the function at the bracket is nan at iteration 0",
            "finite",
        ),
        (
            lambda: root(lambda x: x - 0.1, bracket=(0.0, 1.0), steps=2),
            RunError,
            "no convergence in 2 steps of bracketing: the bracket is still",
            "steps=",
        ),
        (
            lambda: root(lambda x: x**2 + 1, 2.0),
            RunError,
            r"newton is stuck at iteration \d+: .* lowers the residual of 1",
            "bracket=(a, b)",
        ),
        (
            lambda: root(np.exp, 2.0),
            RunError,
            "no convergence in 50 iterations of newton: the residual is",
            "multiple root",
        ),
        (
            lambda: root(lambda x: x**3 - 2, 100.0, steps=3),
            RunError,
            "no convergence in 3 iterations",
            "steps=",
        ),
        (lambda: root(np.log, -2.0), RunError, "the residual is nan at iteration 0", "finite"),
        (
            lambda: root(lambda x: 1 / x, 0.0),
            RunError,
            "the residual is inf at iteration 0",
            "finite",
        ),
        (
            lambda: root(lambda x: np.sqrt(x) - 1, 0.0),
            RunError,
            "the Jacobian is inf at iteration 1",
            "finite",
        ),
        (
            lambda: root(lambda x: np.ones(3) * x, 1.0),
            clew.ShapeError,
            "f returns 3 numbers for 1 unknowns",
            "one equation for each",
        ),
        (
            lambda: root(lambda x: np.sign(x), 1.0),
            clew.InputError,
            "f does not depend on x",
            "argument that f is given",
        ),
        (
            lambda: root(lambda x: x > 0, 1.0),
            clew.DtypeError,
            "has dtype bool",
            "floats",
        ),
        (
            lambda: root(lambda t: t["a"], {"a": np.ones(2, bool)}),
            clew.DtypeError,
            "a has dtype bool",
            "floats",
        ),
        (
            lambda: root(lambda x: x * x - 1 if x > 1.5 else x + 3, 3.0),
            clew.TraceError,
            "another Python branch during the iteration",
            "clew.cond",
        ),
    ],
)
def test_messages(call, kind, message, fix):
    with pytest.raises(kind, match=message) as caught:
        call()
    assert fix in caught.value.fix
    assert caught.value.where.file.endswith("test_root_errors.py")


def test_the_line_is_that_of_the_root_not_of_the_gradient():
    def inner(a):
        return root(lambda x: x * x + a, 1.0)

    with pytest.raises(RunError) as caught:
        grad(inner)(1.0)
    assert caught.value.where.line == inner.__code__.co_firstlineno + 1


def test_a_failing_example_is_named():
    with pytest.raises(RunError, match=r"newton is stuck at iteration \d+ \(example 2 of 3\)"):
        vmap(lambda a: root(lambda x: x * x - a, 1.0))(np.array([1.0, 2.0, -1.0]))
    with pytest.raises(clew.InputError, match=r"bracket=\(0, 2\) \(example 1 of 2\)"):
        vmap(lambda a: root(lambda x: x - a, bracket=(0.0, 2.0)))(np.array([1.0, 5.0]))


# --- singular Jacobians ------------------------------------------------------------------------


def dependent(a):
    """Two equations that say the same."""
    return root(lambda x: np.stack([x[0] + x[1] - a, 2 * x[0] + 2 * x[1] - 2 * a]), np.ones(2))


def test_dependent_equations_have_a_root_but_no_derivative():
    assert np.sum(dependent(0.3)) == pytest.approx(0.3, rel=1e-14)
    for derivative in (
        lambda: grad(lambda a: np.sum(dependent(a)))(0.3),
        lambda: jvp(dependent, (0.3,), (1.0,)),
    ):
        with pytest.raises(
            clew.DerivativeError,
            match=r"the Jacobian at the root is singular: 2 x 2, condition number \S*e\+1\d",
        ) as caught:
            derivative()
        assert "another root" in caught.value.fix
        assert caught.value.where.line == dependent.__code__.co_firstlineno + 2


@pytest.mark.parametrize("place", [0.0, 0.1, 1.0, 3.0, 7.7, 1e6])
@pytest.mark.parametrize("power", [2, 3, 4])
def test_multiple_roots_have_no_derivative(place, power):
    f = lambda a: root(lambda x: (x - place) ** power - a, place + 1.0, steps=200)  # noqa: E731
    assert f(0.0) == pytest.approx(place, rel=1e-6, abs=1e-6)
    with pytest.raises(clew.DerivativeError, match="singular"):
        grad(f)(0.0)


@pytest.mark.parametrize("place", [0.1, 1.0, 3.0, 7.7])
def test_double_roots_lost_in_rounding_have_no_derivative(place):
    def f(a):
        return root(lambda x: x * x - 2 * place * x + place**2 - a, 2 * place, steps=200)

    with pytest.raises(clew.DerivativeError, match="on no scale is the function linear"):
        grad(f)(0.0)


def test_a_line_that_touches_a_circle():
    def f(a):
        return root(lambda x: np.stack([x[0] ** 2 + x[1] ** 2 - 1, x[1] - a]), np.array([0.3, 1.2]))

    with pytest.raises(clew.DerivativeError, match="singular"):
        grad(lambda a: f(a)[0])(1.0)
    assert grad(lambda a: f(a)[0])(0.6) == pytest.approx(-0.75, rel=1e-11)


@pytest.mark.parametrize("a", [1e-2, 1e-6, 1e-10])
def test_roots_close_to_a_double_one_keep_their_derivative(a):
    f = lambda a: root(lambda x: (x - 1) ** 2 - a, 2.0)  # noqa: E731
    # x - 1 is known to eps / sqrt(a), relative.
    assert grad(f)(a) == pytest.approx(0.5 / np.sqrt(a), rel=1e-15 / np.sqrt(a))


@pytest.mark.parametrize("unit", [1e-30, 1e-12, 1.0, 1e12, 1e30])
def test_units_do_not_matter(unit):
    f = lambda a: root(lambda x: 1e7 * (np.tanh(x / unit) - a), 0.3 * unit)  # noqa: E731
    assert grad(f)(0.5) == pytest.approx(unit / 0.75, rel=1e-12)


def test_steep_functions_are_sharp_and_flat_ones_are_not():
    steep = clew.trace(lambda x: np.tanh((x - 1.0) / 1e-9))(np.ones(1))
    assert is_sharp(steep, [np.ones(1)], Inverse(np.full((1, 1, 1), 1e9)))[0]
    flat = clew.trace(lambda x: (x - 1.0) ** 3)(np.ones(1))
    near = 1.0 + 1e-7
    assert not is_sharp(flat, [np.array([near])], Inverse(np.full((1, 1, 1), 3e-14)))[0]


def test_sharpness_is_not_judged_outside_the_domain():
    only_at_zero = clew.trace(lambda x: np.where(x == 0.0, x, np.nan))(np.zeros(1))
    assert is_sharp(only_at_zero, [np.zeros(1)], Inverse(np.ones((1, 1, 1))))[0]


def test_a_function_with_no_slope_at_its_root():
    f = lambda a: root(lambda x: np.sqrt(x) - a, bracket=(0.0, 1.0))  # noqa: E731
    assert f(0.0) == 0.0
    with pytest.raises(clew.DerivativeError, match="the Jacobian at the root is not finite"):
        grad(f)(0.0)
    assert grad(f)(0.5) == pytest.approx(1.0, rel=1e-12)


def test_a_singular_jacobian_on_the_way_is_no_obstacle():
    # J = [[2 x0, 1], [1, x1]] is singular at the start.
    f = lambda x: np.stack([x[0] ** 2 + x[1] - 3, x[0] + 0.5 * x[1] ** 2 - 3])  # noqa: E731
    assert root(f, np.array([0.5, 1.0])) == pytest.approx([1.0, 2.0], rel=1e-14)


def test_a_step_of_nothing_is_no_root():
    # At 0 the Jacobian vanishes, and with it the step; the residual does not.
    with pytest.raises(RunError, match=r"newton is stuck at iteration 2: .* residual of 1"):
        root(lambda x: x * x + 1, 1.0)


def test_large_singular_systems_say_what_did_not_converge():
    n = 400

    def f(a):
        return root(lambda x: x - np.mean(x) - a * (np.arange(n) - (n - 1) / 2), np.zeros(n))

    with pytest.raises(RunError, match=r"gmres did not converge.*\(the Jacobian at the root\)"):
        grad(lambda a: np.sum(f(a) * np.ones(n)))(1.0)
