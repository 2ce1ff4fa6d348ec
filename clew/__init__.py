"""Clew: write the forward process in NumPy; find its causes; see how the gradient got back."""

import importlib
from typing import TYPE_CHECKING, Any

from clew import numpy, random, testing
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
from clew.evaluate import cost, evaluate, jit, trace
from clew.loops import checkpoint, cond, fori_loop, scan, switch, while_loop
from clew.solve import Constraint, Problem, Solution, solve

if TYPE_CHECKING:
    from clew import integrate
    from clew.evaluate.diagnose import explain_nan
    from clew.evaluate.explain import explain
    from clew.evaluate.native.threads import set_threads, threads
    from clew.evaluate.profile import profile
    from clew.implicit import argmin, fixed_point, linear_solve, root
    from clew.paths import flow

__version__ = "0.1.0"

# Loaded when first used, so that `import clew` stays quick.
_LATER = {
    "argmin": "clew.implicit",
    "explain": "clew.evaluate.explain",
    "explain_nan": "clew.evaluate.diagnose",
    "fixed_point": "clew.implicit",
    "flow": "clew.paths",
    "integrate": "",
    "linear_solve": "clew.implicit",
    "profile": "clew.evaluate.profile",
    "root": "clew.implicit",
    "set_threads": "clew.evaluate.native.threads",
    "threads": "clew.evaluate.native.threads",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'clew' has no attribute {name!r}")
    home = _LATER[name]
    value = getattr(importlib.import_module(home), name) if home else _module(name)
    globals()[name] = value
    return value


def _module(name: str) -> Any:
    return importlib.import_module(f"clew.{name}")


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
    "flow",
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
    "profile",
    "random",
    "root",
    "scan",
    "scope",
    "set_threads",
    "solve",
    "stop_gradient",
    "switch",
    "testing",
    "threads",
    "trace",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]
