"""Integrators: order of accuracy, trees, controls, gradients through time."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import control
from clew.core.errors import InputError
from clew.testing import check_derivatives

METHODS = {control.euler_step: 1, control.midpoint_step: 2, control.runge_kutta_step: 4}


def pendulum(time, state):
    angle, speed = state[0], state[1]
    return np.stack([speed, -np.sin(angle) + 0.1 * np.cos(3.0 * time)])


@pytest.mark.parametrize("method", METHODS, ids=lambda f: f.__name__)
def test_order_of_accuracy(method):
    start = np.array([1.0, 0.0])
    exact = control.simulate(pendulum, start, 2.0 / 2000, 2000)[-1]
    errors = [
        np.linalg.norm(control.simulate(pendulum, start, 2.0 / n, n, method=method)[-1] - exact)
        for n in (40, 80)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(METHODS[method], abs=0.2)


@pytest.mark.parametrize("method", METHODS, ids=lambda f: f.__name__)
def test_derivatives_through_time(method):
    def end(start, step):
        return control.simulate(pendulum, start, step, 10, time=0.3, method=method)[-1]

    assert check_derivatives(end, np.array([1.0, 0.2]), 0.05, order=2).forward < 1e-7


def test_linear_system_against_the_matrix_exponential():
    from scipy.linalg import expm

    matrix = np.array([[0.0, 1.0], [-2.0, -0.3]])
    start = np.array([1.0, -1.0])

    def end(start):
        return control.simulate(lambda t, s: matrix @ s, start, 0.005, 200)[-1]

    np.testing.assert_allclose(end(start), expm(matrix) @ start, rtol=1e-9)
    np.testing.assert_allclose(clew.jacobian(end)(start), expm(matrix), rtol=1e-8)


def test_states_may_be_trees_and_share_arrays():
    zero = np.zeros(2)
    start = {"position": zero, "velocity": zero}
    pull = np.array([0.0, -2.0])
    states = control.simulate(
        lambda t, s: {"position": s["velocity"], "velocity": pull}, start, 0.1, 10
    )
    assert states["position"].shape == (11, 2)
    np.testing.assert_allclose(states["position"][-1], 0.5 * pull, rtol=1e-13, atol=1e-15)


def test_controls_are_held_over_their_step():
    pushes = np.array([[1.0], [-2.0], [0.5]])
    states = control.simulate(lambda t, s, push: push, np.zeros(1), 0.1, controls=pushes)
    np.testing.assert_allclose(states[:, 0], [0.0, 0.1, -0.1, -0.05], atol=1e-15)
    slope = clew.grad(
        lambda c: control.simulate(lambda t, s, push: push, np.zeros(1), 0.1, controls=c)[-1, 0]
    )(pushes)
    np.testing.assert_allclose(slope, np.full((3, 1), 0.1), rtol=1e-14)


def test_equations_know_their_step():
    graph = clew.trace(lambda s: control.simulate(lambda t, s: -s, s, 0.1, 3))(np.ones(2))
    (loop,) = (e for e in graph.equations if e.primitive.name == "loop")
    assert {equation.scope for equation in loop.params["body"].equations} == {"step"}


def test_a_thousand_steps_are_one_equation():
    count = lambda n: len(clew.trace(lambda s: control.simulate(rate, s, 0.1, n))(1.0).equations)
    rate = lambda t, s: -s * np.sin(t)
    assert count(1000) == count(1)


def test_whole_numbers_to_start_with():
    states = control.simulate(lambda t, s: -s, np.array([1, 2]), 0.5, 2, method=control.euler_step)
    np.testing.assert_allclose(states, [[1.0, 2.0], [0.5, 1.0], [0.25, 0.5]])


@pytest.mark.parametrize(
    ("count", "controls"), [(None, None), (4, np.ones((3, 1))), (-1, None), (None, np.float64(1.0))]
)
def test_bad_step_counts(count, controls):
    with pytest.raises(InputError, match="simulate: count="):
        control.simulate(lambda t, s: s, np.ones(1), 0.1, count, controls)
