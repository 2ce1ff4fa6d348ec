"""The gradient of an integration by its adjoint equation.

With ``da/dt = -(df/dy)' a`` and ``dq/dt = -(df/dp)' a`` run backwards from the last time, the
cotangents of the outputs added to ``a`` where they stand, ``a`` at the start is the cotangent of
the start and ``q`` that of the parameters (Pontryagin et al., "The Mathematical Theory of
Optimal Processes", 1962; Chen et al., "Neural ordinary differential equations", 2018). The
states are integrated backwards beside them, afresh from each output, so nothing but the outputs
is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.calculus import custom_rule, vjp
from clew.core.graph import Graph
from clew.core.types import Type, type_of
from clew.integrate.adaptive import Settings, Solution, solve_towards
from clew.integrate.system import Leaves, System, like
from clew.loops import scan
from clew.loops.bodies import body_of
from clew.trace import run


def solve_with_adjoint(
    slope: Callable[[Any, Any], Any],
    start: Any,
    times: Any,
    sign: float,
    settings: Settings,
    first_step: float | None,
) -> Solution:
    """Solve as :func:`solve_ode` does; reverse mode integrates the adjoint equation."""
    system = System.of(slope, start, "solve_ode")
    kinds = [type_of(leaf) for leaf in system.start]
    moment = Type((), np.float64)
    # The slope's graph says which outer values it reads: those are the parameters.
    body = body_of(lambda t, *y: system.slope(t, y), (moment, *kinds))
    adjoint = _Adjoint(body.graph, len(kinds), sign, settings, first_step)
    integrate = custom_rule(adjoint.forward, pull=adjoint.backward)
    states, accepted, rejected = integrate(list(system.start), times, list(body.captured))
    none = np.int64(0)
    last = system.tree([leaf[-1] for leaf in states])
    tree = system.tree(list(states))
    return Solution(times, tree, accepted, rejected, none, none - 1, times[-1], last)


@dataclass(frozen=True)
class _Adjoint:
    """An integration as a function of start, times and parameters, and its pull-back."""

    graph: Graph
    count: int
    sign: float
    settings: Settings
    first_step: float | None

    def rate(self, time: Any, state: Any, parameters: Any) -> Leaves:
        return run(self.graph, [time, *state, *parameters])

    def forward(self, start: Any, times: Any, parameters: Any) -> Any:
        settings = self.settings._replace(end=self.sign * times[-1])
        found = solve_towards(
            lambda t, y: self.rate(t, y, parameters),
            start,
            times,
            self.sign,
            settings,
            first_step=self.first_step,
        )
        return found.states, found.accepted, found.rejected

    def backward(self, given: Any, output: Any, start: Any, times: Any, parameters: Any) -> Any:
        states, given = output[0], given[0]

        def interval(carry: Any, at: Any) -> Any:
            (adjoint, sums), (first, last, state, own) = carry, at
            adjoint = [a + w for a, w in zip(adjoint, own, strict=True)]
            return self._over_interval(adjoint, sums, (first, last), state, parameters), None

        zero, sums = _zeros(start), _zeros(parameters)
        ends = [leaf[1:] for leaf in states], [leaf[1:] for leaf in given]
        slices = (times[:-1], times[1:], *ends)
        (adjoint, sums), _ = scan(interval, (zero, sums), slices, reverse=True)
        to_times = _to_times(self.rate, states, given, times, parameters, adjoint)
        adjoint = [a + w[0] for a, w in zip(adjoint, given, strict=True)]
        return _like(adjoint, start), to_times, _like(sums, parameters)

    def _over_interval(
        self,
        adjoint: Leaves,
        sums: Leaves,
        ends: tuple[Any, Any],
        state: Leaves,
        parameters: Leaves,
    ) -> tuple[Leaves, Leaves]:
        """Integrate state, adjoint and sums from the end of an interval to its beginning."""
        count = self.count

        def slope(time: Any, joint: Any) -> Any:
            state, adjoint = joint[:count], joint[count : 2 * count]
            found, pull = vjp(lambda y, p: self.rate(time, y, p), state, parameters)
            to_state, to_parameters = pull(list(adjoint))
            return [*found, *(-leaf for leaf in to_state), *(-leaf for leaf in to_parameters)]

        first, last = ends
        settings = self.settings._replace(end=-self.sign * first)
        joint = [*state, *adjoint, *sums]
        times = np.stack([last, first])
        found = solve_towards(slope, joint, times, -self.sign, settings)
        begin = [leaf[-1] for leaf in found.states]
        return begin[count : 2 * count], begin[2 * count :]


def _zeros(leaves: Leaves) -> Leaves:
    """Return zeros of at least double precision, to sum in."""
    kinds = [type_of(leaf) for leaf in leaves]
    return [np.zeros(kind.shape, np.result_type(kind.dtype, np.float64)) for kind in kinds]


def _like(values: Leaves, leaves: Leaves) -> Leaves:
    return [like(x, type_of(leaf)) for x, leaf in zip(values, leaves, strict=True)]


def _to_times(rate: Any, states: Any, given: Any, times: Any, parameters: Any, adjoint: Any) -> Any:
    """An output moves along the slope at its time; the start's time moves all against it."""
    found = []
    for number in range(times.shape[0]):
        state = [leaf[number] for leaf in states]
        slope = rate(times[number], state, parameters)
        weights = adjoint if number == 0 else [leaf[number] for leaf in given]
        each = sum(np.sum(w * s) for w, s in zip(weights, slope, strict=True))
        found.append(-each if number == 0 else each)
    return np.stack(found)
