"""A ball with drag and thrust, 1000 steps: the gradient in all 2000 controls.

Semi-implicit Euler: the velocity first, then the position with the new velocity. The loss is the
squared distance to a target and a small cost of the controls.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

import clew
from benchmarks.measure import Aim, Side, Work
from benchmarks.peers import compile_c, jax_side, load, load_jax, load_torch, pointers, torch_side

STEP = 2e-3
DRAG = 0.02
COST = 1e-4
GRAVITY = np.array([0.0, -9.80665])
START = np.array([0.0, 1.5])
SPEED = np.array([8.0, 6.0])
TARGET = np.array([25.0, 3.0])


def example(steps: int) -> np.ndarray:
    """Return controls (steps, 2), m / s^2."""
    return np.random.default_rng(0).normal(size=(steps, 2)) + np.array([3.0, 8.0])


def loss(controls: Any) -> Any:
    """Return squared distance to the target at the end, and the cost of the controls."""

    def step(state: Any, control: Any) -> tuple[Any, None]:
        position, velocity = state
        speed = np.sqrt(np.sum(velocity * velocity))
        velocity = velocity + STEP * (control + GRAVITY - DRAG * speed * velocity)
        return (position + STEP * velocity, velocity), None

    (position, _), _ = clew.scan(step, (START, SPEED), controls)
    return np.sum((position - TARGET) ** 2) + COST * np.sum(controls * controls)


def ours(controls: np.ndarray) -> Side:
    """Return Clew's side."""
    function = clew.jit(clew.value_and_grad(loss))
    return Side(lambda: function(controls))


# --- peers -----------------------------------------------------------------------------------


def with_jax(controls: np.ndarray) -> Side:
    """Return JAX's: ``lax.scan``, compiled."""
    jax = load_jax()
    jnp = jax.numpy

    def loss(controls: Any) -> Any:
        def step(state: Any, control: Any) -> tuple[Any, None]:
            position, velocity = state
            speed = jnp.sqrt(jnp.sum(velocity * velocity))
            velocity = velocity + STEP * (control + GRAVITY - DRAG * speed * velocity)
            return (position + STEP * velocity, velocity), None

        start = (jnp.asarray(START), jnp.asarray(SPEED))
        (position, _), _ = jax.lax.scan(step, start, controls)
        return jnp.sum((position - TARGET) ** 2) + COST * jnp.sum(controls * controls)

    return jax_side(jax.value_and_grad(loss), controls)


def with_casadi(controls: np.ndarray) -> Side:
    """Return CasADi's: an SX step, accumulated by ``mapaccum``, its gradient a Function."""
    casadi = load("casadi")
    state, control = casadi.SX.sym("state", 4), casadi.SX.sym("control", 2)
    velocity = state[2:]
    speed = casadi.sqrt(casadi.sumsqr(velocity))
    after = velocity + STEP * (control + GRAVITY - DRAG * speed * velocity)
    moved = casadi.vertcat(state[:2] + STEP * after, after)
    step = casadi.Function("step", [state, control], [moved])
    steps = len(controls)
    row = casadi.MX.sym("controls", 2, steps)
    states = step.mapaccum(steps)(casadi.DM([*START, *SPEED]), row)
    value = casadi.sumsqr(states[:2, -1] - TARGET) + COST * casadi.sumsqr(row)
    function = casadi.Function("gradient", [row], [value, casadi.gradient(value, row)])
    held = casadi.DM(controls.T)

    def outputs(result: Any) -> Any:
        return float(result[0]), np.array(result[1]).T

    return Side(lambda: function(held), outputs)


def with_torch(controls: np.ndarray) -> Side:
    """Return PyTorch's, eager."""
    torch = load_torch()
    first, launched, gravity, target = map(torch.tensor, (START, SPEED, GRAVITY, TARGET))

    def loss(params: Any) -> Any:
        controls = params[0]
        position, velocity = first, launched
        for control in controls.unbind():
            speed = (velocity * velocity).sum().sqrt()
            velocity = velocity + STEP * (control + gravity - DRAG * speed * velocity)
            position = position + STEP * velocity
        return ((position - target) ** 2).sum() + COST * (controls * controls).sum()

    return torch_side(loss, [controls])


def with_pytensor(controls: np.ndarray) -> Side:
    """Return PyTensor's: ``scan``, in its default mode."""
    pytensor = load("pytensor")
    tensor = load("pytensor.tensor")

    def step(control: Any, position: Any, velocity: Any) -> tuple[Any, Any]:
        speed = tensor.sqrt(tensor.sum(velocity * velocity))
        velocity = velocity + STEP * (control + GRAVITY - DRAG * speed * velocity)
        return position + STEP * velocity, velocity

    rows = tensor.matrix("controls", dtype="float64")
    start = [tensor.as_tensor(START), tensor.as_tensor(SPEED)]
    positions, _ = pytensor.scan(step, sequences=[rows], outputs_info=start, return_updates=False)
    value = tensor.sum((positions[-1] - TARGET) ** 2) + COST * tensor.sum(rows * rows)
    slope = pytensor.grad(value, rows)
    function = pytensor.function([rows], [value, slope], trust_input=True)
    return Side(lambda: function(controls))


ADJOINT = """
#include <math.h>
double gradient(long steps, const double *u, const double *c, double *saved, double *g) {
    const double h = c[0], drag = c[1], cost = c[2], gx = c[3], gy = c[4];
    double x = c[5], y = c[6], vx = c[7], vy = c[8], total = 0.0;
    for (long i = 0; i < steps; i++) {
        double s = sqrt(vx * vx + vy * vy);
        saved[3 * i] = vx; saved[3 * i + 1] = vy; saved[3 * i + 2] = s;
        vx += h * (u[2 * i] + gx - drag * s * vx);
        vy += h * (u[2 * i + 1] + gy - drag * s * vy);
        x += h * vx; y += h * vy;
        total += u[2 * i] * u[2 * i] + u[2 * i + 1] * u[2 * i + 1];
    }
    double dx = x - c[9], dy = y - c[10];
    double px = 2.0 * dx, py = 2.0 * dy, ax = 0.0, ay = 0.0;
    for (long i = steps - 1; i >= 0; i--) {
        double wx = saved[3 * i], wy = saved[3 * i + 1], s = saved[3 * i + 2];
        ax += h * px; ay += h * py;
        g[2 * i] = h * ax + 2.0 * cost * u[2 * i];
        g[2 * i + 1] = h * ay + 2.0 * cost * u[2 * i + 1];
        double k = h * drag, r = s > 0.0 ? k / s : 0.0, along = r * (ax * wx + ay * wy);
        ax -= k * s * ax + along * wx;
        ay -= k * s * ay + along * wy;
    }
    return dx * dx + dy * dy + cost * total;
}
"""


def with_c(controls: np.ndarray) -> Side:
    """Return the adjoint written by hand in C."""
    library = compile_c(ADJOINT)
    library.gradient.restype = ctypes.c_double
    steps = len(controls)
    constants = np.array([STEP, DRAG, COST, *GRAVITY, *START, *SPEED, *TARGET])
    controls, saved, slope = controls.copy(), np.empty((steps, 3)), np.empty((steps, 2))
    places = pointers(controls, constants, saved, slope)
    count = ctypes.c_long(steps)

    def run() -> Any:
        return library.gradient(count, *places)

    def outputs(result: Any) -> Any:
        return result, slope

    return Side(run, outputs)


def work(steps: int = 1000) -> Work:
    """Return the work for this many steps."""
    controls = example(steps)
    return Work(
        "throw",
        f"throw, {steps} steps, f64",
        lambda: ours(controls),
        {
            "JAX": lambda: with_jax(controls),
            "C by hand": lambda: with_c(controls),
            "CasADi": lambda: with_casadi(controls),
            "PyTensor": lambda: with_pytensor(controls),
            "PyTorch": lambda: with_torch(controls),
        },
        (Aim(4.0, ("JAX",)), Aim(1.0 / 1.2, ("C by hand",))),
        tolerance=1e-10,
        differentiated=lambda: (loss, (controls,)),
    )


WORKS = {"throw": work}
