"""Clew: write the forward process in NumPy; find its causes; see how the gradient got back."""

from clew import integrate, numpy, random, testing
from clew.batch import vmap
from clew.calculus import (
    NoPath,
    composite,
    custom_rule,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    linearize,
    stop_gradient,
    value_and_grad,
    vjp,
)
from clew.core.errors import (
    ClewError,
    DerivativeError,
    DtypeError,
    GraphError,
    IndexingError,
    InputError,
    MemoryLimitError,
    RunError,
    ShapeError,
    TraceError,
)
from clew.core.graph import Graph
from clew.core.source import scope
from clew.evaluate import cost, evaluate, explain, explain_nan, jit, trace
from clew.implicit import argmin, fixed_point, linear_solve, root
from clew.loops import checkpoint, cond, fori_loop, scan, switch, while_loop
from clew.solve import Constraint, Problem, Solution, solve

__version__ = "0.1.0"

__all__ = [
    "ClewError",
    "Constraint",
    "DerivativeError",
    "DtypeError",
    "Graph",
    "GraphError",
    "IndexingError",
    "InputError",
    "MemoryLimitError",
    "NoPath",
    "Problem",
    "RunError",
    "ShapeError",
    "Solution",
    "TraceError",
    "argmin",
    "checkpoint",
    "composite",
    "cond",
    "cost",
    "custom_rule",
    "evaluate",
    "explain",
    "explain_nan",
    "fixed_point",
    "fori_loop",
    "grad",
    "hessian",
    "hvp",
    "integrate",
    "jacobian",
    "jit",
    "jvp",
    "linear_solve",
    "linearize",
    "numpy",
    "random",
    "root",
    "scan",
    "scope",
    "solve",
    "stop_gradient",
    "switch",
    "testing",
    "trace",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]
