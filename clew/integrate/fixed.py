"""Steps of a fixed length: the classical fourth-order method, and leapfrog for mechanics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clew.core import pytree
from clew.core.errors import InputError
from clew.core.types import type_of
from clew.integrate.system import Leaves, System, combined, increasing, moved
from clew.loops import fori_loop, scan
from clew.loops.spellings import Checkpoint


def rk4(
    slope: Callable[[Any, Any], Any],
    start: Any,
    times: Any,
    *,
    steps_per_interval: int = 1,
    checkpoint: Checkpoint = None,
    memory: int | None = None,
) -> Any:
    """Return the states at the given times, by the classical Runge-Kutta method of order 4.

    ``s + h (k1 + 2 k2 + 2 k3 + k4) / 6`` (Kutta 1901; Hairer, Norsett and Wanner, "Solving
    Ordinary Differential Equations I", table II.1.2). Gradients are those of the steps, exactly.

    Parameters
    ----------
    slope : callable
        ``slope(time, state)``, the rate of change, a tree like the state. May read traced values.
    start : tree of arrays
        The state at ``times[0]``.
    times : array (n,)
        Increasing or decreasing; may be traced.
    steps_per_interval : int
        Equal steps between two times.
    checkpoint, memory
        What reverse mode keeps; see :func:`clew.scan`.

    Returns
    -------
    tree of arrays (n, ...)

    >>> states = rk4(lambda t, y: -y, 1.0, np.linspace(0.0, 1.0, 11))
    >>> bool(abs(states[-1] - np.exp(-1.0)) < 1e-6)
    True
    """
    if steps_per_interval < 1:
        raise InputError(f"rk4: steps_per_interval={steps_per_interval}", "give 1 or more")
    times, _ = increasing("rk4", times)
    system = System.of(slope, start, "rk4")

    def interval(state: Leaves, ends: Any) -> tuple[Leaves, Leaves]:
        first, last = ends
        size = (last - first) / steps_per_interval
        if steps_per_interval == 1:
            state = _rk4_step(system, first, state, size)
        else:
            body = lambda i, inner: _rk4_step(system, first + i * size, inner, size)  # noqa: E731
            state = fori_loop(0, steps_per_interval, body, state)
        return state, state

    ends = (times[:-1], times[1:])
    _, after = scan(interval, system.start, ends, checkpoint=checkpoint, memory=memory)
    return system.tree(with_start(system.start, after))


def _rk4_step(system: System, time: Any, state: Leaves, size: Any) -> Leaves:
    half = 0.5 * size
    first = system.slope(time, state)
    second = system.slope(time + half, moved(state, half, first))
    third = system.slope(time + half, moved(state, half, second))
    fourth = system.slope(time + size, moved(state, size, third))
    return moved(state, size / 6.0, combined((1.0, 2.0, 2.0, 1.0), [first, second, third, fourth]))


def with_start(start: Leaves, after: Leaves) -> Leaves:
    """Put the state at the start before those after it."""
    return [np.concatenate([np.stack([s]), rest]) for s, rest in zip(start, after, strict=True)]


def leapfrog(
    acceleration: Callable[[Any], Any],
    position: Any,
    velocity: Any,
    step: Any,
    count: int,
    *,
    checkpoint: Checkpoint = None,
    memory: int | None = None,
) -> tuple[Any, Any]:
    """Return positions and velocities at ``count + 1`` times, by the Stoermer-Verlet method.

    ``v += h/2 a(x); x += h v; v += h/2 a(x)``: of order 2, symplectic and reversible, so that the
    energy of a conservative system stays within a bound for very long (Hairer, Lubich and Wanner,
    "Geometric Numerical Integration", section I.1.4).

    Parameters
    ----------
    acceleration : callable
        ``acceleration(position)``, a tree like the position.
    position, velocity : trees of arrays
    step : float
        May be traced, and negative.
    count : int

    >>> x, v = leapfrog(lambda x: -x, 1.0, 0.0, 0.1, 100)
    >>> energy = 0.5 * (x**2 + v**2)
    >>> bool(np.ptp(energy) < 2e-3)
    True
    """
    if count < 0:
        raise InputError(f"leapfrog: count={count}", "give a number of steps")
    places = System.of(lambda _, x: acceleration(x), position, "leapfrog")
    speeds = pytree.flatten(velocity, shared=False)[0]
    speeds = [v if type_of(v).inexact else v * 1.0 for v in speeds]
    if [type_of(x).shape for x in places.start] != [type_of(v).shape for v in speeds]:
        raise InputError(
            "leapfrog: position and velocity differ in structure or shape",
            "give a velocity for each coordinate",
        )

    def advance(carry: Any, _: Any) -> tuple[Any, Any]:
        x, v, pull = carry
        v = moved(v, 0.5 * step, pull)
        x = moved(x, step, v)
        pull = places.slope(0.0, x)
        v = moved(v, 0.5 * step, pull)
        return (x, v, pull), (x, v)

    first = (places.start, speeds, places.slope(0.0, places.start))
    _, (xs, vs) = scan(advance, first, length=count, checkpoint=checkpoint, memory=memory)
    return places.tree(with_start(places.start, xs)), places.tree(with_start(speeds, vs))
