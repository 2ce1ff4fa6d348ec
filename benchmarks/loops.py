"""Gradient of a long simulation: time against the forward run, memory against the prediction."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

REPEATS = 5
STEPS = (10_000, 100_000, 1_000_000)
POLICIES = {
    "auto (64 MiB)": {"checkpoint": "auto"},
    "auto (1 MiB)": {"checkpoint": "auto", "memory": 2**20},
    "100 snapshots": {"checkpoint": 100},
}
START = np.array([9.81, 1.0, 0.0])


def pendulum(parameters: Any, steps: int, **memory: Any) -> Any:
    """Energy-like measure of a pendulum's last state: gravity, first angle, first speed."""
    import clew

    gravity, angle, speed = parameters[0], parameters[1], parameters[2]

    def step(carry: Any, _: Any) -> Any:
        angle, speed = carry
        speed = speed - 1e-3 * gravity * np.sin(angle)
        return (angle + 1e-3 * speed, speed), None

    (angle, speed), _ = clew.scan(step, (angle, speed), length=steps, **memory)
    return angle * angle + speed


def seconds_of(function: Callable[[], Any]) -> float:
    """Return the median time of a call."""
    function()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def peak_of(function: Callable[[], Any]) -> int:
    """Return the bytes allocated at once during a call."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    function()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak


def by_hand(steps: int) -> np.ndarray:
    """Return the gradient by the hand-written adjoint of the same steps."""
    gravity, angle, speed = (float(x) for x in START)
    angles = []
    for _ in range(steps):
        angles.append(angle)
        speed -= 1e-3 * gravity * np.sin(angle)
        angle += 1e-3 * speed
    to_angle, to_speed, to_gravity = 2.0 * angle, 1.0, 0.0
    for angle in reversed(angles):
        to_speed += 1e-3 * to_angle
        to_gravity -= 1e-3 * np.sin(angle) * to_speed
        to_angle -= 1e-3 * gravity * np.cos(angle) * to_speed
    return np.array([to_gravity, to_angle, to_speed])


def measure() -> list[dict[str, Any]]:
    """Return a row for every length and policy; the gradient is checked first."""
    import clew

    rows = []
    for steps in STEPS:
        expected = by_hand(steps)
        for name, memory in POLICIES.items():

            def loss(x: Any, steps: int = steps, memory: Any = memory) -> Any:
                return pendulum(x, steps, **memory)

            gradient = clew.grad(loss)
            np.testing.assert_allclose(gradient(START), expected, rtol=1e-8)
            forward = seconds_of(lambda loss=loss: loss(START))
            backward = seconds_of(lambda gradient=gradient: gradient(START))
            predicted = clew.cost(loss)(START).gradient
            assert predicted is not None
            rows.append(
                {
                    "steps": steps,
                    "policy": name,
                    "forward": forward,
                    "gradient": backward,
                    "ratio": backward / forward,
                    "predicted": predicted.peak,
                    "peak": peak_of(lambda gradient=gradient: gradient(START)),
                }
            )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as text."""
    lines = [
        f"{'pendulum, steps':>16} {'policy':14}{'forward':>10}{'gradient':>10}{'ratio':>7}"
        f"{'peak':>12}{'predicted':>12}"
    ]
    lines += [
        f"{row['steps']:16,} {row['policy']:14}{row['forward']:9.3f}s{row['gradient']:9.3f}s"
        f"{row['ratio']:7.2f}{row['peak'] / 1e6:9.2f} MB{row['predicted'] / 1e6:9.2f} MB"
        for row in rows
    ]
    return "\n".join(lines)
