from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import integrate
from clew.integrate import Event

FALL = np.array([2.0, 9.81, 0.8])  # height, gravity, restitution
END = 3.0


def bouncing(p, times, **settings):
    """A ball dropped from p[0]; each bounce keeps a share p[2] of its speed."""
    floor = Event(
        lambda t, s: s[0], direction=-1, jump=lambda t, s: np.stack([0.0 * s[0], -p[2] * s[1]])
    )
    slope = lambda t, s: np.stack([s[1], -p[1]])
    start = np.stack([p[0], 0.0])
    return integrate.solve_ode(slope, start, times, events=floor, **settings)


def bouncing_exactly(p, end):
    """Height and speed at the end, by the times of flight; and how many bounces."""
    height, gravity, kept = p[0], p[1], p[2]
    time = np.sqrt(2.0 * height / gravity)
    speed = kept * np.sqrt(2.0 * height * gravity)
    count = 1
    while time + 2.0 * speed / gravity < end:
        time = time + 2.0 * speed / gravity
        speed = kept * speed
        count += 1
    rest = end - time
    return speed * rest - 0.5 * gravity * rest * rest, speed - gravity * rest, count


def test_a_ball_after_three_bounces_and_its_gradient():
    found = bouncing(FALL, np.array([0.0, 1.0, END]))
    height, speed, count = bouncing_exactly(FALL, END)
    assert int(found.event_count) == count == 3
    np.testing.assert_allclose(found.states[-1], [height, speed], rtol=1e-11)
    for part in (0, 1):
        gradient = clew.grad(
            lambda p, part=part: bouncing(p, np.array([0.0, END])).states[-1, part]
        )
        exact = clew.grad(lambda p, part=part: bouncing_exactly(p, END)[part])(FALL)
        np.testing.assert_allclose(gradient(FALL), exact, rtol=1e-8)


@pytest.mark.parametrize("memory", [{"checkpoint": 2}, {"checkpoint": "auto"}], ids=str)
def test_the_same_from_snapshots(memory):
    f = lambda p, **settings: np.sum(bouncing(p, np.array([0.0, END]), **settings).states[-1])
    np.testing.assert_allclose(
        clew.grad(lambda p: f(p, **memory))(FALL), clew.grad(f)(FALL), rtol=1e-12
    )


def test_second_derivatives_after_the_event():
    f = lambda p: bouncing(p, np.array([0.0, 1.5])).states[-1, 0]
    g = lambda p: bouncing_exactly(p, 1.5)[0]
    np.testing.assert_allclose(clew.hessian(f)(FALL), clew.hessian(g)(FALL), rtol=1e-7)


def test_bounces_of_a_batch():
    balls = np.stack([FALL, FALL * [0.3, 1.0, 1.1], FALL * [2.0, 0.2, 1.0]])
    end = lambda p: bouncing(p, np.array([0.0, END])).states[-1, 0]
    exact = [clew.grad(lambda p: bouncing_exactly(p, END)[0])(p) for p in balls]
    np.testing.assert_allclose(clew.vmap(clew.grad(end))(balls), exact, rtol=1e-8)
    counts = clew.vmap(lambda p: bouncing(p, np.array([0.0, END])).event_count)(balls)
    assert counts.tolist() == [bouncing_exactly(p, END)[2] for p in balls]


def test_a_terminal_event_and_the_derivative_of_its_time():
    def landing(p):
        floor = Event(lambda t, s: s[1], direction=-1)
        slope = lambda t, s: np.stack([s[2], s[3], 0.0 * s[0], -p[1] + 0.0 * s[0]])
        start = np.stack([0.0 * p[0], 0.0 * p[0], p[0], p[0]])
        found = integrate.solve_ode(slope, start, np.array([0.0, 0.1, 9.0]), events=floor)
        return found.event_time, found.event_state[0], found.states[-1, 0], found.event_index

    p = np.array([7.0, 9.81])
    time, reach, last, index = landing(p)
    np.testing.assert_allclose([time, reach, last], [14.0 / 9.81, 98.0 / 9.81, 98.0 / 9.81])
    assert int(index) == 0
    np.testing.assert_allclose(
        clew.grad(lambda p: landing(p)[0])(p), [2.0 / 9.81, -14.0 / 9.81**2], rtol=1e-10
    )
    for part in (1, 2):
        gradient = clew.grad(lambda p, part=part: landing(p)[part])(p)
        np.testing.assert_allclose(gradient, [28.0 / 9.81, -98.0 / 9.81**2], rtol=1e-10)


def test_an_oscillator_where_the_crossing_is_no_polynomial():
    """x = cos(w t) reaches 0.3 at arccos(0.3) / w; tolerance decides the accuracy."""

    def crossing(w):
        level = Event(lambda t, s: s[0] - 0.3, direction=-1)
        slope = lambda t, s: np.stack([s[1], -w * w * s[0]])
        return integrate.solve_ode(
            slope, np.array([1.0, 0.0]), np.array([0.0, 5.0]), events=level, rtol=1e-11, atol=1e-13
        ).event_time

    time = np.arccos(0.3)
    np.testing.assert_allclose(crossing(1.7), time / 1.7, rtol=1e-9)
    np.testing.assert_allclose(clew.grad(crossing)(1.7), -time / 1.7**2, rtol=1e-8)
    np.testing.assert_allclose(clew.grad(clew.grad(crossing))(1.7), 2 * time / 1.7**3, rtol=1e-6)


@pytest.mark.parametrize(("direction", "quarter"), [(0, 1), (-1, 1), (1, 3)])
def test_directions(direction, quarter):
    zero = Event(lambda t, s: s[0], direction=direction)
    slope = lambda t, s: np.stack([s[1], -s[0]])
    found = integrate.solve_ode(
        slope, np.array([1.0, 0.0]), np.array([0.0, 10.0]), events=zero, rtol=1e-10
    )
    np.testing.assert_allclose(found.event_time, quarter * np.pi / 2.0, rtol=1e-8)


def test_the_first_of_several_events():
    events = [Event(lambda t, s: s - 3.0), Event(lambda t, s: s - 2.0), Event(lambda t, s: t - 9.0)]
    found = integrate.solve_ode(
        lambda t, s: 1.0 + 0.0 * s, 1.0, np.array([0.0, 10.0]), events=events
    )
    assert int(found.event_index) == 1
    np.testing.assert_allclose(found.event_time, 1.0)


def test_no_event():
    found = integrate.solve_ode(
        lambda t, s: -s, 1.0, np.array([0.0, 1.0]), events=Event(lambda t, s: s + 1.0)
    )
    assert int(found.event_index) == -1
    assert int(found.event_count) == 0
    np.testing.assert_allclose(found.states[-1], np.exp(-1.0), rtol=1e-5)


def test_backwards_in_time():
    found = integrate.solve_ode(
        lambda t, s: -s, 1.0, np.array([0.0, -5.0]), events=Event(lambda t, s: s - 2.0), rtol=1e-10
    )
    np.testing.assert_allclose(found.event_time, -np.log(2.0), rtol=1e-8)


def test_an_event_right_after_its_own_jump():
    """Bounces so quick that the next lies within the first step after the last."""
    found = bouncing(np.array([1e-3, 9.81, 0.9]), np.array([0.0, 0.1]), first_step=0.05)
    height, speed, count = bouncing_exactly(np.array([1e-3, 9.81, 0.9]), 0.1)
    assert int(found.event_count) == count
    np.testing.assert_allclose(found.states[-1], [height, speed], rtol=1e-8)


def test_bad_events():
    slope = lambda t, s: -s
    with pytest.raises(clew.InputError, match="direction=2"):
        Event(lambda t, s: s, direction=2)
    with pytest.raises(clew.InputError, match="events holds a function, not an Event"):
        integrate.solve_ode(slope, 1.0, [0.0, 1.0], events=lambda t, s: s)  # type: ignore[arg-type]
    with pytest.raises(clew.InputError, match="times are not all finite"):
        integrate.solve_ode(slope, 1.0, [0.0, np.nan])
    with pytest.raises(clew.ShapeError, match=r"Event: the function returned f64\[2\]"):
        integrate.solve_ode(slope, np.ones(2), np.array([0.0, 1.0]), events=Event(lambda t, s: s))
    jump = Event(lambda t, s: s[0] - 0.5, jump=lambda t, s: np.ones(3))
    with pytest.raises(clew.ShapeError, match="Event: the jump returned shapes"):
        integrate.solve_ode(slope, np.ones(2), np.array([0.0, 1.0]), events=jump)
