"""What a method is: a start and a step, both pure, on a state of arrays and plain numbers.

The state holds all there is to know, so a run that is written down after any step and read back
continues bit for bit. A method sees an :class:`~clew.solve.objective.Objective`, never the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from clew.solve.objective import Objective

State = dict[str, Any]
Observer = Callable[[State], bool]


@dataclass(frozen=True)
class Method:
    """The base of all methods.

    A state has at least ``x``, ``loss``, ``gradient_norm``, ``step_length`` and ``stop``: empty
    while the run goes on, else the kind of ending (see :mod:`clew.solve.status`).

    Parameters
    ----------
    tolerance : float
        How exact the solution should be; each method says of what.
    """

    tolerance: float = 1e-8

    name: ClassVar[str] = ""
    default_steps: ClassVar[int] = 500
    needs_residual: ClassVar[bool] = False
    takes_constraints: ClassVar[bool] = False
    takes_batches: ClassVar[bool] = False
    monotone: ClassVar[bool] = True

    def start(self, objective: Objective, x: np.ndarray) -> State:
        """Return the state at the starting point."""
        raise NotImplementedError

    def step(self, objective: Objective, state: State) -> State:
        """Return the state after one more step; the given state is not changed."""
        raise NotImplementedError

    def saved(self, state: State) -> State:
        """Return the state as arrays and plain numbers, to be written down."""
        return state

    def restored(self, state: State) -> State:
        """Return the state that was written down."""
        return state

    def run(self, objective: Objective, state: State, observe: Observer) -> None:
        """Step until the observer says that it is enough."""
        while True:
            state = self.step(objective, state)
            if observe(state):
                return


def first_state(x: np.ndarray, loss: float, gradient_norm: float, **rest: Any) -> State:
    """Return what every state has, before the first step."""
    return {
        "x": x,
        "loss": loss,
        "gradient_norm": gradient_norm,
        "step_length": 0.0,
        "stop": "",
        **rest,
    }


def largest(values: np.ndarray) -> float:
    """Return the largest magnitude."""
    return float(np.max(np.abs(values))) if values.size else 0.0
