"""Inverse and design problems: :class:`Problem` says what, :func:`solve` says how.

The two never know each other: a problem is a model, a start and a goal; a method sees only numbers.
"""

from clew.solve.checkpoint import ResumeError
from clew.solve.choice import METHODS
from clew.solve.combinations import Combination
from clew.solve.history import History
from clew.solve.methods.base import Method
from clew.solve.methods.constrained import SLSQP, TrustConstr
from clew.solve.methods.first_order import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    FirstOrder,
    Momentum,
    NAdam,
    Nesterov,
    RMSProp,
)
from clew.solve.methods.lbfgs import LBFGS
from clew.solve.methods.least_squares import GaussNewton, LevenbergMarquardt
from clew.solve.methods.multistart import MultiStart
from clew.solve.methods.newton import NewtonCG
from clew.solve.methods.schedules import Cosine, Exponential, Staircase, Warmup
from clew.solve.problem import Constraint, Problem
from clew.solve.robust import RobustLoss
from clew.solve.run import Step, solve
from clew.solve.solution import Solution
from clew.solve.status import Status
from clew.solve.uncertainty import Uncertainty

__all__ = [
    "LBFGS",
    "METHODS",
    "SGD",
    "SLSQP",
    "Adagrad",
    "Adam",
    "AdamW",
    "Combination",
    "Constraint",
    "Cosine",
    "Exponential",
    "FirstOrder",
    "GaussNewton",
    "History",
    "LevenbergMarquardt",
    "Method",
    "Momentum",
    "MultiStart",
    "NAdam",
    "Nesterov",
    "NewtonCG",
    "Problem",
    "RMSProp",
    "ResumeError",
    "RobustLoss",
    "Solution",
    "Staircase",
    "Status",
    "Step",
    "TrustConstr",
    "Uncertainty",
    "Warmup",
    "solve",
]
