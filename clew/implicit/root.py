"""``root``: where a function is zero, with the derivative of the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from clew.core.errors import InputError, ShapeError
from clew.core.graph import Graph
from clew.core.source import user_location
from clew.implicit.bracketing import Bracketing
from clew.implicit.newton import Newton
from clew.implicit.operators import linear_part
from clew.implicit.primitive import Solver, solve_root
from clew.implicit.solving import Linear
from clew.implicit.vector import Layout, Recorded, recorded

Function = Callable[..., Any]


def root(
    f: Function,
    start: Any = None,
    *,
    method: Literal["newton", "krylov", "bracket"] = "newton",
    bracket: tuple[Any, Any] | None = None,
    tolerance: float | None = None,
    steps: int | None = None,
) -> Any:
    """Return the x with ``f(x) = 0``, differentiable in every value that f reads.

    With F(x, theta) = 0 the derivative is ``dx = -F_x^-1 F_theta dtheta``, whatever the solver
    did; it holds to any order, forward and reverse. It does not depend on ``start``.

    Parameters
    ----------
    f : callable
        Takes a tree like ``start`` and returns a tree with as many numbers. It may read
        traced values from outside: those are its parameters.
    start : tree of arrays
        Where the search starts; a number for one unknown.
    method : {"newton", "krylov", "bracket"}
        Newton with a line search, its matrix formed for up to 300 unknowns and matrix-free
        (GMRES) above; "krylov" is matrix-free always; "bracket" is Chandrupatla's method.
    bracket : (a, b), optional
        For one unknown: ends where f has opposite signs; the root between them is found.
    tolerance : float, optional
        Newton: the last step relative to x (the error is of the order of its square), by
        default eps^(2/3). Bracket: the width relative to x, by default 2 eps.
    steps : int, optional
        The most iterations, by default 50 (bracket: 200).

    Returns
    -------
    tree of arrays
        Like ``start``; integers become float64.

    Raises
    ------
    RunError
        If no root is found, or f is not finite on the way.
    InputError
        If f has one sign at both ends of the bracket, or does not depend on x.
    ShapeError
        If f returns more or fewer numbers than x has.
    DerivativeError
        If a derivative is asked for where the Jacobian is singular.

    >>> import clew
    >>> float(root(lambda x: x * x - 2.0, 1.0))
    1.4142135623730951
    >>> float(clew.grad(lambda a: root(lambda x: x * x - a, 1.0))(2.0))
    0.35355339059327373
    >>> root(lambda x: np.cos(x) - x, bracket=(0.0, 1.0)).round(12)
    np.float64(0.739085133215)
    """
    where = user_location()
    if method not in ("newton", "krylov", "bracket"):
        raise InputError(f"root: method={method!r}", "use 'newton', 'krylov' or 'bracket'")
    if bracket is None and (method == "bracket" or start is None):
        raise InputError(
            "root: no start= and no bracket=" if start is None else "root: bracket= is missing",
            "give start=, or bracket=(a, b) with f of opposite signs there",
        )
    first = bracket[0] if bracket is not None and start is None else start
    layout = Layout.of("root", first)
    found = recorded(lambda x: _residual("root", f, layout, x), layout.pack(first))
    body = found.only(0)
    _check_dependence("root", body, layout.size)
    solver: Solver
    starts = [first]
    if bracket is not None:
        starts = _ends(layout, bracket)
        solver = Bracketing("root", where, tolerance, steps or 200)
    else:
        krylov = True if method == "krylov" else None
        solver = Newton("root", where, tolerance, steps or 50, krylov)
    settings = Linear(
        "root",
        "the Jacobian at the root",
        where,
        method="gmres" if method == "krylov" else "auto",
        fix="a multiple root, or a parameter where roots meet or vanish, has no derivative: "
        "change the equations or start at another root",
    )
    return solved(layout, found, body, None, starts, solver, settings)


def solved(
    layout: Layout,
    found: Recorded,
    body: Graph,
    objective: Graph | None,
    starts: Sequence[Any],
    solver: Solver,
    settings: Linear,
) -> Any:
    """Apply the primitive and put the result together as the user's tree."""
    x = solve_root(
        *(layout.pack(each) for each in starts),
        *found.captured,
        body=body,
        objective=objective,
        starts=len(starts),
        lanes=(),
        solver=solver,
        settings=settings,
    )
    return layout.unpack(x)


def _residual(name: str, f: Function, layout: Layout, x: Any) -> Any:
    value = f(layout.unpack(x))
    own = Layout.of(name, value, shared=False)
    if own.size != layout.size:
        raise ShapeError(
            f"{name}: f returns {own.size} numbers for {layout.size} unknowns",
            "return one equation for each unknown",
        )
    return own.pack(value, shared=False).astype(layout.dtype)


def _check_dependence(name: str, body: Graph, size: int) -> None:
    if size and linear_part(body) is None:
        raise InputError(
            f"{name}: f does not depend on x (nothing differentiable leads from it)",
            "compute the residual from the argument that f is given",
        )


def _ends(layout: Layout, bracket: tuple[Any, Any]) -> list[Any]:
    if layout.size != 1:
        raise InputError(
            f"root: bracket= is for one unknown, x has {layout.size}",
            "use method='newton', or map over independent unknowns with clew.vmap",
        )
    return [np.reshape(end, layout.kinds[0].shape) for end in bracket]
