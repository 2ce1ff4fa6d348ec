"""Differential equations stepped through time in one loop, to be differentiated through.

The right-hand side is ``slope(time, state)``; a state is an array or a tree of arrays. Gradients
are those of the discrete steps, exactly: back-propagation through time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from clew.core import pytree
from clew.core.errors import InputError
from clew.core.source import scope
from clew.core.types import type_of
from clew.loops import scan

Slope = Callable[[Any, Any], Any]
Stepper = Callable[[Slope, Any, Any, Any], Any]


def euler_step(slope: Slope, time: Any, state: Any, step: Any) -> Any:
    """Return the state one step later, to first order: ``s + h f(t, s)``.

    >>> float(euler_step(lambda t, s: -s, 0.0, 1.0, 0.1))
    0.9
    """
    return _moved(state, slope(time, state), step)


def midpoint_step(slope: Slope, time: Any, state: Any, step: Any) -> Any:
    """Return the state one step later, to second order: the slope half-way carries the step.

    >>> round(float(midpoint_step(lambda t, s: -s, 0.0, 1.0, 0.1)), 6)
    0.905
    """
    half = 0.5 * step
    middle = _moved(state, slope(time, state), half)
    return _moved(state, slope(time + half, middle), step)


def runge_kutta_step(slope: Slope, time: Any, state: Any, step: Any) -> Any:
    """Return the state one step later, to fourth order.

    The classical method: ``s + h (k1 + 2 k2 + 2 k3 + k4) / 6`` (Kutta 1901; Hairer, Norsett and
    Wanner, Solving Ordinary Differential Equations I, table II.1.2).

    >>> round(float(runge_kutta_step(lambda t, s: -s, 0.0, 1.0, 0.1)), 7)
    0.9048375
    """
    half = 0.5 * step
    first = slope(time, state)
    second = slope(time + half, _moved(state, first, half))
    third = slope(time + half, _moved(state, second, half))
    fourth = slope(time + step, _moved(state, third, step))
    mean = pytree.map(
        lambda a, b, c, d: (a + 2.0 * (b + c) + d) / 6.0, first, second, third, fourth
    )
    return _moved(state, mean, step)


def simulate(
    slope: Callable[..., Any],
    start: Any,
    step: Any,
    count: int | None = None,
    controls: Any = None,
    time: Any = 0.0,
    method: Stepper = runge_kutta_step,
    checkpoint: int | Literal["auto"] | None = None,
    memory: int | None = None,
) -> Any:
    """Return the states at all steps, the start included.

    The steps are one loop (:func:`clew.scan`), so a thousand cost no more to trace than one;
    a choice in ``slope`` that depends on the state is written with ``clew.cond`` or ``np.where``.

    Parameters
    ----------
    slope : callable
        ``slope(time, state)``, or ``slope(time, state, control)`` with controls.
    start : array or tree
    step : float
        The length of a step; may be a parameter.
    count : int, optional
        How many steps; the number of controls if there are any.
    controls : array or tree, optional
        Step n, from ``time + n step`` on, sees row n of axis 0, held constant.
    time : float
        At the start.
    method : callable
        :func:`euler_step`, :func:`midpoint_step`, :func:`runge_kutta_step`, or one like them.
    checkpoint, memory
        What reverse mode keeps; see :func:`clew.scan`.

    Returns
    -------
    array (count + 1, ...) or tree of arrays

    Raises
    ------
    InputError
        If the number of steps is not given, or not that of the controls.

    >>> states = simulate(lambda t, s: -s, np.array([1.0]), 0.1, 10)
    >>> states.shape, bool(abs(states[-1, 0] - np.exp(-1.0)) < 1e-6)
    ((11, 1), True)
    """
    total = _step_count(count, controls)
    start = pytree.map(_as_float, start)

    def advance(state: Any, at: Any) -> tuple[Any, Any]:
        number, control = at
        held = slope if controls is None else _held(slope, control)
        with scope("step"):
            state = method(held, time + number * step, state, step)
        return state, state

    slices = (np.arange(total), controls)
    _, after = scan(advance, start, slices, checkpoint=checkpoint, memory=memory)
    return pytree.map(_after_start, start, after)


def _held(slope: Callable[..., Any], control: Any) -> Slope:
    return lambda time, state: slope(time, state, control)


def _as_float(leaf: Any) -> Any:
    return leaf if type_of(leaf).inexact else leaf * 1.0


def _after_start(start: Any, after: Any) -> Any:
    return np.concatenate([start[None] if type_of(start).shape else np.stack([start]), after])


def _moved(state: Any, slope: Any, step: Any) -> Any:
    return pytree.map(lambda s, k: s + step * k, state, slope)


def _step_count(count: int | None, controls: Any) -> int:
    lengths = set()
    shapes = []
    if controls is not None:
        shapes = [type_of(leaf).shape for leaf in pytree.flatten(controls)[0]]
        lengths = {shape[0] if shape else -1 for shape in shapes}
    if count is not None:
        lengths.add(count)
    if len(lengths) != 1 or min(lengths) < 0:
        rows = "no controls" if controls is None else f"controls of shape {shapes}"
        raise InputError(
            f"simulate: count={count}, {rows}",
            "give count=, or controls with one row of axis 0 for each step",
        )
    return lengths.pop()
