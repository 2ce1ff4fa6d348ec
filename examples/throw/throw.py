"""Throw a tennis ball at a target 25 m away through air, by back-propagation through time.

For a quarter of a second a hand pushes the ball from rest, one push (two components) for each of 20
steps; then it flies. Gravity and quadratic drag act all along; the flight is as long as it takes.
Found are all 40 pushes and the time of flight: the least effort that hits.

Checks, none of which uses Clew's integrator or gradient:

1. The pushes found are handed to ``scipy.integrate.solve_ivp`` with a tolerance of 1e-11: the
   ball must arrive within 1 cm.
2. The gradients of effort and of where the ball ends, against extrapolated differences.
3. The least effort: pushes for a launch at any other angle, found by shooting, cost more.

The gradient of the height at the end is then followed back through time: what each step of drag and
each push contributes to it. Drag early in the flight lowers the end, drag on the way down holds the
ball up; their sum would tell neither. Held against the gradient of a model in which each step has
a drag of its own, and summed, against the whole gradient.

    python examples/throw/throw.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import clew
from clew import control
from clew.paths import Flow
from clew.testing import directional_difference

BALL = control.Ball(mass=0.058, diameter=0.067, drag_coefficient=0.55)
WEIGHT = np.array([0.0, -control.GRAVITY])
HAND = np.array([0.0, 1.5])
TARGET = np.array([25.0, 3.0])
PUSHES = 20
PUSH_TIME = 0.25
FLIGHT_STEPS = 80
TOLERANCE = 0.01
START = {"push": np.full((PUSHES, 2), 60.0), "flight": 1.5}
HERE = Path(__file__).resolve().parent


def slope(time: Any, state: Any, push: Any = 0.0, air: Any = 1.0) -> Any:
    """Return the rate of change of (position, velocity) under a push, m / s^2.

    ``air`` multiplies the drag.
    """
    velocity = state[2:]
    drag = BALL.acceleration(velocity) - WEIGHT
    return np.concatenate([velocity, WEIGHT + push + air * drag])


def trajectory(params: dict, air: Any = 1.0) -> Any:
    """Return position and velocity at all steps, shape (1 + PUSHES + FLIGHT_STEPS, 4)."""
    start = np.concatenate([HAND, np.zeros(2)])

    def pushed(time: Any, state: Any, push: Any) -> Any:
        return slope(time, state, push, air)

    def flying(time: Any, state: Any) -> Any:
        return slope(time, state, air=air)

    held = control.simulate(pushed, start, PUSH_TIME / PUSHES, controls=params["push"])
    flown = control.simulate(flying, held[-1], params["flight"] / FLIGHT_STEPS, FLIGHT_STEPS)
    return np.concatenate([held, flown[1:]])


def effort(params: dict) -> Any:
    """Return the mean squared push, in units of gravity squared."""
    return np.mean(np.sum((params["push"] / control.GRAVITY) ** 2, axis=1))


def miss(params: dict) -> Any:
    """Return where the ball ends relative to the target, m."""
    return trajectory(params)[-1, :2] - TARGET


def make_problem() -> clew.Problem:
    """Return the throw as a problem: least effort, no miss."""
    return clew.Problem(
        effort,
        START,
        bounds={"flight": (0.2, 5.0)},
        constraints=[clew.Constraint(miss, 0.0, 0.0, name="hits the target")],
        units={"push": "m/s^2", "flight": "s"},
        name="throw",
    )


def integrated(params: dict) -> np.ndarray:
    """Return the state at the end by SciPy's integrator, push by push and then the flight."""

    def rate(time: float, state: np.ndarray, push: np.ndarray) -> list[float]:
        speed = np.hypot(state[2], state[3])
        ahead = push[0] - BALL.drag * speed * state[2]
        upward = push[1] - BALL.drag * speed * state[3] - control.GRAVITY
        return [state[2], state[3], ahead, upward]

    state = np.array([*HAND, 0.0, 0.0])
    spans = [(PUSH_TIME / PUSHES, push) for push in np.asarray(params["push"])]
    for span, push in [*spans, (float(params["flight"]), np.zeros(2))]:
        run = solve_ivp(rate, (0, span), state, "DOP853", args=(push,), rtol=1e-11, atol=1e-11)
        state = run.y[:, -1]
    return state


def gradient_error(function: Any, params: dict) -> float:
    """Return how far a derivative along a random direction is from differences, relatively."""
    generator = np.random.default_rng(0)
    direction = {"push": generator.normal(size=(PUSHES, 2)), "flight": 0.1 * generator.normal()}
    slopes = clew.jacobian(function, mode="reverse")(params)
    found = np.tensordot(slopes["push"], direction["push"], 2)
    if not isinstance(slopes["flight"], clew.NoPath):
        found = found + slopes["flight"] * direction["flight"]
    expected = directional_difference(function, [params], [direction])[0]
    return float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))


def shooting_effort(angle: float) -> float:
    """Return the effort of a steady push at a given angle that hits, found by shooting."""
    forward = np.array([np.cos(angle), np.sin(angle)])

    def above(strength: float) -> float:
        push = np.tile(strength * forward, (PUSHES, 1))
        state = integrated({"push": push, "flight": 0.0})

        def beyond(time: float, y: np.ndarray) -> float:
            return y[0] - TARGET[0]

        def rate(time: float, y: np.ndarray) -> list[float]:
            drag = BALL.drag * np.hypot(y[2], y[3])
            return [y[2], y[3], -drag * y[2], -drag * y[3] - control.GRAVITY]

        beyond.terminal = True  # type: ignore[attr-defined]
        run = solve_ivp(rate, (0, 10), state, events=beyond, rtol=1e-8, atol=1e-8)
        return run.y[1, -1] - TARGET[1] if run.t_events[0].size else -1e3

    strength: Any = brentq(above, 30.0, 600.0, xtol=1e-6)
    return float(strength**2) / control.GRAVITY**2


def height(params: dict, air: Any = 1.0) -> Any:
    """Return how high the ball ends, m; ``air`` multiplies the drag of the whole way."""
    return trajectory(params, air)[-1, 1]


def height_by_step(params: dict, air: Any) -> Any:
    """Return the same with a factor of its own for the drag in each step, ``air`` (steps,)."""

    def pushed(time: Any, state: Any, at: dict) -> Any:
        return slope(time, state, at["push"], at["air"])

    def flying(time: Any, state: Any, air: Any) -> Any:
        return slope(time, state, air=air)

    start = np.concatenate([HAND, np.zeros(2)])
    controls = {"push": params["push"], "air": air[:PUSHES]}
    held = control.simulate(pushed, start, PUSH_TIME / PUSHES, controls=controls)
    step = params["flight"] / FLIGHT_STEPS
    return control.simulate(flying, held[-1], step, controls=air[PUSHES:])[-1, 1]


def through_time(params: dict) -> tuple[Flow, np.ndarray, np.ndarray]:
    """Return the paths of the height's gradient, and what drag and pushes add to it by step.

    Of the pushes, what one more unit of each would add, shape (PUSHES, 2).
    """
    flow = clew.flow(height, argnums=(0, 1), level=["step"])(params, 1.0)
    drag = np.array([use.contribution for use in flow.by_use("air")])
    push = np.array([use.contribution[use.steps[0]] for use in flow.by_use("params.push")])
    return flow, drag, push


def check_time(params: dict, drag: np.ndarray, push: np.ndarray) -> float:
    """Print what each tenth of the way contributes; return the largest relative error."""
    print("\nwhat raises the end, m: 1 % more drag; a push 1 m/s^2 harder upward, for one step")
    for first in range(0, PUSHES + FLIGHT_STEPS, 10):
        part = f"steps {first:2} to {first + 9:2}: {0.01 * drag[first : first + 10].sum():+9.5f}"
        last = f"{push[first : first + 10, 1].mean():+9.5f}" if first < PUSHES else ""
        print(f"  {part} {last}")
    by_params, by_air = clew.grad(height, argnums=(0, 1))(params, 1.0)
    apart = clew.grad(height_by_step, argnums=1)(params, np.ones(PUSHES + FLIGHT_STEPS))
    pairs = [(drag, apart), (drag.sum(), by_air), (push, by_params["push"])]
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)


def draw(params: dict, drag: np.ndarray, path: Path) -> None:
    """Draw the trajectory, the pushes, and what drag does to the height at the end."""
    from matplotlib.figure import Figure

    states = np.asarray(trajectory(params))
    push = np.asarray(params["push"])
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(2, 1, 1))
    left.plot(states[: PUSHES + 1, 0], states[: PUSHES + 1, 1], "C1", linewidth=3, label="pushed")
    left.plot(states[PUSHES:, 0], states[PUSHES:, 1], "C0", label="flying")
    left.plot(*TARGET, "rx", label="target")
    left.set(xlabel="m", ylabel="m", aspect="equal")
    left.legend()
    times = PUSH_TIME / PUSHES * np.arange(PUSHES)
    middle.step(times, push / control.GRAVITY, where="post", label=("ahead", "upward"))
    middle.set(xlabel="s", ylabel="push, units of gravity")
    middle.legend()
    after = PUSH_TIME + float(params["flight"]) / FLIGHT_STEPS * np.arange(FLIGHT_STEPS)
    right.plot(after, drag[PUSHES:], "C0")
    right.axhline(0.0, color="0.7", linewidth=0.8)
    right.set(xlabel="s", ylabel="m", title="drag by step: height at end")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Find the throw, then check it."""
    solution = clew.solve(make_problem(), "slsqp", steps=100)
    params = solution.params
    print(solution.status)
    states = np.asarray(trajectory(params))
    launch = states[PUSHES, 2:]
    angle = float(np.arctan2(launch[1], launch[0]))
    print(
        f"launch at {np.hypot(*launch):.2f} m/s, {np.degrees(angle):.1f} degrees; "
        f"flight {float(params['flight']):.3f} s; drag {BALL.drag:.4f} / m"
    )
    away = float(np.linalg.norm(integrated(params)[:2] - TARGET))
    print(f"SciPy's integrator: {away:.1e} m from the target")
    errors = {"effort": gradient_error(effort, params), "miss": gradient_error(miss, params)}
    for name, value in errors.items():
        print(f"gradient of {name} against differences: {value:.1e}")
    rough = {degrees: shooting_effort(np.radians(degrees)) for degrees in range(35, 66, 3)}
    best = min(rough, key=rough.__getitem__)
    print(f"effort {solution.loss:.3f}; best steady push, at {best} degrees: {rough[best]:.3f}")
    flow, drag, push = through_time(params)
    by_time = check_time(params, drag, push)
    print(f"\n{flow.vanishing()}\n")
    draw(params, drag, HERE / "out" / "throw.png")
    flow.report(HERE / "out" / "throw.html")
    print(f"picture: {HERE / 'out' / 'throw.png'}, report: {HERE / 'out' / 'throw.html'}")
    missed = [
        name
        for name, good in {
            "the target": away <= TOLERANCE,
            "gradients": max(errors.values()) <= 1e-7,
            "least effort": 0.9 * rough[best] < solution.loss <= rough[best],
            "convergence": solution.converged,
            "the gradient through time": by_time <= 1e-12,
        }.items()
        if not good
    ]
    print(f"MISSED: {', '.join(missed)}" if missed else "the ball hits, with the least effort")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
