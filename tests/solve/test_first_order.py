"""First-order methods: their rules against the papers' formulas, and their runs."""

from __future__ import annotations

import numpy as np
import pytest

from clew.solve import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Cosine,
    Exponential,
    FirstOrder,
    Momentum,
    NAdam,
    Nesterov,
    RMSProp,
    Staircase,
    Warmup,
)
from tests.solve.functions import Smooth, run

GOAL = np.array([1.0, -2.0, 0.5])
WIDTHS = np.array([1.0, 4.0, 0.5])


def bowl(**bounds: float) -> Smooth:
    return Smooth(
        lambda x: 0.5 * np.sum(WIDTHS * (x - GOAL) ** 2), lambda x: WIDTHS * (x - GOAL), 3, **bounds
    )


@pytest.mark.parametrize(
    "method",
    [
        SGD(learning_rate=0.2),
        Momentum(learning_rate=0.05),
        Nesterov(learning_rate=0.05),
        Adagrad(learning_rate=1.0),
        RMSProp(learning_rate=Exponential(0.05, 0.98)),
        Adam(learning_rate=Exponential(0.1, 0.99)),
        AdamW(learning_rate=Exponential(0.1, 0.99), weight_decay=0.0),
        NAdam(learning_rate=Exponential(0.1, 0.99)),
    ],
    ids=lambda method: method.name,
)
def test_the_minimum_is_found(method: FirstOrder) -> None:
    state = run(method, bowl(), np.zeros(3), 1500)
    np.testing.assert_allclose(state["x"], GOAL, rtol=1e-4)


def test_gradient_descent_by_hand() -> None:
    state = run(SGD(learning_rate=0.1), bowl(), np.zeros(3), 1)
    np.testing.assert_allclose(state["x"], 0.1 * WIDTHS * GOAL)


def _unrolled_adam(steps: int) -> np.ndarray:
    x, mean, squares = np.zeros(3), np.zeros(3), np.zeros(3)
    for t in range(1, steps + 1):
        gradient = WIDTHS * (x - GOAL)
        mean = 0.9 * mean + 0.1 * gradient
        squares = 0.999 * squares + 0.001 * gradient**2
        x = x - 0.1 * (mean / (1 - 0.9**t)) / (np.sqrt(squares / (1 - 0.999**t)) + 1e-8)
    return x


def test_adam_follows_algorithm_1_of_its_paper() -> None:
    state = run(Adam(learning_rate=0.1), bowl(), np.zeros(3), 25)
    np.testing.assert_allclose(state["x"], _unrolled_adam(25), rtol=1e-12)


def test_momentum_and_nesterov_by_hand() -> None:
    for cls, ahead in ((Momentum, False), (Nesterov, True)):
        x, velocity = np.zeros(3), np.zeros(3)
        for _ in range(10):
            gradient = WIDTHS * (x - GOAL)
            velocity = 0.9 * velocity + gradient
            x = x - 0.03 * (gradient + 0.9 * velocity if ahead else velocity)
        state = run(cls(learning_rate=0.03), bowl(), np.zeros(3), 10)
        np.testing.assert_allclose(state["x"], x, rtol=1e-12)


def test_weight_decay_is_apart_from_the_gradient() -> None:
    plain = run(Adam(learning_rate=0.1), bowl(), np.ones(3), 1)
    decayed = run(AdamW(learning_rate=0.1, weight_decay=0.5), bowl(), np.ones(3), 1)
    np.testing.assert_allclose(decayed["x"], plain["x"] - 0.1 * 0.5 * np.ones(3))


def test_projection_lets_a_parameter_leave_its_bound() -> None:
    state = run(Momentum(learning_rate=0.05), bowl(lower=0.0, upper=0.8), np.array([0.8, 0.8, 0.0]))
    np.testing.assert_allclose(state["x"], [0.8, 0.0, 0.5], atol=1e-6)
    assert state["stop"] == "gradient"


def test_long_gradients_are_shortened() -> None:
    state = run(SGD(learning_rate=1.0, longest_gradient=0.1), bowl(), np.zeros(3), 1)
    assert np.linalg.norm(state["x"]) == pytest.approx(0.1, rel=1e-12)


def test_divergence_stops_with_the_last_good_point() -> None:
    objective = Smooth(lambda x: float(np.log(x[0])) if x[0] > 0 else np.nan, lambda x: 1 / x, 1)
    state = run(SGD(learning_rate=10.0), objective, np.array([1.0]))
    assert state["stop"] == "not finite"


def test_schedules() -> None:
    cosine = Cosine(rate=0.2, steps=100, final=0.1)
    assert [cosine(0), cosine(100), cosine(500)] == pytest.approx([0.2, 0.1, 0.1])
    assert cosine(50) == pytest.approx(0.15)
    assert Exponential(1.0, 0.5, every=2)(4) == pytest.approx(0.25)
    assert [Staircase(1.0, 0.1, (3, 6))(step) for step in (2, 3, 6)] == pytest.approx(
        [1, 0.1, 0.01]
    )
    warm = Warmup(steps=5, then=Cosine(1.0, 10))
    assert [warm(0), warm(4), warm(15)] == pytest.approx([0.2, 1.0, 0.0])


def test_the_schedule_is_followed() -> None:
    state = run(SGD(learning_rate=lambda step: 0.1 if step == 0 else 0.0), bowl(), np.zeros(3), 5)
    np.testing.assert_allclose(state["x"], 0.1 * WIDTHS * GOAL)
