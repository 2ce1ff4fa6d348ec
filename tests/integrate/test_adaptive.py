from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.special import ellipj, ellipk

import clew
from clew import integrate

MATRIX = np.array([[-0.3, 1.1], [-1.4, -0.2]])
START = np.array([1.0, -0.5])
TIGHT = {"rtol": 1e-11, "atol": 1e-13}


def linear(t, y):
    return MATRIX @ y


def volterra(t, y):
    return np.stack([y[0] * (1.1 - 0.4 * y[1]), y[1] * (0.1 * y[0] - 0.4)])


def test_a_pendulum_against_elliptic_functions():
    start = 2.0
    modulus = np.sin(start / 2.0) ** 2
    times = np.linspace(0.0, 20.0, 30)
    sn = ellipj(ellipk(modulus) - times, modulus)[0]
    exact = 2.0 * np.arcsin(np.sin(start / 2.0) * sn)
    slope = lambda t, s: np.stack([s[1], -np.sin(s[0])])
    found = integrate.solve_ode(slope, np.array([start, 0.0]), times, **TIGHT)
    np.testing.assert_allclose(found.states[:, 0], exact, atol=1e-9)


def test_against_scipy_at_the_same_tolerance():
    times = np.linspace(0.0, 30.0, 50)
    found = integrate.solve_ode(volterra, np.array([10.0, 5.0]), times, rtol=1e-6, atol=1e-9)
    reference = solve_ivp(volterra, (0, 30), [10.0, 5.0], "DOP853", times, rtol=1e-12, atol=1e-12)
    error = np.max(np.abs(found.states - reference.y.T))
    peer = solve_ivp(volterra, (0, 30), [10.0, 5.0], "RK45", times, rtol=1e-6, atol=1e-9)
    assert error < 3.0 * np.max(np.abs(peer.y - reference.y))
    assert found.accepted + found.rejected < 1.5 * peer.nfev / 6


@pytest.mark.parametrize(("rtol", "bound"), [(1e-4, 1e-3), (1e-7, 1e-6), (1e-10, 1e-9)])
def test_error_follows_the_tolerance(rtol, bound):
    exact = expm(MATRIX * 5.0) @ START
    found = integrate.solve_ode(linear, START, np.array([0.0, 5.0]), rtol=rtol, atol=rtol * 1e-2)
    assert np.max(np.abs(found.states[-1] - exact)) < bound


def test_output_times_do_not_shorten_steps():
    few = integrate.solve_ode(volterra, np.array([10.0, 5.0]), np.array([0.0, 20.0]))
    many = integrate.solve_ode(volterra, np.array([10.0, 5.0]), np.linspace(0.0, 20.0, 500))
    assert int(few.accepted) == int(many.accepted)
    assert int(few.rejected) == int(many.rejected)
    np.testing.assert_allclose(few.states[-1], many.states[-1], rtol=1e-12)
    reference = solve_ivp(
        volterra, (0, 20), [10.0, 5.0], "DOP853", many.times, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(many.states, reference.y.T, rtol=2e-4)  # tolerance 1e-6, growing


def test_backwards_in_time():
    there = integrate.solve_ode(linear, START, np.array([0.0, 2.0]), **TIGHT).states[-1]
    back = integrate.solve_ode(linear, there, np.array([2.0, 1.0, 0.0]), **TIGHT)
    np.testing.assert_allclose(back.states[-1], START, rtol=1e-9)
    np.testing.assert_allclose(back.states[1], expm(MATRIX) @ START, rtol=1e-9)


@pytest.mark.parametrize(
    ("gradient", "memory"),
    [("discrete", {}), ("discrete", {"checkpoint": 4}), ("adjoint", {})],
    ids=str,
)
def test_jacobians_against_the_matrix_exponential(gradient, memory):
    end = lambda y: integrate.solve_ode(
        linear, y, np.array([0.0, 1.0, 3.0]), gradient=gradient, **TIGHT, **memory
    ).states[-1]
    np.testing.assert_allclose(
        clew.jacobian(end, mode="reverse")(START), expm(3 * MATRIX), rtol=1e-8
    )


def everything(p, y, times, gradient):
    """A loss of all outputs, in parameters, start and times."""
    slope = lambda t, s: {"a": p[0] * s["b"], "b": -p[1] * np.sin(s["a"]) + 0.2 * np.cos(t)}
    found = integrate.solve_ode(slope, {"a": y, "b": 0.5}, times, gradient=gradient, **TIGHT)
    return np.sum(found.states["a"] ** 2) + found.states["b"][-1]


def test_adjoint_and_discrete_gradients_agree():
    arguments = np.array([0.9, 1.4]), 0.7, np.array([0.2, 0.9, 1.7, 3.0])
    both = [
        clew.grad(lambda *a, kind=kind: everything(*a, kind), argnums=(0, 1, 2))(*arguments)
        for kind in ("discrete", "adjoint")
    ]
    for one, other in zip(*both, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7)  # the tolerance of the integrations


@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
def test_gradients_against_differences(gradient):
    p, y, times = np.array([0.9, 1.4]), 0.7, np.array([0.2, 0.9, 1.7])
    f = lambda y: everything(p, y, times, gradient)
    h = 1e-4
    slope = (8 * (f(y + h) - f(y - h)) - (f(y + 2 * h) - f(y - 2 * h))) / (12 * h)
    np.testing.assert_allclose(clew.grad(f)(y), slope, rtol=1e-7)


def test_adjoint_backwards_in_time():
    f = lambda y, kind: np.sum(
        integrate.solve_ode(linear, y, np.array([2.0, 1.0, 0.0]), gradient=kind, **TIGHT).states[1:]
    )
    one, other = (clew.grad(lambda y, k=k: f(y, k))(START) for k in ("discrete", "adjoint"))
    np.testing.assert_allclose(one, other, rtol=1e-8)


def test_second_derivatives():
    end = lambda k: integrate.solve_ode(
        lambda t, y: -k * y * y, 1.0, np.array([0.0, 2.0]), **TIGHT
    ).states[-1]
    # y = 1 / (1 + 2 k)
    k = 0.7
    np.testing.assert_allclose(clew.grad(end)(k), -2.0 / (1 + 2 * k) ** 2, rtol=1e-9)
    np.testing.assert_allclose(clew.grad(clew.grad(end))(k), 8.0 / (1 + 2 * k) ** 3, rtol=1e-8)
    forward = clew.jvp(clew.grad(end), (k,), (1.0,))[1]
    np.testing.assert_allclose(forward, 8.0 / (1 + 2 * k) ** 3, rtol=1e-8)


def test_a_batch_takes_as_many_steps_as_each_needs():
    ks = np.array([0.1, 1.0, 30.0])
    solve = lambda k: integrate.solve_ode(lambda t, y: -k * y, 1.0, np.array([0.0, 1.0]))
    found = clew.vmap(solve)(ks)
    single = [solve(k) for k in ks]
    assert found.accepted.tolist() == [int(each.accepted) for each in single]
    np.testing.assert_allclose(found.states[:, -1], [s.states[-1] for s in single], rtol=1e-12)
    slopes = clew.vmap(clew.grad(lambda k: solve(k).states[-1]))(ks)
    np.testing.assert_allclose(slopes, -np.exp(-ks), rtol=1e-4, atol=1e-7)


def test_in_a_loop():
    def f(k):
        def step(y, t):
            times = np.stack([t, t + 0.5])
            return integrate.solve_ode(lambda t, y: -k * y, y, times, **TIGHT).states[-1], None

        return clew.scan(step, 1.0, np.array([0.0, 0.5, 1.0]))[0]

    np.testing.assert_allclose(clew.grad(f)(0.8), -1.5 * np.exp(-1.2), rtol=1e-9)


# --- what goes wrong -----------------------------------------------------------------------------


def raised(error, call):
    with pytest.raises(error) as caught:
        call()
    assert "test_adaptive.py" in str(caught.value)
    return str(caught.value)


def test_a_singularity_underflows_the_step():
    blow_up = lambda: integrate.solve_ode(lambda t, y: y * y, 1.0, np.array([0.0, 2.0]))
    text = raised(clew.RunError, blow_up)
    assert "the step became too small at time 1.0" in text or "not finite near time 1.0" in text


def test_a_slope_that_is_not_finite():
    slope = lambda t, y: np.where(t > 0.5, np.nan, 1.0) * y
    text = raised(clew.RunError, lambda: integrate.solve_ode(slope, 1.0, np.array([0.0, 1.0])))
    assert "not finite near time" in text
    assert "explain_nan" in text


def test_too_many_steps():
    text = raised(
        clew.RunError,
        lambda: clew.grad(
            lambda k: integrate.solve_ode(
                lambda t, y: -k * y, 1.0, np.array([0.0, 100.0]), max_steps=20
            ).states[-1]
        )(50.0),
    )
    assert "20 steps did not reach the next time" in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rtol": 0.0}, "rtol=0.0"),
        ({"atol": -1.0}, "atol=-1.0"),
        ({"max_steps": 0}, "max_steps=0"),
        ({"gradient": "magic"}, "gradient='magic'"),
        (
            {"gradient": "adjoint", "events": integrate.Event(lambda t, y: y)},
            "'adjoint' with events",
        ),
    ],
)
def test_bad_settings(settings, words):
    call = lambda: integrate.solve_ode(lambda t, y: -y, 1.0, np.array([0.0, 1.0]), **settings)
    assert words in raised(clew.InputError, call)


@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
def test_single_precision_states_stay_so(gradient):
    def late(rate, start=1.0, times=(0.0, 0.5, 1.0)):
        state = {"x": np.full(2, start, np.float32), "y": 1.0}
        slope = lambda t, s: {"x": -rate * s["x"], "y": -rate * s["y"]}
        return integrate.solve_ode(slope, state, np.array(times), gradient=gradient).states

    found = late(1.3)
    assert (found["x"].dtype, found["y"].dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(found["x"][-1], np.exp(-1.3), rtol=1e-5)
    rate = np.float32(1.3)
    slope = clew.grad(lambda rate: np.sum(late(rate)["x"][-1]))(rate)
    assert slope.dtype == np.float32
    np.testing.assert_allclose(slope, -2.0 * np.exp(-1.3), rtol=1e-4)


def test_single_precision_with_times_alike_and_events():
    times = np.array([0.0, 2.0], np.float32)
    half = integrate.Event(lambda t, y: y - 0.5, direction=-1)
    found = integrate.solve_ode(lambda t, y: -y, np.float32(1.0), times, events=half)
    assert found.states.dtype == np.float32
    np.testing.assert_allclose(found.event_time, np.log(2.0), rtol=1e-5)


@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
def test_complex_states(gradient):
    turn = lambda w, start: integrate.solve_ode(
        lambda t, y: 1j * w * y, start, np.array([0.0, 0.4, 1.0]), gradient=gradient, **TIGHT
    ).states[-1]
    in_rate = clew.grad(lambda w: np.real(turn(w, 1.0 + 0.0j)))(1.3)
    np.testing.assert_allclose(in_rate, -np.sin(1.3), rtol=1e-8)
    in_start = clew.grad(lambda z: np.real(turn(1.3, z)))(0.2 - 0.5j)
    np.testing.assert_allclose(in_start, np.exp(1.3j), rtol=1e-8)


def test_forward_mode_through_the_adjoint_is_refused():
    late = lambda k: integrate.solve_ode(
        lambda t, y: -k * y, 1.0, np.array([0.0, 1.0]), gradient="adjoint"
    ).states[-1]
    with pytest.raises(clew.DerivativeError, match="gradient='discrete'"):
        clew.jvp(late, (1.3,), (1.0,))


def test_a_slope_that_is_not_finite_at_the_start():
    text = raised(
        clew.RunError,
        lambda: integrate.solve_ode(lambda t, y: np.log(y - 2.0), 1.0, np.array([0.0, 1.0])),
    )
    assert "not finite near time 0.0" in text


def test_times_in_a_list():
    end = lambda time: integrate.solve_ode(lambda t, y: -y, 1.0, [0.0, time], **TIGHT).states[-1]
    np.testing.assert_allclose(end(1.5), np.exp(-1.5), rtol=1e-9)
    np.testing.assert_allclose(clew.grad(end)(1.5), -np.exp(-1.5), rtol=1e-8)
    np.testing.assert_allclose(integrate.rk4(lambda t, y: 1.0 + 0.0 * y, 1, [0, 2.5])[-1], 3.5)
