"""The primitive ``root``: the x with ``F(x, held) = 0``, found by a solver of its own.

Its derivative knows nothing of how x was found. From ``F_x dx + F_held dheld = 0``::

    dx = -F_x^-1 (F_held dheld)

which is one ``linear_solve`` with the linearised graph (Griewank & Walther 2008, 15.2); since
that is an ordinary equation, derivatives of any order follow, forward and reverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from clew.core.errors import RunError, TraceError
from clew.core.graph import Graph
from clew.core.kinds import general
from clew.core.primitive import PRIMITIVES
from clew.core.program import program
from clew.core.source import Where
from clew.core.types import Type
from clew.implicit.operators import (
    Operator,
    Rows,
    linear_part,
    named_lane,
    rows_of,
    tangent_graph,
    widened,
)
from clew.implicit.solving import Linear, solve_linear
from clew.ops.shape import with_batch
from clew.trace import GuardFailed, run


class Solver(Protocol):
    """Finds roots, of all lanes together, from concrete starts."""

    @property
    def name(self) -> str:
        """The function that the user called."""
        ...

    @property
    def where(self) -> Where:
        """The user's line."""
        ...

    def solve(self, equations: Equations, starts: Sequence[Rows]) -> Rows:
        """Return the roots; raise where one is not found."""
        ...


class Equations:
    """``F(x) = 0`` with everything but x known, for any number of lanes.

    ``objective`` has, where x minimises something, the outputs that its solver reads.
    """

    def __init__(
        self,
        body: Graph,
        objective: Graph | None,
        held: Sequence[Any],
        lanes: tuple[int, ...],
        solver: Solver,
    ) -> None:
        self._body = body
        self._objective = objective
        self._held = list(held)
        self._lanes = lanes
        self._kind = body.inputs[0].type
        self.name = solver.name
        self.where = solver.where

    @property
    def eps(self) -> float:
        """The rounding unit of the unknowns' dtype."""
        return float(np.finfo(self._kind.dtype).eps)

    def residual(self, rows: Rows) -> Rows:
        """Return F, row by row."""
        (value,) = self._run(self._body, rows)
        return value.reshape(rows.shape)

    def objective(self, rows: Rows) -> list[np.ndarray]:
        """Return the outputs of the objective, with the lanes on axis 0."""
        assert self._objective is not None
        found = self._run(self._objective, rows)
        skip = len(self._lanes)
        return [value.reshape((len(rows), *value.shape[skip:])) for value in found]

    def jacobian(self, rows: Rows) -> Operator:
        """Return the derivative of F at x."""
        graph = linear_part(self._body)
        assert graph is not None
        return Operator(graph, [self._shaped(rows), *self._held], self._lanes)

    def check_finite(self, what: str, values: np.ndarray, iteration: int) -> None:
        """Raise where a value (lanes first) is not finite."""
        bad = np.flatnonzero(~np.isfinite(values).reshape((len(values), -1)).all(axis=1))
        if len(bad):
            value = values[bad[0]].ravel()
            first = value[~np.isfinite(value)][0]
            raise self.failure(
                f"{what} is {first} at iteration {iteration}{named_lane(int(bad[0]), len(values))}",
                "start where the function is finite, or bound the unknowns (bracket=, or "
                "solve for a transformed variable)",
            )

    def failure(self, found: str, fix: str) -> RunError:
        """Return the error of a solve that failed, at the user's line."""
        return RunError(f"{self.name}: {found}", fix, self.where)

    def _shaped(self, rows: Rows) -> np.ndarray:
        return rows.astype(self._kind.dtype, copy=False).reshape(self._kind.shape)

    def _run(self, graph: Graph, rows: Rows) -> list[np.ndarray]:
        try:
            found = program(graph)(np, self._shaped(rows), *self._held)
        except GuardFailed as error:
            raise TraceError(
                f"{self.name}: the function takes another Python branch during the iteration "
                f"than at the start ({error})",
                "write the choice with np.where or clew.cond",
                self.where,
            ) from None
        return [np.asarray(value) for value in found]


def _evaluate(
    xp: Any,
    *operands: Any,
    body: Graph,
    objective: Graph | None,
    starts: int,
    lanes: tuple[int, ...],
    solver: Solver,
    settings: Linear,
) -> np.ndarray:
    kind = body.inputs[0].type
    if not kind.size:
        return np.zeros(kind.shape, kind.dtype)
    with np.errstate(all="ignore"):
        equations = Equations(body, objective, operands[starts:], lanes, solver)
        work = np.result_type(kind.dtype, np.float32)
        rows = [rows_of(start).astype(work) for start in operands[:starts]]
        found = solver.solve(equations, rows)
    return found.astype(kind.dtype, copy=False).reshape(kind.shape)


def _push(
    primals: Any,
    tangents: Any,
    x: Any,
    *,
    body: Graph,
    starts: int,
    lanes: tuple[int, ...],
    settings: Linear,
    **params: Any,
) -> Any:
    """``F_x dx = -F_held dheld``; where the search started does not matter."""
    held = primals[starts:]
    moving = [i for i in range(len(held)) if tangents[starts + i] is not None]
    graph = linear_part(body)
    change = tangent_graph(body, [1 + i for i in moving]) if moving else None
    if change is None or graph is None:
        return None
    (moved,) = run(change, [x, *held, *(tangents[starts + i] for i in moving)])
    return solve_linear(
        PRIMITIVES["negative"](moved),
        x,
        *held,
        body=graph,
        lanes=lanes,
        settings=settings,
        precondition=None,
        equations=body,
        flipped=False,
    )


def _batch(
    size: int,
    operands: Sequence[Any],
    batched: Sequence[bool],
    *,
    body: Graph,
    objective: Graph | None,
    starts: int,
    lanes: tuple[int, ...],
    **params: Any,
) -> Any:
    """Every example is a lane: they are solved together, and stop one by one."""
    flags = (True, *batched[starts:])
    first = [
        with_batch(start, size, flag)
        for start, flag in zip(operands[:starts], batched[:starts], strict=True)
    ]
    return solve_root(
        *first,
        *operands[starts:],
        body=widened(body, size, flags),
        objective=None if objective is None else widened(objective, size, flags),
        starts=starts,
        lanes=(size, *lanes),
        **params,
    )


solve_root = general(
    "root",
    eval=_evaluate,
    type=lambda *operands, body, **params: Type(body.inputs[0].type.shape, operands[0].dtype),
    push=_push,
    batch=_batch,
    source="Griewank & Walther (2008), 15.2",
)
