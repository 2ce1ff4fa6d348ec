"""Simulation and control as forward models. No optimiser is imported here."""

from clew.control.integrate import euler_step, midpoint_step, runge_kutta_step, simulate
from clew.control.projectile import GRAVITY, Ball

__all__ = [
    "GRAVITY",
    "Ball",
    "euler_step",
    "midpoint_step",
    "runge_kutta_step",
    "simulate",
]
