"""``fixed_point``: where a function gives back its argument."""

from __future__ import annotations

from typing import Any, Literal

from clew.core import pytree
from clew.core.errors import InputError, ShapeError
from clew.core.graph import Graph
from clew.core.source import user_location
from clew.core.types import type_of
from clew.implicit.anderson import Iteration
from clew.implicit.newton import Newton
from clew.implicit.operators import linear_part
from clew.implicit.primitive import Solver
from clew.implicit.root import Function, solved
from clew.implicit.solving import Linear
from clew.implicit.vector import Layout, recorded

_MEMORY = 5


def fixed_point(
    g: Function,
    start: Any,
    *,
    method: Literal["anderson", "iterate", "newton"] = "anderson",
    tolerance: float | None = None,
    steps: int | None = None,
) -> Any:
    """Return the x with ``x = g(x)``, differentiable in every value that g reads.

    The derivative solves ``(I - g_x) dx = g_theta dtheta`` once, at the fixed point; nothing
    of the iteration is kept. Above 300 unknowns that is matrix-free.

    Parameters
    ----------
    g : callable
        Takes a tree like ``start`` and returns one of the same shapes.
    start : tree of arrays
        Where the iteration starts; the derivative does not depend on it.
    method : {"anderson", "iterate", "newton"}
        Anderson's acceleration over the last 5 steps, plain iteration, or Newton's method
        (which needs no contraction).
    tolerance : float, optional
        The largest ``|g(x) - x|`` relative to x, by default 64 eps; for Newton as in ``root``.
    steps : int, optional
        The most iterations, by default 500 ("iterate": 5000, "newton": 50).

    Raises
    ------
    RunError
        If the iteration does not converge, or diverges, or g is not finite.
    ShapeError
        If g returns other shapes than it takes.
    DerivativeError
        If a derivative is asked for where 1 is an eigenvalue of g's Jacobian.

    >>> import clew, numpy as np
    >>> float(fixed_point(np.cos, 1.0).round(12))
    0.739085133215
    >>> float(clew.grad(lambda a: fixed_point(lambda x: a * np.cos(x), 1.0))(1.0).round(12))
    0.441610791705
    """
    where = user_location()
    name = "fixed_point"
    solvers: dict[str, Solver] = {
        "anderson": Iteration(name, where, _MEMORY, tolerance, steps or 500),
        "iterate": Iteration(name, where, 0, tolerance, steps or 5000),
        "newton": Newton(name, where, tolerance, steps or 50),
    }
    if method not in solvers:
        raise InputError(f"fixed_point: method={method!r}", "use 'anderson', 'iterate' or 'newton'")
    layout = Layout.of(name, start)
    found = recorded(lambda x: _difference(g, layout, x), layout.pack(start))
    body: Graph = found.only(0)
    assert linear_part(body) is not None or not layout.size
    settings = Linear(
        name,
        "I - J, with J the Jacobian of g at the fixed point,",
        where,
        fix="1 is an eigenvalue of J, so the fixed point is not isolated and has no derivative: "
        "change g or start at another fixed point",
    )
    return solved(layout, found, body, None, [start], solvers[method], settings)


def _difference(g: Function, layout: Layout, x: Any) -> Any:
    value = g(layout.unpack(x))
    leaves, structure = pytree.flatten(value, shared=False)
    wanted = pytree.flatten(layout.structure.unflatten(layout.kinds), shared=False)
    shapes = [type_of(leaf).shape for leaf in leaves]
    expected = [kind.shape for kind in wanted[0]]
    if shapes != expected or structure.names != wanted[1].names:
        raise ShapeError(
            f"fixed_point: g returns shapes {shapes} for an x of shapes {expected}",
            "return a tree of the same structure and shapes as start",
        )
    picked = layout.structure.pick(leaves)
    tree = layout.structure.unflatten(picked)
    own = Layout(layout.structure, layout.kinds, layout.dtype)
    return x - own.pack(tree).astype(layout.dtype)
