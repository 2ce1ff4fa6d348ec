"""Bodies thrown through air."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
GRAVITY = 9.80665
"""Standard gravity, m / s^2 (CGPM 1901)."""


@dataclass(frozen=True)
class Ball:
    """A ball in still air, with drag proportional to the square of its speed.

    Parameters
    ----------
    mass : float
        kg.
    diameter : float
        m.
    drag_coefficient : float
        Of a sphere: about 0.47 at Reynolds numbers from 10^4 to 2 10^5.
    air_density : float
        kg / m^3; 1.204 at 20 degrees Celsius and sea level.

    >>> tennis = Ball(mass=0.058, diameter=0.067, drag_coefficient=0.55)
    >>> round(tennis.drag, 5), round(tennis.terminal_speed, 2)
    (0.02013, 22.07)
    """

    mass: float
    diameter: float
    drag_coefficient: float = 0.47
    air_density: float = 1.204

    @property
    def drag(self) -> float:
        """The deceleration per squared speed, ``rho C A / (2 m)``, 1 / m."""
        area = 0.25 * np.pi * self.diameter**2
        return float(0.5 * self.air_density * self.drag_coefficient * area / self.mass)

    @property
    def terminal_speed(self) -> float:
        """The speed at which drag carries the weight, m / s."""
        return float(np.sqrt(GRAVITY / self.drag))

    def acceleration(self, velocity: Array) -> Array:
        """Return gravity and drag, ``-g e - k |v| v``, with the last axis of v pointing up.

        Its derivative at rest is zero, as that of ``|v| v`` is.

        Parameters
        ----------
        velocity : array (..., dimensions)
            m / s.

        >>> Ball(0.058, 0.067).acceleration(np.zeros(2))
        array([ 0.     , -9.80665])
        """
        squared = np.sum(velocity * velocity, axis=-1, keepdims=True)
        moving = squared > 0.0
        speed = np.where(moving, np.sqrt(np.where(moving, squared, 1.0)), 0.0)
        down = np.zeros(velocity.shape[-1])
        down[-1] = -GRAVITY
        return down - self.drag * speed * velocity
