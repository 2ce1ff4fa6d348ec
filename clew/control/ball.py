"""A ball thrown through air that resists and moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


def drag_acceleration(velocity: Array, factor: float) -> Array:
    """Return ``-k |v| v``, the acceleration by drag in m/s^2.

    ``k = rho c_d A / (2 m)`` in 1/m. Source: Batchelor, "An Introduction to Fluid Dynamics",
    section 5.11.

    >>> drag_acceleration(np.array([3.0, 1.0, 4.0]), 0.1).round(3)
    array([-1.53, -0.51, -2.04])
    """
    return -factor * np.sqrt(np.sum(velocity**2) + 1e-30) * velocity


@dataclass(frozen=True)
class Ball:
    """A ball under gravity, quadratic drag and wind.

    Parameters
    ----------
    drag : float
        ``rho c_d A / (2 m)``, 1/m.
    wind : array, shape (3,)
        m/s.
    gravity : float
        m/s^2, downward along the third axis.

    >>> Ball(0.0, np.zeros(3)).slope(np.array([0, 0, 0, 1.0, 2.0, 3.0]))[:3]
    array([1., 2., 3.])
    """

    drag: float
    wind: Any
    gravity: float = 9.81

    def slope(self, state: Array) -> Array:
        """Return the derivative of (position, velocity), shape (6,)."""
        velocity = state[3:]
        pull = np.array([0.0, 0.0, -self.gravity])
        return np.concatenate([velocity, drag_acceleration(velocity - self.wind, self.drag) + pull])
