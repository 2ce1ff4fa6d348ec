"""The gradient that is zero because there is no path: a value of its own, with its reason."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.graph import Equation, Graph, Var, users
from clew.core.primitive import NoDerivative
from clew.core.types import Type


class NoPath(np.lib.mixins.NDArrayOperatorsMixin):
    """Stands for the gradient of something that the output does not depend on.

    It behaves as zeros of the parameter's shape and dtype in any computation, but says why it
    is zero: ``unused``, ``integer``, ``stopped``, or through which operation it was cut.

    >>> import clew
    >>> gradient = clew.grad(lambda p: p["a"] * 2.0)({"a": 1.0, "b": 3.0})
    >>> gradient["b"]
    NoPath(unused: no operation on the way to the output reads it)
    >>> 5.0 - gradient["b"]
    np.float64(5.0)
    """

    __slots__ = ("reason", "type")

    def __init__(self, reason: str, type: Type) -> None:
        self.reason = reason
        self.type = type

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the parameter."""
        return self.type.shape

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the parameter."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """The number of axes of the parameter."""
        return self.type.ndim

    @property
    def size(self) -> int:
        """The number of elements of the parameter."""
        return self.type.size

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.zeros(self.type.shape, dtype or self.type.dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [np.asarray(x) if isinstance(x, NoPath) else x for x in inputs]
        return getattr(ufunc, method)(*plain, **kwargs)

    def __float__(self) -> float:
        return float(np.asarray(self))

    def __repr__(self) -> str:
        return f"NoPath({self.reason})"


def reason_for(graph: Graph, source: Var) -> str:
    """Say why no gradient flows from the outputs of a graph to one of its inputs."""
    if not source.type.inexact:
        return f"integer: a value of dtype {source.type.dtype} has no derivative"
    readers = users(graph.with_live_equations().equations)
    reached = {source}
    frontier = [source]
    cuts: list[Equation] = []
    while frontier:
        for equation in readers.get(frontier.pop(), ()):
            if not equation.outputs:
                continue
            if _cuts(equation):
                cuts.append(equation)
                continue
            fresh = [var for var in equation.outputs if var not in reached]
            reached.update(fresh)
            frontier += fresh
    if not cuts:
        return "unused: no operation on the way to the output reads it"
    return _describe(cuts[0])


def _cuts(equation: Equation) -> bool:
    if not any(var.type.inexact for var in equation.outputs):
        return True
    return _absent(equation) is not None


def _absent(equation: Equation) -> NoDerivative | None:
    for field in ("partials", "push_rule"):
        rule = getattr(equation.primitive, field, None)
        if isinstance(rule, NoDerivative):
            return rule
    return None


def _describe(equation: Equation) -> str:
    name = equation.primitive.name
    at = f" at {equation.where}" if equation.where else ""
    if name == "stop_gradient":
        return f"stopped: by stop_gradient{at}"
    absent = _absent(equation)
    if absent is not None:
        return f"cut: {name}{at} has no derivative ({absent.reason})"
    return f"integer: {name}{at} gives dtype {equation.outputs[0].type.dtype}"
