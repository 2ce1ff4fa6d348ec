"""Steps of the length that the error allows, with dense output and events, as one loop.

The state of the loop is a :class:`Progress`. An outer scan visits the output times; an inner
``while_loop`` steps until the next of them is passed, and the output is read off the last
step's continuous extension, so output times never shorten a step. A step in which an event
happens is cut at the event.

Step lengths count as constants in derivatives: the result depends on them only through the
error that the tolerance allows, and their own derivative is noise divided by noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from clew.calculus import stop_gradient
from clew.core import pytree
from clew.core.errors import InputError
from clew.core.types import type_of
from clew.integrate import dormand_prince as method
from clew.integrate.events import Event, Found, first_event, jumped, sides_after, sides_of
from clew.integrate.fixed import with_start
from clew.integrate.system import Leaves, System, increasing, moved
from clew.loops import check, cond, scan, while_loop
from clew.loops.spellings import Checkpoint

SAFETY, SMALLEST, LARGEST = 0.9, 0.2, 10.0
EXPONENT, MEMORY = 0.7 / 5.0, 0.4 / 5.0
"""Of the PI controller (Gustafsson 1991; Hairer, Norsett and Wanner II.4)."""


class Solution(NamedTuple):
    """What an integration found.

    ``states`` has a leading axis of ``times``; after a terminal event it holds the state of the
    event. ``event_index`` is -1 if no event happened; ``event_time`` and ``event_state`` are those
    of the last one, before its jump.
    """

    times: Any
    states: Any
    accepted: Any
    rejected: Any
    event_count: Any
    event_index: Any
    event_time: Any
    event_state: Any


class Progress(NamedTuple):
    """The carry of the loop; times are multiplied by the sign that makes them increase."""

    time: Any
    state: Leaves
    slope: Leaves
    size: Any
    last_error: Any
    step_time: Any
    step_size: Any
    before: Leaves
    after: Leaves
    dense: tuple[Leaves, Leaves, Leaves]
    sides: Any
    accepted: Any
    rejected: Any
    finished: Any
    failed: Any
    event_count: Any
    event_index: Any
    event_time: Any
    event_state: Leaves


class Settings(NamedTuple):
    """What does not change during an integration."""

    relative: Any
    absolute: Any
    end: Any
    most_steps: int


def solve_ode(
    slope: Callable[[Any, Any], Any],
    start: Any,
    times: Any,
    *,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    first_step: float | None = None,
    max_steps: int = 100_000,
    events: Event | Sequence[Event] = (),
    gradient: Literal["discrete", "adjoint"] = "discrete",
    checkpoint: Checkpoint = None,
    memory: int | None = None,
) -> Solution:
    """Solve ``dy/dt = slope(t, y)`` by Dormand-Prince 5(4) with steps that follow the error.

    Parameters
    ----------
    slope : callable
        ``slope(time, state)``, a tree like the state. May read traced values: parameters.
    start : tree of arrays
        The state at ``times[0]``.
    times : array (n,)
        Where the state is wanted; increasing or decreasing; may be traced.
    rtol, atol : float
        A step is accepted if the root mean square of ``error / (atol + rtol |y|)`` is at most 1.
    first_step : float, optional
        Found from the slope if not given.
    max_steps : int
        Steps, rejected ones too, between two of ``times``.
    events : Event or sequence of Event
        What stops the integration or changes the state; see :class:`Event`.
    gradient : {"discrete", "adjoint"}
        Of the steps taken, exactly; or by integrating the adjoint equation backwards, which keeps
        the states at ``times`` only and is accurate to the tolerance (no events).
    checkpoint, memory
        What reverse mode keeps of the steps; see :func:`clew.while_loop`.

    Returns
    -------
    Solution

    Raises
    ------
    InputError, ShapeError
        If times are not in order, or the slope is not like the state.
    RunError
        If the step underflows, the slope is not finite, or ``max_steps`` are not enough.

    >>> import clew
    >>> late = lambda k: solve_ode(lambda t, y: -k * y, 1.0, np.array([0.0, 2.0])).states[-1]
    >>> bool(abs(clew.grad(late)(0.5) + 2.0 * np.exp(-1.0)) < 1e-5)
    True
    """
    times, sign = increasing("solve_ode", times)
    events = _listed(events)
    settings = Settings(rtol, atol, sign * times[-1], max_steps)
    _check_settings(settings, events, gradient)
    if gradient == "adjoint":
        from clew.integrate.adjoint import solve_with_adjoint

        return solve_with_adjoint(slope, start, times, sign, settings, first_step)
    return solve_towards(
        slope, start, times, sign, settings, events, first_step, checkpoint, memory
    )


def _listed(events: Any) -> tuple[Event, ...]:
    found = tuple(events) if isinstance(events, Sequence) else (events,)
    for each in found:
        if not isinstance(each, Event):
            raise InputError(
                f"solve_ode: events holds a {type(each).__name__}, not an Event",
                "write Event(function), or a list of them",
            )
    return found


def _check_settings(settings: Settings, events: Sequence[Event], gradient: str) -> None:
    for name, value in (
        ("rtol", settings.relative),
        ("atol", settings.absolute),
        ("max_steps", settings.most_steps),
    ):
        if value <= 0:
            raise InputError(f"solve_ode: {name}={value}", "give a number above 0")
    if gradient not in ("discrete", "adjoint"):
        raise InputError(f"solve_ode: gradient={gradient!r}", "use 'discrete' or 'adjoint'")
    if gradient == "adjoint" and events:
        raise InputError("solve_ode: gradient='adjoint' with events", "use gradient='discrete'")


def solve_towards(
    slope: Callable[[Any, Any], Any],
    start: Any,
    times: Any,
    sign: float,
    settings: Settings,
    events: Sequence[Event] = (),
    first_step: float | None = None,
    checkpoint: Checkpoint = None,
    memory: int | None = None,
) -> Solution:
    """Solve with times known to increase (sign 1) or decrease (sign -1)."""

    def forward(time: Any, state: Any) -> Any:
        found = slope(sign * time, state)
        return found if sign == 1.0 else pytree.map(lambda leaf: -leaf, found)

    system = System.of(forward, start, "solve_ode")
    events = [each.in_direction(sign) for each in events]
    with np.errstate(all="ignore"):  # a slope that is not finite is reported by _check
        begin = _begin(system, events, settings, sign * times[0], first_step)

    def to_next(progress: Progress, time: Any) -> tuple[Progress, Leaves]:
        before = progress.accepted + progress.rejected
        going = lambda p: (  # noqa: E731
            (p.time < time)
            & ~p.finished
            & ~p.failed
            & (p.accepted + p.rejected - before < settings.most_steps)
        )
        body = lambda p: _advance(system, events, settings, p)  # noqa: E731
        late = while_loop(going, body, progress, checkpoint=checkpoint, memory=memory)
        taken = late.accepted + late.rejected - before
        _check(late, sign, taken, settings)
        inside = np.where(late.finished & (late.time < time), late.time, time)
        share = (inside - late.step_time) / late.step_size
        output = method.interpolated(late.before, late.after, late.dense, share)
        ended = late.finished & (late.time <= time)
        return late, [np.where(ended, end, y) for end, y in zip(late.state, output, strict=True)]

    late, after = scan(to_next, begin, sign * times[1:])
    states = with_start(begin.state, after)
    return Solution(
        times,
        system.tree(states),
        late.accepted,
        late.rejected,
        late.event_count,
        late.event_index,
        sign * late.event_time,
        system.tree(late.event_state),
    )


def _check(late: Progress, sign: float, taken: Any, settings: Settings) -> None:
    fine = np.isfinite(late.last_error)
    check(
        fine,
        "solve_ode: the slope is not finite near time {0}",
        "look at the slope there with clew.explain_nan, or start elsewhere",
        sign * late.time,
    )
    check(
        ~late.failed,
        "solve_ode: the step became too small at time {0}: {1}",
        "the problem may be stiff or singular there: loosen rtol and atol, or rescale it",
        sign * late.time,
        late.size,
    )
    check(
        taken < settings.most_steps,
        "solve_ode: {0} steps did not reach the next time; it is {1}",
        "raise max_steps, or loosen rtol and atol",
        taken,
        sign * late.time,
    )


def _begin(
    system: System, events: Sequence[Event], settings: Settings, time: Any, first: float | None
) -> Progress:
    state = system.start
    slope = system.slope(time, state)
    size = _first_size(system, settings, time, state, slope) if first is None else first
    zero = [0.0 * leaf for leaf in state]
    return Progress(
        time=time * 1.0,
        state=state,
        slope=slope,
        size=stop_gradient(np.minimum(size * 1.0, np.maximum(settings.end - time, 1e-300))),
        last_error=1.0,
        step_time=time * 1.0,
        step_size=1.0,
        before=state,
        after=state,
        dense=(zero, zero, zero),
        sides=sides_of(events, system, time, state, slope),
        accepted=0,
        rejected=0,
        finished=False,
        failed=False,
        event_count=0,
        event_index=-1,
        event_time=time * 1.0,
        event_state=state,
    )


def _norm(values: Sequence[Any], scales: Sequence[Any]) -> Any:
    """Root mean square of values over their scales, all leaves together."""
    total, count = 0.0, 0
    for value, scale in zip(values, scales, strict=True):
        total = total + np.sum(np.abs(value / scale) ** 2)
        count += type_of(value).size
    return np.sqrt(total / max(count, 1))


def _first_size(system: System, settings: Settings, time: Any, state: Leaves, slope: Leaves) -> Any:
    """Return a first step (Hairer, Norsett and Wanner II.4, "Starting Step Size")."""
    time, state, slope = stop_gradient((time, state, slope))
    scales = [settings.absolute + settings.relative * np.abs(y) for y in state]
    size_of_state, size_of_slope = _norm(state, scales), _norm(slope, scales)
    tiny = (size_of_state < 1e-5) | (size_of_slope < 1e-5)
    guess = np.where(tiny, 1e-6, 0.01 * size_of_state / np.where(tiny, 1.0, size_of_slope))
    guess = np.minimum(guess, settings.end - time)
    further = system.slope(time + guess, moved(state, guess, slope))
    change = [b - a for a, b in zip(slope, further, strict=True)]
    bend = _norm(change, scales) / np.where(guess > 0.0, guess, 1.0)
    largest = np.maximum(size_of_slope, bend)
    flat = largest <= 1e-15
    power = (0.01 / np.where(flat, 1.0, largest)) ** 0.2
    second = np.where(flat, np.maximum(1e-6, guess * 1e-3), power)
    return stop_gradient(np.minimum(100.0 * guess, second))


def _advance(system: System, events: Sequence[Event], settings: Settings, p: Progress) -> Progress:
    """Try a step; accept it, cut at the first event in it, or try again with a shorter one."""
    size = stop_gradient(np.minimum(p.size, settings.end - p.time))
    taken = method.step(system, p.time, p.state, size, p.slope)
    scales = [
        settings.absolute + settings.relative * np.maximum(np.abs(y), np.abs(z))
        for y, z in zip(p.state, taken.after, strict=True)
    ]
    error = stop_gradient(_norm(taken.error, scales))
    fine = np.isfinite(error)
    accept = fine & (error <= 1.0)
    bounded = np.maximum(np.where(fine, error, 1e10), 1e-10)
    factor = SAFETY * bounded**-EXPONENT * np.maximum(p.last_error, 1e-10) ** MEMORY
    factor = np.clip(factor, SMALLEST, np.where(accept, LARGEST, 1.0))
    next_size = stop_gradient(size * factor)
    # The last step may be short only because the end is near.
    next_size = np.where(accept & (size < p.size), np.maximum(next_size, p.size), next_size)
    smallest = 16.0 * np.finfo(np.float64).eps * np.maximum(np.abs(p.time), 1e-280)
    refused = p._replace(
        size=next_size,
        rejected=p.rejected + 1,
        failed=next_size <= smallest,
        last_error=np.where(fine | (next_size > smallest), p.last_error, np.nan),
    )
    accepted = lambda: _accepted(system, events, settings, p, taken, next_size, bounded)  # noqa: E731
    return cond(accept, accepted, lambda: refused)


def _accepted(
    system: System,
    events: Sequence[Event],
    settings: Settings,
    p: Progress,
    taken: method.Step,
    next_size: Any,
    error: Any,
) -> Progress:
    whole = p._replace(
        time=p.time + taken.size,
        state=taken.after,
        slope=taken.last_slope,
        size=next_size,
        last_error=error,
        step_time=p.time,
        step_size=taken.size,
        before=taken.before,
        after=taken.after,
        dense=taken.dense,
        accepted=p.accepted + 1,
    )
    # The end itself, not one rounding error beside it.
    last = taken.size >= settings.end - p.time
    whole = whole._replace(time=np.where(last, settings.end, whole.time))
    if not events:
        return whole
    found = first_event(events, system, p.sides, taken)
    sides = sides_after(events, system, p.sides, whole.time, taken.after)
    at_event = lambda: _at_event(system, events, whole, taken, found)  # noqa: E731
    return cond(found.index >= 0, at_event, lambda: whole._replace(sides=sides))


def _at_event(
    system: System,
    events: Sequence[Event],
    whole: Progress,
    taken: method.Step,
    found: Found,
) -> Progress:
    cut = method.step(system, taken.time, taken.before, found.time - taken.time, found.first_slope)
    state, terminal = jumped(events, system, found, cut.after)
    slope = system.slope(found.time, state)
    return whole._replace(
        time=found.time,
        state=state,
        slope=slope,
        step_size=cut.size,
        after=cut.after,
        dense=cut.dense,
        sides=sides_of(events, system, found.time, state, slope, found.index),
        finished=terminal,
        event_count=whole.event_count + 1,
        event_index=found.index,
        event_time=found.time,
        event_state=cut.after,
    )
