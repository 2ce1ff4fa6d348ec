"""``argmin``: where a loss is least, differentiable in what the loss reads."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from clew.calculus import NoPath, value_and_grad
from clew.core import pytree
from clew.core.errors import InputError
from clew.core.source import user_location
from clew.core.types import type_of
from clew.implicit.minimising import NewtonDescent, QuasiNewton
from clew.implicit.operators import linear_part
from clew.implicit.primitive import Solver
from clew.implicit.root import Function, solved
from clew.implicit.solving import Linear
from clew.implicit.vector import Layout, recorded


def argmin(
    loss: Function,
    start: Any,
    *,
    method: Literal["auto", "newton", "l-bfgs"] = "auto",
    bounds: tuple[Any, Any] | None = None,
    tolerance: float | None = None,
    steps: int | None = None,
) -> Any:
    """Return the x where a loss is least, differentiable in every value that the loss reads.

    At the minimum the gradient g vanishes, so ``H dx = -g_theta dtheta``, with H the Hessian,
    solved by Cholesky for up to 300 unknowns and by conjugate gradients above. With bounds,
    the unknowns at a bound move with it and the others solve their part of the system.

    Parameters
    ----------
    loss : callable
        Takes a tree like ``start``, returns a real scalar; twice differentiable.
    start : tree of arrays
        Where the search starts; the derivative does not depend on it.
    method : {"auto", "newton", "l-bfgs"}
        Newton's method (many unknowns: by conjugate gradients), or L-BFGS-B followed by
        Newton steps. "auto" takes Newton without bounds, L-BFGS-B with them.
    bounds : (low, high), optional
        Numbers, or trees like x; None for none. They may be traced.
    tolerance : float, optional
        The last Newton step relative to x, by default eps^(2/3); the error is of the order of
        its square.
    steps : int, optional
        The most iterations, by default 200 of Newton or 2000 of L-BFGS.

    Returns
    -------
    tree of arrays
        Like ``start``. A local minimum: which one depends on the start.

    Raises
    ------
    RunError
        If no minimum is found, or the loss or its gradient is not finite.
    InputError
        If the loss is no real scalar, does not depend on x, or the bounds cross.
    DerivativeError
        If a derivative is asked for where the Hessian is singular or indefinite.

    >>> import clew
    >>> ridge = lambda weight: argmin(lambda x: (x - 3.0) ** 2 + weight * x**2, 0.0)
    >>> float(ridge(0.5)), float(clew.grad(ridge)(0.5))
    (2.0, -1.3333333333333333)
    >>> float(argmin(lambda x: (x - 3.0) ** 2, 0.0, bounds=(None, 1.0)))
    1.0
    """
    where = user_location()
    if method not in ("auto", "newton", "l-bfgs"):
        raise InputError(f"argmin: method={method!r}", "use 'auto', 'newton' or 'l-bfgs'")
    if bounds is not None and method == "newton":
        raise InputError("argmin: method='newton' takes no bounds", "use method='l-bfgs'")
    layout = Layout.of("argmin", start)
    limits = None if bounds is None else _limits(layout, bounds)
    found = recorded(lambda x: _conditions(loss, layout, limits, x), layout.pack(start))
    body = found.only(0)
    if layout.size and linear_part(body) is None:
        raise InputError(
            "argmin: the gradient of the loss does not depend on x, so it has no isolated minimum",
            "add a term that curves, such as a small multiple of sum(x**2)",
        )
    objective = found.only(*range(1, len(found.graph.outputs)))
    solver: Solver
    if method == "l-bfgs" or bounds is not None:
        solver = QuasiNewton("argmin", where, tolerance, steps or 2000, bounds is not None)
    else:
        solver = NewtonDescent("argmin", where, tolerance, steps or 200)
    settings = Linear(
        "argmin",
        "the Hessian at the minimum" if bounds is None else "the Hessian of the free unknowns",
        where,
        symmetric=bounds is None,
        positive=bounds is None,
        fix="the loss is flat, or curves down, in some direction there: add a term that curves "
        "(a penalty), or start elsewhere",
    )
    return solved(layout, found, body, objective, [start], solver, settings)


def _conditions(loss: Function, layout: Layout, limits: Any, x: Any) -> tuple[Any, ...]:
    """Return what vanishes at the minimum, and what the solver reads."""

    def of_vector(vector: Any) -> Any:
        value = loss(layout.unpack(vector))
        leaves = pytree.flatten(value, shared=False)[0]
        kind = type_of(leaves[0]) if len(leaves) == 1 else None
        if kind is None or kind.shape or kind.dtype.kind != "f":
            shown = "a tree" if kind is None else f"shape {kind.shape}, dtype {kind.dtype}"
            raise InputError(
                f"argmin: the loss returned {shown}", "return one real number, for instance a sum"
            )
        return leaves[0]

    value, gradient = value_and_grad(of_vector)(x)
    if isinstance(gradient, NoPath):
        raise InputError(
            "argmin: the loss does not depend on x", "compute it from the argument it is given"
        )
    if limits is None:
        return gradient, value, gradient
    low, high = limits
    # Zero where the gradient is, or where x is at a bound that the gradient pushes against.
    moved = x - gradient
    projected = np.where(moved < low, low, np.where(moved > high, high, moved))
    return x - projected, value, gradient, low, high


def _limits(layout: Layout, bounds: tuple[Any, Any]) -> list[Any]:
    if not isinstance(bounds, tuple) or len(bounds) != 2:
        raise InputError("argmin: bounds is not a pair", "give bounds=(low, high)")
    if any(kind.dtype.kind == "c" for kind in layout.kinds):
        raise InputError("argmin: complex unknowns have no order", "bound real unknowns only")
    limits = []
    for limit, infinite in zip(bounds, (-np.inf, np.inf), strict=True):
        limits.append(_limit(layout, limit, infinite))
    return limits


def _limit(layout: Layout, limit: Any, infinite: float) -> Any:
    limit = infinite if limit is None else limit
    leaves, structure = pytree.flatten(limit)
    count = layout.structure.count
    if len(leaves) == 1 and structure.names == ("",):
        leaves = leaves * count
    elif structure.names != layout.structure.names:
        raise InputError(
            f"argmin: a bound has leaves {structure.names}, x has {layout.structure.names}",
            "give a number, an array for a single array x, or a tree like x",
        )
    spread = [
        np.broadcast_to(leaf, kind.shape) for leaf, kind in zip(leaves, layout.kinds, strict=True)
    ]
    return layout.pack(layout.structure.unflatten(spread))
