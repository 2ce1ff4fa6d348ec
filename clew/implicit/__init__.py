"""Functions defined by equations: roots, fixed points, minima, linear solves."""

from clew.implicit.argmin import argmin
from clew.implicit.fixed_point import fixed_point
from clew.implicit.linear import linear_solve
from clew.implicit.root import root

__all__ = ["argmin", "fixed_point", "linear_solve", "root"]
