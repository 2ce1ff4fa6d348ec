"""A problem's model as an objective: traced once, then run with exact derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clew.calculus import NoPath, hvp, jacobian, jvp, value_and_grad, vjp
from clew.core import pytree
from clew.core.errors import DerivativeError, InputError, ShapeError
from clew.core.source import Where
from clew.evaluate import jit
from clew.solve.linear_models import DenseModel, LinearModel, OperatorModel
from clew.solve.naming import places
from clew.solve.objective import Objective
from clew.solve.problem import Constraint, Problem, check_prediction

if TYPE_CHECKING:
    from clew.evaluate.diagnose import NanReport

Array = np.ndarray
DENSE_BYTES = 2**29  # a Jacobian larger than this is never formed


@dataclass(frozen=True)
class _Frame:
    """What a loss is taken over: all of the data, or the rows of a minibatch."""

    data: Any
    target: Any
    roots: Any  # square roots of the weights, one leaf per residual leaf


class ModelObjective(Objective):
    """The loss of a problem as a function of the flat vector of its free parameters.

    Parameters
    ----------
    problem : Problem
    batch : int, optional
        How many rows of the data each step sees; they are drawn without replacement, in an order
        that depends on the seed and the epoch alone.
    seed : int
    """

    def __init__(self, problem: Problem, batch: int | None = None, seed: int = 0) -> None:
        super().__init__(problem.space.lower, problem.space.upper)
        self.problem = problem
        self.has_residual = problem.least_squares
        self.seed = seed
        self._where = _definition(problem.model)
        self._whole = self._checked_frame()
        self.rows = _rows(problem, self._whole) if batch is not None else 0
        self.batch = None if batch is None else min(_positive("batch", batch), self.rows)
        self.constraints = tuple(ModelConstraint(problem, each) for each in problem.constraints)
        self._value = jit(lambda x: self._loss(x, self._whole))
        self._gradient = jit(value_and_grad(lambda x: self._loss(x, self._whole)))
        self._batch_gradient = jit(value_and_grad(self._batch_loss))
        self._hessian_product = jit(
            lambda x, v: hvp(lambda p: self._loss(p, self._whole), (x,), (v,))
        )
        self._residual = jit(self._whole_residual)
        self._jacobian = jit(self._residual_and_jacobian)
        self._forward = jit(lambda x, v: jvp(self._whole_residual, (x,), (v,))[1])
        self._backward = jit(lambda x, w: vjp(self._whole_residual, x)[1](w)[0])
        self._known_gradient: tuple[bytes, tuple[float, Array]] | None = None
        self._known_model: tuple[bytes, tuple[float, LinearModel]] | None = None

    # --- what methods ask ---------------------------------------------------------------

    def value(self, x: Array) -> float:
        if self.has_residual:  # summed as in linearise, so that equal points have equal losses
            return self._sum(self.residual(x))
        return float(np.asarray(self._value(x)))

    def value_and_gradient(self, x: Array, step: int = 0) -> tuple[float, Array]:
        if self.batch is not None and self.batch < self.rows:
            data, target, roots = self._batch_of(step)
            loss, gradient = self._batch_gradient(x, data, target, roots)
            return float(np.asarray(loss)), _vector(gradient)
        key = x.tobytes()
        if self._known_gradient is None or self._known_gradient[0] != key:
            loss, gradient = self._gradient(x)
            self._known_gradient = (key, (float(np.asarray(loss)), _vector(gradient)))
        return self._known_gradient[1]

    def linearise(self, x: Array) -> tuple[float, LinearModel]:
        key = x.tobytes()
        if self._known_model is None or self._known_model[0] != key:
            self._known_model = (key, self._linearised(x))
        return self._known_model[1]

    def hessian_product(self, x: Array, direction: Array) -> Array:
        return _vector(self._hessian_product(x, direction))

    def residual(self, x: Array) -> Array:
        """Return the residuals times the roots of their weights, of shape (m,)."""
        return _vector(self._residual(x))

    def residual_and_jacobian(self, x: Array) -> tuple[Array, Array]:
        """Return the weighted residual and its Jacobian, of shapes (m,) and (m, n)."""
        residual, columns = self._jacobian(x)
        matrix = np.asarray(columns, dtype=np.float64)
        return _vector(residual), matrix

    def noise_groups(self, x: Array) -> Array | None:
        """Return for each residual the number of the noise it shares, of shape (m,)."""
        groups = self.problem.groups
        if groups is None:
            return None
        prediction = self._predict(self.problem.space.traced_tree(x), self._whole)
        leaves = self._residual_leaves(prediction, self._whole)
        given = [np.asarray(each) for each in places(groups)[0]]
        try:
            numbers = [
                np.broadcast_to(own, np.shape(leaf)).ravel()
                for own, leaf in zip(given, leaves, strict=True)
            ]
        except ValueError:
            raise ShapeError(
                f"Problem: groups of shape {[each.shape for each in given]} do not fit "
                f"residuals of shape {[np.shape(leaf) for leaf in leaves]}",
                "give one number per residual, or a shape that broadcasts to it",
            ) from None
        pairs = zip(numbers, leaves, strict=True)
        return np.concatenate([own for own, leaf in pairs for _ in _real_parts(leaf)])

    @property
    def dense(self) -> bool:
        """Whether the Jacobian is small enough to be formed."""
        return self.residual_count * self.size * 8 <= DENSE_BYTES

    def explained(self, x: Array) -> NanReport:
        """Find the first NaN or infinity of the whole loss, or of its gradient, at a point."""
        from clew.evaluate.diagnose import explain_nan

        with np.errstate(all="ignore"):
            return explain_nan(self.loss)(self.problem.space.tree(x))

    # --- the loss -----------------------------------------------------------------------

    def loss(self, params: Any) -> Any:
        """Return the whole loss at a tree of parameters, traced or not."""
        return self._loss_of_tree(params, self._whole)

    def _loss(self, x: Any, frame: _Frame) -> Any:
        return self._loss_of_tree(self.problem.space.traced_tree(x), frame)

    def _loss_of_tree(self, tree: Any, frame: _Frame) -> Any:
        prediction = self._predict(tree, frame)
        problem = self.problem
        if problem.least_squares:
            residual = self._flat_residual(prediction, frame)
            if problem.robust is not None:
                return problem.robust.total(residual)
            return 0.5 * np.sum(residual * residual)
        if problem.loss is None:
            return prediction
        if frame.target is None:
            return problem.loss(prediction)
        return problem.loss(prediction, frame.target)

    def _predict(self, tree: Any, frame: _Frame) -> Any:
        if frame.data is None:
            return self.problem.model(tree)
        return self.problem.model(tree, frame.data)

    def _residual_leaves(self, prediction: Any, frame: _Frame) -> list[Any]:
        residual = self.problem.residual
        if residual is None:
            goals = places(frame.target)[0]
            predictions = places(prediction)[0]
            return [value - goal for value, goal in zip(predictions, goals, strict=True)]
        given = (prediction,) if frame.target is None else (prediction, frame.target)
        return places(residual(*given))[0]

    def _flat_residual(self, prediction: Any, frame: _Frame) -> Any:
        leaves = self._residual_leaves(prediction, frame)
        if frame.roots is not None:
            leaves = [leaf * root for leaf, root in zip(leaves, frame.roots, strict=True)]
        parts = [part for leaf in leaves for part in _real_parts(leaf)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _whole_residual(self, x: Any) -> Any:
        tree = self.problem.space.traced_tree(x)
        return self._flat_residual(self._predict(tree, self._whole), self._whole)

    def _residual_and_jacobian(self, x: Any) -> tuple[Any, Any]:
        mode = "forward" if self.size <= self.residual_count else "reverse"
        columns = jacobian(self._whole_residual, mode=mode)(x)
        if isinstance(columns, NoPath):
            columns = np.zeros((self.residual_count, self.size))
        return self._whole_residual(x), columns

    def _sum(self, residual: Array) -> float:
        robust = self.problem.robust
        with np.errstate(over="ignore", invalid="ignore"):  # a trial step may go anywhere
            if robust is None:
                return 0.5 * float(residual @ residual)
            return float(robust.total(residual))

    def _linearised(self, x: Array) -> tuple[float, LinearModel]:
        robust = self.problem.robust
        matrix = None
        if self.dense:
            residual, matrix = self.residual_and_jacobian(x)
        else:
            residual = self.residual(x)
        rows, scaled = np.ones(1), residual
        if robust is not None:
            rows, scaled = robust.reweighted(residual)
        if matrix is not None:
            return self._sum(residual), DenseModel.of(matrix * rows[:, None], scaled)
        return self._sum(residual), OperatorModel(
            lambda v: rows * _vector(self._forward(x, v)),
            lambda w: _vector(self._backward(x, rows * w)),
            scaled,
        )

    # --- minibatches --------------------------------------------------------------------

    def _batch_loss(self, x: Any, data: Any, target: Any, roots: Any) -> Any:
        loss = self._loss(x, _Frame(data, target, roots))
        if self.problem.least_squares and self.batch is not None:
            loss = loss * (self.rows / self.batch)  # the mean over batches is the whole loss
        return loss

    def _batch_of(self, step: int) -> tuple[Any, Any, Any]:
        assert self.batch is not None
        per_epoch = self.rows // self.batch
        epoch, place = divmod(step, per_epoch)
        generator = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        order = generator.permutation(self.rows)
        chosen = np.sort(order[place * self.batch : (place + 1) * self.batch])
        whole = self._whole
        return tuple(
            None if tree is None else pytree.map(lambda leaf: np.asarray(leaf)[chosen], tree)
            for tree in (whole.data, whole.target, whole.roots)
        )  # type: ignore[return-value]

    # --- checks, before anything is traced ----------------------------------------------

    def _checked_frame(self) -> _Frame:
        problem = self.problem
        frame = _Frame(problem.data, problem.target, None)
        tree = problem.start
        try:
            with np.errstate(all="ignore"):
                prediction = self._predict(tree, frame)
        except Exception as error:
            error.add_note(f"while running the model of {problem!r} at its start")
            raise
        if problem.goal == "target":
            check_prediction(prediction, problem.target, self._where)
        if not problem.least_squares:
            with np.errstate(all="ignore"):
                self._check_scalar(self._loss_of_tree(tree, frame))
            self.residual_count = 0
            return frame
        leaves = self._residual_leaves(prediction, frame)
        frame = self._weighted(frame, leaves)
        with np.errstate(all="ignore"):
            residual = np.asarray(self._flat_residual(prediction, frame))
        self.residual_count = residual.size
        self.data_count = _data_count(frame, leaves)
        self._check_finite(residual)
        return frame

    def _weighted(self, frame: _Frame, leaves: list[Any]) -> _Frame:
        weights = self.problem.weights
        if weights is None:
            return frame
        given = places(weights)[0]
        if len(given) == 1 and len(leaves) > 1:
            given = given * len(leaves)
        roots = []
        for leaf, weight in zip(leaves, given, strict=False):
            try:
                root = np.sqrt(np.broadcast_to(np.asarray(weight, float), np.shape(leaf)))
            except ValueError:
                root = np.empty(0)
            roots.append(root)
        if len(given) != len(leaves) or any(
            root.shape != np.shape(leaf) for root, leaf in zip(roots, leaves, strict=True)
        ):
            raise ShapeError(
                f"Problem: weights of shape {[np.shape(each) for each in given]} do not fit "
                f"residuals of shape {[np.shape(leaf) for leaf in leaves]}",
                "give one weight per residual, or a shape that broadcasts to it",
            )
        target = frame.target
        if self.problem.goal == "target":  # a datum left out may be NaN, and 0 * NaN is NaN
            goals, structure = places(target)
            target = structure.unflatten(
                [
                    np.where(root > 0, goal, np.zeros_like(goal))
                    for goal, root in zip(goals, roots, strict=True)
                ]
            )
        return _Frame(frame.data, target, roots)

    def _check_scalar(self, loss: Any) -> None:
        what = "the loss" if self.problem.loss is not None else "the model's result"
        got = f"type {type(loss).__name__}"
        if isinstance(loss, (float, int, complex, np.ndarray, np.generic)):
            value = np.asarray(loss)
            if value.shape == () and value.dtype.kind == "f":
                self._check_finite(value.reshape(1))
                return
            got = f"shape {value.shape} and dtype {value.dtype}"
        raise DerivativeError(
            f"Problem: {what} has {got}, but a real scalar is minimised",
            "sum or average it in loss=, or give target= or residual= for least squares",
            _definition(self.problem.loss or self.problem.model),
        )

    def _check_finite(self, values: Array) -> None:
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise InputError(
                f"Problem: at the start the model gives {values[bad[0]]} "
                f"({bad.size} of {values.size} values are not finite), so no step can be taken",
                "start elsewhere, bound the parameters away from where the model fails, or "
                "give those data weight 0",
                self._where,
            )

    def check_paths(self) -> None:
        """Make sure that every free parameter has a path to the loss, or to a constraint.

        Raises
        ------
        InputError
            Naming the parameter and the reason.
        """
        space = self.problem.space
        slopes = self._first_slopes()
        quiet = [
            (number, leaf)
            for number, leaf in enumerate(space.leaves)
            if space.free[leaf.places].any() and not np.any(space_part(space, slopes, leaf))
        ]
        if not quiet:
            return
        found = value_and_grad(self._all_that_counts)(self.problem.start)[1]
        gradients = pytree.flatten(found)[0]
        for number, leaf in quiet:
            if isinstance(gradients[number], NoPath):
                raise InputError(
                    f"Problem: no path from {leaf.name!r} to the loss ({gradients[number].reason})",
                    f"use {leaf.name} in the model, or hold it with fixed=[{leaf.name!r}]",
                    self._where,
                )

    def _all_that_counts(self, tree: Any) -> Any:
        total = self.loss(tree)
        for constraint in self.problem.constraints:
            total = total + np.sum(constraint.function(tree))
        return total

    def _first_slopes(self) -> Array:
        x = self.problem.space.start
        if self.has_residual and self.dense:
            return self.linearise(x)[1].column_norms
        return self.value_and_gradient(x)[1]


class ModelConstraint:
    """A constraint of a problem as a function of the flat vector."""

    def __init__(self, problem: Problem, constraint: Constraint) -> None:
        def flat(x: Any) -> Any:
            return np.reshape(constraint.function(problem.space.traced_tree(x)), (-1,))

        first = _vector(flat(problem.space.start))
        if not np.all(np.isfinite(first)):
            raise InputError(
                f"Constraint {constraint.name}: its value at the start is not finite",
                "start where the constraint can be evaluated",
                _definition(constraint.function),
            )
        try:
            self.lower, self.upper = (
                np.array(np.broadcast_to(np.asarray(end, float).reshape(-1), first.shape))
                for end in (constraint.lower, constraint.upper)
            )
        except ValueError:
            raise ShapeError(
                f"Constraint {constraint.name}: the function gives {first.size} values, which "
                f"lower={constraint.lower} and upper={constraint.upper} do not fit",
                "give one end for all values, or one for each",
                _definition(constraint.function),
            ) from None
        self._shape = (first.size, problem.space.size)
        self._value = jit(flat)
        mode = "reverse" if first.size <= problem.space.size else "forward"

        def slopes(x: Any) -> Any:
            found = jacobian(flat, mode=mode)(x)
            return np.zeros(self._shape) if isinstance(found, NoPath) else found

        self._jacobian = jit(slopes)
        self._hessian_product = jit(lambda x, m, v: hvp(lambda p: np.sum(m * flat(p)), (x,), (v,)))
        self._known: tuple[bytes, Array] | None = None

    def value(self, x: Array) -> Array:
        """Return the values, of shape (k,)."""
        return _vector(self._value(x))

    def jacobian(self, x: Array) -> Array:
        """Return the Jacobian, of shape (k, n)."""
        key = x.tobytes()
        if self._known is None or self._known[0] != key:
            found = np.array(self._jacobian(x), dtype=np.float64).reshape(self._shape)
            self._known = (key, found)
        return self._known[1].copy()

    def hessian_product(self, x: Array, multipliers: Array, direction: Array) -> Array:
        """Return the Hessian of ``multipliers . value`` times a direction."""
        return _vector(self._hessian_product(x, np.asarray(multipliers, float), direction))


def space_part(space: Any, vector: Array, leaf: Any) -> Array:
    """Return the part of a vector of free parameters that belongs to a leaf."""
    spread = np.zeros(space.free.shape)
    spread[space.free] = vector
    return spread[leaf.places]


def _real_parts(leaf: Any) -> list[Any]:
    # A plain number, of a model that returns float(...) or a constant, has no dtype of its own.
    if np.result_type(getattr(leaf, "dtype", leaf)).kind == "c":
        return [np.reshape(np.real(leaf), (-1,)), np.reshape(np.imag(leaf), (-1,))]
    return [np.reshape(leaf, (-1,))]


def _vector(values: Any) -> Array:
    return np.array(values, dtype=np.float64).reshape(-1)


def _data_count(frame: _Frame, leaves: list[Any]) -> int:
    """Count the real residuals that have weight."""
    total = 0
    for number, leaf in enumerate(leaves):
        parts = 2 if np.asarray(leaf).dtype.kind == "c" else 1
        counted = np.size(leaf) if frame.roots is None else np.count_nonzero(frame.roots[number])
        total += parts * int(counted)
    return total


def _rows(problem: Problem, frame: _Frame) -> int:
    if problem.data is None:
        raise InputError(
            "solve: batch= was given, but the problem has no data= to take rows from",
            "pass the arrays that the model reads as data=, with one row per example",
        )
    counts = {}
    for title, tree in (("data", frame.data), ("target", frame.target)):
        if tree is None:
            continue
        leaves, structure = places(tree)
        for name, leaf in zip(structure.names, leaves, strict=True):
            counts[f"{title} {name}".strip()] = np.shape(leaf)[0] if np.ndim(leaf) else 0
    if len(set(counts.values())) != 1 or 0 in counts.values():
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise ShapeError(
            f"solve: batch= needs the same number of rows everywhere, but found {listed}",
            "give every array of data= and target= one row per example",
        )
    return next(iter(counts.values()))


def _positive(setting: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise InputError(f"solve: {setting}={value!r}", "give a whole number of 1 or more")
    return int(value)


def _definition(function: Callable[..., Any]) -> Where:
    inner = getattr(function, "__wrapped__", function)
    code = getattr(inner, "__code__", None)
    return Where(code.co_filename, code.co_firstlineno) if code is not None else Where()
