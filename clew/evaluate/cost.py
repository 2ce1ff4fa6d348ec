"""``cost``: what a function and its gradient will cost, before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clew.calculus import value_and_grad
from clew.core.cost import Cost
from clew.evaluate.reference import trace
from clew.simplify import simplify


@dataclass(frozen=True)
class Costs:
    """The cost of a function's value, and of its value and gradient together."""

    value: Cost
    gradient: Cost | None

    def __str__(self) -> str:
        text = f"value: {self.value}"
        return text if self.gradient is None else f"{text}\nvalue and gradient: {self.gradient}"


def cost(f: Callable[..., Any]) -> Callable[..., Costs]:
    """Return a function that gives the cost of ``f``, and of its gradient, for its arguments.

    Operations, bytes moved, and peak memory are read off the simplified graphs; nothing runs. The
    gradient is that in the first argument, and None if ``f`` does not return a real scalar.

    >>> import clew
    >>> def late(x, steps=1000, checkpoint=None):
    ...     step = lambda c, _: (c + np.sin(c) * x, None)
    ...     return clew.scan(step, x, length=steps, checkpoint=checkpoint)[0]
    >>> import numpy as np
    >>> found = cost(late)(0.5)
    >>> found.value.peak < 100 < 8000 < found.gradient.peak < 40_000
    True
    >>> cost(lambda x: late(x, checkpoint=10))(0.5).gradient.peak < 1000
    True
    """

    def costs(*args: Any, **kwargs: Any) -> Costs:
        graph = simplify(trace(f)(*args, **kwargs))
        outputs = graph.outputs
        scalar = len(outputs) == 1 and outputs[0].type.shape == ()
        if not scalar or outputs[0].type.dtype.kind != "f":
            return Costs(graph.cost(), None)
        gradient = simplify(trace(value_and_grad(f))(*args, **kwargs))
        return Costs(graph.cost(), gradient.cost())

    return costs
