"""How well the data determine the parameters, and which combinations they do not see.

Near a least-squares solution the covariance of the parameters is ``s^2 (J' J)^-1``, with the
residual variance ``s^2 = |r|^2 / (m - n)``; where residuals share noise (``groups=``), or the
loss is robust, it is a sandwich ``A^-1 B A^-1``.

A direction in which J has no length changes nothing
that was measured: it is found by the singular values of J with columns scaled to length 1, which
do not depend on units, and told in words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.errors import InputError
from clew.solve.combinations import Combination, describe
from clew.solve.problem import Problem

Array = np.ndarray
UNFELT = 1e-14  # the effect of doubling a parameter, relative to that of the strongest one
RANK = 1e-10  # singular values of the scaled Jacobian below this, relative to the largest, are zero


@dataclass(frozen=True)
class Uncertainty:
    """The spread of the parameters that the data allow.

    Attributes
    ----------
    covariance : array of shape (n, n)
        Of the free parameters, in the order of :attr:`names`. Infinite on the diagonal and NaN
        beside it for parameters that the data do not determine; zero for those held by a bound.
    standard_error : pytree
        Like the parameters: one standard deviation; 0 for fixed parameters.
    unidentified : list of str
        The combinations that the data do not see, in words.
    combinations : list of Combination
        The same as directions.
    correlation : array of shape (n, n)
    residual_deviation : float
        The estimated standard deviation of a residual of weight 1.
    degrees_of_freedom : int
    names : list of str
    held : list of str
        Parameters that stand on a bound; the errors are those with these fixed.
    """

    covariance: Array
    standard_error: Any
    unidentified: list[str]
    combinations: list[Combination]
    correlation: Array
    residual_deviation: float
    degrees_of_freedom: int
    names: list[str]
    held: list[str]
    errors: Array

    def __str__(self) -> str:
        lines = [
            f"{name}: +- {error:.3g}" for name, error in zip(self.names, self.errors, strict=True)
        ]
        lines += [f"held by a bound: {', '.join(self.held)}"] if self.held else []
        return "\n".join([*lines, *self.unidentified])


def uncertainty(
    problem: Problem, vector: Array, objective: Any, noise: float | None
) -> Uncertainty:
    """Return the uncertainty at a solution.

    Parameters
    ----------
    problem : Problem
    vector : array
        The free parameters at the solution.
    objective : ModelObjective
    noise : float, optional
        The known standard deviation of a residual of weight 1; estimated from the residuals when
        not given.

    Raises
    ------
    InputError
        If the problem is not one of least squares.
    """
    _check(problem, objective)
    residual, jacobian = objective.residual_and_jacobian(vector)
    space = problem.space
    jacobian = _without_rounding(jacobian, vector, space.start)
    on_bound = (vector <= space.lower) | (vector >= space.upper)
    loose = np.flatnonzero(~on_bound)
    freedom = objective.data_count - loose.size
    root, scatter, deviation = _spread(problem, residual, jacobian[:, loose], freedom, noise)
    groups = objective.noise_groups(vector)
    if groups is not None and noise is None:
        scatter = _grouped_scatter(problem, residual, jacobian[:, loose], groups)
    inner, null = _covariance(root, scatter)
    covariance = np.zeros((space.size, space.size))
    covariance[np.ix_(loose, loose)] = inner
    directions = np.zeros((len(null), space.size))
    directions[:, loose] = null
    combinations = describe(space, vector, directions, _mover(objective, vector))
    names = [space.coordinate(number) for number in range(space.size)]
    errors = np.sqrt(np.diag(covariance))
    return Uncertainty(
        covariance=covariance,
        standard_error=_tree_of_errors(space, errors),
        unidentified=[str(each) for each in combinations],
        combinations=combinations,
        correlation=_correlation(covariance, errors),
        residual_deviation=deviation,
        degrees_of_freedom=freedom,
        names=names,
        held=[names[number] for number in np.flatnonzero(on_bound)],
        errors=errors,
    )


def _check(problem: Problem, objective: Any) -> None:
    if not problem.least_squares:
        raise InputError(
            "uncertainty: the goal is a scalar loss, which does not say how data scatter",
            "state the problem with target= or residual=, so that residuals are known",
        )
    if not objective.dense:
        raise InputError(
            f"uncertainty: the Jacobian of {objective.residual_count} residuals by "
            f"{objective.size} parameters is too large to form",
            "fix some parameters, or leave data out",
        )


def _without_rounding(jacobian: Array, vector: Array, start: Array) -> Array:
    """Clear the columns of parameters whose whole size moves the residuals by rounding only.

    A parameter's size is the larger of its value and its start; one that started at 0 has none.
    """
    sizes = np.maximum(np.abs(vector), np.abs(start))
    effects = sizes * np.linalg.norm(jacobian, axis=0)
    unfelt = (start != 0) & (effects < UNFELT * effects.max(initial=0.0))
    return np.where(unfelt, 0.0, jacobian)


def _covariance(root: Array, scatter: Array) -> tuple[Array, Array]:
    """Return ``(root' root)^-1 scatter (root' root)^-1``, and what root does not see.

    The covariance is infinite for every parameter that takes part in an unseen direction.
    """
    lengths, null, inverse = _scaled_inverse(root)
    sizes = np.outer(lengths, lengths)
    covariance = inverse @ (scatter / sizes) @ inverse / sizes
    unseen = np.any(np.abs(null) > 1e-6, axis=0)
    covariance[unseen, :] = np.nan
    covariance[:, unseen] = np.nan
    covariance[unseen, unseen] = np.inf
    return covariance, null / lengths


def _spread(
    problem: Problem, residual: Array, jacobian: Array, freedom: int, noise: float | None
) -> tuple[Array, Array, float]:
    """Return the matrices A (as its root) and B of the covariance ``A^-1 B A^-1``, and s.

    For least squares ``A = J'J`` and ``B = s^2 A``; for a robust loss the sandwich of Huber (1981,
    section 7.6): ``A = J' diag(psi') J`` and ``B = (m / (m - n)) J' diag(psi^2) J``.
    """
    robust = problem.robust
    if robust is None:
        deviation = noise if noise is not None else _deviation(residual, freedom)
        return jacobian, deviation**2 * (jacobian.T @ jacobian), deviation
    z = (residual / robust.scale) ** 2
    curvature = np.maximum(robust.slope(z) + 2 * robust.curve(z) * z, 0.0)
    pull = robust.influence(residual)
    # the median of a normal distribution's magnitude is 0.6745 standard deviations
    deviation = noise if noise is not None else float(np.median(np.abs(residual))) / 0.6745
    root = jacobian * np.sqrt(curvature)[:, None]
    if noise is not None:
        return root, noise**2 * (root.T @ root), deviation
    count = freedom + jacobian.shape[1]
    factor = count / freedom if freedom > 0 else np.nan
    pulled = jacobian * pull[:, None]
    return root, factor * (pulled.T @ pulled), deviation


def _grouped_scatter(problem: Problem, residual: Array, jacobian: Array, groups: Array) -> Array:
    """Return ``k / (k - n) G' G``, G the sums of ``r J`` over each of the k groups.

    Right also where the noise differs from place to place. Source: Liang and Zeger (1986);
    MacKinnon and White (1985) for the factor.
    """
    pull = residual if problem.robust is None else problem.robust.influence(residual)
    _, index = np.unique(groups[pull != 0], return_inverse=True)
    count = int(index.max(initial=-1)) + 1
    sums = np.stack(
        [np.bincount(index, column, count) for column in (jacobian * pull[:, None])[pull != 0].T],
        axis=-1,
    )
    free = count - jacobian.shape[1]
    return (count / free if free > 0 else np.nan) * (sums.T @ sums)


def _deviation(residual: Array, freedom: int) -> float:
    if freedom <= 0:
        return float("nan")  # as many parameters as data: nothing is left to estimate it from
    return float(np.linalg.norm(residual)) / float(np.sqrt(freedom))


def _scaled_inverse(root: Array) -> tuple[Array, Array, Array]:
    """Return column lengths, the null space and the pseudo-inverse of the scaled normal matrix."""
    lengths = np.linalg.norm(root, axis=0)
    lengths = np.where(lengths > 0, lengths, 1.0)
    triangle = np.linalg.qr(root / lengths, mode="r")
    _, values, rows = np.linalg.svd(triangle, full_matrices=True)
    size = root.shape[1]
    values = np.concatenate([values, np.zeros(size - values.size)])
    least = max(RANK, 10 * max(root.shape) * float(np.finfo(float).eps))
    seen = values > least * max(values.max(initial=0.0), 1e-300)
    inverse = (rows[seen].T / values[seen] ** 2) @ rows[seen]
    return lengths, rows[~seen], inverse


def _mover(objective: Any, vector: Array) -> Callable[[Array], float]:
    """Return a function that says how much a move of the parameters changes the residuals.

    The change is relative to what moving each of the parameters alone would do.
    """
    before = objective.residual(vector)

    def change(there: Array) -> float:
        alone = 0.0
        for number in np.flatnonzero(there != vector):
            single = vector.copy()
            single[number] = there[number]
            alone += float(np.linalg.norm(objective.residual(single) - before))
        together = float(np.linalg.norm(objective.residual(there) - before))
        return together / alone if alone > 0 else 0.0

    return change


def _tree_of_errors(space: Any, errors: Array) -> Any:
    full = np.zeros(space.full_start.shape)
    full[space.free] = errors
    return space.from_full(full)


def _correlation(covariance: Array, errors: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = covariance / np.outer(errors, errors)
    np.fill_diagonal(correlation, 1.0)
    return correlation
