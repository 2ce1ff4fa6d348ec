"""Differential equations as loops: fixed and adaptive steps, dense output, events, adjoints."""

from clew.integrate.adaptive import Solution, solve_ode
from clew.integrate.events import Event
from clew.integrate.fixed import leapfrog, rk4

__all__ = ["Event", "Solution", "leapfrog", "rk4", "solve_ode"]
