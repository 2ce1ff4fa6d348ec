"""A step length that meets the strong Wolfe conditions.

Source: Nocedal and Wright, Numerical Optimization (2006), algorithms 3.5 and 3.6; near the
solution, where differences of the loss are rounding, the approximate Wolfe conditions of Hager and
Zhang, SIAM J. Optim. 16 (2005), which compare slopes only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

FALL = 1e-4  # the part of the slope's promise that a step must keep
FLATTER = 0.9  # the part of the slope that may be left
ROUNDING = 1e-14


class Trial(NamedTuple):
    """A point along the line: how far, the loss, its slope along the line, its gradient."""

    length: float
    loss: float
    slope: float
    gradient: np.ndarray

    @property
    def finite(self) -> bool:
        """Whether loss and slope are numbers."""
        return bool(np.isfinite(self.loss) and np.isfinite(self.slope))


def search(
    evaluate: Callable[[float], Trial], origin: Trial, first: float, longest: float
) -> Trial | None:
    """Return a trial that meets the conditions, or the best that lowers the loss, or None.

    Parameters
    ----------
    evaluate : callable
        Gives the trial at a length.
    origin : Trial
        The trial at length 0; its slope is negative.
    first, longest : float
        The length to try first, and the greatest allowed (a bound is met there).
    """
    best: Trial | None = None
    before = origin
    length = min(first, longest)
    for number in range(30):
        trial = evaluate(length)
        best = _better(best, trial, origin)
        if not trial.finite:
            return _zoom(evaluate, origin, before, trial, best)
        if not _falls(trial, origin) or (number > 0 and trial.loss >= before.loss):
            return _zoom(evaluate, origin, before, trial, best)
        if abs(trial.slope) <= -FLATTER * origin.slope:
            return trial
        if trial.slope >= 0:
            return _zoom(evaluate, origin, trial, before, best)
        if length >= longest:
            return trial
        before, length = trial, min(_beyond(before, trial), longest)
    return best


def _zoom(
    evaluate: Callable[[float], Trial], origin: Trial, good: Trial, bad: Trial, best: Trial | None
) -> Trial | None:
    """Narrow the interval between a good end and one that is too far."""
    for _ in range(50):
        width = abs(bad.length - good.length)
        if width <= 1e-16 * max(good.length, bad.length):
            break
        trial = evaluate(_between(good, bad))
        best = _better(best, trial, origin)
        if not trial.finite or not _falls(trial, origin) or trial.loss > good.loss:
            bad = trial
            continue
        if abs(trial.slope) <= -FLATTER * origin.slope:
            return trial
        if trial.slope * (bad.length - good.length) >= 0:
            bad = good
        good = trial
    return best


def _falls(trial: Trial, origin: Trial) -> bool:
    if trial.loss <= origin.loss + FALL * trial.length * origin.slope:
        return True
    level = abs(trial.loss - origin.loss) <= ROUNDING * abs(origin.loss)
    return level and trial.slope <= (2 * FALL - 1) * origin.slope


def _better(best: Trial | None, trial: Trial, origin: Trial) -> Trial | None:
    if not trial.finite or not trial.loss < origin.loss:
        return best
    return trial if best is None or trial.loss < best.loss else best


def _between(good: Trial, bad: Trial) -> float:
    """Return the minimum of the cubic through both ends, kept off the ends."""
    low, high = sorted((good.length, bad.length))
    width = high - low
    middle = low + width / 2
    if not bad.finite:
        return low + 0.1 * width if good.length == low else middle
    length = _cubic_minimum(good, bad)
    if length is None:
        return middle
    return float(np.clip(length, low + 0.1 * width, high - 0.1 * width))


def _beyond(before: Trial, trial: Trial) -> float:
    """Return a longer length, where the cubic says that the minimum is."""
    length = _cubic_minimum(before, trial)
    if length is None or length <= trial.length:
        return 4 * trial.length
    return float(np.clip(length, 1.5 * trial.length, 10 * trial.length))


def _cubic_minimum(a: Trial, b: Trial) -> float | None:
    # Nocedal and Wright (3.59), with the larger slope taken as 1 so that nothing overflows
    unit = max(abs(a.slope), abs(b.slope), abs(a.loss - b.loss) / abs(a.length - b.length))
    if not 0 < unit < np.inf:
        return None
    left, right = a.slope / unit, b.slope / unit
    gap = b.length - a.length
    first = left + right - 3 * ((a.loss - b.loss) / unit) / (a.length - b.length)
    inside = first**2 - left * right
    if inside < 0:
        return None
    second = np.sign(gap) * np.sqrt(inside)
    below = right - left + 2 * second
    if below == 0:
        return None
    return float(b.length - gap * (right + second - first) / below)
