"""The primitive ``linear_solve``: ``A x = b`` with A known only as a linear graph.

Its operands are b and what A holds. It is linear in b, so its transpose solves with the
transposed graph; when what is held moves, ``dx = A^-1 (db - dA x)``. These two rules give
every derivative of every implicit function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.errors import DerivativeError, RunError
from clew.core.graph import Graph
from clew.core.kinds import general
from clew.core.primitive import PRIMITIVES
from clew.core.source import Where
from clew.core.types import Type, type_of
from clew.implicit.krylov import conjugate_gradients, gmres
from clew.implicit.operators import (
    Operator,
    named_lane,
    rows_of,
    tangent_graph,
    transposed,
    widened,
)
from clew.implicit.sharpness import Inverse, is_sharp
from clew.ops.shape import moveaxis, reshape, with_batch
from clew.trace import run

DENSE = 300
"""Up to so many unknowns a matrix is formed and factored."""


@dataclass(frozen=True)
class Linear:
    """How linear systems are solved, and in whose name errors speak.

    ``method`` is "auto", "direct", "cholesky", "cg" or "gmres". ``what`` names the matrix;
    ``error`` is raised where it is singular.
    """

    name: str
    what: str
    where: Where
    method: str = "auto"
    symmetric: bool = False
    positive: bool = False
    tolerance: float | None = None
    steps: int | None = None
    error: type[RunError] | type[DerivativeError] = DerivativeError
    fix: str = "start elsewhere or change the equations: here they do not determine the unknowns"

    def chosen(self, size: int) -> str:
        """Return the method for so many unknowns."""
        if self.method != "auto":
            return self.method
        if size <= DENSE:
            return "cholesky" if self.positive else "direct"
        return "cg" if self.symmetric else "gmres"

    def __str__(self) -> str:
        return self.method


# --- evaluation --------------------------------------------------------------------------------


def _evaluate(
    xp: Any,
    b: Any,
    *held: Any,
    body: Graph,
    lanes: tuple[int, ...],
    settings: Linear,
    precondition: Graph | None,
    equations: Graph | None,
    flipped: bool,
) -> np.ndarray:
    b = np.asarray(b)
    rows = rows_of(b)
    if not rows.size:
        return np.array(b)
    with np.errstate(all="ignore"):
        operator = Operator(body, held, lanes)
        method = settings.chosen(operator.size)
        if method in ("direct", "cholesky"):
            matrices = operator.dense()
            if not np.isfinite(matrices).all():
                _check_finite(matrices, held, settings)
                matrices = _sound(matrices)
            inverse = _dense_inverse(matrices, settings, method)
            if equations is not None:
                _check_sharp(equations, held, inverse.flipped() if flipped else inverse, settings)
            x = inverse(rows)
        else:
            own = None if precondition is None else Operator(precondition, held, lanes)
            x = _iterated(operator, own, rows, settings, method)
    return x.astype(b.dtype, copy=False).reshape(b.shape)


def _check_finite(matrices: np.ndarray, operands: Sequence[Any], settings: Linear) -> None:
    """Raise if a matrix is not finite though all that it is made of is."""
    if all(np.isfinite(x).all() for x in operands if np.asarray(x).dtype.kind in "fc"):
        lane = int(np.argmin(np.isfinite(matrices).all(axis=(1, 2))))
        raise settings.error(
            f"{settings.name}: {settings.what} is not finite{named_lane(lane, len(matrices))}",
            "a function in it has no derivative there (abs or sqrt at 0, for instance): write "
            "it in a form that has one",
            settings.where,
        )


def _sound(matrices: np.ndarray) -> np.ndarray:
    """Put NaN in all of a matrix that is not finite: it must not spoil the others."""
    finite = np.asarray(np.isfinite(matrices).all(axis=(1, 2)))
    return np.where(finite[:, None, None], matrices, np.nan)


def _dense_inverse(matrices: np.ndarray, settings: Linear, method: str) -> Inverse:
    matrices = matrices.astype(np.result_type(matrices.dtype, np.float32), copy=False)
    finite = np.isfinite(matrices[:, :1, :1])
    work = np.where(finite, matrices, np.eye(matrices.shape[1], dtype=matrices.dtype))
    if method == "cholesky":
        _check_positive(work, settings)
    inverse = Inverse(work)
    _check_regular(inverse.balanced, settings)
    inverse.left = np.where(finite[:, 0], inverse.left, np.nan)
    return inverse


def _check_sharp(equations: Graph, held: Sequence[Any], inverse: Inverse, settings: Linear) -> None:
    sharp = is_sharp(equations, held, inverse)
    if not sharp.all():
        raise settings.error(
            f"{settings.name}: {settings.what} is singular to working precision"
            f"{named_lane(int(np.argmin(sharp)), len(sharp))}: on no scale is the function "
            "linear there",
            settings.fix,
            settings.where,
        )


def _check_regular(balanced: np.ndarray, settings: Linear) -> None:
    n = balanced.shape[-1]
    try:
        inverse = np.linalg.inv(balanced)
        condition = np.abs(balanced).sum(1).max(1) * np.abs(inverse).sum(1).max(1)
    except np.linalg.LinAlgError:
        condition = np.linalg.cond(balanced)
    condition = np.where(np.isnan(condition), np.inf, condition)
    worst = int(np.argmax(condition))
    if condition[worst] * np.finfo(balanced.dtype).eps >= 0.1:
        example = named_lane(worst, len(balanced))
        raise settings.error(
            f"{settings.name}: {settings.what} is singular{example}: {n} x {n}, "
            f"condition number {condition[worst]:.1e}",
            settings.fix,
            settings.where,
        )


def _check_positive(matrices: np.ndarray, settings: Linear) -> None:
    even = 0.5 * (matrices + np.swapaxes(matrices, 1, 2))
    try:
        np.linalg.cholesky(even)
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(even)[:, 0]
        scale = np.max(np.abs(even), axis=(1, 2))
        worst = int(np.argmin(smallest / np.where(scale > 0, scale, 1.0)))
        singular = abs(smallest[worst]) <= 1e-12 * scale[worst]
        raise settings.error(
            f"{settings.name}: {settings.what} is {'singular' if singular else 'indefinite'}"
            f"{named_lane(worst, len(even))}: its smallest eigenvalue is {smallest[worst]:.2g}, "
            f"its largest entry {scale[worst]:.2g}",
            settings.fix,
            settings.where,
        ) from None


def _iterated(
    operator: Operator,
    precondition: Operator | None,
    rows: np.ndarray,
    settings: Linear,
    method: str,
) -> np.ndarray:
    eps = np.finfo(rows.dtype).eps
    tolerance = settings.tolerance or 64 * eps
    steps = settings.steps or max(500, min(10 * operator.size, 20_000))
    solver = conjugate_gradients if method == "cg" else gmres
    ready = None if precondition is None else precondition.apply
    # Of size 1, so that no product of two vectors overflows or vanishes.
    scale = np.max(np.abs(rows), axis=-1, keepdims=True)
    scale = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
    found = solver(operator.apply, rows / scale, ready, tolerance, steps)
    found.x *= scale
    bad = np.asarray(~np.isfinite(found.x).all(axis=-1) | ~np.isfinite(rows).all(axis=-1))
    if bad.any():
        found.x[bad] = np.nan
    _check_converged(found, bad, settings, method, tolerance)
    return found.x


def _check_converged(
    found: Any, bad: np.ndarray, settings: Linear, method: str, tolerance: float
) -> None:
    turned = np.flatnonzero(found.negative & ~bad)
    if len(turned):
        raise settings.error(
            f"{settings.name}: cg met a direction p with p^T A p <= 0: {settings.what} is not "
            f"positive definite{named_lane(int(turned[0]), len(bad))}",
            "use method='gmres' or 'direct' if that is as it should be"
            if settings.name == "linear_solve"
            else settings.fix,
            settings.where,
        )
    missed = np.flatnonzero(~found.converged & ~bad)
    if len(missed):
        lane = int(missed[np.argmax(found.residual[missed])])
        raise RunError(
            f"{settings.name}: {method} did not converge{named_lane(lane, len(bad))}: after "
            f"{found.iterations} iterations the residual is {found.residual[lane]:.1e} of the "
            f"right-hand side, {tolerance:.1e} was asked"
            + ("" if settings.name == "linear_solve" else f" ({settings.what})"),
            "give a preconditioner=, more steps= or a larger tolerance=; "
            "or the matrix is singular or nearly so",
            settings.where,
        )


# --- rules -------------------------------------------------------------------------------------


def _negative(value: Any) -> Any:
    return PRIMITIVES["negative"](value)


def _push(
    primals: Any, tangents: Any, x: Any, *, body: Graph, lanes: tuple[int, ...], **params: Any
) -> Any:
    """``A dx = db - dA x``."""
    db = tangents[0]
    moving = [i for i in range(1, len(primals)) if tangents[i] is not None]
    moved = tangent_graph(body, moving) if moving else None
    if moved is not None:
        columns = type_of(x).ndim - len(lanes) - 1
        if columns:
            rest = len(moved.inputs) - 1
            moved = widened(moved, type_of(x).shape[0], (True, *[False] * rest))
        (change,) = run(moved, [x, *primals[1:], *(tangents[i] for i in moving)])
        db = _negative(change) if db is None else PRIMITIVES["subtract"](db, change)
    if db is None:
        return None
    return solve_linear(db, *primals[1:], body=body, lanes=lanes, **params)


def _transpose(
    cotangent: Any,
    b: Any,
    *held: Any,
    body: Graph,
    lanes: tuple[int, ...],
    settings: Linear,
    precondition: Graph | None,
    equations: Graph | None,
    flipped: bool,
) -> list[Any]:
    if not settings.symmetric:
        body = transposed(body)
        precondition = None if precondition is None else transposed(precondition)
        flipped = not flipped
    found = solve_linear(
        cotangent,
        *held,
        body=body,
        lanes=lanes,
        settings=settings,
        precondition=precondition,
        equations=equations,
        flipped=flipped,
    )
    return [found, *(None for _ in held)]


def _batch(
    size: int,
    operands: Sequence[Any],
    batched: Sequence[bool],
    *,
    body: Graph,
    lanes: tuple[int, ...],
    precondition: Graph | None,
    equations: Graph | None,
    **params: Any,
) -> Any:
    """Many right-hand sides for one matrix become columns; many matrices become lanes."""
    b, *held = operands
    shape = type_of(b).shape
    columns = len(shape) - batched[0] - len(lanes) - 1
    graphs = {"precondition": precondition, "equations": equations}
    if not any(batched[1:]):
        if columns:
            b = reshape(b, shape=(size * shape[1], *shape[2:]))
        x = solve_linear(b, *held, body=body, lanes=lanes, **graphs, **params)
        return reshape(x, shape=shape) if columns else x
    flags = (True, *batched[1:])
    b = with_batch(b, size, batched[0])
    if columns:
        b = moveaxis(b, 0, 1)
    graphs = {
        "precondition": None if precondition is None else widened(precondition, size, flags),
        "equations": None if equations is None else widened(equations, size, flags[1:]),
    }
    lanes = (size, *lanes)
    x = solve_linear(b, *held, body=widened(body, size, flags), lanes=lanes, **graphs, **params)
    return moveaxis(x, 1, 0) if columns else x


solve_linear = general(
    "linear_solve",
    eval=_evaluate,
    type=lambda b, *held, **params: Type(b.shape, b.dtype),
    push=_push,
    transpose=_transpose,
    batch=_batch,
    source="Christianson (1994); Griewank & Walther (2008), 15.2",
)
