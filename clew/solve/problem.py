"""What is to be solved: a model, a start, and what its prediction should reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core import pytree
from clew.core.errors import DtypeError, InputError, ShapeError
from clew.solve.naming import places
from clew.solve.parameters import ParameterSpace
from clew.solve.robust import robust_loss


@dataclass(frozen=True)
class Constraint:
    """A function of the parameters that must stay between two ends.

    Parameters
    ----------
    function : callable
        ``function(params)`` gives an array.
    lower, upper : float or array
        The ends, broadcast to the function's result; equal ends make an equality.
    name : str, optional
        For messages and reports.

    >>> on_circle = Constraint(lambda p: p["x"] ** 2 + p["y"] ** 2, lower=1.0, upper=1.0)
    >>> on_circle.upper
    1.0
    """

    function: Callable[[Any], Any]
    lower: Any = -np.inf
    upper: Any = np.inf
    name: str = ""

    def __post_init__(self) -> None:
        low, high = (np.asarray(end, dtype=np.float64) for end in (self.lower, self.upper))
        if np.any(low > high) or np.isnan(low).any() or np.isnan(high).any():
            raise InputError(
                f"Constraint {self.name or self.function!r}: lower={self.lower} is above "
                f"upper={self.upper}, or one is not a number",
                "give lower <= upper; equal ends make an equality",
            )
        if not (np.isfinite(low).any() or np.isfinite(high).any()):
            raise InputError(
                f"Constraint {self.name or self.function!r} has no end",
                "give lower=, upper=, or both",
            )


class Problem:
    """An inverse or design problem: find the parameters of a model that reach a goal.

    The loss is, by what is given,

    - ``target``: ``0.5 sum w (prediction - target)^2`` (least squares);
    - ``residual``: ``0.5 sum w residual(prediction[, target])^2`` (least squares);
    - ``loss``: ``loss(prediction[, target])``, a scalar;
    - none of them: the model's own scalar result.

    Complex residuals count as two real ones. With ``robust`` the square is replaced as described
    in :mod:`clew.solve.robust`.

    Parameters
    ----------
    model : callable
        ``model(params)``, or ``model(params, data)`` when ``data`` is given; gives a pytree of
        arrays. Plain NumPy code, or ``clew.numpy``.
    start : pytree of float or complex arrays
        Where to start from.
    target : pytree of arrays, optional
        Shaped as the prediction.
    loss, residual : callable, optional
        Called with the prediction, and with the target when there is one.
    data : pytree of arrays, optional
        Handed to the model; with minibatches, rows of its first axis.
    bounds : dict or pytree-prefix of (low, high), optional
        ``None`` is no bound. ``{"albedo": (0, 1), "light.position[2]": (0, None)}``.
    constraints : sequence of Constraint, optional
    fixed : names or pytree-prefix of bool, optional
        Parameters held at their start.
    units : dict of names to str, optional
        For reports.
    weights : pytree of arrays, optional
        One per residual, or broadcast to it; 0 leaves a datum out (it may then be NaN).
    groups : pytree of integers, optional
        One per residual, or broadcast to it: residuals of one number share one draw of noise,
        as the channels of a pixel do. Only the uncertainty reads them.
    robust : {"huber", "soft_l1", "cauchy"} or (name, scale), optional
    show : callable, optional
        ``show(params)`` gives a dict of titles to pictures for the report: an array of shape
        (H, W) or (H, W, 3) with values in 0..1 (or uint8), or a function of a matplotlib axis.
    name : str, optional
    truth : pytree or dict by name, optional
        Known true values, for reports only.

    Raises
    ------
    InputError, ShapeError, DtypeError
        For a start without parameters, of integers, not finite or outside its bounds; for bounds,
        names or goals that make no sense; for a target with NaN.

    >>> problem = Problem(lambda p: p["a"] * np.arange(3.0), {"a": 1.0}, target=np.arange(3.0) * 2)
    >>> problem.goal, problem.space.size
    ('target', 1)
    """

    def __init__(
        self,
        model: Callable[..., Any],
        start: Any,
        target: Any = None,
        loss: Callable[..., Any] | None = None,
        residual: Callable[..., Any] | None = None,
        data: Any = None,
        bounds: Any = None,
        constraints: Sequence[Constraint] | None = None,
        fixed: Any = None,
        units: Any = None,
        weights: Any = None,
        groups: Any = None,
        robust: str | tuple[str, float] | None = None,
        show: Callable[[Any], Mapping[str, Any]] | None = None,
        name: str | None = None,
        truth: Any = None,
    ) -> None:
        self.model = _callable("model", model)
        self.space = ParameterSpace(start, bounds, fixed, units)
        self.target = target
        self.loss = loss if loss is None else _callable("loss", loss)
        self.residual = residual if residual is None else _callable("residual", residual)
        self.data = data
        self.constraints = _constraints(constraints)
        self.weights = _checked_weights(weights)
        self.groups = groups
        self.robust = robust_loss(robust)
        self.show = show if show is None else _callable("show", show)
        self.name = name or getattr(model, "__name__", "problem").replace("<lambda>", "problem")
        self.truth = None if truth is None else self.space.known(truth)
        self._check_goal()
        _check_target(target, self.weights)

    @property
    def goal(self) -> str:
        """What the loss is made of: ``target``, ``residual``, ``loss`` or ``model``."""
        if self.loss is not None:
            return "loss"
        if self.residual is not None:
            return "residual"
        return "target" if self.target is not None else "model"

    @property
    def least_squares(self) -> bool:
        """Whether the loss is a sum of (robust) squares."""
        return self.goal in ("target", "residual")

    @property
    def start(self) -> Any:
        """The start, as a tree."""
        return self.space.tree(self.space.start)

    def predict(self, params: Any) -> Any:
        """Return the model's prediction for given parameters.

        >>> Problem(lambda p: 2 * p, 1.0, loss=lambda y: y**2).predict(3.0)
        6.0
        """
        if self.data is None:
            return self.model(params)
        return self.model(params, self.data)

    def objective(self) -> Callable[[Any], Any]:
        """Return the loss as a function of the parameters, to be differentiated or looked at.

        >>> import clew
        >>> problem = Problem(lambda p: 2 * p, 1.0, target=8.0)
        >>> float(clew.grad(problem.objective())(1.0))
        -12.0
        """
        from clew.solve.model_objective import ModelObjective

        return ModelObjective(self).loss

    def __repr__(self) -> str:
        return f"Problem({self.name!r}, {self.space.size} free parameters, goal: {self.goal})"

    def _check_goal(self) -> None:
        if self.loss is not None and self.residual is not None:
            raise InputError(
                "Problem: both loss= and residual= were given",
                "give residual= for least squares, or loss= for any other scalar",
            )
        if not self.least_squares:
            settings = {"weights": self.weights, "groups": self.groups, "robust": self.robust}
            for setting, value in settings.items():
                if value is not None:
                    raise InputError(
                        f"Problem: {setting}= applies to residuals, but the goal is a scalar loss",
                        "put it into the loss, or give target= or residual= instead",
                    )


def _callable(setting: str, value: Any) -> Any:
    if not callable(value):
        raise InputError(
            f"Problem: {setting} is a {type(value).__name__}, not a function",
            f"pass a function: {_FORMS[setting]}",
        )
    return value


_FORMS = {
    "model": "model(params) -> prediction",
    "loss": "loss(prediction) -> scalar",
    "residual": "residual(prediction) -> array",
    "show": "show(params) -> {title: picture}",
}


def _constraints(constraints: Any) -> tuple[Constraint, ...]:
    if isinstance(constraints, Constraint):
        constraints = [constraints]
    for each in constraints or ():
        if not isinstance(each, Constraint):
            raise InputError(
                f"Problem: a constraint is a {type(each).__name__}",
                "write clew.Constraint(function, lower=..., upper=...)",
            )
    return tuple(constraints or ())


def _checked_weights(weights: Any) -> Any:
    for leaf in pytree.flatten(weights)[0] if weights is not None else ():
        array = np.asarray(leaf)
        if array.dtype.kind not in "fiub":
            raise DtypeError(
                f"Problem: weights have dtype {array.dtype}", "give real numbers of 0 or more"
            )
        if not np.all(np.isfinite(array)) or np.any(array < 0):
            raise InputError(
                "Problem: weights hold negative or non-finite numbers",
                "give 1 / variance of each datum; 0 leaves it out",
            )
    return weights


def _check_target(target: Any, weights: Any) -> None:
    if target is None:
        return
    leaves, structure = places(target)
    counts = places(weights)[0] if weights is not None else []
    for number, (leaf, name) in enumerate(zip(leaves, structure.names, strict=True)):
        array = np.asarray(leaf)
        title = f"target {name}".rstrip()
        if array.dtype.kind not in "fciub":
            raise DtypeError(
                f"Problem: {title} has dtype {array.dtype}", "give an array of numbers"
            )
        bad = ~np.isfinite(array)
        if len(counts) == len(leaves) and bad.any():
            bad &= np.broadcast_to(np.asarray(counts[number]) != 0, array.shape)
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            raise InputError(
                f"Problem: {title} is {array[place]} at {list(place)}, "
                f"and {int(bad.sum())} of its {array.size} values are not finite",
                "remove these data, or give them weight 0 in weights=",
            )


def check_prediction(prediction: Any, target: Any, where: Any) -> None:
    """Compare a prediction's structure and shapes with the target's.

    Raises
    ------
    ShapeError
        Naming the leaf and both shapes.
    """
    got, structure = places(prediction)
    want, wanted = places(target)
    if len(got) != len(want):
        raise ShapeError(
            f"Problem: the prediction holds {len(got)} arrays "
            f"({', '.join(name or 'one' for name in structure.names)}), the target {len(want)} "
            f"({', '.join(name or 'one' for name in wanted.names)})",
            "return the structure of the target from the model",
            where,
        )
    for name, value, goal in zip(structure.names, got, want, strict=True):
        if np.shape(value) != np.shape(goal):
            raise ShapeError(
                f"Problem: the prediction{' ' + name if name else ''} has shape {np.shape(value)}, "
                f"the target has shape {np.shape(goal)}",
                "make them equal (they are not broadcast), or give residual=",
                where,
            )
