"""Many starts: for losses with several minima, the best of the places that a method ends in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from clew.core.errors import InputError
from clew.solve.methods.base import Method, State, first_state
from clew.solve.objective import Objective

Array = np.ndarray
ROUNDING = 1e-9  # losses this close, relatively, are the same minimum


@dataclass(frozen=True)
class MultiStart(Method):
    """Run a method from the problem's start and from points spread over the bounds.

    The points form a Latin hypercube: every parameter's range is cut into as many parts as there
    are starts, and each part is used once (McKay, Beckman and Conover, 1979). A parameter
    without bounds is spread around its start.

    Parameters
    ----------
    inner : Method or str, optional
        What is run from each start; chosen by the problem's structure when not given.
    starts : int
        How many starts, the problem's own included.
    spread : float
        For parameters without two bounds: the half-width of the range, relative to the start's
        size (or to 1 for a start at 0).
    inner_steps : int
        The most steps from each start.
    seed : int

    >>> MultiStart(starts=4).points(Objective(np.zeros(1), np.ones(1)), np.array([0.5])).shape
    (4, 1)
    """

    inner: Method | str | None = None
    starts: int = 16
    spread: float = 3.0
    inner_steps: int = 300
    seed: int = 0

    name: ClassVar[str] = "multi-start"
    default_steps: ClassVar[int] = 1_000_000

    def start(self, objective: Objective, x: Array) -> State:
        inner = self._inner.start(objective, x)
        found = np.full((self.starts, 1 + x.size), np.nan)
        return first_state(
            x,
            inner["loss"],
            inner["gradient_norm"],
            inner=inner,
            points=self.points(objective, x),
            found=found,
            at=0,
            inner_steps=0,
            converged=False,
        )

    def step(self, objective: Objective, state: State) -> State:
        if not state["inner"]:
            return self._begin(objective, state)
        inner = self._inner.step(objective, state["inner"])
        count = state["inner_steps"] + 1
        new = {**state, "inner": inner, "inner_steps": count}
        new["step_length"] = inner["step_length"]
        if np.isfinite(inner["loss"]) and inner["loss"] < state["loss"]:
            new.update(x=inner["x"], loss=inner["loss"], gradient_norm=inner["gradient_norm"])
            new["converged"] = False
        if inner["stop"] or count >= self.inner_steps:
            return self._ended(new, inner)
        return new

    def _begin(self, objective: Objective, state: State) -> State:
        inner = self._inner.start(objective, state["points"][state["at"]])
        if not np.isfinite(inner["loss"]):
            return self._ended({**state, "step_length": 0.0}, inner)
        return {**state, "inner": inner, "inner_steps": 0, "step_length": 0.0}

    def _ended(self, state: State, inner: State) -> State:
        found = state["found"].copy()
        found[state["at"]] = np.concatenate([[inner["loss"]], inner["x"]])
        done = state["at"] + 1 >= self.starts
        best = {}
        level = state["loss"] + ROUNDING * abs(state["loss"])
        if inner["stop"] not in ("", "not finite") and inner["loss"] <= level:
            best = {key: inner[key] for key in ("x", "loss", "gradient_norm")}
            best["converged"] = True
        return {
            **state,
            **best,
            "found": found,
            "at": state["at"] + 1,
            "inner": {},
            "stop": "starts" if done else "",
        }

    def points(self, objective: Objective, x: Array) -> Array:
        """Return the points to start from, of shape (starts, n); the first is ``x``."""
        generator = np.random.Generator(np.random.Philox(key=self.seed))
        cells = np.argsort(generator.random((self.starts, x.size)), axis=0)
        unit = (cells + generator.random((self.starts, x.size))) / self.starts
        half = self.spread * np.where(x != 0, np.abs(x), 1.0)
        low = np.where(np.isfinite(objective.lower), objective.lower, x - half)
        high = np.where(np.isfinite(objective.upper), objective.upper, x + half)
        points = objective.project(low + (high - low) * unit)
        points[0] = x
        return points

    @property
    def _inner(self) -> Method:
        if not isinstance(self.inner, Method):
            raise InputError(
                f"MultiStart: inner={self.inner!r} has not been resolved to a method",
                "call it through clew.solve, or give a method object",
            )
        return self.inner
