"""What a graph costs to run: operations and memory traffic, from its types alone."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from clew.core.graph import Equation, Graph
from clew.core.types import Type

_CHEAP = frozenset(
    [
        "reshape",
        "transpose",
        "broadcast_to",
        "basic_slice",
        "convert",
        "positive",
        "stop_gradient",
        "guard",
        "concatenate",
        "update",
        "gather",
        "real",
        "imag",
    ]
)
_CUBIC = frozenset(
    ["solve", "inv", "pinv", "det", "slogdet", "cholesky", "qr", "eigh", "eig", "svd"]
)


@dataclass(frozen=True)
class Cost:
    """Equations by primitive, floating-point operations, and bytes read and written.

    An elementwise equation counts one operation per element of its result, a product two per
    multiplication, a factorisation of n-by-n matrices ``n^3``; moving elements counts none.
    """

    equations: dict[str, int]
    operations: int
    bytes: int

    def __str__(self) -> str:
        parts = ", ".join(f"{count} {name}" for name, count in self.equations.items())
        total = sum(self.equations.values())
        return (
            f"{total} equations ({parts})\n"
            f"{self.operations:,} operations, {self.bytes:,} bytes read and written"
        )


def cost(graph: Graph) -> Cost:
    """Return what running a graph costs.

    >>> import numpy as np
    >>> from clew.evaluate import trace
    >>> print(cost(trace(lambda x: x @ x + 1.0)(np.ones(8))))
    2 equations (1 contract, 1 add)
    17 operations, 160 bytes read and written
    """
    counts = Counter(equation.primitive.name for equation in graph.equations)
    return Cost(
        dict(counts.most_common()),
        sum(_operations(equation) for equation in graph.equations),
        sum(_traffic(equation) for equation in graph.equations),
    )


def _operations(equation: Equation) -> int:
    name = equation.primitive.name
    result = sum(var.type.size for var in equation.outputs)
    if name in _CHEAP:
        return 0
    if name == "contract":
        size: dict[int, int] = {}
        for labels, atom in zip(("left", "right"), equation.inputs, strict=True):
            size |= dict(zip(equation.params[labels], atom.type.shape, strict=True))
        return 2 * math.prod(size.values())
    if name == "fft":
        lengths = [equation.inputs[0].type.shape[axis] for axis in equation.params["axes"]]
        return int(5 * result * sum(math.log2(max(n, 2)) for n in lengths))
    if name in _CUBIC:
        shape = equation.inputs[0].type.shape
        return math.prod(shape) * min(shape[-2:])
    if name in ("sum", "prod", "max", "min", "any", "all", "argmax", "argmin"):
        return equation.inputs[0].type.size
    return result


def _traffic(equation: Equation) -> int:
    types: list[Type] = [atom.type for atom in (*equation.inputs, *equation.outputs)]
    return sum(kind.size * kind.dtype.itemsize for kind in types)
