"""The strong Wolfe conditions hold where the search says that it ended."""

from __future__ import annotations

import numpy as np
import pytest

from clew.solve.methods.line_search import FALL, FLATTER, Trial, search


def _along(function, slope):
    def evaluate(length: float) -> Trial:
        return Trial(length, function(length), slope(length), np.zeros(1))

    return evaluate


# the test functions of Moré and Thuente, ACM TOMS 20 (1994), (5.1) and (5.2)
FUNCTIONS = [
    (lambda t: -t / (t**2 + 2), lambda t: (t**2 - 2) / (t**2 + 2) ** 2),
    (
        lambda t: (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4,
        lambda t: 5 * (t + 0.004) ** 4 - 8 * (t + 0.004) ** 3,
    ),
    (lambda t: (t - 3) ** 2, lambda t: 2 * (t - 3)),
    (lambda t: np.cosh(t - 0.01), lambda t: np.sinh(t - 0.01)),
]


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
@pytest.mark.parametrize("first", [1e-3, 0.1, 10.0, 1e3])
def test_the_conditions_hold(number: int, first: float) -> None:
    function, slope = FUNCTIONS[number]
    with np.errstate(over="ignore"):
        evaluate = _along(function, slope)
        origin = evaluate(0.0)
        trial = search(evaluate, origin, min(first, 500.0), 1e20)
    assert trial is not None
    assert trial.loss <= origin.loss + FALL * trial.length * origin.slope
    assert abs(trial.slope) <= FLATTER * abs(origin.slope)


def test_the_longest_step_is_not_passed() -> None:
    function, slope = FUNCTIONS[2]
    evaluate = _along(function, slope)
    trial = search(evaluate, evaluate(0.0), 0.5, 1.0)
    assert trial is not None
    assert trial.length <= 1.0


def test_a_line_without_a_fall_gives_nothing() -> None:
    evaluate = _along(lambda t: abs(t), lambda t: -1.0)  # the slope lies
    assert search(evaluate, evaluate(0.0), 1.0, 1e20) is None
