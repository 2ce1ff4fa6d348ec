"""The answer of a run: parameters, how it ended, its history, its uncertainty, its report."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from clew.solve.history import History
from clew.solve.methods.base import Method
from clew.solve.model_objective import ModelObjective
from clew.solve.problem import Problem
from clew.solve.status import Status
from clew.solve.uncertainty import Uncertainty, uncertainty

if TYPE_CHECKING:
    from clew.evaluate.diagnose import NanReport

MOST_ROWS = 40  # of the table that str() prints
MOST_FOR_ERRORS = 64  # parameters up to which printing also works out the errors


@dataclass(frozen=True)
class Solution:
    """What :func:`clew.solve` returns.

    Attributes
    ----------
    problem : Problem
    method : Method
    vector : array
        The free parameters as a flat vector.
    loss : float
    status : Status
        Prints as a sentence.
    history : History
    explanation : NanReport or None
        Of a run that turned bad: the first NaN or infinity, as :func:`clew.explain_nan` finds it.

    >>> import numpy as np
    >>> from clew.solve import Problem, solve
    >>> x = np.array([0.0, 1.0, 2.0, 3.0])
    >>> solution = solve(Problem(lambda p: p["a"] + p["b"] * x, {"a": 0.0, "b": 0.0},
    ...                          target=np.array([1.0, 3.1, 4.9, 7.0])))
    >>> [round(float(solution.params[name]), 6) for name in "ab"]
    [1.03, 1.98]
    >>> round(float(solution.uncertainty().standard_error["b"]), 6)
    0.042426
    """

    problem: Problem
    method: Method
    vector: np.ndarray
    loss: float
    status: Status
    history: History
    explanation: NanReport | None = None

    @cached_property
    def params(self) -> Any:
        """The parameters, as a tree like ``start``."""
        return self.problem.space.tree(self.vector)

    @property
    def converged(self) -> bool:
        """Whether the answer is a solution to the tolerance asked for."""
        return self.status.converged

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return max(len(self.history) - 1, 0)

    @property
    def prediction(self) -> Any:
        """The model's prediction with the solution's parameters."""
        return self.problem.predict(self.params)

    def uncertainty(self, noise: float | None = None) -> Uncertainty:
        """Return the covariance of the parameters and what the data do not determine.

        Parameters
        ----------
        noise : float, optional
            The known standard deviation of a residual of weight 1 (1 when the weights are
            1 / variance). Estimated from the residuals when not given.

        Raises
        ------
        InputError
            If the problem is not one of least squares.
        """
        if noise is None:
            return self._uncertainty
        return self._uncertainty_for(noise)

    @cached_property
    def _uncertainty(self) -> Uncertainty:
        return self._uncertainty_for(None)

    def _uncertainty_for(self, noise: float | None) -> Uncertainty:
        return uncertainty(self.problem, self.vector, self._objective, noise)

    @cached_property
    def _objective(self) -> ModelObjective:
        return ModelObjective(self.problem)

    def has_errors(self, most: int = MOST_FOR_ERRORS) -> bool:
        """Say whether the errors of so many parameters can be had without much work."""
        few = self.problem.least_squares and self.vector.size <= most
        return few and self._objective.dense

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write one self-contained HTML page: problem, status, parameters, convergence, pictures.

        Parameters
        ----------
        path : path
            The file to write.
        """
        from clew.solve.report import write_report

        write_report(self, path)

    def __str__(self) -> str:
        from clew.solve.table import parameter_rows

        errors = self.has_errors()
        rows = parameter_rows(self, self.uncertainty() if errors else None)
        lines = [f"{self.problem.name}: {self.status}", f"loss {self.loss:.6g}"]
        width = max(len(row.name) for row in rows[:MOST_ROWS])
        for row in rows[:MOST_ROWS]:
            error = f" +- {row.error}" if row.error else ""
            note = f"  ({row.note})" if row.note else ""
            lines.append(f"  {row.name:<{width}}  {row.value}{error} {row.unit}{note}".rstrip())
        if len(rows) > MOST_ROWS:
            lines.append(f"  ... and {len(rows) - MOST_ROWS} more")
        if errors:
            lines += [f"not identified: {text}" for text in self.uncertainty().unidentified]
        return "\n".join(lines)

    __repr__ = __str__
