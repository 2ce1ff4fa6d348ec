"""Which method: by name, by object, or by the structure of the problem."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from clew.core.errors import InputError
from clew.solve.methods.base import Method
from clew.solve.methods.constrained import SLSQP, SciPyMethod, TrustConstr
from clew.solve.methods.first_order import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Momentum,
    NAdam,
    Nesterov,
    RMSProp,
)
from clew.solve.methods.lbfgs import LBFGS
from clew.solve.methods.least_squares import GaussNewton, LevenbergMarquardt
from clew.solve.methods.multistart import MultiStart
from clew.solve.methods.newton import NewtonCG
from clew.solve.problem import Problem

CLASSES: tuple[type[Method], ...] = (
    SGD,
    Momentum,
    Nesterov,
    Adagrad,
    RMSProp,
    Adam,
    AdamW,
    NAdam,
    LBFGS,
    LevenbergMarquardt,
    GaussNewton,
    NewtonCG,
    SLSQP,
    TrustConstr,
    MultiStart,
)
METHODS: dict[str, type[Method]] = {cls.name: cls for cls in CLASSES}
ALIASES = {
    "levenberg-marquardt": "lm",
    "l-bfgs": "lbfgs",
    "l-bfgs-b": "lbfgs",
    "bfgs": "lbfgs",
    "gradient-descent": "sgd",
    "gn": "gauss-newton",
    "newton": "newton-cg",
    "multistart": "multi-start",
}
SLSQP_MOST = 200  # its dense subproblems grow with the cube of the number of parameters


def choose(
    problem: Problem,
    method: str | Method,
    batched: bool,
    tolerance: float | None,
    seed: int,
    options: dict[str, Any],
) -> Method:
    """Return the method object for a request, and make sure that it fits the problem.

    Raises
    ------
    InputError
        For an unknown method or option (the nearest names are offered), or a method that cannot
        take the problem's constraints, loss or minibatches.
    """
    if not isinstance(problem, Problem):
        raise InputError(
            f"solve: the problem is a {type(problem).__name__}",
            "pass clew.Problem(model, start, target=...)",
        )
    chosen = _named(problem, method, batched, options)
    _check_fit(problem, chosen, batched)
    changes: dict[str, Any] = {}
    if tolerance is not None:
        if not tolerance > 0:
            raise InputError(f"solve: tolerance={tolerance}", "give a positive number")
        changes["tolerance"] = tolerance
    if isinstance(chosen, MultiStart):
        changes["inner"] = _inner(problem, chosen, batched, tolerance)
        if "seed" not in options and method is not chosen:
            changes["seed"] = seed
    return dataclasses.replace(chosen, **changes)


def automatic(problem: Problem, batched: bool) -> str:
    """Return the name of the method that suits the problem's structure.

    Constraints need SciPy's methods, minibatches a first-order one; sums of squares are best
    served by Levenberg-Marquardt, any other smooth loss by L-BFGS.
    """
    if problem.constraints:
        return "slsqp" if problem.space.size <= SLSQP_MOST else "trust-constr"
    if batched:
        return "adam"
    return "lm" if problem.least_squares else "lbfgs"


def _named(
    problem: Problem, method: str | Method, batched: bool, options: dict[str, Any]
) -> Method:
    if isinstance(method, Method):
        if options:
            raise InputError(
                f"solve: options {', '.join(options)} were given beside a method object",
                f"write {type(method).__name__}({', '.join(f'{key}=...' for key in options)})",
            )
        return method
    if not isinstance(method, str):
        raise InputError(
            f"solve: method is a {type(method).__name__}",
            f"give a name ({', '.join(METHODS)}) or a method object",
        )
    name = automatic(problem, batched) if method == "auto" else method.lower().replace("_", "-")
    name = ALIASES.get(name, name)
    if name not in METHODS:
        near = difflib.get_close_matches(name, [*METHODS, *ALIASES], 3)
        raise InputError(
            f"solve: there is no method {method!r}",
            f"did you mean {' or '.join(map(repr, near))}?"
            if near
            else f"choose one of {', '.join(METHODS)}",
        )
    cls = METHODS[name]
    known = [field.name for field in dataclasses.fields(cls)]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, 1)
            raise InputError(
                f"solve: method {name!r} has no option {option!r}",
                f"did you mean {near[0]!r}?" if near else f"its options are {', '.join(known)}",
            )
    return cls(**options)


def _inner(problem: Problem, outer: MultiStart, batched: bool, tolerance: float | None) -> Method:
    inner = _named(problem, outer.inner or "auto", batched, {})
    if isinstance(inner, (SciPyMethod, MultiStart)):
        raise InputError(
            f"multi-start: {inner.name} cannot be run from many starts",
            "use inner='lm' or 'lbfgs'; put constraints into the loss, or use bounds",
        )
    if tolerance is not None:
        inner = dataclasses.replace(inner, tolerance=tolerance)
    _check_fit(problem, inner, batched)
    return inner


def _check_fit(problem: Problem, method: Method, batched: bool) -> None:
    if problem.constraints and not method.takes_constraints:
        raise InputError(
            f"solve: method {method.name!r} takes bounds but no constraints, and the problem has "
            f"{len(problem.constraints)}",
            "use method='slsqp', 'trust-constr' or 'auto'",
        )
    if method.needs_residual and not problem.least_squares:
        raise InputError(
            f"solve: method {method.name!r} is for least squares, but the goal is a scalar loss",
            "give target= or residual= instead of loss=, or use method='lbfgs'",
        )
    if batched and not method.takes_batches:
        raise InputError(
            f"solve: method {method.name!r} needs all data at every step, but batch= is given",
            "leave batch= out, or use 'adam' or another first-order method",
        )
