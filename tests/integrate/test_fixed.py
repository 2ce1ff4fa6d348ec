from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

import clew
from clew import integrate
from clew.testing import check_derivatives

MATRIX = np.array([[-0.3, 1.1], [-1.4, -0.2]])
START = np.array([1.0, -0.5])


def linear(t, y):
    return MATRIX @ y


def test_rk4_is_of_order_four():
    exact = expm(MATRIX * 2.0) @ START
    errors = [
        np.linalg.norm(integrate.rk4(linear, START, np.linspace(0.0, 2.0, n + 1))[-1] - exact)
        for n in (20, 40, 80)
    ]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 4.0, atol=0.15)


def test_steps_per_interval_are_the_same_steps():
    fine = integrate.rk4(linear, START, np.linspace(0.0, 2.0, 41))
    coarse = integrate.rk4(linear, START, np.linspace(0.0, 2.0, 11), steps_per_interval=4)
    np.testing.assert_allclose(coarse, fine[::4], rtol=1e-13)


def test_backwards_in_time_leads_back():
    there = integrate.rk4(linear, START, np.linspace(0.0, 1.0, 101))[-1]
    back = integrate.rk4(linear, there, np.linspace(1.0, 0.0, 101))[-1]
    np.testing.assert_allclose(back, START, rtol=1e-8)


@pytest.mark.parametrize("memory", [{}, {"checkpoint": 3}], ids=str)
def test_derivatives_in_parameters_start_and_times(memory):
    def f(p, y, times):
        slope = lambda t, s: {"x": s["v"], "v": -p * np.sin(s["x"]) + 0.1 * t}
        states = integrate.rk4(slope, {"x": y, "v": 0.3}, times, **memory)
        return states["x"][-1] + states["v"][2] ** 2

    check_derivatives(f, 1.3, 0.4, np.linspace(0.1, 1.0, 6), order=2)


def test_gradient_against_the_matrix_exponential():
    def f(y):
        return integrate.rk4(linear, y, np.linspace(0.0, 1.0, 401))[-1]

    np.testing.assert_allclose(clew.jacobian(f)(START), expm(MATRIX), rtol=1e-8)


def kepler(x):
    return -x / np.sum(x * x) ** 1.5


def test_leapfrog_keeps_energy_where_rk4_loses_it():
    x, v = np.array([1.0, 0.0]), np.array([0.0, 1.2])
    count, step = 4000, 0.2
    xs, vs = integrate.leapfrog(kepler, x, v, step, count)
    energy = 0.5 * np.sum(vs * vs, 1) - 1.0 / np.sqrt(np.sum(xs * xs, 1))
    drift = abs(np.mean(energy[-500:]) - np.mean(energy[:500]))
    slope = lambda t, s: np.concatenate([s[2:], kepler(s[:2])])
    times = np.arange(count + 1) * step
    states = integrate.rk4(slope, np.concatenate([x, v]), times)
    other = 0.5 * np.sum(states[:, 2:] ** 2, 1) - 1.0 / np.sqrt(np.sum(states[:, :2] ** 2, 1))
    assert drift < 0.1 * abs(other[-1] - other[0])


def test_leapfrog_is_reversible_and_of_order_two():
    x, v = np.array([1.0, 0.0]), np.array([0.0, 1.2])
    xs, vs = integrate.leapfrog(kepler, x, v, 0.01, 100)
    back, _ = integrate.leapfrog(kepler, xs[-1], -vs[-1], 0.01, 100)
    np.testing.assert_allclose(back[-1], x, rtol=1e-12, atol=1e-12)
    fine = integrate.leapfrog(kepler, x, v, 0.0005, 2000)[0][-1]
    errors = [
        np.linalg.norm(integrate.leapfrog(kepler, x, v, 1.0 / n, n)[0][-1] - fine) for n in (20, 40)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.1)


def test_leapfrog_derivatives():
    def f(x, v, step):
        xs, vs = integrate.leapfrog(lambda x: -np.sin(x), x, v, step, 20)
        return np.sum(xs[-1] * vs[-1])

    check_derivatives(f, np.array([0.3, 1.0]), np.array([0.1, -0.4]), 0.1, order=2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: integrate.rk4(linear, START, 3.0), "times has shape ()"),
        (lambda: integrate.rk4(linear, START, np.array([0.0])), "times has shape (1,)"),
        (lambda: integrate.rk4(linear, START, np.array([0.0, 2.0, 1.0])), "neither increase"),
        (lambda: integrate.rk4(linear, START, np.array([0.0, np.nan])), "not all finite"),
        (lambda: integrate.rk4(linear, {}, np.array([0.0, 1.0])), "holds no arrays"),
        (
            lambda: integrate.rk4(linear, START, np.array([0.0, 1.0]), steps_per_interval=0),
            "steps_per_interval=0",
        ),
        (lambda: integrate.leapfrog(kepler, START, START, 0.1, -1), "count=-1"),
        (lambda: integrate.leapfrog(kepler, START, np.ones(3), 0.1, 2), "differ in structure"),
        (
            lambda: integrate.rk4(lambda t, y: (y, y), START, np.array([0.0, 1.0])),
            "slope returned 2 arrays for a state of 1",
        ),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(clew.InputError) as caught:
        call()
    assert words in str(caught.value)


def test_a_slope_unlike_the_state():
    with pytest.raises(clew.ShapeError, match=r"the slope has shape \(3,\), the state \(2,\)"):
        integrate.rk4(lambda t, y: np.ones(3), START, np.array([0.0, 1.0]))
    with pytest.raises(clew.DtypeError, match="complex128, the state float64"):
        integrate.rk4(lambda t, y: 1j * y, START, np.array([0.0, 1.0]))
