"""Integrate ordinary differential equations by fixed steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Array = Any


def runge_kutta(
    slope: Callable[[Array], Array], state: Array, duration: Array, steps: int
) -> list[Array]:
    """Return the states at the ends of equal steps, the classical method of order 4.

    Error per unit of time ``O(h^4)``. Source: Hairer, Norsett and Wanner, "Solving Ordinary
    Differential Equations I", II.1.

    Parameters
    ----------
    slope : callable
        ``slope(state)`` is the derivative by time.
    duration : float
        May be traced: the duration can be an unknown.

    >>> import numpy as np
    >>> states = runge_kutta(lambda y: -y, np.array([1.0]), 1.0, 20)
    >>> bool(abs(states[-1][0] - np.exp(-1.0)) < 1e-7)
    True
    """
    h = duration / steps
    states = [state]
    for _ in range(steps):
        k1 = slope(state)
        k2 = slope(state + 0.5 * h * k1)
        k3 = slope(state + 0.5 * h * k2)
        k4 = slope(state + h * k3)
        state = state + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        states.append(state)
    return states
