"""Events: what happens when a function of time and state crosses zero.

The crossing is located on the step's continuous extension, then made exact for the step cut
there, by Newton steps that belong to the derivative. Each squares the error of the time and
doubles the order to which its derivatives are right: two make it right to third order. So the
derivative of the event's time, and of all that comes after, is that of the implicit function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from clew.calculus import jvp, stop_gradient
from clew.core import pytree
from clew.core.errors import InputError, ShapeError
from clew.core.types import type_of
from clew.integrate import dormand_prince as method
from clew.integrate.system import Leaves, System
from clew.loops import check, fori_loop, switch

_BISECTIONS = 60
_NEWTON_STEPS = 2


@dataclass(frozen=True)
class Event:
    """Something that happens where ``function(time, state)`` crosses zero.

    Parameters
    ----------
    function : callable
        Returns one number.
    direction : {0, 1, -1}
        Any crossing, only a rising one, or only a falling one (in the direction of integration).
    jump : callable, optional
        ``jump(time, state)``, the state after the event.
    terminal : bool, optional
        Whether the integration stops; by default if there is no jump.

    >>> import clew, numpy as np
    >>> fall = lambda t, s: np.stack([s[1], -10.0])
    >>> floor = Event(lambda t, s: s[0], direction=-1)
    >>> landing = lambda h: clew.integrate.solve_ode(
    ...     fall, np.stack([h, 0.0]), np.array([0.0, 9.0]), events=floor).event_time
    >>> bool(np.isclose(landing(5.0), 1.0)), bool(np.isclose(clew.grad(landing)(5.0), 0.1))
    (True, True)
    """

    function: Callable[[Any, Any], Any]
    direction: int = 0
    jump: Callable[[Any, Any], Any] | None = None
    terminal: bool | None = None

    def __post_init__(self) -> None:
        if self.direction not in (0, 1, -1):
            raise InputError(f"Event: direction={self.direction}", "use 1, -1, or 0 for both")

    @property
    def ends(self) -> bool:
        """Whether the integration stops here."""
        return self.jump is None if self.terminal is None else self.terminal

    def in_direction(self, sign: float) -> Event:
        """Return the event for time multiplied by a sign."""
        if sign == 1.0:
            return self
        own, jump = self.function, self.jump
        turned = None if jump is None else lambda time, state: jump(-time, state)
        return Event(lambda time, state: own(-time, state), self.direction, turned, self.ends)

    def value(self, system: System, time: Any, state: Sequence[Any]) -> Any:
        """Return the function's value; raise if it is not one number."""
        found = self.function(time, system.tree(list(state)))
        kind = type_of(found)
        if kind.shape != () or kind.dtype.kind not in "f":
            raise ShapeError(
                f"Event: the function returned {kind}, not one real number",
                "return a number that crosses zero at the event",
            )
        return found


class Found(NamedTuple):
    """The first event of a step; ``index`` is -1 if there is none."""

    index: Any
    time: Any
    first_slope: Leaves


def sides_of(
    events: Sequence[Event],
    system: System,
    time: Any,
    state: Leaves,
    slope: Leaves,
    happened: Any = -1,
) -> Any:
    """Return on which side of zero each function is, 1 or -1: where it goes, if it is at zero.

    An event that has just ``happened`` is at zero, whatever rounding says. Event n is at n + 1:
    a loop's carry may not be empty where there are no events.
    """
    sides = [np.float64(0.0)]
    for number, event in enumerate(events):
        along = lambda t, *y, event=event: event.value(system, t, y)  # noqa: E731
        value, rate = jvp(along, (time * 1.0, *state), (1.0, *slope))
        at_zero = (happened == number) | (value == 0.0)
        sides.append(stop_gradient(np.where(at_zero, np.sign(rate), np.sign(value))))
    return np.stack(sides)


def sides_after(
    events: Sequence[Event], system: System, sides: Any, time: Any, state: Leaves
) -> Any:
    """Return the sides after a step without an event."""
    found = [np.float64(0.0)]
    for number, event in enumerate(events):
        value = stop_gradient(event.value(system, time, state))
        found.append(np.where(value == 0.0, sides[number + 1], np.sign(value)))
    return np.stack(found)


def first_event(events: Sequence[Event], system: System, sides: Any, taken: method.Step) -> Found:
    """Return the first event within a step."""
    last = taken.time + taken.size
    index, time = np.int64(-1), stop_gradient(last)
    for number, event in enumerate(events):
        side = sides[number + 1]
        after = stop_gradient(event.value(system, last, taken.after))
        wanted = (side != 0.0) if event.direction == 0 else (side == -float(event.direction))
        crosses = wanted & (side * after <= 0.0)
        where = _bisected(event, system, taken, side)
        earlier = crosses & ((index < 0) | (where < time))
        index = np.where(earlier, number, index)
        time = np.where(earlier, where, time)
    first_slope = system.slope(taken.time, taken.before)
    exact = _exact(events, system, taken, index, time, first_slope)
    return Found(index, exact, first_slope)


def _bisected(event: Event, system: System, taken: method.Step, side: Any) -> Any:
    """Locate a crossing on the continuous extension."""
    taken = stop_gradient(taken)

    def halve(_: Any, bracket: Any) -> Any:
        low, high = bracket
        middle = 0.5 * (low + high)
        same = side * event.value(system, middle, taken.at(middle)) > 0.0
        return np.where(same, middle, low), np.where(same, high, middle)

    bracket = (taken.time * 1.0, taken.time + taken.size)
    return stop_gradient(fori_loop(0, _BISECTIONS, halve, bracket)[1])


def _exact(
    events: Sequence[Event],
    system: System,
    taken: method.Step,
    index: Any,
    time: Any,
    first_slope: Leaves,
) -> Any:
    """Make the time that at which the step, cut there, has the event."""

    def newton(event: Event) -> Callable[[Any], Any]:
        def at(time: Any) -> Any:
            size = time - taken.time
            cut = method.step(system, taken.time, taken.before, size, first_slope)
            return event.value(system, time, cut.after)

        def refined(time: Any) -> Any:
            for _ in range(_NEWTON_STEPS):
                value, rate = jvp(at, (time,), (1.0,))
                check(
                    rate != 0.0,
                    "solve_ode: the event's function touches zero at time {0} without crossing it",
                    "its time has no derivative there; change the parameters, or the event",
                    time,
                )
                time = time - value / rate
            return time

        return refined

    stay = lambda time: time * 1.0  # noqa: E731
    return switch(index + 1, [stay, *(newton(event) for event in events)], time)


def jumped(
    events: Sequence[Event], system: System, found: Found, state: Leaves
) -> tuple[Leaves, Any]:
    """Return the state after an event, and whether it is the last."""

    def after(event: Event) -> Callable[..., Any]:
        def changed(*state: Any) -> tuple[Leaves, Any]:
            leaves = list(state)
            if event.jump is not None:
                leaves = pytree.flatten(event.jump(found.time, system.tree(leaves)), False)[0]
                _check_jump(state, leaves)
            return [new * 1.0 for new in leaves], np.bool_(event.ends)

        return changed

    return switch(found.index, [after(event) for event in events], *state)


def _check_jump(before: Sequence[Any], after: Sequence[Any]) -> None:
    shapes = [type_of(x).shape for x in before], [type_of(x).shape for x in after]
    if shapes[0] != shapes[1]:
        raise ShapeError(
            f"Event: the jump returned shapes {shapes[1]}, the state has {shapes[0]}",
            "return a state like the one it was given",
        )
