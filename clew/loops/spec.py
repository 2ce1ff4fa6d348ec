"""What one loop is: its body, its condition or length, and how its operands are grouped.

The operands of a ``loop`` equation, in order, and the inputs of its graphs::

    operands    [count]  carries  scanned  held
    body        carries  x_t  held  ->  new carries  y_t
    condition   carries  held       ->  bool
    outputs     final carries  stacked y  [count]  [snapshots]

``count`` is an operand where the number of steps is known only when running, and an output
where a condition decides it. What such loops stack is a tape, since its length has no type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from clew.core.graph import Atom, Graph, Var
from clew.core.graph import Literal as Constant
from clew.core.source import Where
from clew.core.tape import TapeType
from clew.core.types import Type

COUNT = Type((), np.int64)
SNAPSHOTS = TapeType(Type((), np.float64))
"""Snapshots are opaque whatever the carries are, so a push-forward keeps their type."""


@dataclass(frozen=True)
class Policy:
    """How a loop trades memory for work in reverse mode, and the line that made it.

    ``checkpoint`` is None (save what the way back needs), a number of snapshots, or "auto"
    (save if that fits ``memory`` bytes, else take as many snapshots as fit).
    """

    checkpoint: int | Literal["auto"] | None = None
    memory: int | None = None
    where: Where = Where()  # noqa: RUF009  (immutable)
    spelling: str = "loop"

    def __str__(self) -> str:
        return "tape" if self.checkpoint is None else str(self.checkpoint)

    def of_batch(self, size: int) -> Policy:
        """Return the policy of a loop over so many examples; ``memory`` is that of one."""
        return self if self.memory is None else replace(self, memory=self.memory * max(size, 1))


@dataclass(frozen=True)
class Groups:
    """Operands (or anything listed in their order) by role."""

    count: list[Any]
    carries: list[Any]
    scanned: list[Any]
    held: list[Any]

    def flat(self) -> list[Any]:
        """Return all in the order of the operands."""
        return [*self.count, *self.carries, *self.scanned, *self.held]

    def inner(self) -> list[Any]:
        """Return all in the order of the body's inputs."""
        return [*self.carries, *self.scanned, *self.held]


@dataclass(frozen=True)
class Results:
    """Outputs (or anything listed in their order) by role."""

    carries: list[Any]
    stacked: list[Any]
    count: list[Any]
    snapshots: list[Any]

    def flat(self) -> list[Any]:
        """Return all in the order of the outputs."""
        return [*self.carries, *self.stacked, *self.count, *self.snapshots]


@dataclass(frozen=True, eq=False)
class Spec:
    """A loop without its operands; ``params()`` are the parameters of its equation."""

    body: Graph
    condition: Graph | None
    length: int | None
    carries: int
    scanned: int
    reverse: bool
    policy: Policy
    snapshots: int | None = None

    @property
    def counted(self) -> bool:
        """Whether the number of steps is an operand."""
        return self.length is None and self.condition is None

    @property
    def dynamic(self) -> bool:
        """Whether the number of steps is unknown before running."""
        return self.length is None

    def params(self) -> dict[str, Any]:
        """Return the parameters of the equation."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def with_(self, **changes: Any) -> Spec:
        """Return the loop with some fields changed."""
        return replace(self, **changes)

    def operands(self, values: Sequence[Any]) -> Groups:
        """Group what is listed in the order of the operands."""
        start = int(self.counted)
        inner = self.inner(values[start:])
        return replace(inner, count=list(values[:start]))

    def inner(self, values: Sequence[Any]) -> Groups:
        """Group what is listed in the order of the body's inputs."""
        middle = self.carries + self.scanned
        return Groups(
            [],
            list(values[: self.carries]),
            list(values[self.carries : middle]),
            list(values[middle:]),
        )

    def results(self, values: Sequence[Any]) -> Results:
        """Group what is listed in the order of the outputs."""
        last = len(values)
        snapshots = last - int(self.snapshots is not None)
        count = snapshots - int(self.condition is not None)
        return Results(
            list(values[: self.carries]),
            list(values[self.carries : count]),
            list(values[count:snapshots]),
            list(values[snapshots:]),
        )

    @property
    def body_carries(self) -> tuple[Atom, ...]:
        """What the body returns as the next carries."""
        return self.body.outputs[: self.carries]

    @property
    def body_stacked(self) -> tuple[Atom, ...]:
        """What the body returns to be stacked."""
        return self.body.outputs[self.carries :]

    def carry_types(self) -> list[Type]:
        """Return the types of the carries."""
        return [var.type for var in self.body.inputs[: self.carries]]

    def stacked_type(self, element: Type) -> Type:
        """Return the type of what is stacked, or scanned, a step of which has this type."""
        if self.length is None or type(element) is TapeType:
            return TapeType(element)
        return Type((self.length, *element.shape), element.dtype)

    def result_types(self) -> tuple[Type, ...]:
        """Return the types of the outputs."""
        types = [*self.carry_types(), *(self.stacked_type(a.type) for a in self.body_stacked)]
        if self.condition is not None:
            types.append(COUNT)
        if self.snapshots is not None:
            types.append(SNAPSHOTS)
        return tuple(types)


def spec_of(equation: Any) -> Spec:
    """Return the loop of an equation.

    >>> import clew
    >>> graph = clew.trace(lambda x: clew.fori_loop(0, 3, lambda i, c: c * x, 1.0))(2.0)
    >>> spec_of(graph.equations[-1]).length
    3
    """
    return Spec(**equation.params)


def twins_of(outputs: Sequence[Var], made_of: Sequence[Any]) -> dict[Var, Var]:
    """Return the outputs that are made of the same as an earlier one, with that one."""
    first: dict[Any, Var] = {}
    pairs = ((var, first.setdefault(each, var)) for var, each in zip(outputs, made_of, strict=True))
    return {var: other for var, other in pairs if var is not other}


def reordered(graph: Graph, inputs: Sequence[Var], outputs: Sequence[Atom]) -> Graph:
    """Return the same equations with other inputs and outputs, without the dead ones."""
    return Graph(inputs, graph.equations, outputs, graph.constants).with_live_equations()


def inlined(graph: Graph, arguments: Sequence[Atom], equations: list[Any]) -> list[Atom]:
    """Append a graph's equations, reading these atoms; return its outputs.

    Constants must be none: put them among the arguments.
    """
    present: dict[Any, Atom] = dict(zip(graph.inputs, arguments, strict=True))
    for equation in graph.equations:
        fresh = tuple(Var(var.type) for var in equation.outputs)
        equations.append(equation.reading(present, fresh))
        present.update(zip(equation.outputs, fresh, strict=True))
    return [atom if type(atom) is Constant else present[atom] for atom in graph.outputs]
