"""Learning rates that change as the run goes on.

A learning rate is a number, a schedule from here, or any function of the step number (from 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LearningRate = float | Callable[[int], float]


@dataclass(frozen=True)
class Cosine:
    """Fall from ``rate`` to ``final`` along half a cosine over ``steps`` steps.

    >>> schedule = Cosine(rate=1.0, steps=10)
    >>> schedule(0), round(schedule(5), 12), schedule(10)
    (1.0, 0.5, 0.0)
    """

    rate: float
    steps: int
    final: float = 0.0

    def __call__(self, step: int) -> float:
        part = min(step / self.steps, 1.0)
        return self.final + (self.rate - self.final) * 0.5 * float(1 + np.cos(np.pi * part))


@dataclass(frozen=True)
class Exponential:
    """Multiply ``rate`` by ``factor`` every ``every`` steps, smoothly.

    >>> Exponential(rate=1.0, factor=0.5, every=10)(20)
    0.25
    """

    rate: float
    factor: float
    every: int = 1

    def __call__(self, step: int) -> float:
        return self.rate * self.factor ** (step / self.every)


@dataclass(frozen=True)
class Staircase:
    """Multiply ``rate`` by ``factor`` at each of the given steps.

    >>> Staircase(rate=1.0, factor=0.5, at=(10, 20))(15)
    0.5
    """

    rate: float
    factor: float
    at: tuple[int, ...]

    def __call__(self, step: int) -> float:
        return self.rate * self.factor ** sum(step >= each for each in self.at)


@dataclass(frozen=True)
class Warmup:
    """Rise in a line over the first ``steps`` steps, then follow another schedule.

    >>> Warmup(steps=4, then=1.0)(1)
    0.5
    """

    steps: int
    then: LearningRate

    def __call__(self, step: int) -> float:
        part = min((step + 1) / self.steps, 1.0)
        return part * rate_at(self.then, max(step - self.steps, 0))


def rate_at(learning_rate: LearningRate, step: int) -> float:
    """Return the learning rate at a step."""
    return float(learning_rate(step)) if callable(learning_rate) else float(learning_rate)
