"""``solve``: drive a method to its end, showing, recording and writing down every step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from clew.core import pytree
from clew.core.errors import ClewError, InputError
from clew.solve import checkpoint
from clew.solve.choice import choose
from clew.solve.fingerprint import check_same, fingerprint
from clew.solve.history import History
from clew.solve.methods.base import Method, State, largest
from clew.solve.methods.constrained import SciPyMethod
from clew.solve.model_objective import ModelObjective
from clew.solve.naming import ROOT
from clew.solve.objective import Objective, Reparameterised
from clew.solve.problem import Problem
from clew.solve.progress import Bar, Interruption
from clew.solve.solution import Solution
from clew.solve.status import Status, status_of

if TYPE_CHECKING:
    from clew.evaluate.diagnose import NanReport

SECONDS_BETWEEN_WRITES = 1.0
MOST_VALUES = 6  # parameters named in a sentence
FAR = 1e75  # parameters this large, squared twice, are no numbers any more


@dataclass(frozen=True)
class Step:
    """What a callback is told after each step.

    Attributes
    ----------
    number : int
        From 1.
    loss, gradient_norm, step_length, elapsed : float
        As in :class:`History`.
    vector : array
        The free parameters as a flat vector; :attr:`params` is the tree.
    """

    number: int
    loss: float
    gradient_norm: float
    step_length: float
    elapsed: float
    vector: np.ndarray
    problem: Problem

    @property
    def params(self) -> Any:
        """The parameters, as a tree."""
        return self.problem.space.tree(self.vector)


def solve(
    problem: Problem,
    method: str | Method = "auto",
    *,
    steps: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    batch: int | None = None,
    reparameterise: bool = False,
    progress: bool | None = None,
    resume: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    callback: Callable[[Step], Any] | None = None,
    **options: Any,
) -> Solution:
    """Find the parameters of a problem; after Ctrl-C, the best found so far.

    Parameters
    ----------
    method : str or Method
        ``"auto"`` looks at the problem: Levenberg-Marquardt for sums of squares, SLSQP or
        trust-constr for constraints, Adam for minibatches, else L-BFGS. Or a name in ``METHODS``,
        or an object such as ``Adam(learning_rate=0.1)``; ``options`` are the method's own.
    steps, tolerance : optional
        The most steps, and how exact; each method has its defaults and says of what.
    batch, seed : int, optional
        Rows of ``data`` per step, for first-order methods; their order, and multi-start's starts.
    reparameterise : bool
        Make bounded parameters smooth functions of free ones, instead of projecting.
    progress : bool, optional
        Show a bar; by default on a terminal only.
    resume, checkpoint_every : optional
        A file to write the run to, and to continue from, bit for bit, if it exists; the steps
        between writes (a second apart by default).
    callback : callable, optional
        Called with a :class:`Step`; a true result ends the run.

    Raises
    ------
    InputError, ShapeError, DerivativeError, ResumeError
        For a problem, method, option or resume file that cannot be used; the message says why.

    >>> x = np.arange(5.0)
    >>> problem = Problem(lambda p: p["a"] * np.exp(-p["b"] * x), {"a": 1.0, "b": 1.0},
    ...                   target=3 * np.exp(-0.5 * x))
    >>> solution = solve(problem)
    >>> round(float(solution.params["b"]), 9), solution.converged
    (0.5, True)
    """
    chosen = choose(problem, method, batch is not None, tolerance, seed, options)
    limit = _whole_number("steps", chosen.default_steps if steps is None else steps, 0)
    objective, outer = _objectives(problem, batch, seed, reparameterise)
    objective.check_paths()
    run = _Run(problem, chosen, outer, limit, callback, objective)
    if resume is not None:
        settings = {"batch": batch, "seed": seed, "reparameterised": outer is not objective}
        run.keep(os.fspath(resume), checkpoint_every, fingerprint(problem, chosen, **settings))
    return run.go(progress)


def _objectives(
    problem: Problem, batch: int | None, seed: int, reparameterise: bool
) -> tuple[ModelObjective, Objective]:
    """Return the problem's objective, and the same as the method will see it."""
    if reparameterise and problem.constraints:
        raise InputError(
            "solve: reparameterise=True cannot be combined with constraints",
            "leave it out: the constrained methods keep the bounds themselves",
        )
    objective = ModelObjective(problem, batch, seed)
    smooth = reparameterise and objective.bounded
    return objective, Reparameterised(objective) if smooth else objective


def _whole_number(setting: str, value: Any, least: int) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise InputError(f"solve: {setting}={value!r}", f"give a whole number of {least} or more")
    return int(value)


class _Run:
    """One run: the state, the best so far, the history, and where they are written."""

    def __init__(
        self,
        problem: Problem,
        method: Method,
        objective: Objective,
        limit: int,
        callback: Callable[[Step], Any] | None,
        model: ModelObjective,
    ) -> None:
        self.model = model
        self.problem = problem
        self.method = method
        self.objective = objective
        self.limit = limit
        self.callback = callback
        self.file: str | None = None
        self.every: int | None = None
        self.identity: dict[str, Any] = {}
        self.state: State = {}
        self.rows: list[tuple[float, ...]] = []
        self.number = 0
        self.best: tuple[np.ndarray, float] = (problem.space.start, np.nan)
        self.failed: np.ndarray | None = None
        self.far = FAR * max(1.0, largest(problem.space.start))
        self._began = time.perf_counter()
        self._before = 0.0
        self._written = -np.inf
        self._interruption = Interruption()
        self._bar = Bar(f"{problem.name} ({method.name})", limit)

    def keep(self, file: str, every: int | None, identity: dict[str, Any]) -> None:
        """Write the run down in a file, and continue it from there."""
        if every is not None:
            _whole_number("checkpoint_every", every, 1)
        self.file, self.every, self.identity = file, every, identity

    def go(self, progress: bool | None) -> Solution:
        if progress is not None:
            self._bar.shown = progress
        with self._interruption, self._bar:
            try:
                with self._interruption.allowed():
                    self._begin()
                    if not self._ended():
                        with np.errstate(all="ignore"):  # what is not finite ends the run
                            self.method.run(self.objective, self.state, self._observe)
            except KeyboardInterrupt:
                self.state = {**self.state, "stop": "interrupted"}
            except Exception as error:
                if not isinstance(error, ClewError):
                    error.add_note(f"while solving {self.problem!r}, after {self.number} steps")
                raise
            finally:
                if self.file is not None and self.rows:
                    self._write()
            return self._solution()

    # --- start --------------------------------------------------------------------------

    def _begin(self) -> None:
        x = self.problem.space.start
        if isinstance(self.objective, Reparameterised):
            x = self.objective.outer(x)
        if self.file is not None and os.path.exists(self.file):
            self._continue(x)
            return
        state = self.method.start(self.objective, x)
        if not (np.isfinite(state["loss"]) and np.isfinite(state["gradient_norm"])):
            found = self._explained(self._point(x))
            because = f": {found.sentence}" if found else ""
            raise InputError(
                f"solve: at the start the loss is {state['loss']} and its gradient "
                f"{state['gradient_norm']}, so no step can be taken{because}",
                "start elsewhere, or bound the parameters away from where the model fails",
            )
        self.state = state
        self.best = (state["x"], state["loss"])
        self._record(state)
        self.identity["first loss"] = state["loss"]

    def _continue(self, x: np.ndarray) -> None:
        assert self.file is not None
        saved, written = checkpoint.read(self.file)
        check_same(self.file, written, self.identity, self._first_loss(x))
        self.identity["first loss"] = written["first loss"]
        self.state = self.method.restored(saved["state"])
        self.best = (saved["best"], saved["best_loss"])
        rows = [tuple(float(number) for number in row) for row in saved["history"]]
        self.number = len(rows) - 1
        self._before = rows[-1][-1]
        self.rows = rows
        again = written["tolerance"] != self.method.tolerance
        if again or self.state["stop"] in ("steps", "interrupted", "callback", "not finite"):
            self.state = {**self.state, "stop": ""}
        if not self.state["stop"] and isinstance(self.method, SciPyMethod):
            self.number = 0  # its record takes it through the same iterations again

    def _first_loss(self, x: np.ndarray) -> float:
        if self.method.needs_residual:
            return self.objective.linearise(x)[0]
        return self.objective.value_and_gradient(x)[0]

    # --- each step ----------------------------------------------------------------------

    def _observe(self, state: State) -> bool:
        with self._interruption.held():
            if state["stop"] == "not finite" or not _finite(state):
                self.failed = self._point(state["x"])
                self.state = {**self.state, "stop": "not finite", "failed_loss": state["loss"]}
                return True
            last_word = self._last_word(state)
            self.number += not last_word
            self.state = state
            if last_word:
                self._complete_last_row(state)
            elif self.number >= len(self.rows):
                self._take(state)
            self._bar.update(self.number, state["loss"], state["gradient_norm"])
            if not self.state["stop"] and largest(state["x"]) > self.far:
                self.state = {**self.state, "stop": "unbounded"}
            if self._interruption.asked and not self.state["stop"]:
                self.state = {**self.state, "stop": "interrupted"}
            done = self._ended()
            if self.file is not None and not done and self._due():
                self._write()
            return done

    def _last_word(self, state: State) -> bool:
        """Say whether a state only tells that the last one was the end."""
        return bool(state["stop"]) and np.array_equal(state["x"], self.state["x"])

    def _ended(self) -> bool:
        if not self.state["stop"] and self.number >= self.limit:
            self.state = {**self.state, "stop": "steps"}
        return bool(self.state["stop"])

    def _take(self, state: State) -> None:
        """Take in a step that has not been recorded (SciPy's runs go through recorded ones)."""
        batched = self.objective.batch is not None
        if self.method.monotone or batched or not state["loss"] >= self.best[1]:
            self.best = (state["x"], state["loss"])
        self._record(state)
        if self.callback is not None and self.callback(self._step()) and not state["stop"]:
            self.state = {**state, "stop": "callback"}

    def _record(self, state: State) -> None:
        self.rows.append(
            (state["loss"], state["gradient_norm"], state["step_length"], self._elapsed())
        )

    def _complete_last_row(self, state: State) -> None:
        """Write in the gradient at the last point, which some methods learn one step later."""
        if self.number == len(self.rows) - 1:
            loss, _, step_length, elapsed = self.rows[-1]
            self.rows[-1] = (loss, state["gradient_norm"], step_length, elapsed)

    def _elapsed(self) -> float:
        return self._before + time.perf_counter() - self._began

    def _step(self) -> Step:
        state = self.state
        return Step(
            self.number,
            state["loss"],
            state["gradient_norm"],
            state["step_length"],
            self._elapsed(),
            self._point(state["x"]),
            self.problem,
        )

    def _point(self, x: np.ndarray) -> np.ndarray:
        return self.objective.point(x) if isinstance(self.objective, Reparameterised) else x

    # --- writing down -------------------------------------------------------------------

    def _due(self) -> bool:
        if self.every is not None:
            return self.number % self.every == 0
        return time.perf_counter() - self._written >= SECONDS_BETWEEN_WRITES

    def _write(self) -> None:
        assert self.file is not None
        saved = {
            "state": self.method.saved(self.state),
            "best": self.best[0],
            "best_loss": self.best[1],
            "history": np.array(self.rows),
        }
        checkpoint.write(self.file, saved, {**self.identity, "tolerance": self.method.tolerance})
        self._written = time.perf_counter()

    # --- the end --------------------------------------------------------------------------

    def _explained(self, point: np.ndarray) -> NanReport | None:
        """Find the first NaN or infinity of the loss or its gradient at a point."""
        if not np.all(np.isfinite(point)):
            return None
        try:
            return self.model.explained(point) or None
        except (ClewError, MemoryError):  # a second opinion; the run has ended in any case
            return None

    def _status(self, found: NanReport | None) -> Status:
        status = status_of(self.method, self.state, self.number)
        if found is None or self.failed is None:
            return status
        names = [each.name for each in found.arguments]
        values = _values_of(self.problem.space.tree(self.failed), names)
        there = f", with {values}" if values else ""
        return replace(status, sentence=f"{status.sentence} There {found.sentence}{there}.")

    def _solution(self) -> Solution:
        x, loss = self.best
        if self.objective.batch is not None and np.isfinite(loss):
            loss = self.objective.value(x)
        found = None if self.failed is None else self._explained(self.failed)
        return Solution(
            problem=self.problem,
            method=self.method,
            vector=self._point(x),
            loss=float(loss),
            status=self._status(found),
            history=History.of(self.rows),
            explanation=found,
        )


def _finite(state: State) -> bool:
    """Say whether a state is one to go on from."""
    numbers = (state["loss"], state["gradient_norm"])
    return bool(np.all(np.isfinite(numbers))) and bool(np.all(np.isfinite(state["x"])))


def _values_of(tree: Any, names: Sequence[str]) -> str:
    """Write down the parameters of these names: numbers as they are, arrays by their range."""
    leaves, structure = pytree.flatten(tree)
    parts = []
    for name, leaf in zip(structure.names, leaves, strict=True):
        join = "" if name.startswith("[") or not name else "."
        if f"{ROOT}{join}{name}" not in names:
            continue
        array = np.asarray(leaf)
        if array.ndim:
            shown = f"from {array.min():.6g} to {array.max():.6g}"
        else:
            shown = f"= {array[()]:.6g}"
        parts.append(f"{name or ROOT} {shown}")
    return ", ".join(parts[:MOST_VALUES])
