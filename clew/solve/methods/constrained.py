"""Constrained problems: SciPy's SLSQP and trust-constr, given exact derivatives.

SciPy cannot be stopped and continued inside a run. Instead everything it was told is recorded, in
order; a resumed run starts SciPy again and answers from the record, which takes it along the same
path, bit for bit, to where the record ends.
"""

from __future__ import annotations

import hashlib
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from clew.solve.linear_models import bounded_least_squares
from clew.solve.methods.base import Method, Observer, State, first_state, largest
from clew.solve.objective import Objective

Array = np.ndarray
TOUCHING = 1e-8  # a constraint this close to its end, relatively, is active


class Replay:
    """A record of answers to a sequence of questions, which can be asked again."""

    def __init__(self, digests: list[bytes], answers: list[Array]) -> None:
        self.digests = digests
        self.answers = answers
        self._next = 0

    def __call__(self, kind: str, inputs: tuple[Array, ...], compute: Callable[[], Any]) -> Array:
        digest = hashlib.blake2b(kind.encode(), digest_size=16)
        for each in inputs:
            digest.update(np.ascontiguousarray(each).tobytes())
        key = digest.digest()
        number = self._next
        self._next += 1
        if number < len(self.digests) and self.digests[number] == key:
            return self.answers[number].copy()
        del self.digests[number:], self.answers[number:]  # the paths part: the rest is void
        answer = np.array(compute(), dtype=np.float64)
        self.digests.append(key)
        self.answers.append(answer)
        return answer.copy()

    def state(self) -> State:
        """Return the record as arrays."""
        shapes = [len(answer.shape) for answer in self.answers]
        sizes = [size for answer in self.answers for size in answer.shape]
        values = [answer.reshape(-1) for answer in self.answers]
        return {
            "digests": np.frombuffer(b"".join(self.digests), dtype=np.uint8),
            "ranks": np.array(shapes, dtype=np.int64),
            "sizes": np.array(sizes, dtype=np.int64),
            "values": np.concatenate(values) if values else np.zeros(0),
        }

    @classmethod
    def of(cls, state: State) -> Replay:
        """Read a record back."""
        whole = state["digests"].tobytes()
        digests = [whole[i : i + 16] for i in range(0, len(whole), 16)]
        answers = []
        place = axis = 0
        for rank in state["ranks"]:
            shape = tuple(int(n) for n in state["sizes"][axis : axis + rank])
            count = int(np.prod(shape, dtype=np.int64))
            answers.append(state["values"][place : place + count].reshape(shape))
            place, axis = place + count, axis + int(rank)
        return cls(digests, answers)


class _Enough(Exception):
    """Raised inside SciPy's callback to end its run."""


@dataclass(frozen=True)
class SciPyMethod(Method):
    """The base of the methods that SciPy carries out."""

    default_steps: ClassVar[int] = 500
    takes_constraints: ClassVar[bool] = True

    def start(self, objective: Objective, x: Array) -> State:
        loss, gradient = objective.value_and_gradient(x)
        norm = largest(objective.projected_gradient(x, gradient))
        values = [each.value(x) for each in objective.constraints]
        return first_state(
            x,
            loss,
            norm,
            origin=x,
            violation=_violation(objective, values),
            message="",
            record=Replay([], []),
        )

    def saved(self, state: State) -> State:
        return {**state, "record": state["record"].state()}

    def restored(self, state: State) -> State:
        return {**state, "record": Replay.of(state["record"])}

    def run(self, objective: Objective, state: State, observe: Observer) -> None:
        record = state["record"]
        told = _Told(objective, Replay(record.digests, record.answers))
        last = state

        def after_iteration(x: Array, *_: Any) -> None:
            nonlocal last
            last = told.state_at(np.array(x), last)
            if not last["stop"] and self.arrived(last, told.gradient(last["x"])):
                last = {**last, "stop": "optimal", "message": "no allowed step lowers the loss"}
            if observe(last):
                raise _Enough

        try:
            with warnings.catch_warnings():
                # SciPy warns of singular constraint Jacobians and of quasi-Newton updates that
                # exact Hessians do not use; what matters is in the status it ends with.
                warnings.simplefilter("ignore")
                result = self.minimise(told, state["origin"], after_iteration)
        except _Enough:
            return
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            if not _of_scipy(error):
                raise
            observe({**last, "stop": "scipy", "message": f"it failed with: {error}"})
            return
        there = objective.project(np.asarray(result.x))
        final = told.state_at(there, last)
        feasible = final["violation"] <= 1e-6
        stop = "optimal" if self.succeeded(result) and feasible else "scipy"
        stop = final["stop"] or stop
        message = str(result.message)
        if stop == "optimal" and final["gradient_norm"] > largest(told.gradient(state["origin"])):
            stop = "scipy"
            message += "; the gradient has grown, so the loss seems to have no lowest value"
        if not feasible:
            message += f"; the constraints are violated by {final['violation']:.3g}"
        observe({**final, "stop": stop, "message": message})

    def minimise(self, told: _Told, x: Array, after_iteration: Callable[..., None]) -> Any:
        """Call SciPy."""
        raise NotImplementedError

    def succeeded(self, result: Any) -> bool:
        """Say whether SciPy met its own criteria."""
        return bool(result.success)

    def arrived(self, state: State, gradient: Array) -> bool:
        """Say whether an iteration ended at a solution by our own criteria."""
        return False


@dataclass(frozen=True)
class SLSQP(SciPyMethod):
    """Sequential quadratic programming (Kraft, 1988): small problems with constraints.

    Parameters
    ----------
    tolerance : float
        Ends when a step changes the loss by less than this.

    >>> SLSQP().takes_constraints
    True
    """

    tolerance: float = 1e-10

    name: ClassVar[str] = "slsqp"

    def minimise(self, told: _Told, x: Array, after_iteration: Callable[..., None]) -> Any:
        scipy = _scipy()
        return scipy.minimize(
            told.loss,
            x,
            jac=told.gradient,
            method="SLSQP",
            bounds=scipy.Bounds(told.objective.lower, told.objective.upper),
            constraints=told.for_slsqp(),
            callback=after_iteration,
            options={"ftol": self.tolerance, "maxiter": 10**7},
        )


@dataclass(frozen=True)
class TrustConstr(SciPyMethod):
    """Trust-region interior point with exact Hessian products (Byrd, Hribar and Nocedal, 1999).

    Parameters
    ----------
    tolerance : float
        Ends when what the constraints leave of the gradient has fallen to this part of it, and
        they are met as well; or when the trust radius is below this.

    >>> TrustConstr().name
    'trust-constr'
    """

    tolerance: float = 1e-8

    name: ClassVar[str] = "trust-constr"

    def minimise(self, told: _Told, x: Array, after_iteration: Callable[..., None]) -> Any:
        scipy = _scipy()
        bounds = scipy.Bounds(told.objective.lower, told.objective.upper, keep_feasible=True)
        return scipy.minimize(
            told.loss,
            x,
            jac=told.gradient,
            hess=told.hessian,
            method="trust-constr",
            bounds=bounds if told.objective.bounded else None,
            constraints=told.for_trust_constr(),
            callback=after_iteration,
            options={"gtol": 0.0, "xtol": self.tolerance, "maxiter": 10**7},
        )

    def succeeded(self, result: Any) -> bool:
        return result.status in (1, 2)

    def arrived(self, state: State, gradient: Array) -> bool:
        # SciPy's own gtol does not look at complementarity, and ends up to 1e-4 away
        small = self.tolerance * max(largest(gradient), 1e-3)
        return state["gradient_norm"] <= small and state["violation"] <= self.tolerance


class _Told:
    """All that SciPy asks of the problem, recorded."""

    def __init__(self, objective: Objective, record: Replay) -> None:
        self.objective = objective
        self.record = record

    def _both(self, x: Array) -> Array:
        def compute() -> Array:
            loss, gradient = self.objective.value_and_gradient(x)
            return np.concatenate([[loss], gradient])

        return self.record("loss", (x,), compute)

    def loss(self, x: Array) -> float:
        return float(self._both(x)[0])

    def gradient(self, x: Array) -> Array:
        return self._both(x)[1:]

    def hessian(self, x: Array) -> Any:
        def product(v: Array) -> Array:
            v = np.asarray(v).reshape(-1)
            return self.record("hessian", (x, v), lambda: self.objective.hessian_product(x, v))

        return _operator(x.size, product)

    def for_slsqp(self) -> list[dict[str, Any]]:
        """Write every constraint as ``f = 0`` or ``f >= 0``."""
        rules = []
        for number, each in enumerate(self.objective.constraints):
            equal = each.lower == each.upper
            below = np.isfinite(each.lower) & ~equal
            above = np.isfinite(each.upper) & ~equal
            for kind, rows, end, sign in (
                ("eq", equal, each.lower, 1.0),
                ("ineq", below, each.lower, 1.0),
                ("ineq", above, each.upper, -1.0),
            ):
                if rows.any():
                    rules.append(self._rule(number, kind, rows, end, sign))
        return rules

    def _rule(self, number: int, kind: str, rows: Array, end: Array, sign: float) -> dict[str, Any]:
        return {
            "type": kind,
            "fun": lambda x: sign * (self.constraint(number, x) - end)[rows],
            "jac": lambda x: sign * self.constraint_jacobian(number, x)[rows],
        }

    def for_trust_constr(self) -> list[Any]:
        scipy = _scipy()
        return [
            scipy.NonlinearConstraint(
                lambda x, number=number: self.constraint(number, x),
                each.lower,
                each.upper,
                jac=lambda x, number=number: self.constraint_jacobian(number, x),
                hess=lambda x, v, number=number: self._constraint_hessian(number, x, v),
            )
            for number, each in enumerate(self.objective.constraints)
        ]

    def constraint(self, number: int, x: Array) -> Array:
        each = self.objective.constraints[number]
        return self.record(f"constraint {number}", (x,), lambda: each.value(x))

    def constraint_jacobian(self, number: int, x: Array) -> Array:
        each = self.objective.constraints[number]
        return self.record(f"jacobian {number}", (x,), lambda: each.jacobian(x))

    def _constraint_hessian(self, number: int, x: Array, multipliers: Array) -> Any:
        each = self.objective.constraints[number]

        def product(v: Array) -> Array:
            v = np.asarray(v).reshape(-1)
            return self.record(
                f"curvature {number}",
                (x, multipliers, v),
                lambda: each.hessian_product(x, multipliers, v),
            )

        return _operator(x.size, product)

    def state_at(self, x: Array, before: State) -> State:
        """Return the state after an iteration that ended at x."""
        both = self._both(x)
        if not np.all(np.isfinite(both)):
            bad = {"loss": float(both[0]), "gradient_norm": largest(both[1:]), "stop": "not finite"}
            return {**before, **bad, "x": x, "record": self.record}
        constraints = self.objective.constraints
        values = [self.constraint(number, x) for number in range(len(constraints))]
        jacobians = [self.constraint_jacobian(number, x) for number in range(len(constraints))]
        return {
            **before,
            "x": x,
            "loss": float(both[0]),
            "gradient_norm": _remaining(self.objective, x, both[1:], values, jacobians),
            "step_length": float(np.linalg.norm(x - before["x"])),
            "violation": _violation(self.objective, values),
            "record": self.record,
        }


def _of_scipy(error: BaseException) -> bool:
    """Say whether SciPy raised an error by itself, not a function of ours that it called."""
    frames = traceback.extract_tb(error.__traceback__)
    return [each.name for each in frames if each.filename == __file__][-1] == "minimise"


def _scipy() -> Any:
    """Import SciPy's optimisers, late: they take longer to import than all of Clew."""
    import scipy.optimize

    return scipy.optimize


def _operator(size: int, product: Callable[[Array], Array]) -> Any:
    import scipy.sparse.linalg as sparse

    operator: Any = sparse.LinearOperator
    return operator((size, size), matvec=product, dtype=np.float64)


def _remaining(
    objective: Objective, x: Array, gradient: Array, values: list[Array], jacobians: list[Array]
) -> float:
    """Return what is left of the gradient when the walls that stand in its way hold against it.

    A wall that the point touches can only push inwards, so its multiplier has one sign
    (the Karush-Kuhn-Tucker conditions).
    """
    places = [x, *values]
    ends = [(objective.lower, objective.upper)]
    ends += [(each.lower, each.upper) for each in objective.constraints]
    normals = np.vstack([np.eye(x.size), *jacobians])
    lower, upper = (np.concatenate([pair[side] for pair in ends]) for side in (0, 1))
    at = np.concatenate(places)
    near = TOUCHING * np.maximum(1.0, np.abs(at))
    high = np.where(at <= lower + near, np.inf, 0.0)
    low = np.where(at >= upper - near, -np.inf, 0.0)
    touched = (low < 0) | (high > 0)
    if not touched.any():
        return largest(gradient)
    walls = normals[touched].T
    push = bounded_least_squares(walls, gradient, low[touched], high[touched])
    return largest(gradient - walls @ push)


def _violation(objective: Objective, values: list[Array]) -> float:
    """Return the largest amount by which a constraint is broken."""
    worst = 0.0
    for each, value in zip(objective.constraints, values, strict=True):
        worst = max(worst, float(np.max(np.maximum(each.lower - value, value - each.upper))))
    return worst
