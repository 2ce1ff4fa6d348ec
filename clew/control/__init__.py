"""Forward models of things that move."""

from clew.control.ball import Ball, drag_acceleration
from clew.control.integrate import runge_kutta

__all__ = ["Ball", "drag_acceleration", "runge_kutta"]
