"""What a graph costs to run: operations, memory traffic and peak memory, from its types alone.

Nothing is run. Shapes are static, so all but loops of unknown length is known exactly; for
those the cost of one step is given.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from clew.core.graph import Equation, Graph, Var
from clew.core.kinds import Control
from clew.core.tape import TapeType
from clew.core.types import Type

_VIEWS = frozenset(
    [
        "reshape",
        "transpose",
        "broadcast_to",
        "basic_slice",
        "positive",
        "stop_gradient",
        "real",
        "moveaxis",
    ]
)
_MOVES = _VIEWS | frozenset(
    [
        "convert",
        "guard",
        "check",
        "concatenate",
        "update",
        "gather",
        "imag",
    ]
)
_CUBIC = frozenset(
    [
        "solve",
        "inv",
        "pinv",
        "det",
        "slogdet",
        "cholesky",
        "qr",
        "eigh",
        "eig",
        "svd",
    ]
)


@dataclass(frozen=True)
class Cost:
    """Equations by primitive, floating-point operations, memory traffic, and peak memory.

    An elementwise equation counts one operation per element of its result, a product two per
    multiplication, a factorisation of n-by-n matrices ``n^3``; moving elements counts none.
    ``bytes`` are read and written; ``peak`` is what is held at once besides the arguments,
    constants included. ``unknown`` lists loops whose length is found when running: they are
    counted as one step, and a tape grows by the bytes given at each.
    """

    equations: dict[str, int]
    operations: int
    bytes: int
    peak: int
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = ", ".join(f"{count} {name}" for name, count in self.equations.items())
        total = sum(self.equations.values())
        lines = [
            f"{total} equations ({parts})",
            f"{self.operations:,} operations, {self.bytes:,} bytes read and written, "
            f"{self.peak:,} bytes held at once",
        ]
        return "\n".join([*lines, *self.unknown])


@dataclass(frozen=True)
class Measure:
    """What one equation costs: its result's bytes, one number per output, and its workspace."""

    operations: int
    bytes: int
    results: Sequence[int]
    workspace: int = 0
    unknown: tuple[str, ...] = ()


def cost_of(graph: Graph) -> Cost:
    """Return what running a graph costs.

    >>> import numpy as np, clew
    >>> print(cost_of(clew.trace(lambda x: x @ x + 1.0)(np.ones(8))))
    2 equations (1 contract, 1 add)
    17 operations, 160 bytes read and written, 16 bytes held at once
    """
    counts = Counter(equation.primitive.name for equation in graph.equations)
    measures = [measured(equation) for equation in graph.equations]
    return Cost(
        dict(counts.most_common()),
        sum(each.operations for each in measures),
        sum(each.bytes for each in measures),
        _peak(graph, measures),
        tuple(line for each in measures for line in each.unknown),
    )


def measured(equation: Equation) -> Measure:
    """Return what one equation costs."""
    if isinstance(equation.primitive, Control):
        return equation.primitive.measured(equation)
    results = [bytes_of(var.type) for var in equation.outputs]
    if equation.primitive.name in _VIEWS:
        results = [0] * len(results)
    return Measure(_operations(equation), _traffic(equation), results)


def bytes_of(kind: Type) -> int:
    """Return the bytes of a value; none for a tape, whose length is not known."""
    return 0 if isinstance(kind, TapeType) else kind.size * kind.dtype.itemsize


def _peak(graph: Graph, measures: Sequence[Measure]) -> int:
    """Follow which results are alive; a view keeps alive what it views."""
    owner: dict[Var, Var] = {}
    for equation in graph.equations:
        if equation.primitive.name in _VIEWS and type(equation.inputs[0]) is Var:
            source = equation.inputs[0]
            owner[equation.outputs[0]] = owner.get(source, source)
    last: dict[Var, int] = {}
    for index, equation in enumerate(graph.equations):
        for atom in (*equation.inputs, *equation.outputs):
            if type(atom) is Var:
                last[owner.get(atom, atom)] = index
    for atom in graph.outputs:
        if type(atom) is Var:
            last[owner.get(atom, atom)] = len(graph.equations)
    dying: dict[int, list[Var]] = {}
    for var, index in last.items():
        dying.setdefault(index, []).append(var)
    held = peak = sum(value.nbytes for value in graph.constants.values())
    alive: dict[Var, int] = {}
    for index, (equation, each) in enumerate(zip(graph.equations, measures, strict=True)):
        for var, size in zip(equation.outputs, each.results, strict=True):
            alive[var] = size
            held += size
        peak = max(peak, held + each.workspace)
        for var in dying.get(index, ()):
            held -= alive.pop(var, 0)
    return peak


def _operations(equation: Equation) -> int:
    name = equation.primitive.name
    result = sum(var.type.size for var in equation.outputs)
    if name in _MOVES:
        return 0
    if name == "contract":
        size: dict[int, int] = {}
        for labels, atom in zip(("left", "right"), equation.inputs, strict=True):
            size |= dict(zip(equation.params[labels], atom.type.shape, strict=True))
        return 2 * math.prod(size.values())
    if name == "conv":  # zeros between samples are never met
        kernel = math.prod(equation.inputs[1].type.shape[1:])
        return 2 * result * kernel // math.prod(equation.params["spread"])
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
    return sum(bytes_of(atom.type) for atom in (*equation.inputs, *equation.outputs))
