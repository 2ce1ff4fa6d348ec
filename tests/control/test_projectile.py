"""A ball in air against SciPy's integrator and what is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import clew
from clew import control
from clew.testing import check_derivatives

BALL = control.Ball(mass=0.145, diameter=0.0732, drag_coefficient=0.35)


def rate(time, state):
    velocity = state[2:]
    return np.concatenate([velocity, BALL.acceleration(velocity)])


def test_drag():
    # rho C A / (2 m) by hand
    assert BALL.drag == pytest.approx(1.204 * 0.35 * np.pi * 0.0366**2 / (2 * 0.145), rel=1e-12)


def test_terminal_speed():
    falling = np.array([0.0, -BALL.terminal_speed])
    np.testing.assert_allclose(BALL.acceleration(falling), 0.0, atol=1e-13)


def test_free_fall_in_closed_form():
    # v(t) = -v_t tanh(g t / v_t)
    start = np.zeros(4)
    end = control.simulate(rate, start, 0.01, 300)[-1]
    expected = -BALL.terminal_speed * np.tanh(control.GRAVITY * 3.0 / BALL.terminal_speed)
    assert float(end[3]) == pytest.approx(expected, rel=1e-9)


def test_flight_against_scipy():
    start = np.array([0.0, 1.0, 30.0, 20.0])
    run = solve_ivp(lambda t, s: rate(t, s), (0, 3), start, rtol=1e-11, atol=1e-11)
    end = control.simulate(rate, start, 0.01, 300)[-1]
    np.testing.assert_allclose(end, run.y[:, -1], rtol=1e-8)


def test_derivatives():
    velocity = np.array([[3.0, -4.0], [0.1, 7.0]])
    assert check_derivatives(BALL.acceleration, velocity, order=2).forward < 1e-7


def test_at_rest():
    slope = clew.jacobian(BALL.acceleration)(np.zeros(2))
    np.testing.assert_array_equal(slope, np.zeros((2, 2)))
    assert float(BALL.acceleration(np.zeros(3))[2]) == -control.GRAVITY
