"""``linear_solve``: linear systems with a matrix, or with nothing but a product."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from clew.core.errors import InputError, RunError, ShapeError
from clew.core.graph import Graph
from clew.core.primitive import Traced
from clew.core.program import program
from clew.core.source import user_location
from clew.core.types import type_of
from clew.implicit.operators import linear_part
from clew.implicit.root import Function
from clew.implicit.solving import Linear, solve_linear
from clew.implicit.vector import Layout, recorded

_METHODS = ("auto", "cg", "gmres", "direct")


def linear_solve(
    matrix: Function | Any,
    b: Any,
    *,
    method: Literal["auto", "cg", "gmres", "direct"] = "auto",
    symmetric: bool = False,
    preconditioner: Function | None = None,
    tolerance: float | None = None,
    steps: int | None = None,
) -> Any:
    """Return the x with ``A x = b``, differentiable in b and in every value that A reads.

    Forward ``A dx = db - dA x``; reverse solves with the transposed operator, made by
    transposing the graph of the product. The iterative methods form no matrix.

    Parameters
    ----------
    matrix : callable or array
        The product ``v -> A v``, linear, on trees like b; or A itself, of shape (n, n).
    b : tree of arrays
    method : {"auto", "cg", "gmres", "direct"}
        "direct" forms and factors the matrix. "auto" does that for up to 300 unknowns; above,
        conjugate gradients if ``symmetric``, else GMRES. "cg" needs A symmetric positive definite.
    symmetric : bool
        A equals its transpose; the reverse pass then solves with A itself.
    preconditioner : callable, optional
        ``v -> M v`` with M near the inverse of A (for "cg" symmetric positive definite), linear.
    tolerance : float, optional
        Of the iterative methods: the residual relative to b, by default 64 eps.
    steps : int, optional
        The most products with A, by default 10 n but at least 500 and at most 20,000.

    Raises
    ------
    RunError
        If A is singular, the iteration does not converge, or "cg" meets negative curvature.
    InputError
        If the product is not linear, or the method is unknown.
    ShapeError
        If the product's shapes are not those of b.

    >>> import clew
    >>> laplace = lambda v: 2 * v - np.pad(v[1:], (0, 1)) - np.pad(v[:-1], (1, 0))
    >>> linear_solve(laplace, np.ones(3), method="cg", symmetric=True)
    array([1.5, 2. , 1.5])
    >>> sloped = lambda a: np.sum(linear_solve(lambda v: a * laplace(v), np.ones(3)))
    >>> round(float(clew.grad(sloped)(2.0)), 12)
    -1.25
    """
    where = user_location()
    if method not in _METHODS:
        raise InputError(
            f"linear_solve: method={method!r}", "use 'auto', 'cg', 'gmres' or 'direct'"
        )
    layout = Layout.of("linear_solve", b)
    if not callable(matrix):
        whole = _square(matrix, layout.size)
        if method == "direct" or (method == "auto" and preconditioner is None):
            return layout.unpack(_factored(whole, layout.pack(b)))
        matrix = _on_vectors(layout, lambda v: whole @ v)
    product = matrix
    functions = [product] if preconditioner is None else [product, preconditioner]
    found = recorded(
        lambda v: tuple(_product(each, layout, v) for each in functions), layout.pack(b)
    )
    graphs = [
        _linear(found.only(number), found.captured, name)
        for number, name in enumerate(("the product", "the preconditioner")[: len(functions)])
    ]
    settings = Linear(
        "linear_solve",
        "the operator",
        where,
        method=method,
        symmetric=symmetric or method == "cg",
        tolerance=tolerance,
        steps=steps,
        error=RunError,
        fix="a singular system has no single solution: remove what it cannot determine, or "
        "minimise the residual instead (np.linalg.lstsq)",
    )
    x = solve_linear(
        layout.pack(b),
        *found.captured,
        body=graphs[0],
        lanes=(),
        settings=settings,
        precondition=graphs[1] if len(graphs) == 2 else None,
        equations=None,
        flipped=False,
    )
    return layout.unpack(x)


def _square(matrix: Any, size: int) -> Any:
    shape = type_of(matrix).shape
    if shape != (size, size):
        raise ShapeError(
            f"linear_solve: a matrix of shape {shape} for {size} unknowns",
            f"give a matrix of shape ({size}, {size}), or the product as a function",
        )
    return matrix if isinstance(matrix, Traced) else np.asarray(matrix)


def _factored(matrix: Any, b: Any) -> Any:
    try:
        return np.linalg.solve(matrix, b)
    except np.linalg.LinAlgError:
        raise RunError(
            f"linear_solve: the matrix of shape {type_of(matrix).shape} is singular",
            "remove what the equations cannot determine, or use np.linalg.lstsq",
        ) from None


def _on_vectors(layout: Layout, product: Function) -> Function:
    return lambda tree: layout.unpack(product(layout.pack(tree)))


def _product(product: Function, layout: Layout, v: Any) -> Any:
    value = product(layout.unpack(v))
    own = Layout.of("linear_solve", value, shared=False)
    wanted = [kind.shape for kind in layout.kinds]
    if [kind.shape for kind in own.kinds] != wanted:
        raise ShapeError(
            f"linear_solve: the product returns shapes {[kind.shape for kind in own.kinds]} for "
            f"a right-hand side of shapes {wanted}",
            "return the tree that it is given, multiplied by the matrix",
        )
    return own.pack(value, shared=False).astype(layout.dtype)


def _linear(graph: Graph, captured: list[Any], name: str) -> Graph:
    """Return the graph as one linear in its first input, having checked that it is."""
    tangent = linear_part(graph)
    if tangent is None:
        raise InputError(
            f"linear_solve: {name} does not depend on its argument",
            "compute it from the argument that the function is given",
        )
    v, x, *held = tangent.inputs
    reads_point = x in tangent.outputs or any(x in each.inputs for each in tangent.equations)
    nothing = np.zeros(x.type.shape, x.type.dtype)
    constant = not any(isinstance(each, Traced) for each in captured)
    if constant and not reads_point:
        with np.errstate(all="ignore"):
            reads_point = bool(np.any(program(graph)(np, nothing, *captured)[0]))
    if reads_point:
        raise InputError(
            f"linear_solve: {name} is not linear in its argument",
            "move constant terms to the right-hand side; for nonlinear equations use clew.root",
        )
    return Graph((v, *held), tangent.equations, tangent.outputs, tangent.constants)
