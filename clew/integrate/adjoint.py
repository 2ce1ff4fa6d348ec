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
from typing import Any

import numpy as np

from clew.calculus import custom_rule, vjp
from clew.core.types import Type, type_of
from clew.integrate.adaptive import Settings, Solution, solve_towards
from clew.integrate.system import Leaves, System
from clew.loops import scan
from clew.loops.bodies import body_of
from clew.trace import run


def solve_with_adjoint(
    slope: Callable[[Any, Any], Any],
    start: Any,
    times: Any,
    sign: float,
    rtol: float,
    atol: float,
    first_step: float | None,
    max_steps: int,
) -> Solution:
    """Solve as :func:`solve_ode` does; reverse mode integrates the adjoint equation."""
    system = System.of(slope, start, "solve_ode")
    kinds = [type_of(leaf) for leaf in system.start]
    moment = Type((), np.float64)
    # The slope's graph says which outer values it reads: those are the parameters.
    body = body_of(lambda t, *y: system.slope(t, y), (moment, *kinds))
    count = len(kinds)

    def rate(time: Any, state: Any, parameters: Any) -> Leaves:
        return run(body.graph, [time, *state, *parameters])

    def forward(start: Any, times: Any, parameters: Any) -> Any:
        settings = Settings(rtol, atol, sign * times[-1], max_steps)
        own = lambda t, y: rate(t, y, parameters)  # noqa: E731
        found = solve_towards(own, start, times, sign, settings, first_step=first_step)
        return found.states, found.accepted, found.rejected

    def backward(cotangent: Any, output: Any, start: Any, times: Any, parameters: Any) -> Any:
        states, given = output[0], cotangent[0]
        sums = [np.zeros(type_of(p).shape) for p in parameters]

        def slope_back(time: Any, joint: Any) -> Any:
            state, adjoint = joint[:count], joint[count : 2 * count]
            _, pull = vjp(lambda y, p: rate(time, y, p), state, parameters)
            to_state, to_parameters = pull(list(adjoint))
            found = rate(time, state, parameters)
            return [*found, *_negative(to_state), *_negative(to_parameters)]

        def interval(carry: Any, at: Any) -> Any:
            adjoint, sums = carry
            first, last, state, given = at
            adjoint = [a + w for a, w in zip(adjoint, given, strict=True)]
            joint = [*state, *adjoint, *sums]
            settings = Settings(rtol, atol, -sign * first, max_steps)
            found = solve_towards(slope_back, joint, np.stack([last, first]), -sign, settings)
            ends = [leaf[-1] for leaf in found.states]
            return (ends[count : 2 * count], ends[2 * count :]), None

        ends = [leaf[1:] for leaf in states], [leaf[1:] for leaf in given]
        zero = [np.zeros(kind.shape) for kind in kinds]
        slices = (times[:-1], times[1:], *ends)
        (adjoint, sums), _ = scan(interval, (zero, sums), slices, reverse=True)
        to_times = _to_times(rate, states, given, times, parameters, adjoint)
        adjoint = [a + w[0] for a, w in zip(adjoint, given, strict=True)]
        return adjoint, to_times, sums

    integrate = custom_rule(forward, pull=backward)
    states, accepted, rejected = integrate(list(system.start), times, list(body.captured))
    none = np.int64(0)
    last = [leaf[-1] for leaf in states]
    return Solution(
        times,
        system.tree(list(states)),
        accepted,
        rejected,
        none,
        none - 1,
        times[-1],
        system.tree(last),
    )


def _negative(leaves: Any) -> Leaves:
    return [-leaf for leaf in leaves]


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
