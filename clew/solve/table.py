"""The parameters of a solution as rows of text, for printing and for reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from clew.solve.parameters import ParameterSpace
    from clew.solve.solution import Solution
    from clew.solve.uncertainty import Uncertainty


@dataclass(frozen=True)
class Row:
    """One real parameter.

    Attributes
    ----------
    name, value, error, unit, truth : str
        Written with as many digits as the error leaves meaningful; empty where unknown.
    note : str
        ``fixed``, ``at its lower bound``, ...
    number, deviation : float
        Value and standard error as numbers (NaN where unknown).
    known : float
        The true value (NaN where unknown).
    """

    name: str
    value: str
    error: str
    unit: str
    truth: str
    note: str
    number: float
    deviation: float
    known: float

    @property
    def pull(self) -> float:
        """How many standard errors the value is from the truth."""
        return (self.number - self.known) / self.deviation if self.deviation > 0 else np.nan


def parameter_rows(solution: Solution, found: Uncertainty | None) -> list[Row]:
    """Return one row for every real parameter, fixed ones included."""
    space = solution.problem.space
    full = space.full(solution.vector)
    errors = np.full(full.shape, np.nan)
    if found is not None:
        errors[space.free] = found.errors
    truth = solution.problem.truth
    rows = []
    for leaf in space.leaves:
        for number in range(leaf.length):
            place = leaf.offset + number
            known = float(truth[place]) if truth is not None else np.nan
            note = _note(space, place, float(full[place]))
            error = np.nan if note else float(errors[place])
            value, spread = written(float(full[place]), error)
            rows.append(
                Row(
                    leaf.element(number),
                    value,
                    spread,
                    leaf.unit,
                    "" if np.isnan(known) else f"{known:.6g}",
                    note,
                    float(full[place]),
                    error,
                    known,
                )
            )
    return rows


def written(value: float, error: float) -> tuple[str, str]:
    """Write a value and its error with two digits of the error.

    >>> written(3.14159265, 0.0123)
    ('3.142', '0.012')
    >>> written(3.14159265, float("nan"))
    ('3.14159', '')
    """
    if np.isnan(error):
        return f"{value:.6g}", ""
    if not np.isfinite(error):
        return f"{value:.6g}", "not determined"
    if error == 0 or abs(value) > 1e6 or error < 1e-9 * max(abs(value), 1e-300):
        return f"{value:.10g}", f"{error:.2g}"
    digits = max(0, 1 - int(np.floor(np.log10(error))))
    if digits > 9:
        return f"{value:.6e}", f"{error:.2g}"
    return f"{value:.{digits}f}", f"{error:.{digits}f}"


def _note(space: ParameterSpace, place: int, value: float) -> str:
    if not space.free[place]:
        return "fixed"
    if value <= space.full_lower[place]:
        return "at its lower bound"
    if value >= space.full_upper[place]:
        return "at its upper bound"
    return ""
